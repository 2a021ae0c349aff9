"""Webhooks: pawl's own JSON, or a text in Slack's format (Mattermost and others take it too).

The URL is the secret. It is sent nowhere but to its host, redirects are not followed, and errors
carry the status or the kind of failure alone. `Idempotency-Key` is the letter's id.
"""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec

from pawl.adapters.notify.secrets import Secret
from pawl.core.errors import ConfigError
from pawl.core.watch.letters import Letter
from pawl.ports.notifier import Undeliverable

MOST_TEXT = 3_500
"""Slack cuts a message at 4,000 characters (docs.slack.dev, chat.postMessage); pawl cuts it before,
at the end of a line, and says so."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class WebhookNotifier:
    """Posts a letter as JSON: all of its fields, with `subject` and `text`."""

    def __init__(
        self, name: str, url: Secret, *, timeout: float = 10.0, ca: str = "", agent: str = "pawl"
    ) -> None:
        self._name = name
        parts = urlsplit(url.reveal())
        if parts.scheme != "https" and parts.hostname not in LOOPBACK:
            raise ConfigError(
                f"watch.notifiers: {name}",
                ["its URL is not https; findings name what is weak, so they travel encrypted"],
            )
        self._url = url
        self._timeout = timeout
        self._agent = agent
        self._context = ssl.create_default_context(cafile=ca or None)

    @property
    def name(self) -> str:
        return self._name

    def body(self, letter: Letter) -> Any:
        plain = msgspec.to_builtins(letter)
        return {"schema": 1, **plain, "subject": letter.subject, "text": letter.text}

    async def send(self, letter: Letter) -> None:
        content = msgspec.json.encode(self.body(letter))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": self._agent,
            "Idempotency-Key": letter.id,
        }
        try:
            async with httpx2.AsyncClient(
                verify=self._context, timeout=self._timeout, trust_env=False, follow_redirects=False
            ) as client:
                answer = await client.post(self._url.reveal(), content=content, headers=headers)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            kind = type(error).__name__
            raise Undeliverable(f"notifier {self._name} was not reached ({kind})") from None
        if not 200 <= answer.status_code < 300:
            raise Undeliverable(f"notifier {self._name} answered HTTP {answer.status_code}")


class SlackNotifier(WebhookNotifier):
    """Posts `{"text": …}`, with the three characters escaped that Slack's format reserves."""

    def body(self, letter: Letter) -> Any:
        text = f"{letter.subject}\n{letter.text}"
        if len(text) > MOST_TEXT:
            text = text[:MOST_TEXT].rpartition("\n")[0] + "\n… and more; see `pawl watch --show`"
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return {"text": escaped}
