"""How well scores separate good from bad lumisections, exactly: no grid of thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqmroot.errors import EmptySelectionError, UsageError
from dqmroot.scientific import load_scipy

__all__ = [
    "Calibration",
    "Curve",
    "Evaluation",
    "auc",
    "auc_interval",
    "calibration",
    "confusion",
    "evaluate_kinds",
    "evaluate_scores",
    "false_discovery_rate",
    "false_rate_at",
    "ls_to_detect",
    "overlap",
    "rate_interval",
    "roc",
]


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
        auc_low: Lower end of the 95 % interval of the AUC.
        auc_high: Its upper end.
        prevalence: Share of bad LS among these.
        false_discovery_at_99: Share of good LS among the flagged ones, at that prevalence, where 99 % of the bad ones are.
        accuracy: Share of LS on the right side of their threshold; NaN without threshold.
        confusion: Numbers of LS, ((good kept, good flagged), (bad kept, bad flagged)).
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
    auc_low: float = float("nan")
    auc_high: float = float("nan")
    prevalence: float = float("nan")
    false_discovery_at_99: float = float("nan")
    accuracy: float = float("nan")
    confusion: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))

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

    Examples:
        >>> dq.evaluate_scores([0.1, 0.2, 0.9, 0.8], [1, 1, 0, 0]).auc
        1.0
    """
    s, label = np.asarray(score, np.float64), np.asarray(good)
    if s.shape != label.shape:
        raise UsageError(f"{s.shape} scores, but {label.shape} labels")
    scored = ~np.isnan(s)
    is_good, is_bad = scored & (label == 1), scored & (label == 0)
    area = auc(s[is_good], s[is_bad])
    n_good, n_bad = int(is_good.sum()), int(is_bad.sum())
    flags = np.full(s.shape, -1) if flag is None else np.asarray(flag)
    scored_label = np.where(is_good, 0, np.where(is_bad, 1, -1))
    (kept, wrong), (missed, right) = confusion(scored_label, flags).tolist()
    low, high = auc_interval(area, n_good, n_bad)
    prevalence, rate = n_bad / (n_good + n_bad), false_rate_at(s[is_good], s[is_bad])
    return Evaluation(
        auc_low=low,
        auc_high=high,
        prevalence=prevalence,
        false_discovery_at_99=false_discovery_rate(rate, 0.99, prevalence),
        accuracy=(kept + right) / total if (total := kept + wrong + missed + right) else float("nan"),
        confusion=((kept, wrong), (missed, right)),
        n_good=n_good,
        n_bad=n_bad,
        n_not_judged=int((~scored & (label >= 0)).sum()),
        auc=area,
        auc_error=_auc_error(area, n_good, n_bad),
        false_rate_at_99=rate,
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


@dataclass(frozen=True, eq=False)
class Curve:
    """The ROC curve at every distinct score.

    Args:
        threshold: ``(n,)`` falling; an LS is flagged at or above it.
        false_rate: ``(n,)`` share of good LS flagged.
        detection: ``(n,)`` share of bad LS flagged.
    """

    threshold: NDArray[np.float64]
    false_rate: NDArray[np.float64]
    detection: NDArray[np.float64]


def roc(good: ArrayLike, bad: ArrayLike) -> Curve:
    """Return the exact ROC curve, one point per distinct score, from (0, 0) to (1, 1).

    Raises:
        EmptySelectionError: A class is missing.
    """
    g, b = np.sort(np.asarray(good, np.float64)), np.sort(np.asarray(bad, np.float64))
    if len(g) == 0 or len(b) == 0:
        raise EmptySelectionError(f"a ROC curve needs both classes: there are {len(g)} good and {len(b)} bad LS")
    cuts = np.concatenate([[np.inf], np.unique(np.concatenate([g, b]))[::-1]])
    return Curve(
        cuts, 1 - np.searchsorted(g, cuts, side="left") / len(g), 1 - np.searchsorted(b, cuts, side="left") / len(b)
    )


def false_discovery_rate(false_rate: float, detection: float, prevalence: float) -> float:
    """Return the share of flagged LS that are good, where ``prevalence`` of all LS are bad; 0 where none is flagged."""
    if not 0 < prevalence < 1:
        raise UsageError(f"the prevalence must lie between 0 and 1, got {prevalence}")
    false, found = (1 - prevalence) * false_rate, prevalence * detection
    return false / (false + found) if false + found > 0 else 0.0


def rate_interval(count: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of Clopper and Pearson (Biometrika 26 (1934) 404) for a rate seen ``count`` times in ``n``."""
    load_scipy()
    from scipy.stats import beta

    if n < 1 or not 0 <= count <= n:
        raise UsageError(f"a rate needs at least one trial, and no more hits than trials: got {count} of {n}")
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else float(beta.ppf(tail, count, n - count + 1))
    high = 1.0 if count == n else float(beta.ppf(1 - tail, count + 1, n - count))
    return low, high


def auc_interval(area: float, n_good: int, n_bad: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return an interval for an AUC, symmetric in its logit, so that it stays within 0 and 1.

    An AUC of exactly 1 (or 0) gets the interval of one wrong pair of LS in as many as the smaller class has.
    """
    load_scipy()
    from scipy.stats import norm

    if area in {0.0, 1.0}:
        edge = 1 - rate_interval(0, min(n_good, n_bad), confidence)[1]
        return (edge, 1.0) if area == 1 else (0.0, 1 - edge)
    step = float(norm.ppf(0.5 + confidence / 2)) * _auc_error(area, n_good, n_bad) / (area * (1 - area))
    middle = np.log(area / (1 - area))
    return float(1 / (1 + np.exp(step - middle))), float(1 / (1 + np.exp(-step - middle)))


def confusion(truth: ArrayLike, found: ArrayLike, n_classes: int = 2) -> NDArray[np.int64]:
    """Count ``(truth, found)``, ``(n_classes, n_classes)``; negative entries (no label, not judged) are left out."""
    t, f = np.asarray(truth), np.asarray(found)
    if t.shape != f.shape:
        raise UsageError(f"{t.shape} true classes, but {f.shape} found ones")
    known = (t >= 0) & (f >= 0)
    if known.any() and max(t[known].max(), f[known].max()) >= n_classes:
        raise UsageError(f"there are classes beyond the {n_classes} counted")
    out = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(out, (t[known].astype(np.intp), f[known].astype(np.intp)), 1)
    return out


def overlap(truth: ArrayLike, found: ArrayLike) -> NDArray[np.float64]:
    """Return the intersection over union of bad bins per LS, ``(n_ls,)``; NaN where there are none in either.

    Args:
        truth: ``(n_ls, *bins)`` bool.
        found: The same shape.
    """
    t, f = np.asarray(truth, np.bool_), np.asarray(found, np.bool_)
    if t.shape != f.shape:
        raise UsageError(f"{t.shape} true bins, but {f.shape} found ones")
    axes = tuple(range(1, t.ndim))
    union = (t | f).sum(axis=axes)
    return np.asarray(np.divide((t & f).sum(axis=axes), union, out=np.full(len(t), np.nan), where=union > 0))


def ls_to_detect(flag: ArrayLike, run: ArrayLike, begin: Mapping[int, int], lumi: ArrayLike) -> dict[int, float]:
    """Return how many LS each fault lasts until it is flagged; 1 is at once, infinite is never.

    Args:
        flag: ``(n_ls,)``: 1 flagged.
        run: ``(n_ls,)``.
        begin: Run → first faulty LS.
        lumi: ``(n_ls,)``.
    """
    flags, runs, lumis = np.asarray(flag), np.asarray(run), np.asarray(lumi)
    out = {}
    for number, first in begin.items():
        seen = lumis[(runs == number) & (lumis >= first) & (flags == 1)].astype(np.int64)
        out[number] = float(seen.min() - first + 1) if len(seen) else float("inf")
    return out


@dataclass(frozen=True)
class Calibration:
    """Whether probabilities mean what they say.

    Args:
        predicted: Mean probability of each group.
        observed: Share of bad LS in it.
        n: LS in it.
        brier: Mean squared difference between probability and truth.
        error: Mean difference between predicted and observed, weighted by n (expected calibration error).
    """

    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    n: tuple[int, ...]
    brier: float
    error: float


def calibration(probability: ArrayLike, good: ArrayLike, groups: int = 10) -> Calibration:
    """Compare probabilities of being bad with labels, in groups of equal numbers of LS.

    Args:
        probability: ``(n,)``; NaN is left out.
        good: ``(n,)``: 1 good, 0 bad, -1 no label.
        groups: At most so many.

    Raises:
        EmptySelectionError: No labelled LS with a probability.
    """
    p, label = np.asarray(probability, np.float64), np.asarray(good)
    known = ~np.isnan(p) & (label >= 0)
    if not known.any():
        raise EmptySelectionError("no labelled LS with a probability")
    p, bad = p[known], (label[known] == 0).astype(np.float64)
    order = np.argsort(p, kind="stable")
    parts = [part for part in np.array_split(order, groups) if len(part)]
    predicted = [float(p[part].mean()) for part in parts]
    observed = [float(bad[part].mean()) for part in parts]
    sizes = [len(part) for part in parts]
    error = float(np.average(np.abs(np.subtract(predicted, observed)), weights=sizes))
    return Calibration(tuple(predicted), tuple(observed), tuple(sizes), float(np.square(p - bad).mean()), error)


def evaluate_kinds(score: ArrayLike, kind: ArrayLike, flag: ArrayLike | None = None) -> dict[str, Evaluation]:
    """Evaluate each kind of fault against all good LS.

    Args:
        score: ``(n,)``; NaN is not judged.
        kind: ``(n,)`` texts, such as ``"dead 5×5"``; ``""`` or ``"good"`` is good.
        flag: ``(n,)``: 1 flagged, 0 not, -1 no threshold; optional.
    """
    s, kinds = np.asarray(score, np.float64), np.asarray(kind).astype(str)
    flags = np.full(s.shape, -1) if flag is None else np.asarray(flag)
    is_good = np.isin(kinds, ["", "good"])
    out = {}
    for name in np.unique(kinds[~is_good]):
        rows = is_good | (kinds == name)
        out[str(name)] = evaluate_scores(s[rows], is_good[rows].astype(np.int64), flags[rows])
    return out
