"""The loop of a range test: learning rates in, losses out.

`grid.py` computes every rate before the sweep begins, `loop.py` takes one optimizer step at each
and records its loss, and the other files are the parts that the loop is made of. May import
`_distributed`, `_snapshot` and `_errors`. Read `grid.py`, `loop.py`, `step.py`, `loss.py`.
"""
