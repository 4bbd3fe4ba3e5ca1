"""Steps that leave bins out: those that never hold anything, and those known to be bad."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqmroot.errors import InputError, ModelMismatchError, NotFittedError, UsageError
from dqmroot.prepare.bins import need_axes
from dqmroot.prepare.step import Array, BinStep, Step, flatten
from dqmroot.series import Axis, MonitorElement

__all__ = ["DropEmpty", "MaskBins", "drop_empty", "mask_bins", "read_mask"]

_SUMS = ("contents", "sumw2", "bin_entries", "bin_sumw2")


@dataclass(frozen=True, eq=False)
class DropEmpty(BinStep):
    """Leave out the bins that are empty in the good lumisections, and keep the rest as one axis of bins, in their order.

    What the left-out bins and the flow bins hold is added to the overflow bin, so that no entry is lost.

    Args:
        share: A bin is dropped where it holds something in at most this share of the good lumisections.
        keep: Learnt: ``([z,] [y,] x)`` bool.
    """

    name: ClassVar[str] = "drop_empty"
    learns: ClassVar[bool] = True

    share: float = 0.0
    keep: NDArray[np.bool_] | None = None

    def fit(self, me: MonitorElement) -> Self:
        """Find the bins that hold something."""
        need_axes(me, self)
        held = me.view(me.contents if me.bin_entries is None else me.bin_entries)
        keep = np.count_nonzero(held, axis=0) > self.share * len(me)
        if not keep.any():
            raise UsageError(
                f"{me.name}: every bin is empty in more than {1 - self.share:.0%} of {len(me)} lumisections"
            )
        return type(self)(self.share, keep)

    def apply(self, me: MonitorElement, *, errors: bool = True) -> MonitorElement:
        """Return the series of the bins that are kept."""
        del errors
        keep = self._keep(me.bins, me.name)
        at = np.flatnonzero(np.pad(keep, 1))
        changes: dict[str, Any] = {}
        for what in _SUMS:
            array = getattr(me, what)
            if array is not None:
                rest = np.ones(int(np.prod(array.shape[1:])), bool)
                rest[at] = False
                flat = flatten(array)
                out = np.zeros((len(array), len(at) + 2), array.dtype)
                np.take(flat, at, axis=1, out=out[:, 1:-1], mode="clip")
                out[:, -1] = flat[:, rest].sum(axis=1, dtype=np.float64)
                changes[what] = out
        storage = "TProfile" if me.is_profile else f"TH1{me.storage[-1]}"
        labels = me.axes[0].labels if len(me.axes) == 1 else ()
        labels = tuple(labels[i - 1] for i in at) if labels else ()
        axis = Axis(len(at), 0, len(at), None, labels, "kept bins")
        return me.replace(axes=(axis,), storage=storage, **changes)

    def invert(self, bins: Array, axes: Sequence[Axis]) -> Array:
        """Put the bins back in their places; NaN in those left out."""
        shape = tuple(axis.nbins for axis in reversed(axes))
        keep = self._keep(shape, "")
        out = np.full((len(bins), *shape), np.nan, np.result_type(bins, np.float32))
        out[:, keep] = bins
        return out

    def restore(self, bins: Array, before: MonitorElement) -> Array:
        """Put the contents back in their places; 0 in those left out."""
        out = self.invert(bins, before.axes)
        out[:, ~self._keep(before.bins, before.name)] = 0
        return out

    def _keep(self, shape: tuple[int, ...], me: str) -> NDArray[np.bool_]:
        if self.keep is None:
            raise NotFittedError(f"{me}: the step {self.name} has learnt nothing yet: fit the preparation first")
        if self.keep.shape != shape:
            raise ModelMismatchError(f"{me}: bins {shape}, but the step {self.name} learnt {self.keep.shape}")
        return self.keep


@dataclass(frozen=True, eq=False)
class MaskBins(Step):
    """Hide bins that are known to be bad: they hold ``fill`` in every lumisection, and NaN in maps shown afterwards.

    Args:
        mask: ``([z,] [y,] x)`` bool without flow bins, true where the bin is to be hidden; or a file that `read_mask` reads.
        fill: What hidden bins hold. The value 0 removes them from sums; NaN is for scores that skip NaN.
        file: Where the mask was read from.
    """

    name: ClassVar[str] = "mask_bins"

    mask: NDArray[np.bool_]
    fill: float = 0.0
    file: str = ""

    def __post_init__(self) -> None:
        mask: Any = self.mask
        if isinstance(mask, str | os.PathLike):
            object.__setattr__(self, "file", os.fspath(mask))
            mask = read_mask(mask)
        object.__setattr__(self, "mask", np.asarray(mask, bool))

    def __str__(self) -> str:
        what = repr(self.file) if self.file else f"{np.count_nonzero(self.mask)} of {self.mask.shape}"
        return f"mask_bins({what}{f', fill={self.fill}' if self.fill else ''})"

    def apply(self, me: MonitorElement, *, errors: bool = True) -> MonitorElement:
        """Return the series with the bins hidden."""
        del errors
        need_axes(me, self)
        mask = self._mask(me.bins, me.name)
        changes: dict[str, Any] = {}
        for what in _SUMS:
            array = getattr(me, what)
            if array is not None:
                out = array.copy() if what != "contents" or me.is_profile else self._copy(array)
                me.view(out)[:, mask] = self.fill if what == "contents" and not me.is_profile else 0
                changes[what] = out
        return me.replace(**changes)

    def _copy(self, array: Array) -> Array:
        whole = array.dtype.kind in "iu" and self.fill != int(self.fill if np.isfinite(self.fill) else 0.5)
        return array.astype(np.float64) if whole else array.copy()

    def invert(self, bins: Array, axes: Sequence[Axis]) -> Array:
        """Show NaN in the hidden bins."""
        mask = self._mask(tuple(axis.nbins for axis in reversed(axes)), "")
        out = np.array(bins, np.result_type(bins, np.float32))
        out[:, mask] = np.nan
        return out

    def restore(self, bins: Array, before: MonitorElement) -> Array:
        """Put the hidden contents back, as they were measured."""
        return np.where(self._mask(before.bins, before.name), before.values(), bins)

    def _mask(self, shape: tuple[int, ...], me: str) -> NDArray[np.bool_]:
        if self.mask.shape != shape:
            raise UsageError(f"{me}: a mask of shape {self.mask.shape} for bins {shape}; arrays are (…, y, x)")
        return self.mask


def drop_empty(share: float = 0.0) -> DropEmpty:
    """Leave out bins that hold something in at most ``share`` of the good lumisections.

    Examples:
        >>> len(dq.drop_empty().fit(occupancy).apply(occupancy).bins)
        1
    """
    return DropEmpty(share)


def read_mask(path: str | os.PathLike[str]) -> NDArray[np.bool_]:
    """Read which bins are bad: ``([z,] [y,] x)`` of 0 and 1, or false and true, 1 where the bin is to be hidden.

    Args:
        path: An ``.npy`` file, a ``.json`` file of nested lists, or text with one line of numbers per row of bins.

    Raises:
        InputError: The file cannot be read, or holds something else.
    """
    kind = Path(path).suffix.lower()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            if kind == ".npy":
                found = np.load(path, allow_pickle=False)
            elif kind == ".json":
                found = np.array(json.loads(Path(path).read_text(encoding="utf-8")))
            else:
                found = np.loadtxt(path, delimiter="," if kind == ".csv" else None)
    except OSError as error:
        raise InputError(path, error.strerror or str(error)) from error
    except (ValueError, UserWarning) as error:
        raise InputError(path, f"not a mask of bins: {error}") from error
    if found.ndim not in {1, 2, 3} or found.dtype.kind not in "biuf" or not np.isin(found, (0, 1)).all():
        raise InputError(
            path, f"a mask of bins is an array (…, y, x) of 0 and 1; got {found.dtype} of shape {found.shape}"
        )
    mask: NDArray[np.bool_] = found.astype(bool)
    return mask


def mask_bins(mask: ArrayLike | os.PathLike[str], fill: float = 0.0) -> MaskBins:
    """Hide the bins where ``mask``, ``([z,] [y,] x)`` or a file that holds it (``.npy``, ``.json``, text), is true.

    On the command line: ``--prepare "mask_bins('hot.npy') rebin(2,2)"``.

    Examples:
        >>> hidden = np.zeros(occupancy.bins, bool)
        >>> hidden[20:25, 30:35] = True
        >>> float(dq.mask_bins(hidden).apply(occupancy).values()[:, hidden].sum())
        0.0
    """
    given: Any = mask
    return MaskBins(given, fill)
