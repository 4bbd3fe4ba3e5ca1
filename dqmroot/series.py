"""The central type: one monitoring element over its lumisections.

Arrays are (…, y, x) as ROOT lays its bins out, always with flow bins, in the file's own dtype. Profiles keep the sums
they are made of, so that rebinning and adding lumisections stay right.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqmroot.display import card, map_picture, spectrum_picture
from dqmroot.errors import EmptySelectionError, ModelMismatchError, UsageError

if TYPE_CHECKING:
    import hist
    import pandas as pd

__all__ = ["Axis", "MonitorElement", "concatenate", "windows"]

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of a histogram.

    Args:
        nbins: Number of bins, without the two flow bins.
        low: Lower edge of the first bin.
        high: Upper edge of the last bin.
        edges: ``(nbins + 1,)`` float64, for variable bins only; ``None`` means equal bins.
        labels: One text per bin ("" where a bin has none), or empty where the axis has no labels.
        title: The axis title.

    Examples:
        >>> dq.Axis(4, 0, 2).bin_edges.tolist()
        [0.0, 0.5, 1.0, 1.5, 2.0]
    """

    nbins: int
    low: float
    high: float
    edges: NDArray[np.float64] | None = None
    labels: tuple[str, ...] = ()
    title: str = ""

    @classmethod
    def variable(cls, edges: ArrayLike, labels: Sequence[str] = (), title: str = "") -> Axis:
        """Make an axis from ``(nbins + 1,)`` increasing bin edges."""
        array = np.asarray(edges, np.float64)
        if array.ndim != 1 or len(array) < 2 or not np.all(np.diff(array) > 0):
            raise UsageError(f"bin edges must be increasing numbers, at least two; got {edges!r}")
        return cls(len(array) - 1, float(array[0]), float(array[-1]), array, tuple(labels), title)

    @property
    def bin_edges(self) -> NDArray[np.float64]:
        """``(nbins + 1,)`` float64, whether the bins are equal or not."""
        if self.edges is not None:
            return self.edges
        return np.linspace(self.low, self.high, self.nbins + 1)

    @property
    def centres(self) -> NDArray[np.float64]:
        """``(nbins,)`` float64, the middle of each bin."""
        edges = self.bin_edges
        return 0.5 * (edges[:-1] + edges[1:])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Axis):
            return NotImplemented
        return self.same_bins(other) and self.labels == other.labels and self.title == other.title

    def __hash__(self) -> int:
        return hash((self.nbins, self.low, self.high, self.labels, self.title))

    def same_bins(self, other: Axis) -> bool:
        """Tell whether two axes have the same bins, whatever they are called."""
        if self.edges is None and other.edges is None and (self.low, self.high) == (other.low, other.high):
            return self.nbins == other.nbins
        return self.nbins == other.nbins and bool(np.array_equal(self.bin_edges, other.bin_edges))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description that `from_dict` reads back."""
        return {
            "nbins": self.nbins,
            "low": self.low,
            "high": self.high,
            "edges": None if self.edges is None else self.edges.tolist(),
            "labels": list(self.labels),
            "title": self.title,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Axis:
        """Read what `to_dict` wrote."""
        edges = data.get("edges")
        return cls(
            int(data["nbins"]),
            float(data["low"]),
            float(data["high"]),
            None if edges is None else np.asarray(edges, np.float64),
            tuple(data.get("labels", ())),
            str(data.get("title", "")),
        )


_SUMS = ("contents", "sumw2", "bin_entries", "bin_sumw2")
_PER_LS = ("run", "lumi", "entries", "contents", "sumw2", "bin_entries", "bin_sumw2")


@dataclass(frozen=True, eq=False)
class MonitorElement:
    """One monitoring element over ``n_ls`` lumisections.

    Args:
        name: Full path, ``"Hcal/DigiTask/Occupancy/depth/depth1"``.
        storage: ROOT class of the stored object, ``"TH2F"``; ``"Int"``, ``"Float"`` or ``"String"`` for scalars.
        axes: x, y, z; empty for scalars.
        run: ``(n_ls,)`` uint32.
        lumi: ``(n_ls,)`` uint32; 0 is the whole run.
        entries: ``(n_ls,)`` float64, ROOT's ``fEntries``.
        contents: ``(n_ls, [nz+2,] [ny+2,] nx+2)`` in the file's dtype. For profiles Σw·y.
        sumw2: Same shape, float64: Σw² where stored (profiles: Σw·y²), else ``None``.
        bin_entries: Profiles only: Σw, same shape.
        bin_sumw2: Profiles only, where stored: Σw², same shape.
        title: Title of the object.
        conditions: Per-LS quantities by name, each ``(n_ls,)``.

    Examples:
        >>> good
        <MonitorElement CSC/FEDIntegrity/FEDTotalEventSize TH1F 100 bins, 120 LS of 2 runs>
        >>> good.values().shape, good.values(flow=True).shape
        ((120, 100), (120, 102))
    """

    name: str
    storage: str
    axes: tuple[Axis, ...]
    run: NDArray[np.uint32]
    lumi: NDArray[np.uint32]
    entries: NDArray[np.float64]
    contents: Array
    sumw2: Array | None = None
    bin_entries: Array | None = None
    bin_sumw2: Array | None = None
    title: str = ""
    conditions: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "run", np.asarray(self.run, np.uint32))
        put(self, "lumi", np.asarray(self.lumi, np.uint32))
        put(self, "entries", np.asarray(self.entries, np.float64))
        put(self, "contents", np.asarray(self.contents))
        put(self, "axes", tuple(self.axes))
        put(self, "conditions", MappingProxyType({key: np.asarray(a) for key, a in self.conditions.items()}))
        n_ls = len(self.run)
        shape = (n_ls, *(axis.nbins + 2 for axis in reversed(self.axes)))
        for what in ("contents", "sumw2", "bin_entries", "bin_sumw2"):
            array = getattr(self, what)
            if array is not None and array.shape != shape:
                raise UsageError(f"{self.name}: {what} has shape {array.shape}, the axes say {shape}")
        per_ls: dict[str, Array] = {"lumi": self.lumi, "entries": self.entries, **self.conditions}
        for what, array in per_ls.items():
            if array.shape[:1] != (n_ls,):
                raise UsageError(f"{self.name}: {what} has shape {array.shape}, not ({n_ls},) as run has")

    def __len__(self) -> int:
        return len(self.run)

    def __repr__(self) -> str:
        bins = " × ".join(str(axis.nbins) for axis in self.axes) or "scalar"
        runs = np.unique(self.run)
        where = f"run {runs[0]}" if len(runs) == 1 else f"{len(runs)} runs"
        return f"<MonitorElement {self.name} {self.storage} {bins} bins, {len(self)} LS of {where}>"

    def _repr_html_(self) -> str:
        runs, values = np.unique(self.run), self.values()
        rows = {
            "bins": " × ".join(str(axis.nbins) for axis in self.axes) or "none, a scalar",
            "lumisections": f"{len(self)} of {len(runs)} run(s)" + (f", {runs[0]} to {runs[-1]}" if len(runs) else ""),
            "entries per LS": f"{np.median(self.entries):,.0f}, median" if len(self) else "",
            "conditions": ", ".join(self.conditions) or "none",
        }
        picture = ""
        if len(self) and len(self.axes) in {1, 2}:
            mean = np.asarray(values, np.float64).mean(axis=0)
            picture = spectrum_picture(mean) if mean.ndim == 1 else map_picture(mean)
        return card(f"{self.name} ({self.storage})", rows, picture)

    @overload
    def __getitem__(self, index: int) -> hist.Hist: ...
    @overload
    def __getitem__(self, index: slice | ArrayLike) -> MonitorElement: ...
    def __getitem__(self, index: Any) -> Any:
        """``me[3]`` is the histogram of one LS; ``me[mask]``, ``me[2:5]`` and ``me[[1, 4]]`` are series again."""
        if isinstance(index, int | np.integer):
            return self.to_hist(int(index))
        if not isinstance(index, slice):
            index = np.asarray(index)
            if index.size == 0:
                index = index.astype(np.intp)
        changes = {what: array[index] for what in _PER_LS if (array := getattr(self, what)) is not None}
        changes["conditions"] = {key: array[index] for key, array in self.conditions.items()}
        return self.replace(**changes)

    def __iter__(self) -> Iterator[hist.Hist]:
        return (self.to_hist(i) for i in range(len(self)))

    def replace(self, **changes: Any) -> MonitorElement:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    @property
    def is_profile(self) -> bool:
        """Whether the contents are sums Σw·y of a profile."""
        return self.bin_entries is not None

    @property
    def keys(self) -> NDArray[np.uint64]:
        """``(n_ls,)`` uint64, ``run << 32 | lumi``: sorts by run, then by lumisection."""
        return (self.run.astype(np.uint64) << np.uint64(32)) | self.lumi.astype(np.uint64)

    @property
    def bins(self) -> tuple[int, ...]:
        """Number of bins without flow, (…, y, x)."""
        return tuple(axis.nbins for axis in reversed(self.axes))

    def view(self, array: Array, *, flow: bool = False) -> Array:
        """Return ``array``, of the shape of `contents`, with or without its flow bins; no copy."""
        return array if flow else array[(slice(None), *[slice(1, -1)] * len(self.axes))]

    def values(self, *, flow: bool = False) -> Array:
        """``(n_ls, [nz,] [ny,] nx)``, a view without flow bins unless asked; for profiles the mean, 0 where nothing fell."""
        contents = self.view(self.contents, flow=flow)
        if self.bin_entries is None:
            return contents
        weight = self.view(self.bin_entries, flow=flow)
        mean: Array = np.divide(contents, weight, out=np.zeros(contents.shape), where=weight != 0)
        return mean

    def variances(self, *, flow: bool = False) -> Array:
        """Squared error of each value, in the shape of `values`.

        Σw² where stored, else the size of the content itself (Poisson). For profiles the squared error of the mean,
        (Σwy²/Σw - mean²) / n_eff with n_eff = (Σw)²/Σw², as ROOT's ``TProfile::GetBinError`` has it in its default mode.
        """
        if self.bin_entries is None:
            if self.sumw2 is None:
                return np.abs(np.asarray(self.view(self.contents, flow=flow), np.float64))
            return np.asarray(self.view(self.sumw2, flow=flow), np.float64)
        weight = self.view(self.bin_entries, flow=flow)
        mean = self.values(flow=flow)
        square = self.view(np.zeros_like(self.contents) if self.sumw2 is None else self.sumw2, flow=flow)
        some = weight != 0
        zero = np.zeros(weight.shape)
        spread = np.abs(np.divide(square, weight, out=zero.copy(), where=some) - mean**2)
        sumw2 = weight if self.bin_sumw2 is None else self.view(self.bin_sumw2, flow=flow)
        n_eff = np.divide(weight**2, sumw2, out=zero.copy(), where=sumw2 != 0)
        error: Array = np.divide(spread, n_eff, out=zero, where=n_eff != 0)
        return error

    def to_hist(self, index: int) -> hist.Hist:
        """Return one LS as a `hist.Hist`, which obeys UHI: axes and arrays in (x, y, z) order, flow bins kept.

        Counts without stored errors become ``Double`` storage, with errors ``Weight``, profiles ``WeightedMean``.
        """
        import hist as hist_

        if not self.axes:
            raise UsageError(f"{self.name} is a scalar: read its values() instead of a histogram")
        axes = []
        for axis, name in zip(self.axes, "xyz", strict=False):
            made: Any = (
                hist_.axis.Regular(axis.nbins, axis.low, axis.high, name=name, label=axis.title)
                if axis.edges is None
                else hist_.axis.Variable(axis.edges, name=name, label=axis.title)
            )
            made.bin_labels = axis.labels
            axes.append(made)
        storage: Any
        if self.is_profile:
            storage = hist_.storage.WeightedMean()
        else:
            storage = hist_.storage.Double() if self.sumw2 is None else hist_.storage.Weight()
        out = hist_.Hist(*axes, storage=storage, name=self.name, label=self.title or self.name)
        view = out.view(flow=True)
        if self.bin_entries is not None:
            # boost-histogram keeps Σw, Σw², mean and Σw(y-mean)².
            weight = self.bin_entries[index].T
            mean = self.values(flow=True)[index].T
            square = 0.0 if self.sumw2 is None else self.sumw2[index].T
            view["sum_of_weights"] = weight
            view["sum_of_weights_squared"] = weight if self.bin_sumw2 is None else self.bin_sumw2[index].T
            view["value"] = mean
            view["_sum_of_weighted_deltas_squared"] = np.abs(square - weight * mean**2)
        elif self.sumw2 is not None:
            view["value"] = self.contents[index].T
            view["variance"] = self.sumw2[index].T
        else:
            view[...] = self.contents[index].T
        # What a hist.Hist has no place for; `dqmroot.from_hist` reads it back.
        out.from_me = {
            "storage": self.storage,
            "title": self.title,
            "run": int(self.run[index]),
            "lumi": int(self.lumi[index]),
            "entries": float(self.entries[index]),
        }
        if self.bin_entries is not None:
            sums = {what: getattr(self, what) for what in _SUMS}
            out.from_me["sums"] = {what: array[index] for what, array in sums.items() if array is not None}
            out.from_me["view"] = np.array(view)
        return out

    def to_dataframe(self, *, flow: bool = False) -> pd.DataFrame:
        """Return one row per LS: run, lumi, entries, the conditions, and ``values``, a flat array per row.

        With ``flow`` the sums that are stored come too, and `dqmroot.from_dataframe` makes the same series of it.
        """
        try:
            import pandas as pd
        except ImportError as error:
            from dqmroot.errors import MissingExtraError

            raise MissingExtraError("pandas", "test") from error
        values = self.values(flow=flow).reshape(len(self), -1)
        columns: dict[str, Any] = {"run": self.run, "lumi": self.lumi, "entries": self.entries}
        columns.update(self.conditions)
        frame = pd.DataFrame({**columns, "values": list(values)})
        stored = {what: array for what in _SUMS if (array := getattr(self, what)) is not None}
        if flow:
            for what, array in stored.items():
                if what != "contents" or self.is_profile:
                    frame[what] = list(array.reshape(len(self), -1))
        frame.attrs["me"] = {
            "name": self.name,
            "storage": self.storage,
            "title": self.title,
            "axes": [axis.to_dict() for axis in self.axes],
            "conditions": list(self.conditions),
            "columns": {what: array.dtype.str for what, array in stored.items()},
            "flow": flow,
        }
        return frame

    def to_root(self, index: int) -> Any:
        """Return one LS as the PyROOT object that it was stored as; see `dqmroot.io.convert.to_root`."""
        # The layers run downward; this is a door up, opened only when somebody asks.
        return importlib.import_module("dqmroot.io.convert").to_root(self, index)

    def sort(self) -> MonitorElement:
        """Return the series ordered by run, then lumisection (stable)."""
        keys = self.keys
        if np.all(keys[:-1] <= keys[1:]):
            return self
        return self[np.argsort(keys, kind="stable")]

    def require(self, what: str) -> MonitorElement:
        """Return the series itself, or raise `EmptySelectionError` that tells ``what`` left nothing."""
        if len(self) == 0:
            raise EmptySelectionError(f"{self.name}: no lumisection left after {what}")
        return self

    def check_same_bins(self, other: MonitorElement | Sequence[Axis], whose: str) -> None:
        """Raise `ModelMismatchError` unless ``other`` has the same bins as this series."""
        axes = other.axes if isinstance(other, MonitorElement) else tuple(other)
        if len(axes) == len(self.axes) and all(map(Axis.same_bins, self.axes, axes)):
            return
        raise ModelMismatchError(f"{self.name}: bins {_describe(self.axes)}, but {whose} has {_describe(axes)}")


def _describe(axes: Sequence[Axis]) -> str:
    return " × ".join(f"{axis.nbins} in [{axis.low:g}, {axis.high:g}]" for axis in axes) or "scalar"


def concatenate(parts: Sequence[MonitorElement]) -> MonitorElement:
    """Join series of one monitoring element, one after the other.

    Raises:
        UsageError: Nothing to join, or series of different elements.
        ModelMismatchError: The bins differ.

    Examples:
        >>> len(dq.concatenate([good, new]))
        170
    """
    if not parts:
        raise UsageError("nothing to concatenate")
    first = parts[0]
    for part in parts[1:]:
        if part.name != first.name:
            raise UsageError(f"cannot join {first.name} with {part.name}")
        part.check_same_bins(first, "the series before")
    if len(parts) == 1:
        return first
    changes: dict[str, Any] = {}
    for what in _PER_LS:
        arrays = [getattr(part, what) for part in parts]
        if all(array is not None for array in arrays):
            changes[what] = np.concatenate(arrays)
        elif any(array is not None for array in arrays):
            # Errors that some parts store and some do not: what is not stored is Poisson.
            changes[what] = np.concatenate(
                [part.contents if array is None else array for part, array in zip(parts, arrays, strict=True)]
            )
    shared = set.intersection(*(set(part.conditions) for part in parts))
    changes["conditions"] = {key: np.concatenate([part.conditions[key] for part in parts]) for key in sorted(shared)}
    dtype = changes["contents"].dtype
    if first.storage.startswith("TH") and dtype != first.contents.dtype:
        # TH1S with TH1F gives TH1F: what ROOT calls a class of these contents.
        changes["storage"] = first.storage[:-1] + {"f4": "F", "i2": "S", "i4": "I"}.get(dtype.str[1:], "D")
    return first.replace(**changes)


def windows(me: MonitorElement, n: int, gap: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Find for each lumisection the up to ``n`` consecutive ones of its run that end with it.

    Args:
        me: The series, in any order.
        n: Length of the window.
        gap: How many lumisections may be missing between two of the window.

    Returns:
        ``(n_ls,)`` each: the order by run and lumisection; by place in that order where the window begins; and its length.

    Raises:
        UsageError: A lumisection is there twice.
    """
    keys = me.keys
    order = np.argsort(keys, kind="stable").astype(np.int64)
    step = np.diff(keys[order])
    if (step == 0).any():
        i = order[int(np.argmax(step == 0))]
        raise UsageError(f"{me.name}: run {me.run[i]}, lumisection {me.lumi[i]} is there more than once")
    place = np.arange(len(order))
    # A change of run is a step of 2**32 at least.
    fresh = np.concatenate([[True], step > gap + 1]) if len(order) else np.zeros(0, bool)
    first = np.maximum.accumulate(np.where(fresh, place, 0)) if len(order) else place
    begin = np.maximum(first, place - n + 1)
    return order, begin.astype(np.int64), (place - begin + 1).astype(np.int64)
