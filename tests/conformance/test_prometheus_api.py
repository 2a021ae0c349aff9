"""What a metrics server may answer, over loopback HTTP and TLS: only a whole answer is one.

The real server is in tests/lab/test_prometheus.py; here are the answers that it gives on a bad day.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from pawl.adapters.prometheus import PrometheusMetrics
from pawl.adapters.prometheus.http import Http
from pawl.adapters.prometheus.rulefiles import load_rules, seconds
from pawl.core.errors import ConfigError, Unreachable
from pawl.ports.metrics import MetricsRefused
from support_pki import Authority

VECTOR = {
    "status": "success",
    "data": {
        "resultType": "vector",
        "result": [
            {"metric": {"pod": "a"}, "value": [1000.5, "0.25"]},
            {"metric": {"pod": "b"}, "value": [1000.5, "NaN"]},
        ],
    },
}


class Server:
    """Answers each request with `answer(path, form, headers) -> (status, body)`."""

    def __init__(self, authority: Authority | None = None) -> None:
        self.answer: Callable[[str, dict[str, str], Any], tuple[int, Any]] = lambda *_: (
            200,
            VECTOR,
        )
        self.seen: list[tuple[str, dict[str, str], dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _do(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                form = {k: v[0] for k, v in parse_qs(self.rfile.read(length).decode()).items()}
                headers = {k.lower(): v for k, v in self.headers.items()}
                outer.seen.append((self.path, form, headers))
                status, body = outer.answer(self.path, form, headers)
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = _do

            def log_message(self, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        scheme = "http"
        if authority is not None:
            scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*authority.issue("prometheus"))
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def ask(url: str, call: Callable[[PrometheusMetrics], Any], **more: Any) -> Any:
    async def go() -> Any:
        http = Http("Prometheus", url, timeout=more.pop("timeout", 5.0), **more)
        try:
            return await call(PrometheusMetrics(http))
        finally:
            await http.aclose()

    return asyncio.run(go())


def test_an_instant_vector_without_what_is_not_a_number(server: Server) -> None:
    (series,) = ask(server.url, lambda m: m.query("up", 1000.5))
    assert series.labels == {"pod": "a"}
    assert (series.at, series.values) == ((1000.5,), (0.25,))
    path, form, _ = server.seen[0]
    assert path == "/api/v1/query"
    assert form == {"query": "up", "time": "1000.500"}


def test_a_long_range_is_asked_for_in_parts_and_joined(server: Server) -> None:
    def answer(path: str, form: dict[str, str], _: Any) -> tuple[int, Any]:
        start, end, step = (float(form[k]) for k in ("start", "end", "step"))
        assert (end - start) / step <= 11_000
        points = [[start, "1"], [end, "+Inf"], [end, "2"]]
        return 200, {
            "status": "success",
            "data": {"resultType": "matrix", "result": [{"metric": {"n": "x"}, "values": points}]},
        }

    server.answer = answer
    (series,) = ask(server.url, lambda m: m.range("up", 0.0, 250_000.0, 15.0))
    assert len(server.seen) == 2
    assert series.values == (1.0, 2.0, 1.0, 2.0)
    assert list(series.at) == sorted(series.at)
    assert series.at[-1] == 250_000.0


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (400, {"status": "error", "errorType": "bad_data", "error": "parse error"},
         MetricsRefused, "parse error"),
        (422, {"status": "error", "errorType": "execution", "error": "many-to-many matching"},
         MetricsRefused, "many-to-many"),
        (401, b"Unauthorized", MetricsRefused, "metrics.token_file"),
        (404, b"404 page not found", MetricsRefused, "metrics.url"),
        (503, {"status": "error", "errorType": "timeout", "error": "query timed out"},
         Unreachable, "timed out"),
        (422, {"status": "error", "errorType": "timeout", "error": "query timed out in expression"},
         Unreachable, "timed out"),
        (429, b"slow down", Unreachable, "429"),
        (502, b"<html>bad gateway</html>", Unreachable, "502"),
        (200, b"<html>a login page</html>", Unreachable, "not its API"),
        (200, {"status": "success", "data": {"resultType": "vector", "result": [{"value": 7}]}},
         Unreachable, "cannot read"),
        (200, {**VECTOR, "warnings": ["store-3 did not answer"]}, Unreachable, "only a part"),
    ],
)  # fmt: skip
def test_nothing_but_a_whole_answer_is_one(
    server: Server, status: int, body: Any, error: type[Exception], said: str
) -> None:
    server.answer = lambda *_: (status, body)
    with pytest.raises(error, match=said):
        ask(server.url, lambda m: m.query("up", 0.0))


def test_promql_notes_do_not_make_an_answer_partial(server: Server) -> None:
    note = "PromQL info: metric might not be a counter"
    server.answer = lambda *_: (200, {**VECTOR, "warnings": [note], "infos": [note]})
    assert len(ask(server.url, lambda m: m.query("up", 0.0))) == 1


def test_a_server_that_is_not_there_or_silent(server: Server) -> None:
    release = threading.Event()
    server.answer = lambda *_: (release.wait(5), (200, VECTOR))[1]
    with pytest.raises(Unreachable, match=r"did not answer within 0.2 s"):
        ask(server.url, lambda m: m.query("up", 0.0), timeout=0.2)
    release.set()
    with pytest.raises(Unreachable, match="cannot be reached"):
        ask("http://127.0.0.1:1", lambda m: m.query("up", 0.0))


def test_tls_with_a_token_that_is_rotated(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = Server(authority)
    token = tmp_path / "token"

    async def go() -> None:
        http = Http(
            "Prometheus", server.url, timeout=5.0, ca=str(authority.ca), token_file=str(token),
            tenant="shop",
        )  # fmt: skip
        metrics = PrometheusMetrics(http)
        for word in ("first", "second"):
            token.write_text(f"{word}\n")
            await metrics.query("up", 0.0)
        token.unlink()
        with pytest.raises(Unreachable, match="token"):
            await metrics.query("up", 0.0)
        await http.aclose()

    try:
        asyncio.run(go())
        told = [(h["authorization"], h["x-scope-orgid"]) for _, _, h in server.seen]
        assert told == [("Bearer first", "shop"), ("Bearer second", "shop")]
        with pytest.raises(Unreachable, match=r"(?i)certificate"):
            ask(server.url, lambda m: m.query("up", 0.0))
    finally:
        server.close()


def test_a_token_is_not_sent_in_the_clear(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not https"):
        Http("Prometheus", "http://198.18.0.9:9090", timeout=1.0, token_file=str(tmp_path / "t"))


def test_rules_from_files(tmp_path: Path) -> None:
    (tmp_path / "mixin.yaml").write_text(
        "groups:\n- name: a\n  rules:\n"
        "  - {record: x:y, expr: sum(x)}\n"
        "  - alert: KubePodNotReady\n    expr: up == 0\n    for: 15m\n"
        "    labels: {severity: warning}\n    annotations: {summary: A pod is not ready.}\n"
        "  - {alert: Watchdog, expr: vector(1)}\n"
    )
    (tmp_path / "object.yaml").write_text(
        "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata: {name: x}\n"
        "spec:\n  groups:\n  - name: b\n    rules:\n"
        "    - {alert: Slow, expr: 'latency > 1', for: 1h30m}\n"
    )
    paths = [str(tmp_path / n) for n in ("mixin.yaml", "object.yaml")]
    first, second = load_rules(paths, ("Watchdog",))
    assert (first.name, first.hold, first.summary) == (
        "KubePodNotReady",
        900.0,
        "A pod is not ready",
    )
    assert (second.name, second.hold) == ("Slow", 5400.0)
    assert seconds("250ms") == 0.25
    (tmp_path / "other.yaml").write_text("a: 1\n")
    (tmp_path / "empty.yaml").write_text("groups: [{name: c, rules: [{alert: NoExpr}]}]\n")
    with pytest.raises(ConfigError) as caught:
        load_rules([*paths, str(tmp_path / "other.yaml"), str(tmp_path / "empty.yaml")])
    assert len(caught.value.problems) == 2
