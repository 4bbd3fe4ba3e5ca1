"""Score tables on disk: parquet, csv or HDF5, by the ending of the file name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import InputError, UnknownNameError, one_line
from dqmroot.files import whole_file
from dqmroot.scores import COLUMNS, ScoreTable

__all__ = ["SUFFIXES", "check_suffix", "read_scores", "write_scores"]

SUFFIXES = (".parquet", ".csv", ".h5")

SCHEMA_VERSION = 1

_TYPES = {"run": np.uint32, "lumi": np.uint32, "me": str, "score": np.float64, "threshold": np.float64, "flag": np.int8}


def check_suffix(path: str | os.PathLike[str]) -> str:
    """Return the ending that says how a score table is kept.

    Raises:
        UnknownNameError: Not one of `SUFFIXES`.
    """
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        raise UnknownNameError("file ending of a score table", suffix or Path(path).name, SUFFIXES)
    return suffix


def write_scores(path: str | os.PathLike[str], table: ScoreTable) -> None:
    """Write a score table, whole or not at all.

    Raises:
        UnknownNameError: The ending is not one of `SUFFIXES`.
        OutputError: The file cannot be written.
    """
    from dqmroot._version import __version__

    suffix = check_suffix(path)
    header = {"schema_version": str(SCHEMA_VERSION), "dqmroot_version": __version__}
    with whole_file(path) as temporary:
        if suffix == ".h5":
            import h5py

            from dqmroot.io.tables.hdf5 import in_place

            with h5py.File(temporary, "w") as file:
                file.attrs.update({key: in_place(text) for key, text in header.items()})
                for name in COLUMNS:
                    column = getattr(table, name)
                    file[name] = in_place(column) if name == "me" else column
            return
        import pyarrow as pa

        columns = pa.table({name: getattr(table, name) for name in COLUMNS})
        if suffix == ".parquet":
            import pyarrow.parquet

            pyarrow.parquet.write_table(columns.replace_schema_metadata(header), temporary)
        else:
            import pyarrow.csv

            pyarrow.csv.write_csv(columns, temporary)


def read_scores(path: str | os.PathLike[str]) -> ScoreTable:
    """Read a score table.

    Raises:
        UnknownNameError: The ending is not one of `SUFFIXES`.
        InputError: The file cannot be read, or lacks a column.
    """
    suffix = check_suffix(path)
    try:
        # Each library tells a missing file in its own way; this is the plain one.
        Path(path).open("rb").close()
        columns = _read_hdf5(path) if suffix == ".h5" else _read_arrow(path, suffix)
        return ScoreTable(**{name: _column(name, columns[name], kind) for name, kind in _TYPES.items()})
    except OSError as error:
        raise InputError(path, error.strerror or one_line(error)) from error
    except (AttributeError, KeyError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(path, f"is not a score table: {one_line(error)}") from error


def _column(name: str, column: Any, kind: Any) -> NDArray[Any]:
    """Return a column in its type; a number that does not fit is an error, and not another number."""
    told = np.asarray(column)
    with np.errstate(invalid="ignore"):  # NaN where a whole number should be
        out = told.astype(kind)
    if kind is not str and not np.array_equal(out, told.astype(np.float64), equal_nan=kind is np.float64):
        wrong = told[out != told.astype(np.float64)][0]
        raise ValueError(f"{name} holds {wrong}")
    return out


def _read_hdf5(path: str | os.PathLike[str]) -> dict[str, Any]:
    import h5py

    with h5py.File(path, "r") as file:
        return {name: file[name].asstr()[()] if name == "me" else file[name][()] for name in COLUMNS}


def _read_arrow(path: str | os.PathLike[str], suffix: str) -> dict[str, Any]:
    import pyarrow.csv
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path) if suffix == ".parquet" else pyarrow.csv.read_csv(path)
    return {
        name: table[name].to_numpy(zero_copy_only=False) if name != "me" else np.array(table[name].to_pylist(), str)
        for name in COLUMNS
    }
