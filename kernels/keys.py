"""ROOT's keys and the heads of histograms: where names, titles and axes stand, found for many at once.

Nothing in the bytes is trusted: every length is compared with the end of its list before it is used.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dqmroot.kernels.baskets import LAYOUT, OK, _after_array, _copy, _end, locate
from dqmroot.kernels.bytes import after_text, be16, be32, be64, bef64
from dqmroot.kernels.jit import kernel

__all__ = ["AXIS_COLUMNS", "KEY_COLUMNS", "find", "gather", "heads", "walk_keys"]

KEY_COLUMNS = 12
"""Columns of a key: bytes in the file, bytes of the object, bytes of the key, cycle, place in the file, place of its
directory, then begin and end of class, name and title in the list."""
AXIS_COLUMNS = 6
"""Columns of an axis: bins, begin of its edges, how many, begin and end of its title, whether it has labels."""


@kernel
def _text(data: Any, at: Any, stop: Any, out: Any) -> Any:
    """Put begin and end of the TString at ``at`` into ``out``; returns the first byte after it, or -1."""
    end = after_text(data, at, stop)
    if end < 0:
        return -1
    out[0] = at + (5 if data[at] == 255 else 1)
    out[1] = end
    return end


@kernel
def walk_keys(data: Any, start: int, stop: int, out: Any) -> int:
    """Read the keys of one directory.

    Args:
        data: ``(n,)`` uint8.
        start: Where the first key begins.
        stop: Where the list ends; not beyond the end of ``data``.
        out: ``(keys, KEY_COLUMNS)`` int64, output.

    Returns:
        -1, or the number of the first key that makes no sense.
    """
    at = start
    for i in range(len(out)):
        row = out[i]
        if at < 0 or at + 26 > stop:
            return i
        row[0] = np.int64(np.int32(be32(data, at)))
        large = be16(data, at + 4) > 1000
        row[1] = np.int64(np.int32(be32(data, at + 6)))
        row[2] = np.int64(be16(data, at + 14))
        row[3] = np.int64(be16(data, at + 16))
        if large:
            if at + 34 > stop:
                return i
            row[4], row[5] = np.int64(be64(data, at + 18)), np.int64(be64(data, at + 26))
            at += 34
        else:
            row[4], row[5] = np.int64(be32(data, at + 18)), np.int64(be32(data, at + 22))
            at += 26
        for column in range(6, 12, 2):
            at = _text(data, at, stop, row[column : column + 2])
            if at < 0:
                return i
        if row[0] < row[2] or row[1] < 0 or row[4] < 0 or row[5] < 0:
            return i
    return -1


@kernel
def find(data: Any, starts: Any, stops: Any, shape: Any, name: Any, found: Any, entries: Any, where: Any) -> int:
    """Find the numbers of histograms of one class that lie one after the other in a buffer.

    Args:
        data: ``(n,)`` uint8.
        starts: ``(k,)`` int64, first byte of each, where its byte count and version stand.
        stops: ``(k,)`` int64, first byte after each; not beyond the end of ``data``.
        shape: See `dqmroot.kernels.baskets.locate`; without a header.
        name: See `dqmroot.kernels.baskets.locate`.
        found: ``(k, 8)`` int64, output, see `dqmroot.kernels.baskets.locate`.
        entries: ``(k,)`` float64, output.
        where: ``(k, 5)`` int64, output, see `dqmroot.kernels.baskets.locate`.

    Returns:
        Number of histograms whose status is not `OK`.
    """
    bad = 0
    for i in range(len(starts)):
        if _end(data, starts[i], stops[i]) != stops[i]:
            found[i, 0] = LAYOUT
        else:
            locate(data, starts[i] + 6, stops[i], shape, name, found[i], entries, i, where[i])
        bad += found[i, 0] != OK
    return bad


@kernel
def gather(
    data: Any, where: Any, plan: Any, found: Any, contents: Any, sumw2: Any, bin_entries: Any, bin_sumw2: Any
) -> int:
    """Copy what `find` found to its places.

    Args:
        data: See `find`.
        where: See `find`.
        plan: ``(k, 4)`` int64, see `dqmroot.kernels.baskets.decode`.
        found: See `find`.
        contents: ``(m,)`` unsigned words, output.
        sumw2: ``(m2,)`` uint64, output.
        bin_entries: The same, for profiles; empty for others.
        bin_sumw2: The same, for profiles.

    Returns:
        -1, or the first histogram whose numbers do not go where they were planned.
    """
    for i in range(len(plan)):
        at, n, at_sumw2, at_bin_sumw2 = plan[i, 0], plan[i, 1], plan[i, 2], plan[i, 3]
        if n != found[i, 1] or at < 0 or at + n > len(contents):
            return i
        _copy(data, where[i, 0] + 4, n, contents[at : at + n])
        if at_sumw2 >= 0:
            if found[i, 2] != n or at_sumw2 + n > len(sumw2):
                return i
            _copy(data, where[i, 1] + 4, n, sumw2[at_sumw2 : at_sumw2 + n])
        if len(bin_entries) > 0:
            _copy(data, where[i, 2] + 4, n, bin_entries[at : at + n])
        if at_bin_sumw2 >= 0:
            if found[i, 3] != n or at_bin_sumw2 + n > len(bin_sumw2):
                return i
            _copy(data, where[i, 3] + 4, n, bin_sumw2[at_bin_sumw2 : at_bin_sumw2 + n])
    return -1


@kernel
def heads(data: Any, starts: Any, stops: Any, depth: int, axes: Any, limits: Any, titles: Any, status: Any) -> None:
    """Find titles and axes of histograms that lie one after the other in a buffer.

    Args:
        data: ``(n,)`` uint8.
        starts: ``(k,)`` int64, first byte of each histogram, where its byte count and version stand.
        stops: ``(k,)`` int64, first byte after each; not beyond the end of ``data``.
        depth: Blocks around TH1.
        axes: ``(k, dimensions, AXIS_COLUMNS)`` int64, output.
        limits: ``(k, dimensions, 2)`` float64, output: low and high.
        titles: ``(k, 2)`` int64, output: begin and end.
        status: ``(k,)`` bool, output: whether all of it made sense.
    """
    for i in range(len(starts)):
        status[i] = _head(data, starts[i] + 6, stops[i], depth, axes[i], limits[i], titles[i])


@kernel
def _head(data: Any, start: int, stop: int, depth: int, axes: Any, limits: Any, title: Any) -> bool:
    at = start
    for _ in range(depth):
        if _end(data, at, stop) < 0:
            return False
        at += 6
    stop = _end(data, at, stop)
    if stop < 0:
        return False
    at = _named(data, at + 6, stop, title)
    for _ in range(3):  # TAttLine, TAttFill, TAttMarker
        at = _end(data, at, stop)
    if at < 0:
        return False
    at += 4  # fNcells
    for axis in range(len(axes)):
        end = _end(data, at, stop)
        if end < 0:
            return False
        row = axes[axis]
        at = _named(data, at + 6, end, row[3:5])
        at = _end(data, at, end)  # TAttAxis
        if at < 0 or at + 24 > end:
            return False
        row[0] = np.int64(np.int32(be32(data, at)))
        limits[axis, 0], limits[axis, 1] = bef64(data, at + 4), bef64(data, at + 12)
        row[1] = at + 24
        at = _after_array(data, at + 20, end, 8)
        if row[0] < 0 or at < 0:
            return False
        row[2] = (at - row[1]) // 8
        at = after_text(data, at + 11, end)  # fFirst, fLast, fBits2, fTimeDisplay, then fTimeFormat
        if at < 0:
            return False
        row[5] = at + 4 <= end and be32(data, at) != 0
        at = end
    return True


@kernel
def _named(data: Any, at: Any, stop: Any, title: Any) -> Any:
    """Put begin and end of the title of the TNamed at ``at`` into ``title``; returns the first byte after it, or -1."""
    end = _end(data, at, stop)
    if end < 0 or at + 16 > end:
        return -1
    # Byte count and version, then TObject: version, unique id, bits, and a process number where it is referred to.
    inner = at + 16 + (2 if be32(data, at + 12) & np.uint32(0x10) else 0)
    inner = after_text(data, inner, end)
    if _text(data, inner, end, title) < 0:
        return -1
    return end
