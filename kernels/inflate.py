"""zlib streams inflated many at a time, without the interpreter between them.

A DQM GUI file holds a hundred thousand objects of about a kilobyte each; called one by one from Python, threads only wait
for each other. The loop calls libdeflate itself, out of whichever library exports it.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from llvmlite import binding
from numba import types

from dqmroot.kernels.bytes import be16, be32, be64
from dqmroot.kernels.jit import kernel

__all__ = ["inflate_zlib", "link", "unpack_zlib"]

_alloc = types.ExternalFunction("libdeflate_alloc_decompressor", types.intp())
_free = types.ExternalFunction("libdeflate_free_decompressor", types.void(types.intp))
_inflate = types.ExternalFunction(
    "libdeflate_zlib_decompress",
    types.int32(types.intp, types.intp, types.uintp, types.intp, types.uintp, types.intp),
)


def link(library: str) -> bool:
    """Let `inflate_zlib` call the libdeflate that ``library``, a shared object, exports; tell whether it exports one."""
    try:
        exported = ctypes.CDLL(library)
        for name in ("libdeflate_alloc_decompressor", "libdeflate_free_decompressor", "libdeflate_zlib_decompress"):
            address = ctypes.cast(getattr(exported, name), ctypes.c_void_p).value
            assert address is not None
            binding.add_symbol(name, address)
    except (OSError, AttributeError):
        return False
    return True


@kernel
def inflate_zlib(data: Any, begins: Any, ends: Any, places: Any, sizes: Any, out: Any) -> int:
    """Inflate zlib streams, each to its place.

    Args:
        data: ``(n,)`` uint8.
        begins: ``(k,)`` int64, first byte of each stream.
        ends: ``(k,)`` int64, first byte after each.
        places: ``(k,)`` int64, where in ``out`` each goes; negative: it is left out.
        sizes: ``(k,)`` int64, how many bytes each inflates to.
        out: ``(m,)`` uint8, output.

    Returns:
        -1, or the first stream that is damaged, or does not lie inside ``data`` or ``out``.
    """
    worker = _alloc()
    got = np.zeros(1, np.uint64)
    wrong = -1
    for i in range(len(begins)):
        begin, end, place, size = begins[i], ends[i], places[i], sizes[i]
        if place < 0:
            continue
        if begin < 0 or end < begin or end > len(data) or size < 0 or place + size > len(out):
            wrong = i
            break
        status = _inflate(
            worker,
            data.ctypes.data + begin,
            np.uint64(end - begin),
            out.ctypes.data + place,
            np.uint64(size),
            got.ctypes.data,
        )
        if status != 0 or got[0] != np.uint64(size):
            wrong = i
            break
    _free(worker)
    return wrong


@kernel
def _same(data: Any, at: Any, text: Any) -> bool:
    """Tell whether ``text`` stands at ``at``, which has room for it."""
    for i in range(len(text)):  # noqa: SIM110 - Numba knows no generators here
        if data[at + i] != text[i]:
            return False
    return True


@kernel
def unpack_zlib(
    data: Any, begin: Any, end: Any, seek: Any, label: Any, worker: Any, out: Any, got: Any, head: Any
) -> bool:
    """Read the head of one basket and inflate it, where that is as simple as it nearly always is.

    Args:
        data: ``(n,)`` uint8.
        begin: First byte of the basket; it lies inside ``data``, as ``end`` does.
        end: First byte after it.
        seek: Where its key must say that it lies.
        label: ``(l,)`` uint8, the class and the name that its key must bear, each with its length before it.
        worker: A decompressor of libdeflate.
        out: ``(m,)`` uint8, output.
        got: ``(1,)`` uint64, scratch.
        head: ``(4,)`` int64, output: bytes inflated, where the entries end, key length, number of entries.

    Returns:
        Whether it is done; else the basket is damaged, larger than ``out``, or packed in another way.
    """
    total = end - begin
    if total < 64 or np.int64(be32(data, begin)) != total:
        return False
    length, key_length = np.int64(be32(data, begin + 6)), np.int64(be16(data, begin + 14))
    wide = be16(data, begin + 4) > 1000
    told = np.int64(be64(data, begin + 18)) if wide else np.int64(be32(data, begin + 18))
    text = begin + (34 if wide else 26)
    if told != seek or not 40 <= key_length <= total or text + len(label) + 9 > begin + key_length:
        return False
    if length > len(out) or length == total - key_length or not _same(data, text, label):
        return False
    n_entries, last = np.int64(be32(data, begin + key_length - 9)), np.int64(be32(data, begin + key_length - 5))
    border = last - key_length
    if not 0 <= border <= length or n_entries >= 1 << 31:
        return False
    at, done = begin + key_length, np.int64(0)
    while done < length:
        if at + 9 > end or data[at] != 90 or data[at + 1] != 76:  # "ZL"
            return False
        packed = np.int64(data[at + 3]) | np.int64(data[at + 4]) << 8 | np.int64(data[at + 5]) << 16
        size = np.int64(data[at + 6]) | np.int64(data[at + 7]) << 8 | np.int64(data[at + 8]) << 16
        at += 9
        if at + packed > end or size == 0 or done + size > length:
            return False
        place = out.ctypes.data + done
        if _inflate(worker, data.ctypes.data + at, np.uint64(packed), place, np.uint64(size), got.ctypes.data) != 0:
            return False
        if got[0] != np.uint64(size):
            return False
        at += packed
        done += size
    head[0], head[1], head[2], head[3] = length, border, key_length, n_entries
    return True
