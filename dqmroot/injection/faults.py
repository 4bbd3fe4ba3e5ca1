"""The vocabulary of faults: what happens to the counts in a box of bins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import UsageError
from dqmroot.injection.places import Boxes
from dqmroot.injection.shapes import moved, peak, smeared
from dqmroot.kernels import faults as kernels
from dqmroot.kernels.random import uniforms
from dqmroot.kernels.scale import row_sums
from dqmroot.series import Axis, MonitorElement

__all__ = ["FAULTS", "Fault", "Work"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Work:
    """What a fault works on.

    Args:
        me: The clean series.
        counts: ``(n_ls, nz+2, ny+2, nx+2)`` to be changed in place; axes that the series has not are 1.
        boxes: ``(n_ls, 3, 2)``; empty for lumisections without a fault.
        keys: ``(n_ls,)`` uint64.
        amount: Strength of the fault; see `FAULTS`.
        axis: For shapes: place in ``me.axes``.
        position: For shapes: where on the axis.
        events: ``(n_ls,)`` the most that one bin can count; infinite for no limit.
        random: Whether counts fluctuate.
    """

    me: MonitorElement
    counts: Array
    boxes: Boxes
    keys: NDArray[np.uint64]
    amount: float
    axis: int
    position: float | None
    events: NDArray[np.float64]
    random: bool

    def change(self, **how: Any) -> None:
        """Thin and add; see `dqmroot.kernels.faults.change_counts`."""
        kernels.change_counts(self.counts, self.boxes, self.keys, random=self.random, cap=self.events, **how)

    @property
    def moved_axis(self) -> Axis:
        """The axis along which a shape changes."""
        return self.me.axes[self.axis]

    def expected(self) -> tuple[Array, Array]:
        """Return the mean map, ``(z, y, x)``, and how much each lumisection holds in comparison, ``(n_ls,)``."""
        totals = row_sums(self.counts)
        known = ~np.isnan(totals)
        if not totals[known].sum() > 0:
            return np.zeros(self.counts.shape[1:]), np.zeros(len(totals))
        sample = self.counts if known.all() else self.counts[known]
        return sample.mean(axis=0, dtype=np.float64), np.nan_to_num(totals) / totals[known].mean()


def _dead(work: Work) -> None:
    work.change(keep=0.0)


def _degraded(work: Work) -> None:
    _in_range(work, 0, 1, "an efficiency")
    work.change(keep=work.amount)


def _hot(work: Work) -> None:
    _in_range(work, 1, np.inf, "the factor of a hot channel")
    mean, rate = work.expected()
    work.change(mean=mean, rate=rate, factor=work.amount - 1)


def _noisy(work: Work) -> None:
    _in_range(work, 0, np.inf, "the level of noise")
    inner = _inside(work)
    level = np.nan_to_num(row_sums(inner)) / max(inner[0].size if len(inner) else 0, 1)
    work.change(mean=np.ones(work.counts.shape[1:]), rate=level, factor=work.amount)


def _missing(work: Work) -> None:
    _in_range(work, 0, 1, "the share of missing bins")
    work.change(drop=work.amount)


def _swapped(work: Work) -> None:
    kernels.exchange(work.counts, work.boxes, partner(work))


def partner(work: Work) -> Boxes:
    """The box that each box is exchanged with: the same size, drawn among those that do not overlap it."""
    nbins = np.array([axis.nbins for axis in work.me.axes])
    boxes = work.boxes[:, 2 - np.arange(len(nbins))]
    begin, length = boxes[:, :, 0], boxes[:, :, 1] - boxes[:, :, 0]
    before, after = begin - length, nbins - (begin + 2 * length) + 1
    free = np.maximum(before, 0) + np.maximum(after + 1, 0)
    if (free < 1).all(axis=1).any():
        i = int(np.argmax((free < 1).all(axis=1)))
        raise UsageError(
            f"{work.me.name}: no room to exchange {tuple(length[i].tolist())} bins in {tuple(nbins.tolist())}, x first"
        )
    rows = np.arange(len(boxes))
    axis = np.argmax(np.where(free > 0, nbins - 2 * length, -2 * nbins.max()), axis=1)
    begin, length, before, free = (array[rows, axis] for array in (begin, length, np.maximum(before, 0), free))
    drawn = np.minimum((uniforms(work.keys, 1)[:, 0] * free).astype(np.int64), free - 1)
    at = np.where(drawn < before, drawn + 1, begin + length + drawn - before)
    out = work.boxes.copy()
    out[rows, 2 - axis, 0] = at
    out[rows, 2 - axis, 1] = at + length
    return out


def _shifted(work: Work) -> None:
    _move(work, moved(work.moved_axis, 1.0, work.amount))


def _scaled(work: Work) -> None:
    _move(work, moved(work.moved_axis, work.amount, 0.0))


def _smeared(work: Work) -> None:
    _move(work, smeared(work.moved_axis, work.amount))


def _move(work: Work, spread: Array) -> None:
    where = 3 - work.axis
    turned = np.ascontiguousarray(np.moveaxis(work.counts, where, -1))
    active = np.moveaxis(mask_of(work.boxes, work.counts.shape), where, -1).any(axis=-1)
    n, lines, size = len(turned), int(np.prod(turned.shape[1:-1])), turned.shape[-1]
    flat = turned.reshape(n, lines, size)
    kernels.move_along(flat, np.ascontiguousarray(active).reshape(n, lines), spread, work.keys, random=work.random)
    work.counts[...] = np.moveaxis(turned, -1, where)


def _peak(work: Work) -> None:
    _in_range(work, 0, np.inf, "the share of entries in a peak")
    axis = work.moved_axis
    position = (axis.low + axis.high) / 2 if work.position is None else work.position
    falls = np.zeros(axis.nbins + 2)
    falls[1:-1] = peak(axis, position, 0.02 * (axis.high - axis.low))
    shape = [1, 1, 1, 1]
    shape[3 - work.axis] = -1
    # Across the other axes the new entries lie as the old ones do on average.
    mean, rate = work.expected()
    across = mean.sum(axis=2 - work.axis, keepdims=True)
    work.change(mean=across * falls.reshape(shape[1:]), rate=rate, factor=work.amount)


def _lost_tail(work: Work) -> None:
    _in_range(work, 0, 1, "the share of entries kept in a lost tail")
    axis = work.moved_axis
    position = axis.low + 0.7 * (axis.high - axis.low) if work.position is None else work.position
    first = int(np.searchsorted(axis.bin_edges, position - 1e-9 * (axis.high - axis.low)))
    if not 0 <= first < axis.nbins:
        raise UsageError(f"{work.me.name}: a tail from {position:g} on holds none of the {axis.nbins} bins")
    where = 2 - work.axis
    some = work.boxes[:, where, 1] > work.boxes[:, where, 0]
    work.boxes[some, where, 0] = np.maximum(work.boxes[some, where, 0], first + 1)
    work.change(keep=work.amount)


def _set_zero(work: Work) -> None:
    kernels.set_boxes(work.counts, work.boxes, np.zeros(len(work.counts)))


def _set_maximum(work: Work) -> None:
    kernels.set_boxes(work.counts, work.boxes, _inside(work).max(axis=(1, 2, 3)))


def _inside(work: Work) -> Array:
    inner = [slice(1, -1) if size > 1 else slice(None) for size in work.counts.shape[1:]]
    return work.counts[(slice(None), *inner)]


def mask_of(boxes: Boxes, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """``(n, z, y, x)`` bool: the bins in the box of each row."""
    out = np.zeros(shape, np.uint8)
    kernels.set_boxes(out, boxes, np.ones(len(boxes)))
    return out.view(bool)


def _in_range(work: Work, low: float, high: float, what: str) -> None:
    if not low <= work.amount <= high:
        raise UsageError(f"{work.me.name}: {what} must be from {low:g} to {high:g}; got {work.amount:g}")


@dataclass(frozen=True)
class Fault:
    """One word of the vocabulary.

    Args:
        apply: Changes the counts in place.
        amount: The strength where none is given; ``None`` where the fault has none, NaN where it must be given.
        meaning: What the strength is.
        where: The usual place.
        shape: Whether entries move or appear along an axis.
        profile: Whether it works on profiles.
        share: The usual share of lumisections.
    """

    apply: Callable[[Work], None]
    amount: float | None = None
    meaning: str = ""
    where: str = "channel"
    shape: bool = False
    profile: bool = False
    share: float = 1.0


FAULTS = {
    "dead": Fault(_dead, profile=True),
    "hot": Fault(_hot, 5.0, "factor on the rate, 1 or more"),
    "degraded": Fault(_degraded, 0.5, "efficiency, 0 to 1", profile=True),
    "noisy": Fault(_noisy, 1.0, "mean of the added noise, in units of the mean bin", where="region"),
    "flickering": Fault(_dead, profile=True, share=0.5),
    "swapped": Fault(_swapped),
    "shifted": Fault(_shifted, np.nan, "shift, in units of the axis", where="all", shape=True),
    "scaled": Fault(_scaled, 1.1, "factor on the axis", where="all", shape=True),
    "smeared": Fault(_smeared, np.nan, "standard deviation, in units of the axis", where="all", shape=True),
    "peak": Fault(_peak, 0.1, "new entries, as a share of the old", where="all", shape=True),
    "lost_tail": Fault(_lost_tail, 0.0, "share kept beyond the position", where="all", shape=True, profile=True),
    "missing": Fault(_missing, 0.5, "share of the bins", where="region", profile=True),
    "set_zero": Fault(_set_zero, where="region", profile=True),
    "set_maximum": Fault(_set_maximum, where="region"),
}
"""Every fault by name."""
