"""A real SMTP server (STARTTLS, AUTH) and a real HTTPS receiver on loopback, for notifiers."""

from __future__ import annotations

import base64
import json
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Mailbox:
    """`mails` are (sender, recipients, message); `logins` what AUTH PLAIN gave; `plain` is whether
    a mail came without TLS. `refuse` maps a command to the answer it gets."""

    port: int = 0
    mails: list[tuple[str, list[str], EmailMessage]] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    encrypted: list[bool] = field(default_factory=list)


@contextmanager
def smtp(crt: Path, key: Path, *, implicit: bool = False) -> Iterator[Mailbox]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    box = Mailbox()

    class Session(socketserver.StreamRequestHandler):
        secure = False

        def handle(self) -> None:
            try:
                if implicit:
                    self._tls()
                self._say("220 test ESMTP")
                self._talk()
            except (ssl.SSLError, OSError):
                return

        def _tls(self) -> None:
            self.connection = context.wrap_socket(self.connection, server_side=True)
            self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
            self.secure = True

        def _say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())
            self.wfile.flush()

        def _talk(self) -> None:
            sender, recipients = "", []
            while line := self.rfile.readline():
                verb, _, rest = line.decode().strip().partition(" ")
                verb = verb.upper()
                if verb in box.refuse:
                    self._say(box.refuse[verb])
                    continue
                match verb:
                    case "EHLO":
                        offered = ["250-test", "250-AUTH PLAIN"]
                        offered += ["250-STARTTLS"] * (not self.secure)
                        for word in [*offered, "250 SIZE 1000000"]:
                            self._say(word)
                    case "STARTTLS":
                        self._say("220 go")
                        self._tls()
                    case "AUTH":
                        _, user, password = base64.b64decode(rest.split()[-1]).decode().split("\0")
                        box.logins.append((user, password))
                        self._say("235 in")
                    case "MAIL":
                        sender = rest.partition("<")[2].partition(">")[0]
                        self._say("250 ok")
                    case "RCPT":
                        recipients.append(rest.partition("<")[2].partition(">")[0])
                        self._say("250 ok")
                    case "DATA":
                        self._say("354 go on")
                        data = b""
                        while (got := self.rfile.readline()) not in (b".\r\n", b""):
                            data += got.removeprefix(b".") if got.startswith(b"..") else got
                        parsed = message_from_bytes(data, policy=policy.default)
                        assert isinstance(parsed, EmailMessage)
                        box.mails.append((sender, recipients, parsed))
                        box.encrypted.append(self.secure)
                        sender, recipients = "", []
                        self._say("250 taken")
                    case "QUIT":
                        self._say("221 bye")
                        return
                    case _:
                        self._say("250 ok")

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), Session) as server:
        box.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield box
        finally:
            server.shutdown()


@dataclass
class Posts:
    """`received` are (path, headers, JSON body); answers come from `status`, the last one stays."""

    url: str = ""
    received: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    status: list[int] = field(default_factory=lambda: [200])


@contextmanager
def https(crt: Path, key: Path) -> Iterator[Posts]:
    posts = Posts()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posts.received.append((self.path, dict(self.headers), json.loads(body)))
            status = posts.status[0] if len(posts.status) == 1 else posts.status.pop(0)
            self.send_response(status)
            self.send_header("Location", "https://127.0.0.1:1/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    posts.url = f"https://127.0.0.1:{server.server_address[1]}"
    try:
        yield posts
    finally:
        server.shutdown()
        server.server_close()
