"""The watch: what is new, what is gone, whom to tell and when; and the loop around it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import anyio
import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pawl.adapters.metrics import MetricsServer
from pawl.adapters.store.sqlite_history import SqliteHistory
from pawl.core.errors import ConfigError, PawlError, Unreachable
from pawl.core.findings import Finding, Severity
from pawl.core.inventory.report import Client, Inventory
from pawl.core.lint.finding import LintFinding
from pawl.core.model import Unread
from pawl.core.ownership import Ownership, decode
from pawl.core.watch.events import AnyEvent, Appeared, Gone, Looked, Told
from pawl.core.watch.letters import Letter, days_left, due, ways
from pawl.core.watch.metrics import exposition
from pawl.core.watch.sighting import Round, Sighting, of_inventory, of_lint
from pawl.core.watch.state import State, compare, fold
from pawl.engine.watching import Settings, Watcher
from pawl.ports.notifier import Undeliverable

DAY = 86_400.0
NOW = 1_795_000_000.0  # 2026-11-18

OWNERSHIP = decode(
    {
        "owners": {
            "ada": [{"notifier": "mail", "to": ["ada@example.com"]}, {"notifier": "chat"}],
            "bob": [{"notifier": "mail", "to": ["bob@example.com"]}],
        },
        "default": [{"notifier": "chat"}],
    },
    "owners.yaml",
)


def sighting(key: str, owner: str = "ada", severity: Severity = Severity.WARNING) -> Sighting:
    return Sighting(
        key=key, source="pawl scan", code="api-removed", severity=severity,
        subject=f"CronJob web/{key}", message="gone", owner=owner,
    )  # fmt: skip


def seen(*keys: str, unread: bool = False, owner: str = "ada") -> Round:
    lost = (Unread(source="CRDs", why="403"),) if unread else ()
    return Round(
        sightings=tuple(sighting(k, owner) for k in keys),
        unread=lost,
        server="1.36.0",
        target="1.37",
    )


def after(*rounds: Round) -> State:
    state = State()
    for number, one in enumerate(rounds):
        for event in compare(state, one, NOW + number, 1.0):
            state.apply(event)
    return state


# -- what a round changes --------------------------------------------------------------------


def test_new_gone_and_back_again() -> None:
    state = after(seen("a", "b"))
    events = compare(state, seen("b", "c"), NOW, 1.0)
    assert [e.sighting.key for e in events if isinstance(e, Appeared)] == ["c"]
    assert [e.key for e in events if isinstance(e, Gone)] == ["a"]
    assert "a" in after(seen("a"), seen(), seen("a")).open


def test_a_round_that_could_not_read_something_resolves_nothing() -> None:
    events = compare(after(seen("a")), seen("b", unread=True), NOW, 1.0)
    assert not [e for e in events if isinstance(e, Gone)]
    assert [e.unread for e in events if isinstance(e, Looked)] == [("CRDs",)]


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sets(st.sampled_from("abcde")), st.booleans()), max_size=6),
)
def test_what_is_open_is_what_was_seen_since_the_last_complete_round(
    rounds: list[tuple[set[str], bool]],
) -> None:
    expected: set[str] = set()
    for keys, unread in rounds:
        expected = expected | keys if unread else set(keys)
    state = after(*(seen(*sorted(keys), unread=unread) for keys, unread in rounds))
    assert set(state.open) == expected


def test_a_key_stays_while_counts_and_times_change_and_changes_with_the_severity() -> None:
    def key(message: str, severity: Severity = Severity.WARNING) -> str:
        finding = Finding(code="PAWL-A007", severity=severity, subject="Deployment web/x",
                          message=message, remedy="r")  # fmt: skip
        inventory = Inventory(server="", path=(), as_of="", findings=(finding,))
        return of_inventory(inventory)[0].key

    first = key("x called v1beta1/y (last 2026-11-20T10:00:00Z).")
    assert first == key("x called v1beta1/y (last 2026-11-21T11:30:00Z).")
    assert first != key("x called v1beta1/z (last 2026-11-20T10:00:00Z).")
    assert first != key("x called v1beta1/y (last 2026-11-20T10:00:00Z).", Severity.BLOCKER)


def test_sightings_have_their_owners_and_leave_information_out() -> None:
    client = Client(kind="Deployment", namespace="web", name="x", service_account="x", owner="ada",
                    release="web/x")  # fmt: skip

    def finding(subject: str, severity: Severity) -> Finding:
        return Finding(code="C", severity=severity, subject=subject, message="m", remedy="r")

    inventory = Inventory(
        server="", path=(), as_of="", clients=(client,),
        findings=(finding("Deployment web/x", Severity.WARNING),
                  finding("Helm release web/x", Severity.BLOCKER),
                  finding("Deployment web/y", Severity.INFO)),
    )  # fmt: skip
    assert [(s.subject, s.owner) for s in of_inventory(inventory)] == [
        ("Deployment web/x", "ada"),
        ("Helm release web/x", "ada"),
    ]
    lint = LintFinding(rule="api-removed", severity=Severity.BLOCKER, path="live/web/CronJob/r",
                       line=0, api_version="batch/v1beta1", kind="CronJob", message="gone",
                       owner="ada", waived="waived by bob")  # fmt: skip
    (one,) = of_lint((lint, msgspec.structs.replace(lint, severity=Severity.INFO)))
    assert one.severity is Severity.WARNING, "a waived blocker is a warning"


# -- letters ---------------------------------------------------------------------------------


def letters(state: State, at: float = NOW, **more: object) -> tuple[Letter, ...]:
    given: dict[str, object] = {"cluster": "shop", "target": "1.37", **more}
    return due(state, OWNERSHIP, at, **given)  # type: ignore[arg-type]


def delivered(state: State, sent: Iterable[Letter], at: float = NOW) -> None:
    for letter in sent:
        state.apply(
            Told(at=at, letter=letter.id, route=letter.route, owner=letter.owner,
                 keys=tuple(s.key for s in letter.new))
        )  # fmt: skip


def test_each_owner_once_by_each_way_with_all_that_is_new() -> None:
    state = after(seen("a", "b"))
    first = letters(state)
    assert [(x.route, [s.key for s in x.new]) for x in first] == [
        ("chat", ["a", "b"]),
        ("mail ada@example.com", ["a", "b"]),
    ]
    delivered(state, first)
    assert letters(state) == ()
    for event in compare(state, seen("a", "b", "c"), NOW, 1.0):
        state.apply(event)
    again = letters(state)
    assert [[s.key for s in x.new] for x in again] == [["c"], ["c"]]
    assert "Still open:" in again[0].text


def test_a_letter_that_failed_goes_out_again_with_the_same_id() -> None:
    state = after(seen("a"))
    chat, mail = letters(state)
    delivered(state, [chat])
    assert letters(state) == (mail,)
    assert letters(state, at=NOW + DAY)[0].id == mail.id


def test_what_came_back_is_told_again() -> None:
    state = after(seen("a"))
    delivered(state, letters(state))
    for number, one in enumerate((seen(), seen("a"))):
        for event in compare(state, one, NOW + number, 1.0):
            state.apply(event)
    assert [[s.key for s in x.new] for x in letters(state)] == [["a"], ["a"]]


def test_another_owner_is_told_too() -> None:
    state = after(seen("a", owner="ada"))
    delivered(state, letters(state))
    for event in compare(state, seen("a", owner="bob"), NOW, 1.0):
        state.apply(event)
    assert [x.route for x in letters(state)] == ["mail bob@example.com"]


def test_a_digest_repeats_what_is_open_and_only_after_its_days() -> None:
    state = after(seen("a"))
    delivered(state, letters(state))
    assert letters(state, at=NOW + 6.9 * DAY) == ()
    digest = letters(state, at=NOW + 7.1 * DAY)
    assert {x.kind for x in digest} == {"digest"}
    assert "1 open finding" in digest[0].subject
    delivered(state, digest, at=NOW + 7.1 * DAY)
    assert letters(state, at=NOW + 8 * DAY) == ()
    assert letters(state, at=NOW + 20 * DAY, digest_days=0.0) == ()
    for event in compare(state, seen(), NOW, 1.0):
        state.apply(event)
    assert letters(state, at=NOW + 90 * DAY) == (), "nothing is open: nothing to repeat"


def test_the_deadline_stands_in_the_letter() -> None:
    letter = letters(after(seen("a")), deadline="2026-12-18")[0]
    assert letter.days_left == 30
    assert "planned for 2026-12-18, in 30 days" in letter.text
    assert letter.subject.endswith("due 2026-12-18")
    assert days_left("", NOW) is None
    assert "was planned for" in letters(after(seen("a")), deadline="2026-11-01")[0].text


def test_an_address_is_written_to_only_in_a_domain_that_is_allowed() -> None:
    mail = {"mail": ("example.com",)}
    assert ways("eve@example.com", OWNERSHIP, mail)[0].to == ("eve@example.com",)
    assert ways("eve@elsewhere.org", OWNERSHIP, mail) == OWNERSHIP.default
    assert ways("x y@example.com", OWNERSHIP, mail) == OWNERSHIP.default
    assert ways("", Ownership(), mail) == ()
    assert ways("ada", OWNERSHIP, {})[0].to == ("ada@example.com",)


# -- metrics ---------------------------------------------------------------------------------


def test_the_exposition_counts_and_escapes() -> None:
    state = after(seen("a", "b", owner='say "hi"\\\n'), seen("a", "b", owner="x", unread=True))
    delivered(state, [msgspec.structs.replace(letters(after(seen("a")))[0], new=())])
    text = exposition(state, version="1.0", cluster="shop", deadline="2027-01-31")
    line = re.compile(r'^[a-z_]+\{([a-z]+="(\\.|[^"\\\n])*",?)*\} [0-9.e+]+$')
    for sample in text.splitlines():
        assert sample.startswith("# ") or line.match(sample), sample
    assert 'pawl_watch_rounds_total{cluster="shop",outcome="incomplete"} 1' in text
    assert 'pawl_watch_letters_total{cluster="shop",notifier="chat",outcome="delivered"} 1' in text
    assert re.search(r"pawl_watch_findings\{.*owner=.x.*\} 2", text)
    assert "pawl_watch_deadline_timestamp_seconds" in text


# -- the loop --------------------------------------------------------------------------------


class Chat:
    """A notifier that keeps what it was sent, or fails as told."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent: list[Letter] = []
        self.broken = False
        self.entered = anyio.Event()
        self.gate: anyio.Event | None = None

    async def send(self, letter: Letter) -> None:
        self.entered.set()
        if self.gate:
            await self.gate.wait()
        if self.broken:
            raise Undeliverable(f"notifier {self.name} answered HTTP 500")
        self.sent.append(letter)


