"""`pawl lint`: what it finds, what it must not miss, what it mends, and how it reports."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from pawl.adapters.manifests.linting import Linter
from pawl.adapters.manifests.trees import Unparsable, from_yaml
from pawl.core.errors import ConfigError
from pawl.core.findings import Severity
from pawl.core.knowledge.correct import Corrections, corrections
from pawl.core.knowledge.store import Knowledge, shipped
from pawl.core.lint import render, waive
from pawl.core.lint.finding import RULES, LintFinding, Report
from pawl.core.lint.glance import look, split
from pawl.core.lint.judge import Judge
from pawl.core.lint.node import Node
from pawl.core.lint.owners import parse
from pawl.interfaces.cli.lint import lint as command

CRONJOB = "apiVersion: batch/v1beta1\nkind: CronJob\nmetadata:\n  name: nightly\n"
ONE = '{"apiVersion": "batch/v1beta1", "kind": "CronJob", "spec": {}}'
PDB = (
    "# budget\napiVersion: 'policy/v1beta1'   # keep me\r\nkind: PodDisruptionBudget\n"
    "metadata: {name: web}\nspec:\n  selector: {matchLabels: {app: web}}\n"
)


def linted(text: str | bytes, target: str = "1.37", own: Corrections | None = None) -> Linter:
    linter = Linter(Judge(Knowledge(own), target))
    linter.data(text.encode() if isinstance(text, str) else text, "x.yaml")
    return linter


def found(text: str | bytes, target: str = "1.37") -> list[tuple[str, int, str]]:
    return [(f.rule, f.line, f.name) for f in linted(text, target).findings]


def report(linter: Linter, findings: tuple[LintFinding, ...] | None = None) -> Report:
    return Report(
        target="1.37",
        knowledge_as_of="2026-10-28",
        findings=findings if findings is not None else tuple(linter.findings),
        not_read=tuple(linter.not_read),
        files=linter.files,
        objects=linter.objects,
    )


def test_a_removed_api_is_a_blocker_with_place_minor_and_replacement() -> None:
    (finding,) = linted("---\n# first\n" + CRONJOB).findings
    assert finding.severity is Severity.BLOCKER
    assert (finding.path, finding.line, finding.minor) == ("x.yaml", 3, "1.25")
    assert (finding.replacement, finding.change, finding.fixable) == ("batch/v1", "version", True)
    assert linted(CRONJOB, "1.24").findings[0].severity is not Severity.BLOCKER
    assert found(CRONJOB, "1.20") == []


@pytest.mark.parametrize(
    "text",
    [
        '{"apiVersion": "batch/v1beta1", "kind": "CronJob", "metadata": {"name": "nightly"}}',
        "{apiVersion: batch/v1beta1, kind: CronJob, metadata: {name: nightly}}",
        "--- {apiVersion: batch/v1beta1, kind: CronJob, metadata: {name: nightly}}\n",
        "  apiVersion: batch/v1beta1\n  kind: CronJob\n  metadata:\n    name: nightly\n",
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: batch/v1beta1\n  kind: CronJob\n"
        "  metadata:\n    name: nightly\n",
        "apiVersion: batch/v1beta1\nkind: CronJobList\nitems:\n- metadata:\n    name: nightly\n",
        "kind: CronJob\nmetadata:\n  name: nightly\napiVersion: &a batch/v1beta1\n",
        '"kind": "CronJob"\n"apiVersion": "batch/v1beta1"\nmetadata: {name: nightly}\n',
        "\ufeffapiVersion: batch/v1beta1\nkind: CronJob\nmetadata: {name: nightly}\n",
        "%YAML 1.2\n---\napiVersion: batch/v1beta1\nkind: CronJob\nmetadata: {name: nightly}\n",
        "base: &b\n  kind: CronJob\n<<: *b\napiVersion: batch/v1beta1\nmetadata: {name: nightly}\n",
        '{"kind":"List","apiVersion":"v1","items":[{"apiVersion":"batch/v1beta1","kind":"CronJob",'
        '"metadata":{"name":"nightly"}}]}',
        '{"kind":"Pod","apiVersion":"v1"}\n{"apiVersion":"batch/v1beta1","kind":"CronJob",'
        '"metadata":{"name":"nightly"}}',
        CRONJOB.replace("\n", "\r\n"),
    ],
)
def test_it_is_found_in_every_shape(text: str) -> None:
    linter = linted(text)
    assert [(f.rule, f.name) for f in linter.findings] == [("api-removed", "nightly")]
    assert not linter.not_read


@pytest.mark.parametrize(
    "text",
    [
        'apiVersion: "batch\\/v1beta1"\nkind: CronJob\n',
        "apiVersion: batch/v1\nkind: CronJob\nspec: {}\napiVersion: batch/v1beta1\n",
        "apiVersion: batch/v1beta1\nkind: Nothing\nkind: CronJob\n",
    ],
)
def test_what_the_cheap_look_cannot_tell_is_parsed(text: str) -> None:
    """An escape, and a key that stands twice: the last one counts, as for kubectl."""
    assert [r for r, *_ in found(text)] == ["api-removed"]


def test_every_object_is_counted_once() -> None:
    typed = "apiVersion: batch/v1beta1\nkind: CronJobList\nitems:\n- metadata: {name: a}\n- {}\n"
    listed = "apiVersion: v1\nkind: List\nitems: [{kind: Pod, apiVersion: v1}, 3]\n"
    anchored = CRONJOB.replace("batch", "&a batch")
    for text, count in ((typed, 2), (listed, 1), (anchored, 1), ("\ufeff" + CRONJOB, 1)):
        assert linted(text).objects == count, text


def nested(opening: str, closing: str) -> str:
    return opening * 5_000 + closing * 5_000


@pytest.mark.parametrize(
    "text",
    [
        CRONJOB + f"x: {nested('[', ']')}\n",
        CRONJOB + f"x: {nested('{a: ', '}')}\n",
        CRONJOB + "x:\n  " + "- " * 5_000 + "a\n",
        f'{{"apiVersion": "batch/v1beta1", "kind": "CronJob", "x": {nested("[", "]")}}}',
    ],
)
def test_deep_nesting_is_read(text: str) -> None:
    """PyYAML's own composer ends the process where it is some 50,000 deep: it recurses in C."""
    assert [r for r, *_ in found(text)] == ["api-removed"]


