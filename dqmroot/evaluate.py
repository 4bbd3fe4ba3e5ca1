"""How well scores separate good from bad lumisections, exactly: no grid of thresholds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqmroot.errors import EmptySelectionError, UsageError

__all__ = ["Evaluation", "auc", "evaluate_scores", "false_rate_at"]


@dataclass(frozen=True)
class Evaluation:
    """Figures of a score on labelled lumisections.

    Args:
        n_good: Good LS with a score.
        n_bad: Bad LS with a score.
        n_not_judged: Labelled LS without a score.
        auc: Probability that a bad LS scores above a good one, ties counted half.
        auc_error: Its standard error after Hanley and McNeil (Radiology 143 (1982) 29).
        false_rate_at_99: Share of good LS flagged where at least 99 % of the bad ones are.
        mean_good: Mean score of the good LS.
        mean_bad: Mean score of the bad LS.
        flagged_good: Share of good LS above their threshold; NaN without threshold.
        flagged_bad: Share of bad LS above their threshold; NaN without threshold.
    """

    n_good: int
    n_bad: int
    n_not_judged: int
    auc: float
    auc_error: float
    false_rate_at_99: float
    mean_good: float
    mean_bad: float
    flagged_good: float
    flagged_bad: float

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict; what is not known is null."""
        return {key: None if isinstance(v, float) and np.isnan(v) else v for key, v in asdict(self).items()}


def auc(good: ArrayLike, bad: ArrayLike) -> float:
    """Return the exact area under the ROC curve from ranks (the Mann-Whitney statistic), ties counted half.

    Raises:
        EmptySelectionError: A class is missing.
    """
    g, b = np.sort(np.asarray(good, np.float64)), np.asarray(bad, np.float64)
    if len(g) == 0 or len(b) == 0:
        raise EmptySelectionError(f"the AUC needs both classes: there are {len(g)} good and {len(b)} bad LS")
    below = np.searchsorted(g, b, side="left") + np.searchsorted(g, b, side="right")
    return float(below.sum() / (2 * len(g) * len(b)))


def false_rate_at(good: ArrayLike, bad: ArrayLike, detection: float = 0.99) -> float:
    """Return the share of good LS at or above the cut that at least ``detection`` of the bad LS reach.

    Raises:
        EmptySelectionError: A class is missing.
    """
    g, b = np.asarray(good, np.float64), np.sort(np.asarray(bad, np.float64))[::-1]
    if len(g) == 0 or len(b) == 0:
        raise EmptySelectionError(f"this rate needs both classes: there are {len(g)} good and {len(b)} bad LS")
    cut = b[min(len(b), int(np.ceil(detection * len(b)))) - 1]
    return float((g >= cut).mean())


def evaluate_scores(score: ArrayLike, good: ArrayLike, flag: ArrayLike | None = None) -> Evaluation:
    """Compare scores with labels.

    Args:
        score: ``(n,)``; NaN is not judged.
        good: ``(n,)``: 1 good, 0 bad, -1 no label (left out).
        flag: ``(n,)``: 1 flagged, 0 not, -1 no threshold; optional.

    Raises:
        EmptySelectionError: A class is missing among the scored LS.
    """
    s, label = np.asarray(score, np.float64), np.asarray(good)
    if s.shape != label.shape:
        raise UsageError(f"{s.shape} scores, but {label.shape} labels")
    scored = ~np.isnan(s)
    is_good, is_bad = scored & (label == 1), scored & (label == 0)
    area = auc(s[is_good], s[is_bad])
    n_good, n_bad = int(is_good.sum()), int(is_bad.sum())
    flags = np.full(s.shape, -1) if flag is None else np.asarray(flag)
    return Evaluation(
        n_good=n_good,
        n_bad=n_bad,
        n_not_judged=int((~scored & (label >= 0)).sum()),
        auc=area,
        auc_error=_auc_error(area, n_good, n_bad),
        false_rate_at_99=false_rate_at(s[is_good], s[is_bad]),
        mean_good=float(s[is_good].mean()),
        mean_bad=float(s[is_bad].mean()),
        flagged_good=_share(flags[is_good]),
        flagged_bad=_share(flags[is_bad]),
    )


def _auc_error(area: float, n_good: int, n_bad: int) -> float:
    one, two = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (n_bad - 1) * (one - area**2) + (n_good - 1) * (two - area**2)
    return float(np.sqrt(max(variance, 0.0) / (n_good * n_bad)))


def _share(flags: NDArray[Any]) -> float:
    known = flags[flags >= 0]
    return float((known == 1).mean()) if len(known) else float("nan")