class Turning:
    """A clock in which time passes only by sleeping; it calls `then` after `rounds` sleeps."""

    def __init__(self) -> None:
        self.time, self.sleeps = NOW, 0
        self.stop: anyio.Event | None = None
        self.rounds = 3

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        self.sleeps += 1
        if self.stop and self.sleeps >= self.rounds:
            self.stop.set()
        await anyio.sleep(0)


class Cluster:
    """What each look gives; the last one stays. An error is raised."""

    def __init__(self, *answers: Round | PawlError) -> None:
        self.answers = list(answers)

    async def __call__(self) -> Round:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, PawlError):
            raise answer
        return answer


def watcher(
    path: Path, look: Callable[[], Awaitable[Round]], clock: Turning, *ways: Chat
) -> Watcher:
    return Watcher(
        look=look, history=SqliteHistory(path / "watch.db"), notifiers={w.name: w for w in ways},
        ownership=lambda: OWNERSHIP, clock=clock, say=lambda line: None,
        settings=Settings(cluster="shop", deadline="2027-01-31"),
    )  # fmt: skip


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_it_tells_once_also_after_a_restart(tmp_path: Path) -> None:
    chat, mail = Chat("chat"), Chat("mail")
    await watcher(tmp_path, Cluster(seen("a")), Turning(), chat, mail).round()
    await watcher(tmp_path, Cluster(seen("a")), Turning(), chat, mail).round()
    assert [len(chat.sent), len(mail.sent)] == [1, 1]
    assert mail.sent[0].to == ("ada@example.com",)


