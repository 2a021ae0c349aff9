"""`pawl changelog`, the pure part.

CHANGELOG text ──parse──> items ──judge (facts of this cluster)──> checklist ──render──> page
                                                                     │
                                   acknowledgements ──findings──> what blocks the plan
"""
