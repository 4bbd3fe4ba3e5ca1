"""Arrays as text that a script can carry: the smallest type that holds them, deflated, in base64."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["pack", "pack_exact", "pack_rough", "round_digits", "script"]

_LEVELS = 65534  # 65535 is NaN


def pack(array: NDArray[Any]) -> dict[str, Any]:
    """Pack an array of type u1, i1, u2, u4, f4 or f8 as it is."""
    kind = f"{array.dtype.kind}{array.dtype.itemsize}"
    if kind not in {"u1", "i1", "u2", "u4", "f4", "f8"}:
        raise TypeError(f"no packing for arrays of {array.dtype}")
    raw = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    text = base64.b64encode(zlib.compress(raw, 6)).decode("ascii")
    return {"type": kind, "shape": list(array.shape), "data": text}


def pack_exact(values: ArrayLike) -> dict[str, Any]:
    """Pack histogram contents without loss of what float32 holds: counts as small integers where they are such."""
    array = np.asarray(values)
    whole = np.all(array == np.floor(array)) and array.size and array.min() >= 0
    if whole and array.max() < 2**16:
        return pack(array.astype(np.uint8 if array.max() < 2**8 else np.uint16))
    return pack(array.astype(np.float32))


def pack_rough(values: ArrayLike) -> dict[str, Any]:
    """Pack what is only looked at: 65,535 levels, dense near the smallest value, where most of a loss map lies."""
    array = np.asarray(values, np.float64)
    finite = np.isfinite(array)
    low = float(array[finite].min()) if finite.any() else 0.0
    high = float(array[finite].max()) if finite.any() else 0.0
    share = np.sqrt(np.where(finite, array - low, 0.0) / (high - low or 1.0))
    levels = np.where(finite, np.rint(share * _LEVELS), _LEVELS + 1).astype(np.uint16)
    return {**pack(levels), "low": low, "high": high}


def round_digits(values: ArrayLike, digits: int = 5) -> NDArray[np.float32]:
    """Return float32 numbers that show, to so many digits, what ``f"{value:.{digits}g}"`` shows of the exact ones."""
    array = np.asarray(values, np.float64)
    flat = [float(f"{value:.{digits}g}") for value in array.ravel().tolist()]
    with np.errstate(over="ignore"):
        return np.array(flat, np.float32).reshape(array.shape)


def script(name: str, data: Any) -> str:
    """Return a script that hands ``data`` to the page; it is pure ASCII, so no character of a name can end it."""
    return f"dqmroot.put({json.dumps(name)},{json.dumps(data, allow_nan=False, separators=(',', ':'))});\n"
