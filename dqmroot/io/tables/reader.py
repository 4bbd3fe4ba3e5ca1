"""Tables of per-LS histograms that analysts already have: csv and parquet, in every dialect, into one schema."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import pyarrow.parquet as pq

from dqmroot.errors import InputError
from dqmroot.io.tables.csvtable import read_csv
from dqmroot.io.tables.parquettable import is_autodqm, parquet_errors, read_autodqm, read_parquet
from dqmroot.io.tables.rows import Collector
from dqmroot.io.tables.seriesparquet import KEY, read_series_parquet
from dqmroot.series import MonitorElement

__all__ = ["iterate_table", "read_table"]

Keep = Callable[[str], bool]


def read_table(path: str | os.PathLike[str] | BinaryIO, keep: Keep | None = None) -> dict[str, MonitorElement]:
    """Read a csv or parquet table; which of the two, and which dialect, is told by the content.

    Flow bins that the table does not have are NaN. Contents are in the type of the bins of the ROOT class, or float64
    (and the class ``TH1D`` or ``TH2D``) where that type cannot hold each number. Where a table has several rows for one
    element and LS, the first counts, with a warning if they differ.

    Args:
        path: The file, or one that is open for reading in binary mode and can seek.
        keep: Tells by its name whether to read an element; all by default.

    Returns:
        One series per element, by name, sorted by run and LS.

    Raises:
        InputError: The file cannot be read, is no table of histograms, or contradicts itself.
    """
    with _opened(path) as file:
        name = _name(path)
        parquet = _parquet(name, file)
        if parquet is not None and (special := _special(parquet)) is not None:
            return special(name, parquet, keep)
        collector = Collector(name)
        for rows in read_csv(name, file, keep) if parquet is None else read_parquet(name, parquet, keep):
            collector.add(rows)
        return collector.series()


def iterate_table(path: str | os.PathLike[str] | BinaryIO, keep: Keep | None = None) -> Iterator[MonitorElement]:
    """Read a csv or parquet table batch by batch, in bounded memory.

    Args:
        path: See `read_table`.
        keep: See `read_table`.

    Yields:
        For each batch of rows, one series per element in it.

    Raises:
        InputError: See `read_table`.
    """
    with _opened(path) as file:
        name = _name(path)
        parquet = _parquet(name, file)
        if parquet is not None and (special := _special(parquet)) is not None:
            yield from special(name, parquet, keep).values()
            return
        for rows in read_csv(name, file, keep) if parquet is None else read_parquet(name, parquet, keep):
            collector = Collector(name)
            collector.add(rows)
            yield from collector.series().values()


def _special(file: pq.ParquetFile) -> Callable[[object, pq.ParquetFile, Keep | None], dict[str, MonitorElement]] | None:
    """Return how to read a parquet file that is no plain table."""
    if KEY in (file.metadata.metadata or {}):
        return read_series_parquet
    return read_autodqm if is_autodqm(file.schema_arrow) else None


def _name(path: Any) -> str:
    return os.fspath(path) if isinstance(path, str | os.PathLike) else str(getattr(path, "name", path))


def _opened(path: Any) -> Any:
    if not isinstance(path, str | os.PathLike):
        return path
    try:
        return open(path, "rb")  # noqa: PTH123 - the callers close it
    except OSError as error:
        raise InputError(path, error.strerror or str(error)) from error


def _parquet(name: str, file: BinaryIO) -> pq.ParquetFile | None:
    """Open a parquet file; ``None`` where it is none."""
    magic = file.read(4)
    file.seek(0)
    if magic != b"PAR1":
        return None
    with parquet_errors(name):
        return pq.ParquetFile(file)
