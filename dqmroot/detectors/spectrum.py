"""A reference for spectra whose scale floats: one template per good run, moved to the peak of each lumisection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.base import Detector, Progress, Sample, Sees
from dqmroot.detectors.shapes import blocks, check_length, flat, runs_of, shares, shifted, stretched
from dqmroot.errors import UnknownNameError, UsageError
from dqmroot.scientific import load_scipy

__all__ = ["ProfiledSpectrum", "peak_of"]

_BLOCK = 4096
_TRIMMED = 0.05  # share of each run's LS, the furthest from its median shape, that its template does without
_CORE = 0.8  # the peak is the centroid of what rises above this share of the maximum
_SMOOTHING = 0.015  # of the axis: the width that the maximum is looked for with
_SCALES = ("peak", "mean", "median", "none")
_FREEDOMS = ("scale", "shift")
_DISTANCES = ("ks", "pearson", "hellinger")
_LEAST = 1e-6


class ProfiledSpectrum(Detector):
    """Distance to the nearest of the good runs' spectra, after their scale has been fitted to the LS.

    The gain (charge scale) of a detector drifts while it stays good, so it floats: each template is stretched until its peak, the
    most probable value, lies where that of the LS lies; or it is shifted, where a pedestal or a time drifts. Good runs also
    differ in shape, so each run keeps its own template and the nearest one counts; an average of them would be far from all.
    What is left is the cumulative distance, which gathers a tail that single bins do not show.

    Args:
        scale: What is brought to agree: ``"peak"``, ``"mean"``, ``"median"`` or ``"none"``.
        distance: ``"ks"`` (largest cumulative distance), ``"pearson"`` (Σ(h-t)²/t) or ``"hellinger"``, of shares.
        floats: How that is done: ``"scale"`` stretches the axis, ``"shift"`` moves along it.
        templates: At most so many; with more runs, those furthest from each other.
    """

    name = "profiled_spectrum"
    ndims = (1,)
    sees = (Sees("dead", 6, 300, 1),)

    formerly: ClassVar[Mapping[str, Any]] = {"floats": "scale"}

    def __init__(
        self, *, scale: str = "peak", floats: str = "scale", distance: str = "ks", templates: int = 16
    ) -> None:
        if scale not in _SCALES:
            raise UnknownNameError("scale", scale, _SCALES, f"detector {self.name}")
        if floats not in _FREEDOMS:
            raise UnknownNameError("freedom", floats, _FREEDOMS, f"detector {self.name}")
        if distance not in _DISTANCES:
            raise UnknownNameError("distance", distance, _DISTANCES, f"detector {self.name}")
        if templates < 1:
            raise UsageError(f"detector {self.name}: templates must be at least 1, got {templates}")
        self.scale = scale
        self.floats = floats
        self.distance = distance
        self.templates = templates

    def _learn(self, x: NDArray[np.float32], sample: Sample, progress: Progress | None) -> None:
        rows, run = shares(x), runs_of(sample)
        made = np.array([_typical(rows[run == r]) for r in np.unique(run)])
        self.templates_ = made[_spread_out(made, self.templates)]

    def _fitted(self, rows: NDArray[np.float64], template: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a template with the scale or the place of each LS, ``(n_ls, bins)``."""
        if self.scale == "none":
            return np.broadcast_to(template, rows.shape)
        where = {"peak": peak_of, "mean": _mean_of, "median": _median_of}[self.scale]
        if self.floats == "shift":
            return shifted(template, where(rows) - where(template[None])[0])
        return stretched(template, where(rows) / where(template[None])[0])

    def _nearest(self, rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the distance to the nearest template and that template, as it was fitted."""
        best, nearest = np.full(len(rows), np.inf), np.empty_like(rows)
        for template in self.templates_:
            fitted = self._fitted(rows, template)
            if self.distance == "ks":
                distance = np.abs(np.cumsum(rows - fitted, axis=1)).max(axis=1)
            elif self.distance == "pearson":
                distance = (np.square(rows - fitted) / np.maximum(fitted, _LEAST)).sum(axis=1)
            else:
                distance = np.square(np.sqrt(np.maximum(rows, 0)) - np.sqrt(fitted)).sum(axis=1)
            closer = distance < best
            best[closer], nearest[closer] = distance[closer], fitted[closer]
        return best, nearest

    def _score(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        rows = shares(x)
        return np.concatenate([self._nearest(rows[part])[0] for part in blocks(len(rows), _BLOCK)])

    def _score_bins(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        return self._score_with_bins(x, sample)[1]

    def _score_with_bins(
        self, x: NDArray[np.float32], sample: Sample
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rows = shares(x)
        distance, nearest = self._nearest(rows)
        return distance, np.asarray(np.square(rows - nearest) / np.maximum(nearest, _LEAST))

    def _reconstruct(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        rows = shares(x)
        return np.asarray(self._nearest(rows)[1] * flat(x).sum(axis=1, keepdims=True), np.float32)

    def _state(self) -> Mapping[str, NDArray[Any]]:
        return {"templates": self.templates_}

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.templates_ = check_length(np.atleast_2d(arrays["templates"]), int(np.prod(self.bins_ or ())), "templates")


def peak_of(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where each spectrum peaks, ``(n_ls,)`` in bins: the centroid of the smoothed core above 80 % of its maximum."""
    load_scipy()
    from scipy.ndimage import gaussian_filter1d

    smooth = gaussian_filter1d(rows, max(_SMOOTHING * rows.shape[1], 1e-3), axis=1, mode="nearest")
    core = np.maximum(smooth - _CORE * smooth.max(axis=1, keepdims=True), 0)
    return np.asarray(core @ (np.arange(rows.shape[1]) + 0.5) / core.sum(axis=1))


def _mean_of(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(rows @ (np.arange(rows.shape[1]) + 0.5) / rows.sum(axis=1))


def _median_of(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    cumulative = np.cumsum(rows, axis=1) / rows.sum(axis=1, keepdims=True)
    at = (cumulative < 0.5).sum(axis=1)
    ls = np.arange(len(rows))
    before = np.where(at > 0, cumulative[ls, np.maximum(at - 1, 0)], 0.0)
    return np.asarray(at + (0.5 - before) / np.maximum(cumulative[ls, at] - before, _LEAST))


def _typical(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean shape of a run without its strangest LS (ramps and scans stay in good runs)."""
    distance = np.abs(rows - np.median(rows, axis=0)).sum(axis=1)
    kept = rows[distance <= np.quantile(distance, 1 - _TRIMMED)]
    return np.asarray(kept.mean(axis=0))


def _spread_out(shapes: NDArray[np.float64], n: int) -> list[int]:
    """Return the indices of ``n`` shapes that lie far from each other: each next one is the furthest from those chosen."""
    chosen = [int(np.abs(shapes - shapes.mean(axis=0)).sum(axis=1).argmin())]
    distance = np.full(len(shapes), np.inf)
    while len(chosen) < min(n, len(shapes)):
        distance = np.minimum(distance, np.abs(shapes - shapes[chosen[-1]]).sum(axis=1))
        chosen.append(int(distance.argmax()))
    return sorted(set(chosen))