@pytest.mark.anyio
async def test_a_notifier_that_fails_hinders_no_other_and_is_tried_again(tmp_path: Path) -> None:
    chat, mail = Chat("chat"), Chat("mail")
    chat.broken = True
    one = watcher(tmp_path, Cluster(seen("a")), Turning(), chat, mail)
    await one.round()
    assert one.state.failed == {"chat": 1}
    assert len(mail.sent) == 1
    chat.broken = False
    await one.round()
    assert [len(chat.sent), len(mail.sent)] == [1, 1]


@pytest.mark.anyio
async def test_a_look_that_fails_is_written_down_and_the_next_one_comes(tmp_path: Path) -> None:
    clock, stop = Turning(), anyio.Event()
    clock.stop = stop
    chat, mail = Chat("chat"), Chat("mail")
    look = Cluster(Unreachable("no answer"), seen("a"), seen("a", "b"))
    one = watcher(tmp_path, look, clock, chat, mail)
    await one.run(3600.0, stop)
    assert one.state.rounds == {"failed": 1, "complete": 2}
    assert [[s.key for s in x.new] for x in chat.sent] == [["a"], ["b"]]
    assert clock.time == NOW + 3 * 3600.0


@pytest.mark.anyio
async def test_a_stop_breaks_off_a_look_but_never_a_letter(tmp_path: Path) -> None:
    chat, mail, stop = Chat("chat"), Chat("mail"), anyio.Event()
    chat.gate = anyio.Event()
    one = watcher(tmp_path, Cluster(seen("a")), Turning(), chat, mail)
    async with anyio.create_task_group() as group:
        group.start_soon(one.run, 3600.0, stop)
        await chat.entered.wait()
        stop.set()
        await anyio.wait_all_tasks_blocked()
        assert chat.sent == []
        chat.gate.set()
    assert [len(chat.sent), len(mail.sent)] == [1, 1]
    assert fold(SqliteHistory(tmp_path / "watch.db").events()).open["a"].told == {
        "chat",
        "mail ada@example.com",
    }

    async def endless() -> Round:
        stop_later.set()
        await anyio.sleep_forever()
        raise AssertionError

    stop_later = anyio.Event()
    with anyio.fail_after(5):
        await watcher(tmp_path / "2", endless, Turning()).run(3600.0, stop_later)


