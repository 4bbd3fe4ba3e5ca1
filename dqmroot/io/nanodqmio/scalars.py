"""Integers, numbers and texts of DQMIO files."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import InputError
from dqmroot.io.nanodqmio.trees import NanoFile
from dqmroot.io.storage.baskets import Payload
from dqmroot.io.storage.inflate import Inflater

__all__ = ["DTYPES", "scalars"]

DTYPES = {"Ints": np.dtype(np.int64), "Floats": np.dtype(np.float64), "Strings": np.dtype(object)}


def scalars(file: NanoFile, tree: str, entry: NDArray[np.int64]) -> NDArray[Any]:
    """Return the values of some entries, int64, float64 or text.

    Raises:
        InputError: A basket is damaged.
    """
    baskets = file.trees[tree].values
    dtype = DTYPES[tree]
    out = np.empty(len(entry), dtype)
    of = np.searchsorted(baskets.first, entry, side="right") - 1
    inflater = Inflater()
    for number in np.unique(of):
        payload = baskets.payload(int(number), baskets.load(file.source, [int(number)])[0], inflater)
        mine = of == number
        local = entry[mine] - baskets.first[number]
        try:
            out[mine] = _texts(payload, local) if tree == "Strings" else _numbers(payload, local, dtype)
        except ValueError as error:
            raise InputError(file.path, f"basket {number}: {error}", tree, int(baskets.first[number])) from error
    return out


def _numbers(payload: Payload, local: NDArray[np.int64], dtype: np.dtype[Any]) -> NDArray[Any]:
    if payload.border != 8 * payload.n_entries:
        raise ValueError(f"{payload.border} bytes for {payload.n_entries} numbers")
    return np.frombuffer(payload.data[: payload.border], dtype.newbyteorder(">"))[local].astype(dtype)


def _texts(payload: Payload, local: NDArray[np.int64]) -> list[str]:
    begin = payload.border + 4
    table = payload.data[begin : begin + 4 * payload.n_entries]
    if len(table) != 4 * payload.n_entries:
        raise ValueError("no table of entry offsets")
    starts = np.frombuffer(table, ">u4").astype(np.int64) - payload.key_length
    stops = np.append(starts[1:], payload.border)
    raw = payload.data[: payload.border].tobytes()
    out = []
    for i in local.tolist():
        start, stop = int(starts[i]), int(stops[i])
        head = 5 if 0 <= start < payload.border and raw[start] == 255 else 1
        length = (
            int.from_bytes(raw[start + 1 : start + 5], "big")
            if head == 5
            else raw[start]
            if 0 <= start < payload.border
            else -1
        )
        if start < 0 or start + head + length != stop or stop > payload.border:
            raise ValueError(f"text {i} does not fit")
        out.append(raw[start + head : stop].decode("utf-8", "backslashreplace"))
    return out
