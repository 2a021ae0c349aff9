"""tools/setup and requirements.lock: what a stranger's first command rests on."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

from pawl.lab.versions import MONITORING

ROOT = Path(__file__).parents[2]
SETUP = ROOT / "tools" / "setup"


def _name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def test_lock_names_every_dependency_with_a_version_and_hashes() -> None:
    text = (ROOT / "requirements.lock").read_text()
    blocks = re.split(r"\n(?=[a-z0-9])", text)[1:]
    locked = {_name(block): block for block in blocks}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    absent = {_name(r) for r in wanted} - set(locked)
    assert not absent, f"requirements.lock lacks {sorted(absent)}: run `tools/setup lock`"
    for name, block in locked.items():
        assert re.match(r"\S+==\S+", block), name
        assert "--hash=sha256:" in block, name


def test_setup_names_all_that_is_missing_at_once(tmp_path: Path) -> None:
    for tool in ("bash", "sh", "grep", "id", "df", "tail", "mkdir", "dirname", "readlink"):
        found = next(p for d in os.get_exec_path() if (p := Path(d, tool)).exists())
        (tmp_path / tool).symlink_to(found)
    (tmp_path / "uname").write_text("#!/bin/sh\necho Plan9\n")
    (tmp_path / "uname").chmod(0o755)
    done = subprocess.run(
        ["bash", str(SETUP)],
        env={"PATH": str(tmp_path), "PAWL_CACHE": "/proc/no/such/place"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    for part in ("Python 3.11 or newer", "Linux:", "Debian or Ubuntu", "a writable cache"):
        assert part in done.stderr, done.stderr
    assert "Set PAWL_CACHE" in done.stderr


def _functions(script: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run setup's own functions on a policy-rc.d of ours, without its entry point."""
    text = SETUP.read_text().split("# -- entry")[0]
    text = text.replace("POLICY=/usr/sbin/policy-rc.d", f"POLICY={directory}/policy-rc.d")
    text = text.replace("SAVED=/usr/sbin/", f"SAVED={directory}/")
    program = directory / "setup"
    program.write_text(f"{text}\n{script}\n")
    return subprocess.run(["bash", str(program)], capture_output=True, text=True, check=False)


def test_policy_of_the_host_comes_back_after_success_failure_and_kill(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\n# the host's own\n")
    own = policy.read_text()
    during = _functions('forbid_services; cat "$POLICY"; exit 7', tmp_path)
    assert during.returncode == 7
    assert "exit 101" in during.stdout
    assert policy.read_text() == own
    killed = _functions("forbid_services; kill -KILL $$", tmp_path)
    assert killed.returncode != 0
    assert "exit 101" in policy.read_text()
    _functions("restore_services", tmp_path)
    assert policy.read_text() == own
    assert sorted(p.name for p in tmp_path.iterdir()) == ["policy-rc.d", "setup"]


def test_a_host_without_policy_has_none_afterwards(tmp_path: Path) -> None:
    assert _functions("forbid_services", tmp_path).returncode == 0
    assert not (tmp_path / "policy-rc.d").exists()


def test_setup_fetches_what_the_labs_monitoring_runs() -> None:
    wanted = MONITORING["kube-state-metrics"]
    assert f"\nKUBE_STATE_METRICS={wanted}\n" in SETUP.read_text()
