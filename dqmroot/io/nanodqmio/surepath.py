"""The slow and sure way to read one histogram, for entries that are not as the kernels expect them.

Fills that are still in a histogram's buffer are binned as ROOT bins them; layouts of other class versions are left to
uproot, which follows the file's own description of its classes.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import DQMWarning, InputError
from dqmroot.io.nanodqmio.layout import Description, LayoutError, Storage, describe, histogram_block
from dqmroot.io.nanodqmio.trees import NanoFile
from dqmroot.series import Axis

__all__ = ["Plain", "flushed", "plain_of", "read_surely", "uproot_object"]

Doubles = NDArray[np.float64]


@dataclass
class Plain:
    """One histogram, its arrays flat with flow bins, x fastest."""

    said: Description
    entries: float
    contents: NDArray[Any]
    sumw2: Doubles
    bin_entries: Doubles | None = None
    bin_sumw2: Doubles | None = None

    @property
    def sizes(self) -> tuple[int, bool, bool]:
        """Number of contents, whether Σw² and whether the profile's Σw² are stored."""
        return len(self.contents), len(self.sumw2) > 0, self.bin_sumw2 is not None and len(self.bin_sumw2) > 0


def read_surely(file: NanoFile, tree: str, entry: int, raw: bytes, storage: Storage, *, buffered: bool) -> Plain:
    """Read one entry without the kernels.

    Args:
        file: The file.
        tree: Name of the tree.
        entry: Number of the entry.
        raw: Its bytes.
        storage: Class of the histogram.
        buffered: Whether it is as expected but for fills in its buffer.

    Raises:
        InputError: This way cannot read it either.
    """
    if buffered:
        try:
            return flushed(raw, storage, header=file.trees[tree].header)
        except LayoutError as error:
            raise InputError(file.path, f"cannot be read: {error}", tree, entry) from error
    made = _through_uproot(file, tree, entry, storage)
    text = f"{file.path}, {tree}: not laid out as expected (entry {entry}); read through uproot, which is slow"
    warnings.warn(text, DQMWarning, stacklevel=2)
    return made


def flushed(raw: bytes, storage: Storage, *, header: bool) -> Plain:
    """Read a histogram and bin the fills in its buffer, as ``TH1::BufferEmpty`` does.

    Raises:
        LayoutError: It is not laid out as expected, or its axes have no limits yet.
    """
    said = describe(raw, storage, header=header)
    parts = histogram_block(raw, storage, header=header)
    if any(axis.low >= axis.high for axis in said.axes):
        raise LayoutError("its fills are still in a buffer, and its axes have no limits yet")
    told = float(parts.buffer[0]) if len(parts.buffer) else 0.0
    width = len(said.axes) + (2 if storage.profile else 1)
    if not 1 <= told <= (len(parts.buffer) - 1) / width:
        raise LayoutError(f"a buffer of {len(parts.buffer)} numbers for {told:g} fills")
    n = int(told)
    fills = parts.buffer[1 : 1 + n * width].reshape(n, width)
    weight, cell, stride = fills[:, 0], np.zeros(n, np.int64), 1
    for number, (axis, grows) in enumerate(zip(said.axes, said.grows, strict=True)):
        x = fills[:, 1 + number]
        if grows and np.any((x < axis.low) | (x >= axis.high)):
            raise LayoutError("its fills are still in a buffer, and some lie outside of an axis that grows with them")
        cell += stride * _bins(axis, x)
        stride *= axis.nbins + 2
    if stride != len(parts.contents):
        raise LayoutError(f"{len(parts.contents)} contents for {stride} cells")
    value = fills[:, -1] if storage.profile else np.ones(n)
    sumw2 = parts.sumw2
    if not storage.profile and len(sumw2) == 0 and np.any(weight != 1):
        sumw2 = np.abs(parts.contents.astype(np.float64))
    # As AddBinContent of each class: float adds up in single precision, whole numbers drop what is behind the point first.
    whole = storage.dtype.kind == "i"
    contents = parts.contents.astype(np.int64 if whole else storage.dtype.newbyteorder("="))
    with np.errstate(over="ignore", invalid="ignore"):  # weights of a damaged file
        np.add.at(contents, cell, (weight * value).astype(contents.dtype))
    if len(sumw2):
        np.add.at(sumw2, cell, (weight * value**2 if storage.profile else weight**2))
    if parts.bin_entries is not None and np.any(weight != 1) and (parts.bin_sumw2 is None or len(parts.bin_sumw2) == 0):
        parts.bin_sumw2 = parts.bin_entries.copy()
    if parts.bin_entries is not None:
        np.add.at(parts.bin_entries, cell, weight)
    if parts.bin_sumw2 is not None and len(parts.bin_sumw2):
        np.add.at(parts.bin_sumw2, cell, weight**2)
    if whole:
        limit = np.iinfo(storage.dtype.str).max
        contents = np.clip(contents, -limit, limit)
    made = contents.astype(storage.dtype)
    return Plain(said, parts.entries + n, made, sumw2, parts.bin_entries, parts.bin_sumw2)


