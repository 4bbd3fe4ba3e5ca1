"""Detectors whose score is made of the badness of the bins, so that both cost no more than one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.base import Detector, Sample
from dqmroot.detectors.shapes import flat, largest

__all__ = ["Binwise"]


class Binwise(Detector):
    """Base of detectors that implement `_score_bins` instead of `_score`; the score is the mean of the ``k`` largest bins."""

    k: int

    def _score(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        return self._made_of(flat(self._score_bins(x, sample)))

    def _score_with_bins(
        self, x: NDArray[np.float32], sample: Sample
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        bins = self._score_bins(x, sample)
        return self._made_of(flat(bins)), bins

    def _made_of(self, bins: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the score, ``(n_ls,)``, of the badness of all bins, ``(n_ls, all bins)``."""
        return largest(bins, self.k)