def test_aliases_of_aliases_cost_what_their_bytes_cost() -> None:
    """Ten to the ninth nodes, if each alias were a copy."""
    rows = [f"l{i}: &l{i} [{','.join([f'*l{i - 1}'] * 10)}]\n" for i in range(1, 10)]
    assert len(found(CRONJOB + "l0: &l0 [x]\n" + "".join(rows))) == 1
    top = "&t [x]"
    for i in range(9):
        top = f"&t{i} [{top}, {','.join([f'*t{i - 1}' if i else '*t'] * 9)}]"
    assert found(top) == []


def test_a_tree_is_what_the_parser_would_make_of_it() -> None:
    """Merge keys (the first source and the explicit key win), aliases, nulls, keys of any kind."""
    text = (
        "a: &a {x: 1, y: &v 2}\nb: &b {x: 3, z: ~}\nc: {<<: [*a, *b], w: *v}\n"
        "d: {y: 9, <<: *a}\ne: {<<: *a, y: 9}\n? [q]\n: r\n'<<': s\nf: &f [*f, null, 'null', '']\n"
        "g: !!null x\nh: !!str null\n*v : i\n"
    )

    def shape(node: Node) -> object:
        if isinstance(node.value, dict):
            return {k: shape(v) for k, v in node.value.items()}
        return [shape(i) for i in node.items()] if isinstance(node.value, list) else node.value

    (document,) = from_yaml(text.encode())
    assert shape(document) == {
        "a": {"x": "1", "y": "2"},
        "b": {"x": "3", "z": None},
        "c": {"x": "1", "y": "2", "z": None, "w": "2"},
        "d": {"x": "1", "y": "9"},
        "e": {"x": "1", "y": "9"},
        "<<": "s",
        "f": [None, None, "null", ""],
        "g": None,
        "h": "null",
        "2": "i",
    }
    with pytest.raises(Unparsable, match="undefined alias 'no'") as unknown:
        list(from_yaml(b"a: 1\nb: *no\n", 7))
    assert unknown.value.line == 2


