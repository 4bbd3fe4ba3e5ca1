"""Series from and to the histograms of other libraries: `hist.Hist`, pandas, PyROOT. Round trips are exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import MissingExtraError, UsageError
from dqmroot.series import Axis, MonitorElement

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["from_dataframe", "from_hist", "from_root", "to_root"]

_TYPES = {"F": np.float32, "C": np.int8, "S": np.int16, "I": np.int32, "L": np.int64, "D": np.float64}
_PROFILES = ("TProfile", "TProfile2D", "TProfile3D")
_SUMS = ("contents", "sumw2", "bin_entries", "bin_sumw2")


def from_hist(
    histograms: Any, *, name: str = "", run: Any = None, lumi: Any = None, storage: str = ""
) -> MonitorElement:
    """Make a series of `hist.Hist`, one for each lumisection, all with the same axes.

    Args:
        histograms: One histogram or several.
        name: Full name; by default what the first one is called.
        run: One run or one for each; by default the runs they were made from, else 1.
        lumi: One lumisection number for each; by default those they were made from, else 1, 2, ….
        storage: ROOT class; by default the one they were made from, else ``TH1D``, ``TH2D``, ``TProfile``, ….

    Raises:
        UsageError: There is none, the axes differ, or they are not of a kind that ROOT has.

    Examples:
        >>> dq.from_hist([new[0], new[1]], name="mine", run=1, lumi=[1, 2])
        <MonitorElement mine TH1F 100 bins, 2 LS of run 1>
    """
    many = [histograms] if hasattr(histograms, "axes") else list(histograms)
    if not many:
        raise UsageError("no histogram to make a series of")
    marks = [getattr(one, "from_me", {}) for one in many]
    first = many[0]
    axes = tuple(map(_axis_of_hist, first.axes))
    for one in many[1:]:
        if tuple(map(_axis_of_hist, one.axes)) != axes:
            raise UsageError(f"{name or first.name}: the histograms have different axes")
    profile = "value" in (first.view().dtype.names or ()) and "sum_of_weights" in (first.view().dtype.names or ())
    kind = storage or marks[0].get("storage", "")
    if not kind:
        kind = _PROFILES[len(axes) - 1] if profile else f"TH{len(axes)}D"
    sums = [_sums_of_hist(one, mark, profile) for one, mark in zip(many, marks, strict=True)]
    dtype = np.float64 if profile or kind[-1] not in _TYPES else _TYPES[kind[-1]]
    stacked: dict[str, Any] = {
        what: np.stack([one[what] for one in sums]) for what in _SUMS if all(what in one for one in sums)
    }
    stacked["contents"] = stacked["contents"].astype(dtype)
    n = len(many)
    default = stacked.get("bin_entries", stacked["contents"]).reshape(n, -1).sum(axis=1, dtype=np.float64)
    return MonitorElement(
        name=name or str(first.name or "histogram"),
        storage=kind,
        axes=axes,
        run=_numbers([mark.get("run", 1) for mark in marks] if run is None else run, n),
        lumi=_numbers([mark.get("lumi", i + 1) for i, mark in enumerate(marks)] if lumi is None else lumi, n),
        entries=np.array([mark.get("entries", value) for mark, value in zip(marks, default, strict=True)]),
        title=str(marks[0].get("title", first.label or "")),
        **stacked,
    )


def _numbers(given: Any, n: int) -> NDArray[np.uint32]:
    return np.broadcast_to(np.asarray(given, np.uint32), (n,)).copy()


def _axis_of_hist(axis: Any) -> Axis:
    labels = tuple(getattr(axis, "bin_labels", ()))
    title = str(getattr(axis, "label", "") or "")
    title = "" if title in {"", f"Axis {axis.name}"} else title
    edges = np.asarray(axis.edges, np.float64)
    kind = type(axis).__name__
    if kind == "Variable":
        return Axis(len(axis), float(edges[0]), float(edges[-1]), edges, labels, title)
    if kind == "Integer" or (kind == "Regular" and axis.transform is None):
        return Axis(len(axis), float(edges[0]), float(edges[-1]), None, labels, title)
    raise UsageError(f"an axis of type {type(axis).__name__} has no counterpart in ROOT")


def _sums_of_hist(one: Any, mark: dict[str, Any], profile: bool) -> dict[str, NDArray[Any]]:
    """The sums a histogram stands for, (…, y, x) with flow bins."""
    if not all(axis.traits.underflow and axis.traits.overflow for axis in one.axes):
        raise UsageError(f"{one.name or 'the histogram'}: every axis must have both flow bins")
    view = one.view(flow=True)
    if not profile:
        if view.dtype.names:
            return {"contents": view["value"].T.copy(), "sumw2": view["variance"].T.copy()}
        return {"contents": np.asarray(view).T.copy()}
    weight, mean = view["sum_of_weights"].T, view["value"].T
    out = {
        "contents": mean * weight,
        "sumw2": view["_sum_of_weighted_deltas_squared"].T + weight * mean**2,
        "bin_entries": weight.copy(),
        "bin_sumw2": view["sum_of_weights_squared"].T.copy(),
    }
    exact: dict[str, NDArray[Any]] = mark.get("sums", {})
    # Means round; the sums they were made of are exact, as long as the histogram is still what was made of them.
    if exact and np.array_equal(mark["view"], np.asarray(view)):
        return exact
    return out


def from_dataframe(frame: pd.DataFrame) -> MonitorElement:
    """Make a series of what `MonitorElement.to_dataframe` gave with ``flow=True``.

    Raises:
        UsageError: The frame does not say what it is of (``frame.attrs["me"]``), or has no flow bins.

    Examples:
        >>> dq.from_dataframe(new.to_dataframe(flow=True)).name
        'CSC/FEDIntegrity/FEDTotalEventSize'
    """
    said = frame.attrs.get("me")
    if not isinstance(said, dict) or not said.get("flow"):
        raise UsageError("not a frame of MonitorElement.to_dataframe(flow=True)")
    axes = tuple(Axis.from_dict(axis) for axis in said["axes"])
    shape = (len(frame), *(axis.nbins + 2 for axis in reversed(axes)))
    columns: dict[str, Any] = {}
    for what, dtype in said["columns"].items():
        column = frame["values" if what == "contents" and "contents" not in frame else what]
        columns[what] = np.array(list(column), dtype).reshape(shape) if len(frame) else np.empty(shape, dtype)
    return MonitorElement(
        name=said["name"],
        storage=said["storage"],
        axes=axes,
        run=frame["run"].to_numpy(),
        lumi=frame["lumi"].to_numpy(),
        entries=frame["entries"].to_numpy(),
        title=said["title"],
        conditions={key: frame[key].to_numpy() for key in said["conditions"]},
        **columns,
    )


def _root() -> Any:
    try:
        import ROOT
    except ImportError as error:
        raise MissingExtraError("ROOT", "root") from error
    return ROOT


def to_root(me: MonitorElement, index: int) -> Any:
    """Return one lumisection as the PyROOT object that it was stored as; it belongs to no directory.

    Raises:
        MissingExtraError: ROOT is not installed.
        UsageError: It is a scalar, or of a class that cannot be made of bins (TH2Poly).
    """
    ROOT = _root()
    if not me.axes or not hasattr(ROOT, me.storage) or me.storage == "TH2Poly":
        raise UsageError(f"{me.name} ({me.storage}) has no form as a ROOT histogram")
    limits: list[Any] = []
    for axis in me.axes:
        # TProfile2D and TH3 take edges for all axes or for none.
        whole = any(a.edges is not None for a in me.axes) if len(me.axes) > 1 else axis.edges is not None
        limits += [axis.nbins, axis.bin_edges] if whole else [axis.nbins, axis.low, axis.high]
    out = getattr(ROOT, me.storage)(me.name.rsplit("/", 1)[-1], me.title, *limits)
    out.SetDirectory(ROOT.nullptr)
    for axis, root in zip(me.axes, (out.GetXaxis(), out.GetYaxis(), out.GetZaxis()), strict=False):
        root.SetTitle(axis.title)
        for i, label in enumerate(axis.labels):
            if label:
                root.SetBinLabel(i + 1, label)
    cells = out.GetNcells()
    if me.contents.dtype.itemsize == 1:  # to Python, an array of char is a text
        for i, value in enumerate(me.contents[index].ravel().tolist()):
            out.SetAt(value, i)
    else:
        np.frombuffer(out.GetArray(), me.contents.dtype, cells)[:] = me.contents[index].ravel()
    if me.sumw2 is not None:
        if not me.is_profile:  # a profile has it from the start, and would make room for another sum
            out.Sumw2()
        np.frombuffer(out.GetSumw2().GetArray(), np.float64, cells)[:] = me.sumw2[index].ravel()
    if me.bin_entries is not None:
        for i, weight in enumerate(me.bin_entries[index].ravel().tolist()):
            out.SetBinEntries(i, weight)
    if me.bin_sumw2 is not None:
        squares = out.GetBinSumw2()
        squares.Set(cells)
        np.frombuffer(squares.GetArray(), np.float64, cells)[:] = me.bin_sumw2[index].ravel()
    out.SetEntries(me.entries[index])
    return out


def from_root(histograms: Any, *, name: str = "", run: Any = 1, lumi: Any = None) -> MonitorElement:
    """Make a series of PyROOT histograms, one for each lumisection, all of one class and with the same axes.

    Args:
        histograms: One histogram or several.
        name: Full name; by default what the first one is called.
        run: One run or one for each.
        lumi: One lumisection number for each; by default 1, 2, ….

    Raises:
        UsageError: There is none, their classes or axes differ, or their class cannot be held.

    Examples:
        >>> import ROOT
        >>> dq.from_root([ROOT.TH1F("h", "", 10, 0, 1)], run=1, lumi=[1]).bins
        (10,)
    """
    many = list(histograms) if isinstance(histograms, Sequence) else [histograms]
    if not many:
        raise UsageError("no histogram to make a series of")
    first = many[0]
    kind = str(first.ClassName())
    profile = kind in _PROFILES
    if not profile and not (kind[:3] in {"TH1", "TH2", "TH3"} and kind[3:] in _TYPES):
        raise UsageError(f"{first.GetName()}: cannot hold a {kind}")
    axes = _axes_of_root(first)
    for one in many[1:]:
        if str(one.ClassName()) != kind or _axes_of_root(one) != axes:
            raise UsageError(f"{name or first.GetName()}: the histograms have different classes or axes")
    dtype = np.float64 if profile else _TYPES[kind[3:]]
    shape = (len(many), *(axis.nbins + 2 for axis in reversed(axes)))
    sums: dict[str, Any] = {"contents": np.stack([_copy(one, one.GetNcells(), dtype) for one in many]).reshape(shape)}
    squared = [one.GetSumw2N() > 0 for one in many]
    if any(squared):
        parts = [
            _copy(one.GetSumw2(), one.GetNcells(), np.float64) if stored else np.abs(part.astype(np.float64)).ravel()
            for one, stored, part in zip(many, squared, sums["contents"], strict=True)
        ]
        sums["sumw2"] = np.stack(parts).reshape(shape)
    if profile:
        weights = [[one.GetBinEntries(i) for i in range(one.GetNcells())] for one in many]
        sums["bin_entries"] = np.array(weights).reshape(shape)
        stored_squares = [one.GetBinSumw2().GetSize() > 0 for one in many]
        if any(stored_squares):
            parts = [
                _copy(one.GetBinSumw2(), one.GetNcells(), np.float64) if stored else np.array(weight)
                for one, stored, weight in zip(many, stored_squares, weights, strict=True)
            ]
            sums["bin_sumw2"] = np.stack(parts).reshape(shape)
    n = len(many)
    return MonitorElement(
        name=name or str(first.GetName()),
        storage=kind,
        axes=axes,
        run=_numbers(run, n),
        lumi=_numbers(np.arange(1, n + 1) if lumi is None else lumi, n),
        entries=np.array([one.GetEntries() for one in many], np.float64),
        title=str(first.GetTitle()),
        **sums,
    )


def _copy(array: Any, n: int, dtype: Any) -> NDArray[Any]:
    if np.dtype(dtype).itemsize == 1:
        return np.array([array.GetAt(i) for i in range(n)], dtype)
    return np.frombuffer(array.GetArray(), dtype, n).copy()


def _axes_of_root(histogram: Any) -> tuple[Axis, ...]:
    axes = []
    for root in (histogram.GetXaxis(), histogram.GetYaxis(), histogram.GetZaxis())[: histogram.GetDimension()]:
        n = root.GetNbins()
        edges = _copy(root.GetXbins(), n + 1, np.float64) if root.GetXbins().GetSize() else None
        labels = tuple(str(root.GetBinLabel(i)) for i in range(1, n + 1))
        axes.append(Axis(n, root.GetXmin(), root.GetXmax(), edges, labels if any(labels) else (), str(root.GetTitle())))
    return tuple(axes)
