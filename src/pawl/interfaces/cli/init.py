"""`pawl init`: a first pawl.yaml from a kubeconfig and a host list."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pawl.adapters.config import draft
from pawl.core.errors import ConfigError
from pawl.interfaces.cli.dash import MAY_BE_DASH
from pawl.interfaces.cli.options import SWITCH


def init(
    hosts: Annotated[Path, MAY_BE_DASH],
    /,
    *,
    kubeconfig: Annotated[Path | None, Parameter(name=["--kubeconfig", "-k"])] = None,
    output: Annotated[Path, MAY_BE_DASH, Parameter(name=["--output", "-o"])] = Path("pawl.yaml"),
    cluster: str = "",
    force: Annotated[bool, SWITCH] = False,
) -> int:
    """Draft pawl.yaml from a kubeconfig and a list of hosts. Reads no cluster.

    The list has one host a line: name,address,role+role[,pool]. Roles are etcd, control-plane,
    worker and load-balancer.

    For example:

        echo cp-1,198.18.0.51,control-plane+etcd > hosts.csv
        echo w-1,198.18.0.101,worker >> hosts.csv
        pawl init hosts.csv --kubeconfig admin.kubeconfig
        pawl init hosts.csv -o - | less

    Parameters
    ----------
    hosts
        The host list; "-" reads it from standard input.
    kubeconfig
        Default $KUBECONFIG, else ~/.kube/config.
    output
        Where to write; "-" is standard output.
    cluster
        The cluster's name; default the kubeconfig's.
    force
        Overwrite an existing file.
    """
    source = kubeconfig or Path(os.environ.get("KUBECONFIG", "~/.kube/config")).expanduser()
    try:
        text = sys.stdin.read() if str(hosts) == "-" else hosts.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(hosts), [f"cannot be read: {error}"]) from error
    listed = draft.hosts_from(text, str(hosts))
    name, endpoint = draft.endpoint_of(source)
    written = draft.draft(source.resolve(), listed, cluster or name, endpoint)
    if str(output) == "-":
        print(written, end="")
        return 0
    if output.exists() and not force:
        raise ConfigError(str(output), ["is there already; give --force to overwrite it"])
    output.write_text(written)
    print(f"wrote {output}; next: mend its TODOs, then `pawl config check`")
    return 0