def test_text_inside_a_block_scalar_is_not_a_manifest() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\ndata:\n  x: |\n    " + CRONJOB.replace("\n", "\n    ")
    assert found(text) == []


def test_rules_beside_removal() -> None:
    assert found("apiVersion: batch/v1\nkind: CronJob\nspec: {}\n", "1.20")[0][0] == "api-too-new"
    off = "apiVersion: storage.k8s.io/v1beta1\nkind: VolumeAttributesClass\n"
    assert found(off, "1.31")[0][0] == "api-off-by-default"
    assert found("apiVersion: apps/v1\nkind: Deploymint\n")[0][0] == "api-unknown"
    assert found("apiVersion: example.com/v1\nkind: Deploymint\n") == []
    assert found("apiVersion: v1\nkind: Config\nclusters: []\n") == []  # a kubeconfig
    config = "apiVersion: kubescheduler.config.k8s.io/v1beta3\nkind: KubeSchedulerConfiguration\n"
    assert found(config, "1.29")[0][0] == "configuration-removed"
    assert found(config, "1.28") == []
    volume = "apiVersion: v1\nkind: PersistentVolume\nspec:\n  rbd: {image: x}\n"
    assert found(volume, "1.31") == [("volume-removed", 4, "")]
    assert found(volume, "1.30") == []
    pod = "apiVersion: v1\nkind: Pod\nspec:\n  volumes:\n  - gitRepo: {repository: x}\n"
    assert found(pod, "1.33") == [("volume-removed", 5, "")]
    assert "init container" in linted(pod).findings[0].message
    for key in ("gitRepo ", "'gitRepo'", '"gitRepo"'):
        assert found(pod.replace("gitRepo", key))[0][:2] == ("volume-removed", 5)
    assert found(pod, "1.32") == []


def test_fields_that_went_away_are_found_where_they_stand() -> None:
    service = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  topologyKeys: ['*']\n"
    assert found(service) == [("field-removed", 5, "s")]
    assert found(service, "1.21") == []
    deployment = (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, clusterName: x}\nspec:\n"
        "  template:\n    spec:\n      volumes:\n      - ephemeral:\n          readOnly: true\n"
    )
    assert [r for r, *_ in found(deployment)] == ["field-removed", "field-removed"]
    ingress = (
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: i}\nspec:\n  rules:\n"
        "  - http:\n      paths:\n      - path: /\n"
    )
    assert found(ingress) == [("field-required", 8, "i")]
    assert found(ingress.replace("path: /", "{path: /, pathType: Exact}")) == []
    two = ingress.replace(
        "- path: /", "- {path: /a, pathType: Exact, backend: {}}\n      - backend: {}"
    )
    assert found(two) == [("field-required", 9, "i")]


def along(path: str) -> object:
    """A document body that holds exactly one path: "spec.volumes[].x" -> {spec: {volumes: …}}."""
    head, _, rest = path.partition(".")
    inner = along(rest) if rest else "x"
    if head.endswith("[]"):
        return {head[:-2]: [inner]}
    return {head[:-2]: {"k": inner}} if head.endswith("{}") else {head: inner}


class Everything(Judge):
    """The same rules without the cheap look."""

    def interest(self, api_version: str, kind: str, text: bytes) -> bool:
        return True


