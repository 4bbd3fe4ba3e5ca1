"""The table of scores: one row per run, lumisection and monitoring element."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import EmptySelectionError

__all__ = ["ScoreTable"]


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Scores of lumisections.

    Args:
        run: ``(n,)`` uint32.
        lumi: ``(n,)`` uint32.
        me: ``(n,)`` names.
        score: ``(n,)`` float64, higher is worse; NaN is not judged.
        threshold: ``(n,)`` float64; NaN where there is no cut.
        flag: ``(n,)`` int8: 1 bad, 0 good, -1 not judged.
    """

    run: NDArray[np.uint32]
    lumi: NDArray[np.uint32]
    me: NDArray[Any]
    score: NDArray[np.float64]
    threshold: NDArray[np.float64]
    flag: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.run)

    @property
    def mes(self) -> list[str]:
        """The monitoring elements, in the order they come."""
        return list(dict.fromkeys(self.me.tolist()))

    def of(self, me: str) -> ScoreTable:
        """Return the rows of one monitoring element."""
        rows = self.me == me
        return ScoreTable(*(getattr(self, name)[rows] for name in COLUMNS))

    def worst_per_ls(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float64]]:
        """Return run, lumi and the largest score in units of its threshold over the MEs of each LS.

        With one ME the score itself; NaN where nothing was judged.
        """
        scale = self.threshold if len(self.mes) > 1 else np.ones(len(self))
        keys = (self.run.astype(np.uint64) << np.uint64(32)) | self.lumi
        unique, at = np.unique(keys, return_inverse=True)
        worst = np.full(len(unique), -np.inf)
        np.fmax.at(worst, at, self.score / scale)
        worst[np.isneginf(worst)] = np.nan
        return (unique >> np.uint64(32)).astype(np.uint32), unique.astype(np.uint32), worst


COLUMNS = ("run", "lumi", "me", "score", "threshold", "flag")


def join(parts: Sequence[ScoreTable]) -> ScoreTable:
    """Put tables below each other, sorted by run, lumisection and the order the MEs came in."""
    if not parts:
        raise EmptySelectionError("no scores to join")
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS}
    order = np.lexsort(
        (np.concatenate([np.full(len(p), i) for i, p in enumerate(parts)]), columns["lumi"], columns["run"])
    )
    return ScoreTable(**{name: array[order] for name, array in columns.items()})
