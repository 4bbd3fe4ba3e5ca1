"""Working points: where to cut a score, found on good lumisections that were not trained on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqmroot.errors import EmptySelectionError, UnknownNameError, UsageError

__all__ = ["NO_SPREAD", "WorkingPoint", "find_working_point", "need_bad", "needs_bad", "parse_working_point"]

NO_SPREAD = "no spread: nothing can be flagged from this sample"

# Scores of float32 networks repeat to about 1e-7 of their size from batch to batch: less than this is no spread.
_RELATIVE_SPREAD = 1e-6

_DEFAULTS = {
    "mean_sigma": 3.0,
    "median_mad": 3.0,
    "trimmed_sigma": 3.0,
    "quantile": 0.99,
    "false_rate": 1e-2,
    "detection_rate": 0.99,
    "f1": 0.01,
}
_SIGMAS = {"mean_sigma", "median_mad", "trimmed_sigma"}
_NEED_BAD = {"detection_rate", "f1"}

_TRIMMED = 0.005  # share of the largest scores that trimmed_sigma does without
_MAD = 1.4826  # the standard deviation of a normal law in units of its median absolute deviation


@dataclass(frozen=True)
class WorkingPoint:
    """A cut on a score, and how it was found; an LS is flagged when its score is above the threshold.

    Args:
        method: As `find_working_point` names them.
        value: The method's number: n of mean + nσ, the quantile, the rate, the share of bad LS.
        threshold: The cut; NaN where no cut can be made.
        n: Good LS it was found on.
        mean: Their mean score.
        std: Their standard deviation.
        expected_false_rate: Share of good LS expected above the cut (the observed share, at least 1/(n+1)).
        note: Why there is no cut, or what to know about it; may be empty.
        source: Which LS these were.
        n_bad: Bad LS it was found with.
        expected_detection: Share of them above the cut; None where there were none.

    Examples:
        >>> model.working_point.method, model.working_point.usable
        ('mean_sigma', True)
    """

    method: str
    value: float
    threshold: float
    n: int
    mean: float
    std: float
    expected_false_rate: float
    note: str = ""
    source: str = ""
    n_bad: int = 0
    expected_detection: float | None = None

    @property
    def usable(self) -> bool:
        """Whether anything can be flagged with it."""
        return bool(np.isfinite(self.threshold))

    def flag(self, scores: ArrayLike) -> NDArray[np.int8]:
        """Return 1 where the score is above the cut, 0 where not, -1 where the score is NaN or there is no cut."""
        values = np.asarray(scores, np.float64)
        if not self.usable:
            return np.full(values.shape, -1, np.int8)
        return np.where(np.isnan(values), np.int8(-1), (values > self.threshold).astype(np.int8))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description; a missing cut is null."""
        return {key: None if isinstance(v, float) and not np.isfinite(v) else v for key, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> WorkingPoint:
        """Read what `to_dict` wrote."""
        unknown = {"expected_detection": None}
        values: dict[str, Any] = {key: unknown.get(key, float("nan")) if v is None else v for key, v in data.items()}
        return cls(**values)


def find_working_point(
    method: str, value: float | None, scores: ArrayLike, *, bad: ArrayLike | None = None, source: str = ""
) -> WorkingPoint:
    """Find the cut on the scores of LS that were not trained on.

    ``mean_sigma``: mean + value·σ of the good ones. ``median_mad``: the same from median and median absolute deviation, which a few
    bad LS among the good ones do not move. ``trimmed_sigma``: mean + value·σ without the largest 0.5 %. ``quantile``: that
    quantile. ``false_rate``: the smallest cut that at most this share of the sample exceeds, or its largest score (and a note)
    where the sample is too small to show so small a share. ``detection_rate``: the largest cut that at least this share of the bad
    LS exceed. ``f1``: the cut with the best harmonic mean of purity and detection, where ``value`` of all LS are bad.

    Args:
        method: One of these.
        value: Its number; its usual one where None.
        scores: ``(n,)`` of good LS; NaN are left out.
        bad: ``(m,)`` of bad LS, for the methods that need them; to the others they tell the detection to expect.
        source: Which LS these are.

    Raises:
        UnknownNameError: No such method.
        UsageError: An impossible value, or no bad LS for a method that needs them.
        EmptySelectionError: No LS with a score.
    """
    if method not in _DEFAULTS:
        raise UnknownNameError("working point", method, _DEFAULTS)
    number = _DEFAULTS[method] if value is None else float(value)
    if method in _SIGMAS and not number >= 0:
        raise UsageError(f"working point {method}={number}: the number of σ must not be negative")
    if method not in _SIGMAS and not 0 < number < 1 and not (method == "detection_rate" and number == 1):
        raise UsageError(f"working point {method}={number}: must lie between 0 and 1")
    need_bad(method, bad is not None)
    array = np.asarray(scores, np.float64)
    array = np.sort(array[np.isfinite(array)])
    if len(array) == 0:
        raise EmptySelectionError(f"working point {method}: no good LS with a score to find it on")
    n, mean, std = len(array), float(array.mean()), float(array.std())
    note = ""
    spread = array[-1] - array[0]
    if method not in _NEED_BAD and spread <= _RELATIVE_SPREAD * max(abs(array[0]), abs(array[-1])):
        threshold, note = float("nan"), NO_SPREAD
    elif method in _NEED_BAD:
        threshold = _with_bad(method, number, array, bad)
    elif method == "false_rate":
        # The product is rounded: the most of which the share, rounded as it is told, is not above the number.
        allowed = next(k for k in range(int(number * n) + 1, -1, -1) if k == 0 or k / n <= number)
        threshold = float(array[n - 1 - allowed])
        if allowed == 0:
            note = f"{n} good LS cannot show a false rate of {number:g}: the cut is their largest score"
    else:
        threshold = _from_spread(method, number, array)
    above = int((array > threshold).sum())
    rate = float("nan") if np.isnan(threshold) else max(above, 1) / (n if above else n + 1)
    found = np.asarray([] if bad is None else bad, np.float64)
    found = found[~np.isnan(found)]
    detected = float((found > threshold).mean()) if len(found) and not np.isnan(threshold) else None
    return WorkingPoint(method, number, threshold, n, mean, std, rate, note, source, len(found), detected)


def needs_bad(method: str) -> bool:
    """Return whether a method needs bad LS beside the good ones."""
    return method in _NEED_BAD


def need_bad(method: str, known: bool) -> None:
    """Check that there are bad LS where a method needs them.

    Raises:
        UsageError: There are none.
    """
    if needs_bad(method) and not known:
        raise UsageError(
            f"working point {method}: needs bad LS too, labelled or injected; without them use false_rate or mean_sigma"
        )


def _from_spread(method: str, number: float, good: NDArray[np.float64]) -> float:
    if method == "quantile":
        return float(np.quantile(good, number))
    if method == "median_mad":
        middle = float(np.median(good))
        return middle + number * _MAD * float(np.median(np.abs(good - middle)))
    if method == "trimmed_sigma":
        good = good[: max(1, len(good) - int(np.ceil(_TRIMMED * len(good))))]
    return float(good.mean() + number * good.std())


def _with_bad(method: str, number: float, good: NDArray[np.float64], bad: ArrayLike | None) -> float:
    scores = np.asarray(bad, np.float64)
    scores = np.sort(scores[~np.isnan(scores)])
    if len(scores) == 0:
        raise EmptySelectionError(f"working point {method}: no bad LS with a score to find it on")
    # A cut lies just below a bad score: an LS is flagged when its score is above the cut.
    cuts = np.nextafter(scores, -np.inf)
    if method == "detection_rate":
        return float(cuts[len(scores) - int(np.ceil(number * len(scores)))])
    detected = 1 - np.searchsorted(scores, cuts, side="right") / len(scores)
    false = 1 - np.searchsorted(good, cuts, side="right") / len(good)
    found = number * detected
    f1 = 2 * found / (found + (1 - number) * false + number)
    return float(cuts[int(np.argmax(f1))])


def parse_working_point(text: str) -> tuple[str, float | None]:
    """Read ``"false_rate=1e-3"``, ``"mean_sigma=3"``, ``"quantile=0.99"`` or a bare method name.

    Raises:
        UnknownNameError: No such method.
        UsageError: Not of that form.
    """
    match = re.fullmatch(r"\s*([a-z_][a-z_0-9]*)\s*(?:=\s*([^=\s]+)\s*)?", text)
    if match is None:
        raise UsageError(f"working point {text!r}: expected method=number, such as false_rate=1e-3")
    method, number = match.groups()
    if method not in _DEFAULTS:
        raise UnknownNameError("working point", method, _DEFAULTS)
    try:
        return method, None if number is None else float(number)
    except ValueError:
        raise UsageError(f"working point {text!r}: {number!r} is not a number") from None