def test_the_cheap_look_never_hides_what_parsing_would_find() -> None:
    """Every field of the table, present and with its parent alone, in YAML and in JSON."""
    looked, parsed = Judge(shipped(), "1.37"), Everything(shipped(), "1.37")
    compared = 0
    for change in shipped().fields:
        for kind, paths in change.where.items():
            group, version, name = kind.split("/") if kind != "*" else ("apps", "v1", "Deployment")
            for path in paths:
                for body in (along(path), along(path.rpartition(".")[0] or "spec")):
                    assert isinstance(body, dict)
                    api = f"{group}/{version}" if group else version
                    whole = {"apiVersion": api, "kind": name, **body}
                    for text in (yaml.safe_dump(whole), json.dumps(whole)):
                        one, two = Linter(looked), Linter(parsed)
                        one.data(text.encode(), "x")
                        two.data(text.encode(), "x")
                        assert one.findings == two.findings, text
                        compared += bool(two.findings)
    assert compared > 200


def test_what_cannot_be_read_is_incomplete_and_never_clean() -> None:
    for text in ("kind: CronJob\napiVersion: batch/v1beta1\n\tbad: [\n", "{{ if .x }}\nkind: A\n"):
        linter = linted(text)
        assert linter.not_read, text
        assert report(linter, ()).exit_code == 3


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_nothing_on_standard_input_is_what_a_failed_program_leaves(text: str) -> None:
    linter = Linter(Judge(shipped(), "1.37"))
    linter.standard_input(text.encode())
    assert "may have failed" in linter.not_read[0].why


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"a: 1\nfoo: [1, 2\nbar: {x\n", 3),
        (CRONJOB.encode() + b"---\nfoo: [1\n", 7),
        (b"\x00\x01\x02\x03", 1),
        (b"\xff\xfea", 1),
    ],
)
def test_broken_yaml_without_a_kind_is_not_read(text: bytes, line: int) -> None:
    (unread,) = linted(text).not_read
    assert abs(unread.line - line) <= 1


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        (ONE.replace("{}", '"\xff"').encode("latin-1"), 1, "not UTF-8"),
        (CRONJOB.encode() + b"  x: \xe9\n", 5, "not UTF-8"),
        (CRONJOB.encode("utf-16-le"), 1, "UTF-16 without a byte order mark"),
        (b'{"kind":"Pod","apiVersion":"v1"}\n{"kind":"Pod","apiVersion":', 2, "not JSON"),
        (b'{\n // "v1" of\n "apiVersion": "batch/v1beta1", "kind": "CronJob"}', 1, "not JSON"),
        (b"apiVersion: batch/{{ .v }}\nkind: CronJob\n", 1, "is a template"),
        (b'apiVersion: "{{ .x }}"\nkind: CronJob\n', 1, "is a template"),
        (b'apiVersion: batch/v1\nkind: "{{ .x }}"\n', 1, "is a template"),
        (b'- apiVersion: batch/v1\n  kind: "{{ .x }}"\n', 1, "is a template"),
    ],
)
def test_what_is_not_read_says_where_and_why(text: bytes, line: int, why: str) -> None:
    linter = linted(text)
    (unread,) = linter.not_read
    assert (unread.line, why in unread.why) == (line, True), unread
    assert not linter.findings


def test_a_number_too_large_for_a_machine_is_read() -> None:
    text = '{"apiVersion": "batch/v1beta1", "kind": "CronJob", "x": 1e999999}'
    assert [r for r, *_ in found(text)] == ["api-removed"]


def test_flow_style_documents_know_their_lines() -> None:
    assert found('{"a": 1}\n---\n\n{apiVersion: batch/v1beta1, kind: CronJob}\n')[0][1] == 4


def test_what_is_no_manifest_but_yaml_is_clean() -> None:
    for text in ("replicas: 1\nimage: {tag: !x v1}\n", "# only\n---\n# words\n", ""):
        assert not linted(text).not_read, text


