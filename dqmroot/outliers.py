"""Leave out the lumisections of a sample that are unlike the others, before anything is learnt from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dqmroot.distance import moments
from dqmroot.errors import UsageError
from dqmroot.kernels.scale import row_sums
from dqmroot.series import MonitorElement

__all__ = ["remove_outliers"]

Floats = NDArray[np.float64]


def remove_outliers(me: MonitorElement, deviations: float = 5.0) -> MonitorElement:
    """Leave out lumisections whose content, mean, width or shape lies far from that of the others.

    Middle and spread are the median and 1.4826 times the median distance from it, which outliers do not move. The shape is
    judged by χ² to the mean of all shapes, as its cube root, which is nearly normal (Wilson and Hilferty, PNAS 17 (1931) 684).

    Args:
        me: Lumisections that are mostly good; ``(n_ls, …)`` counts with one, two or three axes, or a profile.
        deviations: How many spreads from the middle a lumisection may lie.

    Returns:
        The others, in their order. Lumisections that are empty or hold NaN are left out, too.

    Raises:
        UsageError: A scalar, negative counts, or ``deviations`` not above 0.

    Examples:
        >>> len(dq.remove_outliers(good))
        120
    """
    if not me.axes:
        raise UsageError(f"{me.name} is a scalar ({me.storage}): outliers are found among histograms")
    if not deviations > 0:
        raise UsageError(f"{me.name}: outliers lie more than 0 deviations from the others; got {deviations}")
    held = me.view(me.contents if me.bin_entries is None else me.bin_entries)
    if (held < 0).any():
        i = int(np.argmax((held < 0).reshape(len(me), -1).any(axis=1)))
        raise UsageError(f"{me.name}: negative counts in run {me.run[i]}, lumisection {me.lumi[i]}, shape {held.shape}")
    total = row_sums(held)
    judged = (total > 0) & np.isfinite(total)
    if me.is_profile:
        judged &= np.isfinite(row_sums(me.view(me.contents)))
    if not judged.any():
        return me[judged]
    far = _distances(me[judged]).max(axis=1) > deviations
    judged[judged] = ~far
    return me[judged]


def _distances(me: MonitorElement) -> Floats:
    """``(n_ls, features)``: how far each lumisection lies from the middle of all, in spreads."""
    counts = np.asarray(me.view(me.contents if me.bin_entries is None else me.bin_entries), np.float64)
    total = row_sums(counts)
    means, widths = moments(counts, me.axes)
    features = [*means.T, *widths.T]
    if me.is_profile:
        features.append(row_sums(me.view(me.contents)) / total)
    middle = float(np.median(total))
    # A spread of the content below that of Poisson numbers is chance.
    away = [np.abs(total - middle) / max(_spread(total), np.sqrt(middle))]
    away += [np.abs(feature - np.median(feature)) / _spread(feature) for feature in features]
    shape = np.cbrt(_chi2(counts.reshape(len(counts), -1), total))
    # A shape cannot be too near the mean.
    away.append((shape - np.median(shape)) / _spread(shape))
    return np.column_stack(away)


def _spread(feature: Floats) -> float:
    """Standard deviation of a normal distribution with this median distance; never 0."""
    middle = np.median(feature)
    least = 1e-9 * max(float(np.abs(feature).max()), 1e-300)
    return max(1.4826 * float(np.median(np.abs(feature - middle))), least)


def _chi2(counts: Floats, total: Floats) -> Floats:
    """``(n_ls,)``: χ² of each row to the mean of all shapes, per bin."""
    usual = (counts / total[:, None]).mean(axis=0)
    some = usual > 0
    expected = total[:, None] * usual[some]
    return np.asarray(((counts[:, some] - expected) ** 2 / expected).mean(axis=1))
