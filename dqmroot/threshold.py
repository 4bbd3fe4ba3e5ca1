"""Working points: where to cut a score, found on good lumisections that were not trained on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqmroot.errors import EmptySelectionError, UnknownNameError, UsageError

__all__ = ["NO_SPREAD", "WorkingPoint", "find_working_point", "parse_working_point"]

NO_SPREAD = "no spread: nothing can be flagged from this sample"

# Scores of float32 networks repeat to about 1e-7 of their size from batch to batch: less than this is no spread.
_RELATIVE_SPREAD = 1e-6

_DEFAULTS = {"mean_sigma": 3.0, "quantile": 0.99, "false_rate": 1e-2}


@dataclass(frozen=True)
class WorkingPoint:
    """A cut on a score, and how it was found; an LS is flagged when its score is above the threshold.

    Args:
        method: ``"mean_sigma"``, ``"quantile"`` or ``"false_rate"``.
        value: The method's number: n of mean + nσ, the quantile, the rate.
        threshold: The cut; NaN where no cut can be made.
        n: Good LS it was found on.
        mean: Their mean score.
        std: Their standard deviation.
        expected_false_rate: Share of good LS expected above the cut (the observed share, at least 1/(n+1)).
        note: Why there is no cut, or what to know about it; may be empty.
        source: Which LS these were.
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
        values: dict[str, Any] = {key: float("nan") if v is None else v for key, v in data.items()}
        return cls(**values)


def find_working_point(method: str, value: float | None, scores: ArrayLike, *, source: str = "") -> WorkingPoint:
    """Find the cut on the scores of good LS that were not trained on.

    ``mean_sigma``: mean + value·σ. ``quantile``: that quantile. ``false_rate``: the smallest cut that at most this share of the
    sample exceeds, or its largest score (and a note) where the sample is too small to show so small a share.

    Raises:
        UnknownNameError: No such method.
        UsageError: An impossible value.
        EmptySelectionError: No LS with a score.
    """
    if method not in _DEFAULTS:
        raise UnknownNameError("working point", method, _DEFAULTS)
    number = _DEFAULTS[method] if value is None else float(value)
    if method == "mean_sigma" and not number >= 0:
        raise UsageError(f"working point mean_sigma={number}: the number of σ must not be negative")
    if method in {"quantile", "false_rate"} and not 0 < number < 1:
        raise UsageError(f"working point {method}={number}: must lie between 0 and 1")
    array = np.asarray(scores, np.float64)
    array = np.sort(array[np.isfinite(array)])
    if len(array) == 0:
        raise EmptySelectionError(f"working point {method}: no good LS with a score to find it on")
    n, mean, std = len(array), float(array.mean()), float(array.std())
    note = ""
    if array[-1] - array[0] <= _RELATIVE_SPREAD * max(abs(array[0]), abs(array[-1])):
        threshold, note = float("nan"), NO_SPREAD
    elif method == "mean_sigma":
        threshold = mean + number * std
    elif method == "quantile":
        threshold = float(np.quantile(array, number))
    else:
        allowed = int(number * n)
        threshold = float(array[n - 1 - allowed])
        if allowed == 0:
            note = f"{n} good LS cannot show a false rate of {number:g}: the cut is their largest score"
    above = int((array > threshold).sum())
    rate = float("nan") if np.isnan(threshold) else max(above, 1) / (n if above else n + 1)
    return WorkingPoint(method, number, threshold, n, mean, std, rate, note, source)


def parse_working_point(text: str) -> tuple[str, float | None]:
    """Read ``"false_rate=1e-3"``, ``"mean_sigma=3"``, ``"quantile=0.99"`` or a bare method name.

    Raises:
        UnknownNameError: No such method.
        UsageError: Not of that form.
    """
    match = re.fullmatch(r"\s*([a-z_]+)\s*(?:=\s*([^=\s]+)\s*)?", text)
    if match is None:
        raise UsageError(f"working point {text!r}: expected method=number, such as false_rate=1e-3")
    method, number = match.groups()
    if method not in _DEFAULTS:
        raise UnknownNameError("working point", method, _DEFAULTS)
    try:
        return method, None if number is None else float(number)
    except ValueError:
        raise UsageError(f"working point {text!r}: {number!r} is not a number") from None
