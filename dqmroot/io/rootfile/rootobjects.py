"""The bytes of ROOT objects: histograms and strings, as ROOT itself streams them.

Layout and class versions are those of `TH1::Streamer` and its kin (TH1 8, TH2 5, TH3 6, TProfile 7, TProfile2D 8,
TAxis 10); every number is big-endian. A byte count carries the bit 0x40000000.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import UsageError
from dqmroot.series import Axis

__all__ = ["Histogram", "histogram_bytes", "string_bytes"]

_DTYPES = {
    "TH1F": ">f4", "TH1D": ">f8", "TH2F": ">f4", "TH2D": ">f8", "TH3F": ">f4", "TProfile": ">f8", "TProfile2D": ">f8",
    "TH1S": ">i2", "TH1I": ">i4", "TH2S": ">i2", "TH2I": ">i4",
}  # fmt: skip
_VERSIONS = {
    "TH1F": 3, "TH1D": 3, "TH2F": 4, "TH2D": 4, "TH3F": 4, "TProfile": 7, "TProfile2D": 8,
    "TH1S": 3, "TH1I": 3, "TH2S": 4, "TH2I": 4,
}  # fmt: skip
_DIMENSIONS = {
    "TH1F": 1, "TH1D": 1, "TH2F": 2, "TH2D": 2, "TH3F": 3, "TProfile": 1, "TProfile2D": 2,
    "TH1S": 1, "TH1I": 1, "TH2S": 2, "TH2I": 2,
}  # fmt: skip
# kNotDeleted | kIsOnHeap, as every object that ROOT has written carries them.
_BITS = 0x03000000
_NO_STATS = 0x200
_UNSET = -1111.0


@dataclass(frozen=True, eq=False)
class Histogram:
    """One histogram to be written.

    Args:
        name: Name of the object and of its key.
        storage: ROOT class: TH1F, TH1D, TH2F, TH2D, TH3F, TProfile or TProfile2D.
        axes: x, y, z.
        contents: ``([nz+2,] [ny+2,] nx+2)`` with flow bins; for profiles Σw·y.
        title: Title of the object.
        sumw2: Same shape: squared errors (profiles: Σw·y²), or ``None``: the contents are counts.
        bin_entries: Profiles only: Σw, same shape.
        bin_sumw2: Profiles only: Σw², same shape; ``None`` where every weight is 1.
        entries: ROOT's fEntries; by default the number of bins.
        minimum: Lower end of the drawn range of contents.
        maximum: Upper end of the drawn range of contents.
        option: Drawing option kept with the object, ``"colz"``.
        stats: Whether the box of statistics is drawn.
        value_title: What the contents are: title of the axis that follows the last of ``axes``.
    """

    name: str
    storage: str
    axes: tuple[Axis, ...]
    contents: NDArray[Any]
    title: str = ""
    sumw2: NDArray[Any] | None = None
    bin_entries: NDArray[Any] | None = None
    bin_sumw2: NDArray[Any] | None = None
    entries: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    option: str = ""
    stats: bool = True
    value_title: str = ""

    def __post_init__(self) -> None:
        if self.storage not in _DTYPES:
            raise UsageError(f"{self.name}: cannot write a {self.storage}; there are {', '.join(_DTYPES)}")
        shape = tuple(axis.nbins + 2 for axis in reversed(self.axes))
        if len(shape) != _DIMENSIONS[self.storage]:
            raise UsageError(f"{self.name}: a {self.storage} has {_DIMENSIONS[self.storage]} axes, not {len(shape)}")
        for what in ("contents", "sumw2", "bin_entries", "bin_sumw2"):
            array = getattr(self, what)
            if array is not None and np.shape(array) != shape:
                raise UsageError(f"{self.name}: {what} has shape {np.shape(array)}, the axes say {shape}")
        if self.storage.startswith("TProfile") and (self.bin_entries is None or self.sumw2 is None):
            raise UsageError(f"{self.name}: a profile needs bin_entries and sumw2")


def string_bytes(text: str) -> bytes:
    """Return a TObjString."""
    return _counted(1, _tobject() + _string(text))


def histogram_bytes(histogram: Histogram) -> bytes:
    """Return a histogram of any class that `Histogram` knows."""
    storage = histogram.storage
    body = _base(histogram)
    if storage.startswith("TH2") or storage == "TProfile2D":
        # fScalefactor, fTsumwy, fTsumwy2, fTsumwxy: ROOT works the sums out from the bins where they are 0.
        body = _counted(5, body + struct.pack(">4d", 1.0, 0.0, 0.0, 0.0))
    elif storage == "TH3F":
        body = _counted(6, body + _counted(1, b"") + struct.pack(">7d", *[0.0] * 7))
    body += _array(histogram.contents, _DTYPES[storage])
    if not storage.startswith("TProfile"):
        return _counted(_VERSIONS[storage], body)
    tail = _array(histogram.bin_entries, ">f8") + struct.pack(">i4d", 0, 0.0, 0.0, 0.0, 0.0)
    tail += _array(histogram.bin_sumw2, ">f8")
    return _counted(_VERSIONS[storage], _counted(3 if storage == "TProfile" else 4, body) + tail)


def _base(histogram: Histogram) -> bytes:
    """TH1, which every histogram starts with."""
    contents = histogram.contents
    bins = 1
    for axis in histogram.axes:
        bins *= axis.nbins
    axes = [_axis(name, *_fields(axis)) for name, axis in zip("xyz", histogram.axes, strict=False)]
    titles = (histogram.value_title, "", "")
    axes += [_axis(name, 1, 0.0, 1.0, b"", (), title) for name, title in zip("xyz"[len(axes) :], titles, strict=False)]
    numbers = struct.pack(
        ">2h8d",
        *(0, 1000),  # fBarOffset, fBarWidth
        float(bins if histogram.entries is None else histogram.entries),
        *(0.0, 0.0, 0.0, 0.0),  # fTsumw …: where 0, ROOT works them out from the bins
        _UNSET if histogram.maximum is None else histogram.maximum,
        _UNSET if histogram.minimum is None else histogram.minimum,
        0.0,  # fNormFactor
    )
    functions = _counted(5, _tobject() + b"\x00" + b"\x00\x00\x00\x00")
    return _counted(
        8,
        _named(histogram.name, histogram.title, 0 if histogram.stats else _NO_STATS)
        + _attributes()
        + struct.pack(">i", contents.size)
        + b"".join(axes)
        + numbers
        + b"\x00\x00\x00\x00"  # fContour
        + _array(histogram.sumw2, ">f8")
        + _string(histogram.option)
        + functions
        # No buffer (its size, and that there is none), normal errors, the usual overflow statistics.
        + struct.pack(">iBii", 0, 0, 0, 2),
    )


def _fields(axis: Axis) -> tuple[int, float, float, bytes, tuple[str, ...], str]:
    edges = b"" if axis.edges is None else np.asarray(axis.edges, ">f8").tobytes()
    return axis.nbins, axis.low, axis.high, edges, axis.labels, axis.title


@lru_cache(maxsize=256)
def _axis(
    name: str, nbins: int, low: float, high: float, edges: bytes, labels: tuple[str, ...], title: str
) -> bytes:  # fmt: skip
    style = struct.pack(
        ">i3h5f2h",
        *(510, 1, 1, 42),  # divisions, axis colour, label colour, label font
        *(
            0.005,
            0.035,
            0.03,
            0.0 if name == "y" else 1.0,
            0.035,
        ),  # label offset and size, ticks, title offset and size
        *(1, 42),  # title colour and font
    )
    return _counted(
        10,
        _named(name + "axis", title)
        + _counted(4, style)
        + struct.pack(">i2di", nbins, low, high, len(edges) // 8)
        + edges
        + struct.pack(">iiHB", 0, 0, 0, 0)  # fFirst, fLast, fBits2, fTimeDisplay
        + b"\x00"  # fTimeFormat
        + _labels(labels)
        + b"\x00\x00\x00\x00",  # fModLabs
    )


def _labels(labels: Sequence[str]) -> bytes:
    """A THashList of TObjString whose unique id is the bin; the null pointer where no bin has a label."""
    items = [
        # The class is named anew for each string: a reference would depend on the length of the key.
        _pointer(b"TObjString", _counted(1, _tobject(index) + _string(text))) + b"\x00"
        for index, text in enumerate(labels, 1)
        if text
    ]
    if not items:
        return b"\x00\x00\x00\x00"
    return _pointer(
        b"THashList", _counted(5, _tobject() + b"\x00" + struct.pack(">i", len(items)) + b"".join(items))
    )  # fmt: skip


@lru_cache(maxsize=1)
def _attributes() -> bytes:
    line = _counted(2, struct.pack(">3h", 602, 1, 1))
    fill = _counted(2, struct.pack(">2h", 0, 1001))
    marker = _counted(2, struct.pack(">2hf", 1, 1, 1.0))
    return line + fill + marker


def _pointer(class_name: bytes, body: bytes) -> bytes:
    tag = b"\xff\xff\xff\xff" + class_name + b"\x00"
    return struct.pack(">I", (len(tag) + len(body)) | 0x40000000) + tag + body


def _counted(version: int, body: bytes) -> bytes:
    return struct.pack(">IH", (len(body) + 2) | 0x40000000, version) + body


def _tobject(unique: int = 0, bits: int = 0) -> bytes:
    return struct.pack(">HII", 1, unique, _BITS | bits)


def _named(name: str, title: str, bits: int = 0) -> bytes:
    return _counted(1, _tobject(0, bits) + _string(name) + _string(title))


def _string(text: str) -> bytes:
    raw = text.encode("utf-8", "replace")
    return (struct.pack(">B", len(raw)) if len(raw) < 255 else struct.pack(">BI", 255, len(raw))) + raw


def _array(values: NDArray[Any] | None, dtype: str) -> bytes:
    if values is None:
        return b"\x00\x00\x00\x00"
    return struct.pack(">i", values.size) + np.asarray(values, dtype).tobytes()
