"""Judging by measurements: is what runs on the new nodes as good as what ran before?

    gates (data) + series (facts) -> judge -> readings -> one verdict: pass | fail | inconclusive

Pure: who asks Prometheus, and when, is `pawl.engine.gatekeeping`'s business. No data never passes.
"""
