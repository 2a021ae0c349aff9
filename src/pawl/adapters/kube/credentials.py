"""Exec credentials (client.authentication.k8s.io/v1 and v1beta1), which lightkube refuses for v1.

Everything else of a kubeconfig (contexts, tokens, certificates, CA) is lightkube's.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import anyio
import httpx2
import msgspec
from lightkube.config.models import UserExec

from pawl.core.errors import Unreachable

EXEC_SECONDS = 30.0


class _Status(msgspec.Struct):
    token: str = ""
    expires: datetime | None = msgspec.field(name="expirationTimestamp", default=None)


class _ExecCredential(msgspec.Struct):
    status: _Status


class ExecAuth(httpx2.Auth):
    """Runs the plugin when there is no token, when it has expired, and once after a 401."""

    def __init__(self, plugin: UserExec) -> None:
        self._plugin = plugin
        self._status: _Status | None = None

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        if self._status is None or self._expired(self._status):
            self._status = await self._run()
        request.headers["Authorization"] = f"Bearer {self._status.token}"
        response = yield request
        if response.status_code == 401:
            self._status = await self._run()
            request.headers["Authorization"] = f"Bearer {self._status.token}"
            yield request

    @staticmethod
    def _expired(status: _Status) -> bool:
        return status.expires is not None and status.expires <= datetime.now(UTC)

    async def _run(self) -> _Status:
        plugin = self._plugin
        info = {"apiVersion": plugin.apiVersion, "kind": "ExecCredential", "spec": {}}
        info["spec"] = {"interactive": False}
        environment = dict(os.environ)
        environment["KUBERNETES_EXEC_INFO"] = msgspec.json.encode(info).decode()
        environment.update((e.name, e.value) for e in plugin.env or ())
        try:
            with anyio.fail_after(EXEC_SECONDS):
                done = await anyio.run_process(
                    [plugin.command, *(plugin.args or ())], env=environment, check=False
                )
        except (OSError, TimeoutError) as error:
            raise Unreachable(
                f"the credential plugin {plugin.command} of the kubeconfig failed: "
                f"{error or 'no answer in time'}"
            ) from error
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip()[-300:]
            raise Unreachable(f"the credential plugin {plugin.command} failed: {said}")
        try:
            status = msgspec.json.decode(done.stdout, type=_ExecCredential).status
        except msgspec.DecodeError as error:
            raise Unreachable(
                f"the credential plugin {plugin.command} printed no ExecCredential: {error}"
            ) from error
        if not status.token:
            raise Unreachable(
                f"the credential plugin {plugin.command} gave no token; "
                "pawl takes tokens from plugins, or certificates from the kubeconfig"
            )
        return status
