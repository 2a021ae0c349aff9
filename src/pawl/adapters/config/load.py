"""pawl.yaml -> Config, with all mistakes in one ConfigError and all local paths made absolute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from pawl.adapters.config import credentials, semantics, structure
from pawl.adapters.yaml_file import read
from pawl.core.config import Config, GateConfig, WatchConfig
from pawl.core.errors import ConfigError
from pawl.core.verify.catalog import CATALOG
from pawl.core.verify.gates import effective

LOCAL_PATHS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ssh", ("key", "known_hosts")),
    ("etcd", ("ca", "cert", "key")),
    ("api", ("kubeconfig",)),
    ("artifacts", ("local", "go_cache")),
    ("backup", ("directory",)),
    ("metrics", ("ca", "cert", "key", "token_file", "gates_file")),
    ("findings", ("waivers", "corrections")),
)


def load_config(path: Path) -> Config:
    """Read and check the file. Raises ConfigError with one sentence for each mistake."""
    return parse_config(read(path), path)


def parse_config(data: Any, path: Path) -> Config:
    """The Config of a YAML document; `path` is where it stands (relative paths start there)."""
    base = path.parent.resolve()
    problems = structure.problems_of(data, Config)
    if isinstance(data, dict):
        problems += semantics.problems_of(data, base)
        problems += credentials.problems_of(data, base)
    if problems:
        raise ConfigError(str(path), problems)
    try:
        config = msgspec.convert(data, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(str(path), [str(error)]) from error
    return _with_gates(_absolute(config, base), path)


def _with_gates(config: Config, path: Path) -> Config:
    """The gates of `metrics.gates_file` under those of pawl.yaml, all of them checked."""
    metrics = config.metrics
    if metrics is None:
        return config
    if metrics.gates_file:
        from_file = _gates_of(Path(metrics.gates_file))
        merged = {
            name: _over(from_file.get(name), metrics.gates.get(name))
            for name in {**from_file, **metrics.gates}
        }
        metrics = msgspec.structs.replace(metrics, gates=merged)
    try:
        effective(CATALOG, metrics.gates)
    except ValueError as error:
        raise ConfigError(str(path), str(error).splitlines()) from error
    return msgspec.structs.replace(config, metrics=metrics)


def _gates_of(path: Path) -> dict[str, GateConfig]:
    data = read(path) or {}
    if not isinstance(data, dict):
        raise ConfigError(str(path), ["must hold gates by name, as `metrics.gates` does"])
    problems = [
        f"{name}: is a number; a gate has a name" for name in data if not isinstance(name, str)
    ]
    problems += [p for gate in data.values() for p in structure.problems_of(gate, GateConfig)]
    if problems:
        raise ConfigError(str(path), problems)
    return msgspec.convert(data, dict[str, GateConfig])


def _over(below: GateConfig | None, above: GateConfig | None) -> GateConfig:
    if below is None or above is None:
        return above or below or GateConfig()
    given = {
        f.name: value
        for f in msgspec.structs.fields(above)
        if (value := getattr(above, f.name)) is not None and (f.name != "enabled" or not value)
    }
    return msgspec.structs.replace(below, **given)


def _absolute(config: Config, base: Path) -> Config:
    changed: dict[str, Any] = {"state": str(semantics.resolved(base, config.state))}
    for section, keys in LOCAL_PATHS:
        struct = getattr(config, section)
        if struct is None:
            continue
        paths = {
            key: str(semantics.resolved(base, value))
            for key in keys
            if (value := getattr(struct, key))
        }
        changed[section] = msgspec.structs.replace(struct, **paths)
    changed["findings"] = msgspec.structs.replace(
        changed["findings"],
        addons=tuple(str(semantics.resolved(base, a)) for a in config.findings.addons),
    )
    changed["watch"] = _watch(config.watch, base)
    changed["policy"] = msgspec.structs.replace(
        config.policy,
        packs=tuple(str(semantics.resolved(base, p)) for p in config.policy.packs),
    )
    if config.metrics is not None:
        changed["metrics"] = msgspec.structs.replace(
            changed["metrics"],
            rules=tuple(str(semantics.resolved(base, r)) for r in config.metrics.rules),
        )
    return msgspec.structs.replace(config, **changed)


def _watch(watch: WatchConfig, base: Path) -> WatchConfig:
    def absolute(path: str) -> str:
        return str(semantics.resolved(base, path)) if path else ""

    return msgspec.structs.replace(
        watch,
        owners=absolute(watch.owners),
        waivers=absolute(watch.waivers),
        notifiers=tuple(
            msgspec.structs.replace(
                n,
                ca=absolute(n.ca),
                url_file=absolute(n.url_file),
                password_file=absolute(n.password_file),
            )
            for n in watch.notifiers
        ),
    )
