"""Arrays as text that a script can carry: the smallest type that holds them, deflated where that helps, in base64."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import deflate
import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["pack", "pack_exact", "pack_rough", "round_digits", "script"]

_LEVELS = 65534  # 65535 is NaN


def pack(array: NDArray[Any]) -> dict[str, Any]:
    """Pack an array of type u1, i1, u2, u4, f4 or f8 as it is; what deflate makes nothing of is only written as text."""
    kind = f"{array.dtype.kind}{array.dtype.itemsize}"
    if kind not in {"u1", "i1", "u2", "u4", "f4", "f8"}:
        raise TypeError(f"no packing for arrays of {array.dtype}")
    raw = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    packed: dict[str, Any] = {"type": kind, "shape": list(array.shape)}
    if kind == "u2" and not _repeats(array):
        return {**packed, "data": base64.b64encode(raw).decode("ascii"), "plain": True}
    return {**packed, "data": base64.b64encode(deflate.zlib_compress(raw, 1)).decode("ascii")}


def _repeats(levels: NDArray[np.uint16]) -> bool:
    """Tell whether many bins hold what the bin before holds, as empty and masked ones do."""
    flat = levels.reshape(-1)
    return bool(8 * np.count_nonzero(flat[1:] == flat[:-1]) > flat.size)


def pack_exact(values: ArrayLike) -> dict[str, Any]:
    """Pack histogram contents without loss of what float32 holds: counts as small integers where they are such."""
    array = np.asarray(values)
    whole = array.size and array.min() >= 0 and (array == np.floor(array)).all()
    if whole and array.max() < 2**16:
        return pack(array.astype(np.uint8 if array.max() < 2**8 else np.uint16))
    return pack(array.astype(np.float32))


def pack_rough(values: ArrayLike) -> dict[str, Any]:
    """Pack what is only looked at: 65,535 levels, dense near the smallest value, where most of a loss map lies."""
    array = np.asarray(values, np.float64)
    finite = np.isfinite(array)
    every = bool(finite.all())
    known = array if every else array[finite]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    share = np.sqrt((array if every else np.where(finite, array, low)) - low)
    levels = np.rint(share * (_LEVELS / math.sqrt(high - low or 1.0))).astype(np.uint16)
    if not every:
        levels[~finite] = _LEVELS + 1
    return {**pack(levels), "low": low, "high": high}


def round_digits(values: ArrayLike, digits: int = 5) -> NDArray[np.float32]:
    """Return float32 numbers that show, to so many digits, what ``f"{value:.{digits}g}"`` shows of the exact ones."""
    array = np.asarray(values, np.float64)
    with np.errstate(all="ignore"):
        scale = 10.0 ** (digits - 1 - np.floor(np.log10(np.abs(array))))
        shifted = array * scale
        rounded = np.rint(shifted) / scale
        # Zero, what is not finite, very large or small, and what lies so near to the middle that its last bits decide.
        hard = ~(np.abs(np.abs(shifted - np.floor(shifted)) - 0.5) > 1e-6) | ~(np.abs(np.log10(scale)) < 20)
        rounded[hard] = [float(f"{value:.{digits}g}") for value in array[hard].tolist()]
        return rounded.astype(np.float32)


def script(name: str, data: Any) -> str:
    """Return a script that hands ``data`` to the page; it is pure ASCII, so no character of a name can end it."""
    return f"dqmroot.put({json.dumps(name)},{json.dumps(data, allow_nan=False, separators=(',', ':'))});\n"