def _bins(axis: Axis, x: Doubles) -> NDArray[np.int64]:
    """Bin of each x, 0 below and ``nbins + 1`` from the upper edge on, as ``TAxis::FindBin``."""
    if axis.edges is not None:
        return np.searchsorted(axis.edges, x, side="right").astype(np.int64)
    with np.errstate(over="ignore", invalid="ignore"):  # a damaged file may hold limits near the largest number
        inside = 1 + np.floor(axis.nbins * (x - axis.low) / (axis.high - axis.low))
    out = np.where(x < axis.low, 0, np.where(x < axis.high, inside, axis.nbins + 1))
    cells: NDArray[np.int64] = np.nan_to_num(out, nan=axis.nbins + 1).clip(0, axis.nbins + 1).astype(np.int64)
    return cells


def uproot_object(file: NanoFile, tree: str, entry: int) -> Any:
    """Read one entry with uproot.

    Raises:
        InputError: uproot cannot.
    """
    try:
        branch = file.trees[tree].branch()  # built now: its record may be damaged where nothing was looked at before
        return branch.array(_interpretation(branch), entry_start=entry, entry_stop=entry + 1, library="np")[0]
    except Exception as error:
        raise _not_laid_out(file, tree, entry, error) from error


def _not_laid_out(file: NanoFile, tree: str, entry: int, error: Exception) -> InputError:
    what = (str(error).strip().splitlines() or [""])[0][:120]
    return InputError(file.path, f"is not laid out as ROOT writes it ({type(error).__name__}: {what})", tree, entry)


def _through_uproot(file: NanoFile, tree: str, entry: int, storage: Storage) -> Plain:
    made = uproot_object(file, tree, entry)
    try:
        return plain_of(made, storage)
    except Exception as error:
        raise _not_laid_out(file, tree, entry, error) from error


def plain_of(made: Any, storage: Storage) -> Plain:
    """Turn uproot's histogram into plain arrays.

    Raises:
        LayoutError: Its number of contents is not that of its bins.
        Exception: Whatever uproot raises where it lacks a member.
    """
    axes = tuple(_uproot_axis(made.member(f"f{letter}axis")) for letter in "XYZ"[: storage.dimensions])
    said = Description(str(made.member("fTitle")), axes)
    sumw2 = np.asarray(made.member("fSumw2"), np.float64)
    contents = np.asarray(_bins_of(made), storage.dtype)
    plain = Plain(said, float(made.member("fEntries")), contents, sumw2)
    if storage.profile:
        plain.bin_entries = np.asarray(made.member("fBinEntries"), np.float64)
        if made.has_member("fBinSumw2"):  # since ROOT 5.22
            plain.bin_sumw2 = np.asarray(made.member("fBinSumw2"), np.float64)
    cells = int(np.prod([axis.nbins + 2 for axis in axes]))
    lengths = {len(contents), cells, *(len(a) for a in (plain.bin_entries,) if a is not None)}
    if len(lengths) != 1 or len(sumw2) not in {0, cells}:
        raise LayoutError("its number of contents is not that of its bins")
    return plain


def _bins_of(made: Any) -> Any:
    """The array that a histogram is at last derived from."""
    while not hasattr(made, "__array__"):
        made = made.bases[-1]
    return np.asarray(made)


def _interpretation(branch: Any) -> Any:
    """Uproot's way to read the objects of a branch; where they lie without a header, told so."""
    import uproot

    if branch.classname != "TBranchElement":
        return branch.interpretation
    version = int(branch.member("fClassVersion"))
    model = branch.file.class_named(branch.member("fClassName"), version)

    def read_numbytes_version(self: Any, *_: Any) -> None:
        self._num_bytes, self._instance_version, self._is_memberwise = None, version, False

    fixed = type(model.__name__, (model,), {"read_numbytes_version": read_numbytes_version})
    return uproot.interpretation.objects.AsObjects(fixed, branch)


def _uproot_axis(axis: Any) -> Axis:
    edges = np.asarray(axis.member("fXbins"), np.float64)
    nbins = int(axis.member("fNbins"))
    labels: tuple[str, ...] = ()
    listed = axis.member("fLabels") if axis.has_member("fLabels") else None
    if listed is not None:
        texts = {int(item.member("@fUniqueID")): str(item) for item in listed}
        labels = tuple(texts.get(i, "") for i in range(1, nbins + 1))
    low, high = float(axis.member("fXmin")), float(axis.member("fXmax"))
    return Axis(nbins, low, high, edges if len(edges) else None, labels, str(axis.member("fTitle")))
