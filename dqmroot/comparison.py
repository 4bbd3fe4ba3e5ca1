"""A score table against what is known of its lumisections: per monitoring element, per kind of fault, and bin by bin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.combine import Combiner
from dqmroot.deployment import read_models
from dqmroot.errors import EmptySelectionError, UnknownNameError
from dqmroot.evaluate import (
    Calibration,
    Evaluation,
    calibration,
    evaluate_kinds,
    evaluate_scores,
    ls_to_detect,
    overlap,
    roc,
)
from dqmroot.io.formats import arrays, list_mes
from dqmroot.io.tables.scores import read_scores
from dqmroot.labels import Labels
from dqmroot.scores import ScoreTable

__all__ = ["Comparison", "calibrate", "compare_files", "onsets"]

_TRUTH = "truth/"


@dataclass(frozen=True, eq=False)
class Comparison:
    """All that a score of one monitoring element is worth.

    Args:
        figures: AUC with interval, false rates, confusion matrix, accuracy, mean scores.
        curve: Corners of the exact ROC curve: (threshold, share of good LS flagged, share of bad LS flagged).
        kinds: Kind of fault → its figures against all good LS; empty where labels name no kinds.
        ls_to_detect: Run → LS from the first bad one until one is flagged, 1 is at once, infinite is never; empty without cut.
        calibration: Whether the score, made a probability on the other half of the LS, means what it says; None with too few LS.
        overlap: Mean intersection over union of the bins found and the faulty ones, per kind; empty without truth.
    """

    figures: Evaluation
    curve: tuple[tuple[float, float, float], ...]
    kinds: Mapping[str, Evaluation] = field(default_factory=dict)
    ls_to_detect: Mapping[int, float] = field(default_factory=dict)
    calibration: Calibration | None = None
    overlap: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict; what is not known is null, and so is an LS to detect that never came."""
        known = self.calibration
        return {
            **self.figures.to_dict(),
            "roc": [[None if np.isinf(cut) else cut, false, found] for cut, false, found in self.curve],
            "kinds": {kind: one.to_dict() for kind, one in self.kinds.items()},
            "ls_to_detect": {str(run): None if np.isinf(n) else n for run, n in self.ls_to_detect.items()},
            "calibration": None if known is None else {key: getattr(known, key) for key in known.__dataclass_fields__},
            "overlap": dict(self.overlap),
        }


def compare_files(
    scores: str | Path,
    labels: str | Path,
    label_column: str = "good",
    *,
    kind_column: str | None = None,
    truth: str | Path | None = None,
    model: str | Path | None = None,
) -> dict[str, Comparison]:
    """Compare a score table with labels, per monitoring element and, with several, for the worst of each LS (``"worst"``).

    Args:
        scores: What ``dqmroot score`` wrote.
        labels: csv with run, lumi and a column of 1 (good) and 0 (bad).
        label_column: That column.
        kind_column: A column that names the kind of fault of each bad LS; optional.
        truth: What ``dqmroot inject`` wrote: which bins are faulty; with ``model``.
        model: The models, which say which bins are.

    Raises:
        EmptySelectionError: A class is missing.
        UnknownNameError: A column that is not there.
    """
    table = read_scores(scores)
    known = Labels.from_csv(labels, label_column)
    kinds = None if kind_column is None else known.kinds(labels, kind_column)
    places = {} if truth is None or model is None else _overlaps(truth, model, kinds)
    found = {}
    for name in table.mes:
        found[name] = _compare(table.of(name), known, kinds, places.get(name, {}))
    if len(found) > 1:
        run, lumi, worst = table.worst_per_ls()
        flag = np.where(np.isnan(worst), -1, worst > 1).astype(np.int8)
        whole = ScoreTable(run, lumi, np.full(len(run), "worst"), worst, np.ones(len(run)), flag)
        found["worst"] = _compare(whole, known, kinds, {})
    return found


