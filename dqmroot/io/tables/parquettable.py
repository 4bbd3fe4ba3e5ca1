"""Per-LS tables as parquet: both legacy dialects, DIALS tables, and the per-run tables that AutoDQM_ML fetches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dqmroot.errors import InputError, one_line
from dqmroot.io.tables.csvtable import number_lists
from dqmroot.io.tables.dialects import column_names, rows_of
from dqmroot.io.tables.rows import TableRows, in_class, with_flow
from dqmroot.series import Axis, MonitorElement

__all__ = ["is_autodqm", "parquet_errors", "read_autodqm", "read_parquet"]

_BATCH_BYTES = 64_000_000


def read_parquet(path: object, file: pq.ParquetFile, keep: Callable[[str], bool] | None) -> Iterator[TableRows]:
    """Read a parquet table in batches of some 64 MB.

    Args:
        path: The file, for messages.
        file: The open file.
        keep: Which names to read; ``None`` means all.

    Yields:
        The rows of one batch after the other.

    Raises:
        InputError: The file is no table of histograms or a row of it cannot be read.
    """
    unique, wanted, order = column_names(path, file.schema_arrow.names)
    # Nothing in a parquet file tells x-major from y-major, but only converted tables lack the flow bins.
    order = order or "xy"
    columns = [name for name in unique if name in wanted]
    n_bytes = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
    batch = max(1, int(_BATCH_BYTES * file.metadata.num_rows / max(n_bytes, 1)))
    with parquet_errors(path):
        for part in file.iter_batches(batch_size=batch, columns=columns):
            table = pa.Table.from_batches([part]).rename_columns([wanted[name] for name in part.schema.names])
            rows = _rows(path, table, order, keep)
            if rows is not None:
                yield rows


@contextmanager
def parquet_errors(path: object) -> Iterator[None]:
    """Tell what pyarrow finds wrong in a file as `InputError`."""
    try:
        yield
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise InputError(path, f"not readable as parquet: {one_line(error)}") from error


def _rows(path: object, table: pa.Table, order: str, keep: Callable[[str], bool] | None) -> TableRows | None:
    name = _one(table["hname"].cast(pa.string()).dictionary_encode())
    names = name.dictionary.to_pylist()
    if keep is not None:
        mine = np.array([keep(text) for text in names], np.bool_)
        table = table.filter(pa.array(mine[name.indices.to_numpy(zero_copy_only=False)]))
        if len(table) == 0:
            return None
        name = _one(table["hname"].cast(pa.string()).dictionary_encode())
        names = name.dictionary.to_pylist()
    numbers = _numbers(path, _one(table["histo"]))
    return rows_of(path, table, name.indices.to_numpy(zero_copy_only=False), names, numbers, order)


def _one(column: pa.ChunkedArray) -> Any:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.unify_dictionaries().chunks)


def _numbers(path: object, column: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Flatten a column of (nested) lists of numbers, or of lists as text, into (numbers, where each row ends)."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return number_lists(path, column.cast(pa.binary()))
    bounds = np.arange(len(column) + 1)
    while (
        pa.types.is_list(column.type) or pa.types.is_large_list(column.type) or pa.types.is_fixed_size_list(column.type)
    ):
        if column.null_count:
            raise InputError(path, "a row has no list of bin contents")
        if pa.types.is_fixed_size_list(column.type):
            column = column.cast(pa.list_(column.type.value_type))
        offsets = np.asarray(column.offsets)
        bounds = (offsets - offsets[0])[bounds]
        column = column.flatten()
    try:
        return column.to_numpy(zero_copy_only=False), bounds[1:].astype(np.int64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(path, f"bin contents of type {column.type}") from error


def is_autodqm(schema: pa.Schema) -> bool:
    """Tell whether a parquet file is an AutoDQM_ML table: one row a run, one column an element."""
    return "run_number" in schema.names and "ls_number" not in schema.names and any(map(_is_list, schema.types))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def read_autodqm(path: object, file: pq.ParquetFile, keep: Callable[[str], bool] | None) -> dict[str, MonitorElement]:
    """Read an AutoDQM_ML table: whole runs (LS 0), no flow bins, 2-D lists x-major, and no axis limits at all.

    The axes run from 0 to the number of bins; the label is kept as the condition ``label``.

    Raises:
        InputError: The bins of one element change from run to run.
    """
    with parquet_errors(path):
        return _autodqm(path, file, keep)


def _autodqm(path: object, file: pq.ParquetFile, keep: Callable[[str], bool] | None) -> dict[str, MonitorElement]:
    fields = [field for field in file.schema_arrow if _is_list(field.type)]
    names = {field.name: "/".join(p for p in field.name.split("/") if p and p != "Run summary") for field in fields}
    wanted = [name for name, ours in names.items() if keep is None or keep(ours)]
    extra = [name for name in ("run_number", "label") if name in file.schema_arrow.names]
    table = file.read(columns=wanted + extra)
    run = table["run_number"].to_numpy().astype(np.uint32)
    conditions = {"label": table["label"].to_numpy()} if "label" in extra else {}
    out = {}
    for name in wanted:
        column = _one(table[name])
        nested = _is_list(column.type.value_type)
        values, ends = _numbers(path, column)
        inner = _numbers(path, column.flatten())[1] if nested else ends
        lengths = np.diff(ends, prepend=0)
        rows = np.diff(inner, prepend=0)
        if len(lengths) == 0 or (lengths != lengths[0]).any() or (rows != rows[0]).any() or lengths[0] == 0:
            raise InputError(path, "the bins change from one run to the next", names[name])
        shape = (int(lengths[0] // rows[0]), int(rows[0])) if nested else (int(lengths[0]),)
        contents = values.reshape(-1, *shape)
        contents = with_flow(contents.transpose(0, 2, 1) if nested else contents)
        axes = tuple(Axis(bins, 0.0, float(bins)) for bins in shape)
        storage = "TH2D" if nested else "TH1D"
        entries = np.nansum(contents, axis=tuple(range(1, contents.ndim)))
        me = MonitorElement(
            names[name],
            storage,
            axes,
            run,
            np.zeros(len(run), np.uint32),
            entries,
            in_class(contents, storage),
            title=names[name],
            conditions=conditions,
        )
        out[names[name]] = me.sort()
    return out
