"""Short rows side by side: the same as sorting in NumPy, whatever the number of bins, rows and largest."""

from __future__ import annotations

import numpy as np
import pytest

from dqmroot.kernels.abreast import MOST, measured
from dqmroot.kernels.scratch import scratch
from dqmroot.kernels.top import top_mean


@pytest.mark.parametrize("bins", [1, 7, 8, 10, 16, 17, 102, 104, 300, 511, 512, 4095, 4096])
@pytest.mark.parametrize("rows", [0, 1, 8, 13, 16, 130])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_best_are_those_of_the_sorted(bins: int, rows: int, dtype: str) -> None:
    rng = np.random.default_rng([bins, rows])
    values, other = rng.normal(size=(2, rows, bins)).astype(dtype)
    distance = np.abs(values.astype(np.float64) - other).astype(dtype).astype(np.float64)
    for k in {1, min(3, bins), min(MOST, bins), min(MOST + 1, bins)}:
        expected = np.sort(distance, axis=1)[:, bins - k :]
        np.testing.assert_allclose(top_mean(values, other, k), np.square(expected).mean(axis=1), rtol=1e-12)


def test_equal_rows_have_no_distance_and_ties_count_each() -> None:
    values = np.full((3, 20), 2, np.float32)
    np.testing.assert_array_equal(top_mean(values, values, 10), 0)
    np.testing.assert_array_equal(top_mean(values, values - 3, 10), 9)


@pytest.mark.parametrize("bins", [30, 700, 5000])
@pytest.mark.parametrize("k", [4, 12, 100])
def test_nan_and_infinity_stay_in_their_own_row(bins: int, k: int) -> None:
    values = np.ones((20, bins), np.float32)
    values[3, 0], values[9, 29], values[17, 5] = np.nan, np.inf, -np.inf
    other = np.zeros_like(values)
    other[5, 7] = np.nan
    found = top_mean(values, other, min(k, bins))
    assert np.flatnonzero(np.isnan(found)).tolist() == [3, 5]
    assert np.flatnonzero(np.isinf(found)).tolist() == [9, 17]
    np.testing.assert_array_equal(found[[0, 4, 10, 18]], 1)


def test_measured() -> None:
    values = np.zeros((7, 33), np.float32)
    values[1, 32], values[2, 0], values[3, 5], values[4, 6] = 1, np.nan, np.inf, -np.inf
    values[5] = np.finfo(np.float32).max
    values[6, 9] = np.finfo(np.float32).smallest_subnormal
    np.testing.assert_array_equal(measured(values), [False, True, False, False, False, True, True])


def test_scratch_is_lent_to_one_at_a_time() -> None:
    with scratch((100, 3), np.float32) as one, scratch((50,), np.float64) as two:
        assert one.shape == (100, 3)
        assert two.dtype == np.float64
        assert not np.shares_memory(one, two)
        one[:] = 1
        two[:] = 2
        assert (one == 1).all()
    with scratch((10,), np.float32) as again:
        assert np.shares_memory(again, one) or np.shares_memory(again, two)
    with scratch((1 << 20,), np.float32) as large:
        assert large.nbytes == 1 << 22