@pytest.mark.anyio
async def test_an_unknown_notifier_is_told_not_passed_over(tmp_path: Path) -> None:
    one = watcher(tmp_path, Cluster(seen("a")), Turning(), Chat("mail"))
    await one.round()
    assert one.state.failed == {"chat": 1}


# -- the history and the endpoint ------------------------------------------------------------


def test_the_history_is_private_append_only_and_whole(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "state" / "watch.db"
    history = SqliteHistory(path)
    events: list[AnyEvent] = [
        Appeared(at=1.0, sighting=sighting("a")),
        Looked(at=2.0, seconds=1.0, server="1.36.0", target="1.37", seen=1),
    ]
    history.append(events)
    assert history.events() == tuple(events)
    assert path.stat().st_mode & 0o777 == 0o600
    for wal in path.parent.iterdir():
        assert wal.stat().st_mode & 0o077 == 0, wal
    db = sqlite3.connect(path)
    for statement in ("UPDATE watch_events SET at = 0", "DELETE FROM watch_events"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute(statement)
    db.execute('INSERT INTO watch_events (at, body) VALUES (3, \'{"event":"Unheard"}\')')
    db.commit()
    with pytest.raises(PawlError, match="entry 3"):
        history.events()


@pytest.mark.anyio
async def test_metrics_are_served_and_nothing_else() -> None:
    server = MetricsServer("127.0.0.1:0", lambda: "pawl_up 1\n")
    await server.open()
    base = f"http://{server.address}"
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{base}/metrics")
        assert (answer.status_code, answer.text) == (200, "pawl_up 1\n")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert (await client.get(f"{base}/healthz")).status_code == 200
        assert (await client.get(f"{base}/etc/passwd")).status_code == 404
        assert (await client.post(f"{base}/metrics")).status_code == 405
    with pytest.raises(ConfigError, match="cannot be listened on"):
        await MetricsServer(server.address, lambda: "").open()
    await server.aclose()
