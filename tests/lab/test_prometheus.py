"""Real Prometheus and Alertmanager processes on loopback: the adapters, the judge over a real time
series database, `pawl verify`, and silences that lapse by themselves.

History is written by promtool from a text file, so nothing has to be waited for.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from pawl.adapters.clock import SystemClock
from pawl.adapters.prometheus import AlertmanagerSilences, PrometheusMetrics
from pawl.adapters.prometheus.http import Http
from pawl.adapters.prometheus.rulefiles import load_rules
from pawl.core.config import MetricsConfig
from pawl.core.verify.catalog import CATALOG
from pawl.core.verify.judge import judge
from pawl.core.verify.reading import Reading
from pawl.core.verify.rules import Rule
from pawl.engine.measuring import Measurer, Situation
from pawl.engine.silencing import Silencer, Silencing
from pawl.ports.metrics import MetricsRefused
from pawl.ports.silences import Matcher, Silence
from support_pki import credentials

STEP = 30.0
DAY = 86400.0
STARTS = 180.0
"""Seconds until a program answers, or something comes about: a few on an idle machine."""
WEEK = 7 * DAY


def binary(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed; `make setup` does")
    return found


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def serve(command: list[str], url: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + STARTS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise AssertionError(f"{command[0]} ended with {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=1):
                return process
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    process.kill()
    raise AssertionError(f"{command[0]} does not get ready")


def prometheus(directory: Path, config: dict[str, Any]) -> Iterator[str]:
    (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
    url = f"http://127.0.0.1:{free_port()}"
    process = serve(
        [
            binary("prometheus"),
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            "--storage.tsdb.retention.time=60d",
            f"--web.listen-address={url.removeprefix('http://')}",
        ],
        f"{url}/-/ready",
    )
    yield url
    process.terminate()
    process.wait(STARTS)


def ask(url: str, call: Callable[[PrometheusMetrics], Any]) -> Any:
    async def go() -> Any:
        http = Http("Prometheus", url, timeout=60.0)
        try:
            return await call(PrometheusMetrics(http))
        finally:
            await http.aclose()

    return asyncio.run(go())


# -- a live one, with an exporter and a rule --------------------------------------------------


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    binary("prometheus")
    directory = tmp_path_factory.mktemp("live")

    class Exporter(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'demo_level{pod="web-1",namespace="shop"} 7\ndemo_nan NaN\n'
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            return

    exporter = HTTPServer(("127.0.0.1", 0), Exporter)
    threading.Thread(target=exporter.serve_forever, daemon=True).start()
    rules = {
        "groups": [
            {
                "name": "demo",
                "rules": [
                    {"record": "demo:double", "expr": "demo_level * 2"},
                    {
                        "alert": "LevelHigh",
                        "expr": "demo_level > 5",
                        "for": "15m",
                        "labels": {"severity": "warning"},
                    },
                    {"alert": "LevelAbsurd", "expr": "demo_level > 500"},
                ],
            }
        ]
    }
    (directory / "rules.yml").write_text(yaml.safe_dump(rules))
    yield from prometheus(
        directory,
        {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(directory / "rules.yml")],
            "scrape_configs": [
                {
                    "job_name": "demo",
                    "static_configs": [{"targets": [f"127.0.0.1:{exporter.server_address[1]}"]}],
                },
                {"job_name": "etcd", "static_configs": [{"targets": ["127.0.0.1:1"]}]},
            ],
        },
    )
    exporter.shutdown()


def eventually(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + STARTS
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.2)
    return found


def test_a_scraped_series_an_instant_and_a_range(live: str) -> None:
    (series,) = eventually(lambda: ask(live, lambda m: m.query("demo_level", time.time())))
    assert series.labels["pod"] == "web-1"
    assert series.values == (7.0,)

    def ranged() -> Any:
        now = time.time()
        found = ask(live, lambda m: m.range("demo_level", now - 3, now, 1.0))
        return found if found and len(found[0].at) >= 2 else None

    (line,) = eventually(ranged)
    assert set(line.values) == {7.0}
    assert ask(live, lambda m: m.query("demo_nan", time.time())) == ()
    assert ask(live, lambda m: m.query("nothing_of_that_name", time.time())) == ()
    (scalar,) = ask(live, lambda m: m.query("1 + 1", time.time()))
    assert scalar.values == (2.0,)


def test_a_wrong_query_is_refused_with_the_servers_words(live: str) -> None:
    with pytest.raises(MetricsRefused, match="parse error"):
        ask(live, lambda m: m.query("rate(demo_level[", time.time()))
    with pytest.raises(MetricsRefused, match="numbers over time"):
        ask(live, lambda m: m.query('"text"', time.time()))


def test_every_shipped_query_is_accepted(live: str) -> None:
    for gate in CATALOG:
        query = gate.query.replace("$window", "60s")
        now = time.time()
        assert ask(live, lambda m, q=query, n=now: m.range(q, n - 60, n, 15.0)) == (), gate.name  # type: ignore[misc]


def test_a_rule_is_judged_while_its_alert_is_only_pending(live: str) -> None:
    def pending() -> Any:
        return [a for a in ask(live, lambda m: m.alerts()) if a.state == "pending"]

    (alert,) = eventually(pending)
    assert alert.labels["alertname"] == "LevelHigh"
    assert 0 <= time.time() - alert.since < 900, "or it would fire"
    rules = {r.name: r for r in ask(live, lambda m: m.rules())}
    assert (rules["LevelHigh"].state, rules["LevelHigh"].hold) == ("pending", 900.0)
    assert rules["LevelAbsurd"].state == "inactive"
    assert "demo:double" not in rules

    def readings(**more: Any) -> tuple[Reading, ...]:
        config = MetricsConfig(url=live, step=1.0, warm_up=2.0, **more)
        rule = Rule(name="Mine", expr="demo_level > 5", hold=900.0, source="mine.yaml")
        now = time.time()
        situation = Situation(
            new=frozenset(), old=frozenset(), since=now - 5, begun=now - 3600, now=now
        )
        given = () if more else (rule,)
        made = ask(live, lambda m: Measurer(m, config, (), given).measure(situation))
        assert made.errors == ()
        return tuple(made.rules)

    def failing(**more: Any) -> Any:
        return [r for r in readings(**more) if r.verdict == "fail"]

    eventually(failing)
    (server,) = eventually(lambda: failing(server_rules=True))
    assert server.gate == "rule LevelHigh"
    assert failing(server_rules=True, expected=("LevelHigh",)) == []


def test_rules_of_upstream_are_judged_long_before_their_alert_would_fire(live: str) -> None:
    fixtures = Path(__file__).parents[1] / "fixtures" / "rules"
    rules = load_rules(
        [str(fixtures / "etcd-mixin.yaml"), str(fixtures / "kube-state-metrics.yaml")]
    )
    config = MetricsConfig(url=live, step=1.0)

    def readings() -> tuple[Reading, ...]:
        now = time.time()
        situation = Situation(
            new=frozenset(), old=frozenset(), since=now - 5, begun=now - 3600, now=now
        )
        made = ask(live, lambda m: Measurer(m, config, (), rules).measure(situation))
        assert made.errors == ()
        assert len(made.rules) == len(rules) == 18, "the server takes each expression"
        return tuple(made.rules)

    # its only member does not answer; their `for` is 10 and 3 minutes
    down = {"rule etcdMembersDown", "rule etcdInsufficientMembers"}
    eventually(lambda: {r.gate for r in readings() if r.verdict == "fail"} == down)


# -- a day of history ---------------------------------------------------------------------------

NODES = [f"n{i}" for i in range(1, 7)]
NEW = ("n1", "n2", "n3")
SPAN = 1800.0


def day_of(end: float, slow: float) -> str:
    """OpenMetrics text: a quiet day, and on the new nodes pods from `SPAN` before its end that are
    slower by the factor; two hours each one, two and three weeks earlier for a workload `solo`
    that runs on new nodes alone."""
    rng = random.Random(4)
    info: list[str] = []
    starts: list[str] = []
    total: list[str] = []
    seconds: list[str] = []
    counts: list[str] = []

    def pod(name: str, workload: str, node: str, a: float, b: float, latency: float) -> None:
        labels = f'namespace="shop",pod="{name}"'
        place = f'{labels},node="{node}",created_by_kind="StatefulSet",created_by_name="{workload}"'
        requests = spent = 0.0
        at = math.ceil(a / STEP) * STEP
        while at <= b:
            rate = 20 * (1 + 0.4 * math.sin(at / DAY * 2 * math.pi)) * rng.gauss(1, 0.05)
            requests += rate * STEP
            spent += rate * STEP * latency * rng.gauss(1, 0.05)
            info.append(f"kube_pod_info{{{place}}} 1 {at:.0f}")
            starts.append(f"kube_pod_start_time{{{labels}}} {a:.0f} {at:.0f}")
            total.append(f'http_requests_total{{{labels},code="200"}} {requests:.3f} {at:.0f}')
            seconds.append(f"http_request_duration_seconds_sum{{{labels}}} {spent:.5f} {at:.0f}")
            counts.append(
                f"http_request_duration_seconds_count{{{labels}}} {requests:.3f} {at:.0f}"
            )
            at += STEP

    for index, node in enumerate(NODES):
        change = end - SPAN if node in NEW else end
        pod(f"web-{index}", "web", node, end - DAY, change, 0.1)
        if node in NEW:
            pod(f"web-new-{index}", "web", node, change, end, 0.1 * slow)
    for weeks in (0, 1, 2, 3):
        a = end - weeks * WEEK - 2 * 3600
        pod("solo-0", "solo", "n1", a, end - weeks * WEEK + 600 * (weeks > 0), 0.2)
    both = "\n".join([*seconds, *counts])
    return (
        "# TYPE kube_pod_info gauge\n" + "\n".join(info)
        + "\n# TYPE kube_pod_start_time gauge\n" + "\n".join(starts)
        + "\n# TYPE http_requests counter\n" + "\n".join(total)
        + "\n# TYPE http_request_duration_seconds summary\n" + both
        + "\n# EOF\n"
    )  # fmt: skip


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, float]]:
    directory = tmp_path_factory.mktemp("past")
    end = math.floor(time.time() / STEP) * STEP
    (directory / "day.txt").write_text(day_of(end, 1.25))
    subprocess.run(
        [
            binary("promtool"), "tsdb", "create-blocks-from", "--quiet", "openmetrics",
            str(directory / "day.txt"), str(directory / "data"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    for url in prometheus(directory, {"scrape_configs": []}):
        yield url, end


def config_of(url: str) -> MetricsConfig:
    return MetricsConfig(url=url, step=STEP, rate_window=60.0)


def measured(past: tuple[str, float], new: frozenset[str], now: float) -> dict[str, Reading]:
    url, _ = past
    situation = Situation(
        new=new,
        old=frozenset(NODES) - new,
        since=now - SPAN,
        begun=now - SPAN,
        now=now,
    )
    made = ask(url, lambda m: Measurer(m, config_of(url), CATALOG).measure(situation))
    assert made.errors == ()
    return {r.key: r for r in judge(made.sides)}


def test_slower_pods_on_new_nodes_are_found_in_a_real_database(past: tuple[str, float]) -> None:
    found = measured(past, frozenset(NEW), past[1])
    slow = found["http-latency/shop/StatefulSet/web"]
    assert slow.verdict == "fail", slow.why
    assert slow.change == pytest.approx(0.25, abs=0.05)
    assert found["http-5xx/shop/StatefulSet/web"].verdict == "pass"
    assert found["cpu/the cluster"].verdict == "absent"


def test_the_same_hour_of_earlier_weeks_where_no_old_node_is_left(
    past: tuple[str, float],
) -> None:
    found = measured(past, frozenset(NEW), past[1])["http-latency/shop/StatefulSet/solo"]
    assert found.against == "earlier weeks", found.why
    assert found.verdict == "pass", found.why


def test_a_quiet_hour_passes(past: tuple[str, float]) -> None:
    found = measured(past, frozenset({"n4"}), past[1] - 3 * 3600)
    assert found["http-latency/shop/StatefulSet/web"].verdict == "pass"


@pytest.fixture
def configured(past: tuple[str, float], tmp_path: Path) -> Path:
    credentials(tmp_path)
    text = {
        "cluster": "shop",
        "hosts": [{"name": "cp-1", "address": "198.18.0.1", "roles": ["control-plane", "etcd"]}],
        "ssh": {"key": "key", "known_hosts": "known_hosts"},
        "etcd": {"ca": "ca.crt", "cert": "etcd.crt", "key": "etcd.key"},
        "api": {"endpoint": "https://198.18.0.1:6443", "kubeconfig": "kubeconfig"},
        "metrics": {"url": past[0], "step": STEP, "rate_window": 60},
    }
    path = tmp_path / "pawl.yaml"
    path.write_text(yaml.safe_dump(text))
    return path


def pawl(configured: Path, *arguments: str) -> tuple[int, str]:
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "pawl", "verify", *arguments, "--config", str(configured)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_command_judges_and_draws(configured: Path) -> None:
    code, said = pawl(configured, "--new", "n1", "n2", "n3")
    assert code == 1, said
    print(said)
    assert "fail: http latency of shop/StatefulSet/web is 12" in said
    assert any(bar in said for bar in "▁▂▃▄▅▆▇█")
    code, said = pawl(configured, "--new", "n1", "--gate", "http-5xx", "-o", "json")
    assert code == 0, said
    assert json.loads(said)["verdict"] == "pass"
    code, said = pawl(configured, "--new", "n9")
    assert code == 4
    assert "n9" in said


def test_history_proves_quiet_gates(configured: Path) -> None:
    code, said = pawl(configured, "--history", "--windows", "24", "--days", "0.9", "-o", "json")
    found = json.loads(said)
    outcomes = [w["outcome"] for w in found["windows"]]
    assert found["errors"] == []
    assert outcomes.count("pass") >= 20, said[-2000:]
    # the newest windows hold the real slowness: nothing else may fail
    assert all(w["end"] > found["at"] - SPAN - 300 for w in found["windows"]
               if w["outcome"] == "fail")  # fmt: skip
    assert code in (0, 1)
    assert (configured.parent / ".pawl/verify/history.json").is_file()


# -- silences -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = binary("prometheus-alertmanager")
    directory = tmp_path_factory.mktemp("alertmanager")
    config = {"route": {"receiver": "none"}, "receivers": [{"name": "none"}]}
    (directory / "alertmanager.yml").write_text(yaml.safe_dump(config))
    url = f"http://127.0.0.1:{free_port()}"
    process = serve(
        [
            program,
            f"--config.file={directory / 'alertmanager.yml'}",
            f"--storage.path={directory / 'data'}",
            f"--web.listen-address={url.removeprefix('http://')}",
            "--cluster.listen-address=",
        ],
        f"{url}/-/ready",
    )
    yield url
    process.terminate()
    process.wait(STARTS)


def fire(url: str, *alerts: dict[str, str]) -> None:
    body = json.dumps([{"labels": a} for a in alerts]).encode()
    request = urllib.request.Request(
        f"{url}/api/v2/alerts", body, {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=60).close()


def state_of(url: str, name: str, **labels: str) -> str:
    with urllib.request.urlopen(f"{url}/api/v2/alerts", timeout=60) as answer:
        for alert in json.load(answer):
            if alert["labels"] == {"alertname": name, **labels}:
                return str(alert["status"]["state"])
    return ""


def with_silences(url: str, call: Callable[[AlertmanagerSilences], Any]) -> Any:
    async def go() -> Any:
        http = Http("Alertmanager", url, timeout=60.0)
        try:
            return await call(AlertmanagerSilences(http))
        finally:
            await http.aclose()

    return asyncio.run(go())


def test_a_silence_is_held_renewed_and_lapses_by_itself(alertmanager: str) -> None:
    now = time.time()
    wanted = Silence(
        id="", matchers=(Matcher(name="alertname", value="Lapse.*", regex=True),),
        starts=now, ends=now + 300, by="pawl:test",
    )  # fmt: skip
    fire(alertmanager, {"alertname": "Lapses"})
    held = with_silences(alertmanager, lambda s: s.hold(wanted))
    eventually(lambda: state_of(alertmanager, "Lapses") == "suppressed")
    longer = with_silences(alertmanager, lambda s: s.hold(replace(held, ends=now + 600)))
    (active,) = with_silences(alertmanager, lambda s: s.active("pawl:test"))
    assert active.id == longer.id
    assert active.ends == pytest.approx(now + 600, abs=1.5)
    assert with_silences(alertmanager, lambda s: s.active("somebody else")) == ()
    # nobody renews it any more, as if pawl had died
    with_silences(alertmanager, lambda s: s.hold(replace(longer, ends=time.time() + 8)))
    eventually(lambda: state_of(alertmanager, "Lapses") == "active")
    assert with_silences(alertmanager, lambda s: s.active("pawl:test")) == ()


def test_ending_a_silence_that_is_gone_is_no_error(alertmanager: str) -> None:
    now = time.time()
    wanted = Silence(
        id="", matchers=(Matcher(name="alertname", value="Ends"),), starts=now, ends=now + 60,
        by="pawl:ends",
    )  # fmt: skip
    held = with_silences(alertmanager, lambda s: s.hold(wanted))
    with_silences(alertmanager, lambda s: s.end(held.id))
    assert with_silences(alertmanager, lambda s: s.active("pawl:ends")) == ()
    with_silences(alertmanager, lambda s: s.end(held.id))
    nowhere = "00000000-0000-0000-0000-000000000000"
    with_silences(alertmanager, lambda s: s.end(nowhere))
    again = with_silences(alertmanager, lambda s: s.hold(replace(wanted, id=nowhere)))
    assert again.id not in ("", nowhere), "one that was removed is made anew"


def test_only_named_alerts_of_the_machine_that_is_worked_on(alertmanager: str) -> None:
    fire(
        alertmanager,
        {"alertname": "KubeletDown", "node": "w-1"},
        {"alertname": "KubeletDown", "node": "w-2"},
        {"alertname": "TargetDown", "instance": "198.18.0.101:9100"},
        {"alertname": "DiskFull", "node": "w-1"},
    )
    working: dict[str, frozenset[str]] = {"w-1": frozenset({"w-1", "198.18.0.101"})}
    told: list[str] = []

    async def turns() -> tuple[int, int]:
        http = Http("Alertmanager", alertmanager, timeout=60.0)
        silences = AlertmanagerSilences(http)
        silencing = Silencing(silences=silences, alerts=("KubeletDown", "TargetDown"))

        def silencer() -> Silencer:
            return Silencer(silencing, SystemClock(), "pawl:run", lambda: working, told.append)

        await silencer().turn()
        second = silencer()  # another process, after a crash: it takes over and makes none anew
        await second.turn()
        held = len(await silences.active("pawl:run"))
        working.clear()
        await second.turn()
        left = await silences.active("pawl:run")
        await http.aclose()
        return held, sum(s.ends - time.time() <= 301 for s in left)

    held, shortened = asyncio.run(turns())
    assert (held, shortened, told) == (2, 2, [])
    eventually(lambda: state_of(alertmanager, "KubeletDown", node="w-1") == "suppressed")
    eventually(
        lambda: state_of(alertmanager, "TargetDown", instance="198.18.0.101:9100") == "suppressed"
    )
    assert state_of(alertmanager, "KubeletDown", node="w-2") == "active"
    assert state_of(alertmanager, "DiskFull", node="w-1") == "active"
