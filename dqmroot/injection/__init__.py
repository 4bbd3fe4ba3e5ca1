"""Put faults that look like those of a detector into good lumisections.

Counts stay counts: a degraded channel is thinned binomially, a hot one gets more of the same process. Random numbers depend on the
seed, the run and the lumisection alone: the same seed gives the same faults, whatever the number of threads. What depends on the
other lumisections is the mean map that tells how much a hot channel or a peak gets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqmroot.errors import UnknownNameError, UsageError
from dqmroot.injection.faults import FAULTS, Fault, Work, mask_of, partner
from dqmroot.injection.places import PLACES, boxes_of, chosen, row_keys
from dqmroot.injection.result import Injected
from dqmroot.kernels.faults import box_sums, copy_counts
from dqmroot.kernels.scale import row_sums
from dqmroot.series import MonitorElement

__all__ = ["FAULTS", "PLACES", "Injected", "inject"]

_FAULT = 9
_BINS, _LUMISECTION = "one for each axis such as [5, 5]", "a run and a lumisection such as [355100, 12]"
# Parameters that are numbers, and what else they may be.
_NUMBERS = {
    **dict.fromkeys(("amount", "share", "position", "seed"), ""),
    **dict.fromkeys(("size", "place"), _BINS),
    **dict.fromkeys(("first", "last"), _LUMISECTION),
}


def inject(
    me: MonitorElement,
    fault: str,
    *,
    amount: float | None = None,
    where: str | None = None,
    size: int | Sequence[int] | None = None,
    place: str | int | Sequence[int] = "random",
    first: int | tuple[int, int] | None = None,
    last: int | tuple[int, int] | None = None,
    share: float | None = None,
    axis: str = "x",
    position: float | None = None,
    events: str | ArrayLike | None = None,
    fluctuate: bool = True,
    seed: int = 0,
) -> Injected:
    """Put a fault into the raw counts of a series.

    Args:
        me: Good lumisections, not prepared: whole numbers of entries.
        fault: One of `FAULTS`: dead, hot, degraded, noisy, flickering, swapped, shifted, scaled, smeared, peak, lost_tail, missing,
            and the plain edits set_zero and set_maximum.
        amount: How strong; each fault has its own measure and usual value (``FAULTS[fault].meaning``).
        where: One of `PLACES`: channel, region, strip (one bin wide), box (a readout box of 16 x × 4 y on its grid),
            half (in x), all,
            random_size (1 to 16 bins). A region where a size is given, else what is usual for the fault.
        size: Bins of a region or strip, x first.
        place: First bin, x first; ``"random"`` for a new place in each lumisection, ``"fixed"`` for one random place in all.
        first: First faulty lumisection: its number, in every run, or (run, number).
        last: Last faulty lumisection, likewise.
        share: Share of the lumisections in that range that are faulty, each by chance: a fault that comes and goes.
        axis: For shapes, ``"x"``, ``"y"`` or ``"z"``.
        position: For a peak its middle, for a lost tail its begin, in units of the axis.
        events: For maps that count at most one hit per event: the number of events, ``(n_ls,)``, or the condition that holds it.
        fluctuate: Whether the change is drawn; ``False`` takes means, which are no whole numbers.
        seed: Of everything random.

    Returns:
        The faulty series, with ``truth``, ``clean`` and ``record``.

    Raises:
        UnknownNameError: No such fault, place, axis or condition.
        UsageError: Negative or broken counts, a box that does not fit, a strength out of its range.

    Examples:
        >>> bad = dq.inject(occupancy, "dead", size=(5, 5), seed=1)
        >>> bool((bad.values() <= bad.clean.values()).all())
        True
    """
    parameters = {
        key: _plain(value) for key, value in locals().items() if key not in {"me", "fault"} and value is not None
    }
    kind = FAULTS.get(fault)
    if kind is None:
        raise UnknownNameError("fault", fault, FAULTS)
    _check_numbers(me, parameters)
    counts = _four(_checked_copy(me, fault, kind, fluctuate=fluctuate))
    where = where or ("region" if size is not None else kind.where)
    if fault == "flickering" and place == "random":
        place = "fixed"  # one channel that comes and goes
    boxes = boxes_of(me, where, size=size, place=place, seed=seed)
    boxes[~chosen(me, first, last, kind.share if share is None else share, seed)] = 0
    held = me.contents if me.bin_entries is None else me.bin_entries
    work = Work(
        me,
        counts,
        boxes,
        row_keys(me, seed, _FAULT),
        _amount(me, fault, kind, amount),
        _axis(me, axis),
        position,
        _events(me, events),
        fluctuate,
    )
    # Where entries only move, the bins outside the boxes change, too.
    inside = None if fault in {"swapped", "shifted", "scaled", "smeared"} else boxes.copy()
    before = _total(counts, inside)
    kind.apply(work)
    truth = mask_of(work.boxes, counts.shape)
    if fault == "swapped":
        truth |= mask_of(np.where(work.boxes[:, :, :1] < work.boxes[:, :, 1:], partner(work), 0), counts.shape)
    if fault in {"shifted", "scaled", "smeared"}:
        truth = truth.any(axis=3 - work.axis, keepdims=True) | np.zeros(counts.shape, bool)
    clean = me.clean if isinstance(me, Injected) and me.clean is not None else me
    plain = {f.name: getattr(me, f.name) for f in fields(MonitorElement)}
    plain |= _sums(me, counts.reshape(held.shape), np.nan_to_num(_total(counts, inside) - before))
    record = {"fault": fault, "parameters": parameters}
    if isinstance(me, Injected):
        record["after"] = dict(me.record)
    inner = me.view(truth.reshape(held.shape))
    if isinstance(me, Injected):
        inner |= me.truth
    return Injected(**plain, truth=inner, clean=clean, record=record)


def _check_numbers(me: MonitorElement, parameters: dict[str, Any]) -> None:
    """See that what must be a number is one: from the command line it may be any text."""
    for key, several in _NUMBERS.items():
        value = parameters.get(key)
        if value is None or (key == "place" and isinstance(value, str)):
            continue
        listed = bool(several) and isinstance(value, list)
        fits = several != _LUMISECTION or not listed or len(value) == 2
        if not fits or not all(isinstance(number, Real) for number in (value if listed else [value])):
            raise UsageError(f"{me.name}: {key} must be a number{several and f', or {several}'}; got {value!r}")


def _checked_copy(me: MonitorElement, fault: str, kind: Fault, *, fluctuate: bool) -> NDArray[Any]:
    """The counts to be changed, in a floating type."""
    if not me.axes:
        raise UsageError(f"{me.name} is a scalar ({me.storage}): it has no bins for a fault")
    if me.is_profile and not kind.profile:
        known = ", ".join(name for name, other in FAULTS.items() if other.profile)
        raise UsageError(f"{me.name}: {fault} is for counts, not for a {me.storage}; for profiles there are {known}")
    held = me.contents if me.bin_entries is None else me.bin_entries
    counts, negative, broken = copy_counts(held)
    if negative.any():
        i = int(np.argmax(negative > 0))
        raise UsageError(f"{me.name}: negative counts in run {me.run[i]}, lumisection {me.lumi[i]}, shape {held.shape}")
    if fluctuate and broken.any():
        raise UsageError(
            f"{me.name}: contents are no whole numbers, so they are not counts; inject before preparing, or set"
            " fluctuate to false"
        )
    return counts


def _four(array: NDArray[Any]) -> NDArray[Any]:
    return array.reshape(array.shape[:1] + (1,) * (4 - array.ndim) + array.shape[1:])


def _amount(me: MonitorElement, fault: str, kind: Fault, amount: float | None) -> float:
    if kind.amount is None:
        if amount is not None:
            raise UsageError(f"{me.name}: the fault {fault} has no amount; got {amount}")
        return 0.0
    found = kind.amount if amount is None else float(amount)
    if np.isnan(found):
        raise UsageError(f"{me.name}: the fault {fault} needs an amount: {kind.meaning}")
    return found


def _axis(me: MonitorElement, axis: str) -> int:
    letters = "xyz"[: len(me.axes)]
    if len(axis) != 1 or axis not in letters:
        raise UnknownNameError("axis", axis, tuple(letters), me.name)
    return letters.index(axis)


def _events(me: MonitorElement, events: str | ArrayLike | None) -> NDArray[np.float64]:
    if events is None:
        return np.full(len(me), np.inf)
    if isinstance(events, str):
        if events not in me.conditions:
            raise UnknownNameError("condition", events, me.conditions, me.name)
        events = me.conditions[events]
    given = np.asarray(events, np.float64)
    if given.shape not in {(), (1,), (len(me),)}:
        raise UsageError(f"{me.name}: numbers of events of shape {given.shape} for {len(me)} lumisections")
    found = np.broadcast_to(given, (len(me),)).copy()
    if not (found > 0).all():
        raise UsageError(f"{me.name}: the number of events must be above 0 in every lumisection")
    return found


def _total(counts: NDArray[Any], boxes: NDArray[np.int64] | None) -> NDArray[np.float64]:
    found: NDArray[np.float64] = row_sums(counts) if boxes is None else box_sums(counts, boxes)
    return found


def _sums(me: MonitorElement, counts: NDArray[Any], added: NDArray[np.float64]) -> dict[str, Any]:
    """Contents, errors, the sums of profiles and entries that belong to the new counts; ``added`` is their number, ``(n_ls,)``."""
    held = me.contents if me.bin_entries is None else me.bin_entries
    changes: dict[str, Any] = {"entries": np.maximum(me.entries + added, 0)}
    if me.bin_entries is None:
        changes["contents"] = counts
        if held.dtype.kind != "f":
            # A whole-number bin that is full stays full, as in ROOT.
            limits = np.iinfo(held.dtype)
            changes["contents"] = np.clip(np.round(counts), limits.min, limits.max).astype(held.dtype)
        if me.sumw2 is not None:
            changes["sumw2"] = np.where(held > 0, me.sumw2 * _ratio(counts, held), counts)
        return changes
    ratio = _ratio(counts, held)
    changes["bin_entries"] = counts
    for what in ("contents", "sumw2", "bin_sumw2"):
        array = getattr(me, what)
        if array is not None:
            changes[what] = (array * ratio).astype(array.dtype)
    return changes


def _ratio(counts: NDArray[Any], held: NDArray[Any]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(held > 0, counts / np.asarray(held, np.float64), 1.0)


def _plain(value: Any) -> Any:
    """A parameter as JSON has it."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value
