"""Detectors around others, against what the inner one says of sums, means and products made by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dqmroot import Model, MonitorElement, certify
from dqmroot.detectors import detector
from dqmroot.errors import UsageError

Sampler = Callable[..., MonitorElement]


@pytest.fixture
def good(sample: Sampler) -> MonitorElement:
    return sample(2, 100, 30, seed=1)


@pytest.fixture
def gapped(sample: Sampler) -> MonitorElement:
    """Three runs of eight LS; the fourth LS of the first is missing, and all arrive out of order."""
    other = sample(2, 100, 24, seed=2)
    kept = np.flatnonzero((other.run != 1) | (other.lumi != 4))
    return other[np.random.default_rng(3).permutation(kept)]


def complete(me: MonitorElement, n: int) -> dict[int, list[int]]:
    """The rows of the n LS that end with each row, where none of them is missing."""
    place = {key: i for i, key in enumerate(zip(me.run.tolist(), me.lumi.tolist(), strict=True))}
    wanted = {i: [(run, lumi - back) for back in range(n)] for (run, lumi), i in place.items()}
    return {i: [place[key] for key in keys] for i, keys in wanted.items() if all(key in place for key in keys)}


def test_summed_is_the_inner_detector_on_sums(good: MonitorElement, gapped: MonitorElement) -> None:
    made = detector("summed", detector="max_pull", n=3).fit(good)
    score, bins = made.score_with_bins(gapped)
    windows, values = complete(gapped, 3), gapped.values()
    assert np.flatnonzero(~np.isnan(score)).tolist() == sorted(windows)
    assert len(windows) == 15  # of 3 runs × 8 LS: without the first two of each, the missing one and two after it
    sums = np.array([values[windows[i]].sum(axis=0) for i in sorted(windows)])
    np.testing.assert_allclose(score[sorted(windows)], made.inner_.score(sums), rtol=1e-6)
    np.testing.assert_allclose(bins[sorted(windows)], made.inner_.score_bins(sums), rtol=1e-6, atol=1e-9)


def test_summed_says_where_only_if_the_inner_detector_does(sample: Sampler) -> None:
    me = sample(1, 100, 30)
    model = Model(detector=detector("summed", detector="kolmogorov")).train(me)
    assert not model.detector.localises
    with pytest.raises(UsageError, match="kolmogorov judges whole histograms"):
        model.score_bins(me)
    cert = certify(me, model)
    assert np.isnan(cert.mes[0].score).sum() == 6
    assert cert.mes[0].mean_loss == {}


def test_spatial_divides_by_the_mean_loss(good: MonitorElement, gapped: MonitorElement) -> None:
    made = detector("spatial", detector="z_score", k=2).fit(good)
    loss = made.inner_.score_bins(good).mean(axis=0)
    mean = np.maximum(loss, 0.1 * loss.mean())
    score, bins = made.score_with_bins(gapped)
    np.testing.assert_allclose(bins, made.inner_.score_bins(gapped) / mean, rtol=1e-6)
    np.testing.assert_allclose(score, np.sort(bins.reshape(len(bins), -1))[:, -2:].mean(axis=1))


def test_time_product_is_the_geometric_mean_of_the_last_maps(good: MonitorElement, gapped: MonitorElement) -> None:
    made = detector("time_product", detector="z_score", n=2).fit(good)
    score, bins = made.score_with_bins(gapped)
    windows, loss = complete(gapped, 2), made.inner_.score_bins(gapped)
    assert np.flatnonzero(~np.isnan(score)).tolist() == sorted(windows)
    for i, rows in windows.items():
        np.testing.assert_allclose(bins[i], np.sqrt(loss[rows].prod(axis=0)), rtol=1e-6)
        assert score[i] == bins[i].max()


@pytest.mark.parametrize("name", ["spatial", "time_product"])
def test_what_needs_a_map_refuses_a_detector_without(name: str, sample: Sampler) -> None:
    with pytest.raises(UsageError, match="moments cannot say which bin is bad"):
        detector(name, detector="moments").fit(sample(1, 100, 10))


@pytest.mark.parametrize(
    ("name", "settings"), [("summed", {"n": 0}), ("time_product", {"gap": -1}), ("spatial", {"k": 0})]
)
def test_parameters_are_checked(name: str, settings: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=f"detector {name}"):
        detector(name, **settings)
