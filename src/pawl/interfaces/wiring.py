"""The single place that names concrete adapters.

`open_session(path)` reads pawl.yaml and hands out everything that a command may need, behind the
ports. Adapters are imported and connected when they are first used, so that `pawl runs` opens no
SSH connection. Leaving the context closes what was opened.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property
from pathlib import Path

from pawl.core.config import Config
from pawl.core.errors import ConfigError
from pawl.ports.artifacts import Artifacts
from pawl.ports.balancer import Balancer
from pawl.ports.clock import Clock
from pawl.ports.etcd import Etcd
from pawl.ports.hosts import Hosts
from pawl.ports.journal import Journal
from pawl.ports.kube import Kube, Lease
from pawl.ports.machines import Machines
from pawl.ports.observer import Observer

CONFIG_VARIABLE = "PAWL_CONFIG"
DEFAULT_CONFIG = Path("pawl.yaml")


def find_config(given: Path | None) -> Path:
    """`--config`, else $PAWL_CONFIG, else ./pawl.yaml; ConfigError says what was looked for."""
    if given is not None:
        path = given
    elif variable := os.environ.get(CONFIG_VARIABLE):
        path = Path(variable)
    else:
        path = DEFAULT_CONFIG
    if not path.is_file():
        raise ConfigError(
            str(path),
            [
                "no such file; give --config FILE or set PAWL_CONFIG, "
                "draft one with `pawl init`, or raise a lab with `pawl lab up` which writes one"
            ],
        )
    return path.resolve()


class Session:
    """One cluster as one command sees it: its configuration and its ports."""

    def __init__(self, config: Config, path: Path, stack: AsyncExitStack) -> None:
        self.config = config
        self.path = path
        self._stack = stack

    @property
    def state_dir(self) -> Path:
        """Where the journal and the evidence of this cluster lie."""
        return self.path.parent / self.config.state

    @cached_property
    def clock(self) -> Clock:
        raise NotImplementedError

    @cached_property
    def journal(self) -> Journal:
        raise NotImplementedError

    @cached_property
    def observer(self) -> Observer:
        raise NotImplementedError

    @cached_property
    def hosts(self) -> Hosts:
        raise NotImplementedError

    @cached_property
    def etcd(self) -> Etcd:
        raise NotImplementedError

    @cached_property
    def kube(self) -> Kube:
        raise NotImplementedError

    @cached_property
    def lease(self) -> Lease:
        raise NotImplementedError

    @cached_property
    def balancer(self) -> Balancer | None:
        raise NotImplementedError

    @cached_property
    def machines(self) -> Machines | None:
        raise NotImplementedError

    @cached_property
    def artifacts(self) -> Artifacts:
        raise NotImplementedError


@asynccontextmanager
async def open_session(given: Path | None) -> AsyncIterator[Session]:
    """Load the configuration (all its mistakes at once) and yield the session."""
    raise NotImplementedError
    yield
