"""One file per kind of action: find -> perform -> verify.

`perform` is the only door. A new kind of action is a type error here until it has its executor.
"""

from __future__ import annotations

from typing import assert_never

from pawl.core.actions import (
    AddControlPlane,
    AddNode,
    AnyAction,
    BackupEtcd,
    CancelEtcdDowngrade,
    CloseNodes,
    ConvergeEtcd,
    EnableEtcdDowngrade,
    FinishEmulation,
    Landed,
    MoveEtcdLeader,
    PointOfNoReturn,
    Preflight,
    ReplaceEtcdMachine,
    RetireControlPlane,
    RetireNode,
    Soak,
    StageBinaries,
    SwapApiServer,
    SwapController,
    SwapEtcdMember,
    SwapKubeProxy,
    SwapNode,
)
from pawl.engine.context import Context
from pawl.engine.executors import (
    api_server,
    control_plane,
    controllers,
    etcd_cluster,
    etcd_replace,
    etcd_swap,
    gates,
    nodes,
    staging,
)


async def perform(action: AnyAction, ctx: Context) -> str:
    """Bring the action's end state about and verify it; returns a note for the record."""
    match action:
        case Preflight():
            return await gates.preflight(action, ctx)
        case StageBinaries():
            return await staging.stage_binaries(action, ctx)
        case BackupEtcd():
            return await etcd_cluster.backup_etcd(action, ctx)
        case MoveEtcdLeader():
            return await etcd_cluster.move_etcd_leader(action, ctx)
        case SwapEtcdMember():
            return await etcd_swap.swap_etcd_member(action, ctx)
        case ReplaceEtcdMachine():
            return await etcd_replace.replace_etcd_machine(action, ctx)
        case ConvergeEtcd():
            return await etcd_cluster.converge_etcd(action, ctx)
        case EnableEtcdDowngrade():
            return await etcd_cluster.enable_etcd_downgrade(action, ctx)
        case CancelEtcdDowngrade():
            return await etcd_cluster.cancel_etcd_downgrade(action, ctx)
        case SwapApiServer():
            return await api_server.swap_api_server(action, ctx)
        case FinishEmulation():
            return await api_server.finish_emulation(action, ctx)
        case SwapController():
            return await controllers.swap_controller(action, ctx)
        case AddControlPlane():
            return await control_plane.add_control_plane(action, ctx)
        case RetireControlPlane():
            return await control_plane.retire_control_plane(action, ctx)
        case AddNode():
            return await nodes.add_node(action, ctx)
        case CloseNodes():
            return await nodes.close_nodes(action, ctx)
        case RetireNode():
            return await nodes.retire_node(action, ctx)
        case SwapNode():
            return await nodes.swap_node(action, ctx)
        case SwapKubeProxy():
            return await controllers.swap_kube_proxy(action, ctx)
        case Soak():
            return await gates.soak(action, ctx)
        case PointOfNoReturn():
            return await gates.point_of_no_return(action, ctx)
        case Landed():
            return await gates.check_landed(action, ctx)
        case _:
            assert_never(action)
