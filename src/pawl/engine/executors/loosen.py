"""What the plan loosens so that a pod may go whose budget would never let it, and its giving back.

    scale          one replica more, Ready; then the old pod is the one that goes when it is taken
                   back (a ReplicaSet), or is evicted within the room that it makes (a StatefulSet)
    restart        the Deployment's own rolling update, where pods cannot be released one by one
    always-allow   the budget lets pods go that are not healthy anyway

Only what the approved plan names is loosened. Each is marked on the object, so that whoever resumes
finds it; it is given back when its node is empty, and when the step fails or the run is aborted.
Where a mark does not say what stood there before, nothing is guessed: the run stops for a person.
"""

from __future__ import annotations

from pawl.core.errors import Unclassifiable
from pawl.core.loosening import Loosening
from pawl.core.marks import LEEWAY
from pawl.engine.context import Context
from pawl.engine.executors.turns import Turn
from pawl.engine.moving import Loan
from pawl.ports.kube import Pod
from pawl.ports.leeway import Lent

ENDS_ITS_OWN = ("Deployment", "ReplicaSet")
"""Kinds that end a chosen pod when there is one too many."""
MEND = {
    "scale": "see that it has as many replicas as it should (pawl had added one)",
    "restart": "see that its rolling update ends (it goes on by itself)",
    "always-allow": "set its unhealthyPodEvictionPolicy to what it should be (pawl had set "
    "AlwaysAllow)",
}
"""What a person must put right, where pawl no longer knows how."""


