"""The Landau-like fit: against SciPy's own curve and fit, and what it sees."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from dqmroot.detectors import detector
from dqmroot.detectors.landau import fit_moyal
from dqmroot.detectors.shapes import shares
from dqmroot.evaluate import auc

EDGES = np.arange(81.0)


def spectra(n: int, counts: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Poisson spectra of 80 bins, their peaks and widths."""
    rng = np.random.default_rng(seed)
    peak, width = rng.uniform(15, 35, n), rng.uniform(1.5, 6, n)
    share = np.diff(stats.moyal.cdf(EDGES, peak[:, None], width[:, None]), axis=1)
    return rng.poisson(counts * share).astype(np.float64), peak, width


def test_finds_the_curve_it_was_made_of() -> None:
    rows, peak, width = spectra(200, 1e9, seed=1)
    fit = fit_moyal(rows)
    np.testing.assert_allclose(fit.peak, peak, rtol=1e-3)
    np.testing.assert_allclose(fit.width, width, rtol=1e-3)
    np.testing.assert_allclose(fit.amplitude, 1e9, rtol=1e-3)
    np.testing.assert_allclose(fit.curve, rows, atol=2e-4 * rows.max())


def test_equals_scipys_fit() -> None:
    rows, peak, width = spectra(20, 5000, seed=2)
    fit = fit_moyal(rows)

    def curve(edges: np.ndarray, amplitude: float, at: float, wide: float) -> np.ndarray:
        return amplitude * np.diff(stats.moyal.cdf(edges, at, wide))

    for i, row in enumerate(rows):
        best, _ = optimize.curve_fit(curve, EDGES, row, p0=(5000, peak[i], width[i]))
        np.testing.assert_allclose([fit.amplitude[i], fit.peak[i], fit.width[i]], best, rtol=2e-4)


@pytest.mark.parametrize(
    "row", [np.eye(80)[3], np.eye(80)[79], np.ones(80), np.eye(80)[0] + np.eye(80)[79], np.arange(80.0)], ids=str
)
def test_what_is_no_landau_has_a_finite_fit(row: np.ndarray) -> None:
    alone = fit_moyal(row[None])
    together = fit_moyal(np.concatenate([row[None], spectra(5, 1000, seed=3)[0]]))
    assert np.isfinite(alone.curve).all()
    assert alone.width[0] > 0
    np.testing.assert_allclose(together.curve[0], alone.curve[0], atol=1e-9)


def test_the_peak_may_drift_and_the_width_may_not(sample, fault) -> None:
    good, clean = sample(1, 2000), sample(1, 2000, 60, seed=5)
    moved = fault(clean, "scaled", 0)
    floats, fixed = detector("landau_fit").fit(good), detector("landau_fit", fixed_scale=True).fit(good)
    assert auc(fixed.score(clean), fixed.score(moved)) == 1
    assert np.median(floats.score(moved)) < 0.4 * np.median(fixed.score(moved))
    broad = np.apply_along_axis(np.convolve, 1, clean.values(), np.ones(9) / 9, "same").astype(np.float32)
    assert auc(floats.score(clean), floats.score(broad)) == 1


def test_reconstructs_and_encodes(sample) -> None:
    good = sample(1, 2000)
    made = detector("landau_fit").fit(good)
    codes, rows = made.encode(good), shares(good.values())
    np.testing.assert_allclose(codes[:, 1:], np.stack([fit_moyal(rows).peak, fit_moyal(rows).width], axis=1), rtol=1e-6)
    # Poisson counts of 2,000 a bin: what is expected lies within a few standard deviations of what is there.
    expected = made.reconstruct(good)
    assert np.abs((good.values() - expected) / np.sqrt(np.maximum(expected, 1))).max() < 8
