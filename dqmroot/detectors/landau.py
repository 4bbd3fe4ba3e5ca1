"""A curve for what charged particles leave in a thin layer: Landau-like, fitted to each lumisection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.base import Detector, Progress, Sample, Sees
from dqmroot.detectors.shapes import blocks, check_length, flat, interpolated, shares
from dqmroot.detectors.spectrum import peak_of
from dqmroot.scientific import load_scipy

__all__ = ["LandauFit", "MoyalFit", "fit_moyal"]

_BLOCK = 1024
_STEPS, _DONE = 40, 1e-4  # of the fit: at most so many, and when it is good enough, in widths
_HALF_WIDTH = 3.59  # full width at half of the maximum of Moyal's curve, in its widths
_FAR = -12.0, 80.0  # in widths: the curve is zero before and its tail negligible beyond
_LEAST = 1e-6

Rows = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MoyalFit:
    """Moyal curves of many spectra.

    Args:
        amplitude: ``(n_ls,)``, content below the whole curve.
        peak: ``(n_ls,)`` in bins from the lower edge.
        width: ``(n_ls,)`` in bins.
        curve: ``(n_ls, bins)``, the curve's content of each bin.
    """

    amplitude: Rows
    peak: Rows
    width: Rows
    curve: Rows


def fit_moyal(rows: Rows) -> MoyalFit:
    """Fit amplitude, peak and width of Moyal's curve to each spectrum, by least squares over the bins.

    Moyal, Phil. Mag. 46 (1955) 263: density exp(-(z + e⁻ᶻ) / 2) / √2π of z = (x - peak) / width, a closed form close to Landau's.
    Bins are integrated, not taken at their centres. Gauss-Newton steps, of all spectra that are not done, at once.

    Args:
        rows: ``(n_ls, bins)``, no row all zero.
    """
    edges = np.arange(rows.shape[1] + 1.0)
    amplitude, peak = rows.sum(axis=1), peak_of(rows)
    width = np.maximum((rows > 0.5 * rows.max(axis=1, keepdims=True)).sum(axis=1), 1) / _HALF_WIDTH
    left = np.arange(len(rows))
    for _ in range(_STEPS):
        a, p, w = (values[left, None] for values in (amplitude, peak, width))
        z = np.clip((edges - p) / w, *_FAR)
        density = _density(z)
        share = np.diff(_below(z), axis=1)
        # Of the logarithm of the amplitude, of the peak in widths, of the logarithm of the width.
        slopes = np.stack([a * share, np.diff(density, axis=1) * -a, np.diff(z * density, axis=1) * -a], axis=1)
        matrix = slopes @ slopes.transpose(0, 2, 1)
        # A spectrum that the curve cannot follow leaves the matrix without an inverse but for this.
        matrix[:, range(3), range(3)] += 1e-9 * np.trace(matrix, axis1=1, axis2=2)[:, None] + 1e-300
        step = np.linalg.solve(matrix, slopes @ (rows[left] - a * share)[..., None])[..., 0]
        moved, grown = np.clip(step[:, 1], -1, 1), np.clip(step[:, 2], -0.5, 0.5)
        amplitude[left] *= np.exp(np.clip(step[:, 0], -0.5, 0.5))
        peak[left] += moved * width[left]
        width[left] = np.clip(width[left] * np.exp(grown), 1e-2, 10 * rows.shape[1])
        left = left[(np.abs(moved) > _DONE) | (np.abs(grown) > _DONE)]
        if not len(left):
            break
    z = np.clip((edges - peak[:, None]) / width[:, None], *_FAR)
    return MoyalFit(amplitude, peak, width, np.asarray(amplitude[:, None] * np.diff(_below(z), axis=1)))


def _density(z: Rows) -> Rows:
    return np.asarray(np.exp(-0.5 * (z + np.exp(-z))) / np.sqrt(2 * np.pi))


def _below(z: Rows) -> Rows:
    """Share of the curve below z."""
    load_scipy()
    from scipy.special import erfc

    return np.asarray(erfc(np.exp(-0.5 * z) / np.sqrt(2)))


def _fitted(rows: Rows) -> Iterator[tuple[Rows, MoyalFit]]:
    """Give some spectra at a time, and their curves."""
    for part in blocks(len(rows), _BLOCK):
        yield rows[part], fit_moyal(rows[part])


def _left_over(rows: Rows, fit: MoyalFit) -> Rows:
    """What the curve leaves over, cumulated up to each edge, ``(n_ls, edges)``."""
    return np.cumsum(np.pad(rows - fit.curve, [(0, 0), (1, 0)]), axis=1)


def _moved(cumulative: Rows, scale: Rows) -> Rows:
    """Values at the edges times ``scale``, ``(n_ls,)``."""
    return interpolated(cumulative, np.arange(float(cumulative.shape[1])) * np.maximum(scale, 0)[:, None])


class LandauFit(Detector):
    """How far the fitted curve of an LS, and what it leaves over, are from those of good LS.

    A Landau-like curve (`fit_moyal`) is fitted to each LS. The score is the larger pull of two numbers against their mean and
    spread over good LS: width over peak, and the largest cumulative difference between the LS and its curve beyond what good LS
    leave over on average, moved to the peak of the LS. The peak may drift, as the gain of a sound detector does; `fixed_scale`
    makes it a third.

    Args:
        fixed_scale: Whether the peak counts, too.
    """

    name = "landau_fit"
    ndims = (1,)
    values_only = True
    sees = (Sees("dead", 6, 300, 1),)

    def __init__(self, *, fixed_scale: bool = False) -> None:
        self.fixed_scale = fixed_scale

    def _learn(self, x: NDArray[np.float32], sample: Sample, progress: Progress | None) -> None:
        parts = list(_fitted(shares(x)))
        self.peak_ = float(np.median(np.concatenate([fit.peak for _, fit in parts])))
        left_over = [_moved(_left_over(rows, fit), fit.peak / self.peak_) for rows, fit in parts]
        self.misfit_ = np.concatenate(left_over).mean(axis=0)
        numbers = np.concatenate([self._numbers(rows, fit) for rows, fit in parts])
        self.mean_ = numbers.mean(axis=0)
        self.spread_ = np.maximum(numbers.std(axis=0), _LEAST)

    def _numbers(self, rows: Rows, fit: MoyalFit) -> Rows:
        """Return what is compared, ``(n_ls, 3)``: ln of width over peak, misfit, ln of the peak."""
        misfit = np.abs(_left_over(rows, fit) - self._usual(fit)).max(axis=1)
        peak = np.log(np.maximum(fit.peak, _LEAST))
        return np.stack([np.log(fit.width) - peak, misfit, peak], axis=1)

    def _score(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        return np.concatenate([self._far(rows, fit) for rows, fit in _fitted(shares(x))])

    def _far(self, rows: Rows, fit: MoyalFit) -> Rows:
        """Return the score."""
        pulls = np.abs(self._numbers(rows, fit) - self.mean_) / self.spread_
        return np.asarray(pulls[:, : 3 if self.fixed_scale else 2].max(axis=1))

    def _usual(self, fit: MoyalFit) -> Rows:
        """Return what good LS leave over of a curve with such a peak, cumulated, ``(n_ls, edges)``."""
        return _moved(self.misfit_[None], self.peak_ / fit.peak)

    def _expected(self, fit: MoyalFit) -> Rows:
        """Return the share of each bin, ``(n_ls, bins)``."""
        return np.asarray(np.maximum(fit.curve + np.diff(self._usual(fit), axis=1), 0))

    def _score_bins(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        return self._score_with_bins(x, sample)[1]

    def _score_with_bins(
        self, x: NDArray[np.float32], sample: Sample
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        score, bins = [], []
        for rows, fit in _fitted(shares(x)):
            expected = self._expected(fit)
            score.append(self._far(rows, fit))
            bins.append(np.square(rows - expected) / np.maximum(expected, _LEAST))
        return np.concatenate(score), np.concatenate(bins)

    def _reconstruct(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        expected = np.concatenate([self._expected(fit) for _, fit in _fitted(shares(x))])
        return np.asarray(expected * flat(x).sum(axis=1, keepdims=True), np.float32)

    def _encode(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        """Return amplitude (a share), peak and width in bins of each LS."""
        fit = fit_moyal(shares(x))
        return np.stack([fit.amplitude, fit.peak, fit.width], axis=1).astype(np.float32)

    def _state(self) -> Mapping[str, NDArray[Any]]:
        return {"misfit": self.misfit_, "peak": np.array(self.peak_), "mean": self.mean_, "spread": self.spread_}

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        edges = int(np.prod(self.bins_ or ())) + 1
        self.misfit_ = check_length(np.asarray(arrays["misfit"], np.float64), edges, "misfit")
        self.peak_ = float(arrays["peak"])
        self.mean_ = check_length(np.asarray(arrays["mean"], np.float64), 3, "mean")
        self.spread_ = check_length(np.asarray(arrays["spread"], np.float64), 3, "spread")
