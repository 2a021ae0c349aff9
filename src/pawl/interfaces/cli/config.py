"""`pawl config`: check pawl.yaml, print its schema and its reference."""

from __future__ import annotations

import json

from cyclopts import App

from pawl.adapters.config import load_config
from pawl.adapters.config.reference import json_schema
from pawl.adapters.config.reference import reference as reference_text
from pawl.interfaces import wiring
from pawl.interfaces.cli.options import ConfigFile

app = App(
    name="config",
    help="Check the configuration, print its schema and its reference.",
)


@app.command
def check(*, config: ConfigFile = None) -> int:
    """Read pawl.yaml and name all its mistakes at once, each with how to mend it.

    Touches no network but name resolution. Exits with 4 when there is a mistake.

    For example:

        pawl config check
        pawl config check -c clusters/shop/pawl.yaml
    """
    path = wiring.find_config(config)
    loaded = load_config(path)
    roles = sorted({role for host in loaded.hosts for role in host.roles})
    counted = ", ".join(f"{len(loaded.with_role(role))} {role}" for role in roles)
    print(f"{path}: good; cluster {loaded.cluster}, {len(loaded.hosts)} hosts ({counted})")
    return 0


@app.command
def schema() -> int:
    """Print the JSON Schema of pawl.yaml, for editors and CI.

    For example:

        pawl config schema > pawl.schema.json
    """
    print(json.dumps(json_schema(), indent=2))
    return 0


@app.command
def reference() -> int:
    """Print the reference of all settings as Markdown (docs/configuration.md).

    For example:

        pawl config reference > docs/configuration.md
    """
    print(reference_text(), end="")
    return 0
