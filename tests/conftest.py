"""What several test modules share."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def one_thread():
    """On small tensors a second thread only waits for the first, and for long where the machine is busy."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
