"""The notifiers of pawl.yaml, with their secrets fetched. All mistakes are told at once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from pawl.adapters.notify.email import EmailNotifier
from pawl.adapters.notify.http import SlackNotifier, WebhookNotifier
from pawl.adapters.notify.secrets import secret
from pawl.core.config import NotifierConfig
from pawl.core.errors import ConfigError
from pawl.ports.notifier import Notifier


def notifiers(
    configured: Sequence[NotifierConfig],
    *,
    agent: str,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Notifier]:
    """By name. Raises ConfigError with every notifier that cannot be used."""
    found: dict[str, Notifier] = {}
    problems: list[str] = []
    for one in configured:
        try:
            made = _one(one, agent, os.environ if environment is None else environment)
        except ConfigError as error:
            problems += [f"{one.name}: {problem}" for problem in error.problems]
        except OSError as error:
            problems.append(f"{one.name}: ca {one.ca} cannot be read: {error.strerror or error}")
        else:
            found[one.name] = made
    if problems:
        raise ConfigError("watch.notifiers", problems)
    return found


def _one(one: NotifierConfig, agent: str, environment: Mapping[str, str]) -> Notifier:
    where = f"watch.notifiers: {one.name}"
    if one.kind == "email":
        missing = [k for k in ("server", "sender") if not getattr(one, k)]
        if missing:
            raise ConfigError(where, [f"{key} is missing" for key in missing])
        password = secret(one.name, "password", one.password_file, one.password_env, environment)
        if bool(one.user) != bool(password):
            raise ConfigError(where, ["user and password_file (or password_env) go together"])
        return EmailNotifier(
            one.name,
            server=one.server,
            sender=one.sender,
            port=one.port,
            tls=one.tls,
            ca=one.ca,
            user=one.user,
            password=password,
            timeout=one.timeout,
        )
    url = secret(one.name, "url", one.url_file, one.url_env, environment)
    if url is None:
        raise ConfigError(where, ["name its URL's place: url_file or url_env"])
    make = SlackNotifier if one.kind == "slack" else WebhookNotifier
    return make(one.name, url, timeout=one.timeout, ca=one.ca, agent=agent)
