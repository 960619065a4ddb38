"""Captures everything that a sweep may change, and restores it in place, bit for bit.

It may import `_errors` only. Read `snapshot` first, then `kinds` (what is captured of each kind of
object), `tensors` and `storage` (where values are copied), `rng` and `generators` (random numbers),
`signals` and `modes` (exceptions at any moment), `sharded`, and `uncaptured` (what was left out).
"""
