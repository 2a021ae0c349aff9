"""How fast `pawl lint` is: 10,000 documents of 2 KB, in one file and in 10,000 files.

Target: at most 1 s. Prints a table; the documents are a plausible mixture (Deployments, Services,
ConfigMaps, Ingresses …), one in 200 of them with an API that is gone at the target.

    python bench/lint.py [DOCUMENTS]
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pawl.adapters.manifests.linting import Linter
from pawl.core.knowledge.store import Knowledge
from pawl.core.lint.judge import Judge

SIZE = 2048
GONE = {"apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget"}
COMMON = (
    ("apps/v1", "Deployment"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("networking.k8s.io/v1", "Ingress"),
    ("batch/v1", "CronJob"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
)


INGRESS = """\
  rules:
  - http:
      paths:
      - path: /
        pathType: Prefix
        backend: {service: {name: web, port: {number: 80}}}
"""


def document(number: int) -> bytes:
    api, kind = COMMON[number % len(COMMON)] if number % 200 else tuple(GONE.values())
    text = (
        f"apiVersion: {api}\nkind: {kind}\nmetadata:\n  name: object-{number}\n"
        f"  namespace: team-{number % 40}\nspec:\n{INGRESS if kind == 'Ingress' else ''}"
        "  template:\n    spec:\n      containers:\n"
    )
    line = 0
    while len(text) < SIZE:
        text += f"        - name: c{line}\n          image: registry.example/app:{number}.{line}\n"
        text += "          resources: {limits: {cpu: 1}}\n"
        text += "          volumeMounts: [{name: x, readOnly: true}]\n"
        line += 1
    return text.encode()


def measure(what: str, run: Callable[[Linter], None]) -> None:
    seconds, cpu = [], []
    linter = None
    for _ in range(3):
        started, busy = time.perf_counter(), time.process_time()
        linter = Linter(Judge(Knowledge(), "1.37"))
        run(linter)
        seconds.append(time.perf_counter() - started)
        cpu.append(time.process_time() - busy)
    assert linter is not None
    wall = sorted(seconds)[1]
    print(
        f"| {what} | {linter.documents:,} | {linter.files:,} | {len(linter.findings)} "
        f"| {wall:.2f} s | {sorted(cpu)[1]:.2f} s | {linter.documents / wall:,.0f} |"
    )


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    documents = [document(n) for n in range(count)]
    with tempfile.TemporaryDirectory() as place:
        one, many = Path(place, "one"), Path(place, "many")
        one.mkdir(), many.mkdir()
        (one / "all.yaml").write_bytes(b"---\n".join(documents))
        for number, data in enumerate(documents):
            (many / f"{number}.yaml").write_bytes(data)
        items = [
            {
                "apiVersion": api,
                "kind": kind,
                "metadata": {"name": f"o{n}"},
                "data": {"x": "y" * 1900},
            }
            for n in range(count)
            for api, kind in [COMMON[n % len(COMMON)]]
        ]
        listed = Path(place, "list.json")
        listed.write_text(
            json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=1)
        )
        print("| input | documents | files | findings | median of 3 | its CPU | documents/s |")
        print("|---|---|---|---|---|---|---|")
        measure("one YAML file", lambda linter: linter.path(str(one)))
        measure("a file for each", lambda linter: linter.path(str(many)))
        measure("one JSON list", lambda linter: linter.path(str(listed)))


if __name__ == "__main__":
    main()
