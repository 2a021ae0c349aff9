"""Artefacts: one resolver over a content-addressed cache and three sources.

    resolver.py   the order of sources, and the gate that everything passes
    cache.py      binaries by SHA-256, verified on each use, bounded
    local.py      a directory of binaries
    download.py   the official releases with their published checksums
    gobuild.py    a build of the unmodified upstream commands (gomodule.py: how)
    factory.py    puts them together from pawl.yaml's `artifacts` section and the environment

A new source is one module with a `provide` (see source.py), added to the factory; it must pass
tests/conformance/test_artifact_sources.py.
"""
