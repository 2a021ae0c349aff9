"""The nodes' part of a plan: a canary first, then batches, then kube-proxy.

In place: cordon, drain, switch the kubelet, Ready again. Replace: a new machine is Ready before an
old one goes; all old nodes are closed first, so that no pod has to move twice.

The first node of a pool is a canary and soaks with real pods on it. After it `max_unavailable`
nodes are worked on at once in place, or `surge` new ones are made at once. Control-plane machines
that also run a kubelet are always done in place, one at a time, before the workers. Where
measurements are judged, the last nodes soak too.
"""

from __future__ import annotations

from pawl.core import marks, skew
from pawl.core.actions import (
    LAST,
    AddNode,
    CloseNodes,
    RetireNode,
    Soak,
    StageBinaries,
    SwapKubeProxy,
    SwapNode,
)
from pawl.core.draft import Draft
from pawl.core.model import ClusterState, Node
from pawl.core.plan import Exit
from pawl.core.version import Version

CONTROL_PLANE_POOL = "control-plane"
_DRAINED = "its pods move by the Eviction API, within their disruption budgets"


def kubelet_version(node: Node, state: ClusterState) -> Version | None:
    """The kubelet's version; of a stopped one, what its `current` link names."""
    if node.kubelet:
        return Version.parse(node.kubelet)
    return _linked(node, state, "kubelet")


def proxy_version(node: Node, state: ClusterState) -> Version | None:
    """kube-proxy's version, or None where there is none."""
    if node.kube_proxy:
        return Version.parse(node.kube_proxy)
    return _linked(node, state, "kube-proxy")


def _linked(node: Node, state: ClusterState, component: str) -> Version | None:
    host = state.host(node.host or node.name)
    text = host.current.get(component) if host else None
    return Version.parse(text) if text else None


def pool_of(node: Node, state: ClusterState) -> str:
    host = state.host(node.host or node.name)
    if host is None:
        return "default"
    return CONTROL_PLANE_POOL if "control-plane" in host.roles else host.pool


def plan_nodes(draft: Draft, target: Version) -> None:
    """Add all steps that bring kubelets and kube-proxies to `target`, pool by pool."""
    span = skew.api_range(draft.state)
    if span is not None and target.minor_line > span[0]:
        draft.refuse(
            f"Nodes cannot go to {target} while an API server serves {span[0]}: upgrade the "
            "control plane first (leave out --only nodes)."
        )
        return
    pools = sorted({pool_of(n, draft.state) for n in draft.state.nodes})
    if draft.target.pool:
        if draft.target.pool not in pools:
            draft.refuse(
                f"There is no pool {draft.target.pool}; known: {', '.join(pools) or 'none'}."
            )
            return
        pools = [draft.target.pool]
    pools.sort(key=lambda p: (p != CONTROL_PLANE_POOL, p))
    back = any(_newer(draft, pool, target) for pool in pools)
    for pool in pools:
        replace = draft.target.node_strategy == "replace" and pool != CONTROL_PLANE_POOL
        if _newer(draft, pool, target):
            _back(draft, pool, target, replace=replace)
        elif replace:
            _replace(draft, pool, target)
        else:
            _in_place(draft, pool, target)
    _proxies(draft, pools, target)
    if not back:
        _last_soak(draft, target)


def _last_soak(draft: Draft, target: Version) -> None:
    """Between batches the gates hold the next one; after the last there is none to hold."""
    policy = draft.config.policy
    judged = draft.config.metrics is not None and policy.gates.mode != "off"
    changed = any(isinstance(s.action, SwapNode | RetireNode) for s in draft.steps)
    if judged and changed and policy.soak.last:
        draft.add(
            f"nodes/{target}/soak",
            "landed",
            Soak(gate=LAST, seconds=policy.soak.last),
            why="The last nodes are judged too, before the run has landed.",
        )


def _in_pool(draft: Draft, pool: str) -> list[Node]:
    return [n for n in draft.state.nodes if pool_of(n, draft.state) == pool]


def _ours_first(node: Node) -> tuple[bool, str]:
    """A node that an interrupted step left cordoned by pawl comes before all others."""
    return (not marks.ours(node), node.name)