def test_a_templated_api_version_is_not_read() -> None:
    linter = linted("apiVersion: {{ .Values.api }}\nkind: CronJob\nmetadata:\n  name: {{ .x }}\n")
    assert "is a template" in linter.not_read[0].why


def test_utf_16_is_read() -> None:
    assert [f[0] for f in found(CRONJOB.encode("utf-16"))] == ["api-removed"]


def test_a_list_at_the_top_is_read() -> None:
    one = yaml.safe_load(CRONJOB)
    for text in (json.dumps([one, one]), yaml.safe_dump([one, one])):
        linter = linted(text)
        assert (len(linter.findings), linter.objects) == (2, 2), text


def test_a_template_that_yaml_would_take_for_a_mapping_is_not_read() -> None:
    linter = linted('{{- include "common.deployment" . }}\n')
    assert "is a template" in linter.not_read[0].why
    assert "is a template" in linted("{{ .Values.whole }}\n").not_read[0].why


def test_what_holds_no_manifest_needs_no_sense() -> None:
    assert not linted('{\n  // a comment\n  "compilerOptions": {}\n}\n').not_read
    assert linted('{\n  // a comment\n  "apiVersion": "v1"\n').not_read


def test_fix_changes_one_value_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "pdb.yaml"
    before = (PDB + "---\n" + CRONJOB + "spec: {}\n").encode()
    file.write_bytes(before)
    file.chmod(0o640)
    linter = Linter(Judge(shipped(), "1.37"), mend=True)
    linter.path(str(tmp_path))
    assert [f.fixed for f in linter.findings] == [True, True]
    assert file.read_bytes() == before.replace(b"/v1beta1", b"/v1")
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o640
    again = Linter(Judge(shipped(), "1.37"), mend=True)
    again.path(str(tmp_path))
    assert not again.findings


def test_fix_leaves_alone_what_a_person_must_change(tmp_path: Path) -> None:
    """Fields change (Ingress), or the behaviour does (a budget with an empty selector)."""
    file = tmp_path / "x.yaml"
    text = (
        "apiVersion: networking.k8s.io/v1beta1\nkind: Ingress\n---\n"
        "apiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nspec: {selector: {}}\n"
    )
    file.write_text(text)
    linter = Linter(Judge(shipped(), "1.37"), mend=True)
    linter.path(str(file))
    assert file.read_text() == text
    ingress, budget = linter.findings
    assert ingress.change == "fields"
    assert any("serviceName" in f for f in ingress.fields)
    assert "every pod" in budget.note


BUDGET = "{apiVersion: policy/v1beta1, kind: PodDisruptionBudget, spec: {selector: {%s}}}"


def mended(file: Path) -> Linter:
    linter = Linter(Judge(shipped(), "1.37"), mend=True)
    linter.path(str(file))
    return linter


