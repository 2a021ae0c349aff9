"""E-mail over SMTP with TLS: STARTTLS (587), or TLS from the first byte (465).

Without TLS neither a password nor findings are sent, except to this machine's own mail server.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import format_datetime, localtime
from typing import Literal

from pawl.adapters.notify.http import LOOPBACK
from pawl.adapters.notify.secrets import Secret
from pawl.core.errors import ConfigError
from pawl.core.watch.letters import Letter
from pawl.ports.notifier import Undeliverable

Tls = Literal["starttls", "implicit", "none"]


class EmailNotifier:
    def __init__(
        self,
        name: str,
        *,
        server: str,
        sender: str,
        port: int = 587,
        tls: Tls = "starttls",
        ca: str = "",
        user: str = "",
        password: Secret | None = None,
        timeout: float = 10.0,
    ) -> None:
        if tls == "none" and server not in LOOPBACK:
            raise ConfigError(
                f"watch.notifiers: {name}",
                ["tls: none is for a mail server on this machine only; use starttls or implicit"],
            )
        self._name, self._server, self._port, self._tls = name, server, port, tls
        self._sender, self._user, self._password = sender, user, password
        self._timeout = timeout
        self._context = ssl.create_default_context(cafile=ca or None)

    @property
    def name(self) -> str:
        return self._name

    async def send(self, letter: Letter) -> None:
        if not letter.to:
            raise Undeliverable(f"notifier {self._name} has no address for {letter.owner}")
        # smtplib blocks; the thread ends by its own timeouts even when the watch is stopped.
        await asyncio.to_thread(self._send, self.message(letter))

    def message(self, letter: Letter) -> EmailMessage:
        """Raises `Undeliverable` for an address or subject that no header can hold."""
        message = EmailMessage()
        try:
            message["From"] = self._sender
            message["To"] = ", ".join(letter.to)
            message["Subject"] = letter.subject
            message["Date"] = format_datetime(localtime())
            message["Message-ID"] = f"<{letter.id}@pawl.invalid>"
            message["Auto-Submitted"] = "auto-generated"
            message["X-Pawl-Letter"] = letter.kind
        except ValueError as error:
            raise Undeliverable(
                f"notifier {self._name} cannot write to {', '.join(letter.to)!r}: {error}"
            ) from None
        message.set_content(letter.text)
        return message

    def _send(self, message: EmailMessage) -> None:
        try:
            with self._connect() as smtp:
                if self._tls == "starttls":
                    smtp.starttls(context=self._context)
                if self._user and self._password:
                    smtp.login(self._user, self._password.reveal())
                refused = smtp.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            codes = {code for code, _ in error.recipients.values()}
            raise Undeliverable(
                f"notifier {self._name}: the server refused every address ({codes})"
            ) from None
        except smtplib.SMTPResponseException as error:
            # The server's text is left out: after AUTH it may repeat what it was sent.
            raise Undeliverable(
                f"notifier {self._name}: the server answered {error.smtp_code}"
            ) from None
        except (smtplib.SMTPException, OSError, ValueError) as error:
            kind = type(error).__name__
            raise Undeliverable(f"notifier {self._name} was not reached ({kind})") from None
        if refused:
            raise Undeliverable(f"notifier {self._name}: refused for {', '.join(refused)}")

    def _connect(self) -> smtplib.SMTP:
        if self._tls == "implicit":
            return smtplib.SMTP_SSL(
                self._server, self._port, timeout=self._timeout, context=self._context
            )
        return smtplib.SMTP(self._server, self._port, timeout=self._timeout)