def _to_do(draft: Draft, pool: str, target: Version) -> list[Node]:
    todo = []
    for node in _in_pool(draft, pool):
        at = kubelet_version(node, draft.state)
        if at is None or at < target or marks.ours(node):
            todo.append(node)
    return sorted(todo, key=_ours_first)


def _at_target(draft: Draft, pool: str, target: Version) -> int:
    return sum(
        (v := kubelet_version(n, draft.state)) is not None and v >= target and not marks.ours(n)
        for n in _in_pool(draft, pool)
    )


def _soak(draft: Draft, pool: str, target: Version, canary: str) -> None:
    draft.add(
        f"nodes/{target}/{pool}/soak",
        "nodes",
        Soak(gate="node", seconds=draft.config.policy.soak.node),
        why=f"{canary} is the canary of pool {pool}: it carries real pods before others follow.",
    )


def _newer(draft: Draft, pool: str, target: Version) -> list[Node]:
    return [
        n
        for n in _in_pool(draft, pool)
        if (v := kubelet_version(n, draft.state)) is not None and v > target
    ]


def _back(draft: Draft, pool: str, target: Version, *, replace: bool) -> None:
    """To an older kubelet: legal while it stays within the skew policy, and without a canary,
    because the version is the one that ran here before.

    A new machine whose predecessor still stands is only retired; the others get a machine of the
    old image first.
    """
    todo = sorted(_newer(draft, pool, target), key=_ours_first)
    for node in todo:
        now = kubelet_version(node, draft.state)
        if not replace:
            host = node.host or node.name
            draft.add(
                f"nodes/{target}/stage/kubelet/{host}",
                "nodes",
                StageBinaries(host=host, component="kubelet", version=str(target)),
                why="The old binary is kept where it was, so this is done at once.",
            )
            draft.add(
                f"nodes/{target}/swap/{node.name}",
                "nodes",
                SwapNode(node=node.name, source=str(now), target=str(target)),
                why="Back to the older kubelet, drained like on the way up.",
                risk="A kubelet of an older minor does not know state that the newer one wrote.",
                disruption=_DRAINED,
            )
            continue
        stands = any(
            n.name != node.name and marks.base(n.name) == marks.base(node.name)
            for n in draft.state.nodes
        )
        if not stands:
            _add_batch(draft, pool, [node], target)
        _retire_batch(draft, [node], target)


def _in_place(draft: Draft, pool: str, target: Version) -> None:
    todo = _to_do(draft, pool, target)
    if not todo:
        return
    begin, staged = draft.frontier, []
    for node in sorted(_in_pool(draft, pool), key=lambda n: n.name):
        for component, at in (
            ("kubelet", kubelet_version(node, draft.state)),
            ("kube-proxy", proxy_version(node, draft.state)),
        ):
            if at is None or at >= target:
                continue
            step = f"nodes/{target}/stage/{component}/{node.host or node.name}"
            if draft.add(
                step,
                "nodes",
                StageBinaries(
                    host=node.host or node.name, component=component, version=str(target)
                ),
                why="The binaries lie ready, and have accepted the flags in use, before a drain.",
                after=begin,
            ):
                staged.append(step)
    if staged:
        draft.frontier = tuple(staged)
    fresh = _at_target(draft, pool, target)
    size = 1 if pool == CONTROL_PLANE_POOL else draft.config.policy.limits.max_unavailable
    if fresh == 0:
        _swap_batch(draft, pool, todo[:1], target)
        rest, canary = todo[1:], todo[0].name
    else:
        rest, canary = todo, "the first node"
    if rest and fresh <= 1 and pool != CONTROL_PLANE_POOL:
        _soak(draft, pool, target, canary)
    for i in range(0, len(rest), size):
        _swap_batch(draft, pool, rest[i : i + size], target)


