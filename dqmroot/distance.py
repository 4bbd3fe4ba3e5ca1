"""How far lumisections lie from a reference or from their reconstruction. Higher is worse; NaN is not judged."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqmroot.errors import UnknownNameError, UsageError
from dqmroot.kernels.top import DIFFERENCES, top_mean

__all__ = ["mean_of_largest"]

Array = NDArray[Any]
Kind = Literal["squared", "chi2", "deviance", "pull"]


def mean_of_largest(
    x: ArrayLike, reference: ArrayLike, k: int = 10, kind: Kind = "squared", floor: float = 0.0, name: str = ""
) -> NDArray[np.float64]:
    """Mean of the ``k`` largest differences per bin between each lumisection and its reference.

    Args:
        x: ``(n_ls, [z,] [y,] x)`` contents.
        reference: The same shape (reconstructions), or ``([z,] [y,] x)``, one for all.
        k: How many of the largest; 1 is the maximum.
        kind: ``"squared"`` (x-r)²; ``"chi2"`` (x-r)²/r; ``"deviance"`` of Poisson, 2(x·ln(x/r) - x + r); ``"pull"``
            abs(x-r)/√r.
        floor: The least that r counts for below a fraction line. With 0, a content where 0 is expected is infinitely
            bad.
        name: What the error messages call it, usually the monitoring element.

    Returns:
        ``(n_ls,)`` float64. NaN for a lumisection that holds a NaN, or whose reference does.

    Raises:
        UsageError: k larger than the bins, shapes that do not fit, or negative counts in a deviance.
    """
    values, expected = np.asarray(x), np.asarray(reference)
    who = f"{name}: " if name else ""
    if kind not in DIFFERENCES:
        raise UnknownNameError("kind of difference", kind, DIFFERENCES)
    if values.ndim < 2 or values.ndim > 4 or expected.shape not in {values.shape, values.shape[1:]}:
        raise UsageError(f"{who}contents of shape {values.shape} and a reference of shape {expected.shape} do not fit")
    n_bins = int(np.prod(values.shape[1:]))
    if isinstance(k, bool) or int(k) != k or not 1 <= k <= n_bins:
        raise UsageError(f"{who}k = {k} largest of {n_bins} bins {values.shape[1:]}")
    if kind == "deviance" and ((values < 0).any() or (expected < 0).any()):
        raise UsageError(f"{who}negative counts in a Poisson deviance, shape {values.shape}")
    return top_mean(values, expected, int(k), kind, floor)
