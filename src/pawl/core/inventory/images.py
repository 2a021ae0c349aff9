"""Image references: repository and version, as the field writes them.

The grammar is that of github.com/distribution/reference: [host[:port]/]path[:tag][@digest].
"""

from __future__ import annotations

import re

import msgspec

_TAG = re.compile(r"^v?(\d+)\.(\d+)(?:\.(\d+))?(?:[-+._](.*))?$")
_PRE = re.compile(r"^(?:rc|alpha|beta|pre)(?:[.\-]?\d+)*(?:[.\-].*)?$")


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """`repository` without its host's port; `version` "1.15.1" or "1.15.0-rc.1", "" when the tag
    is no version (latest, a digest alone)."""

    repository: str
    tag: str = ""
    digest: str = ""
    version: str = ""

    def is_of(self, ending: str) -> bool:
        """Whether the repository ends with these path segments: mirrors keep the end."""
        return self.repository == ending or self.repository.endswith(f"/{ending}")


def parse(reference: str) -> Image:
    bare, _, digest = reference.strip().partition("@")
    head, slash, last = bare.rpartition("/")
    name, _, tag = last.partition(":")
    return Image(repository=f"{head}{slash}{name}", tag=tag, digest=digest, version=version_of(tag))


def version_of(tag: str) -> str:
    """ "v1.15.1" and "1.15.1-alpine" are 1.15.1; "1.15.0-rc.1" stays a pre-release. "" for none."""
    found = _TAG.match(tag.strip())
    if not found:
        return ""
    version = f"{found[1]}.{found[2]}.{found[3] or '0'}"
    rest = (found[4] or "").lower()
    return f"{version}-{rest}" if rest and _PRE.match(rest) else version
