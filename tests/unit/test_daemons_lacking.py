"""Which DaemonSets a node lacks, and whose fault that is."""

from __future__ import annotations

from pawl.core.model import Taint
from pawl.core.workloads.daemons import Lack, lacking
from pawl.core.workloads.facts import Controller, Node, Pod, Shape, Toleration, Workloads

FRESH = Taint(key="cni.example/not-ready", value="", effect="NoExecute")
NEW = Node(name="new", labels={"gpu": "no"}, taints=(FRESH,))
OLD = (Node(name="a"), Node(name="b"), Node(name="lost", ready=False))


def daemon(name: str, **fields: object) -> Controller:
    everywhere = (Toleration(operator="Exists"),)
    shape = Shape(tolerations=everywhere, **fields)  # type: ignore[arg-type]
    return Controller(kind="DaemonSet", namespace="ns", name=name, shape=shape)


def pod(c: Controller, node: str, *, ready: bool = True, **fields: object) -> Pod:
    name = f"{c.name}-{node}"
    return Pod(namespace="ns", name=name, node=node, owner=c.key, ready=ready, **fields)  # type: ignore[arg-type]


def facts(*daemons: Controller, pods: list[Pod]) -> Workloads:
    return Workloads(nodes=(NEW, *OLD), controllers=daemons, pods=tuple(pods))


def test_only_what_belongs_on_the_node_is_missed() -> None:
    cni, gpu = daemon("cni"), daemon("gpu", node_selector=(("gpu", "yes"),))
    later = Controller(kind="DaemonSet", namespace="ns", name="later")  # its taint keeps it out yet
    web = Controller(kind="Deployment", namespace="ns", name="web")
    (lack,) = lacking(facts(cni, gpu, later, web, pods=[]), "new")
    assert lack == Lack(daemon="ns/cni", node="new")
    assert str(lack) == "DaemonSet ns/cni: new has no pod of it yet; 0 of 0 elsewhere are"
    assert (lack.everywhere, lack.only_here) == (False, False)
    assert lacking(facts(cni, pods=[pod(cni, "new")]), "new") == ()
    assert lacking(facts(cni, pods=[]), "gone") == ()


def test_how_it_does_elsewhere_is_counted_on_ready_nodes_that_are_not_new_too() -> None:
    cni = daemon("cni")
    here = pod(cni, "new", ready=False, waiting="CrashLoopBackOff")
    beside = pod(cni, "b", ready=False)
    away = pod(cni, "lost", ready=False)
    (lack,) = lacking(facts(cni, pods=[here, pod(cni, "a"), beside, away]), "new")
    assert (lack.ready, lack.others) == (1, 2)
    assert "pod ns/cni-new on new is not Ready (CrashLoopBackOff); 1 of 2 elsewhere" in str(lack)
    (lack,) = lacking(facts(cni, pods=[here, pod(cni, "a"), beside]), "new", apart=("b",))
    assert lack.only_here
    (lack,) = lacking(facts(cni, pods=[here, beside]), "new")
    assert lack.everywhere
    ending = pod(cni, "new", terminating=True)
    assert lacking(facts(cni, pods=[ending, pod(cni, "a")]), "new")[0].only_here
