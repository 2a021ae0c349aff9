"""Asking a binary whether it accepts flags, without ever starting it.

Parsing alone (`--version`) finds unknown flags, but not an unknown feature gate of a kubelet or an
emulated version out of range: these are found by validation, which runs just before the start. So
each binary gets the flags in use and one more whose value its validation always refuses; all
validation errors are reported together, and the one that pawl provoked is taken out of the answer.

Seen with kube-apiserver, kube-controller-manager, kube-scheduler, kubelet and kube-proxy 1.36.0
and 1.37.0, etcd 3.5.33 and 3.6.14: no socket is opened, no directory made, exit within 0.2 s.
kube-proxy and etcd stop at their first error. A time limit stands around all of it.

The scheduler reads its configuration file only after validation. `SCHEDULER_CONFIG` asks it by
another way: no port (`--secure-port=0`), and a kubeconfig that is not there, which is what it stops
at when all before was in order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

_SECURE_PORT = re.compile(
    r"--secure-port -1 must be between \d and 65535, inclusive"
    r"(\. (0 for turning off secure port|It cannot be turned off with 0))?"
)

_KLOG = re.compile(r'E\d{4} .*\berr="((?:[^"\\]|\\.)*)"')
_ZAP = re.compile(r'\{.*"msg":"failed to verify flags","error":"((?:[^"\\]|\\.)*)"')


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """`poison`: the flag that can never pass. `echo`: what the binary says of it."""

    poison: tuple[str, ...]
    echo: re.Pattern[str]


PROBES: dict[str, Probe] = {
    "etcd": Probe(
        poison=("--auto-compaction-mode=pawl-probe",),
        # etcd logs JSON by default, so the quotes may come escaped.
        echo=re.compile(r'unknown auto-compaction-mode \\*"pawl-probe\\*"'),
    ),
    "kubelet": Probe(
        poison=("--max-open-files=-1",),
        echo=re.compile(
            r"invalid configuration: maxOpenFiles \(--max-open-files\) -1 "
            r"must not be a negative number"
        ),
    ),
    # Writes the defaulted configuration and exits, instead of starting.
    "kube-proxy": Probe(poison=("--write-config-to=/dev/null",), echo=re.compile(r"(?!)")),
}
SCHEDULER_CONFIG = Probe(
    poison=("--secure-port=0", "--write-config-to=/dev/null"),
    echo=re.compile(r"stat \S*pawl-no-kubeconfig: no such file or directory"),
)
_SECURE = Probe(poison=("--secure-port=-1",), echo=_SECURE_PORT)
_PARSE_ONLY = Probe(poison=("--version",), echo=re.compile(r"(?!)"))


def probe_of(component: str, flags: Sequence[str]) -> Probe:
    """How to ask this component. With --config-file etcd ignores all other flags, so the poison
    would not work: there only parsing is asked."""
    if component == "etcd" and any(f.lstrip("-").startswith("config-file") for f in flags):
        return _PARSE_ONLY
    return PROBES.get(component, _SECURE)


def complaints(
    component: str, flags: Sequence[str], code: int, output: str, probe: Probe | None = None
) -> tuple[str, ...]:
    """The binary's own objections in `output`, one sentence each; none means accepted."""
    probe = probe or probe_of(component, flags)
    said = [_clean(line, probe) for line in output.splitlines()]
    found = tuple(dict.fromkeys(s for s in said if s))
    if found:
        return found
    if probe.echo.search(output.replace('\\"', '"')) or code == 0:
        return ()
    tail = output.strip().splitlines()[-1:] or ["it said nothing"]
    return (f"{component} ended with code {code} when its flags were checked: {tail[0]}",)


def _clean(line: str, probe: Probe) -> str:
    message = _message(line)
    if not message:
        return ""
    message = probe.echo.sub("\0", message)
    if "\0" in message:
        # What is left around the provoked error is the frame of an aggregated message.
        message = re.sub(r"(, )?\0(, )?", lambda m: ", " if m[1] and m[2] else "", message)
        message = re.sub(r"^failed to validate kubelet configuration, error: ", "", message)
        message = re.sub(r"[\], ]*path: &TypeMeta.*$", "", message)
        message = message.strip(" []")
    return message


def _message(line: str) -> str:
    """The error text of one line of klog, zap, pflag or Go's flag package; "" for other lines."""
    if line.startswith("Error: "):
        return line.removeprefix("Error: ").strip()
    if line.startswith("panic: "):  # the kubelet's, for gates in its configuration file
        return re.sub(r"^failed to merge .*?, error: ", "", line.removeprefix("panic: ").strip())
    if m := _KLOG.match(line) or _ZAP.match(line):
        return m[1].replace('\\"', '"')
    if re.match(r"flag provided but not defined:|invalid (boolean )?value .* for flag", line):
        return line.strip()
    return ""
