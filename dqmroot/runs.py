"""Sets of lumisections: golden and DCS-only JSON, run and LS ranges."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqmroot.errors import InputError, UsageError

__all__ = ["RunMask", "read_reference_runs", "reference_runs_json"]

_LAST = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


@dataclass(frozen=True, eq=False)
class RunMask:
    """A set of (run, LS), kept as sorted, disjoint, inclusive ranges of ``run << 32 | lumi``.

    A whole run is the range LS 0 to 2³²-1; on disk ``[[-1]]``.

    Args:
        first: ``(n,)`` uint64, first member of each range.
        last: ``(n,)`` uint64, last member of each range.

    Examples:
        >>> mask = dq.RunMask.from_ranges({355100: [(1, 10), (20, 30)]})
        >>> mask.contains([355100, 355100], [5, 15]).tolist()
        [True, False]
    """

    first: NDArray[np.uint64]
    last: NDArray[np.uint64]

    @classmethod
    def from_ranges(cls, ranges: Mapping[int, Iterable[Sequence[int]]]) -> RunMask:
        """Make a mask from ``{run: [[first, last], …]}``; ranges may overlap and stand in any order.

        Raises:
            UsageError: A range is not ``[first, last]`` with 0 ≤ first ≤ last, nor ``[-1]``.
        """
        first, last = [], []
        for run, pairs in ranges.items():
            base = int(run) << 32
            for pair in pairs:
                if list(pair) == [-1]:
                    low, high = 0, int(_LAST)
                elif len(pair) == 2 and 0 <= int(pair[0]) <= int(pair[1]) <= int(_LAST):
                    low, high = int(pair[0]), int(pair[1])
                else:
                    raise UsageError(f"run {run}: {pair!r} is not an LS range [first, last] nor [-1]")
                first.append(base | low)
                last.append(base | high)
        return _merged(np.array(first, np.uint64), np.array(last, np.uint64))

    @classmethod
    def from_json(cls, path: str | Path) -> RunMask:
        """Read a golden or DCS-only JSON file, ``{"297050": [[12, 137], [193, 776]], …}``.

        Raises:
            InputError: The file is missing or not of that form.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(path, error.strerror or str(error)) from error
        except ValueError as error:
            raise InputError(path, f"not a JSON file: {error}") from error
        if not isinstance(data, dict):
            raise InputError(path, "not a run list: expected {run: [[first, last], …]}")
        try:
            return cls.from_ranges({int(run): pairs for run, pairs in data.items()})
        except (UsageError, ValueError, TypeError, OverflowError) as error:
            raise InputError(path, f"not a run list: {error}") from error

    @classmethod
    def from_lumis(cls, run: ArrayLike, lumi: ArrayLike) -> RunMask:
        """Make the smallest mask that holds each (run, lumi)."""
        keys = np.unique(_keys(run, lumi))
        return _merged(keys, keys)

    def contains(self, run: ArrayLike, lumi: ArrayLike) -> NDArray[np.bool_]:
        """Tell for each (run, lumi) whether it is in the set; ``(n,)`` bool."""
        keys = _keys(run, lumi)
        if len(self.first) == 0:
            return np.zeros(keys.shape, np.bool_)
        at = np.searchsorted(self.first, keys, side="right").astype(np.int64) - 1
        return (at >= 0) & (keys <= self.last[np.maximum(at, 0)])

    def __or__(self, other: RunMask) -> RunMask:
        return _merged(np.concatenate([self.first, other.first]), np.concatenate([self.last, other.last]))

    def __and__(self, other: RunMask) -> RunMask:
        first, last = [], []
        i = j = 0
        while i < len(self.first) and j < len(other.first):
            low, high = max(self.first[i], other.first[j]), min(self.last[i], other.last[j])
            if low <= high:
                first.append(low)
                last.append(high)
            if self.last[i] < other.last[j]:
                i += 1
            else:
                j += 1
        return RunMask(np.array(first, np.uint64), np.array(last, np.uint64))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RunMask):
            return NotImplemented
        return np.array_equal(self.first, other.first) and np.array_equal(self.last, other.last)

    def __hash__(self) -> int:
        return hash((self.first.tobytes(), self.last.tobytes()))

    def __bool__(self) -> bool:
        return len(self.first) > 0

    @property
    def runs(self) -> NDArray[np.uint32]:
        """The runs that have at least one LS in the set, sorted."""
        return np.unique(self.first >> _SHIFT).astype(np.uint32)

    def to_ranges(self) -> dict[int, list[list[int]]]:
        """Return ``{run: [[first, last], …]}``, sorted; a whole run is ``[[-1]]``."""
        out: dict[int, list[list[int]]] = {}
        for low, high in zip(self.first.tolist(), self.last.tolist(), strict=True):
            a, b = low & int(_LAST), high & int(_LAST)
            out.setdefault(low >> 32, []).append([-1] if (a, b) == (0, int(_LAST)) else [a, b])
        return out

    def to_json(self) -> str:
        """Return the text of a golden JSON file: run → LS ranges and nothing else."""
        ranges: dict[str, Any] = {str(run): pairs for run, pairs in self.to_ranges().items()}
        return json.dumps(ranges, separators=(", ", ": ")) + "\n"


def read_reference_runs(path: str | Path) -> dict[int, int]:
    """Read a list of reference runs, ``[{"run_number": 5, "reference_run_number": 3}, …]``.

    Returns:
        The reference run of each run, in the order of the file.

    Raises:
        InputError: The file is missing, not of that form, or gives one run two references.

    Examples:
        >>> from pathlib import Path
        >>> _ = Path("reference.json").write_text('[{"run_number": 355105, "reference_run_number": 355100}]')
        >>> dq.read_reference_runs("reference.json")
        {355105: 355100}
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        pairs = [(int(row["run_number"]), int(row["reference_run_number"])) for row in data]
    except OSError as error:
        raise InputError(path, error.strerror or str(error)) from error
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        what = 'not a list of reference runs, [{"run_number": 5, "reference_run_number": 3}, …]: '
        raise InputError(path, f"{what}{type(error).__name__} {error}") from error
    out: dict[int, int] = {}
    for run, reference in pairs:
        if out.setdefault(run, reference) != reference:
            raise InputError(path, f"run {run} has two reference runs, {out[run]} and {reference}")
    return out


def reference_runs_json(references: Mapping[int, int]) -> str:
    """Return the text of a file that `read_reference_runs` reads."""
    rows = [{"run_number": int(run), "reference_run_number": int(other)} for run, other in references.items()]
    return json.dumps(rows, indent=1) + "\n"


def _keys(run: ArrayLike, lumi: ArrayLike) -> NDArray[np.uint64]:
    return (np.asarray(run, np.uint64) << _SHIFT) | np.asarray(lumi, np.uint64)


def _merged(first: NDArray[np.uint64], last: NDArray[np.uint64]) -> RunMask:
    """Sort ranges and join those that overlap or touch within one run."""
    if len(first) == 0:
        return RunMask(first, last)
    order = np.argsort(first, kind="stable")
    first, last = first[order], np.maximum.accumulate(last[order])
    # A range starts anew where its first member lies beyond the end of all before it.
    apart = first[1:] > last[:-1] + np.uint64(1)
    new_run = (first[1:] >> _SHIFT) != (last[:-1] >> _SHIFT)
    starts = np.concatenate([[True], apart | new_run])
    ends = np.concatenate([starts[1:], [True]])
    return RunMask(first[starts], last[ends])
