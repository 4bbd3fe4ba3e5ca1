"""Windows of significances and floating drifts, against sums made by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from dqmroot import MonitorElement
from dqmroot.detectors import detector
from dqmroot.errors import UsageError

Sampler = Callable[..., MonitorElement]


def test_windows_add_significances_up(sample: Sampler) -> None:
    made = detector("profiled_map", windows=(1, 3), k=2).fit(sample(2, 100, 40, seed=1))
    other = sample(2, 100, 6, seed=2).values()
    pulls, expected = made.occupancy_.pulls(other.reshape(6, -1).astype(np.float64), 0.005)
    pulls, live = pulls.reshape(other.shape), (made.occupancy_.shape > 0).reshape(other.shape[1:]).astype(float)
    best = []
    for width in (1, 3):
        # Windows at the edges are moved inside.
        at = np.ix_(range(6), *(np.clip(np.arange(n) - width // 2, 0, n - width) for n in live.shape))
        added, number = (
            sliding_window_view(maps, (width, width), axis=(1, 2)).sum(axis=(3, 4))[at]
            for maps in (pulls, np.broadcast_to(live, pulls.shape))
        )
        best.append(np.sort((np.abs(added) / np.sqrt(np.maximum(number, 1))).reshape(6, -1))[:, -2:].mean(axis=1))
    score, bins = made.score_with_bins(other)
    np.testing.assert_allclose(score, np.max(best, axis=0), rtol=1e-9)
    np.testing.assert_allclose(bins, np.abs(pulls), rtol=1e-9)
    np.testing.assert_allclose(made.reconstruct(other).reshape(6, -1), expected, rtol=1e-6)


def test_a_region_a_little_low_is_seen_in_a_window(sample: Sampler) -> None:
    good, other = sample(2, 100, 60, seed=1), sample(2, 100, 20, seed=2).values()
    low = other.copy()
    low[:, 3:8, 4:9] *= 0.9
    narrow, wide = (detector("profiled_map", windows=windows).fit(good) for windows in ((1,), (5,)))
    assert np.mean(wide.score(low)) > 1.5 * np.mean(wide.score(other))
    assert np.mean(narrow.score(low)) < 1.2 * np.mean(narrow.score(other))


def test_a_drift_that_floats_does_not_count() -> None:
    rng = np.random.default_rng(0)
    tilt = np.linspace(-1, 1, 24)

    def maps(n: int) -> np.ndarray:
        amplitude = rng.normal(0, 0.1, (n, 1, 1))
        return rng.poisson(200 * (1 + amplitude * tilt) * np.ones((n, 16, 24))).astype(np.float32)

    good, other = maps(80), maps(40)
    fixed, floating = (detector("profiled_map", drifts=n).fit(good) for n in (0, 1))
    bad = other.copy()
    bad[:, 5:8, 5:8] *= 0.8
    assert abs(np.corrcoef(floating.drifts_[0].reshape(16, 24).mean(axis=0), tilt)[0, 1]) > 0.95
    apart = [np.median(made.score(bad)) / np.quantile(made.score(other), 0.95) for made in (fixed, floating)]
    assert apart[1] > 1.3 * apart[0]


@pytest.mark.parametrize("settings", [{"windows": ()}, {"windows": (0,)}, {"drifts": -1}, {"k": 0}])
def test_parameters_are_checked(settings: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="profiled_map"):
        detector("profiled_map", **settings)
