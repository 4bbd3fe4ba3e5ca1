"""Which lumisections are learnt from, and which are kept apart to find the working point on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import EmptySelectionError
from dqmroot.series import MonitorElement

__all__ = ["HeldOut", "Split", "split_good"]

_FOLDS = 4  # up to so many runs, each is left out in turn; with more, every fifth run is held back


@dataclass(frozen=True, eq=False)
class Split:
    """How good LS are shared out.

    Args:
        folds: For each fold ``(n_ls,)`` bool: the LS that are kept apart while a detector learns from all others.
        again: Whether the final detector learns from all LS after the folds; without, that of the only fold is final.
        told: The same in words.
    """

    folds: tuple[NDArray[np.bool_], ...]
    again: bool
    told: str


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Scores of LS that were not trained on.

    Args:
        keys: ``(n,)`` uint64, run << 32 | lumi, of the good ones.
        score: ``(n,)``; NaN is not judged.
        bad_keys: ``(m,)`` of the bad ones: labelled so, or the good ones again with faults in them.
        bad_score: ``(m,)``.
        injected: Whether the bad ones are injected.
    """

    keys: NDArray[np.uint64]
    score: NDArray[np.float64]
    bad_keys: NDArray[np.uint64]
    bad_score: NDArray[np.float64]
    injected: bool = False


def split_good(good: MonitorElement) -> Split:
    """Keep some LS apart, whole runs where there are several.

    One run: its last fifth in time. Two to four runs: each is left out in turn. More runs: every fifth.

    Args:
        good: Sorted by run and lumisection.

    Raises:
        EmptySelectionError: Too few LS to keep some apart.
    """
    runs, n = np.unique(good.run), len(good)
    if len(runs) == 1:
        n_held = n // 5
        if n_held == 0:
            raise EmptySelectionError(f"{good.name}: {n} good LS are too few to keep some apart for a working point")
        told = f"the last fifth in time of run {runs[0]} ({n_held} LS)"
        return Split((np.arange(n) >= n - n_held,), again=False, told=told)
    if len(runs) <= _FOLDS:
        folds = tuple(np.asarray(good.run == run, np.bool_) for run in runs)
        return Split(folds, again=True, told=f"each of the runs {', '.join(map(str, runs))} left out in turn")
    apart = runs[2::5]
    return Split((np.isin(good.run, apart),), again=False, told=f"runs {', '.join(map(str, apart))}")
