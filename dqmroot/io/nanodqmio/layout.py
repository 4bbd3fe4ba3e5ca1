"""What a histogram says of itself, read once per monitoring element: title, axes, labels.

The numbers are read by the kernels; this reads the rest, in plain Python, from the bytes of one entry (ROOT's streamer
layout of TH1 and its heirs; byte counts step over what is not needed).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.series import Axis

__all__ = ["CLASSES", "STORAGES", "Description", "LayoutError", "Parts", "Storage", "describe", "histogram_block"]


Doubles = NDArray[np.float64]

_CAN_EXTEND = 2  # of TAxis::fBits2


class LayoutError(ValueError):
    """Bytes that are not the layout they should be."""


@dataclass(frozen=True)
class Storage:
    """How histograms of one class lie in their entries.

    Args:
        name: Class name, ``"TH2F"``.
        dtype: Of the contents.
        dimensions: Number of axes.
        depth: Blocks around TH1.
        content_block: Number of the block after whose end the contents stand.
        profile: Whether the contents are sums of a profile.
    """

    name: str
    dtype: np.dtype[np.generic]
    dimensions: int
    depth: int
    content_block: int
    profile: bool = False

    def shape(self, *, header: bool) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Return the numbers that `dqmroot.kernels.baskets.decode` takes."""
        size = self.dtype.itemsize
        numbers = (header, self.depth, self.content_block, size, self.profile, self.dimensions)
        return np.array(numbers, np.int64)


_TYPES = {"F": "f4", "S": "i2", "D": "f8", "I": "i4"}
STORAGES: dict[str, Storage] = {
    **{f"TH1{x}s": Storage(f"TH1{x}", np.dtype(t), 1, 0, 0) for x, t in _TYPES.items()},
    **{f"TH2{x}s": Storage(f"TH2{x}", np.dtype(t), 2, 1, 0) for x, t in _TYPES.items()},
    "TH3Fs": Storage("TH3F", np.dtype("f4"), 3, 1, 0),
    "TProfiles": Storage("TProfile", np.dtype("f8"), 1, 1, 1, profile=True),
    "TProfile2Ds": Storage("TProfile2D", np.dtype("f8"), 2, 2, 1, profile=True),
}
"""By the name of the tree."""

_MORE = {**_TYPES, "C": "i1", "L": "i8"}
CLASSES: dict[str, Storage] = {
    **{f"TH1{x}": Storage(f"TH1{x}", np.dtype(t), 1, 0, 0) for x, t in _MORE.items()},
    **{f"TH2{x}": Storage(f"TH2{x}", np.dtype(t), 2, 1, 0) for x, t in _MORE.items()},
    **{f"TH3{x}": Storage(f"TH3{x}", np.dtype(t), 3, 1, 0) for x, t in _MORE.items()},
    **{storage.name: storage for storage in STORAGES.values() if storage.profile},
    "TProfile3D": Storage("TProfile3D", np.dtype("f8"), 3, 2, 1, profile=True),
}
"""By the name of the class: every histogram of ROOT whose bins lie in a grid."""


@dataclass(frozen=True)
class Description:
    """Title and axes of a histogram, and which of these may grow."""

    title: str
    axes: tuple[Axis, ...]
    grows: tuple[bool, ...] = ()


class _Cursor:
    """Read forward through bytes; never past ``stop``."""

    def __init__(self, data: bytes, at: int, stop: int) -> None:
        self.data, self.at, self.stop = data, at, stop

    def take(self, n: int) -> bytes:
        if n < 0 or self.at + n > self.stop:
            raise LayoutError(f"{n} bytes at {self.at} do not fit before {self.stop}")
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self, kind: str) -> int:
        made: int = struct.unpack(">" + kind, self.take(struct.calcsize(kind)))[0]
        return made

    def double(self) -> float:
        made: float = struct.unpack(">d", self.take(8))[0]
        return made

    def text(self) -> str:
        n = self.number("B")
        if n == 255:
            n = self.number("I")
        return self.take(n).decode("utf-8", "backslashreplace")

    def block(self) -> _Cursor:
        """Step over a byte-counted block; return a cursor on what is in it, after its version."""
        word = self.number("I")
        if not word & 0x40000000:
            raise LayoutError(f"no byte count at {self.at - 4}")
        inner = _Cursor(self.data, self.at, self.at + (word & 0x3FFFFFFF))
        self.take(inner.stop - inner.at)
        inner.number("H")
        return inner

    def tobject(self) -> int:
        """Step over a TObject; return its unique id."""
        self.number("H")
        unique, bits = self.number("I"), self.number("I")
        if bits & 0x10:
            self.number("H")
        return unique

    def doubles(self) -> Doubles:
        n = self.number("i")
        return np.frombuffer(self.take(8 * n), ">f8").astype(np.float64)


