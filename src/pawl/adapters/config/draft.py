"""A first pawl.yaml from a kubeconfig and a list of hosts. What it cannot know it says so."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import cast, get_args

import yaml
from lightkube.config.kubeconfig import KubeConfig
from lightkube.core.exceptions import ConfigError as LightkubeError

from pawl.adapters.config.structure import nearest
from pawl.core.config import HostConfig, Role
from pawl.core.errors import ConfigError

ROLES = get_args(Role)


def hosts_from(text: str, where: str) -> tuple[HostConfig, ...]:
    """Lines of "name,address,role+role[,pool]"; `#` begins a comment. All mistakes at once."""
    hosts: list[HostConfig] = []
    problems: list[str] = []
    for number, row in enumerate(csv.reader(io.StringIO(text)), start=1):
        cells = [c.strip() for c in row]
        if not any(cells) or cells[0].startswith("#"):
            continue
        if len(cells) not in (3, 4) or not all(cells[:3]):
            problems.append(f"line {number}: write name,address,role+role[,pool]")
            continue
        roles = tuple(cells[2].split("+"))
        problems += [
            f"line {number}: unknown role `{r}`; {nearest(r, ROLES)}"
            for r in roles
            if r not in ROLES
        ]
        hosts.append(
            HostConfig(
                name=cells[0],
                address=cells[1],
                roles=cast(tuple[Role, ...], roles),
                pool=cells[3] if len(cells) == 4 and cells[3] else "default",
            )
        )
    if not hosts and not problems:
        problems.append("names no host; write one name,address,role+role[,pool] a line")
    if problems:
        raise ConfigError(where, problems)
    return tuple(hosts)


def endpoint_of(kubeconfig: Path) -> tuple[str, str]:
    """(cluster's name, endpoint) of the current context."""
    try:
        single = KubeConfig.from_file(kubeconfig).get()
    except (AttributeError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ConfigError(  # the library takes the shape of the file for granted
            str(kubeconfig), ["is no kubeconfig: see `kubectl config view`"]
        ) from error
    except (LightkubeError, OSError, ValueError) as error:
        raise ConfigError(str(kubeconfig), [f"is no kubeconfig: {error}"]) from error
    if single is None:
        raise ConfigError(str(kubeconfig), ["has no current context; set one with kubectl"])
    return single.context.cluster, single.cluster.server


def draft(kubeconfig: Path, hosts: Sequence[HostConfig], cluster: str, endpoint: str) -> str:
    """The text of a pawl.yaml, with TODO where a person must say more."""
    listed = [
        {"name": h.name, "address": h.address, "roles": list(h.roles)}
        | ({"pool": h.pool} if h.pool != "default" else {})
        for h in hosts
    ]
    balancers = [h.name for h in hosts if "load-balancer" in h.roles]
    head = yaml.safe_dump({"cluster": cluster, "hosts": listed}, sort_keys=False)
    api = yaml.safe_dump(
        {"api": {"endpoint": endpoint, "kubeconfig": str(kubeconfig)}}, sort_keys=False
    )
    balancer = (
        yaml.safe_dump({"load_balancer": {"host": balancers[0]}})
        if balancers
        else "# load_balancer: {host: NAME}  # add the HAProxy host with the role load-balancer\n"
    )
    return (
        "# Drafted by `pawl init`; `pawl config check` says what is still to be mended.\n"
        f"{head}"
        "ssh:  # TODO: a key of pawl's own, without a passphrase: nobody is there to type it\n"
        "  user: root\n"
        "  key: ~/.ssh/id_ed25519\n"
        "  known_hosts: ~/.ssh/known_hosts\n"
        "etcd:  # TODO: a client certificate that etcd's CA has signed\n"
        "  ca: pki/etcd-ca.crt\n"
        "  cert: pki/etcd-client.crt\n"
        "  key: pki/etcd-client.key\n"
        f"{api}"
        f"{balancer}"
        "backup:\n"
        "  directory: backups  # etcd snapshots; a plan that touches etcd needs a place\n"
    )
