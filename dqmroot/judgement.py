"""What one model says of one monitoring element: a score and a flag for each lumisection, and what explains them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.conditions import detector_on
from dqmroot.errors import UsageError
from dqmroot.examples import Examples, WorstLS, collect_examples, reference_by_run
from dqmroot.model import Model
from dqmroot.selection import Selection
from dqmroot.series import Axis, MonitorElement

__all__ = ["BAD", "GOOD", "NOT_JUDGED", "MEResult", "judge", "result_from_dict", "result_to_dict"]

GOOD, BAD, NOT_JUDGED = 0, 1, -1

_BLOCK = 512  # LS whose loss maps are held at a time


@dataclass(frozen=True, eq=False)
class MEResult:
    """What one model said of one monitoring element, over all its LS.

    Args:
        me: Name of the monitoring element.
        storage: Its ROOT class.
        axes: Its own axes.
        run: ``(n,)`` uint32.
        lumi: ``(n,)`` uint32.
        score: ``(n,)`` float64; NaN is not judged.
        flag: ``(n,)`` int8: 1 bad, 0 good, -1 not judged.
        threshold: The cut; NaN where there is none.
        note: What to know about the cut; may be empty.
        expected_false_rate: Share of good LS expected to be flagged; NaN where there is no cut.
        mean_loss: Run → ``(…, y, x)`` mean badness per bin over the judged LS; empty where the detector cannot say where.
        bad_fraction: Run → ``(…, y, x)`` share of judged LS in which the bin lies above the bin cut; may be empty.
        worst: Run → its worst LS.
        reference: Run → ``(…, y, x)`` mean of its good LS, or of those of all runs where it has none; may be empty.
        examples: Bad LS and their neighbours with pictures; ``None`` where none is bad.
        bad_bins: ``(n,)`` int32, number of bins above the bin cut; -1 where the LS or its bins were not judged.
        off: ``(n,)`` bool, where the detector was off; such LS are not judged. Not kept in files, where the reasons tell it.
    """

    me: str
    storage: str
    axes: tuple[Axis, ...]
    run: NDArray[np.uint32]
    lumi: NDArray[np.uint32]
    score: NDArray[np.float64]
    flag: NDArray[np.int8]
    threshold: float
    note: str = ""
    expected_false_rate: float = float("nan")
    mean_loss: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)
    bad_fraction: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)
    worst: Mapping[int, WorstLS] = field(default_factory=dict)
    reference: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)
    examples: Examples | None = None
    bad_bins: NDArray[np.int32] | None = None
    off: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if self.off is None:
            object.__setattr__(self, "off", np.zeros(len(self.run), np.bool_))
        if self.bad_bins is None:
            object.__setattr__(self, "bad_bins", np.full(len(self.run), NOT_JUDGED, np.int32))

    @property
    def keys(self) -> NDArray[np.uint64]:
        """``(n,)`` uint64, ``run << 32 | lumi``."""
        return (self.run.astype(np.uint64) << np.uint64(32)) | self.lumi


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def result_to_dict(result: MEResult) -> dict[str, Any]:
    """Return what ``certification.json`` tells of one monitoring element; pictures are kept beside it."""
    return {
        "me": result.me,
        "storage": result.storage,
        "axes": [axis.to_dict() for axis in result.axes],
        "threshold": _number(result.threshold),
        "note": result.note,
        "expected_false_rate": _number(result.expected_false_rate),
        "judged": int((result.flag >= 0).sum()),
        "flagged": int((result.flag == BAD).sum()),
        "not_judged": int((result.flag < 0).sum()),
        "run": result.run.tolist(),
        "lumi": result.lumi.tolist(),
        "score": [_number(score) for score in result.score.tolist()],
        "flag": result.flag.tolist(),
    }


def result_from_dict(data: Mapping[str, Any]) -> MEResult:
    """Read what `result_to_dict` returned, without pictures.

    Raises:
        KeyError, TypeError, ValueError: It is something else.
    """
    return MEResult(
        me=str(data["me"]),
        storage=str(data["storage"]),
        axes=tuple(map(Axis.from_dict, data["axes"])),
        run=np.array(data["run"], np.uint32),
        lumi=np.array(data["lumi"], np.uint32),
        score=np.array([np.nan if x is None else x for x in data["score"]], np.float64),
        flag=np.array(data["flag"], np.int8),
        threshold=_or_nan(data["threshold"]),
        note=str(data["note"]),
        expected_false_rate=_or_nan(data["expected_false_rate"]),
    )


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def judge(me: MonitorElement, model: Model, on: Selection | None = None) -> MEResult:
    """Score and flag one series with its model, and keep what explains the verdict.

    Args:
        me: The series.
        model: Its model.
        on: The LS with the detector on; the conditions of the series tell it too, where it has DCS bits.

    Raises:
        UsageError: No working point, or an LS twice.
        ModelMismatchError: The model is of another ME or other bins.
    """
    point = model.working_point
    if point is None:
        raise UsageError(f"{model.me}: the model has no working point; call set_working_point first")
    me = me.sort()
    if len(np.unique(me.keys)) != len(me):
        raise UsageError(f"{me.name}: the same lumisection stands in the series twice")
    off = ~detector_on(me) if on is None else ~(detector_on(me) & on.contains(me.run, me.lumi))
    look = _look(me, model, off) if model.detector.localises else _Look(np.where(off, np.nan, model.score(me)))
    score = look.score
    flag = point.flag(score)
    worst = {}
    for run in np.unique(me.run).tolist():
        rows = np.flatnonzero((me.run == run) & np.isfinite(score))
        if len(rows):
            worst[run] = _worst(me, model, score, int(rows[np.argmax(score[rows])]), look.worst_loss.get(run))
    return MEResult(
        me=me.name,
        storage=me.storage,
        axes=me.axes,
        run=me.run,
        lumi=me.lumi,
        score=score,
        flag=flag,
        threshold=point.threshold,
        note=point.note,
        expected_false_rate=point.expected_false_rate,
        mean_loss=look.mean_loss,
        bad_fraction=look.bad_fraction,
        worst=worst,
        reference=reference_by_run(me, flag),
        examples=collect_examples(me, model, score, flag),
        bad_bins=look.bad_bins,
        off=off,
    )


@dataclass(frozen=True, eq=False)
class _Look:
    """What one pass over a series gives: scores and, where the detector can say where, sums of the badness of bins."""

    score: NDArray[np.float64]
    mean_loss: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)
    bad_fraction: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)
    bad_bins: NDArray[np.int32] | None = None
    worst_loss: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)


def _look(me: MonitorElement, model: Model, off: NDArray[np.bool_]) -> _Look:
    """Score a sorted series run by run; over the judged LS of each, mean the loss per bin and count where it is bad."""
    score, bad_bins = np.full(len(me), np.nan), np.full(len(me), NOT_JUDGED, np.int32)
    mean_loss, bad_fraction, worst_loss = {}, {}, {}
    cut = np.inf if model.bin_cut is None else model.bin_cut
    for run in np.unique(me.run).tolist():
        begin, end = np.searchsorted(me.run, [run, run + 1]).tolist()
        total, above, n, most = np.zeros(me.bins), np.zeros(me.bins), 0, -np.inf
        block = end - begin if model.spans_lumis else _BLOCK
        for start in range(begin, end, block):
            part = slice(start, min(end, start + block))
            score[part], loss = model.score_with_bins(me[part])
            score[part][off[part]] = np.nan
            judged = np.isfinite(score[part])
            if not judged.any():
                continue
            loss, found = (loss, score[part]) if judged.all() else (loss[judged], score[part][judged])
            if found.max() > most:
                most, worst_loss[run] = found.max(), loss[found.argmax()].copy()
            n += len(loss)
            total += loss.sum(axis=0)
            if model.bin_cut is not None:
                bad, rows = loss > cut, np.flatnonzero(judged) + start
                bad_bins[rows] = 0
                # Of most LS no bin is bad: only the others are counted.
                some = bad.reshape(len(bad), -1).any(axis=1)
                bad = bad[some]
                above += bad.sum(axis=0)
                bad_bins[rows[some]] = bad.sum(axis=tuple(range(1, bad.ndim)))
        if n:
            mean_loss[run] = total / n
            if model.bin_cut is not None:
                bad_fraction[run] = above / n
    return _Look(score, mean_loss, bad_fraction, bad_bins, worst_loss)


def _worst(
    me: MonitorElement, model: Model, score: NDArray[np.float64], at: int, loss: NDArray[np.float64] | None
) -> WorstLS:
    row = np.array([at])
    return WorstLS(
        lumi=int(me.lumi[at]),
        score=float(score[at]),
        original=me[row].values()[0],
        reconstruction=model.reconstruct_at(me, row)[0] if model.detector.reconstructs else None,
        loss=loss,
    )
