"""pawl.yaml: all mistakes at once, each with path, what is wrong, and how to mend it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asyncssh
import pytest
import yaml

from pawl.adapters.config import load_config
from pawl.core.errors import ConfigError
from pawl.core.pace import Pace
from support_pki import Authority, credentials


@pytest.fixture
def good(tmp_path: Path) -> dict[str, Any]:
    credentials(tmp_path)
    return {
        "cluster": "shop",
        "hosts": [
            {"name": "cp-1", "address": "198.18.0.11", "roles": ["control-plane", "etcd"]},
            {"name": "lb-1", "address": "198.18.0.2", "roles": ["load-balancer"]},
            {"name": "w-1", "address": "198.18.0.21", "roles": ["worker"], "pool": "web"},
        ],
        "ssh": {"key": "key", "known_hosts": "known_hosts"},
        "etcd": {"ca": "ca.crt", "cert": "etcd.crt", "key": "etcd.key"},
        "api": {"endpoint": "https://198.18.0.2:6443", "kubeconfig": "kubeconfig"},
        "load_balancer": {"host": "lb-1"},
    }


def load(data: Any, tmp_path: Path) -> Any:
    path = tmp_path / "pawl.yaml"
    path.write_text(yaml.safe_dump(data))
    return load_config(path)


def problems(data: Any, tmp_path: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(data, tmp_path)
    return caught.value.problems


def test_relative_paths_start_at_the_file(good: dict[str, Any], tmp_path: Path) -> None:
    config = load(good, tmp_path)
    assert config.ssh.key == str(tmp_path / "key")
    assert config.etcd.ca == str(tmp_path / "ca.crt")
    assert config.state == str(tmp_path / ".pawl")
    assert config.artifacts.local == ""


def test_five_errors_at_once(good: dict[str, Any], tmp_path: Path) -> None:
    good["hosts"][2]["roles"] = ["workr"]
    good["hosts"][0]["address"] = "198.18.0.2"
    good["ssh"]["prot"] = 2222
    good["api"]["endpoint"] = "http://198.18.0.2:6443"
    good["policy"] = {"timeouts": {"read": "fast"}}
    (tmp_path / "etcd.key").chmod(0o644)
    del good["etcd"]["cert"]
    found = problems(good, tmp_path)
    assert len(found) == 7
    for path, mend in {
        "hosts[2].roles[0]": "write one of etcd, control-plane, worker, load-balancer",
        "hosts[0] and hosts[1]": "two hosts cannot share an address",
        "ssh.prot": "did you mean `port`?",
        "api.endpoint": "https://198.18.0.2:6443",
        "policy.timeouts.read": "write a number ≥ 0 (default: 5.0)",
        "etcd.key": "chmod 600",
        "etcd.cert": "is missing",
    }.items():
        assert any(p.startswith(path + ":") and mend in p for p in found), (path, mend, found)


@pytest.mark.parametrize(
    ("section", "change", "sentence"),
    [
        ("load_balancer", {"host": "lb-2"}, "load_balancer.host: no host is named `lb-2`"),
        ("machines", {"provider": "lab"}, "machines.lab: is missing"),
        ("policy", {"durations": {"swap-apiserver": 9.0}}, "did you mean `swap-api-server`?"),
        ("layout", {"unit": "kubelet.service"}, "layout.unit: `kubelet.service` is the same"),
        ("ssh", {"key": "nowhere", "known_hosts": "known_hosts"}, "ssh.key: no file at"),
        ("artifacts", {"sources": ["cache", "torrent"]}, "artifacts.sources[1]: invalid enum"),
        ("hosts", [], "hosts: names no host"),
        ("etcd", ["ca"], "etcd: holds a list, but must be a section"),
        ("api", {"endpoint": "https://h.invalid", "kubeconfig": "kubeconfig"}, "does not resolve"),
    ],
)
def test_each_mistake_is_named(
    good: dict[str, Any], tmp_path: Path, section: str, change: Any, sentence: str
) -> None:
    good[section] = change
    assert any(sentence in p for p in problems(good, tmp_path)), problems(good, tmp_path)


def test_mistakes_in_the_pace(good: dict[str, Any], tmp_path: Path) -> None:
    good["policy"] = {
        "pace": {
            "starts_least": 0,
            "starts_share": 1.5,
            "settle": -1,
            "boot": float("inf"),
            "ready": float("nan"),
            "start_least": 4,
        }
    }
    assert problems(good, tmp_path) == (
        "policy.pace.start_least: unknown key; did you mean `starts_least`?",
        "policy.pace.starts_share: expected float <= 1.0; write a number ≥ 0 and ≤ 1 "
        "(default: 0.05)",
        "policy.pace.starts_least: expected int >= 1; write a whole number ≥ 1 and ≤ 100000 "
        "(default: 2)",
        "policy.pace.settle: expected float >= 0.0; write a number ≥ 0 and ≤ 86400 (default: 10.0)",
        "policy.pace.ready: nan is not a finite number; write a number ≥ 0 and ≤ 86400 "
        "(default: 10.0)",
        "policy.pace.boot: inf is not a finite number; write a number ≥ 0 and ≤ 86400 "
        "(default: 60.0)",
    )


def test_a_pace_of_your_own(good: dict[str, Any], tmp_path: Path) -> None:
    good["policy"] = {"pace": {"settle": 0, "starts_least": 4}}
    assert load(good, tmp_path).policy.pace == Pace(settle=0.0, starts_least=4)


def test_files_that_cannot_be_used_are_told_with_the_other_mistakes(
    good: dict[str, Any], tmp_path: Path
) -> None:
    """Each would be a failure of the first reading, or a traceback."""
    locked = asyncssh.generate_private_key("ssh-ed25519")
    (tmp_path / "key").unlink()
    locked.write_private_key(tmp_path / "key", "pkcs8-pem", passphrase="secret")
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "known_hosts").write_text("@nonsense line of no sense\n")
    (tmp_path / "ca.crt").write_text("no certificate\n")
    (tmp_path / "other").mkdir()
    _, other = Authority(tmp_path / "other").issue("other")
    good["etcd"]["key"] = str(other)
    good["ssh"]["port"] = 0
    found = "\n".join(problems(good, tmp_path))
    assert "ssh.key" in found
    assert "is locked by a passphrase" in found
    assert "ssh.known_hosts: " in found
    assert "etcd.ca: " in found
    assert "ca.crt holds no certificate" in found
    assert "other.key is not the key of the certificate" in found
    assert "ssh.port" in found


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("key", "is no private key of SSH"), ("etcd.crt", "is no certificate with its key")],
)
def test_a_file_of_another_kind_is_named(
    good: dict[str, Any], tmp_path: Path, name: str, sentence: str
) -> None:
    (tmp_path / name).write_text("x\n")
    (found,) = problems(good, tmp_path)
    assert sentence in found
    (tmp_path / name).write_bytes(b"")
    assert sentence in problems(good, tmp_path)[0]


def test_files_that_are_needed_later_are_looked_for_now(
    good: dict[str, Any], tmp_path: Path
) -> None:
    """A pack that is not there would refuse the run that a person has just approved."""
    good["policy"] = {"packs": ["pack.yaml", "typo.yaml"]}
    good["findings"] = {"corrections": "typo.yaml", "addons": ["typo.yaml"]}
    good["watch"] = {"owners": "typo.yaml", "waivers": "typo.yaml"}
    (tmp_path / "pack.yaml").touch()
    assert {p.split(":")[0] for p in problems(good, tmp_path)} == {
        "policy.packs[1]",
        "findings.corrections",
        "findings.addons[0]",
        "watch.owners",
        "watch.waivers",
    }


def test_no_host_with_a_role(good: dict[str, Any], tmp_path: Path) -> None:
    good["hosts"][0]["roles"] = ["control-plane"]
    assert any("no host has the role `etcd`" in p for p in problems(good, tmp_path))


def test_a_key_given_twice_is_not_silently_the_last(tmp_path: Path) -> None:
    (tmp_path / "pawl.yaml").write_text("cluster: a\ncluster: b\n")
    with pytest.raises(ConfigError, match="`cluster` stands twice"):
        load_config(tmp_path / "pawl.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"cluster: {{ .Values.x }}\n", "line 1: a key is a word, not a list or a section"),
        (b"a: 1\n? [b]\n: c\n", "line 2: a key is a word"),
        (b"a: 1\n---\nb: 1\n", "line 2: expected a single document"),
        (b"a: 1\nb: [\n", "line 3: while parsing a flow"),
        (b"a: \xe9\n", "not UTF-8"),
        (b"a: \x00\n", "it holds bytes of zero"),
    ],
)
def test_a_file_that_is_no_yaml_says_where(text: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "pawl.yaml").write_bytes(text)
    with pytest.raises(ConfigError, match="is not YAML: ") as refused:
        load_config(tmp_path / "pawl.yaml")
    assert said in str(refused.value)


def test_an_empty_file_and_a_missing_one(tmp_path: Path) -> None:
    assert "the file: holds nothing" in problems(None, tmp_path)[0]
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "absent.yaml")


def test_gates_from_a_file_lie_under_those_of_pawl_yaml(
    good: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "gates.yaml").write_text(
        "http-latency: {ratio: 1.4, change: 0.01}\n"
        "queue: {kind: limit, query: sum(queue_length), by: cluster, limit: 9}\n"
    )
    good["metrics"] = {
        "url": "http://127.0.0.1:9090",
        "gates_file": "gates.yaml",
        "gates": {"http-latency": {"ratio": 1.5}, "cpu": {"enabled": False}},
    }
    gates = load(good, tmp_path).metrics.gates
    assert gates["http-latency"].ratio == 1.5
    assert gates["http-latency"].change == 0.01
    assert gates["queue"].limit == 9
    assert not gates["cpu"].enabled
    (tmp_path / "gates.yaml").write_text("5: {ratio: 1.4}\n")
    assert "5: is a number; a gate has a name" in problems(good, tmp_path)


def test_mistakes_in_metrics(good: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "token").touch(mode=0o644)
    good["metrics"] = {
        "url": "http://prometheus.example:9090",
        "token_file": "token",
        "cert": "ca.crt",
        "rules": ["nowhere.yaml"],
        "gates": {"cpu": {"ratoi": 2}},
    }
    found = "\n".join(problems(good, tmp_path))
    assert "metrics.gates.cpu.ratoi: unknown key; did you mean `ratio`?" in found
    assert "everybody on the way could read the token" in found
    assert "holds a secret but others may read it" in found
    assert "needs both `cert` and `key`" in found
    assert "metrics.rules[0]: no file at" in found
    good["metrics"] = {"url": "http://127.0.0.1:99999", "gates": {"cpu": {"ratio": -1}}}
    found = "\n".join(problems(good, tmp_path))
    assert "`http://127.0.0.1:99999` is not a URL (Port out of range" in found
    assert "metrics.gates.cpu.ratio: expected float > 0.0; write a number > 0" in found
    good["metrics"] = {"url": "http://127.0.0.1:9090", "gates": {"mine": {"query": "up"}}}
    assert "needs `kind` and `query`" in problems(good, tmp_path)[0]
