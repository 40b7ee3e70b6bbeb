"""Measuring: a synthetic archive of any size, and what it costs to ask it (`vo-service bench`).

Every figure is a ratio to the database's own cost of the same SQL in the same run, since
machines are noisy. `docs/performance.md` says what each figure means.
"""
