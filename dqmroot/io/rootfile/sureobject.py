"""The slow and sure way to read one histogram that stands under its own key; see `dqmroot.io.nanodqmio.surepath`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import DQMWarning, InputError
from dqmroot.io.nanodqmio.layout import Storage
from dqmroot.io.nanodqmio.polygons import polygon_of
from dqmroot.io.nanodqmio.surepath import Plain, flushed, plain_of
from dqmroot.io.storage.source import SeekableSource, Source

__all__ = ["AS_POLYGONS", "POLYGONS", "read_object_surely"]

POLYGONS = "TH2Poly"
AS_POLYGONS = Storage(POLYGONS, np.dtype("f8"), 1, 0, 0)
"""What a TH2Poly becomes: one axis that counts its polygons."""


def read_object_surely(
    source: Source, data: NDArray[np.uint8], key_length: int, storage: Storage, name: str, *, buffered: bool
) -> Plain:
    """Read one histogram without the kernels.

    Args:
        source: The file, whose own description of its classes is followed.
        data: The inflated object.
        key_length: Bytes of its key, from whose start ROOT counts references within the object.
        storage: Class of the histogram.
        name: The monitoring element, for messages.
        buffered: Whether it is as expected but for fills in its buffer.

    Raises:
        InputError: This way cannot read it either.
    """
    try:
        if buffered:
            return flushed(data[6:].tobytes(), storage, header=False)
        model = _model(source, data, key_length, storage)
        if storage.name == POLYGONS:
            return polygon_of(model)
        made = plain_of(model, storage)
    except Exception as error:
        what = (str(error).strip().splitlines() or [""])[0][:120]
        text = f"is not laid out as ROOT writes it ({type(error).__name__}: {what})"
        raise InputError(source.path, text, f"{name} ({storage.name})") from error
    text = f"{source.path}, {name}: not laid out as expected; read through uproot, which is slow"
    warnings.warn(text, DQMWarning, stacklevel=2)
    return made


def _model(source: Source, data: NDArray[np.uint8], key_length: int, storage: Storage) -> Any:
    import uproot

    with uproot.open(SeekableSource(source), use_threads=False) as top:
        chunk = uproot.source.chunk.Chunk.wrap(top.file.source, data)
        cursor = uproot.source.cursor.Cursor(0, origin=-key_length)
        return top.file.class_named(storage.name).read(chunk, cursor, {}, top.file, top.file, None)
