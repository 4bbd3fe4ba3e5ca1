"""Per-LS tables as csv text: the legacy dialects of 12, 13 and 15 columns, and those of DIALS."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from dqmroot.errors import InputError, one_line
from dqmroot.io.tables.dialects import column_names, rows_of
from dqmroot.io.tables.rows import TableRows
from dqmroot.kernels.text import POWERS, parse_numbers

__all__ = ["number_lists", "read_csv"]


def number_lists(path: object, column: pa.Array) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Parse a binary column of lists of numbers; returns (all numbers, where each row ends).

    Raises:
        InputError: A list holds something that is no number; ``entry`` is the row in ``column``.
    """
    n = len(column)
    _, offsets, data = column.buffers()
    bounds = np.frombuffer(offsets, np.int32)[column.offset : column.offset + n + 1].astype(np.uint64)
    if data is None:
        return np.empty(0), np.zeros(n, np.int64)
    # One byte more than the rows have, so that the loop may look one byte ahead.
    text = np.append(np.frombuffer(data, np.uint8)[: int(bounds[-1])], np.uint8(0))
    out = np.empty(int(bounds[-1] - bounds[0]) // 2 + n + 1)
    ends = np.empty(n, np.int64)
    slow = np.empty((1024, 3), np.uint64)
    n_slow = parse_numbers(text, bounds, POWERS, slow, ends, out)
    if n_slow > len(slow):
        slow = np.empty((n_slow, 3), np.uint64)
        parse_numbers(text, bounds, POWERS, slow, ends, out)
    for index, begin, end in slow[:n_slow].tolist():
        word = text[begin:end].tobytes()
        try:
            out[index] = float(word)
        except ValueError:
            row = int(np.searchsorted(ends, index, side="right"))
            raise InputError(path, f"{word.decode(errors='replace')!r} is not a number", entry=row) from None
    return out[: ends[-1]] if n else out[:0], ends


def read_csv(
    path: object, file: BinaryIO, keep: Callable[[str], bool] | None, *, threads: int = 2
) -> Iterator[TableRows]:
    """Read a csv table in batches, several at a time.

    Args:
        path: The file, for messages.
        file: The open file.
        keep: Which names to read; ``None`` means all.
        threads: How many batches to parse at a time.

    Yields:
        The rows of one block after the other.

    Raises:
        InputError: The file is no table of histograms or a row of it cannot be read.
    """
    try:
        header = next(csv.reader([file.readline().decode("utf-8-sig", "replace")]), [])
    except csv.Error as error:
        raise InputError(path, f"neither ROOT, parquet, HDF5 nor csv: {error}") from error
    unique, wanted, order = column_names(path, header)

    def parse(block: bytes) -> TableRows | None:
        return _rows(path, _table(path, block, unique, wanted), order, keep)

    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[TableRows | None]] = deque()
        for block in _blocks(file):
            waiting.append(pool.submit(parse, block))
            if len(waiting) > threads:
                rows = waiting.popleft().result()
                if rows is not None:
                    yield rows
        for future in waiting:
            rows = future.result()
            if rows is not None:
                yield rows


def _blocks(file: BinaryIO, size: int = 1 << 20) -> Iterator[bytes]:
    """Cut a csv file into blocks of whole rows; a line end between quotes ends no row."""
    rest = b""
    while True:
        more = file.read(size)
        if not more:
            if rest.strip():
                yield rest
            return
        rest += more
        quotes = rest.count(b'"')
        stop = len(rest)
        while (cut := rest.rfind(b"\n", 0, stop)) >= 0:
            quotes -= rest.count(b'"', cut, stop)
            if quotes % 2 == 0:
                yield rest[: cut + 1]
                rest = rest[cut + 1 :]
                break
            stop = cut


def _table(path: object, block: bytes, unique: list[str], wanted: dict[str, str]) -> pa.Table:
    types = {name: pa.float64() for name in wanted}
    types |= {name: pa.binary() for name, ours in wanted.items() if ours == "histo"}
    types |= {name: pa.dictionary(pa.int32(), pa.string()) for name, ours in wanted.items() if ours == "hname"}
    try:
        table = pacsv.read_csv(
            pa.BufferReader(block),
            pacsv.ReadOptions(column_names=unique, block_size=max(len(block), 1), use_threads=False),
            pacsv.ParseOptions(newlines_in_values=True),
            pacsv.ConvertOptions(column_types=types, include_columns=list(wanted)),
        )
    except pa.ArrowInvalid as error:
        raise InputError(path, f"not readable as csv: {one_line(error)}") from error
    return table.rename_columns([wanted[name] for name in table.column_names])


def _rows(path: object, table: pa.Table, order: str, keep: Callable[[str], bool] | None) -> TableRows | None:
    name = table["hname"].combine_chunks()
    if isinstance(name, pa.ChunkedArray):
        name = name.chunk(0)
    names = name.dictionary.to_pylist()
    if keep is not None:
        mine = np.array([keep(text) for text in names], np.bool_)
        table = table.filter(pa.array(mine[name.indices.to_numpy(zero_copy_only=False)]))
        if len(table) == 0:
            return None
        name = table["hname"].combine_chunks()
    values, ends = number_lists(path, table["histo"].combine_chunks())
    return rows_of(path, table, name.indices.to_numpy(zero_copy_only=False), names, (values, ends), order)
