"""How far lumisections lie from a reference or from their reconstruction. Higher is worse; NaN is not judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqmroot.errors import UnknownNameError, UsageError
from dqmroot.kernels.scale import linear, row_sums
from dqmroot.kernels.top import DIFFERENCES, differences, top_mean
from dqmroot.kernels.windows import window_products
from dqmroot.series import Axis, MonitorElement, windows

__all__ = ["ks_distance", "loss_map", "mean_of_largest", "moments", "pulls", "shape_chi2", "time_product"]

Array = NDArray[Any]
Floats = NDArray[np.float64]
Kind = Literal["squared", "chi2", "deviance", "pull"]


def mean_of_largest(
    x: ArrayLike, reference: ArrayLike, k: int = 10, kind: Kind = "squared", floor: float = 0.0, name: str = ""
) -> Floats:
    """Mean of the ``k`` largest differences per bin between each lumisection and its reference.

    Args:
        x: ``(n_ls, [z,] [y,] x)`` contents.
        reference: The same shape (reconstructions), or ``([z,] [y,] x)``, one for all.
        k: How many of the largest; 1 is the maximum.
        kind: ``"squared"`` (x-r)²; ``"chi2"`` (x-r)²/r; ``"deviance"`` of Poisson, 2(x·ln(x/r) - x + r); ``"pull"`` abs(x-r)/√r.
        floor: The least that r counts for below a fraction line. With 0, a content where 0 is expected is infinitely bad.
        name: What the error messages call it, usually the monitoring element.

    Returns:
        ``(n_ls,)`` float64. NaN for a lumisection that is empty or holds a NaN, or whose reference does.

    Raises:
        UsageError: k larger than the bins, shapes that do not fit, or negative counts in a deviance.

    Examples:
        >>> dq.mean_of_largest([[1.0, 2.0, 5.0]], [1.0, 1.0, 1.0], k=2).tolist()
        [8.5]
    """
    values, expected, who = _pair(x, reference, kind, name)
    n_bins = int(np.prod(values.shape[1:]))
    if isinstance(k, bool) or int(k) != k or not 1 <= k <= n_bins:
        raise UsageError(f"{who}k = {k} largest of {n_bins} bins {values.shape[1:]}")
    return _not_judged(values, top_mean(values, expected, int(k), kind, floor))


def loss_map(
    x: ArrayLike,
    reference: ArrayLike,
    kind: Kind = "squared",
    *,
    mean_map: ArrayLike | None = None,
    floor: float = 0.0,
    name: str = "",
) -> Floats:
    """Difference of each bin from its reference.

    Args:
        x: ``(n_ls, [z,] [y,] x)`` contents.
        reference: The same shape, or ``([z,] [y,] x)``.
        kind: As `mean_of_largest` has it.
        mean_map: ``([z,] [y,] x)`` usual contents: contents and reference are divided by it first, so that a loss means the same
            where much is expected and where little. A bin whose mean is 0 is divided by the least mean of the others.
        floor: As `mean_of_largest` has it.
        name: What the error messages call it.

    Returns:
        ``(n_ls, [z,] [y,] x)`` float64; NaN where one of the two is, and all over an empty lumisection.

    Examples:
        >>> dq.loss_map(new.values(), good.values().mean(axis=0)).shape
        (50, 100)
    """
    values, expected, who = _pair(x, reference, kind, name)
    if mean_map is not None:
        usual = np.asarray(mean_map, np.float64)
        if usual.shape != values.shape[1:] or not (usual >= 0).all() or not (usual > 0).any():
            raise UsageError(
                f"{who}a mean map of shape {usual.shape} for contents of shape {values.shape}, or not positive"
            )
        usual = np.where(usual > 0, usual, usual[usual > 0].min())
        if kind == "squared":
            # One pass: (x/m - r/m)² = (x - r)²/m².
            return _not_judged(values, linear(differences(values, expected), usual**2, np.zeros_like(usual)))
        values, expected = values / usual, expected / usual
    return _not_judged(values, differences(values, expected, kind, floor))


def _not_judged(values: Array, out: Floats) -> Floats:
    """Put NaN into the rows of ``out`` whose ``values``, ``(n_ls, [z,] [y,] x)``, are all 0: nothing was measured."""
    # A few bins tell of most rows that they are not empty.
    few = values[(slice(None), *(slice(None, None, max(size // 4, 1)) for size in values.shape[1:]))]
    axes = tuple(range(1, values.ndim))
    rows = np.flatnonzero(~few.any(axis=axes))
    if rows.size:
        out[rows[~values[rows].any(axis=axes)]] = np.nan
    return out


def pulls(x: ArrayLike, reference: ArrayLike, *, floor: float = 1.0, scale: bool = True, name: str = "") -> Floats:
    """Difference of each bin from what is expected, in standard deviations of a Poisson count.

    Args:
        x: ``(n_ls, [z,] [y,] x)`` counts.
        reference: ``([z,] [y,] x)`` or the shape of ``x``: expected counts.
        floor: The least variance.
        scale: Whether x is scaled to the sum of the reference, so that only the shape counts.
        name: What the error messages call it.

    Returns:
        ``(n_ls, [z,] [y,] x)`` float64, signed: (x·s - r) / √max(r, floor), s = Σr/Σx. NaN for an empty lumisection.

    Examples:
        >>> dq.pulls(new.values(), good.values().mean(axis=0)).shape
        (50, 100)
    """
    values, expected, _ = _pair(x, reference, "pull", name)
    factor: Any = 1.0
    if scale:
        axes = tuple(range(1, values.ndim))
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = expected.sum(dtype=np.float64) if expected.ndim < values.ndim else row_sums(expected)
            factor = factor / np.where((total := row_sums(values)) > 0, total, np.nan)
        factor = np.expand_dims(factor, axes)
    found = np.asarray((values * factor - expected) / np.sqrt(np.maximum(expected, floor)), np.float64)
    return _not_judged(values, found)


def time_product(losses: ArrayLike, me: MonitorElement, n: int, *, gap: int = 0, partial: bool = False) -> Floats:
    """Multiply each loss map with those of the ``n - 1`` lumisections before it: what lasts stands out, what flickers goes.

    The maps of one run only, without gaps, are multiplied, in the order of the lumisections and not of their arrival.

    Args:
        losses: ``(n_ls, [z,] [y,] x)`` loss maps of the lumisections of ``me``, in its order.
        me: Tells run and lumisection.
        n: How many maps are multiplied.
        gap: How many lumisections may be missing between two of them.
        partial: Whether the first lumisections of a run or after a gap get the product of those there are; NaN otherwise.

    Returns:
        The same shape, float64, in the order of ``me``.

    Examples:
        >>> losses = dq.loss_map(good.values(), good.values().mean(axis=0))
        >>> dq.time_product(losses, good, 3).shape
        (120, 100)
    """
    maps = np.asarray(losses)
    if len(maps) != len(me) or n < 1:
        raise UsageError(f"{me.name}: {len(maps)} loss maps for {len(me)} lumisections, product of the last {n}")
    order, begin, length = windows(me, n, gap)
    return window_products(maps, order, begin if partial else np.where(length < n, -1, begin))


def ks_distance(x: ArrayLike, reference: ArrayLike, *, name: str = "") -> Floats:
    """Largest difference of the cumulative contents (Kolmogorov and Smirnov), both normalised.

    Args:
        x: ``(n_ls, [z,] [y,] x)`` contents. With several axes the bins are taken line by line along x, then along y, and the
            larger of the distances of both orders counts (as ROOT's ``TH2::KolmogorovTest`` averages them).
        reference: The same shape, or ``([z,] [y,] x)``.
        name: What the error messages call it.

    Returns:
        ``(n_ls,)`` float64 from 0 to 1; NaN for an empty lumisection.

    Raises:
        UsageError: Negative counts, or shapes that do not fit.

    Examples:
        >>> dq.ks_distance(new.values(), good.values().mean(axis=0)).shape
        (50,)
    """
    values, expected, _ = _pair(x, reference, "deviance", name)
    if expected.ndim < values.ndim:
        expected = expected[np.newaxis]
    forward = _largest_gap(values, expected)
    if values.ndim == 2:
        return forward
    turn = (0, *range(values.ndim - 1, 0, -1))
    return np.maximum(forward, _largest_gap(values.transpose(turn), expected.transpose(turn)))


def _largest_gap(values: Array, expected: Array) -> Floats:
    def cumulative(array: Array) -> Floats:
        running = np.cumsum(array.reshape(len(array), int(np.prod(array.shape[1:]))), axis=1, dtype=np.float64)
        total = running[:, -1:]
        return np.asarray(running / np.where(total > 0, total, np.nan))

    return np.asarray(np.abs(cumulative(values) - cumulative(expected)).max(axis=1))


def shape_chi2(x: ArrayLike, reference: ArrayLike, *, name: str = "") -> Floats:
    """Mean squared difference of two counted histograms, each scaled to the other, per degree of freedom.

    The bins in which one of the two has entries count: Σ (√(R/X)·x - √(X/R)·r)² / (x + r) / (bins - 1), with the sums X and R
    (Gagunashvili, PoS ACAT (2007) 060; ROOT's ``TH1::Chi2Test`` "UU").

    Args:
        x: ``(n_ls, [z,] [y,] x)`` counts.
        reference: The same shape, or ``([z,] [y,] x)``: counts.
        name: What the error messages call it.

    Returns:
        ``(n_ls,)`` float64; NaN for an empty lumisection, 0 where a single bin is filled.

    Examples:
        >>> dq.shape_chi2(new.values(), good.values().mean(axis=0)).shape
        (50,)
    """
    values, expected, _ = _pair(x, reference, "deviance", name)
    n = int(np.prod(values.shape[1:]))
    a = np.asarray(values.reshape(len(values), n), np.float64)
    b = np.broadcast_to(np.asarray(expected, np.float64).reshape(-1, n), a.shape)
    total, other = a.sum(axis=1, keepdims=True), b.sum(axis=1, keepdims=True)
    both = a + b
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.sqrt(np.where((total > 0) & (other > 0), other / total, np.nan))
        terms = np.where(both > 0, (ratio * a - b / ratio) ** 2 / both, np.where(np.isnan(both), np.nan, 0))
    free = np.maximum(np.count_nonzero(both > 0, axis=1) - 1, 1)
    summed = terms.sum(axis=1) / free
    return np.asarray(np.where(np.isnan(ratio[:, 0]), np.nan, summed))


def moments(x: ArrayLike, axes: Sequence[Axis] | None = None) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each lumisection along each axis, from bin middles.

    Args:
        x: ``(n_ls, [z,] [y,] x)`` contents without flow bins.
        axes: The axes, x first; by default bins are counted from 0.

    Returns:
        ``(n_ls, n_axes)`` float64 each, x first; NaN for a lumisection whose contents do not add up to more than 0.

    Raises:
        UsageError: The axes have other bins than the contents.

    Examples:
        >>> mean, deviation = dq.moments([[0.0, 4.0, 0.0]], [dq.Axis(3, 0, 3)])
        >>> float(mean[0, 0]), float(deviation[0, 0])
        (1.5, 0.0)
    """
    values = np.asarray(x)
    n_axes = values.ndim - 1
    bins = tuple(axis.nbins for axis in reversed(axes)) if axes is not None else values.shape[1:]
    if n_axes < 1 or bins != values.shape[1:]:
        raise UsageError(f"moments of contents of shape {values.shape} along axes of {bins} bins")
    means, widths = np.empty((len(values), n_axes)), np.empty((len(values), n_axes))
    for i in range(n_axes):
        where = n_axes - i
        others = tuple(a for a in range(1, values.ndim) if a != where)
        line = values.sum(axis=others, dtype=np.float64) if others else np.asarray(values, np.float64)
        at = np.arange(line.shape[1], dtype=np.float64) if axes is None else axes[i].centres
        total = line.sum(axis=1)
        total = np.where(total > 0, total, np.nan)
        means[:, i] = line @ at / total
        # About the mean, not Σx² - (Σx)²: no digits are lost far from 0.
        widths[:, i] = np.sqrt(np.maximum((line * (at - means[:, i, None]) ** 2).sum(axis=1) / total, 0))
    return means, widths


def _pair(x: ArrayLike, reference: ArrayLike, kind: str, name: str) -> tuple[Array, Array, str]:
    """Contents, reference and the begin of an error message, checked."""
    values, expected = np.asarray(x), np.asarray(reference)
    who = f"{name}: " if name else ""
    if kind not in DIFFERENCES:
        raise UnknownNameError("kind of difference", kind, DIFFERENCES)
    if values.ndim < 2 or values.ndim > 4 or expected.shape not in {values.shape, values.shape[1:]}:
        raise UsageError(f"{who}contents of shape {values.shape} and a reference of shape {expected.shape} do not fit")
    if kind == "deviance" and ((values < 0).any() or (expected < 0).any()):
        raise UsageError(f"{who}negative counts, contents of shape {values.shape}")
    return values, expected, who