def _compare(
    one: ScoreTable, known: Labels, kinds: Mapping[int, str] | None, places: Mapping[str, float]
) -> Comparison:
    label = known.look_up(one.run, one.lumi)
    good, bad = (one.score[(label == value) & ~np.isnan(one.score)] for value in (1, 0))
    figures = evaluate_scores(one.score, label, one.flag)
    by_kind = {}
    if kinds is not None:
        keys = (one.run.astype(np.uint64) << np.uint64(32)) | one.lumi
        texts = np.array([kinds.get(int(key), "bad") for key in keys])
        rows = label >= 0
        texts = np.where(label == 1, "good", texts)[rows]
        by_kind = evaluate_kinds(one.score[rows], texts, one.flag[rows])
    begin = onsets(one, label)
    later = ls_to_detect(one.flag, one.run, begin, one.lumi) if (one.flag >= 0).any() else {}
    return Comparison(figures, _corners(good, bad), by_kind, later, calibrate(one.score, label), places)


def onsets(table: ScoreTable, label: NDArray[np.int8]) -> dict[int, int]:
    """Return the first bad LS of each run that has one: run → lumi."""
    return {
        int(run): int(table.lumi[(table.run == run) & (label == 0)].min()) for run in np.unique(table.run[label == 0])
    }


def calibrate(score: NDArray[np.float64], label: NDArray[np.int8]) -> Calibration | None:
    """Make scores probabilities on one half of the LS, look at the other half what they mean, and the other way round.

    Returns:
        None where a half has fewer than two LS of a class.
    """
    half = np.zeros(len(score), np.bool_)
    for value in (0, 1):
        # Every second of each class, in time.
        half[np.flatnonzero((label == value) & ~np.isnan(score))[::2]] = True
    known = (label >= 0) & ~np.isnan(score)
    probability = np.full(len(score), np.nan)
    for learn in (half, ~half):
        mine = known & learn
        if min((label[mine] == 1).sum(), (label[mine] == 0).sum()) < 2:
            return None
        combiner = Combiner.train(("score",), score[None, mine], label[mine])
        other = known & ~learn
        probability[other] = combiner.probability(score[None, other])
    return calibration(probability, label)


def _corners(good: NDArray[np.float64], bad: NDArray[np.float64]) -> tuple[tuple[float, float, float], ...]:
    """Return the ROC curve without the points that lie on a straight line between their neighbours."""
    curve = roc(good, bad)
    steps = np.stack([np.diff(curve.false_rate), np.diff(curve.detection)])
    turns = np.abs(steps[0, :-1] * steps[1, 1:] - steps[0, 1:] * steps[1, :-1]) > 1e-15
    kept = np.concatenate([[True], turns, [True]])
    points = zip(curve.threshold[kept], curve.false_rate[kept], curve.detection[kept], strict=True)
    return tuple((float(cut), float(false), float(found)) for cut, false, found in points)


def _overlaps(truth: str | Path, model: str | Path, kinds: Mapping[int, str] | None) -> dict[str, dict[str, float]]:
    """Return ME → kind → mean overlap of the bins that a model finds with those that are faulty."""
    names = [info.name for info in list_mes([str(truth)], ["**"], errors=[])]
    out: dict[str, dict[str, float]] = {}
    for made in read_models(model):
        if made.bin_cut is None:
            continue
        if f"{_TRUTH}{made.me}" not in names:
            raise UnknownNameError("series", f"{_TRUTH}{made.me}", names, str(truth))
        both = arrays([str(truth)], [made.me, f"{_TRUTH}{made.me}"])
        faulty, marked = both.series(made.me), both.series(f"{_TRUTH}{made.me}")
        rows = marked.contents.reshape(len(marked), -1).any(axis=1)
        if not rows.any():
            raise EmptySelectionError(f"{truth}: no LS of {made.me} has a faulty bin")
        with np.errstate(invalid="ignore"):
            found = made.score_bins(faulty)[rows] > made.bin_cut
        share = np.nan_to_num(overlap(marked.values()[rows] > 0, found))
        texts = np.array(["all" if kinds is None else kinds.get(int(key), "bad") for key in faulty.keys[rows]])
        out[made.me] = {str(kind): float(share[texts == kind].mean()) for kind in np.unique(texts)}
    return out
