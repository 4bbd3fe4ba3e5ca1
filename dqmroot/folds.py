"""Which lumisections are learnt from, and which are kept apart to find the working point on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import EmptySelectionError
from dqmroot.runs import RunMask
from dqmroot.series import MonitorElement

__all__ = ["HeldOut", "HeldRun", "Split", "TrainingSample", "split_good"]

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


@dataclass(frozen=True)
class HeldRun:
    """How good LS of a run came out that the detector had not seen.

    Args:
        run: The run.
        n: Its good LS that were kept apart.
        not_judged: Of these, without a score.
        median: Their median score; NaN where none was judged.
        flagged: Of the judged ones, above the cut; None where there is no cut.
    """

    run: int
    n: int
    not_judged: int
    median: float
    flagged: int | None


@dataclass(frozen=True)
class TrainingSample:
    """What a model was trained on.

    Args:
        n: Number of lumisections.
        runs: Runs they came from.
        held_out: How the LS of the working point were kept apart.
        lumis: Run → stretches of LS, first and last.
        entries: Least and largest number of entries of an LS; None where an early version did not tell.
        empty: Bins that no LS ever filled, without flow.
        conditions: Condition → least and largest value.
        held: What came of each run that was kept apart.
    """

    n: int
    runs: tuple[int, ...]
    held_out: str = ""
    lumis: Mapping[str, Any] = field(default_factory=dict)
    entries: tuple[float, float] | None = None
    empty: int = 0
    conditions: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    held: tuple[HeldRun, ...] = ()

    @classmethod
    def of(cls, good: MonitorElement) -> Self:
        """Describe the good LS that are learnt from."""
        contents = good.values() if good.bin_entries is None else good.bin_entries[(slice(None), *_inside(good))]
        told = {
            name: (float(np.nanmin(values)), float(np.nanmax(values)))
            for name, values in good.conditions.items()
            if np.isfinite(np.asarray(values, np.float64)).any()
        }
        return cls(
            len(good),
            tuple(np.unique(good.run).tolist()),
            lumis={str(run): pairs for run, pairs in RunMask.from_lumis(good.run, good.lumi).to_ranges().items()},
            entries=(float(good.entries.min()), float(good.entries.max())),
            empty=int((~(contents != 0).any(axis=0)).sum()),
            conditions=told,
        )

    def outside(self, runs: Iterable[int]) -> list[int]:
        """Return the runs before the first or after the last that was learnt from; none where those are not known."""
        return [run for run in runs if self.runs and not min(self.runs) <= run <= max(self.runs)]

    def with_held(self, told: str, held: HeldOut, threshold: float) -> Self:
        """Return it with what came of the LS that were kept apart; ``threshold`` NaN where there is no cut."""
        runs = (held.keys >> np.uint64(32)).astype(np.int64)
        found = []
        for run in np.unique(runs):
            score = held.score[runs == run]
            judged = score[np.isfinite(score)]
            flagged = int((judged > threshold).sum()) if np.isfinite(threshold) else None
            median = float(np.median(judged)) if len(judged) else float("nan")
            found.append(HeldRun(int(run), len(score), len(score) - len(judged), median, flagged))
        return replace(self, held_out=told, held=tuple(found))

    def to_dict(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        held = [{**vars(one), "median": one.median if np.isfinite(one.median) else None} for one in self.held]
        plain = {**vars(self), "runs": list(self.runs), "held": held}
        conditions = {name: list(pair) for name, pair in self.conditions.items()}
        return plain | {"entries": None if self.entries is None else list(self.entries), "conditions": conditions}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote, now or in an early version.

        Raises:
            KeyError, TypeError, ValueError: It is something else.
        """
        entries = found.get("entries")
        return cls(
            int(found["n"]),
            tuple(map(int, found["runs"])),
            str(found["held_out"]),
            dict(found.get("lumis", {})),
            None if entries is None else (float(entries[0]), float(entries[1])),
            int(found.get("empty", 0)),
            {str(name): (float(low), float(high)) for name, (low, high) in found.get("conditions", {}).items()},
            tuple(
                HeldRun(
                    int(one["run"]),
                    int(one["n"]),
                    int(one["not_judged"]),
                    float("nan") if one["median"] is None else float(one["median"]),
                    None if one["flagged"] is None else int(one["flagged"]),
                )
                for one in found.get("held", ())
            ),
        )


def _inside(me: MonitorElement) -> tuple[slice, ...]:
    return (slice(1, -1),) * len(me.axes)


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
