"""The `Notifier` port over a real SMTP server and a real HTTPS receiver on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support_receivers import Mailbox, Posts, https, smtp

from pawl.adapters.notify import EmailNotifier, SlackNotifier, WebhookNotifier, notifiers
from pawl.adapters.notify.secrets import Secret
from pawl.core.config import NotifierConfig
from pawl.core.errors import ConfigError
from pawl.core.findings import Severity
from pawl.core.watch.letters import Letter
from pawl.core.watch.sighting import Sighting
from pawl.ports.notifier import Undeliverable
from support_pki import Authority

pytestmark = pytest.mark.anyio
TOKEN = "T0P-s3cret"
SEEN = Sighting(
    key="k1", source="pawl scan", code="api-removed", severity=Severity.BLOCKER, minor="1.37",
    subject="CronJob web/report", message="batch/v1beta1 is <gone> & done", owner="ada",
    remedy="Use batch/v1.",
)  # fmt: skip
LETTER = Letter(
    id="0123456789abcdef", kind="new", cluster="shop", owner="ada", notifier="n",
    to=("ada@example.com", "bob@example.com"), new=(SEEN,), open=(SEEN,), since=("2026-11-20",),
    target="1.37", deadline="2027-01-31", days_left=68,
)  # fmt: skip


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Path, Path]:
    authority = Authority(tmp_path_factory.mktemp("pki"))
    return authority, *authority.issue("receiver")


@pytest.fixture
def mailbox(pki: tuple[Authority, Path, Path]) -> Iterator[Mailbox]:
    with smtp(pki[1], pki[2]) as box:
        yield box


@pytest.fixture
def posts(pki: tuple[Authority, Path, Path]) -> Iterator[Posts]:
    with https(pki[1], pki[2]) as received:
        yield received


def mail(pki: tuple[Authority, Path, Path], port: int, **more: object) -> EmailNotifier:
    given: dict[str, object] = {
        "server": "127.0.0.1", "port": port, "sender": "pawl@example.com", "ca": str(pki[0].ca),
        "user": "pawl", "password": Secret(TOKEN), **more,
    }  # fmt: skip
    return EmailNotifier("mail", **given)  # type: ignore[arg-type]


async def test_a_mail_arrives_over_starttls_with_everything_an_owner_needs(
    pki: tuple[Authority, Path, Path], mailbox: Mailbox
) -> None:
    await mail(pki, mailbox.port).send(LETTER)
    ((sender, recipients, message),) = mailbox.mails
    assert mailbox.encrypted == [True]
    assert mailbox.logins == [("pawl", TOKEN)]
    assert (sender, recipients) == ("pawl@example.com", ["ada@example.com", "bob@example.com"])
    assert message["Subject"] == (
        "[pawl] shop: 1 new finding before Kubernetes 1.37, due 2027-01-31"
    )
    assert message["Message-ID"] == "<0123456789abcdef@pawl.invalid>"
    text = message.get_content()
    for part in ("CronJob web/report", "breaks at 1.37", "Use batch/v1.", "2027-01-31, in 68 days"):
        assert part in text
    assert TOKEN not in message.as_string()


async def test_tls_from_the_first_byte(pki: tuple[Authority, Path, Path]) -> None:
    with smtp(pki[1], pki[2], implicit=True) as box:
        await mail(pki, box.port, tls="implicit").send(LETTER)
        assert box.encrypted == [True]


async def test_a_mail_server_with_a_foreign_certificate_gets_no_password(
    pki: tuple[Authority, Path, Path], mailbox: Mailbox, tmp_path: Path
) -> None:
    other = Authority(tmp_path)
    with pytest.raises(Undeliverable, match="not reached"):
        await mail(pki, mailbox.port, ca=str(other.ca)).send(LETTER)
    assert mailbox.mails == []
    assert mailbox.logins == []


@pytest.mark.parametrize("command", ["AUTH", "MAIL", "RCPT", "STARTTLS"])
async def test_a_refusal_is_told_without_the_password(
    pki: tuple[Authority, Path, Path], mailbox: Mailbox, command: str
) -> None:
    mailbox.refuse[command] = f"550 no, {TOKEN}"
    with pytest.raises(Undeliverable) as refused:
        await mail(pki, mailbox.port).send(LETTER)
    assert TOKEN not in str(refused.value)
    assert mailbox.mails == []


async def test_an_address_cannot_add_headers(
    pki: tuple[Authority, Path, Path], mailbox: Mailbox
) -> None:
    import msgspec

    evil = msgspec.structs.replace(LETTER, to=("a@example.com\nBcc: b@example.com",))
    with pytest.raises(Undeliverable, match="cannot write to"):
        await mail(pki, mailbox.port).send(evil)
    nobody = msgspec.structs.replace(LETTER, to=())
    with pytest.raises(Undeliverable, match="no address for ada"):
        await mail(pki, mailbox.port).send(nobody)
    assert mailbox.mails == []


async def test_a_webhook_gets_the_whole_letter_once_and_by_its_id(
    pki: tuple[Authority, Path, Path], posts: Posts
) -> None:
    hook = WebhookNotifier("ops", Secret(f"{posts.url}/hook/{TOKEN}"), ca=str(pki[0].ca))
    await hook.send(LETTER)
    ((path, headers, body),) = posts.received
    assert path == f"/hook/{TOKEN}"
    assert headers["Idempotency-Key"] == LETTER.id
    assert body["schema"] == 1
    assert body["new"][0]["subject"] == "CronJob web/report"
    assert body["text"] == LETTER.text
    assert body["deadline"] == "2027-01-31"


@pytest.mark.parametrize("status", [302, 404, 429, 500])
async def test_anything_but_2xx_is_undelivered_and_says_no_secret(
    pki: tuple[Authority, Path, Path], posts: Posts, status: int
) -> None:
    posts.status = [status]
    hook = WebhookNotifier("ops", Secret(f"{posts.url}/hook/{TOKEN}"), ca=str(pki[0].ca))
    with pytest.raises(Undeliverable, match=f"ops answered HTTP {status}") as refused:
        await hook.send(LETTER)
    assert TOKEN not in str(refused.value)
    assert len(posts.received) == 1


async def test_a_dead_receiver_is_undelivered_and_says_no_secret() -> None:
    hook = WebhookNotifier("ops", Secret(f"https://127.0.0.1:1/{TOKEN}"), timeout=2.0)
    with pytest.raises(Undeliverable) as refused:
        await hook.send(LETTER)
    assert TOKEN not in f"{refused.value} {refused.value.__cause__} {hook.__dict__}"


async def test_slack_text_is_escaped_and_never_too_long(
    pki: tuple[Authority, Path, Path], posts: Posts
) -> None:
    import msgspec

    chat = SlackNotifier("chat", Secret(f"{posts.url}/x"), ca=str(pki[0].ca))
    await chat.send(LETTER)
    text = posts.received[0][2]["text"]
    assert "batch/v1beta1 is &lt;gone&gt; &amp; done" in text
    many = tuple(msgspec.structs.replace(SEEN, key=str(n)) for n in range(60))
    await chat.send(msgspec.structs.replace(LETTER, new=many, open=many, since=("2026",) * 60))
    assert len(posts.received[1][2]["text"]) < 4_000
    assert "and more" in posts.received[1][2]["text"]


# -- out of pawl.yaml ------------------------------------------------------------------------


def held(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text + "\n")
    path.chmod(mode)
    return str(path)


async def test_secrets_come_from_a_file_or_the_environment(
    pki: tuple[Authority, Path, Path], posts: Posts, mailbox: Mailbox, tmp_path: Path
) -> None:
    made = notifiers(
        [
            NotifierConfig(name="a", kind="slack", ca=str(pki[0].ca),
                           url_file=held(tmp_path / "url", f"{posts.url}/a")),
            NotifierConfig(name="b", kind="webhook", ca=str(pki[0].ca), url_env="HOOK"),
            NotifierConfig(name="c", kind="email", ca=str(pki[0].ca), server="127.0.0.1",
                           port=mailbox.port, sender="p@example.com", user="u",
                           password_file=held(tmp_path / "password", TOKEN)),
        ],
        agent="pawl/test",
        environment={"HOOK": f"{posts.url}/b"},
    )  # fmt: skip
    for notifier in made.values():
        await notifier.send(LETTER)
    assert [path for path, _, _ in posts.received] == ["/a", "/b"]
    assert mailbox.logins == [("u", TOKEN)]
    assert TOKEN not in repr(made["c"].__dict__)


def test_every_notifier_that_cannot_be_used_is_told_at_once(tmp_path: Path) -> None:
    open_file = held(tmp_path / "open", f"https://hooks.example/{TOKEN}", mode=0o644)
    plain = held(tmp_path / "plain", f"http://hooks.example/{TOKEN}")
    with pytest.raises(ConfigError) as refused:
        notifiers(
            [
                NotifierConfig(name="open", kind="webhook", url_file=open_file),
                NotifierConfig(name="plain", kind="webhook", url_file=plain),
                NotifierConfig(name="unset", kind="slack", url_env="NOT_SET"),
                NotifierConfig(name="none", kind="slack"),
                NotifierConfig(name="mail", kind="email", server="mail.example", tls="none",
                               sender="p@example.com"),
                NotifierConfig(name="user", kind="email", server="mail.example", user="u",
                               sender="p@example.com"),
            ],
            agent="pawl/test",
            environment={},
        )  # fmt: skip
    text = str(refused.value)
    for name in ("open", "plain", "unset", "none", "mail", "user"):
        assert f"- {name}: " in text
    assert TOKEN not in text
