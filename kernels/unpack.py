"""Baskets of a tree read one after the other: inflated into a small buffer, decoded while they are still in the cache."""

from __future__ import annotations

from typing import Any

import numpy as np

from dqmroot.kernels.baskets import decode
from dqmroot.kernels.inflate import _alloc, _free, unpack_zlib
from dqmroot.kernels.jit import kernel

__all__ = ["decode_baskets"]


@kernel
def decode_baskets(
    data: Any,
    places: Any,
    label: Any,
    cuts: Any,
    local: Any,
    rows: Any,
    shape: Any,
    name: Any,
    plan: Any,
    found: Any,
    entries: Any,
    contents: Any,
    sumw2: Any,
    bin_entries: Any,
    bin_sumw2: Any,
    buffer: Any,
    left: Any,
) -> int:
    """Decode some entries of some baskets; those that are not plain ZLIB, or damaged, are left to the caller.

    Args:
        data: ``(n,)`` uint8, the baskets as they lie in the file.
        places: ``(k, 4)`` int64: first byte of each in ``data``, first after it, its place in the file, its number of entries.
        label: See `unpack_zlib`.
        cuts: ``(k, 2)`` int64: which of ``local`` and ``rows`` are of each basket, from and to before.
        local: See `decode`.
        rows: See `decode`.
        shape: See `locate`.
        name: See `locate`.
        plan: See `decode`.
        found: See `decode`.
        entries: See `decode`.
        contents: See `decode`.
        sumw2: See `decode`.
        bin_entries: See `decode`.
        bin_sumw2: See `decode`.
        buffer: ``(m,)`` uint8, scratch; no basket inflates to more.
        left: ``(k,)`` bool, output: which baskets were not done.

    Returns:
        How many were not done.
    """
    worker = _alloc()
    got, head, n_left = np.zeros(1, np.uint64), np.zeros(4, np.int64), 0
    for i in range(len(places)):
        begin, end, seek, n_entries = places[i, 0], places[i, 1], places[i, 2], places[i, 3]
        fits = 0 <= begin <= end <= len(data)
        left[i] = not (
            fits and unpack_zlib(data, begin, end, seek, label, worker, buffer, got, head) and head[3] == n_entries
        )
        if left[i]:
            n_left += 1
            continue
        a, b = cuts[i, 0], cuts[i, 1]
        decode(
            buffer[: head[0]],
            head[1],
            head[2],
            head[3],
            local[a:b],
            rows[a:b],
            shape,
            name,
            plan,
            found,
            entries,
            contents,
            sumw2,
            bin_entries,
            bin_sumw2,
        )
    _free(worker)
    return n_left
