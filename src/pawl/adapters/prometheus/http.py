"""One HTTP client for both: TLS against the given CA, a token that is read anew for each request.

The token is read from its file each time because such tokens are rotated under a running process.
It is never sent over plain HTTP except to this machine itself.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from pawl.adapters.config.semantics import is_loopback
from pawl.core.errors import ConfigError, Unreachable


class Http:
    """Requests below one base URL. `who` names the server in sentences ("Prometheus")."""

    def __init__(
        self,
        who: str,
        url: str,
        *,
        timeout: float,
        ca: str = "",
        cert: str = "",
        key: str = "",
        token_file: str = "",
        tenant: str = "",
    ) -> None:
        self.who = who
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._token_file = token_file
        self._tenant = tenant
        parts = urlsplit(self.url)
        if token_file and parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise ConfigError(
                "pawl.yaml",
                [f"metrics: {url} is not https, so the token in {token_file} is not sent to it"],
            )
        verify: ssl.SSLContext | bool = True
        if parts.scheme == "https":
            try:
                verify = ssl.create_default_context(cafile=ca or None)
                if cert:
                    verify.load_cert_chain(cert, key or None)
            except (OSError, ssl.SSLError) as error:
                raise ConfigError("pawl.yaml", [f"metrics: certificates: {error}"]) from error
        self._client = httpx2.AsyncClient(
            verify=verify, trust_env=False, timeout=timeout, follow_redirects=False
        )

    async def request(
        self,
        method: str,
        path: str,
        *,
        form: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> httpx2.Response:
        """The answer whatever its status. Raises `Unreachable` when there is none."""
        headers = {}
        if self._token_file:
            headers["Authorization"] = f"Bearer {self._token()}"
        if self._tenant:
            headers["X-Scope-OrgID"] = self._tenant
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            return await self._client.request(
                method, f"{self.url}{path}", data=form, content=body, headers=headers
            )
        except httpx2.TimeoutException as error:
            raise Unreachable(
                f"{self.who} at {self.url} did not answer within {self._timeout:g} s"
            ) from error
        except (httpx2.HTTPError, OSError) as error:  # ssl.SSLError is an OSError
            said = str(error) or type(error).__name__
            raise Unreachable(f"{self.who} at {self.url} cannot be reached: {said}") from error

    def _token(self) -> str:
        try:
            return Path(self._token_file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Unreachable(
                f"the token for {self.who} cannot be read from {self._token_file}: {error}"
            ) from error

    async def aclose(self) -> None:
        await self._client.aclose()
