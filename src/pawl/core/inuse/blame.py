"""Which line a binary complains of: its words name a flag, a gate, a plugin or a field."""

from __future__ import annotations

import re

from pawl.core.inuse.facts import HostUse, place

_FLAG = re.compile(r"--([a-z][a-z0-9-]+)")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]{3,}")
_API = re.compile(r"\b[a-z0-9.-]+/v[0-9][a-z0-9]*\b")


def blame(use: HostUse, component: str, complaint: str) -> str:
    """ "host:file:line" of what the complaint is about, "" when its words lead nowhere.

    A flag that is named comes first; then a flag or a field that holds one of the words that stand
    in few places (`SidecarContainers`, not `feature`).
    """
    flags = use.of(component)
    for name in _FLAG.findall(complaint):
        for flag in flags:
            if flag.name == name:
                return place(use.host, flag.path, flag.line)
    for word in (*_API.findall(complaint), *_WORD.findall(complaint)):
        if word.islower() and "/" not in word:
            continue
        exact = re.compile(rf"\b{re.escape(word)}\b")
        for flag in flags:
            if exact.search(flag.value):
                return place(use.host, flag.path, flag.line)
        for document in use.config(component):
            for setting in document.settings:
                if exact.search(setting.key.rsplit(".", 1)[-1]) or setting.value == word:
                    return place(use.host, document.path, setting.line)
    for word in _WORD.findall(complaint):
        for document in use.config(component):
            for setting in document.settings:
                if setting.key.rsplit(".", 1)[-1] == word:
                    return place(use.host, document.path, setting.line)
    return ""
