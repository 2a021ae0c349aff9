"""Workloads: what runs on the nodes, what depends on what, and how each pod leaves its node.

objects (the API's own shapes) -> gather -> facts -> graph, tiers, budgets, methods, placement ->
plan -> views. All of it is pure: `pawl workloads` reads the facts live or from files.
"""
