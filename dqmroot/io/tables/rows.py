"""One schema for every table of per-LS histograms: batches of rows in, one series per monitoring element out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import InputError
from dqmroot.io.duplicates import first_of_each
from dqmroot.series import Axis, MonitorElement

__all__ = ["CLASS_OF_CODE", "Collector", "TableRows", "in_class", "with_flow"]

CLASS_OF_CODE = {3: "TH1F", 4: "TH1S", 5: "TH1D", 6: "TH2F", 7: "TH2S", 8: "TH2D", 12: "TH1I", 13: "TH2I"}
"""The number of a type tree, which tables keep as ``metype``, and the ROOT class it stands for."""

_TYPE_OF_LETTER: dict[str, type[np.generic]] = {"F": np.float32, "S": np.int16, "I": np.int32, "D": np.float64}


@dataclass(frozen=True)
class TableRows:
    """Some rows of a table: one row is one monitoring element in one LS.

    Args:
        run: ``(n,)``.
        lumi: ``(n,)``.
        code: ``(n,)`` index into ``names``.
        names: Names of monitoring elements.
        metype: ``(n,)`` keys of `CLASS_OF_CODE`, or -1 where the table does not say.
        entries: ``(n,)``.
        axes: ``(n, 6)`` float64: bins, low, high of x, then of y.
        values: All histograms, one after the other.
        ends: ``(n,)`` where each histogram ends in ``values``.
        order: How a 2-D histogram without flow bins lies: ``"yx"`` (x runs fastest), ``"xy"``, or ``""``: not known.
    """

    run: NDArray[Any]
    lumi: NDArray[Any]
    code: NDArray[Any]
    names: list[str]
    metype: NDArray[Any]
    entries: NDArray[Any]
    axes: NDArray[np.float64]
    values: NDArray[Any]
    ends: NDArray[np.int64]
    order: str = ""


@dataclass
class _Parts:
    """What was collected of one monitoring element."""

    axes: tuple[Axis, ...]
    storage: str
    run: list[NDArray[Any]] = field(default_factory=list)
    lumi: list[NDArray[Any]] = field(default_factory=list)
    entries: list[NDArray[Any]] = field(default_factory=list)
    contents: list[NDArray[Any]] = field(default_factory=list)


def in_class(contents: NDArray[Any], storage: str) -> NDArray[Any]:
    """Return ``contents`` in the type of the bins of ``storage``, or float64 where that cannot hold each number."""
    wanted = _TYPE_OF_LETTER[storage[-1]]
    if contents.dtype == wanted:
        return contents
    with np.errstate(invalid="ignore", over="ignore"):
        cast = contents.astype(wanted)
    same = (cast == contents) | ((contents != contents) & (cast != cast))  # noqa: PLR0124 - NaN is not itself
    return cast if bool(same.all()) else contents.astype(np.float64)


def with_flow(values: NDArray[Any]) -> NDArray[Any]:
    """Put flow bins around ``(n, …)`` bins that were stored without them: NaN, for nobody knows what was in them."""
    kind = values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)
    out = np.full((len(values), *(bins + 2 for bins in values.shape[1:])), np.nan, kind)
    out[(slice(None), *[slice(1, -1)] * (values.ndim - 1))] = values
    return out


class Collector:
    """Sorts rows by monitoring element and turns each into a `MonitorElement`.

    Args:
        path: The file, for messages.
    """

    def __init__(self, path: object) -> None:
        self.path = path
        self._parts: dict[str, _Parts] = {}

    def add(self, rows: TableRows) -> None:
        """Take a batch of rows.

        Raises:
            InputError: The bins of one element change, or a list has neither as many numbers as bins nor as many as
                bins with flow.
        """
        order = np.argsort(rows.code, kind="stable")
        codes, begins = np.unique(rows.code[order], return_index=True)
        for code, index in zip(codes, np.split(order, begins[1:]), strict=True):
            self._add_one(rows.names[int(code)], rows, index)

    def _add_one(self, name: str, rows: TableRows, index: NDArray[np.int64]) -> None:
        limits = rows.axes[index]
        lengths = np.diff(rows.ends, prepend=0)[index]
        if not ((limits == limits[0]).all() and (lengths == lengths[0]).all()):
            raise InputError(self.path, "the bins change from one lumisection to the next", name)
        storage, axes, shape, flow = self._layout(name, int(rows.metype[index[0]]), limits[0], int(lengths[0]))
        old = self._parts.setdefault(name, _Parts(axes, storage))
        if old.axes != axes:
            raise InputError(self.path, "the bins change from one lumisection to the next", name)
        starts = rows.ends[index] - lengths
        flat: NDArray[Any] = (
            rows.values[: rows.ends[-1]].reshape(len(index), -1)
            if len(index) == len(rows.ends)
            else (rows.values[starts[:, None] + np.arange(lengths[0])])
        )
        if not flow:
            if len(shape) == 2 and rows.order == "":
                what = "2-D lists without flow bins whose order the table does not tell"
                raise InputError(self.path, what, name)
            if len(shape) == 2 and rows.order == "xy":
                flat = flat.reshape(-1, *shape[::-1]).transpose(0, 2, 1)
            flat = with_flow(flat.reshape(-1, *shape))
        old.run.append(rows.run[index])
        old.lumi.append(rows.lumi[index])
        old.entries.append(rows.entries[index])
        old.contents.append(in_class(flat, storage).reshape(-1, *(axis.nbins + 2 for axis in reversed(axes))))

    def _layout(
        self, name: str, metype: int, limits: NDArray[np.float64], length: int
    ) -> tuple[str, tuple[Axis, ...], tuple[int, ...], bool]:
        """Return (class, axes, shape without flow, whether the list has flow bins)."""
        nx, ny = int(limits[0]), int(limits[3])
        x, y = Axis(nx, *limits[1:3].tolist()), Axis(ny, *limits[4:6].tolist())
        if metype == -1:
            # 1-D tables give y one bin from 0 to 1, or none; a true TH2 with one y bin has the longer list.
            flat = ny == 0 or (ny == 1 and length in {nx, nx + 2})
            storage = "TH1F" if flat else "TH2F"
        elif metype in CLASS_OF_CODE:
            storage = CLASS_OF_CODE[metype]
        else:
            known = ", ".join(f"{code} {of}" for code, of in CLASS_OF_CODE.items())
            raise InputError(self.path, f"metype {metype} is not one of {known}", name)
        axes, shape = ((x,), (nx,)) if storage.startswith("TH1") else ((x, y), (ny, nx))
        if min(shape) < 1:
            raise InputError(self.path, f"an axis with {min(shape)} bins", name)
        with_flow_bins = int(np.prod([bins + 2 for bins in shape]))
        if length not in {with_flow_bins, int(np.prod(shape))}:
            what = f"lists of {length} numbers for {' × '.join(map(str, shape))} bins ({with_flow_bins} with flow bins)"
            raise InputError(self.path, what, name)
        return storage, axes, shape, length == with_flow_bins

    def series(self) -> dict[str, MonitorElement]:
        """Return what was collected, by name, each sorted by run and LS; of rows for one LS the first counts."""
        out = {}
        for name, parts in self._parts.items():
            contents = np.concatenate(parts.contents)
            storage = parts.storage[:3] + "D" if contents.dtype == np.float64 else parts.storage
            me = MonitorElement(
                name,
                storage,
                parts.axes,
                np.concatenate(parts.run),
                np.concatenate(parts.lumi),
                np.concatenate(parts.entries),
                contents,
                title=name,
            )
            out[name] = first_of_each(me, self.path)
        return out
