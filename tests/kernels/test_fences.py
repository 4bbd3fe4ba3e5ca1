"""Kernels in memory between two pages that must not be touched: what one reads or writes beside its arrays is a crash.

Loops over vectors are not seen by Numba's checks of bounds. What a kernel asks for itself is fenced as well.
"""

from __future__ import annotations

import ctypes
import errno
import math
import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from twins import TWINS, Twin

from dqmroot.kernels import bins, scratch, stream

Array = NDArray[Any]

PAGE = mmap.PAGESIZE
SHAPES = [(1, 1), (3, 31), (5, 102), (2, 2049), (5, 6, 7), (3, 36, 42), (2, 3, 4, 11)]

c = ctypes.CDLL(None, use_errno=True)
c.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
c.write.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]


@contextmanager
def fenced(where: str) -> Iterator[Any]:
    """Let `numpy.empty` and `numpy.zeros` give memory that ends, or begins, at a page that cannot be read."""

    def empty(shape: Any, dtype: Any = np.float64) -> Array:
        kind, sizes = np.dtype(dtype), tuple(np.ravel(shape).tolist())
        size = math.prod(sizes) * kind.itemsize
        pages = max(1, -(-size // PAGE))
        memory = mmap.mmap(-1, (pages + 2) * PAGE)
        first = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        for page in (0, pages + 1):
            assert c.mprotect(first + page * PAGE, PAGE, 0) == 0
        return np.ndarray(sizes, kind, memory, PAGE + (pages * PAGE - size if where == "before the fence" else 0))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "empty", empty)
        patch.setattr(np, "zeros", empty)
        patch.setattr(scratch._free, "buffers", [])
        yield empty


@pytest.mark.parametrize("past_caches", [False, True], ids=["", "past the caches"])
@pytest.mark.parametrize("where", ["before the fence", "behind the fence"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
@pytest.mark.parametrize("twin", TWINS.values(), ids=TWINS)
def test_nothing_beside_an_array_is_touched(
    twin: Twin, dtype: str, where: str, past_caches: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if past_caches:
        for module in (stream, bins):
            monkeypatch.setattr(module, "LARGE", 1)
    for shape in SHAPES:
        x = np.random.default_rng(7).poisson(5, shape).astype(dtype)
        with np.errstate(all="ignore"):
            twin.kernel(x)  # compiled by now: Numba knows no other `numpy.empty`
        with fenced(where) as empty, np.errstate(all="ignore"):
            mine = empty(shape, dtype)
            mine[...] = x
            found = twin.kernel(mine)
            np.testing.assert_array_equal(mine, x)
        with np.errstate(all="ignore"):
            wanted = twin.definition(x)
        for got, want in zip(
            *(value if isinstance(value, tuple) else (value,) for value in (found, wanted)), strict=True
        ):
            np.testing.assert_allclose(got, want, rtol=1e-5 if "float32" in (got.dtype, dtype) else 1e-11)


@pytest.mark.parametrize(("where", "step"), [("before the fence", 40), ("behind the fence", -1)])
def test_the_fence_holds(where: str, step: int) -> None:
    with fenced(where) as empty, tempfile.TemporaryFile() as file:
        array = empty((10,), np.float32)
        address = array.ctypes.data
        # The system looks whether it may read before it does.
        assert c.write(file.fileno(), address, 40) == 40
        assert c.write(file.fileno(), address + step, 1) == -1
        assert ctypes.get_errno() == errno.EFAULT