def describe(entry: bytes, storage: Storage, *, header: bool) -> Description:
    """Read title and axes from the bytes of one entry.

    Raises:
        LayoutError: The bytes are not a histogram of that class as ROOT writes it.
    """
    cursor = _Cursor(entry, 0, len(entry))
    if header:
        n = cursor.number("B")
        cursor.take(n + 1)
        cursor = cursor.block()
    for _ in range(storage.depth + 1):
        cursor = cursor.block()
    named = cursor.block()
    named.tobject()
    named.text()
    title = named.text()
    for _ in range(3):  # TAttLine, TAttFill, TAttMarker
        cursor.block()
    cursor.number("i")  # fNcells
    axes, grow = zip(*(_axis(cursor.block()) for _ in range(storage.dimensions)), strict=True)
    return Description(title, axes, grow)


@dataclass
class Parts:
    """Numbers of one histogram, flat, and the fills its buffer holds (count, then weight and coordinates of each)."""

    entries: float
    contents: np.ndarray[Any, Any]
    sumw2: Doubles
    buffer: Doubles
    bin_entries: Doubles | None = None
    bin_sumw2: Doubles | None = None


def histogram_block(entry: bytes, storage: Storage, *, header: bool) -> Parts:
    """Read the numbers of one entry in plain Python.

    Raises:
        LayoutError: The bytes are not a histogram of that class as ROOT writes it.
    """
    cursor = _Cursor(entry, 0, len(entry))
    if header:
        cursor.take(cursor.number("B") + 1)
        cursor = cursor.block()
    levels = [cursor]
    for _ in range(storage.depth + 1):
        levels.append(levels[-1].block())
    th1 = levels[-1]
    for _ in range(4):  # TNamed, TAttLine, TAttFill, TAttMarker
        th1.block()
    th1.number("i")
    for _ in range(3):
        th1.block()
    th1.number("I")  # fBarOffset, fBarWidth
    entries = th1.double()
    th1.take(7 * 8)
    th1.doubles()  # fContour
    sumw2 = th1.doubles()
    th1.text()
    th1.block()
    size, stored = th1.number("i"), th1.number("B")
    buffer = np.frombuffer(th1.take(8 * size if stored else 0), ">f8").astype(np.float64)
    # The cursor of the block around the one after which the contents stand is now at them.
    around = levels[storage.content_block]
    count = around.number("i")
    contents = np.frombuffer(around.take(count * storage.dtype.itemsize), storage.dtype.newbyteorder(">")).astype(
        storage.dtype
    )
    parts = Parts(entries, contents, sumw2, buffer)
    if storage.profile:
        outer = levels[0]
        parts.bin_entries = outer.doubles()
        outer.take(36)  # fErrorMode, fYmin, fYmax, fTsumwy, fTsumwy2
        parts.bin_sumw2 = outer.doubles() if outer.at < outer.stop else None
    return parts


def _axis(cursor: _Cursor) -> tuple[Axis, bool]:
    """Read an axis, and whether it may grow."""
    named = cursor.block()
    named.tobject()
    named.text()
    title = named.text()
    cursor.block()  # TAttAxis
    nbins, low, high = cursor.number("i"), cursor.double(), cursor.double()
    edges = cursor.doubles()
    if nbins < 0 or len(edges) not in {0, nbins + 1}:
        raise LayoutError(f"an axis of {nbins} bins with {len(edges)} edges")
    cursor.take(8)  # fFirst, fLast
    grows = bool(cursor.number("H") & _CAN_EXTEND)
    cursor.take(1)  # fTimeDisplay
    cursor.text()
    labels = _labels(cursor, nbins)
    return Axis(nbins, low, high, edges if len(edges) else None, labels, title), grows


def _labels(cursor: _Cursor, nbins: int) -> tuple[str, ...]:
    """Read fLabels: a THashList of TObjString whose unique id is the bin number."""
    if cursor.number("I") == 0:
        return ()
    cursor.at -= 4
    content = _object(cursor)
    content.number("H")
    content.tobject()
    content.text()
    out = [""] * nbins
    for _ in range(content.number("I")):
        item = _object(content)
        item.number("H")
        number = item.tobject()
        text = item.text()
        content.text()  # the option that TList keeps beside each object
        if 1 <= number <= nbins:
            out[number - 1] = text
    return tuple(out)


def _object(cursor: _Cursor) -> _Cursor:
    """Step over an object stored with its class; return a cursor on its own byte-counted block, at the version."""
    word = cursor.number("I")
    if not word & 0x40000000:
        raise LayoutError(f"no byte count of an object at {cursor.at - 4}")
    inner = _Cursor(cursor.data, cursor.at, cursor.at + (word & 0x3FFFFFFF))
    cursor.take(inner.stop - inner.at)
    if inner.number("I") == 0xFFFFFFFF:
        while inner.take(1) != b"\0":
            pass
    count = inner.number("I")
    if not count & 0x40000000:
        raise LayoutError(f"no byte count of a block at {inner.at - 4}")
    return inner
