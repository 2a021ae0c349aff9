"""Release notes: found wherever they hide, each once, and judged only by facts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pawl.adapters.manifests import changelogs
from pawl.adapters.manifests.using import uses
from pawl.core.changelog.item import Acknowledgement, Checklist, Item
from pawl.core.changelog.judge import Facts, Use, findings, judge, judged
from pawl.core.changelog.parse import between, lacking
from pawl.core.changelog.render import markdown, page
from pawl.core.changelog.shipped import urgent
from pawl.core.errors import ConfigError, Unreachable
from pawl.core.findings import Severity
from pawl.core.knowledge.store import shipped
from pawl.core.model import ClusterState, Host, Node
from pawl.core.version import Minor, Version
from pawl.interfaces.cli.changelog import changelog as command

NOTES = """\
<!-- BEGIN MUNGE: GENERATED_TOC -->
- [v1.37.1](#v1371)
<!-- END MUNGE: GENERATED_TOC -->

# v1.37.1

## Downloads for v1.37.1

filename | sha512 hash
-------- | -----------

## Changes by Kind

### Bug or Regression

- Fixed a crash that no longer happens ([#3](URL/3)) [SIG Node]
- Removed the `--boot-id-file` flag of kubelet ([#10](URL/10)) [SIG Node]

# v1.37.0

## Urgent Upgrade Notes

### (No, really, you MUST read this before you upgrade)

- ACTION REQUIRED: kubelet: the effective configuration is logged.
  Restrict `nodes/logs`. ([#11](URL/11)) [SIG Auth and Node]

## Changes by Kind

### Feature

- Something new ([#12](URL/12)) [SIG Apps]

### Other (Cleanup or Flake)

- Removed the `--boot-id-file` flag of kubelet ([#10](URL/10)) [SIG Node]
- Removed the `GangScheduling` feature gate. ([#13](URL/13)) [SIG Scheduling]
- Dropped the API `scheduling.k8s.io/v1alpha2` entirely. ([#14](URL/14)) [SIG A, B and C]
- Kubeadm: removed the `v1beta3` API ([#15](URL/15)) [SIG Cluster Lifecycle]

## Dependencies

### Removed

- github.com/x/y: v1

# v1.37.0-rc.0

## Changes by Kind

### Other (Cleanup or Flake)

- Removed the `GangScheduling` feature gate. ([#13](URL/13)) [SIG Scheduling]
"""

NOTES = NOTES.replace("(URL/", "(https://github.com/kubernetes/kubernetes/pull/")

HERE = Version.parse("1.36.6")


def notes(to: str = "1.37.1") -> dict[int, Item]:
    return {i.prs[0]: i for i in between([NOTES], HERE, Version.parse(to))}


def state(*flags: str, reachable: bool = True, runtime: str = "containerd://2.2.0") -> ClusterState:
    host = Host(
        name="w1", address="198.18.0.9", reachable=reachable, flags={"kubelet": tuple(flags)}
    )
    return ClusterState(
        cluster="c",
        taken_at=0.0,
        hosts=(host,),
        nodes=(Node(name="w1", os_image="Debian", runtime=runtime),),
    )


def test_everything_that_matters_is_found_once_with_section_pr_and_sig() -> None:
    found = notes()
    assert set(found) == {10, 11, 13, 14, 15}
    assert found[11].category == "urgent"
    assert found[11].sigs == ("Auth", "Node")
    assert "Restrict `nodes/logs`." in found[11].text
    assert found[13].section == "Other (Cleanup or Flake)"
    assert found[14].sigs == ("A", "B", "C")
    assert found[10].links == ("https://github.com/kubernetes/kubernetes/pull/10",)
    assert (found[10].version, found[10].also) == ("1.37.0", ("1.37.1",))


@pytest.mark.parametrize(
    ("section", "text", "category"),
    [
        ("Deprecation", "The `--x` kubelet flag is deprecated and will be removed", "deprecation"),
        ("Deprecation", "Remove deprecated feature gates `A` and `B`", "removal"),
        ("Deprecation", "`x/v1beta1` will no longer be served starting in 1.25", "deprecation"),
        ("Deprecation", "`x/v1alpha1` is no longer served", "removal"),
        ("API Change", "`A` is GA. The feature gate will be removed in 1.26", "deprecation"),
        ("API Change", "`A` may be removed; the flag `--a` is removed now", "removal"),
    ],
)
def test_what_is_announced_is_told_apart_from_what_is_gone(
    section: str, text: str, category: str
) -> None:
    notes = f"# v1.37.0\n\n## Changes by Kind\n\n### {section}\n\n- {text}. ([#7](URL/7))\n"
    (item,) = between([notes.replace("(URL/", "(https://x/pull/")], HERE, Version.parse("1.37.0"))
    assert item.category == category


def test_sigs_that_a_minor_leaves_out_are_those_of_its_alphas() -> None:
    """The notes of v1.24.0 name no SIG at all."""
    bare = re.sub(r" \[SIG [^\]]*\]$", "", NOTES, flags=re.M)
    alpha = "# v1.37.0-alpha.1\n\n### Feature\n\n- X ([#13](https://x/pull/13)) [SIG A, B, and C]\n"
    found = {i.prs[0]: i.sigs for i in between([bare + alpha], HERE, Version.parse("1.37.0"))}
    assert (found[13], found[14]) == (("A", "B", "C"), ())


def test_exact_versions_bound_it() -> None:
    assert not between([NOTES], Version.parse("1.37.1"), Version.parse("1.37.9"))
    only = between([NOTES], Version.parse("1.37.0"), Version.parse("1.37.1"))
    assert [(i.version, i.prs) for i in only] == [("1.37.1", (10,))]


@pytest.mark.parametrize(
    ("since", "to", "what"),
    [
        ("1.36.9999", "1.37.9999", ""),
        ("1.36.9999", "1.37.1", ""),
        ("1.36.9999", "1.37.2", "v1.37.2"),
        ("1.37.0", "1.37.9999", ""),
        ("1.37.1", "1.37.3", "v1.37.3"),
    ],
)
def test_a_file_that_is_older_than_a_release_is_not_its_notes(
    since: str, to: str, what: str
) -> None:
    bounds = Version.parse(since), Version.parse(to)
    assert lacking(NOTES, *bounds, Minor(1, 37)) == what
    only_a_candidate = NOTES.replace("# v1.37.0\n", "# v1.37.0-rc.1\n")
    if bounds[0].minor < 37:
        assert lacking(only_a_candidate, *bounds, Minor(1, 37)) == "v1.37.0"


def test_an_old_file_is_not_read_and_the_shipped_urgent_notes_stand_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = NOTES.replace("# v1.37.0\n", "# v1.37.0-rc.1\n").replace(
        "# v1.37.1\n", "# v1.37.0-rc.2\n"
    )
    (tmp_path / "CHANGELOG-1.37.md").write_text(old)
    (tmp_path / "CHANGELOG-1.36.md").write_text("# v1.36.0\n")
    acks = tmp_path / "acks.json"
    assert command("1.36", "1.37", source=str(tmp_path), acks=acks) == 2
    said = capsys.readouterr().out
    assert "holds no notes of v1.37.0" in said
    assert "138572-57d9d1" in said


def test_evidence_names_the_host_the_flag_the_gate_and_the_object() -> None:
    facts = Facts(
        state("--boot-id-file=/x", "--feature-gates=GangScheduling=true"),
        (Use("scheduling.k8s.io/v1alpha2", "Workload", "a.yaml:3"),),
    )
    found = notes()
    for pr, says in ((10, "kubelet on w1 runs with --boot-id-file"),
                     (13, "kubelet on w1 sets GangScheduling=true"),
                     (14, "a.yaml:3 uses scheduling.k8s.io/v1alpha2 Workload")):  # fmt: skip
        verdict, evidence = judge(found[pr], facts, shipped())
        assert verdict == "applies"
        assert says in evidence


def test_it_does_not_apply_only_where_facts_rule_it_out() -> None:
    found, looked = notes(), Facts(state("--v=2"), ())
    for pr in (10, 13, 14, 15):
        assert judge(found[pr], looked, shipped())[0] == "does not apply", pr
    assert judge(found[11], looked, shipped())[0] == "needs a person"


@pytest.mark.parametrize(
    ("pr", "facts"),
    [
        (10, Facts(state("--v=2", reachable=False), ())),
        (13, Facts(state("--v=2", reachable=False), ())),
        (14, Facts(state("--v=2"), None)),
        (15, Facts(state(reachable=False), ())),
        (10, Facts(None, ())),
    ],
)
def test_what_was_not_read_needs_a_person(pr: int, facts: Facts) -> None:
    assert judge(notes()[pr], facts, shipped())[0] == "needs a person"


def test_a_change_of_default_is_not_ruled_out_by_an_unset_gate() -> None:
    item = Item(
        id="1", version="1.36.0", section="API Change", category="removal", prs=(1,),
        text="The `StrictIPCIDRValidation` feature gate is enabled by default: API fields no "
        "longer allow leading zeros.",
    )  # fmt: skip
    assert judge(item, Facts(state("--v=2"), ()), shipped())[0] == "needs a person"


def test_an_urgent_note_blocks_until_it_is_acknowledged_by_name() -> None:
    items = tuple(notes().values())
    facts = Facts(state("--v=2"), ())
    blocked = Checklist(source="1.36", target="1.37", judged=judged(items, facts, shipped()))
    assert [j.item.prs for j in blocked.open] == [(11,)]
    (finding,) = findings(blocked.open)
    assert finding.severity is Severity.BLOCKER
    assert blocked.open[0].item.id in finding.remedy
    ack = Acknowledgement(item=blocked.open[0].item.id, by="Ada", at="2026-11-24", note="done")
    free = Checklist(source="1.36", target="1.37", judged=judged(items, facts, shipped(), [ack]))
    assert not free.open
    assert "acknowledged by Ada on 2026-11-24: done" in markdown(free)
    assert "Ada" in page(free)
    assert "<script" not in page(free)


def test_the_command_reads_offline_and_keeps_acknowledgements(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "CHANGELOG-1.37.md").write_text(NOTES)
    acks = tmp_path / "acks.json"
    run = {"source": str(tmp_path), "acks": acks}
    assert command("1.36", "1.37", **run) == 2  # type: ignore[arg-type]
    found = notes()[11].id
    with pytest.raises(ConfigError, match="--by"):
        command("1.36", "1.37", ack=(found,), **run)  # type: ignore[arg-type]
    assert command("1.36", "1.37", ack=(found,), by="Ada", **run) == 0  # type: ignore[arg-type]
    assert command("1.36", "1.37", **run) == 0  # type: ignore[arg-type]
    assert command("1.36", "1.38", **run) == 3  # type: ignore[arg-type]
    assert "Not read" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="not after"):
        command("1.37", "1.36", **run)  # type: ignore[arg-type]


def test_manifests_with_a_hole_are_no_evidence(tmp_path: Path) -> None:
    """What was not seen must not rule a note out."""
    file = tmp_path / "x.yaml"
    cron = "apiVersion: batch/v1\nkind: CronJob\n"
    for encoding in ("utf-8", "utf-16"):
        file.write_text("# words\n---\n" + cron, encoding=encoding)
        assert uses((str(tmp_path),)) == (Use("batch/v1", "CronJob", f"{file}:3"),)
    for hole in ("a: [1\n", "apiVersion: {{ .api }}\nkind: CronJob\n"):
        file.write_text(cron + "---\n" + hole)
        with pytest.raises(ConfigError, match=r"line [345]"):
            uses((str(tmp_path),))


def test_manifests_in_json_and_behind_links_are_evidence(tmp_path: Path) -> None:
    apps, shared = tmp_path / "apps", tmp_path / "shared"
    for directory in (apps, shared):
        directory.mkdir()
    (shared / "x.yaml").write_text("apiVersion: batch/v1\nkind: CronJob\n")
    (apps / "out").symlink_to(shared)
    (apps / "round").symlink_to(apps)
    (apps / "tsconfig.json").write_text("{ // words\n}")
    one = '{"apiVersion": "v1", "kind": "Pod"}'
    (apps / "a.json").write_text(f"{one}\n{one}\n")
    (apps / "b.json").write_text("[{apiVersion: v1, kind: Pod}]")
    assert {(u.kind, u.where.removeprefix(f"{apps}/")) for u in uses((str(apps),))} == {
        ("Pod", "a.json:1"), ("Pod", "a.json:2"), ("Pod", "b.json:1"), ("CronJob", "out/x.yaml:1"),
    }  # fmt: skip
    (apps / "b.json").write_text("{ // words\n" + one[1:])
    with pytest.raises(ConfigError, match="line "):
        uses((str(apps),))


@pytest.mark.parametrize("text", [b"", b"<html>404</html>", b"\xff\xfe#\x00", b"# words\n"])
def test_what_is_no_changelog_is_not_read(
    text: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "CHANGELOG-1.37.md").write_bytes(text)
    acks = tmp_path / "acks.json"
    assert command("1.36", "1.37", source=str(tmp_path), acks=acks) == 2
    said = capsys.readouterr().out
    assert "**Not read:** " in said
    assert "138572-57d9d1" in said
    (tmp_path / "CHANGELOG-1.37.md").write_text(f"\ufeff{NOTES}", encoding="utf-8")
    command("1.36", "1.37", source=str(tmp_path), acks=acks)
    assert "Not read" not in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"1\.37\.1 is not after 1\.37 \(its newest patch\)"):
        command("1.37", "1.37.1", source=str(tmp_path), acks=acks)
    with pytest.raises(ConfigError, match="another major version"):
        command("1.36", "2.0", source=str(tmp_path), acks=acks)


def test_the_note_in_the_example_is_there() -> None:
    told = re.search(r"changelog (\S+) (\S+) --ack (\S+)", command.__doc__ or "")
    assert told
    since, to, name = told.groups()
    notes = urgent(shipped(), Version.parse(f"{since}.0"), Version.parse(f"{to}.0"))
    assert name in [i.id for i in notes.items]


def test_notes_are_not_read_where_anybody_could_change_them() -> None:
    with pytest.raises(Unreachable, match="use https"):
        changelogs.read("1.37", "http://mirror.example/CHANGELOG")
