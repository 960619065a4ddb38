"""Where the sweep starts for peers that start at the optimizer's rate."""

from __future__ import annotations

# The tasks' optimizers have no rate of their own to start at; this one is what torch-lr-finder's
# documentation uses and what fastai starts at.
START_LR = 1e-7
