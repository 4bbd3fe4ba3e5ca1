"""The slow and sure way to read one histogram that stands under its own key; see `dqmroot.io.nanodqmio.surepath`."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import DQMWarning, InputError
from dqmroot.io.nanodqmio.layout import Storage
from dqmroot.io.nanodqmio.polygons import polygon_of
from dqmroot.io.nanodqmio.surepath import Plain, flushed, plain_of
from dqmroot.io.storage.source import SeekableSource, Source

__all__ = ["AS_POLYGONS", "POLYGONS", "SureReader"]

POLYGONS = "TH2Poly"
AS_POLYGONS = Storage(POLYGONS, np.dtype("f8"), 1, 0, 0)
"""What a TH2Poly becomes: one axis that counts its polygons."""


class SureReader:
    """Reads histograms of one file without the kernels, by what the file itself says of its classes; for any thread."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._file: Any = None
        self._told = False

    def read(self, data: NDArray[np.uint8], key_length: int, storage: Storage, name: str, *, buffered: bool) -> Plain:
        """Read one histogram.

        Args:
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
            # uproot makes the classes of a file when it first meets them.
            with self._lock:
                model = self._model(data, key_length, storage)
            made = polygon_of(model) if storage.name == POLYGONS else plain_of(model, storage)
        except Exception as error:
            what = (str(error).strip().splitlines() or [""])[0][:120]
            text = f"is not laid out as ROOT writes it ({type(error).__name__}: {what})"
            raise InputError(self._source.path, text, f"{name} ({storage.name})") from error
        if storage.name != POLYGONS and not self._told:
            self._told = True
            text = f"{self._source.path}: {name} is not laid out as expected, others may follow; read through uproot, which is slow"
            warnings.warn(text, DQMWarning, stacklevel=2)
        return made

    def _model(self, data: NDArray[np.uint8], key_length: int, storage: Storage) -> Any:
        import uproot

        if self._file is None:
            # Not closed: the only thing it holds open is the source.
            self._file = uproot.open(SeekableSource(self._source), use_threads=False).file
        chunk = uproot.source.chunk.Chunk.wrap(self._file.source, data)
        cursor = uproot.source.cursor.Cursor(0, origin=-key_length)
        return self._file.class_named(storage.name).read(chunk, cursor, {}, self._file, self._file, None)
