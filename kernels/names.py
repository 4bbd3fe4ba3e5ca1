"""Number the names in a basket of strings: equal names get equal numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from dqmroot.kernels.bytes import BASIS, after_text, be32, mix
from dqmroot.kernels.jit import kernel

__all__ = ["index_names", "rehash"]


@kernel
def _equal(data: Any, start: Any, pool: Any, at: Any, n: Any) -> Any:
    """Compare ``n`` bytes without leaving early, which lets the compiler take many at once."""
    differ = np.uint8(0)
    for i in range(n):
        differ |= data[start + i] ^ pool[at + i]
    return differ == 0


@kernel
def rehash(pool: Any, ends: Any, n_names: int, slots: Any) -> None:
    """Fill the hash table ``slots`` (all -1) with the first ``n_names`` names; see `index_names`."""
    mask = np.uint64(len(slots) - 1)
    for number in range(n_names):
        slot = _hash(pool, ends[number], ends[number + 1] - ends[number]) & mask
        while slots[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = number


@kernel
def _hash(data: Any, start: int, n: int) -> Any:
    mixed = BASIS
    for j in range(n):
        mixed = mix(mixed, np.uint64(data[start + j]))
    return mixed


@kernel
def index_names(
    data: Any,
    border: Any,
    key_length: Any,
    n_entries: Any,
    ids: Any,
    pool: Any,
    ends: Any,
    after: Any,
    slots: Any,
    state: Any,
) -> Any:
    """Number the names of one inflated basket of strings; equal names get equal numbers.

    A file repeats the same names in the same order for each lumisection, so the name that followed last time is tried first.

    Args:
        data: ``(n,)`` uint8, see `decode`.
        border: See `decode`.
        key_length: See `decode`.
        n_entries: See `decode`.
        ids: ``(n_entries,)`` int32, output.
        pool: ``(p,)`` uint8, all names seen, one after the other; room for ``border`` more bytes.
        ends: ``(m + 1,)`` int64: where each name ends in ``pool``, after a leading 0; room for ``n_entries`` more.
        after: ``(m,)`` int32: the number of the name that last came after each one; -1 at first.
        slots: ``(2**q,)`` int32, hash table of numbers, -1 where empty, at most half full.
        state: ``(2,)`` int64: how many names, the number of the last name met.

    Returns:
        -1, or the first entry that makes no sense.
    """
    if border < 0 or n_entries < 0 or border + 4 + 4 * n_entries > len(data):
        return 0
    n_names, previous = state[0], state[1]
    mask = np.uint64(len(slots) - 1)
    for i in range(n_entries):
        start = np.int64(be32(data, border + 4 + 4 * i)) - key_length
        stop = border
        if i + 1 < n_entries:
            stop = np.int64(be32(data, border + 8 + 4 * i)) - key_length
        if start < 0 or start >= stop or stop > border or after_text(data, start, stop) != stop:
            return i
        start += 5 if data[start] == 255 else 1
        n = stop - start
        number = -1
        if previous >= 0:
            guess = after[previous]
            if guess >= 0 and ends[guess + 1] - ends[guess] == n and _equal(data, start, pool, ends[guess], n):
                number = guess
        if number < 0:
            slot = _hash(data, start, n) & mask
            while slots[slot] >= 0:
                known = slots[slot]
                if ends[known + 1] - ends[known] == n and _equal(data, start, pool, ends[known], n):
                    number = known
                    break
                slot = (slot + np.uint64(1)) & mask
            if number < 0:
                number = n_names
                slots[slot] = number
                at = ends[number]
                for j in range(n):
                    pool[at + j] = data[start + j]
                ends[number + 1] = at + n
                after[number] = -1
                n_names += 1
        if previous >= 0:
            after[previous] = number
        previous = number
        ids[i] = number
    state[0], state[1] = n_names, previous
    return -1
