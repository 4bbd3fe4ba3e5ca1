"""Arrays larger than what is worked on at once, of every layout and shared out over threads, beside NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from twins import LAYOUTS

from dqmroot.kernels import bins, chain, scale, stream, top, windows

Array = NDArray[Any]

# Several times the bins that are worked on together, none of them a multiple of a vector.
SHAPES = [(90_001, 3), (3001, 102), (2, 300_001), (71, 75, 83), (501, 36, 42), (13, 31, 37, 29)]


@pytest.fixture(params=SHAPES, ids=lambda shape: "×".join(map(str, shape)))
def shape(request: pytest.FixtureRequest) -> tuple[int, ...]:
    found: tuple[int, ...] = request.param
    return found


@pytest.fixture(params=[False, True], ids=["", "past the caches"])
def written(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        for module in (stream, bins):
            monkeypatch.setattr(module, "LARGE", 1)


def contents(shape: tuple[int, ...], dtype: str, layout: str) -> tuple[Array, Array]:
    """Counts in some layout, and the same in float64, one behind the other."""
    x = (np.random.default_rng(len(layout)).poisson(5, shape) + 1).astype(dtype)
    return LAYOUTS[layout](x), x.astype(np.float64)


def agree(got: Array, want: Array) -> None:
    np.testing.assert_allclose(got, want, rtol=1e-6 if got.dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.usefixtures("written")
def test_rows(shape: tuple[int, ...], dtype: str, layout: str) -> None:
    x, wide = contents(shape, dtype, layout)
    axes, ones = tuple(range(1, x.ndim)), (1,) * (x.ndim - 1)
    agree(scale.row_sums(x), wide.sum(axis=axes))
    by = np.arange(1.0, len(x) + 1)
    agree(scale.scale_rows(x, by), wide / by.reshape(-1, *ones))
    for region in (None, tuple((size // 4, size // 2 + 1) for size in shape[1:])):
        part = wide if region is None else wide[(slice(None), *(slice(*pair) for pair in region))]
        for mode, found in (("integral", part.sum(axis=axes)), ("maximum", part.max(axis=axes))):
            values, divisor, negative = scale.normalise(x, mode, region)
            agree(divisor, found)
            agree(values, wide / found.reshape(-1, *ones))
            assert not negative.any()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.usefixtures("written")
def test_groups(shape: tuple[int, ...], dtype: str, layout: str) -> None:
    x, wide = contents(shape, dtype, layout)
    some = [np.unique([0, size // 3, size // 2, size - 1, size]) for size in shape[1:]]
    pairs = [np.arange(size % 2, size + 1, 2) for size in shape[1:]]
    along = [*[np.arange(size + 1) for size in shape[1:-1]], pairs[-1]]
    crop = [np.arange(size // 3, max(2 * size // 3, size // 3 + 1) + 1) for size in shape[1:]]
    for cuts in (some, pairs, along, crop):
        want = wide[(slice(None), *(slice(None, cut[-1]) for cut in cuts))]
        for axis, cut in enumerate(cuts, start=1):
            want = np.add.reduceat(want, cut[:-1], axis=axis)
        agree(bins.merge(x, cuts), want)
        divided, _ = chain.prepare(x, bins.groups_of(crop), "integral")
        assert divided.sum() == pytest.approx(len(x), rel=1e-5)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.usefixtures("written")
def test_differences(shape: tuple[int, ...], dtype: str, layout: str) -> None:
    x, wide = contents(shape, dtype, layout)
    usual = wide.mean(axis=0)
    loss = np.square(wide - usual)
    agree(top.differences(x, usual), loss)
    k = min(7, math.prod(shape[1:]))
    best = np.sort(loss.reshape(len(x), -1), axis=1)[:, -k:].mean(axis=1)
    # Differences of float32 are rounded before they are squared.
    np.testing.assert_allclose(top.top_mean(x, usual, k), best, rtol=1e-6 if dtype == "f4" else 1e-12)
    order = np.arange(len(x))
    begin = np.maximum(order - 4, 0)
    sums = np.concatenate([np.zeros((1, *shape[1:])), wide.cumsum(axis=0)])
    agree(windows.window_sums(x, order, begin, np.ones(len(x))), sums[order + 1] - sums[begin])
