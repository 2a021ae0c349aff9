"""An API server's TLS front on loopback: answers by path, remembers what it was asked."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

import yaml

from support_pki import Authority

Answer = tuple[int, object]
"""Status, and a body: bytes as they are, anything else as JSON; None: never answer."""


@dataclass(frozen=True)
class Asked:
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    address: str


@dataclass
class FakeApi:
    """`routes`: a path to its answer, or to what makes one of the request. 404 for others."""

    routes: dict[str, Answer | Callable[[Asked], Answer]]
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = str(writer.get_extra_info("sockname")[0])
        try:
            while line := await reader.readline():
                target = line.split()[1].decode()
                headers = {}
                while header := (await reader.readline()).strip():
                    name, _, value = header.decode().partition(":")
                    headers[name.lower()] = value.strip()
                await reader.readexactly(int(headers.get("content-length", 0)))
                path, _, query = target.partition("?")
                asked = Asked(path, dict(parse_qsl(query)), headers, address)
                self.asked.append(asked)
                found = self.routes.get(f"{address}{path}") or self.routes.get(path)
                status, body = (
                    found(asked)
                    if callable(found)
                    else found or (404, {"kind": "Status", "message": "not found", "code": 404})
                )
                if body is None:
                    await reader.read()
                    return
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(data)}\r\n\r\n"
                writer.write(head.encode() + data)
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def paths(self) -> list[str]:
        return [a.path for a in self.asked]


@asynccontextmanager
async def fake_api(
    directory: Path, routes: dict[str, Answer | Callable[[Asked], Answer]]
) -> AsyncIterator[tuple[FakeApi, Path]]:
    """The front at 127.0.0.1 and 127.0.0.2 (one port), and a kubeconfig for it."""
    authority = Authority(directory)
    crt, key = authority.issue("api")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    api = FakeApi(routes)
    first = await asyncio.start_server(api.serve, "127.0.0.1", 0, ssl=context)
    api.port = first.sockets[0].getsockname()[1]
    second = await asyncio.start_server(api.serve, "127.0.0.2", api.port, ssl=context)
    kubeconfig = directory / "kubeconfig"
    cluster = {
        "server": f"https://127.0.0.1:{api.port}",
        "certificate-authority": str(authority.ca),
    }
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "current-context": "t",
                "contexts": [{"name": "t", "context": {"cluster": "t", "user": "t"}}],
                "clusters": [{"name": "t", "cluster": cluster}],
                "users": [{"name": "t", "user": {"token": "t"}}],
            }
        )
    )
    try:
        yield api, kubeconfig
    finally:
        for server in (first, second):
            server.close()
