"""Risks of the API servers, controllers and the load balancer before them."""

from __future__ import annotations

from collections.abc import Iterator

from pawl.core import flags, interrupted, landed, skew
from pawl.core.checks.facts import Facts, check, finding
from pawl.core.findings import Finding
from pawl.core.version import Version


def _etcd_goes_first(facts: Facts) -> bool:
    if not facts.touches_etcd:
        return False
    target = Version.parse(facts.target.etcd)
    return any(m.version and Version.parse(m.version) != target for m in facts.state.members)


@check(
    C001="an API server is not ready",
    C008="a control-plane component was left stopped by an interrupted step",
)
def servers_ready(facts: Facts) -> Iterator[Finding]:
    """A server that an interrupted step left out is put back by the plan itself only where that
    begins with the control plane: a step of etcd or of a node waits for it in vain."""
    before = _etcd_goes_first(facts) or not facts.touches_control_plane
    for a in facts.state.api_servers:
        if interrupted.server(a, facts.state):
            yield finding(
                "C008",
                f"API server {a.host}",
                "was taken out of service in the middle of an upgrade"
                + (", and this plan needs it before it comes to it." if before else "."),
                "End that run with pawl abort, which puts it back, or go on with it: pawl run."
                if before
                else "Nothing to do: the plan finishes it first.",
                warn=not before,
            )
        elif not a.ready or a.version is None:
            bad = ", ".join(c.name for c in a.checks if not c.ok)
            yield finding(
                "C001",
                f"API server {a.host}",
                f"is not ready{f' ({bad})' if bad else ''}.",
                f"Look at journalctl -u kube-apiserver on {a.host} and bring it back first.",
            )


@check(
    C002="too few API servers are in the load balancer",
    C003="there is a single API server",
    C009="no load balancer is known",
)
def balanced(facts: Facts) -> Iterator[Finding]:
    """While one is out, `limits.api_servers_left` must serve. Replacing adds before it takes
    away, so it needs one less."""
    state = facts.state
    if not facts.touches_control_plane:
        return
    servers = state.api_servers
    replacing = facts.target.control_plane_strategy == "replace"
    if len(servers) == 1 and not replacing:
        yield finding(
            "C003",
            "control plane",
            "has a single API server: its restart is an outage of the API of some seconds.",
            "Announce it; workloads keep running meanwhile.",
            warn=True,
        )
        return
    if not state.balancer:
        if len(servers) > 1:
            yield finding(
                "C009",
                "control plane",
                f"has {len(servers)} API servers and no load balancer that pawl knows.",
                "Set load_balancer in pawl.yaml, so that servers are drained before they stop.",
                warn=True,
            )
        return
    serving = [
        a.host for a in servers if landed.in_balancer(a.host, state) or interrupted.server(a, state)
    ]
    left = facts.config.policy.limits.api_servers_left
    needed = left if replacing else left + 1
    if replacing and len(servers) == 1:
        needed = 1
    if len(serving) < needed:
        yield finding(
            "C002",
            "load balancer",
            f"has {len(serving)} API servers in service ({', '.join(serving) or 'none'}); while "
            f"one is out, {left} must be left.",
            "Bring more in, use --strategy control-plane=replace, or lower "
            "policy.limits.api_servers_left.",
        )


@check(C004="the version skew policy is breached already")
def skew_now(facts: Facts) -> Iterator[Finding]:
    for breach in skew.breaches(facts.state):
        yield finding(
            "C004",
            "version skew",
            breach,
            "Bring it within https://kubernetes.io/releases/version-skew-policy/ first.",
        )


@check(C005="the two-step upgrade is not available")
def two_step(facts: Facts) -> Iterator[Finding]:
    if not facts.touches_control_plane:
        return
    target = Version.parse(facts.target.kubernetes)
    span = skew.api_range(facts.state)
    if span is None or span[0] >= target.minor_line:
        return
    if not facts.target.two_step:
        why, remedy = "was switched off", "Leave out --single-step to keep a way back."
    elif span[0] < skew.EMULATION_FLOOR:
        why = f"needs binaries that emulate {span[0]}, which none does before 1.32"
        remedy = "Take a tested etcd snapshot as the only way back, and say so before you start."
    else:
        return
    yield finding(
        "C005",
        "control plane",
        f"The two-step upgrade {why}: there is no way back after the first API server.",
        remedy,
        warn=True,
    )


