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

from dqmroot.kernels.jit import kernel

__all__ = ["inflate_zlib", "link"]

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
