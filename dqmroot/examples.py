"""Lumisections kept with their pictures, so that a report can show why they were flagged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.model import Model
from dqmroot.series import MonitorElement

__all__ = ["Examples", "choose_examples", "collect_examples", "reference_by_run"]

MOST_BINS, MOST_LS = 60_000, 300
"""What is kept per monitoring element: about 10 maps of 72 x 84 bins, or 300 spectra."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Some lumisections of one monitoring element in its own bins, without flow, sorted by run and LS.

    Args:
        run: ``(m,)`` uint32.
        lumi: ``(m,)`` uint32.
        original: ``(m, …, y, x)`` contents, in the file's dtype.
        reconstruction: ``(m, …, y, x)`` float32, what the detector expected; ``None`` where it cannot say.
        loss: ``(m, …, y, x)`` float32, badness per bin; ``None`` where the detector cannot say where.
    """

    run: NDArray[np.uint32]
    lumi: NDArray[np.uint32]
    original: NDArray[Any]
    reconstruction: NDArray[np.float32] | None
    loss: NDArray[np.float32] | None

    def __len__(self) -> int:
        return len(self.run)


def choose_examples(
    run: NDArray[np.uint32], score: NDArray[np.float64], flag: NDArray[np.int8], most: int
) -> NDArray[np.intp]:
    """Choose which lumisections to keep: of each stretch of bad LS the worst first, each with its neighbours in time.

    Args:
        run: ``(n,)``, sorted.
        score: ``(n,)``.
        flag: ``(n,)``: 1 is bad.
        most: How many to keep at most.

    Returns:
        Their rows, ascending.
    """
    bad = np.flatnonzero(flag == 1)
    if len(bad) == 0:
        return bad
    apart = (np.diff(bad) > 1) | (np.diff(run[bad]) > 0)
    stretch = np.concatenate([[0], np.cumsum(apart)])
    # The place of each LS within its stretch, the worst being 0.
    by_stretch = np.lexsort((-score[bad], stretch))
    first = np.searchsorted(stretch[by_stretch], stretch[by_stretch], side="left")
    place = np.empty(len(bad), np.intp)
    place[by_stretch] = np.arange(len(bad)) - first
    kept: set[int] = set()
    for row in bad[np.lexsort((-score[bad], place))].tolist():
        around = {i for i in (row - 1, row, row + 1) if 0 <= i < len(run) and run[i] == run[row]}
        if len(kept | around) > most:
            if kept:
                break
            around = {row}
        kept |= around
    return np.array(sorted(kept), np.intp)


def collect_examples(
    me: MonitorElement, model: Model, score: NDArray[np.float64], flag: NDArray[np.int8]
) -> Examples | None:
    """Keep the lumisections that `choose_examples` names, within `MOST_BINS` and `MOST_LS`; ``None`` where none is bad.

    Args:
        me: A series sorted by run and LS.
        model: Its model.
        score: ``(n,)`` its scores.
        flag: ``(n,)`` its flags.
    """
    most = min(MOST_LS, max(3, MOST_BINS // int(np.prod(me.bins))))
    rows = choose_examples(me.run, score, flag, most)
    if len(rows) == 0:
        return None
    some = me[rows]
    return Examples(
        run=some.run,
        lumi=some.lumi,
        original=np.ascontiguousarray(some.values()),
        reconstruction=model.reconstruct(some).astype(np.float32) if model.detector.reconstructs else None,
        loss=model.score_bins(some).astype(np.float32) if model.detector.localises else None,
    )


def reference_by_run(me: MonitorElement, flag: NDArray[np.int8]) -> Mapping[int, NDArray[np.float32]]:
    """Return for each run the mean of its good lumisections, ``(…, y, x)``; where a run has none, that of all runs."""
    total, n_total = np.zeros(me.bins), 0
    means: dict[int, NDArray[np.float32] | None] = {}
    for run in np.unique(me.run).tolist():
        rows = np.flatnonzero((me.run == run) & (flag == 0))
        one = me[rows].values().sum(axis=0, dtype=np.float64)
        total += one
        n_total += len(rows)
        means[run] = (one / len(rows)).astype(np.float32) if len(rows) else None
    everywhere = (total / n_total).astype(np.float32) if n_total else None
    filled = {run: everywhere if mean is None else mean for run, mean in means.items()}
    return {run: mean for run, mean in filled.items() if mean is not None}
