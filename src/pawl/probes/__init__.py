"""The prober: a process of its own that uses the cluster as its users do, and writes it down.

It knows nothing of a run and shares nothing with one but the configuration file, so that no fault
of pawl can make the evidence look better. See docs/probes.md.
"""