def test_fix_mends_every_object_of_a_line_or_none(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(f"[{ONE}, {ONE}]")
    assert [f.fixed for f in mended(file).findings] == [True, True]
    assert "v1beta1" not in file.read_text()
    file.write_text(f"- &a\n  {CRONJOB.replace(chr(10), chr(10) + '  ')}spec: {{}}\n- *a\n")
    assert [f.fixed for f in mended(file).findings] == [True, True]
    both = f"[{BUDGET % ''}, {BUDGET % 'matchLabels: {a: b}'}]"
    file.write_text(both)  # the first budget would cover every pod in v1
    first, second = mended(file).findings
    assert not first.fixed
    assert not second.fixed
    assert second.note.startswith("not mended")
    assert file.read_text() == both


@pytest.mark.parametrize(
    "text",
    [
        CRONJOB.replace("batch", "&a batch").encode(),
        b"x: &v batch/v1beta1\napiVersion: *v\nkind: CronJob\n",
        CRONJOB.replace(": batch", ":\n  batch").encode(),
        CRONJOB.replace(": batch", ": !!str batch").encode(),
        CRONJOB.replace("batch/v1beta1", '"batch\\/v1beta1"').encode(),
        CRONJOB.encode("utf-16"),
        b"kind: CronJob\nlastapiVersion: batch/v1beta1\n? apiVersion\n: batch/v1beta1\n",
        b"apiVersion: batch/v1beta1\nkind: CronJobList\nitems:\n- {}\n",
    ],
)
def test_what_fix_leaves_it_says(text: bytes, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(text)
    linter = mended(file)
    (finding,) = linter.findings
    assert (finding.fixed, finding.fixable) == (False, False)
    assert "not mended: " in render.text(report(linter))
    assert report(linter).exit_code == 2
    assert file.read_bytes() == text


def test_standard_input_is_not_mended_and_a_file_that_cannot_be_written_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linter = Linter(Judge(shipped(), "1.37"), mend=True)
    linter.standard_input(CRONJOB.encode())
    assert linter.findings[0].note == "not mended: standard input"
    file = tmp_path / "x.yaml"
    file.write_text(CRONJOB)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    assert mended(file).findings[0].note == "not mended: cannot be written (Permission denied)"
    assert [p.name for p in tmp_path.iterdir()] == ["x.yaml"]
    assert file.read_text() == CRONJOB


def test_what_lies_beside_a_directory_is_named(tmp_path: Path) -> None:
    """A pipe would be waited for; a link may lead round in a circle."""
    apps, shared = tmp_path / "apps", tmp_path / "shared"
    for directory in (apps, shared):
        directory.mkdir()
        (directory / "x.yaml").write_text(CRONJOB)
    os.mkfifo(apps / "pipe.yaml")
    (apps / "round").symlink_to(apps)
    (apps / "out").symlink_to(shared)
    (apps / "kustomization.yaml").write_text("resources: [x.yaml]\n")
    linter = Linter(Judge(shipped(), "1.37"))
    linter.named(str(apps))
    assert len(linter.findings) == 1
    assert [(u.path, u.why) for u in linter.not_read] == [
        (f"{apps}/pipe.yaml", "is no regular file")
    ]
    assert [n.split()[0] for n in linter.notes] == [f"{apps}/out"]
    (apps / "kustomization.yaml").write_text("resources: ['https://example.com/x']\n")
    linter = Linter(Judge(shipped(), "1.37"))
    linter.named(str(apps))
    assert f"kustomize build {apps} | pawl lint -" in linter.notes[1]


def test_a_patch_is_a_part_of_an_object_and_lacks_no_field(tmp_path: Path) -> None:
    part = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {annotations: {a: b}}\n"
    (tmp_path / "patches").mkdir()
    files = [tmp_path / name for name in ("patches/a.yaml", "b.yaml", "whole.yaml")]
    for file in files:
        file.write_text(part)
    (tmp_path / "kustomization.yaml").write_text(
        "resources: [whole.yaml]\npatchesStrategicMerge: [b.yaml]\n"
        "patches:\n- path: patches/a.yaml\n- patch: |-\n    kind: Pod\n"
    )
    linter = Linter(Judge(shipped(), "1.37"))
    for file in files:
        linter.path(str(file))
    assert [(f.rule, f.path) for f in linter.findings] == [("field-required", str(files[2]))]


def test_a_path_that_is_no_utf_8_is_shown_in_every_format(tmp_path: Path) -> None:
    file = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.yaml")
    Path(file).write_text(CRONJOB)
    linter = Linter(Judge(shipped(), "1.37"))
    linter.path(file)
    assert linter.findings[0].path == f"{tmp_path}/\\xff.yaml"


def test_a_manifest_writes_no_line_of_its_own_into_a_log() -> None:
    """A CI takes "::error::" at the start of a line for a command, a terminal an escape for one."""
    name = '"a\\e[31m\\n::error::\\u202e|"'
    linter = linted(CRONJOB.replace("nightly", name) + '  annotations: {owner: "x\\ny"}\n')
    one = report(linter)
    for out in (render.text(one), render.markdown(one), render.junit(one)):
        assert "\x1b" not in out
        assert "\u202e" not in out
        assert not any(line.startswith(("::", "y")) for line in out.splitlines())
    assert ElementTree.fromstring(render.junit(one)).get("failures") == "1"


def test_owners_from_annotations_labels_and_codeowners(tmp_path: Path) -> None:
    owners = parse("* @all\n/apps/ @apps  # ours\n*.yml @yml\n/apps/pay/** @pay\n")
    assert owners.of("apps/x.yaml") == "@apps"
    assert owners.of("apps/pay/a/b.yaml") == "@pay"
    assert owners.of("other/x.yml") == "@yml"
    assert owners.of("x.yaml") == "@all"
    file = tmp_path / "apps" / "x.yaml"
    file.parent.mkdir()
    file.write_text(CRONJOB + "---\n" + CRONJOB + "  labels: {team: blue}\n")
    linter = Linter(Judge(shipped(), "1.37"), owners, root=tmp_path)
    linter.path(str(file))
    assert [f.owner for f in linter.findings] == ["@apps", "blue"]


def test_a_waiver_is_shown_counts_as_warning_and_expires() -> None:
    entry = {"rule": "api-removed", "owner": "ada", "expires": "2026-12-31", "reason": "goes soon",
             "kind": "CronJob"}  # fmt: skip
    waivers = waive.decode({"waivers": [entry]}, "w.yaml", RULES)
    linter = linted(CRONJOB)
    findings, notes = waive.apply(linter.findings, waivers, "2026-12-31")
    assert findings[0].waived.startswith("waived by ada")
    assert not notes
    assert report(linter, findings).exit_code == 1
    assert "goes soon" in render.text(report(linter, findings))
    findings, notes = waive.apply(linter.findings, waivers, "2027-01-01")
    assert report(linter, findings).exit_code == 2
    assert "expired" in notes[0]
    _, notes = waive.apply((), waivers, "2026-12-31")
    assert "covers nothing here" in notes[0]
    assert waive.decode([{**entry, "path": "./x.yaml"}], "w", RULES)[0].covers(findings[0])
    with pytest.raises(ConfigError, match=r"waiver 1.*\n.*waiver 2"):
        waive.decode({"waivers": [{"rule": "x"}, {**entry, "expires": "soon"}]}, "w.yaml", RULES)


@pytest.mark.parametrize(
    ("key", "value"),
    [("expires", "2027-02-30"), ("expires", "abcd-ef-gh"), ("expires", "2027-W05-1"),
     ("rule", "api-remved"), ("owner", " ")],
)  # fmt: skip
def test_a_waiver_with_a_mistake_is_refused(key: str, value: str) -> None:
    entry = {"rule": "api-removed", "owner": "ada", "expires": "2026-12-31", "reason": "goes soon"}
    with pytest.raises(ConfigError, match="waiver 1: "):
        waive.decode([{**entry, key: value}], "w.yaml", RULES)


@pytest.mark.parametrize(
    ("path", "uri", "base"),
    [
        ("x.yaml", "deploy/x.yaml", "%SRCROOT%"),
        ("../x y.yaml", "x%20y.yaml", "%SRCROOT%"),
        ("/repo/deploy/x.yaml", "deploy/x.yaml", "%SRCROOT%"),
        ("/repository/x.yaml", "file:///repository/x.yaml", None),
        ("../../x.yaml", "file:///x.yaml", None),
        ("-", "-", None),
    ],
)
def test_a_sarif_place_is_relative_to_the_repository(path: str, uri: str, base: str | None) -> None:
    """An absolute one matches no file of a checkout elsewhere: code scanning would show nothing."""
    linter = Linter(Judge(shipped(), "1.37"))
    linter.data(CRONJOB.encode(), path)
    (run,) = json.loads(render.sarif(report(linter), "1", root="/repo", at="/repo/deploy"))["runs"]
    place = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert (place["uri"], place.get("uriBaseId")) == (uri, base)
    assert "%SRCROOT%" in run["originalUriBaseIds"]


def test_a_sarif_place_is_a_uri() -> None:
    linter = Linter(Judge(shipped(), "1.37"))
    linter.data(CRONJOB.encode(), "my app/a#1.yaml")
    (result,) = json.loads(render.sarif(report(linter), "1"))["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "my%20app/a%231.yaml"


def test_reports_in_every_format_say_the_same() -> None:
    linter = linted(CRONJOB + "---\n" + PDB + "---\napiVersion: v1\nkind: X\n\tbad\n{{")
    one = report(linter)
    sarif = json.loads(render.sarif(one, "1"))
    run = sarif["runs"][0]
    assert [r["ruleId"] for r in run["results"]] == ["api-removed", "api-removed"]
    place = run["results"][1]["locations"][0]["physicalLocation"]
    assert place["region"]["startLine"] == 7
    assert run["invocations"][0]["executionSuccessful"] is (not one.not_read)
    suite = ElementTree.fromstring(render.junit(one))
    assert suite.get("failures") == "2"
    assert suite.get("errors") == str(len(one.not_read))
    assert "| blocker | `x.yaml:1` | CronJob nightly |" in render.markdown(one)
    assert "x.yaml:1: blocker: CronJob nightly" in render.text(one)


def test_the_cheap_look_splits_like_a_parser() -> None:
    data = b"a: |\n  ---\n  x\n---b: 1\n---\n--- # c\nc: 3\n---"
    assert [c.text for c in split(data)] == [b"a: |\n  ---\n  x\n---b: 1\n", b"c: 3\n"]
    seen = look(next(split(b'kind: Pod # x\napiVersion:   "v1"\n')))
    assert (seen.api_version, seen.kind) == ("v1", "Pod")


def test_corrections_reach_lint() -> None:
    own = corrections(
        {"apis": [{"group": "acme.example", "version": "v1alpha1", "kind": "Widget", "source": "us",
                   "removed": "1.36", "replacement": "acme.example/v1", "field_compatible": True}]},
        "own",
    )  # fmt: skip
    (finding,) = linted("apiVersion: acme.example/v1alpha1\nkind: Widget\n", own=own).findings
    assert finding.fixable
    assert not linted("apiVersion: acme.example/v1\nkind: Widget\n", own=own).findings
    assert linted("apiVersion: apps/v1\nkind: Widget\n", own=own).findings


def test_the_command_has_stable_exit_codes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ok.yaml").write_text("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n")
    assert command("ok.yaml", kube_version="1.37") == 0
    Path("gone.yaml").write_text(CRONJOB)
    assert command(".", kube_version="1.37") == 2
    assert "gone.yaml:1: blocker" in capsys.readouterr().out
    assert command(".", kube_version="1.37", fail_on="blockers") == 2
    Path(".pawl-waivers.yaml").write_text(
        "waivers:\n- {rule: api-removed, owner: a, expires: 2999-01-01, reason: r}\n"
    )
    assert command("gone.yaml", kube_version="1.37") == 1
    assert command("gone.yaml", kube_version="1.37", fail_on="blockers") == 0
    Path("bad.yaml").write_text("apiVersion: v1\nkind: List\n  x: [\n")
    assert command("bad.yaml", kube_version="1.37") == 3
    assert command("bad.yaml", kube_version="1.37", fail_on="blockers") == 3
    with pytest.raises(ConfigError):
        command("nothing-here.yaml", kube_version="1.37")
    with pytest.raises(ConfigError):
        command("", kube_version="1.37")  # a variable that is not set, not this directory
    Path("moved", "away").mkdir(parents=True)
    assert command("moved", kube_version="1.37") == 3
    Path("moved", "away", "values.yaml").write_text("replicas: 1\n")
    assert command("moved", kube_version="1.37") == 0


def test_every_rule_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "lint.md").read_text()
    for rule in RULES:
        assert f"`{rule}`" in page