def _swap_batch(draft: Draft, pool: str, nodes: list[Node], target: Version) -> None:
    """These nodes together: each waits for what came before, none for another of the batch."""
    before, added = draft.frontier, []
    for node in nodes:
        now = kubelet_version(node, draft.state)
        step = f"nodes/{target}/swap/{node.name}"
        if draft.add(
            step,
            "nodes",
            SwapNode(node=node.name, source=str(now) if now else "", target=str(target)),
            why="It was left cordoned by an interrupted step, so it is finished first."
            if marks.ours(node)
            else f"Pool {pool}; API servers are newer already, as the skew policy asks.",
            risk="Room for its pods is needed on other nodes meanwhile.",
            disruption=_DRAINED,
            exit=Exit(
                name="old-binary",
                how="Switch the kubelet back to the old binary, node by node.",
                seconds=12.0,
            ),
            after=before,
        ):
            added.append(step)
    if added:
        draft.frontier = tuple(added)


def _replace(draft: Draft, pool: str, target: Version) -> None:
    old = [
        n
        for n in _in_pool(draft, pool)
        if (v := kubelet_version(n, draft.state)) is None or v < target
    ]
    old.sort(key=_ours_first)
    if not old:
        return
    before = draft.exit  # once the last old node is gone, this is the way back again
    fresh = _at_target(draft, pool, target)
    canary = old[:1] if fresh <= 1 else []
    close = CloseNodes(nodes=tuple(sorted(n.name for n in old)))
    if canary:
        _add_batch(draft, pool, canary, target)
    _close(draft, pool, close, target)
    if canary:
        _retire_batch(draft, canary, target, exit=None if len(old) > 1 else before)
    rest = old[len(canary) :]
    if rest and fresh <= 1:
        _soak(draft, pool, target, marks.successor(old[0].name, str(target)))
    surge = draft.config.policy.limits.surge
    for i in range(0, len(rest), surge):
        _add_batch(draft, pool, rest[i : i + surge], target)
        last = i + surge >= len(rest)
        _retire_batch(draft, rest[i : i + surge], target, exit=before if last else None)


def _close(draft: Draft, pool: str, action: CloseNodes, target: Version) -> None:
    draft.add(
        f"nodes/{target}/{pool}/close",
        "nodes",
        action,
        why="No pod shall land on an old node, only to move again.",
        risk="Until they are replaced, only new nodes take pods: they must have room.",
        exit=Exit(
            name="re-open-nodes",
            how="Take pawl's taint off the old nodes, and retire the new ones.",
            seconds=5.0,
        ),
    )


def _add_batch(draft: Draft, pool: str, nodes: list[Node], target: Version) -> None:
    before, added = draft.frontier, []
    for node in nodes:
        name = marks.successor(node.name, str(target))
        if draft.add(
            f"nodes/{target}/add/{name}",
            "nodes",
            AddNode(machine=name, pool=pool, target=str(target)),
            why=f"Ready before {node.name} goes, so that its pods have a place.",
            risk="A new machine needs room at the provider.",
            after=before,
        ):
            added.append(f"nodes/{target}/add/{name}")
    if added:
        draft.frontier = tuple(added)


def _retire_batch(
    draft: Draft, nodes: list[Node], target: Version, exit: Exit | None = None
) -> None:
    before, added = draft.frontier, []
    for node in nodes:
        if draft.add(
            f"nodes/{target}/retire/{node.name}",
            "nodes",
            RetireNode(node=node.name),
            why=f"{marks.successor(node.name, str(target))} has taken its place.",
            disruption=_DRAINED,
            exit=exit,
            after=before,
        ):
            added.append(f"nodes/{target}/retire/{node.name}")
    if added:
        draft.frontier = tuple(added)


def _proxies(draft: Draft, pools: list[str], target: Version) -> None:
    for node in sorted(draft.state.nodes, key=lambda n: n.name):
        if pool_of(node, draft.state) not in pools:
            continue
        at = proxy_version(node, draft.state)
        if at is None or at == target or (at > target and draft.target.node_strategy == "replace"):
            continue
        host = node.host or node.name
        draft.add(
            f"add-ons/{target}/kube-proxy/{host}",
            "add-ons",
            SwapKubeProxy(host=host, source=str(at), target=str(target)),
            why="Never newer than the oldest API server, within three minors of its kubelet.",
            risk="Service rules are not updated on this node while it restarts.",
            disruption="existing Service connections stay; changes wait for seconds",
        )
