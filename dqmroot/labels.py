"""What people said of lumisections: a table with run, lumi and a column of 1 (good) and 0 (bad)."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqmroot.errors import InputError, UnknownNameError

__all__ = ["Labels"]


@dataclass(frozen=True, eq=False)
class Labels:
    """One label per (run, lumi).

    Args:
        run: ``(n,)`` uint32.
        lumi: ``(n,)`` uint32.
        good: ``(n,)`` bool.
    """

    run: NDArray[np.uint32]
    lumi: NDArray[np.uint32]
    good: NDArray[np.bool_]

    @classmethod
    def from_csv(cls, path: str | Path, column: str = "good") -> Labels:
        """Read a csv file with a header that names ``run``, ``lumi`` and ``column``.

        Raises:
            InputError: Missing, empty, or a value that is not a number, 0 or 1.
            UnknownNameError: A column is not there.
        """
        try:
            with Path(path).open(encoding="utf-8", newline="") as file:
                rows = list(csv.reader(file))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(path, getattr(error, "strerror", None) or str(error)) from error
        if not rows:
            raise InputError(path, "is empty")
        header = [name.strip() for name in rows[0]]
        for name in ("run", "lumi", column):
            if name not in header:
                raise UnknownNameError("column", name, header, str(path))
        at = [header.index(name) for name in ("run", "lumi", column)]
        try:
            table = np.array([[int(row[i]) for i in at] for row in rows[1:] if row], np.int64).reshape(-1, 3)
        except (ValueError, IndexError) as error:
            raise InputError(path, f"is not a table of numbers: {error}") from error
        if not np.isin(table[:, 2], (0, 1)).all():
            raise InputError(path, f"column {column} must hold 1 (good) and 0 (bad) only")
        return cls(table[:, 0].astype(np.uint32), table[:, 1].astype(np.uint32), table[:, 2] == 1)

    @staticmethod
    def kinds(path: str | Path, column: str) -> dict[int, str]:
        """Read the column of the same file that names the kind of fault: run << 32 | lumi → kind, where it is not empty.

        Raises:
            UnknownNameError: The column is not there.
        """
        with Path(path).open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, skipinitialspace=True)
            header = [name.strip() for name in rows.fieldnames or ()]
            if column not in header:
                raise UnknownNameError("column", column, header, str(path))
            rows.fieldnames = header
            return {(int(row["run"]) << 32) | int(row["lumi"]): row[column] for row in rows if row[column]}

    def look_up(self, run: ArrayLike, lumi: ArrayLike) -> NDArray[np.int8]:
        """Return for each (run, lumi) 1 good, 0 bad, -1 where there is no label."""
        shift = np.uint64(32)
        known = (self.run.astype(np.uint64) << shift) | self.lumi
        order = np.argsort(known, kind="stable")
        asked = (np.asarray(run, np.uint64) << shift) | np.asarray(lumi, np.uint64)
        if len(known) == 0:
            return np.full(asked.shape, -1, np.int8)
        at = np.minimum(np.searchsorted(known[order], asked), len(known) - 1)
        found = known[order][at] == asked
        return np.where(found, self.good[order][at].astype(np.int8), np.int8(-1))
