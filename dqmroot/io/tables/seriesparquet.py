"""Series of monitoring elements as parquet: the columns of the per-LS tables that analysts have, and all the rest beside.

One row per element and LS: ``fromrun, fromlumi, hname, metype, histo, entries, Xmax, Xmin, Xbins, Ymax, Ymin, Ybins``, where
``histo`` has the flow bins and x runs fastest; then ``sumw2``, ``bin_entries``, ``bin_sumw2`` (null where there are none) and
the conditions as ``condition.<name>``. The metadata of the file, key ``dqmroot``, keep class, axes and title of each element.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dqmroot._version import __version__
from dqmroot.errors import InputError, ModelMismatchError, UsageError, one_line
from dqmroot.files import whole_file
from dqmroot.io.duplicates import merge_series
from dqmroot.io.tables.rows import CLASS_OF_CODE
from dqmroot.series import Axis, MonitorElement, concatenate

__all__ = ["KEY", "ParquetWriter", "parquet_writer", "read_series_parquet"]

KEY = b"dqmroot"
SCHEMA = 1
_CODE = {storage: code for code, storage in CLASS_OF_CODE.items()}
_EXTRA = ("sumw2", "bin_entries", "bin_sumw2")
_ROW_BYTES = 32 << 20


class ParquetWriter:
    """Adds series to a parquet file; every histogram becomes a list of float64, which holds the bins of every class.

    Args:
        path: The file.
        inputs: Identity of what the series were made of, kept with the file.
    """

    def __init__(self, path: str | os.PathLike[str], inputs: Iterable[Mapping[str, Any]] = ()) -> None:
        self._path = path
        self._inputs = [dict(row) for row in inputs]
        self._known: dict[str, dict[str, Any]] = {}
        self._writer = pq.ParquetWriter(path, _schema(), compression="zstd")

    def append(self, me: MonitorElement) -> None:
        """Add the rows of ``me``.

        Raises:
            ModelMismatchError: The file has the element with other bins or of another class.
            UsageError: ``me`` is a text or a whole number: those have no place in such a table.
        """
        if me.contents.dtype.kind not in "fi" or (not me.axes and me.storage != "Float"):
            raise UsageError(f"{me.name} is a {me.storage}: parquet keeps histograms and floats only; use series.h5")
        about = {
            "storage": me.storage,
            "dtype": me.contents.dtype.str,
            "title": me.title,
            "axes": [axis.to_dict() for axis in me.axes],
        }
        old = self._known.setdefault(me.name, about)
        if (old["storage"], old["dtype"], old["axes"]) != (about["storage"], about["dtype"], about["axes"]):
            raise ModelMismatchError(f"{me.name}: its class or bins change from one part to the next")
        step = max(1, _ROW_BYTES // max(int(np.prod(me.contents.shape[1:], dtype=np.int64)) * 8, 1))
        for first in range(0, len(me), step):
            self._writer.write_table(_table(me[first : first + step]))

    def close(self) -> None:
        """Complete the file."""
        about = {"schema_version": SCHEMA, "version": __version__, "inputs": self._inputs, "mes": self._known}
        self._writer.add_key_value_metadata({KEY: json.dumps(about).encode()})
        self._writer.close()


@contextmanager
def parquet_writer(path: str | os.PathLike[str], inputs: Iterable[Mapping[str, Any]] = ()) -> Iterator[ParquetWriter]:
    """Give a writer of a new file, which appears when the block ends well."""
    with whole_file(path) as temporary:
        writer = ParquetWriter(temporary, inputs)
        yield writer
        writer.close()


def _schema() -> pa.Schema:
    whole, number, many = pa.int64(), pa.float64(), pa.list_(pa.float64())
    kinds = {
        "fromrun": whole,
        "fromlumi": whole,
        "hname": pa.string(),
        "metype": whole,
        "histo": many,
        "entries": number,
    }
    for axis in "XY":
        kinds |= {f"{axis}max": number, f"{axis}min": number, f"{axis}bins": whole}
    kinds |= dict.fromkeys(_EXTRA, many)
    # Conditions differ from element to element: one JSON text per row holds them all.
    return pa.schema({**kinds, "conditions": pa.string()})


def _table(me: MonitorElement) -> pa.Table:
    n = len(me)
    columns: dict[str, Any] = {
        "fromrun": me.run.astype(np.int64),
        "fromlumi": me.lumi.astype(np.int64),
        "hname": [me.name] * n,
        "metype": np.full(n, _CODE.get(me.storage, -1), np.int64),
        "histo": _lists(me.contents, n),
        "entries": me.entries,
    }
    for letter, i in (("X", 0), ("Y", 1)):
        axis = me.axes[i] if len(me.axes) > i else Axis(1, 0.0, 1.0)
        columns |= {f"{letter}max": np.full(n, axis.high), f"{letter}min": np.full(n, axis.low)}
        columns[f"{letter}bins"] = np.full(n, axis.nbins)
    for what in _EXTRA:
        array = getattr(me, what)
        columns[what] = pa.nulls(n, pa.list_(pa.float64())) if array is None else _lists(array, n)
    names = list(me.conditions)
    rows = zip(*(me.conditions[name].tolist() for name in names), strict=True) if names else ([] for _ in range(n))
    columns["conditions"] = [json.dumps(dict(zip(names, row, strict=True))) for row in rows]
    return pa.table(columns, schema=_schema())


def _lists(array: NDArray[Any], n: int) -> pa.Array:
    flat = np.ascontiguousarray(array, np.float64).reshape(-1)
    size = len(flat) // n if n else 0
    return pa.ListArray.from_arrays(pa.array(np.arange(n + 1) * size, pa.int32()), pa.array(flat))


def read_series_parquet(
    path: object, file: pq.ParquetFile, keep: Callable[[str], bool] | None
) -> dict[str, MonitorElement]:
    """Read what `ParquetWriter` wrote, sorted by run and LS; rows that belong to one LS are added up.

    Raises:
        InputError: The file was written by a later version, or is damaged.
    """
    try:
        about = json.loads(file.metadata.metadata[KEY])
        if about["schema_version"] > SCHEMA:
            raise InputError(path, f"written by a later version of dqmroot (schema {about['schema_version']})")
        parts: dict[str, list[MonitorElement]] = {}
        for i in range(file.metadata.num_row_groups):
            table = file.read_row_group(i)
            name = table["hname"][0].as_py() if len(table) else ""
            if name and (keep is None or keep(name)):
                parts.setdefault(name, []).append(_series(name, table, about["mes"][name]))
    except (
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        OSError,
        UsageError,
        pa.ArrowException,
    ) as error:
        raise InputError(path, f"not readable as series: {one_line(error)}") from error
    return {name: merge_series(concatenate(some)) for name, some in parts.items()}


def _series(name: str, table: pa.Table, about: Mapping[str, Any]) -> MonitorElement:
    axes = tuple(Axis.from_dict(axis) for axis in about["axes"])
    shape = (len(table), *(axis.nbins + 2 for axis in reversed(axes)))
    arrays: dict[str, Any] = {}
    for what in ("histo", *_EXTRA):
        if table[what].null_count == 0:
            arrays[what] = np.concatenate([chunk.flatten().to_numpy() for chunk in table[what].chunks]).reshape(shape)
    rows = [json.loads(text) for text in table["conditions"].to_pylist()]
    conditions = {key: np.array([row[key] for row in rows]) for key in (rows[0] if rows else {})}
    return MonitorElement(
        name,
        about["storage"],
        axes,
        table["fromrun"].to_numpy().astype(np.uint32),
        table["fromlumi"].to_numpy().astype(np.uint32),
        table["entries"].to_numpy(),
        arrays.pop("histo").astype(np.dtype(about["dtype"])),
        title=about["title"],
        conditions=conditions,
        **arrays,
    )
