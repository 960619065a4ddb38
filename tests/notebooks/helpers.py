"""A kernel of this very Python, whatever kernels are installed for the user."""

from __future__ import annotations

import os

from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient

LIMIT = 240  # seconds for a cell; a notebook takes under 60 on two cores of its own


def run(notebook, folder):
    """Execute a notebook in place, with `folder` as working directory."""
    kernel = AsyncKernelManager(
        kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[])
    )
    client = NotebookClient(
        notebook, km=kernel, timeout=LIMIT, resources={"metadata": {"path": str(folder)}}
    )
    # The backend that the tests draw with would keep pictures out of the notebook.
    env = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    client.execute(env={**env, "OMP_NUM_THREADS": "1"})
    return notebook
