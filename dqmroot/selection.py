"""Which lumisections to take: golden and DCS-only JSON, runs, lumisection ranges, statistics."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqmroot.errors import UsageError
from dqmroot.runs import RunMask
from dqmroot.series import MonitorElement

__all__ = ["Mask", "Ranges", "Selection", "select"]

Mask = RunMask | str | os.PathLike[str]
"""A set of lumisections, or the JSON file that holds it."""

Ranges = tuple[int, int] | Sequence[tuple[int, int]]
"""One inclusive range of lumisection numbers, or several."""


@dataclass(frozen=True)
class Selection:
    """What a lumisection must fulfil to be taken.

    Args:
        mask: It is in this set; ``None`` for any.
        lumis: Its number is in one of these inclusive ranges, in every run; ``None`` for any.
        min_entries_per_bin: Entries over the number of in-range bins is at least this; ``None`` for any.

    Examples:
        >>> dq.Selection(lumis=((1, 5),)).lumis
        ((1, 5),)
    """

    mask: RunMask | None = None
    lumis: tuple[tuple[int, int], ...] | None = None
    min_entries_per_bin: float | None = None

    @classmethod
    def of(
        cls,
        *,
        golden: Mask | None = None,
        dcs: Mask | None = None,
        runs: int | Iterable[int] | None = None,
        lumis: Ranges | None = None,
        min_entries_per_bin: float | None = None,
    ) -> Selection:
        """Make a selection; conditions that are not given select everything.

        Args:
            golden: Golden JSON: a `RunMask` or a file.
            dcs: DCS-only JSON: a `RunMask` or a file.
            runs: One run number or several.
            lumis: ``(first, last)``, inclusive, or several of them; they hold in every run.
            min_entries_per_bin: Least number of entries per in-range bin.

        Raises:
            InputError: A JSON file cannot be read.
            UsageError: A range or number makes no sense.
        """
        masks = [
            mask if isinstance(mask, RunMask) else RunMask.from_json(Path(mask))
            for mask in (golden, dcs)
            if mask is not None
        ]
        if runs is not None:
            if isinstance(runs, str):  # type: ignore[unreachable]
                raise UsageError(f"runs {runs!r}: expected a number or several, not text")
            numbers = [runs] if isinstance(runs, int | np.integer) else list(runs)
            masks.append(RunMask.from_ranges({int(run): [[-1]] for run in numbers}))
        mask: RunMask | None = None
        for one in masks:
            mask = one if mask is None else mask & one
        if min_entries_per_bin is not None and not min_entries_per_bin >= 0:
            raise UsageError(f"min_entries_per_bin must not be negative; got {min_entries_per_bin!r}")
        return cls(mask, None if lumis is None else _ranges(lumis), min_entries_per_bin)

    def contains(self, run: ArrayLike, lumi: ArrayLike) -> NDArray[np.bool_]:
        """Tell for each (run, LS) whether it is taken, statistics aside; ``(n,)`` bool.

        LS 0 stands for the whole run: it is taken where any LS of the run is.
        """
        run, lumi = np.asarray(run), np.asarray(lumi)
        out = np.ones(run.shape, np.bool_)
        whole = lumi == 0
        if self.mask is not None:
            out &= np.where(whole, np.isin(run, self.mask.runs), self.mask.contains(run, lumi))
        if self.lumis is not None:
            inside = np.zeros(run.shape, np.bool_)
            for first, last in self.lumis:
                inside |= (lumi >= first) & (lumi <= last)
            out &= inside | whole
        return out

    def enough(self, entries: NDArray[np.float64], bins: Any) -> NDArray[np.bool_]:
        """Tell where entries over ``bins``, the number of in-range bins, is enough; ``(n,)`` bool."""
        if self.min_entries_per_bin is None:
            return np.ones(entries.shape, np.bool_)
        enough: NDArray[np.bool_] = entries >= self.min_entries_per_bin * np.maximum(bins, 1)
        return enough

    def apply(self, me: MonitorElement) -> MonitorElement:
        """Return the lumisections of ``me`` that are taken."""
        bins = int(np.prod(me.bins, dtype=np.int64))
        taken = self.contains(me.run, me.lumi) & self.enough(me.entries, bins)
        return me if taken.all() else me[taken]


def select(
    me: MonitorElement,
    *,
    golden: Mask | None = None,
    dcs: Mask | None = None,
    runs: int | Iterable[int] | None = None,
    lumis: Ranges | None = None,
    min_entries_per_bin: float | None = None,
) -> MonitorElement:
    """Return the lumisections of a series that fulfil every condition given; see `Selection.of`.

    Raises:
        EmptySelectionError: None does.

    Examples:
        >>> len(dq.select(good, runs=355100, lumis=[(1, 10)]))
        10
    """
    chosen = Selection.of(golden=golden, dcs=dcs, runs=runs, lumis=lumis, min_entries_per_bin=min_entries_per_bin)
    return chosen.apply(me).require("selection")


def _ranges(lumis: Ranges) -> tuple[tuple[int, int], ...]:
    pairs = [lumis] if len(lumis) == 2 and all(isinstance(n, int | np.integer) for n in lumis) else list(lumis)
    out = []
    for pair in pairs:
        if not isinstance(pair, Sequence | np.ndarray) or len(pair) != 2 or not 0 <= int(pair[0]) <= int(pair[1]):
            raise UsageError(f"{pair!r} is not an LS range (first, last)")
        out.append((int(pair[0]), int(pair[1])))
    return tuple(out)
