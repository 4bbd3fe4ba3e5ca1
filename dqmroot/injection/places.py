"""Where and when a fault is: one box of bins for each lumisection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import UnknownNameError, UsageError
from dqmroot.kernels.random import keys_of, uniforms
from dqmroot.series import MonitorElement

__all__ = ["PLACES", "Boxes", "boxes_of", "chosen", "row_keys"]

Boxes = NDArray[np.int64]
Draws = NDArray[np.float64]

# The readout box of the HCAL barrel and endcap: 16 ieta × 4 iphi, on a grid that counts from the middle of ieta.
_BOX = (16, 4, 1)
_LARGEST = 16
_LS, _WHERE, _WHEN, _EACH = 1, 2, 3, 4


def row_keys(me: MonitorElement, seed: int, what: int = _LS) -> NDArray[np.uint64]:
    """``(n_ls,)`` uint64: keys that depend on the seed, the run and the lumisection, and on nothing else."""
    return keys_of(seed, np.full(len(me), what), me.run, me.lumi)


def boxes_of(
    me: MonitorElement,
    where: str,
    *,
    size: int | Sequence[int] | None,
    place: str | int | Sequence[int],
    seed: int,
) -> Boxes:
    """Find the box of each lumisection.

    Args:
        me: The series.
        where: One of `PLACES`.
        size: Bins of a region per axis, x first.
        place: First bin per axis, x first; ``"random"``, a new place for each lumisection; ``"fixed"``, one random place.
        seed: Of the random places.

    Returns:
        ``(n_ls, 3, 2)`` int64: first and last bin (exclusive) in z, y, x, flow bins counted, 1 for missing axes.
    """
    if where not in PLACES:
        raise UnknownNameError("place of a fault", where, PLACES)
    nbins = [axis.nbins for axis in me.axes]
    if size is not None and where not in {"region", "strip"}:
        raise UsageError(f"{me.name}: a size goes with where='region', not with {where!r}")
    keys = row_keys(me, seed, _WHERE) if place == "random" else keys_of(seed, np.full(len(me), _WHERE))
    draws = uniforms(keys, 8)
    begin, length = PLACES[where](nbins, draws, size, me.name)
    if not isinstance(place, str):
        given = tuple(int(p) for p in np.atleast_1d(place))
        if len(given) != len(nbins):
            raise UsageError(f"{me.name}: place {given} needs a first bin for each of {len(nbins)} axes, x first")
        begin = np.tile(np.array(given), (len(me), 1))
    elif place not in {"random", "fixed"}:
        raise UnknownNameError("place", place, ("random", "fixed"))
    if (begin < 0).any() or (begin + length > nbins).any():
        size, place = tuple(length[0].tolist()), tuple(begin[0].tolist())
        raise UsageError(f"{me.name}: a fault of {size} bins at {place} leaves the {nbins} bins")
    out = np.tile(np.array([[0, 1]] * 3, np.int64), (len(me), 1, 1))
    for axis in range(len(nbins)):
        out[:, 2 - axis, 0] = begin[:, axis] + 1
        out[:, 2 - axis, 1] = begin[:, axis] + length[:, axis] + 1
    return out


def chosen(me: MonitorElement, first: Any, last: Any, share: float, seed: int) -> NDArray[np.bool_]:
    """``(n_ls,)`` bool: the lumisections from ``first`` to ``last``, each with probability ``share``.

    Args:
        me: The series.
        first: A lumisection, or (run, lumisection); ``None`` for no limit.
        last: The same, inclusive.
        share: 1 for all, less for a fault that comes and goes.
        seed: Of the random choice.
    """
    if not 0 <= share <= 1:
        raise UsageError(f"{me.name}: the share of faulty lumisections must be from 0 to 1; got {share}")
    inside = np.ones(len(me), bool)
    for edge, sign in ((first, 1), (last, -1)):
        if edge is None:
            continue
        if np.ndim(edge) == 0:
            inside &= sign * (me.lumi.astype(np.int64) - int(edge)) >= 0
        else:
            run, lumi = (int(number) for number in edge)
            other = np.uint64(run << 32 | lumi)
            inside &= me.keys >= other if sign == 1 else me.keys <= other
    drawn: NDArray[np.bool_] = uniforms(row_keys(me, seed, _WHEN), 1)[:, 0] < share
    return inside & drawn


def _anywhere(nbins: Sequence[int], length: NDArray[np.int64], draws: Draws) -> NDArray[np.int64]:
    free = np.array(nbins) - length + 1
    return np.minimum((draws[:, : len(nbins)] * free).astype(np.int64), free - 1)


def _all(nbins: Sequence[int], draws: Draws, size: Any, me: str) -> tuple[Boxes, Boxes]:
    del size, me
    n = len(draws)
    return np.zeros((n, len(nbins)), np.int64), np.tile(np.array(nbins), (n, 1))


def _region(nbins: Sequence[int], draws: Draws, size: Any, me: str) -> tuple[Boxes, Boxes]:
    given = (
        tuple(min(5, n) for n in nbins)
        if size is None
        else ((int(size),) if np.ndim(size) == 0 else tuple(map(int, size)))
    )
    if len(given) != len(nbins) or any(not 1 <= s <= n for s, n in zip(given, nbins, strict=False)):
        raise UsageError(f"{me}: a region of {given} bins does not fit {tuple(nbins)} bins, x first")
    length = np.tile(np.array(given, np.int64), (len(draws), 1))
    return _anywhere(nbins, length, draws), length


def _channel(nbins: Sequence[int], draws: Draws, size: Any, me: str) -> tuple[Boxes, Boxes]:
    del size
    return _region(nbins, draws, (1,) * len(nbins), me)


def _strip(nbins: Sequence[int], draws: Draws, size: Any, me: str) -> tuple[Boxes, Boxes]:
    """Width 1 across one axis, which is drawn, and all of the others, or ``size`` of them."""
    _, length = _region(nbins, draws, nbins if size is None else size, me)
    across = np.minimum((draws[:, 7] * len(nbins)).astype(np.int64), len(nbins) - 1)
    length[np.arange(len(draws)), across] = 1
    return _anywhere(nbins, length, draws), length


def _box(nbins: Sequence[int], draws: Draws, size: Any, me: str) -> tuple[Boxes, Boxes]:
    del size
    length = _BOX[: len(nbins)]
    if any(n < s for n, s in zip(nbins, length, strict=True)):
        raise UsageError(f"{me}: a readout box of {length} bins does not fit {tuple(nbins)} bins, x first")
    begins = []
    for axis, (n, s) in enumerate(zip(nbins, length, strict=True)):
        offset = (n // 2) % s if axis == 0 else 0
        count = (n - offset) // s
        begins.append(offset + s * np.minimum((draws[:, axis] * count).astype(np.int64), count - 1))
    return np.stack(begins, axis=1), np.tile(np.array(length, np.int64), (len(draws), 1))


def _half(nbins: Sequence[int], draws: Draws, size: Any, me: str) -> tuple[Boxes, Boxes]:
    """The lower or the upper half of x."""
    begin, length = _all(nbins, draws, size, me)
    upper = draws[:, 0] >= 0.5
    middle = nbins[0] // 2
    begin[upper, 0] = middle
    length[:, 0] = np.where(upper, nbins[0] - middle, middle)
    if (length < 1).any():
        raise UsageError(f"{me}: {nbins[0]} bins have no half")
    return begin, length


def _random_size(nbins: Sequence[int], draws: Draws, size: Any, me: str) -> tuple[Boxes, Boxes]:
    del size, me
    largest = np.minimum(_LARGEST, np.array(nbins))
    length = np.minimum((draws[:, 3 : 3 + len(nbins)] * largest).astype(np.int64) + 1, largest)
    return _anywhere(nbins, length, draws), length


Finder = Callable[[Sequence[int], Draws, Any, str], tuple[Boxes, Boxes]]

PLACES: dict[str, Finder] = {
    "channel": _channel,
    "region": _region,
    "strip": _strip,
    "box": _box,
    "half": _half,
    "all": _all,
    "random_size": _random_size,
}
