"""`pawl watch`, the pure part: what was seen, what is new, whom to tell, and the numbers.

    inventory, scan ──> Sighting ──> state.compare ──> events ──> history (append-only)
                                                         │
                                      letters.due <── state.fold        ──> metrics.exposition

Nothing here reads, sends or knows the time. docs/watch.md describes the whole.
"""
