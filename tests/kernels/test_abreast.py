"""Short rows side by side: the same as sorting in NumPy, whatever the number of bins, rows and largest."""

from __future__ import annotations

import numpy as np
import pytest

from dqmroot.kernels.abreast import MOST, measured, top_squares
from dqmroot.kernels.scratch import scratch


@pytest.mark.parametrize("bins", [1, 7, 10, 16, 17, 102, 104, 300])
@pytest.mark.parametrize("rows", [0, 1, 8, 13, 130])
def test_top_squares_is_the_mean_of_the_sorted(bins: int, rows: int) -> None:
    rng = np.random.default_rng([bins, rows])
    values, other = rng.normal(size=(2, rows, bins)).astype(np.float32)
    distance = np.abs(values - other).astype(np.float64)
    for k in {1, min(3, bins), min(MOST, bins)}:
        expected = np.sort(distance, axis=1)[:, bins - k :]
        np.testing.assert_allclose(top_squares(values, other, k), np.square(expected).mean(axis=1), rtol=1e-12)


def test_equal_rows_have_no_distance_and_ties_count_each() -> None:
    values = np.full((3, 20), 2, np.float32)
    np.testing.assert_array_equal(top_squares(values, values, 10), 0)
    np.testing.assert_array_equal(top_squares(values, values - 3, 10), 9)


def test_what_is_not_finite_is_nan_in_its_own_row_only() -> None:
    values = np.ones((20, 30), np.float32)
    values[3, 0], values[9, 29], values[17, 5] = np.nan, np.inf, -np.inf
    other = np.zeros_like(values)
    other[5, 7] = np.nan
    assert np.flatnonzero(np.isnan(top_squares(values, other, 4))).tolist() == [3, 5, 9, 17]


def test_more_than_it_can_sort_is_refused() -> None:
    values = np.ones((2, 30), np.float32)
    for bad in ((values, values, MOST + 1), (values[:, :5].copy(), values[:, :5].copy(), 6), (values, values[:1], 2)):
        with pytest.raises(ValueError, match="largest of"):
            top_squares(*bad)
    with pytest.raises(ValueError, match="float32 and contiguous"):
        top_squares(values[:, ::2], values[:, ::2], 2)


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
