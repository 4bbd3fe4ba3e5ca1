"""The profiled spectrum: what floats is not seen, what is left is; and the real labelled runs."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import dqmroot as dq
from dqmroot.detectors import detector
from dqmroot.detectors.spectrum import _spread_out, peak_of
from dqmroot.errors import UnknownNameError, UsageError
from dqmroot.evaluate import auc, false_rate_at

PIXEL = "PixelPhase1/Tracks/PXBarrel/chargeInner_PXLayer_1"
GOOD_RUNS = (297050, 297056, 297178)


def test_peak_moves_with_the_scale() -> None:
    x = np.arange(60) + 0.5
    peaks = peak_of(
        np.array([np.exp(-0.5 * ((x / s - 18) / 5 + np.exp(-(x / s - 18) / 5))) for s in (0.9, 1.0, 1.1, 1.25)])
    )
    np.testing.assert_allclose(peaks / peaks[1], [0.9, 1.0, 1.1, 1.25], rtol=0.01)


@pytest.mark.parametrize("distance", ["ks", "pearson", "hellinger"])
def test_scale_floats_and_shape_does_not(distance: str, sample, fault) -> None:
    clean = sample(1, 2000, 60, seed=5)
    shifted, dead = fault(clean, "scaled", 0), fault(clean, "dead", 6)
    made = detector("profiled_spectrum", distance=distance).fit(sample(1, 2000))
    fixed = detector("profiled_spectrum", distance=distance, scale="none").fit(sample(1, 2000))
    assert auc(fixed.score(clean), fixed.score(shifted)) == 1
    assert np.median(made.score(shifted)) < 0.2 * np.median(fixed.score(shifted))
    assert auc(made.score(clean), made.score(dead)) > 0.99


def test_a_shift_floats_and_shape_does_not(sample, fault) -> None:
    good, clean = sample(1, 2000), sample(1, 2000, 60, seed=5)
    moved = clean.replace(contents=np.roll(clean.contents, 3, axis=1))
    made = detector("profiled_spectrum", floats="shift").fit(good)
    stretching = detector("profiled_spectrum").fit(good)
    fixed = detector("profiled_spectrum", scale="none").fit(good)
    assert np.median(made.score(moved)) < 0.1 * np.median(fixed.score(moved))
    assert np.median(made.score(moved)) < 0.3 * np.median(stretching.score(moved))
    assert auc(made.score(clean), made.score(fault(clean, "dead", 6))) > 0.99


def test_each_run_has_its_template_up_to_the_limit(sample) -> None:
    good = sample(1, 300)
    assert detector("profiled_spectrum").fit(good).templates_.shape == (3, 60)
    assert detector("profiled_spectrum").fit(good.values()).templates_.shape == (1, 60)
    assert detector("profiled_spectrum", templates=2).fit(good).templates_.shape == (2, 60)
    assert _spread_out(np.array([[0.0], [0.2], [5.0], [5.1], [-5.0]]), 3) == [1, 3, 4]


def test_impossible_parameters() -> None:
    with pytest.raises(UnknownNameError, match="peak"):
        detector("profiled_spectrum", scale="peek")
    with pytest.raises(UnknownNameError, match="shift"):
        detector("profiled_spectrum", floats="shaft")
    with pytest.raises(UnknownNameError, match="pearson"):
        detector("profiled_spectrum", distance="person")
    with pytest.raises(UsageError, match="templates"):
        detector("profiled_spectrum", templates=0)


@pytest.mark.parametrize("left_out", GOOD_RUNS)
def test_real_pixel_runs(left_out: int, real_data: Path) -> None:
    folder = real_data / "nanodqmio"
    me = dq.read(sorted(map(str, folder.glob("nanoDQMIO_ZeroBias_2017B_R*.root"))), PIXEL)
    with (folder / "labels_ZeroBias_2017B.csv").open() as file:
        label = {(int(row["run"]), int(row["lumi"])): int(row["good_pixel"]) for row in csv.DictReader(file)}
    good = np.array([label[int(run), int(lumi)] for run, lumi in zip(me.run, me.lumi, strict=True)]) == 1
    scores = detector("profiled_spectrum").fit(me[good & (me.run != left_out)]).score(me)
    tested, bad = scores[good & (me.run == left_out)], scores[~good]
    assert auc(tested, bad) >= 0.985
    assert false_rate_at(tested, bad, 0.99) <= 0.10
