"""Binaries onto a host, beside the running ones, and the question whether they take its flags."""

from __future__ import annotations

from pawl.core import flags
from pawl.core.actions import StageBinaries, SwapApiServer, SwapController
from pawl.core.errors import StepFailed
from pawl.core.version import Version
from pawl.engine.context import Context
from pawl.engine.executors import component
from pawl.ports.hosts import StagedFile


async def stage_binaries(action: StageBinaries, ctx: Context) -> str:
    host = await component.reachable(ctx, action.host)
    if action.version not in host.staged.get(action.component, ()):
        artifact = await ctx.tools.artifacts.fetch(action.component, Version.parse(action.version))
        files = [StagedFile(name=f.name, path=f.path, sha256=f.sha256) for f in artifact.files]
        async with ctx.effect("stage", f"{action.host}/{action.component} {action.version}") as e:
            await ctx.tools.hosts.stage(action.host, action.component, action.version, files, e)
        host = await component.reachable(ctx, action.host)
    in_use = host.flags.get(action.component, ())
    wanted = {in_use, flags.with_emulation(in_use, _emulate(action, ctx))}
    complaints: list[str] = []
    for each in sorted(wanted):
        complaints += await ctx.tools.hosts.accepts_flags(
            action.host, action.component, action.version, each
        )
    if complaints:
        told = " ".join(dict.fromkeys(complaints))
        raise StepFailed(
            f"{action.component} {action.version} does not take the flags in use on "
            f"{action.host}: {told} Mend {ctx.layout.flags_file(action.component)} there, then: "
            "pawl resume."
        )
    return f"{action.component} {action.version} lies on {action.host} and takes its flags."


def _emulate(action: StageBinaries, ctx: Context) -> str:
    """What the plan will have this binary emulate on this host; "" for nothing."""
    for step in ctx.plan.steps:
        swap = step.action
        if not isinstance(swap, SwapApiServer | SwapController):
            continue
        name = "kube-apiserver" if isinstance(swap, SwapApiServer) else swap.component
        if (swap.host, name, swap.target) == (action.host, action.component, action.version):
            return swap.emulate
    return ""
