"""Derives pawl's knowledge tables from the releases' own source. See docs/knowledge.md."""
