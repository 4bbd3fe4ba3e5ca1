"""The forecast against series whose future is known."""

from __future__ import annotations

import numpy as np
import pytest

from dqmroot import Axis, MonitorElement
from dqmroot.detectors import detector
from dqmroot.errors import UnknownNameError, UsageError

SHAPE = 1 + 0.5 * np.sin(np.arange(24) / 3)


def series(means: np.ndarray, lumi: np.ndarray, seed: int = 0, **conditions: np.ndarray) -> MonitorElement:
    inner = np.random.default_rng(seed).poisson(means).astype(np.float32)
    return MonitorElement(
        "Sim/next",
        "TH1F",
        (Axis(24, 0, 24),),
        np.ones(len(lumi), np.uint32),
        lumi.astype(np.uint32),
        inner.sum(axis=1),
        np.pad(inner, [(0, 0), (1, 1)]),
        conditions=conditions,
    )


def test_a_shape_that_follows_a_condition_is_forecast() -> None:
    pileup = 30 + 20 * np.sin(np.arange(200) / 5)
    tilt = np.linspace(-1, 1, 24)
    means = 4000 * SHAPE * (1 + 0.004 * pileup[:, None] * tilt)
    lumi = np.arange(1, 201)
    plain = detector("forecaster", history=1).fit(series(means, lumi, pileup=pileup))
    told = detector("forecaster", history=1, conditions=["pileup"]).fit(series(means, lumi, pileup=pileup))
    other = series(means, lumi, 1, pileup=pileup)
    usual = np.nanmean(told.score(other))
    assert usual == pytest.approx(2.2, abs=0.15)  # the largest of 24 pulls of unit width
    # A bin that lacks a tenth is seen by the one that knows why the shape changes.
    contents = other.contents.copy()
    contents[:, 9] *= 0.9
    bad = other.replace(contents=contents)
    assert np.nanmean(told.score(bad)) > 1.2 * np.nanmean(plain.score(bad))
    np.testing.assert_allclose(told.reconstruct(other)[1:], means[1:], rtol=0.05)


def test_what_comes_after_a_gap_or_first_has_no_forecast() -> None:
    lumi = np.r_[1:6, 8:12]
    me = series(np.tile(1000 * SHAPE, (9, 1)), lumi)
    made = detector("forecaster", history=2).fit(series(np.tile(1000 * SHAPE, (60, 1)), np.arange(60), 2))
    assert lumi[~np.isnan(made.score(me))].tolist() == [3, 4, 5, 10, 11]
    shuffled = np.random.default_rng(1).permutation(9)
    np.testing.assert_allclose(made.score(me[shuffled]), made.score(me)[shuffled], rtol=1e-6)
    bridged = detector("forecaster", history=2, gap=2).fit(series(np.tile(1000 * SHAPE, (60, 1)), np.arange(60), 2))
    assert lumi[~np.isnan(bridged.score(me))].tolist() == [3, 4, 5, 8, 9, 10, 11]


def test_a_condition_that_is_not_there_is_told() -> None:
    me = series(np.tile(1000 * SHAPE, (20, 1)), np.arange(20), pileup=np.ones(20))
    with pytest.raises(UnknownNameError, match="pile_up"):
        detector("forecaster", conditions=["pile_up"]).fit(me)
    with pytest.raises(UsageError, match="history"):
        detector("forecaster", history=0)
    with pytest.raises(UsageError, match="no training LS has 3 consecutive"):
        detector("forecaster").fit(me[::2])