@check(C015="alpha features are on while an old minor shall be emulated")
def alpha(facts: Facts) -> Iterator[Finding]:
    """Alpha APIs and gates beside an emulated version are "unsupported, proceed at your own risk"
    (apiserver `api_enablement.go`, component-base `compatibility/registry.go`)."""
    if not facts.touches_control_plane or not facts.target.two_step:
        return
    target = Version.parse(facts.target.kubernetes)
    span = skew.api_range(facts.state)
    if span is None or not skew.can_emulate(target, span[0]):
        return
    for a in facts.state.api_servers:
        host = facts.state.host(a.host)
        in_use = host.flags.get("kube-apiserver", ()) if host else ()
        served = (flags.value_of(in_use, "--runtime-config") or "").split(",")
        gates = (flags.value_of(in_use, "--feature-gates") or "").split(",")
        on = [w for w in served if "alpha" in w and not w.endswith(("=false", "=0"))]
        on += [g for g in gates if g.split(":")[-1] == "AllAlpha=true"]
        if on:
            yield finding(
                "C015",
                f"API server {a.host}",
                f"has {', '.join(on)} on, which upstream does not support with an emulated "
                "version.",
                "Switch it off until the finish, or accept it.",
                warn=True,
            )


@check(C007="a controller is not well")
def controllers(facts: Facts) -> Iterator[Finding]:
    for c in facts.state.controllers:
        subject = f"{c.component} on {c.host}"
        if interrupted.controller(c, facts.state):
            yield finding(
                "C008",
                subject,
                "was stopped in the middle of an upgrade.",
                "Nothing to do: the plan finishes it first.",
                warn=True,
            )
        elif not c.healthy or c.version is None:
            yield finding(
                "C007",
                subject,
                "is not healthy." if not c.healthy else "does not tell its version.",
                f"Look at journalctl -u {c.component} on {c.host}.",
            )


@check(C010="a binary of the target refuses what is in use")
def complaints(facts: Facts) -> Iterator[Finding]:
    """The exact oracle: the target's own binary was asked."""
    for c in facts.complaints:
        yield finding(
            "C010",
            f"{c.component} on {c.host}",
            f"{c.component} {c.version} refuses the flags in use: {c.complaint}",
            "Correct the file on the host; the running version must accept it too.",
            where=c.where,
        )


@check(C011="API servers know one etcd endpoint only")
def endpoints(facts: Facts) -> Iterator[Finding]:
    """Such an API server is not ready while its member restarts."""
    if not facts.touches_etcd or len(facts.state.voters) < 2:
        return
    for a in facts.state.api_servers:
        host = facts.state.host(a.host)
        said = (
            flags.value_of(host.flags.get("kube-apiserver", ()), "--etcd-servers") if host else ""
        )
        if said and "," not in said:
            yield finding(
                "C011",
                f"API server {a.host}",
                f"knows one etcd endpoint only ({said}), and is not ready while that restarts.",
                "List all members in --etcd-servers.",
                warn=True,
            )


@check(C012="API servers stop without a delay")
def shutdown_delay(facts: Facts) -> Iterator[Finding]:
    if not facts.touches_control_plane or len(facts.state.api_servers) < 2:
        return
    for a in facts.state.api_servers:
        host = facts.state.host(a.host)
        in_use = host.flags.get("kube-apiserver", ()) if host else ()
        if host and in_use and not flags.value_of(in_use, "--shutdown-delay-duration"):
            yield finding(
                "C012",
                f"API server {a.host}",
                "has no --shutdown-delay-duration, so it refuses connections as soon as it is "
                "told to stop.",
                "Set --shutdown-delay-duration=5s --shutdown-watch-termination-grace-period=2s.",
                warn=True,
            )


@check(C013="control-plane machines cannot be replaced")
def replaceable(facts: Facts) -> Iterator[Finding]:
    if not facts.touches_control_plane or facts.target.control_plane_strategy != "replace":
        return
    if facts.config.machines.provider == "none":
        yield finding(
            "C013",
            "control plane",
            "machines shall be replaced, but pawl.yaml names no machine provider.",
            "Set machines.provider, or use --strategy control-plane=in-place.",
        )
    kubelets = {n.host or n.name for n in facts.state.nodes}
    for host in facts.state.hosts:
        if "control-plane" not in host.roles:
            continue
        if "etcd" in host.roles:
            yield finding(
                "C013",
                f"host {host.name}",
                "carries an etcd member: replacing it would take that with it.",
                "Use --strategy control-plane=in-place.",
            )
        if host.name in kubelets:
            yield finding(
                "C013",
                f"host {host.name}",
                "runs a kubelet; a new machine's kubelet would be newer than the oldest API "
                "server.",
                "Use --strategy control-plane=in-place.",
            )


@check(C014="kubectl on a host is too far from the target")
def kubectl(facts: Facts) -> Iterator[Finding]:
    """kubectl is supported within one minor of the API server (version skew policy)."""
    if not facts.touches_control_plane:
        return
    target = Version.parse(facts.target.kubernetes).minor_line
    for host in facts.state.hosts:
        at = skew.minor_of(host.current.get("kubectl", ""))
        if at is not None and abs(target - at) > 1:
            yield finding(
                "C014",
                f"kubectl on {host.name}",
                f"is {at}, more than one minor away from {target}.",
                f"Install kubectl {target}.",
                warn=True,
            )
