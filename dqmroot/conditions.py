"""What the machine and the detector did in each LS: pile-up, luminosity, prescale, DCS bits, joined to a series.

Quantities keep the names of their source; run and LS are found under the names that OMS, brilcalc, DIALS and the per-LS
tables give them. The file may be csv, parquet, or JSON as OMS answers it.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqmroot.errors import InputError, UnknownNameError
from dqmroot.series import MonitorElement

__all__ = ["DCS_BITS", "Conditions", "detector_on", "read_conditions"]

Array = NDArray[Any]

_RUN = ("run", "run_number", "fromrun", "run:fill")
_LUMI = ("lumi", "ls", "lumisection", "lumisection_number", "ls_number", "fromlumi")

DCS_BITS: dict[str, tuple[str, ...]] = {
    "PixelPhase1": ("bpix_ready", "fpix_ready"),
    "SiStrip": ("tibtid_ready", "tob_ready", "tecp_ready", "tecm_ready"),
    "Tracking": ("bpix_ready", "fpix_ready", "tibtid_ready", "tob_ready", "tecp_ready", "tecm_ready"),
    "OfflinePV": ("bpix_ready", "fpix_ready", "tibtid_ready", "tob_ready", "tecp_ready", "tecm_ready"),
    "EcalBarrel": ("ebp_ready", "ebm_ready"),
    "EcalEndcap": ("eep_ready", "eem_ready"),
    "EcalPreshower": ("esp_ready", "esm_ready"),
    "Ecal": ("ebp_ready", "ebm_ready", "eep_ready", "eem_ready"),
    "Hcal": ("hbhea_ready", "hbheb_ready", "hbhec_ready", "hf_ready", "ho_ready"),
    "DT": ("dtp_ready", "dtm_ready", "dt0_ready"),
    "CSC": ("cscp_ready", "cscm_ready"),
    "RPC": ("rpc_ready",),
    "GEM": ("gemp_ready", "gemm_ready"),
}
"""The DCS bits, as OMS names them, of the detectors that fill the elements of each subsystem (first part of the name)."""


@dataclass(frozen=True)
class Conditions:
    """Quantities per (run, LS).

    Args:
        run: ``(n,)`` uint32; with ``lumi`` sorted, each pair once.
        lumi: ``(n,)`` uint32.
        columns: By name ``(n,)``: float64 (NaN where not known), int8 for what is true or false (1, 0, -1 where not
            known), or text ("" where not known).

    Examples:
        >>> pileup = np.array([30.0, 31.0])
        >>> list(dq.Conditions(np.array([1, 1]), np.array([1, 2]), {"pileup": pileup}).columns)
        ['pileup']
    """

    run: NDArray[np.uint32]
    lumi: NDArray[np.uint32]
    columns: Mapping[str, Array]

    def join(self, me: MonitorElement, names: Iterable[str] | None = None) -> MonitorElement:
        """Return ``me`` with the quantities of each of its LS in ``me.conditions``; "not known" where there are none.

        Args:
            me: The series.
            names: Which quantities; all by default.

        Raises:
            UnknownNameError: There is no such quantity.
        """
        return me.replace(conditions={**me.conditions, **self.look_up(me.run, me.lumi, names)})

    def look_up(self, run: ArrayLike, lumi: ArrayLike, names: Iterable[str] | None = None) -> dict[str, Array]:
        """Return the quantities of each (run, LS), by name ``(n,)``; "not known" where there are none.

        Raises:
            UnknownNameError: There is no such quantity.
        """
        wanted = list(self.columns if names is None else names)
        for name in wanted:
            if name not in self.columns:
                raise UnknownNameError("condition", name, self.columns)
        keys, mine = _keys(self.run, self.lumi), _keys(run, lumi)
        at = np.searchsorted(keys, mine)
        found = at < len(keys)
        found[found] = keys[at[found]] == mine[found]
        out = {}
        for name in wanted:
            column = self.columns[name]
            out[name] = np.full(len(mine), _unknown(column.dtype), column.dtype)
            out[name][found] = column[at[found]]
        return out


def detector_on(me: MonitorElement, bits: Sequence[str] | None = None) -> NDArray[np.bool_]:
    """Tell for each LS whether the detector was on; only such LS are to be judged.

    Args:
        me: A series with conditions.
        bits: Conditions that must all be 1. By default the DCS bits of the subsystem of ``me`` (`DCS_BITS`) that its
            conditions have.

    Returns:
        ``(n_ls,)`` bool. Where a bit is not known, the detector does not count as on. Where there is no bit to look at
        and none was asked for, every LS counts.

    Raises:
        UnknownNameError: ``bits`` names a condition that the series does not have.

    Examples:
        >>> on = dq.detector_on(good.replace(conditions={"HBHE": np.arange(120) > 0}), ["HBHE"])
        >>> int(on.sum())
        119
    """
    if bits is None:
        bits = [bit for bit in DCS_BITS.get(me.name.split("/", 1)[0], ()) if bit in me.conditions]
    on = np.ones(len(me), np.bool_)
    for bit in bits:
        if bit not in me.conditions:
            raise UnknownNameError("condition", bit, me.conditions, me.name)
        on &= me.conditions[bit] == 1
    return on


def read_conditions(path: str | os.PathLike[str]) -> Conditions:
    r"""Read a csv, parquet or JSON file of quantities per (run, LS).

    csv may be what ``brilcalc lumi --byls`` prints; JSON an answer of OMS (``{"data": [{"attributes": {…}}, …]}``), a list
    of records, or lists by column. Of several rows for one LS the last counts.

    Raises:
        InputError: The file cannot be read, or has no run and LS.

    Examples:
        >>> from pathlib import Path
        >>> _ = Path("lumi.csv").write_text("run,lumi,pileup\n1,1,30\n1,2,31\n")
        >>> dq.read_conditions("lumi.csv").columns["pileup"].tolist()
        [30.0, 31.0]
    """
    where = Path(path)
    try:
        with where.open("rb") as file:
            head = file.read(64)
        if head.startswith(b"PAR1"):
            import pyarrow.parquet as pq

            columns = {name: column.to_pylist() for name, column in _arrow_columns(pq.read_table(where))}
        elif head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"{", b"["}:
            columns = _json_columns(json.loads(where.read_text(encoding="utf-8-sig")))
        else:
            columns = _csv_columns(where.read_text(encoding="utf-8-sig"))
        return _conditions(columns)
    except OSError as error:
        raise InputError(path, error.strerror or str(error)) from error
    except (ValueError, TypeError, AttributeError, OverflowError, csv.Error) as error:
        raise InputError(path, f"not a table of conditions: {error}") from error


def _arrow_columns(table: Any) -> Iterable[tuple[str, Any]]:
    return zip(table.column_names, table.columns, strict=True)


def _json_columns(data: Any) -> dict[str, list[Any]]:
    if isinstance(data, dict) and isinstance(data.get("data"), list):
        data = [row.get("attributes", row) for row in data["data"]]
    if isinstance(data, dict):
        return {name: list(column) for name, column in data.items()}
    names = dict.fromkeys(name for row in data for name, value in row.items() if not isinstance(value, dict | list))
    return {name: [row.get(name) for row in data] for name in names}


def _csv_columns(text: str) -> dict[str, list[Any]]:
    # brilcalc puts a line of versions before its header and a summary after its rows; all but the header are comments.
    lines = text.splitlines()
    header = next((i for i, line in enumerate(lines) if _has_run(line.lstrip("#"))), None)
    if header is None:
        raise ValueError(f"no column of runs ({', '.join(_RUN)})")
    names = next(csv.reader([lines[header].lstrip("#")]))
    rows = list(csv.reader(line for line in lines[header + 1 :] if line and not line.startswith("#")))
    if any(len(row) != len(names) for row in rows):
        raise ValueError(f"a row has another number of fields than the header, which has {len(names)}")
    return {name.strip(): [row[i] for row in rows] for i, name in enumerate(names)}


def _has_run(line: str) -> bool:
    return any(name.strip().strip('"').lower() in _RUN for name in line.split(","))


def _conditions(columns: dict[str, list[Any]]) -> Conditions:
    run, lumi = _which(columns, _RUN), _which(columns, _LUMI)
    if len({len(column) for column in columns.values()}) > 1:
        raise ValueError("its columns are not equally long")
    # brilcalc writes run:fill and LS:LS.
    keys = _keys(*(_numbers(columns[name]) for name in (run, lumi)))
    order = np.argsort(keys, kind="stable")
    last = order[np.concatenate([keys[order][1:] != keys[order][:-1], [True]])] if len(keys) else order
    chosen = keys[last]
    rest = {name: _column(column)[last] for name, column in columns.items() if name and name not in {run, lumi}}
    low = chosen & np.uint64(0xFFFFFFFF)
    return Conditions((chosen >> np.uint64(32)).astype(np.uint32), low.astype(np.uint32), rest)


def _which(columns: Mapping[str, Any], known: Sequence[str]) -> str:
    for name in columns:
        if name.lower() in known:
            return name
    raise ValueError(f"no column of {'runs' if known is _RUN else 'LS'} ({', '.join(known)})")


def _numbers(column: Sequence[Any]) -> NDArray[np.uint64]:
    numbers = [float(str(value).split(":", 1)[0]) for value in column]
    if any(not 0 <= number < 2**32 or number % 1 for number in numbers):
        raise ValueError("a run or LS is no whole number")
    return np.array(numbers, np.uint64)


_BOOLEAN = {"true": 1, "false": 0, "1": 1, "0": 0}
_MISSING = {"", "none", "null", "nan"}


def _column(values: Sequence[Any]) -> Array:
    """Turn values into bits where all are true or false (in text, or as such), numbers where all are, else text."""
    texts = ["" if value is None else str(value).strip() for value in values]
    lower = [text.lower() for text in texts]
    known = [text for text in lower if text not in _MISSING]
    if known and all(text in {"true", "false"} for text in known):
        return np.array([_BOOLEAN.get(text, -1) for text in lower], np.int8)
    try:
        return np.array([np.nan if text in _MISSING else float(text) for text in lower], np.float64)
    except ValueError:
        return np.array(["" if low in _MISSING else text for text, low in zip(texts, lower, strict=True)], np.str_)


def _unknown(dtype: np.dtype[Any]) -> Any:
    return {"f": np.nan, "i": -1}.get(dtype.kind, "")


def _keys(run: Any, lumi: Any) -> NDArray[np.uint64]:
    return (np.asarray(run, np.uint64) << np.uint64(32)) | np.asarray(lumi, np.uint64)
