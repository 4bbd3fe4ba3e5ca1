"""A row gives the same, to the last bit, alone, among few, and among so many that other loops work on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from twins import LAYOUTS, halves, whole

from dqmroot.kernels import bins, chain, scale, smooth, top, windows

Array = NDArray[Any]

SHAPES = [(20_000, 1), (12_000, 3), (400, 102), (7, 5001), (60, 20, 21), (40, 36, 42), (50, 5, 8, 12)]


def usual(x: Array) -> Array:
    return np.random.default_rng(5).random(x.shape[1:]) + 0.5


def blocks(x: Array) -> bins.Groups:
    return bins.blocks_of(whole(x), halves(x))


def prepared(x: Array) -> Array:
    return usual(np.empty((1, *blocks(x).size)))


# Each is given some rows, and which these are.
CALLS: dict[str, Callable[[Array, Array], Any]] = {
    "rebin": lambda x, _: bins.merge(x, blocks(x)),
    "merge": lambda x, _: bins.merge(x, [np.unique([0, 1, size // 2, size]) for size in x.shape[1:]]),
    "crop": lambda x, _: bins.merge(x, [np.arange(size // 3, size + 1) for size in x.shape[1:]]),
    "row sums": lambda x, _: scale.row_sums(x),
    "divisors": lambda x, _: scale.divisors(x, "integral"),
    "integral": lambda x, _: scale.normalise(x, "integral"),
    "maximum": lambda x, _: scale.normalise(x, "maximum"),
    "integral of a region": lambda x, _: scale.normalise(
        x, "integral", tuple((size // 4, size) for size in x.shape[1:])
    ),
    "scale rows": lambda x, which: scale.scale_rows(x, which % 7 * 0.3),
    "linear": lambda x, _: scale.linear(x, usual(x), usual(x) / 3),
    "loss map": lambda x, _: top.differences(x, usual(x)),
    "loss map, chi2": lambda x, _: top.differences(x, usual(x), "chi2"),
    "top": lambda x, _: top.top_mean(x, usual(x), min(10, x[0].size)),
    "top, other references": lambda x, _: top.top_mean(x, x * x, min(3, x[0].size)),
    "top, many": lambda x, _: top.top_mean(x, usual(x), min(40, x[0].size)),
    "smooth": lambda x, _: smooth.smooth(x, [np.array([0.2, 0.5, 0.3])] * (x.ndim - 1)),
    "chain": lambda x, _: chain.prepare(x, blocks(x), "integral"),
    "score": lambda x, _: chain.score(x, blocks(x), "maximum", prepared(x), min(4, prepared(x).size)),
}


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_row_is_the_same_in_any_company(call: Callable[[Array, Array], Any], layout: str, dtype: str) -> None:
    for shape in SHAPES:
        # No whole numbers, whose sums are the same in any order.
        x = LAYOUTS[layout]((np.random.default_rng(1).random(shape) * 9).astype(dtype))
        every = np.arange(len(x))
        with np.errstate(divide="ignore"):
            among_all = call(x, every)
            for rows in (slice(0, 1), slice(1, 2), slice(2, 7), slice(len(x) - 3, len(x))):
                found = call(x[rows], every[rows])
                for alone, all_of_it in zip(
                    *(value if isinstance(value, tuple) else (value,) for value in (found, among_all)), strict=True
                ):
                    np.testing.assert_array_equal(alone, all_of_it[rows])


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [1, 2, 4, 5, 9])
def test_a_window_is_the_same_in_any_company(layout: str, dtype: str, size: int) -> None:
    for shape in SHAPES:
        x = LAYOUTS[layout]((np.random.default_rng(1).random(shape) * 9).astype(dtype))
        every = np.arange(len(x))
        among_all = windows.window_sums(x, every, every - size + 1, every % 5 * 0.3, np.float64)
        for last in {6, 6 - size // 2, len(x) - 1}:
            rows = slice(max(last - size + 1, 0), last + 1)
            order = every[: len(x[rows])]
            begin = np.where(order == len(order) - 1, 0 if size <= len(order) else -1, order)
            alone = windows.window_sums(x[rows], order, begin, every[rows] % 5 * 0.3, np.float64)
            np.testing.assert_array_equal(alone[-1], among_all[last])
