"""Requests to the API, by its common endpoint or to one API server's own address.

lightkube reads the kubeconfig and makes the TLS context; bodies stay raw bytes, decoded by msgspec
into structs of only the fields that are read. That is why 20,000 pods cost 1 to 2 s instead of the
half minute of a client that builds whole models (bench/status.py).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import anyio
import httpx2
import msgspec
import yaml
from lightkube.config import client_adapter
from lightkube.config.kubeconfig import KubeConfig
from lightkube.core.exceptions import ConfigError as LightkubeError

from pawl import __version__
from pawl.adapters.deadlines import late, within
from pawl.adapters.kube.credentials import ExecAuth
from pawl.adapters.kube.objects import Failure, Page
from pawl.core.errors import ConfigError, StepFailed, Unreachable

T = TypeVar("T")
PAGE = 500
BUSY_SECONDS = 1.0
BUSY = (408, 429, 500, 502, 503, 504)
"""HTTP statuses of an answer that may be another one a moment later. 500 is what an API server says
of most that goes wrong in etcd, and of a webhook that it cannot call."""
AGENT = f"pawl/{__version__}"


class KubeRefused(StepFailed):
    """The API said no. `code` is the HTTP status, `failure` its Status object."""

    def __init__(self, message: str, code: int, failure: Failure) -> None:
        self.code = code
        self.failure = failure
        super().__init__(message)


class KubeBusy(KubeRefused, Unreachable):
    """The API could not answer just now: it starts, ends, is flooded, or its etcd has no leader or
    a disk that stalls. Nothing is decided by that, as by a server that is silent."""


class KubeClient:
    """`endpoint` is the common one ("": the kubeconfig's); `servers` gives API servers' own URLs,
    which are tried in turn when nothing answers there. `timeout` is the deadline of one request."""

    def __init__(
        self,
        kubeconfig: Path,
        endpoint: str,
        timeout: float,
        servers: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        try:
            single = KubeConfig.from_file(kubeconfig).get()
            if single is None or single.user is None:
                raise LightkubeError("it has no current context with a user")
            verify = client_adapter.verify_cluster(
                single.cluster, single.user, single.abs_file, trust_env=False
            )
            plugin = single.user.exec
            auth = ExecAuth(plugin) if plugin else client_adapter.user_auth(single.user)
        except (AttributeError, KeyError, TypeError, yaml.YAMLError) as error:
            raise ConfigError(  # the library takes the shape of the file for granted
                str(kubeconfig), ["is no kubeconfig: see `kubectl config view`"]
            ) from error
        except (LightkubeError, OSError, ValueError, msgspec.DecodeError) as error:
            raise ConfigError(
                str(kubeconfig), [f"cannot be used as a kubeconfig: {error}; see `kubectl config`"]
            ) from error
        self.timeout = timeout
        self._endpoint = (endpoint or single.cluster.server).rstrip("/")
        self._servers = servers
        self._client = httpx2.AsyncClient(
            verify=verify,
            auth=auth,
            trust_env=False,
            timeout=within(timeout),
            headers={"User-Agent": AGENT, "Accept": "application/json"},
        )

    async def get(
        self, path: str, kind: type[T], params: Mapping[str, str] | None = None, base: str = ""
    ) -> T:
        return self._decode(path, await self._request("GET", path, base=base, params=params), kind)

    async def raw(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        accept: str = "application/json",
        base: str = "",
    ) -> bytes:
        """The body as it is, for who decodes it by himself."""
        response = await self._request(
            "GET", path, base=base, params=params, headers={"Accept": accept}
        )
        return response.content

    async def text(self, path: str, base: str) -> tuple[int, str]:
        """Status and body, whatever the status (for /readyz, which says 500 with its reasons)."""
        response = await self._send("GET", f"{base}{path}", None, None, {})
        return response.status_code, response.text

    async def lines(
        self,
        path: str,
        base: str,
        params: Mapping[str, str] | None = None,
        silence: float | None = None,
    ) -> AsyncGenerator[str, None]:
        """The body line by line; stop reading and the connection is dropped, not the body read.
        `silence`: seconds without a line that end it, where that is not the client's timeout."""
        url = f"{base}{path}"
        timeout = httpx2.Timeout(self.timeout, read=silence or self.timeout)
        try:
            async with self._client.stream("GET", url, params=params, timeout=timeout) as response:
                if response.status_code != 200:
                    await response.aread()
                    self._refuse(path, response)
                async for line in response.aiter_lines():
                    yield line
        except (httpx2.HTTPError, OSError) as error:
            raise self._unreachable(url, error) from error

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the API may answer, in the order in which it is asked."""
        return (self._endpoint, *self._servers())

    async def every(
        self, path: str, item: type[T], params: Mapping[str, str] | None = None
    ) -> list[T]:
        """All objects of a list."""
        return [o async for page in self.pages(path, item, params) for o in page]

    async def listed(self, path: str, item: type[T]) -> tuple[list[T], str]:
        """All objects of a list, and the version at which a watch goes on from it."""
        found: list[T] = []
        version = ""
        async for page in self._pages(path, item, None):
            found += page.items
            version = page.metadata.resource_version
        return found, version

    async def pages(
        self, path: str, item: type[T], params: Mapping[str, str] | None = None
    ) -> AsyncIterator[tuple[T, ...]]:
        """`PAGE` objects at a time, each page decoded at once: no whole list is held raw."""
        async for page in self._pages(path, item, params):
            yield page.items

    async def _pages(
        self, path: str, item: type[T], params: Mapping[str, str] | None
    ) -> AsyncIterator[Page[T]]:
        decoder = msgspec.json.Decoder(Page[item])  # type: ignore[valid-type]
        query = {"limit": str(PAGE), **(params or {})}
        while True:
            response = await self._request("GET", path, params=query)
            try:
                page = decoder.decode(response.content)
            except msgspec.DecodeError as error:
                raise Unreachable(f"the API's answer to {path} cannot be read: {error}") from error
            yield page
            if not page.metadata.more:
                return
            query["continue"] = page.metadata.more

    async def send(
        self, method: str, path: str, body: Any, kind: type[T], *, patch: bool = False
    ) -> T:
        """A write. Raises `KubeRefused` for any answer that is not 2xx."""
        content = "application/merge-patch+json" if patch else "application/json"
        response = await self._request(
            method,
            path,
            params={"fieldManager": "pawl"} if method in ("POST", "PUT", "PATCH") else None,
            body=msgspec.json.encode(body) if body is not None else None,
            headers={"Content-Type": content},
        )
        return self._decode(path, response, kind)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        base: str = "",
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        bases = [base] if base else [self._endpoint, *self._servers()]
        reasons: list[str] = []
        for candidate in bases:
            try:
                response = await self._send(
                    method, f"{candidate}{path}", params, body, dict(headers or {})
                )
            except Unreachable as error:
                reasons.append(str(error))
                continue
            if response.status_code >= 300:
                self._refuse(path, response)
            return response
        raise Unreachable("; ".join(reasons))

    async def _send(
        self,
        method: str,
        url: str,
        params: Mapping[str, str] | None,
        body: bytes | None,
        headers: dict[str, str],
    ) -> httpx2.Response:
        for last in (False, True):
            try:
                response = await self._client.request(
                    method, url, params=params, content=body, headers=headers
                )
            except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError) as error:
                # A kept connection that a stopping API server closed. Every write here is safe to
                # repeat: it carries a UID or a resource version, or names its end state.
                if last:
                    raise self._unreachable(url, error) from error
                continue
            except (httpx2.HTTPError, OSError) as error:
                raise self._unreachable(url, error) from error
            busy = response.status_code in (429, 503) and "Retry-After" in response.headers
            if busy and not last and "/eviction" not in url and "/readyz" not in url:
                # A server that is shutting down says so; the next connection meets another one.
                await anyio.sleep(BUSY_SECONDS)
                continue
            return response
        return response

    def _unreachable(self, url: str, error: Exception) -> Unreachable:
        if isinstance(error, httpx2.TimeoutException):
            return Unreachable(late(url, error, self.timeout))
        return Unreachable(f"{url} cannot be reached: {error or type(error).__name__}")

    @staticmethod
    def _refuse(path: str, response: httpx2.Response) -> None:
        try:
            failure = msgspec.json.decode(response.content, type=Failure)
        except msgspec.DecodeError:
            failure = Failure(message=response.text.strip()[:300])
        said = failure.message or f"HTTP {response.status_code}"
        kind = KubeBusy if response.status_code in BUSY else KubeRefused
        raise kind(f"the API refused {path}: {said}", response.status_code, failure)

    @staticmethod
    def _decode(path: str, response: httpx2.Response, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(response.content, type=kind)
        except msgspec.DecodeError as error:
            raise Unreachable(f"the API's answer to {path} cannot be read: {error}") from error

    async def aclose(self) -> None:
        await self._client.aclose()
