"""Captures everything that a sweep may change, and restores it in place, bit for bit.

It may import `_errors` only. Read `snapshot` first, then `kinds`, `tensors` and `storage` for what
is captured and where it is kept; `rng`, `generators` and `references` for random numbers; `signals`
and `modes` for exceptions at any moment; `uncaptured` for what nobody restores.
"""
