"""Protocols for everything outside pawl, one file per outside thing.

Each port has real adapters, one simulated adapter (`pawl.testing`), and one conformance suite that
all of them pass. Every call has its own deadline; passing it raises `Unreachable`, which means
"unknown": the caller observes again before it repeats anything.
"""
