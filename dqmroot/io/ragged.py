"""Arrays of many monitoring elements, changed element by element."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import UsageError
from dqmroot.io.arrays import Arrays, MEInfo, Rows
from dqmroot.series import MonitorElement

__all__ = ["from_series", "map_series"]


def map_series(function: Callable[[MonitorElement], MonitorElement], arrays: Arrays) -> Arrays:
    """Apply ``function`` to each monitoring element of ``arrays``: ``map_series(dq.rebin(2).apply, arrays)``.

    Args:
        function: A step's or a preparation's ``apply``, an injection, anything from series to series.
        arrays: Many monitoring elements, each with its own bins.

    Returns:
        Arrays of the same monitoring elements, whose axes, storage and lengths are what the function made of them.

    Examples:
        >>> dq.map_series(dq.normalise().apply, dq.arrays(file, "CSC/**")).names
        ('CSC/FEDIntegrity/FEDTotalEventSize',)
    """
    return from_series(function(me) for me in arrays.all_series())


def from_series(series: Iterable[MonitorElement]) -> Arrays:
    """Lay series out as arrays, one after the other, by storage type.

    Raises:
        UsageError: A monitoring element comes twice.
    """
    table: list[MEInfo] = []
    kept: dict[str, list[tuple[int, MonitorElement]]] = {}
    names: set[str] = set()
    for number, me in enumerate(series):
        if me.name in names:
            raise UsageError(f"{me.name}: given twice; concatenate its lumisections first")
        names.add(me.name)
        runs = tuple(int(run) for run in np.unique(me.run))
        whole = int(np.count_nonzero(me.lumi == 0))
        table.append(MEInfo(me.name, me.storage, me.axes, me.title, len(me) - whole, runs, whole))
        kept.setdefault(me.storage, []).append((number, me.sort()))
    return Arrays(tuple(table), {storage: _rows(parts) for storage, parts in kept.items()})


def _rows(parts: list[tuple[int, MonitorElement]]) -> Rows:
    sizes = np.concatenate([np.full(len(me), int(np.prod(me.contents.shape[1:]))) for _, me in parts])
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    sums: dict[str, Any] = {}
    for what in ("sumw2", "bin_sumw2"):
        sums[what], sums[f"{what}_at"] = _optional([getattr(me, what) for _, me in parts], [me for _, me in parts])
    profile = parts[0][1].is_profile
    return Rows(
        me=np.concatenate([np.full(len(me), number, np.int32) for number, me in parts]),
        run=np.concatenate([me.run for _, me in parts]),
        lumi=np.concatenate([me.lumi for _, me in parts]),
        entries=np.concatenate([me.entries for _, me in parts]),
        offsets=offsets,
        contents=np.concatenate([me.contents.reshape(-1) for _, me in parts]),
        bin_entries=np.concatenate([_flat(me.bin_entries) for _, me in parts]) if profile else None,
        **sums,
    )


def _flat(array: NDArray[Any] | None) -> NDArray[Any]:
    return np.empty(0) if array is None else array.reshape(-1)


def _optional(
    arrays: list[NDArray[Any] | None], parts: list[MonitorElement]
) -> tuple[NDArray[np.float64] | None, NDArray[np.int64] | None]:
    """Sums that some monitoring elements store, flat, and where each row has its own; -1 where it has none."""
    if all(array is None for array in arrays):
        return None, None
    places, at = [], 0
    for array, me in zip(arrays, parts, strict=True):
        size = int(np.prod(me.contents.shape[1:]))
        places.append(np.full(len(me), -1) if array is None else at + size * np.arange(len(me)))
        at += 0 if array is None else array.size
    return np.concatenate([np.asarray(_flat(a), np.float64) for a in arrays]), np.concatenate(places).astype(np.int64)
