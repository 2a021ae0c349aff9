"""Urgent notes that facts alone decide: read by a person once, and written down as a rule.

The general judge never rules an urgent note out by what it does not find, because a note's words
may say more than its flags do. Here each note was read, and the function next to its pull request
says which facts make it apply. Facts that were not read decide nothing: the note then goes the
general way, and needs a person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pawl.core.changelog.facts import Facts
from pawl.core.changelog.item import Item, Verdict
from pawl.core.inuse.facts import HostUse, place

Decision = tuple[Verdict, tuple[str, ...]]
Rule = Callable[[Facts], Decision | None]
RULES: dict[int, Rule] = {}
"""Pull request -> its rule."""

TRUSTED = (
    "Group system:masters",
    "Group kubeadm:cluster-admins",
    "User kube-apiserver-kubelet-client",
    "User kube-apiserver",
    "User system:kube-apiserver",
)
"""Who may read everything of a kubelet anyway: administrators, and the API servers themselves."""


def decide(item: Item, facts: Facts) -> Decision | None:
    for pr in item.prs:
        if rule := RULES.get(pr):
            return rule(facts)
    return None


def rule(*prs: int) -> Callable[[Rule], Rule]:
    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(prs, function))
        return function

    return register


def _verdict(applies: list[str], otherwise: str) -> Decision:
    return ("applies", tuple(applies)) if applies else ("does not apply", (otherwise,))


def _kubelets(facts: Facts) -> Iterator[HostUse]:
    return (u for u in facts.in_use or () if "kubelet" in u.components)


@rule(139956)
def selinux_mount(facts: Facts) -> Decision | None:
    """1.37, SELinuxMount: "clusters without SELinux enabled can ignore this"."""
    kubelets = list(_kubelets(facts))
    if not facts.files_read or not kubelets or any(not u.selinux for u in kubelets):
        return None
    on = [f"SELinux is {u.selinux} on {u.host}" for u in kubelets if u.selinux != "disabled"]
    return _verdict(on, f"SELinux is disabled on all {len(kubelets)} hosts with a kubelet")


def _off_by_default(api: str) -> Rule:
    """An API that is off by default is in use only where an API server is told to serve it."""
    group, _, version = api.partition("/")

    def judge(facts: Facts) -> Decision | None:
        servers = [u for u in facts.in_use or () if "kube-apiserver" in u.components]
        if not facts.files_read or not servers:
            return None
        words = ("api/all", "api/alpha", api)
        on = [
            f"kube-apiserver on {u.host} serves it: {place(u.host, f.path, f.line)} says "
            f"--runtime-config={f.value}"
            for u in servers
            for f in u.of("kube-apiserver")
            if f.name == "runtime-config"
            and any(
                part.partition("=")[0].startswith(words)
                and part.partition("=")[2].lower() not in ("false", "0")
                for part in f.value.split(",")
            )
        ]
        return _verdict(
            on,
            f"{group} {version} is off by default, and none of the {len(servers)} API servers is "
            "told to serve it",
        )

    return judge


RULES[138572] = _off_by_default("scheduling.k8s.io/v1alpha2")
RULES[134784] = _off_by_default("storagemigration.k8s.io/v1alpha1")


@rule(117119)
def event_record_qps(facts: Facts) -> Decision | None:
    """1.37: eventRecordQPS 0 means unlimited from now on; other values keep their meaning."""
    kubelets = list(_kubelets(facts))
    if not facts.files_read or not kubelets:
        return None
    zero = [
        f"kubelet on {u.host} says 0: {place(u.host, f.path, f.line)}"
        for u in kubelets
        for f in u.of("kubelet")
        if f.name == "event-qps" and f.value == "0"
    ]
    zero += [
        f"kubelet on {u.host} says 0: {place(u.host, d.path, s.line)}"
        for u in kubelets
        for d in u.config("kubelet")
        if (s := d.setting("eventRecordQPS")) and s.value == "0"
    ]
    return _verdict(zero, f"eventRecordQPS is 0 on none of the {len(kubelets)} kubelets")


@rule(139837)
def kubelet_logs(facts: Facts) -> Decision | None:
    """1.37: kubelets log their configuration; whoever may read `nodes/log` sees it."""
    if facts.api.log_readers is None:
        return None
    others = [f"{who} may read nodes/log" for who in facts.api.log_readers if who not in TRUSTED]
    known = ", ".join(w for w in facts.api.log_readers if w in TRUSTED) or "nobody"
    return _verdict(
        others, f"by RBAC only {known} and the control plane's controllers may read nodes/log"
    )


def _flag_gone(component: str, flag: str) -> Rule:
    def judge(facts: Facts) -> Decision | None:
        if not facts.files_read:
            return None
        return _verdict(facts.flag(flag, {component}), f"no {component} runs with --{flag}")

    return judge


RULES[122082] = _flag_gone("kubelet", "keep-terminated-pod-volumes")
RULES[130161] = _flag_gone("kubelet", "cloud-config")
RULES[133779] = _flag_gone("kubelet", "pod-infra-container-image")


def _opt_in(gate: str) -> Rule:
    """A note about a feature that somebody must have switched on."""

    def judge(facts: Facts) -> Decision | None:
        if not facts.files_read:
            return None
        return _verdict(facts.gate(gate), f"nobody sets the gate {gate}, which is off by default")

    return judge


RULES[126108] = _opt_in("RecoverVolumeExpansionFailure")
RULES[130711] = _opt_in("ReduceDefaultCrashLoopBackOffDecay")


@rule(134298, 134744)
def cgroup_v1(facts: Facts) -> Decision | None:
    """1.35: kubelets refuse cgroup v1 unless failCgroupV1 is false (PAWL-U009 judges that)."""
    state = facts.state
    read = {h.name: h.cgroup_version for h in state.hosts} if state else {}
    kubelets = [u.host for u in _kubelets(facts)]
    if not facts.files_read or not kubelets or any(read.get(h) is None for h in kubelets):
        return None
    old = [f"{host} has cgroup v1" for host in kubelets if read[host] == 1]
    return _verdict(old, f"all {len(kubelets)} hosts with a kubelet have cgroup v2")


@rule(125163, 124316, 134947)
def dynamic_resources(facts: Facts) -> Decision | None:
    """1.31 and 1.36: for drivers of Dynamic Resource Allocation."""
    if facts.api.dynamic_resources is None:
        return None
    there = ["device classes or resource slices are there"] * facts.api.dynamic_resources
    return _verdict(there, "no device class and no resource slice is there")


@rule(130401)
def nftables_kernel_check(facts: Facts) -> Decision | None:
    """1.33: an empty KUBE_PROXY_NFTABLES_SKIP_KERNEL_VERSION_CHECK no longer skips the check."""
    if not facts.files_read:
        return None
    name = "KUBE_PROXY_NFTABLES_SKIP_KERNEL_VERSION_CHECK"
    empty = [
        f"{place(u.host, v.path, v.line)} sets {name} to nothing"
        for u in facts.in_use or ()
        for v in u.variables
        if v.name == name and not v.value
    ]
    return _verdict(empty, f"nobody sets {name} to nothing")
