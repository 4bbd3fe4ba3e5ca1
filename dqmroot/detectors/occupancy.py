"""The statistics of occupancy maps, learnt from good lumisections: shape, rate, and how far counts scatter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.shapes import cached_blocks, check_length, flat, mean_shape

__all__ = ["CLIP", "SLACKS", "Occupancy"]

Rows = NDArray[np.float64]

CLIP = 4.0  # cells further off than this many σ do not enter the rate of an LS
# What a cell may be off by, of its expectation, in each round of finding the rate: at first so much that a large dead region, which
# lowers the first guess for all, does not make the good cells outliers.
SLACKS = (0.5, 0.25, 0.1, 0.0)
_FEWEST = 5.0  # mean counts below which a cell says nothing about the scatter
_SATURATED = 0.02  # variance over mean below which cells fire in every event,
_SEVERAL = 5  # where so many of the fullest ones do


@dataclass(frozen=True)
class Occupancy:
    """Counts of a cell are binomial in the number of events, or Poisson where no cell fires often.

    Args:
        shape: ``(cells,)`` share of each cell, sums to 1.
        saturation: Probability per event of a cell is saturation × share; 0 where the counts are Poisson.
        scatter: Variance over the binomial (Poisson) one, at least 1.
        counts: Counts of the whole reference.
    """

    shape: Rows
    saturation: float
    scatter: float
    counts: float

    @classmethod
    def learn(cls, x: NDArray[Any]) -> Occupancy:
        """Learn from good LS ``(n_ls, *bins)``.

        For binomial counts the variance over the mean falls as 1 - p, a straight line in the share; its slope tells how often the
        fullest cell fires.
        """
        counts = flat(x)
        shape = mean_shape(x)
        total = counts.sum(axis=1, keepdims=True)
        expected = total * shape
        used = expected.mean(axis=0) >= _FEWEST
        if len(counts) < 3 or used.sum() < 10:
            return cls(shape, 0.0, 1.0, float(counts.sum()))
        chi2 = np.square(counts - expected)[:, used].sum(axis=0) / (len(counts) - 1)
        ratio, share = chi2 / expected[:, used].mean(axis=0), shape[used]
        low = np.minimum(ratio, np.quantile(ratio, 0.98))
        design = np.stack([np.ones_like(share), share], axis=1)
        solution = np.linalg.lstsq(design, low, rcond=None)[0]
        error = low.std() / (share.std() * np.sqrt(len(share)) + 1e-300)
        saturation = 0.0
        if solution[1] < -5 * error and solution[0] > 0:
            fullest = ratio[share >= 0.99 * share.max()]
            always = len(fullest) >= _SEVERAL and np.median(fullest) < _SATURATED
            saturation = (1.0 if always else min(0.99, -solution[1] / solution[0] * share.max())) / share.max()
        left = 1 - saturation * share
        clear = left > 0.05
        scatter = (
            float(np.mean(np.sort(ratio[clear] / left[clear])[: max(1, int(0.98 * clear.sum()))])) if clear.any() else 1
        )
        return cls(shape, float(saturation), max(1.0, scatter), float(counts.sum()))

    def rate(self, counts: Rows) -> Rows:
        """Return what each LS would count in all cells were none faulty, ``(n_ls, 1)``.

        Outlying cells do not enter; cells that fire in nearly every event scatter least and enter with the weight 1/(1 - p).
        """
        weight = 1 / np.maximum(1 - self.saturation * self.shape, 0.01)
        out = np.empty((len(counts), 1))
        for part in cached_blocks(counts):
            out[part] = self._rate(counts[part], weight)
        return out

    def _rate(self, counts: Rows, weight: Rows) -> Rows:
        rate = counts.sum(axis=1, keepdims=True)
        for slack in SLACKS:
            expected = rate * self.shape
            room = CLIP**2 * (self.variance(expected, rate) + 1) + np.square(slack * expected)
            kept = np.square(counts - expected) <= room
            trusted = (kept * self.shape).sum(axis=1, keepdims=True) > 0.2
            kept = kept * weight
            share = np.maximum((kept * self.shape).sum(axis=1, keepdims=True), 1e-12)
            rate = np.where(trusted, (kept * counts).sum(axis=1, keepdims=True) / share, rate)
        return np.asarray(np.maximum(rate, 1e-9))

    def variance(self, expected: Rows, rate: Rows, tolerance: float = 0.0) -> Rows:
        """Return the variance of counts that good LS have, with the reference's own error and a relative ``tolerance``."""
        events = rate / self.saturation if self.saturation else np.inf
        sampled = self.scatter * expected * np.maximum(1 - expected / events, 0)
        return np.asarray(sampled * (1 + rate / self.counts) + np.square(tolerance * expected))

    def pulls(self, counts: Rows, tolerance: float = 0.0) -> tuple[Rows, Rows]:
        """Return signed significances and expectations, each ``(n_ls, cells)``.

        The root of the Poisson deviance, right down to the smallest counts, in units of the scatter that good LS show.
        """
        rate = self.rate(counts)
        expected = rate * self.shape
        safe = np.maximum(expected, 1e-9)
        ratio = np.divide(counts, safe, out=np.ones_like(counts), where=counts > 0)
        deviance = 2 * (np.where(counts > 0, counts * np.log(ratio), 0) - counts + safe)
        spread = self.variance(expected, rate, tolerance) + 0.25
        size = np.sqrt(np.maximum(deviance, 0) * (safe + 0.25) / spread)
        return np.asarray(np.where(counts >= expected, size, -size)), expected

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `from_arrays` reads."""
        return {"shape": self.shape, "numbers": np.array([self.saturation, self.scatter, self.counts])}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], n_cells: int) -> Occupancy:
        """Read what `to_arrays` wrote; `ValueError` where it is of another size."""
        saturation, scatter, counts = map(float, arrays["numbers"])
        return cls(check_length(np.asarray(arrays["shape"], np.float64), n_cells, "shape"), saturation, scatter, counts)
