"""What a bottleneck has learnt: which bins go up when a feature goes up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.base import Detector, Sample, values_of
from dqmroot.errors import EmptySelectionError

__all__ = ["feature_maps"]


def feature_maps(made: Detector, x: Sample) -> NDArray[np.float64]:
    """Return the correlation of each feature of `Detector.encode` with each bin over LS, ``(features, *bins)``.

    A feature that follows the rate is of one colour; one that knows a region shows it; one that is off is 0 everywhere.

    Args:
        made: A fitted detector that encodes.
        x: At least three LS it can judge.

    Raises:
        UsageError: The detector has no features.
        EmptySelectionError: Fewer than three judged LS.
    """
    codes = made.encode(x).astype(np.float64)
    values = values_of(x)
    judged = np.isfinite(codes).all(axis=1)
    if judged.sum() < 3:
        raise EmptySelectionError(f"{made.name}: a picture of its features needs at least 3 judged LS")
    rows = values[judged].reshape(int(judged.sum()), -1).astype(np.float64)

    def standard(array: NDArray[np.float64]) -> NDArray[np.float64]:
        centred = array - array.mean(axis=0)
        spread = np.sqrt(np.square(centred).sum(axis=0))
        return np.asarray(np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0))

    return np.asarray((standard(codes[judged]).T @ standard(rows)).reshape(-1, *values.shape[1:]))
