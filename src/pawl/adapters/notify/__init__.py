"""Notifiers: a webhook, a chat that takes Slack's format, and e-mail."""

from pawl.adapters.notify.email import EmailNotifier
from pawl.adapters.notify.factory import notifiers
from pawl.adapters.notify.http import SlackNotifier, WebhookNotifier

__all__ = ["EmailNotifier", "SlackNotifier", "WebhookNotifier", "notifiers"]
