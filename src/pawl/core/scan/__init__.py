"""`pawl scan`, the pure part: facts of a live cluster in, graded findings out.

    ScanSource (ports/scan) ──facts──> Collector ──┬─ objects     last-applied, managedFields
      adapters/scan, page by page                  ├─ requests    metrics joined with audit logs
                                                   ├─ releases    Helm
                                                   └─ extensions  CRDs, webhooks, APIServices
                                                          │
                     lint's judge gives the verdict <─────┘──> LintFinding with a grade ──> Report

A grade says how good the evidence is: *proven* (it was seen to happen, or is stored as it will be
used), *likely* (a manager's last write was at that version) and *stale* (only a hint). Proven and
likely block, stale never does. Nothing here reads anything.
"""
