"""What holds for every test and for the processes that it starts."""

import os

# The models of these tests are so small that waiting for a second thread takes longer than they do.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "agg"

import torch

torch.set_num_threads(1)
