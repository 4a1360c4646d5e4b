"""How many threads torch and MKL use."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
import torch

from nlhf.numerics.threads import set_threads, threads_for


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="torch without MKL")
def test_mkl_chooses_its_threads_after_a_factorisation(monkeypatch: pytest.MonkeyPatch) -> None:
    """If MKL may not choose, `exp` of 100 numbers wakes a second thread and takes fifty times as long."""
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
    monkeypatch.delenv("MKL_DYNAMIC", raising=False)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert not library.mkl_serv_get_dynamic()
            with threads_for(100):
                assert torch.get_num_threads() == 1
            assert library.mkl_serv_get_dynamic()
            assert torch.get_num_threads() == threads
        monkeypatch.setenv("MKL_DYNAMIC", "FALSE")
        set_threads(2)
        assert not library.mkl_serv_get_dynamic()
    finally:
        torch.set_num_threads(before)
