"""Rule files as projects ship them: etcd's mixin, and kube-state-metrics' own."""

from __future__ import annotations

from pathlib import Path

from pawl.adapters.prometheus.rulefiles import load_rules

RULES = Path(__file__).parents[1] / "fixtures" / "rules"


def test_rules_of_upstream_are_loaded_whole() -> None:
    rules = load_rules([str(p) for p in sorted(RULES.glob("*.yaml"))])
    found = {r.name: r for r in rules}
    assert (len(rules), len(found)) == (18, 16), "two alerts come as a warning and as critical"
    assert found["etcdMembersDown"].hold == 600.0
    assert found["etcdMembersDown"].summary == "etcd cluster members are down"
    assert "etcd_network_peer_sent_failures_total" in found["etcdMembersDown"].expr
    assert found["KubeStateMetricsWatchErrors"].source == "kube-state-metrics.yaml"
    assert found["KubeStateMetricsWatchErrors"].labels == {"severity": "critical"}


def test_an_alert_that_an_upgrade_may_raise_is_left_out() -> None:
    path = [str(RULES / "etcd-mixin.yaml")]
    names = [r.name for r in load_rules(path, expected=("etcdMembersDown",))]
    assert len(names) == 13
    assert "etcdMembersDown" not in names
