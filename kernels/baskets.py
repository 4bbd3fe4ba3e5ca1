"""Decode the entries of a ROOT basket: where each histogram's numbers lie, and their copy in machine order.

Nothing in the bytes is trusted: every length, count and offset is compared with the end of its entry before it is used.
A histogram is a nest of *blocks*, each with its own byte count, so that whatever a block holds can be stepped over.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dqmroot.kernels.bytes import BASIS, after_text, be16, be32, be64, bef64, mix
from dqmroot.kernels.jit import kernel

__all__ = ["BUFFERED", "CLASS", "COUNT", "LAYOUT", "OK", "OTHER_SIZE", "START", "STATUS", "STOP", "TABLE"]

OK, TABLE, CLASS, LAYOUT, COUNT, BUFFERED, OTHER_SIZE = range(7)
"""What `decode` says of an entry: fine; offsets that make no sense; another class; not the known layout; as many contents
as cells it has not; unbinned fills that are still in a buffer; other sizes than planned."""

# Columns of `found`.
STATUS, N, N_SUMW2, N_BIN_SUMW2, BINS, LABELS, START, STOP = range(8)
# Columns of `at`, what `locate` finds inside one entry.
_CONTENTS, _SUMW2, _BIN_ENTRIES, _BIN_SUMW2 = range(4)

_HAS_COUNT = np.uint32(0x40000000)
_COUNT_BITS = np.uint32(0x3FFFFFFF)
_NEW_CLASS = np.uint32(0xFFFFFFFF)
_REFERENCED = np.uint32(0x10)


@kernel
def _end(data: Any, at: Any, stop: Any) -> Any:
    """End of the byte-counted block at ``at``; -1 where there is none that fits before ``stop``."""
    if at < 0 or at + 6 > stop:
        return -1
    word = be32(data, at)
    if word & _HAS_COUNT == 0:
        return -1
    end = at + 4 + np.int64(word & _COUNT_BITS)
    if end > stop or end < at + 6:
        return -1
    return end


@kernel
def _after_array(data: Any, at: Any, stop: Any, size: Any) -> Any:
    """First byte after an array ``{i32 n, n elements}``; -1 where it does not fit."""
    if at < 0 or at + 4 > stop:
        return -1
    n = np.int64(np.int32(be32(data, at)))
    if n < 0 or at + 4 + n * size > stop:
        return -1
    return at + 4 + n * size


@kernel
def _labels(data: Any, at: int, stop: int, fingerprint: Any) -> Any:
    """Mix the bin labels (list of TObjString: text, and bin number as unique id) at ``at`` into ``fingerprint``."""
    if at + 4 > stop or be32(data, at) == 0:
        return fingerprint
    end = _end(data, at, stop)
    if end < 0:
        return mix(fingerprint, np.uint64(1))
    # Class tag, then the list: byte count, version, TObject, name, number of objects.
    at += 8
    if be32(data, at - 4) == _NEW_CLASS:
        while at < end and data[at] != 0:
            at += 1
        at += 1
    if _end(data, at, end) < 0 or at + 16 > end:
        return mix(fingerprint, np.uint64(2))
    at += 16 + (2 if be32(data, at + 12) & _REFERENCED else 0)
    at = after_text(data, at, end)
    if at < 0 or at + 4 > end:
        return mix(fingerprint, np.uint64(3))
    n = np.int64(be32(data, at))
    at += 4
    for _ in range(n):
        last = _end(data, at, end)
        if last < 0:
            return mix(fingerprint, np.uint64(4))
        at += 8
        if at <= last and be32(data, at - 4) == _NEW_CLASS:
            while at < last and data[at] != 0:
                at += 1
            at += 1
        if at + 16 > last:
            return mix(fingerprint, np.uint64(5))
        fingerprint = mix(fingerprint, np.uint64(be32(data, at + 8)))
        at += 16 + (2 if be32(data, at + 12) & _REFERENCED else 0)
        while at + 8 <= last:
            fingerprint = mix(fingerprint, be64(data, at))
            at += 8
        while at < last:
            fingerprint = mix(fingerprint, np.uint64(data[at]))
            at += 1
        at = after_text(data, last, end)
        if at < 0:
            return mix(fingerprint, np.uint64(6))
    return fingerprint


@kernel
def _axis(data: Any, at: Any, stop: Any, found: Any) -> Any:
    """Read one axis into the fingerprints; returns cells along it (bins and two flow bins), or -1."""
    end = _end(data, at, stop)
    if end < 0 or not 9 <= be16(data, at + 4) <= 10:
        return -1
    at = _end(data, at + 6, end)  # TNamed
    at = _end(data, at, end)  # TAttAxis
    if at < 0 or at + 24 > end:
        return -1
    nbins = np.int64(np.int32(be32(data, at)))
    if nbins < 0:
        return -1
    bins = mix(np.uint64(found[BINS]), np.uint64(nbins))
    bins = mix(mix(bins, be64(data, at + 4)), be64(data, at + 12))
    edges = at + 20
    at = _after_array(data, edges, end, 8)
    if at < 0:
        return -1
    for i in range((at - edges - 4) // 8):
        bins = mix(bins, be64(data, edges + 4 + 8 * i))
    found[BINS] = np.int64(bins)
    at = after_text(data, at + 11, end)  # fFirst, fLast, fBits2, fTimeDisplay, then fTimeFormat
    if at < 0:
        return -1
    found[LABELS] = np.int64(_labels(data, at, end, np.uint64(found[LABELS])))
    return nbins + 2


@kernel
def _histogram(data: Any, at: Any, stop: Any, found: Any, entries: Any, row: Any, where: Any) -> Any:
    """Read the TH1 part between ``at`` and ``stop``; returns the number of cells, or a negative `status`."""
    if not 6 <= be16(data, at + 4) <= 8:
        return -LAYOUT
    at += 6
    for _ in range(4):  # TNamed, TAttLine, TAttFill, TAttMarker
        at = _end(data, at, stop)
        if at < 0:
            return -LAYOUT
    if at + 4 > stop:
        return -LAYOUT
    cells = np.int64(np.int32(be32(data, at)))
    at += 4
    found[BINS] = np.int64(BASIS)
    found[LABELS] = np.int64(BASIS)
    product = 1
    for axis in range(3):
        along = _axis(data, at, stop, found)
        if along < 0:
            return -LAYOUT
        # A missing axis has one bin and no flow bins of its own.
        if axis == 0 or where[4] > axis:
            product *= along
            if product > 0x7FFFFFFF:
                return -COUNT
        at = _end(data, at, stop)
    if cells != product:
        return -COUNT
    if at + 4 + 64 > stop:
        return -LAYOUT
    entries[row] = bef64(data, at + 4)
    at = _after_array(data, at + 68, stop, 8)  # contour
    where[_SUMW2] = at
    at = _after_array(data, at, stop, 8)
    at = after_text(data, at, stop)  # fOption
    at = _end(data, at, stop)  # fFunctions
    if at < 0 or at + 5 > stop:
        return -LAYOUT
    size = np.int64(np.int32(be32(data, at)))
    if data[at + 4] != 0 and size > 0:
        if at + 5 + 8 * size > stop:
            return -LAYOUT
        if not bef64(data, at + 5) <= 0:  # below zero: a buffer that has been emptied
            return -BUFFERED
    return cells


@kernel
def _array_of(data: Any, at: Any, stop: Any, size: Any, cells: Any, empty: Any) -> Any:
    """Number of elements of the array at ``at``: ``cells``, or 0 where ``empty`` may be; else -1."""
    end = _after_array(data, at, stop, size)
    if end < 0:
        return -1
    n = (end - at - 4) // size
    if n == cells or (empty and n == 0):
        return n
    return -1


@kernel
def locate(
    data: Any, start: Any, stop: Any, shape: Any, name: Any, found: Any, entries: Any, row: Any, where: Any
) -> Any:
    """Find the parts of the histogram between ``start`` and ``stop``.

    Args:
        data: ``(n,)`` uint8.
        start: First byte of the entry.
        stop: First byte after it; not beyond the end of ``data``.
        shape: ``(6,)`` int64: has header, nested blocks around TH1, number of the block after which the contents stand,
            bytes of one content, is a profile, dimensions.
        name: ``(k,)`` uint8, the class name where there is a header.
        found: ``(8,)`` int64, output: status, sizes, fingerprints of bins and labels, start and stop.
        entries: ``(rows,)`` float64; ``entries[row]`` is written.
        row: Where to write.
        where: ``(5,)`` int64, scratch and output: positions of contents, Σw², bin entries, their Σw² (at their counts).

    Returns:
        The status, also in ``found[0]``.
    """
    found[STATUS] = _locate(data, start, stop, shape, name, found, entries, row, where)
    return found[STATUS]


@kernel
def _locate(
    data: Any, start: Any, stop: Any, shape: Any, name: Any, found: Any, entries: Any, row: Any, where: Any
) -> Any:
    header, depth, content_block, size, profile = shape[0], shape[1], shape[2], shape[3], shape[4]
    found[START], found[STOP] = start, stop
    where[4] = shape[5]
    at = start
    if header:
        if at + 2 + len(name) > stop or np.int64(data[at]) != len(name) or data[at + 1 + len(name)] != 0:
            return CLASS
        for i in range(len(name)):
            if data[at + 1 + i] != name[i]:
                return CLASS
        at += 2 + len(name)
        if _end(data, at, stop) != stop:
            return LAYOUT
        at += 6
    contents = -1
    limit = stop
    outer = stop
    for level in range(depth + 1):
        end = _end(data, at, limit)
        if end < 0:
            return LAYOUT
        if level == content_block:
            contents = end
            outer = limit
        limit = end
        if level == 0:
            first_end = end
        if level < depth:
            at += 6
    cells = _histogram(data, at, limit, found, entries, row, where)
    if cells < 0:
        return -cells
    found[N] = cells
    where[_CONTENTS] = contents
    if _array_of(data, contents, outer, size, cells, False) < 0:
        return COUNT
    n = _array_of(data, where[_SUMW2], limit, 8, cells, not profile)
    if n < 0:
        return COUNT
    found[N_SUMW2] = n
    found[N_BIN_SUMW2] = 0
    if not profile:
        # The contents are the last thing of an entry: whatever follows is not the known layout.
        return OK if contents + 4 + cells * size == stop else LAYOUT
    where[_BIN_ENTRIES] = first_end
    if contents + 4 + cells * size != first_end or _array_of(data, first_end, stop, 8, cells, False) < 0:
        return LAYOUT
    at = first_end + 4 + 8 * cells + 36  # fErrorMode, fYmin, fYmax, fTsumwy, fTsumwy2
    if at == stop:
        return OK
    where[_BIN_SUMW2] = at
    n = _array_of(data, at, stop, 8, cells, True)
    if n < 0 or at + 4 + 8 * n != stop:
        return LAYOUT
    found[N_BIN_SUMW2] = n
    return OK


@kernel
def _copy(data: Any, at: int, n: int, out: Any) -> None:
    """Copy ``n`` big-endian words of the width of ``out``, unsigned integers of 1, 2, 4 or 8 bytes."""
    if out.itemsize == 1:
        for i in range(n):
            out[i] = data[at + i]
    elif out.itemsize == 2:
        for i in range(n):
            out[i] = be16(data, at + 2 * i)
    elif out.itemsize == 4:
        for i in range(n):
            out[i] = be32(data, at + 4 * i)
    else:
        for i in range(n):
            out[i] = be64(data, at + 8 * i)


@kernel
def decode(
    data: Any,
    border: Any,
    key_length: Any,
    n_entries: Any,
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
) -> Any:
    """Decode some entries of one inflated basket straight into their places.

    Args:
        data: ``(n,)`` uint8, the inflated basket, entries first, then the table of their offsets.
        border: Where the entries end.
        key_length: What the offsets in the table are too large by.
        n_entries: Entries of the basket.
        local: ``(k,)`` int64, the entries wanted, counted in the basket.
        rows: ``(k,)`` int64, the row of each in the arrays below.
        shape: See `locate`.
        name: See `locate`.
        plan: ``(rows, 4)`` int64: place of the contents in ``contents`` and ``bin_entries``, their number (-1: only look),
            places in ``sumw2`` and ``bin_sumw2`` (-1: none planned).
        found: ``(rows, 8)`` int64, output.
        entries: ``(rows,)`` float64, output.
        contents: ``(m,)`` unsigned words, output.
        sumw2: ``(m2,)`` uint64 (the bits of float64), output.
        bin_entries: The same, for profiles.
        bin_sumw2: The same, for profiles.

    Returns:
        Number of rows whose status is not `OK`.
    """
    bad = 0
    where = np.zeros(5, np.int64)
    table_fits = border >= 0 and n_entries >= 0 and border + 4 + 4 * n_entries <= len(data)
    for k in range(len(local)):
        i, row = local[k], rows[k]
        seen = found[row]
        if not table_fits or i < 0 or i >= n_entries:
            seen[STATUS] = TABLE
            bad += 1
            continue
        start = np.int64(be32(data, border + 4 + 4 * i)) - key_length
        stop = border
        if i + 1 < n_entries:
            stop = np.int64(be32(data, border + 8 + 4 * i)) - key_length
        if start < 0 or stop < start or stop > border:
            seen[STATUS] = TABLE
            bad += 1
            continue
        if locate(data, start, stop, shape, name, seen, entries, row, where) != OK:
            bad += 1
            continue
        n = plan[row, 1]
        if n < 0:
            continue
        at, at_sumw2, at_bin_sumw2 = plan[row, 0], plan[row, 2], plan[row, 3]
        if (
            seen[N] != n
            or (seen[N_SUMW2] > 0 and not shape[4] and at_sumw2 < 0)
            or (seen[N_BIN_SUMW2] > 0 and at_bin_sumw2 < 0)
        ):
            seen[STATUS] = OTHER_SIZE
            bad += 1
            continue
        _copy(data, where[_CONTENTS] + 4, n, contents[at : at + n])
        if at_sumw2 >= 0:
            _copy(data, where[_SUMW2] + 4, seen[N_SUMW2], sumw2[at_sumw2 : at_sumw2 + n])
        if shape[4]:
            _copy(data, where[_BIN_ENTRIES] + 4, n, bin_entries[at : at + n])
        if at_bin_sumw2 >= 0:
            _copy(data, where[_BIN_SUMW2] + 4, seen[N_BIN_SUMW2], bin_sumw2[at_bin_sumw2 : at_bin_sumw2 + n])
    return bad