class Loosened:
    """What one drain has loosened, or found loosened."""

    def __init__(self, ctx: Context, node: str) -> None:
        self.ctx, self.node = ctx, node
        self._using: set[str] = set()

    async def why_not_evict(self, p: Pod, own: Turn) -> str:
        """Why the pod must not be evicted now, "" when it may."""
        if own.method == "surge-restart" and self._planned("restart", own):
            return await self._restart(p, own)
        # With one replica more the budget allows one, and the facts ask for none any more.
        if self._planned("scale", own) and (
            "scale" in own.resolutions or ("scale", own.workload) in await self._known() or p.victim
        ):
            return await self._scale(p, own)
        if "always-allow" in own.resolutions and self._planned("always-allow", own):
            for budget in own.budgets:
                await self._lend("always-allow", p.namespace, f"PodDisruptionBudget/{budget}")
        return ""

    def let_go(self) -> None:
        """This drain uses nothing any more. One that is begun again after a lost answer counts its
        own; what nobody uses is given back at the end of the next."""
        self.ctx.moving.in_use.subtract(self._using)
        self._using = set()

    async def end(self) -> None:
        """Give back what nobody uses any more: also what a process that died had loosened."""
        mine = self._using
        self.let_go()
        if mine or self.ctx.plan.loosens:
            async with self.ctx.moving.lending:
                await take_back_leeway(self.ctx)
                for what, name in [k for k in await self._known() if k[1] in mine]:
                    if self.ctx.moving.in_use[name] <= 0:
                        (await self._known()).pop((what, name))
                        self.ctx.pause(lost(what, name), by="pawl")

    # -- each way ----------------------------------------------------------------------------

    async def _restart(self, p: Pod, own: Turn) -> str:
        name = own.object
        await self._lend("restart", p.namespace, name)
        why = await self.ctx.tools.leeway.rolled_out(p.namespace, name)
        return f"pod {p.namespace}/{p.name} is replaced by a rolling update; {why or 'it ends'}"

    async def _scale(self, p: Pod, own: Turn) -> str:
        name, pod = own.object, f"pod {p.namespace}/{p.name}"
        kube, leeway = self.ctx.tools.kube, self.ctx.tools.leeway
        now = await kube.standing(p.namespace, name)
        if p.victim and now.ready > now.wanted:
            return f"{pod} is the one too many: its controller ends it"
        lent = await self._lend("scale", p.namespace, name)
        more = int(lent.was) + 1
        now = await kube.standing(p.namespace, name)
        if now.ready < more:
            pending = f"; {now.pending}" if now.pending else ""
            return f"{pod} stays until one replica more is Ready: {now.ready} of {more}{pending}"
        if not name.startswith(tuple(f"{kind}/" for kind in ENDS_ITS_OWN)):
            return ""
        allowed = await kube.allowances(p)
        if full := next((b for b, left in allowed.items() if left < 1), ""):
            return f"{pod}: budget {full} allows nothing yet, with {now.ready} Ready pods"
        async with self.ctx.moving.lending:
            if ("scale", lent.name) not in await self._known():
                return f"{pod}: another node's pod has had the replica that was one more"
            lent = await self._marked(("scale", lent.name))
            async with self.ctx.effect("choose", f"{p.namespace}/{p.name}", on_host=False):
                await leeway.choose(p)
            await give_back(self.ctx, lent)
        return f"{pod} is the one too many: its controller ends it"

    # -- lending -----------------------------------------------------------------------------

    def _planned(self, what: str, own: Turn) -> bool:
        wanted = Loosening(what=what, workload=own.workload)  # type: ignore[arg-type]
        return wanted in self.ctx.plan.loosens

    async def _lend(self, what: str, namespace: str, name: str) -> Lent:
        """Loosen it, unless that is done already."""
        key = (what, f"{namespace}/{name}")
        if key[1] not in self._using:
            self._using.add(key[1])
            self.ctx.moving.in_use[key[1]] += 1
        leeway, owner = self.ctx.tools.leeway, self.ctx.owner
        async with self.ctx.moving.lending:
            held = await self._known()
            if key in held:
                return held[key]
            async with self.ctx.effect(what, key[1], on_host=False):
                match what:
                    case "scale":
                        await leeway.scale(namespace, name, owner)
                    case "restart":
                        await leeway.restart(namespace, name, owner)
                    case _:
                        await leeway.allow_unhealthy(namespace, name.partition("/")[2], owner)
            held[key] = await self._marked(key)
            return held[key]

    async def _known(self) -> dict[Loan, Lent]:
        moving = self.ctx.moving
        if moving.lent is None:
            moving.lent = _by_loan(await self.ctx.tools.leeway.lent())
        return moving.lent

    async def _marked(self, key: Loan) -> Lent:
        """Its mark, read now."""
        found = _by_loan(await self.ctx.tools.leeway.lent()).get(key)
        if found is None or (key[0] == "scale" and not found.was.isdecimal()):
            raise Unclassifiable(lost(*key))
        return found


def _by_loan(lent: tuple[Lent, ...]) -> dict[Loan, Lent]:
    return {(x.what, x.name): x for x in lent}


def lost(what: str, name: str) -> str:
    """Its mark is gone, or says nothing: what stood there before is not known any more."""
    return (
        f"pawl's mark ({LEEWAY}: {what}) on {name} was taken away or changed by somebody else, so "
        "what stood there before is not known, and pawl sets nothing back there. Find out who "
        f"writes its labels and stop that, {MEND[what]}, then: pawl resume."
    )


async def give_back(ctx: Context, lent: Lent) -> None:
    async with ctx.effect(f"give-back-{lent.what}", lent.name, on_host=False):
        await ctx.tools.leeway.give_back(lent)
    if ctx.moving.lent is not None:
        ctx.moving.lent.pop((lent.what, lent.name), None)


async def take_back_leeway(ctx: Context, *, all_of_it: bool = False) -> list[str]:
    """Give everything back that pawl has loosened and that no drain of this process uses."""
    told = []
    for lent in await ctx.tools.leeway.lent():
        if all_of_it or ctx.moving.in_use[lent.name] <= 0:
            await give_back(ctx, lent)
            told.append(f"{lent.name} is as it was before.")
    return told
