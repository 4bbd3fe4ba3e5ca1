"""The dialects of per-LS tables: what each calls its columns, and how its 2-D lists lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dqmroot.errors import InputError
from dqmroot.io.tables.rows import TableRows

__all__ = ["COLUMNS", "DIALS", "column_names", "rows_of"]

_DEFAULTS = {"metype": -1.0, "Ybins": 0.0, "Ymin": 0.0, "Ymax": 1.0}

COLUMNS = {
    "fromrun": "fromrun",
    "fromlumi": "fromlumi",
    "hname": "hname",
    "metype": "metype",
    "histo": "histo",
    "entries": "entries",
    "Xbins": "Xbins",
    "Xmin": "Xmin",
    "Xmax": "Xmax",
    "Ybins": "Ybins",
    "Ymin": "Ymin",
    "Ymax": "Ymax",
}
"""Column of the legacy tables → name used here."""

DIALS = {
    "run_number": "fromrun",
    "ls_number": "fromlumi",
    "me": "hname",
    "data": "histo",
    "entries": "entries",
    "x_bin": "Xbins",
    "x_min": "Xmin",
    "x_max": "Xmax",
    "y_bin": "Ybins",
    "y_min": "Ymin",
    "y_max": "Ymax",
}
"""Column of DIALS tables → name used here."""


def column_names(path: object, header: Sequence[str]) -> tuple[list[str], dict[str, str], str]:
    """Name the columns of a table: (unique names, wanted column → name used here, order of 2-D lists without flow).

    Of a column that stands twice the first counts, as pandas has it.

    Raises:
        InputError: It is no table of histograms.
    """
    seen: dict[str, int] = {}
    unique = []
    for name in header:
        seen[name] = seen.get(name, -1) + 1
        unique.append(f"{name}.{seen[name]}" if seen[name] else name or "Unnamed: 0")
    dials = "ls_number" in unique and "data" in unique
    table = DIALS if dials else COLUMNS
    wanted = {name: table[name] for name in unique if name in table}
    missing = [
        name for name, ours in table.items() if name not in wanted and ours not in {"metype", "Ybins", "Ymin", "Ymax"}
    ]
    if missing:
        raise InputError(path, f"not a ROOT file, and not a table of histograms: no column {', '.join(missing)}")
    if dials:
        return unique, wanted, "yx"
    # Tables converted from flat ROOT files are told by the order of these two columns.
    return unique, wanted, "xy" if unique.index("Xmin") < unique.index("Xmax") else ""


def rows_of(
    path: object,
    table: pa.Table,
    code: NDArray[np.int32],
    names: list[str],
    lists: tuple[NDArray[np.generic], NDArray[np.int64]],
    order: str,
) -> TableRows:
    """Put the columns of a table, renamed as `column_names` says, into the one schema.

    Args:
        path: The file, for messages.
        table: ``n`` rows.
        code: ``(n,)`` index into ``names``.
        names: Names of monitoring elements.
        lists: All histograms one after the other, and where each ends.
        order: How 2-D histograms without flow bins lie.

    Raises:
        InputError: A run, LS or number of bins is missing or not a whole number.
    """

    def column(name: str) -> NDArray[np.float64]:
        if name not in table.column_names:
            return np.full(len(table), _DEFAULTS[name])
        numbers = table[name].cast(pa.float64()).to_numpy()
        return np.where(np.isnan(numbers), _DEFAULTS[name], numbers) if name in _DEFAULTS else numbers

    whole = {name: column(name) for name in ("fromrun", "fromlumi", "metype", "Xbins", "Ybins")}
    for name, numbers in whole.items():
        wrong = ~((numbers >= (-1 if name == "metype" else 0)) & (numbers < 2**32) & (numbers % 1 == 0))
        if wrong.any():
            raise InputError(path, f"column {name}: {numbers[wrong][0]} is no whole number")
    axes = [whole["Xbins"], column("Xmin"), column("Xmax"), whole["Ybins"], column("Ymin"), column("Ymax")]
    return TableRows(
        whole["fromrun"].astype(np.uint32),
        whole["fromlumi"].astype(np.uint32),
        code,
        names,
        whole["metype"].astype(np.int64),
        column("entries"),
        np.stack(axes, axis=1),
        *lists,
        order,
    )
