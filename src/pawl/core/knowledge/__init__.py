"""Dated facts about releases, shipped as data and derived from their source (docs/knowledge.md).

`rows` are the types, `store` loads the tables lazily, `correct` checks a user's own rows, `answer`
holds the questions that other parts of pawl ask. Nothing here knows a cluster.
"""
