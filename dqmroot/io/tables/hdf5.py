"""Series of monitoring elements in one HDF5 file: everything a series has, chunked by LS, appendable.

One group per monitoring element, at its own name (``file["Hcal/DigiTask/Occupancy/depth/depth1/counts"]``), with the
datasets ``counts`` (LS first, flow bins included, x fastest), ``run``, ``lumi``, ``entries``; ``sumw2``, ``bin_entries``,
``bin_sumw2`` where there are any; ``axes``, a JSON text; and ``conditions/<name>``. Attributes tell name, class, title.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dqmroot._version import __version__
from dqmroot.errors import InputError, ModelMismatchError, UsageError, one_line
from dqmroot.files import folder_name, whole_file
from dqmroot.io.duplicates import merge_series
from dqmroot.series import Axis, MonitorElement

__all__ = [
    "SCHEMA",
    "SeriesWriter",
    "append_series",
    "in_place",
    "is_series",
    "iterate_series",
    "read_series",
    "series_writer",
    "write_series",
]

SCHEMA = 1
_KIND = "dqmroot series"
_ARRAYS = {"counts": "contents", "sumw2": "sumw2", "bin_entries": "bin_entries", "bin_sumw2": "bin_sumw2"}
_OWN = {*_ARRAYS, "run", "lumi", "entries", "axes", "conditions"}
_CHUNK_BYTES = 1 << 18
_STEP_BYTES = 64 << 20
_LONGEST = 1 << 14  # bytes of an attribute that is written in place; all of them together hold 64 KiB


class SeriesWriter:
    """Adds series to an open file; rows of one element may come in any number of parts.

    Args:
        file: The file, open for writing.
        inputs: Identity of what the series were made of, kept with the file.
    """

    def __init__(self, file: h5py.File, inputs: Iterable[Mapping[str, Any]] = ()) -> None:
        self._file = file
        if "kind" not in file.attrs:
            _say(file, kind=_KIND, dqmroot_version=__version__)
            file.attrs["schema_version"] = SCHEMA
            file.create_dataset("%inputs", data=in_place(json.dumps([dict(row) for row in inputs])))

    def append(self, me: MonitorElement) -> None:
        """Add the rows of ``me`` after those that are there.

        Raises:
            ModelMismatchError: The file has the element with other bins or of another class.
        """
        path = _group_name(me.name)
        group = self._file.require_group(path)
        if "storage" not in group.attrs:
            _say(group, name=me.name, storage=me.storage, title=me.title)
            group.create_dataset("axes", data=in_place(json.dumps([axis.to_dict() for axis in me.axes])))
            group.create_group("conditions")
            for name, array in (("run", me.run), ("lumi", me.lumi), ("entries", me.entries), ("counts", me.contents)):
                _create(group, name, array)
        else:
            me.check_same_bins(_axes(group), f"the series in {self._file.filename}")
            if (storage := _said(group, "storage")) != me.storage:
                what = f"{me.name}: class {me.storage}, but the series in {self._file.filename} is of {storage}"
                raise ModelMismatchError(what)
        n = len(group["run"])
        self._optional(group, me, n)
        for name, array in (("run", me.run), ("lumi", me.lumi), ("entries", me.entries), ("counts", me.contents)):
            _extend(group[name], array)
        self._conditions(group["conditions"], me, n)

    @staticmethod
    def _optional(group: h5py.Group, me: MonitorElement, n: int) -> None:
        """Add errors and the like; rows that store none have those of counts."""
        for name in ("sumw2", "bin_entries", "bin_sumw2"):
            array = getattr(me, name)
            stand_in = "bin_entries" if name == "bin_sumw2" else "counts"
            if array is not None and name not in group:
                _create(group, name, np.asarray(array, np.float64))
                step = _step(group["counts"])
                for first in range(0, n, step):
                    _extend(group[name], group[stand_in][first : min(first + step, n)])
            if name in group:
                _extend(group[name], getattr(me, _ARRAYS[stand_in]) if array is None else array)

    @staticmethod
    def _conditions(group: h5py.Group, me: MonitorElement, n: int) -> None:
        """Add conditions; where one is not known, NaN, -1 or an empty text stands."""
        for name, column in me.conditions.items():
            key = folder_name(name.replace("/", "%2F"))
            if key not in group:
                _create(group, key, column)
                _say(group[key], name=name)
                _extend(group[key], np.full(n, _unknown(column.dtype), column.dtype))
            _extend(group[key], column)
        for dataset in group.values():
            missing = n + len(me) - len(dataset)
            if missing:
                values = dataset.asstr()[:0] if h5py.check_string_dtype(dataset.dtype) else dataset[:0]
                _extend(dataset, np.full(missing, _unknown(values.dtype), values.dtype))


def write_series(
    path: str | os.PathLike[str], series: Iterable[MonitorElement], inputs: Iterable[Mapping[str, Any]] = ()
) -> None:
    """Write series to a new file, whole or not at all.

    Args:
        path: The file.
        series: Any number of series; parts of one element are joined.
        inputs: Identity of what they were made of.

    Raises:
        OutputError: The file cannot be written.
        ModelMismatchError: Parts of one element have different bins.

    Examples:
        >>> dq.write_series("series.h5", [good])
        >>> dq.read_series("series.h5")[good.name].bins
        (100,)
    """
    with series_writer(path, inputs) as writer:
        for me in series:
            writer.append(me)


def append_series(path: str | os.PathLike[str], series: Iterable[MonitorElement]) -> None:
    """Add series to a file that is there; where something goes wrong, it stays as it was.

    Raises:
        InputError: The file is no file of series.
        OutputError: The file cannot be written.
        ModelMismatchError: The file has an element with other bins.

    Examples:
        >>> dq.write_series("series.h5", [good])
        >>> dq.append_series("series.h5", [new])
        >>> len(dq.read_series("series.h5")[good.name])
        170
    """
    with _opened(path):
        pass
    with whole_file(path) as temporary:
        shutil.copyfile(path, temporary)
        with h5py.File(temporary, "r+") as file:
            writer = SeriesWriter(file)
            for me in series:
                writer.append(me)


@contextmanager
def series_writer(path: str | os.PathLike[str], inputs: Iterable[Mapping[str, Any]] = ()) -> Iterator[SeriesWriter]:
    """Give a writer of a new file, which appears when the block ends well."""
    with whole_file(path) as temporary, h5py.File(temporary, "w") as file:
        yield SeriesWriter(file, inputs)


def is_series(path: str | os.PathLike[str] | Any) -> bool:
    """Tell whether a file is an HDF5 file of series."""
    try:
        with h5py.File(path, "r") as file:
            return "kind" in file.attrs and _said(file, "kind") == _KIND
    except (OSError, KeyError, ValueError, TypeError, RuntimeError):
        return False


def read_series(
    path: str | os.PathLike[str] | Any, keep: Callable[[str], bool] | None = None, *, rows: bool = True
) -> dict[str, MonitorElement]:
    """Read series, sorted by run and LS; rows that belong to one LS are added up.

    Args:
        path: The file, or one that is open for reading in binary mode.
        keep: Tells by its name whether to read an element; all by default.
        rows: Whether to read the bins too; without them ``contents`` is a stand-in that holds nothing.

    Raises:
        InputError: The file cannot be read or is no file of series.

    Examples:
        >>> dq.write_series("series.h5", [good])
        >>> list(dq.read_series("series.h5"))
        ['CSC/FEDIntegrity/FEDTotalEventSize']
    """
    with _opened(path) as file:
        found = [_read(path, group, slice(None), rows=rows) for group in _groups(file) if _kept(group, keep)]
    return {me.name: merge_series(me) if rows else me for me in found}


def iterate_series(
    path: str | os.PathLike[str] | Any, keep: Callable[[str], bool] | None = None
) -> Iterator[MonitorElement]:
    """Read series part by part, as they lie in the file, in bounded memory.

    Raises:
        InputError: The file cannot be read or is no file of series.
    """
    with _opened(path) as file:
        for group in _groups(file):
            if not _kept(group, keep):
                continue
            step = _step(group["counts"])
            for first in range(0, len(group["run"]), step):
                yield _read(path, group, slice(first, first + step))


@contextmanager
def _opened(path: Any) -> Iterator[h5py.File]:
    name = _name(path)
    try:
        with h5py.File(path, "r") as file:
            if "kind" not in file.attrs or _said(file, "kind") != _KIND:
                raise InputError(name, "an HDF5 file, but no series of dqmroot")
            if file.attrs["schema_version"] > SCHEMA:
                raise InputError(name, f"written by a later version of dqmroot (schema {file.attrs['schema_version']})")
            yield file
    except (OSError, KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError) as error:
        raise InputError(name, f"not readable as HDF5: {one_line(error)}") from error


def _name(path: Any) -> str:
    return str(getattr(path, "name", path))


def in_place(text: str | NDArray[np.str_]) -> Any:
    """Text as bytes of its own length. Others lie in the file's heap, and HDF5's library hangs on some damaged heaps."""
    raw = np.strings.encode(text, "utf-8", "surrogateescape")
    return raw.astype(h5py.string_dtype("utf-8", max(raw.dtype.itemsize, 1)))


def _say(item: Any, **texts: str) -> None:
    item.attrs.update({name: in_place(text) if len(text) < _LONGEST else text for name, text in texts.items()})


def _said(item: Any, attribute: str) -> str:
    value = item.attrs[attribute]
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _groups(parent: h5py.Group) -> Iterator[h5py.Group]:
    for name, item in parent.items():
        if isinstance(item, h5py.Group) and name not in _OWN:
            if "storage" in item.attrs:
                yield item
            yield from _groups(item)


def _kept(group: h5py.Group, keep: Callable[[str], bool] | None) -> bool:
    return keep is None or keep(_said(group, "name"))


def _read(path: Any, group: h5py.Group, part: slice, *, rows: bool = True) -> MonitorElement:
    axes = _axes(group)
    if not rows:
        shape = (len(group["run"]), *(axis.nbins + 2 for axis in reversed(axes)))
        arrays: dict[str, Any] = {"contents": np.broadcast_to(np.zeros((), np.int8), shape)}
    else:
        arrays = {ours: _values(group[name], part) for name, ours in _ARRAYS.items() if name in group}
    conditions = {_said(item, "name"): _values(item, part) for item in group["conditions"].values()}
    try:
        return MonitorElement(
            name=_said(group, "name"),
            storage=_said(group, "storage"),
            title=_said(group, "title"),
            axes=axes,
            run=group["run"][part],
            lumi=group["lumi"][part],
            entries=group["entries"][part],
            conditions=conditions,
            **arrays,
        )
    except UsageError as error:
        raise InputError(_name(path), str(error), group.name) from error


def _values(dataset: h5py.Dataset, part: slice) -> NDArray[Any]:
    if h5py.check_string_dtype(dataset.dtype):
        texts = dataset.asstr()[part]
        return np.asarray(texts, object if dataset.attrs.get("object", False) else np.str_)
    array: NDArray[Any] = dataset[part]
    return array


def _axes(group: h5py.Group) -> tuple[Axis, ...]:
    return tuple(Axis.from_dict(axis) for axis in json.loads(group["axes"].asstr()[()]))


def _group_name(me: str) -> str:
    # A part that is called like one of our own datasets is told apart by its first letter.
    parts = (f"%{ord(part[0]):02X}{part[1:]}" if part in _OWN else part for part in folder_name(me).split("/"))
    return "/".join(parts)


def _create(group: h5py.Group, name: str, like: NDArray[Any]) -> None:
    """Make an empty dataset that grows along its first axis."""
    bins = like.shape[1:]
    text = like.dtype.kind in "UO"
    size = 16 if text else like.dtype.itemsize
    rows = max(1, _CHUNK_BYTES // max(int(np.prod(bins, dtype=np.int64)) * size, 1))
    options = {} if text else {"shuffle": True}
    made = group.create_dataset(
        name,
        shape=(0, *bins),
        maxshape=(None, *bins),
        chunks=(min(rows, 4096), *bins),
        dtype=h5py.string_dtype() if text else like.dtype,
        compression="gzip",
        compression_opts=1,
        **options,
    )
    if like.dtype.kind == "O":
        made.attrs["object"] = True


def _extend(dataset: h5py.Dataset, array: NDArray[Any]) -> None:
    n = len(dataset)
    dataset.resize(n + len(array), axis=0)
    if len(array):
        dataset[n:] = array.astype(object) if array.dtype.kind == "U" else array


def _step(dataset: h5py.Dataset) -> int:
    row = max(int(np.prod(dataset.shape[1:], dtype=np.int64)) * dataset.dtype.itemsize, 1)
    chunk = int(dataset.chunks[0])
    return max(chunk, int(_STEP_BYTES // row // chunk * chunk))


def _unknown(dtype: np.dtype[Any]) -> Any:
    return {"f": np.nan, "i": -1, "u": 0, "b": False}.get(dtype.kind, "")
