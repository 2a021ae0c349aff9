"""`pawl lint`, the pure part: a cheap look at bytes, rules over what was parsed, reports.

    bytes ──glance──> nothing to say (most documents end here)
              │
              └──> parse (adapters) ──> Node tree ──judge──> findings ──waive──> report ──render

Reading files and YAML is done by `pawl.adapters.manifests`.
"""
