"""Smoothing of arrays of many blocks beside SciPy, with windows of every size."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import correlate1d

from dqmroot.kernels.smooth import smooth


@pytest.mark.parametrize("shape", [(3001, 102), (501, 36, 42), (13, 31, 37, 29), (2, 90_001)])
@pytest.mark.parametrize("flow", [False, True], ids=["", "without flow bins"])
def test_weights_of_bins_that_are_not_there_go_to_the_others(shape: tuple[int, ...], flow: bool) -> None:
    rng = np.random.default_rng(len(shape))
    x = rng.poisson(4, shape).astype(np.float32)
    inner = (slice(None), *[slice(1, -1)] * (len(shape) - 1))
    given = np.pad(x, [(0, 0), *[(1, 1)] * (len(shape) - 1)])[inner] if flow else x
    for sizes in np.ndindex(*[3] * (len(shape) - 1)):
        windows = [rng.uniform(0.1, 1, 2 * size + 1) for size in sizes]
        want = x.astype(np.float64)
        for axis, window in enumerate(windows, start=1):
            there = correlate1d(np.ones(shape[axis]), window, mode="constant")
            want = correlate1d(want, window, axis=axis, mode="constant")
            want *= (window.sum() / there).reshape([-1 if a == axis else 1 for a in range(len(shape))])
        np.testing.assert_allclose(smooth(given, windows, np.float64), want, rtol=1e-11)
