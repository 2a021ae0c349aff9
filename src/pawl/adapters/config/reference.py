"""docs/configuration.md and the JSON Schema, both made from the structs.

A section's docstring is its text, a string under a field is that field's meaning; so a setting
cannot be added without its documentation following (a test compares the page with this).
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any, get_args, get_type_hints

import msgspec

from pawl.adapters.config import structure
from pawl.core.config import Config

INTRO = """\
# Configuration

Everything pawl knows of a cluster before it looks at it stands in `pawl.yaml`. `pawl init` drafts
one, `pawl config check` names all mistakes in it at once, `pawl config schema` prints its JSON
Schema (for an editor: `# yaml-language-server: $schema=pawl.schema.json`).

It is found by `--config`, else by `$PAWL_CONFIG`, else as `./pawl.yaml`. Local paths are relative
to the file, `~` is your home. Secrets never stand in it, only the paths of the files that hold
them, and those must be readable by their owner alone. Durations are seconds, sizes bytes.

```yaml
cluster: shop
hosts:
  - {name: etcd-1, address: 198.18.0.21, roles: [etcd]}
  - {name: cp-1, address: 198.18.0.51, roles: [control-plane]}
  - {name: worker-1, address: 198.18.0.101, roles: [worker], pool: web}
  - {name: lb, address: 198.18.0.10, roles: [load-balancer]}
ssh: {key: ssh/id_ed25519, known_hosts: ssh/known_hosts}
etcd: {ca: pki/etcd-ca.crt, cert: pki/etcd-client.crt, key: pki/etcd-client.key}
api: {endpoint: "https://198.18.0.10:6443", kubeconfig: admin.kubeconfig}
load_balancer: {host: lb}
backup: {directory: backups}
```

Keys, certificates and known hosts are opened as they will be used: a key with a passphrase, or one
that belongs to another certificate, is a mistake too.

A mistake is told with its place, what is wrong, and how to mend it:

```
$ pawl config check
pawl: pawl.yaml:
  - ssh.prot: unknown key; did you mean `port`?
  - api.endpoint: `http://198.18.0.10:6443` is not https; pawl speaks only TLS to the API, write …
```

## What pawl expects of a cluster

- **Every host**: Linux with systemd, reached by SSH as root or with `sudo` without a password.
- **etcd, API servers, controllers, kubelets**: systemd units whose program is started through a
  link, with its flags in a file of its own, as below. Static pods, as kubeadm makes them, are read
  for findings, and not upgraded.
- **kube-proxy**: the same, where it runs on the hosts; a DaemonSet of it is left to its owner.
- **etcd members**: TLS for their clients, and a client certificate.
- **Several API servers**: an HAProxy before them, whose runtime socket has the level admin. With
  `socat` on its host, its orders are fenced and given in one step.
- **Machines that are to be replaced**: a provider of machines. The lab's is the only one so far
  ([how to add one](extending.md#a-cloud)).

```ini
# /etc/systemd/system/kube-apiserver.service; /opt/pawl/kube-apiserver/current -> 1.36.0
[Service]
EnvironmentFile=/etc/kubernetes/kube-apiserver.env
ExecStart=/opt/pawl/kube-apiserver/current/kube-apiserver $FLAGS
Restart=always
TimeoutStopSec=75
```

The names of these files, of the variable and of the units are settings of [`layout`](#layout).

All that follows is made from the code by `pawl config reference`.
"""


def json_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of pawl.yaml."""
    schema = msgspec.json.schema(Config)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pawl.yaml",
        **schema,
    }


def reference() -> str:
    """The text of docs/configuration.md."""
    parts = [INTRO]
    _section(Config, "", parts, set())
    return "\n".join(parts).rstrip() + "\n"


def _section(
    struct: type[msgspec.Struct], path: str, parts: list[str], seen: set[type[msgspec.Struct]]
) -> None:
    if struct in seen:
        return
    seen.add(struct)
    parts.append(f"## `{path}`\n" if path else "## The file\n")
    parts.append(textwrap.dedent(inspect.getdoc(struct) or "").strip() + "\n")
    hints = get_type_hints(struct, include_extras=True)
    meanings = _meanings(struct)
    parts.append("| setting | value | default | meaning |\n| --- | --- | --- | --- |")
    inner: list[tuple[str, type[msgspec.Struct]]] = []
    for info in msgspec.structs.fields(struct):
        hint = hints[info.name]
        item = structure.item_of(hint)
        named = structure.named_of(hint)
        meaning = meanings.get(info.name, "")
        section = named or structure.section_of(item if item is not None else hint)
        if section:
            place = f"{path}.{info.name}" if path else info.name
            inner.append((f"{place}.NAME" if named else place, section))
            meaning = meaning or _first_sentence(section)
        parts.append(f"| `{info.name}` | {_value(hint)} | {_default(info)} | {meaning} |")
    parts.append("")
    for name, section in inner:
        _section(section, name, parts, seen)


def _first_sentence(section: type[msgspec.Struct]) -> str:
    text = " ".join((inspect.getdoc(section) or "").split())
    return f"{text.split('. ')[0].rstrip('.')}."


def _value(hint: Any) -> str:
    if structure.is_optional(hint):
        hint = next(a for a in get_args(hint) if a is not type(None))
    item = structure.item_of(hint)
    if item is not None:
        return f"list of {_value(item)}"
    if structure.section_of(hint):
        return "section"
    if structure.named_of(hint):
        return "sections by name"
    bare = get_args(hint)[0] if hasattr(hint, "__metadata__") else hint
    if choices := structure.choices_of(bare):
        return " or ".join(f"`{c}`" for c in choices)
    words = {str: "text", int: "whole number", float: "number", bool: "yes or no"}
    return " ".join([words.get(bare, "mapping"), structure.limits_of(hint)]).strip()


def _default(info: msgspec.structs.FieldInfo) -> str:
    if info.required:
        return "required"
    if info.default is msgspec.NODEFAULT or info.default is None:
        return ""
    encoded = msgspec.json.encode(info.default).decode()
    return f"`{encoded}`"


def _meanings(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The string that stands under each field in the source."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(struct))).body
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for field, after in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            found[field.target.id] = " ".join(after.value.value.split())
    return found
