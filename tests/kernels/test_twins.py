"""Every kernel agrees with its definition, on the inputs that break kernels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from twins import TWINS, Twin

from dqmroot.kernels import rows

Array = NDArray[Any]

SHAPES = {
    "1-D": (7, 102),
    "1-D, long": (3, 2049),
    "2-D": (5, 36, 42),
    "3-D": (3, 5, 7, 11),
    "single bin": (4, 1),
    "single bins": (2, 1, 1),
    "one row": (1, 9, 8),
    "odd": (3, 17, 31),
    "no rows": (0, 6, 4),
    "one line": (2, 1, 40),
}


def counts(shape: tuple[int, ...], dtype: Any) -> Array:
    return np.random.default_rng(7).poisson(5, shape).astype(dtype)


def inputs(dtype: Any) -> Iterator[tuple[str, Array]]:
    """Contents by name; each kernel is compared with its definition on all of them."""
    for name, shape in SHAPES.items():
        yield name, counts(shape, dtype)
    padded = counts((5, 38, 44), dtype)
    yield "view without flow bins", padded[:, 1:-1, 1:-1]
    yield "every second row", counts((10, 12, 14), dtype)[::2]
    yield "every second bin", counts((4, 12, 28), dtype)[:, :, ::2]
    yield "reversed", counts((4, 12, 14), dtype)[::-1, :, ::-1]
    yield "transposed", counts((14, 12, 4), dtype).T
    yield "the same row again and again", np.broadcast_to(counts((12, 14), dtype), (3, 12, 14))
    fixed = counts((4, 12, 14), dtype)
    fixed.flags.writeable = False
    yield "read-only", fixed
    yield "other byte order", counts((4, 12, 14), dtype).astype(np.dtype(dtype).newbyteorder())
    some_empty = counts((6, 8, 10), dtype)
    some_empty[[0, 3]] = 0
    yield "empty rows", some_empty
    if np.dtype(dtype).kind == "f":
        odd = counts((6, 40, 30), dtype)
        odd[1, 3, 4] = np.nan
        odd[2] = np.nan
        odd[3, 0, 0] = np.inf
        yield "NaN and infinity", odd
        yield "huge", counts((4, 36, 42), dtype) * np.dtype(dtype).type(1e30 if dtype == np.float32 else 1e140)
        yield "tiny", counts((4, 36, 42), dtype) * np.dtype(dtype).type(1e-30 if dtype == np.float32 else 1e-140)
        yield "broken counts", counts((4, 12, 14), dtype) + np.dtype(dtype).type(0.5)


WHOLE = ("1-D", "2-D", "no rows", "view without flow bins")
CASES = [(d, name) for d in ("float32", "float64") for name, _ in inputs(np.dtype(d).type)]
CASES += [(d, name) for d in ("int16", "int32") for name in WHOLE]


@pytest.mark.parametrize("twin", TWINS.values(), ids=TWINS)
@pytest.mark.parametrize(("dtype", "case"), CASES, ids=lambda value: value)
def test_kernel_agrees_with_its_definition(twin: Twin, dtype: str, case: str) -> None:
    x = dict(inputs(np.dtype(dtype).type))[case]
    before = x.copy()
    with np.errstate(all="ignore"):
        found, wanted = twin.kernel(x), twin.definition(x)
    np.testing.assert_array_equal(x, before)
    for got, want in zip(*(value if isinstance(value, tuple) else (value,) for value in (found, wanted)), strict=True):
        assert got.shape == want.shape
        single = got.dtype == np.float32 or dtype == "float32"
        with np.errstate(over="ignore"):
            rounded = want.astype(got.dtype)
        np.testing.assert_allclose(
            got, rounded, rtol=1e-6 if single else 1e-12, atol=1e-44 if single else 0, strict=True
        )


@pytest.mark.parametrize("twin", TWINS.values(), ids=TWINS)
@pytest.mark.parametrize("shape", [(301, 102), (37, 36, 42)], ids=str)
def test_the_number_of_threads_changes_nothing(
    twin: Twin, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "_WORTH_A_THREAD", 1)
    x = counts(shape, np.float32)
    found = []
    for n in (1, 2, 3, 8):
        rows.set_threads(n)
        found.append(twin.kernel(x))
    rows.set_threads(None)
    for other in found[1:]:
        for a, b in zip(*(v if isinstance(v, tuple) else (v,) for v in (found[0], other)), strict=True):
            np.testing.assert_array_equal(a, b)
