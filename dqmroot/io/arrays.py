"""Many monitoring elements over many lumisections, as flat arrays and as awkward arrays."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import DQMWarning, UnknownNameError, UsageError
from dqmroot.series import Axis, MonitorElement

if TYPE_CHECKING:
    import awkward as ak

__all__ = ["Arrays", "MEInfo", "Rows", "awkward_of"]


@dataclass(frozen=True)
class MEInfo:
    """A monitoring element as files hold it.

    Args:
        name: Full path.
        storage: Class name, ``"TH2F"``; ``"Int"``, ``"Float"``, ``"String"`` for scalars.
        axes: x, y, z; empty for scalars.
        title: Title of the object.
        n_ls: Number of lumisections that have it.
        runs: The runs that have it, sorted.
        n_runs: Number of runs that have it as a whole (run level, LS 0).

    Examples:
        >>> info = dq.list_mes(file)[0]
        >>> info.name, info.storage, info.n_ls
        ('CSC/FEDIntegrity/FEDTotalEventSize', 'TH1F', 170)
    """

    name: str
    storage: str
    axes: tuple[Axis, ...]
    title: str = ""
    n_ls: int = 0
    runs: tuple[int, ...] = ()
    n_runs: int = 0

    @property
    def bins(self) -> tuple[int, ...]:
        """Number of bins without flow, (…, y, x)."""
        return tuple(axis.nbins for axis in reversed(self.axes))

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of bins with flow, (…, y, x)."""
        return tuple(axis.nbins + 2 for axis in reversed(self.axes))


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of one storage type, ordered by monitoring element, run, lumisection.

    Args:
        me: ``(n,)`` int32, place in the table of monitoring elements.
        run: ``(n,)`` uint32.
        lumi: ``(n,)`` uint32.
        entries: ``(n,)`` float64.
        offsets: ``(n + 1,)`` int64: row ``i`` has ``contents[offsets[i]:offsets[i + 1]]``.
        contents: Flat, flow bins included, x fastest, in the file's dtype.
        sumw2: Flat float64 at ``sumw2_at``, where any row stores Σw² (profiles: Σw·y²).
        sumw2_at: ``(n,)`` int64, -1 where a row stores none.
        bin_entries: Profiles only: Σw, laid out as ``contents``.
        bin_sumw2: Profiles only: flat float64 at ``bin_sumw2_at``.
        bin_sumw2_at: ``(n,)`` int64, -1 where a row stores none.
    """

    me: NDArray[np.int32]
    run: NDArray[np.uint32]
    lumi: NDArray[np.uint32]
    entries: NDArray[np.float64]
    offsets: NDArray[np.int64]
    contents: NDArray[Any]
    sumw2: NDArray[np.float64] | None = None
    sumw2_at: NDArray[np.int64] | None = None
    bin_entries: NDArray[np.float64] | None = None
    bin_sumw2: NDArray[np.float64] | None = None
    bin_sumw2_at: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.me)

    def block(self, begin: int, end: int, shape: tuple[int, ...]) -> dict[str, Any]:
        """Return rows of one shape, ``begin`` to before ``end``, as arrays ``(rows, *shape)``; views where they can be."""
        a, b = int(self.offsets[begin]), int(self.offsets[end])
        n, full = end - begin, (end - begin, *shape)
        out: dict[str, Any] = {"contents": self.contents[a:b].reshape(full)}
        if self.bin_entries is not None:
            out["bin_entries"] = self.bin_entries[a:b].reshape(full)
        size = int(np.prod(shape, dtype=np.int64))
        for what, flat, at in (("sumw2", self.sumw2, self.sumw2_at), ("bin_sumw2", self.bin_sumw2, self.bin_sumw2_at)):
            if flat is None or at is None or n == 0:
                continue
            places = at[begin:end]
            stored = places >= 0
            if stored.all() and np.array_equal(places, places[0] + size * np.arange(n)):
                out[what] = flat[places[0] : places[0] + n * size].reshape(full)
            elif stored.any():
                # A row that stores none has Poisson errors; a profile's weights are then all one.
                made = np.asarray(out["contents" if what == "sumw2" else "bin_entries"], np.float64).copy()
                for i in np.flatnonzero(stored):
                    made[i] = flat[places[i] : places[i] + size].reshape(shape)
                out[what] = made
        return out


class Arrays(Mapping[str, "ak.Array"]):
    """Monitoring elements by storage type, each an awkward array with one row per monitoring element and lumisection.

    ``arrays["TH2F"]`` has the fields ``run, lumi, me, entries, contents``; ``me`` counts in `table`; profiles also have
    ``bin_entries`` and ``sumw2``. Rows stand ordered by monitoring element, run and lumisection; nothing is upcast.

    Args:
        table: Every monitoring element with its axes.
        rows: Rows by storage type.

    Examples:
        >>> dq.arrays(file, "CSC/**").names
        ('CSC/FEDIntegrity/FEDTotalEventSize',)
    """

    def __init__(self, table: tuple[MEInfo, ...], rows: Mapping[str, Rows]) -> None:
        self.table = table
        self.rows = dict(rows)
        self._made: dict[str, ak.Array] = {}
        self._numbers: dict[str, list[int]] = {}

    def __getitem__(self, storage: str) -> ak.Array:
        if storage not in self.rows:
            raise UnknownNameError("storage type", storage, self.rows)
        if storage not in self._made:
            self._made[storage] = awkward_of(self.rows[storage])
        return self._made[storage]

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        inside = ", ".join(f"{storage}: {len(rows)}" for storage, rows in self.rows.items())
        return f"<Arrays of {len(self.names)} monitoring elements: {inside} rows>"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the monitoring elements, each once."""
        return tuple(dict.fromkeys(info.name for info in self.table))

    def series(self, me: str) -> MonitorElement:
        """Return one monitoring element over its lumisections; a view of the rows here, not a copy.

        Raises:
            UnknownNameError: It is not here.
            UsageError: Its bins are not the same in all lumisections.
        """
        if not self._numbers:
            for i, info in enumerate(self.table):
                self._numbers.setdefault(info.name, []).append(i)
        known = self._numbers.get(me)
        if not known:
            raise UnknownNameError("monitoring element", me, self.names)
        first = self.table[known[0]]
        for other in known[1:]:
            _check_alike(first, self.table[other])
        rows = self.rows[first.storage]
        here = np.flatnonzero(np.isin(rows.me, known)) if len(known) > 1 else _span(rows.me, known[0])
        begin, end = (int(here[0]), int(here[-1]) + 1) if len(here) else (0, 0)
        axes = max((self.table[i].axes for i in known), key=lambda axes: sum(len(axis.labels) for axis in axes))
        return MonitorElement(
            name=me,
            storage=first.storage,
            axes=axes,
            run=rows.run[begin:end],
            lumi=rows.lumi[begin:end],
            entries=rows.entries[begin:end],
            title=first.title,
            **rows.block(begin, end, first.shape),
        )

    def all_series(self) -> Iterator[MonitorElement]:
        """Every monitoring element over its lumisections, one after the other."""
        return (self.series(name) for name in self.names)


def _span(me: NDArray[np.int32], number: int) -> NDArray[np.int64]:
    """First and last place of ``number`` in a sorted array."""
    begin, end = np.searchsorted(me, [number, number + 1])
    return np.array([begin, end - 1] if end > begin else [], np.int64)


def _check_alike(first: MEInfo, other: MEInfo) -> None:
    """Raise or warn where two forms of one monitoring element cannot stand in one series."""
    if first.storage != other.storage:
        raise UsageError(f"{first.name}: stored as {first.storage} and as {other.storage}; choose runs that agree")
    same = len(first.axes) == len(other.axes) and all(map(Axis.same_bins, first.axes, other.axes))
    if not same:
        mine, theirs = (
            " × ".join(f"{a.nbins} in [{a.low:g}, {a.high:g}]" for a in info.axes) for info in (first, other)
        )
        runs = ", ".join(map(str, other.runs[:3])) or "?"
        raise UsageError(f"{first.name}: its bins change, {mine} and (run {runs}) {theirs}; choose runs that agree")
    for mine_axis, their_axis in zip(first.axes, other.axes, strict=True):
        if mine_axis.labels != their_axis.labels:
            if any(mine_axis.labels) and any(their_axis.labels):
                raise UsageError(
                    f"{first.name}: its bin labels change from run {first.runs[:1]} to {other.runs[:1]}; choose runs that agree"
                )
            warnings.warn(
                f"{first.name}: some lumisections have no bin labels; those of the others are used",
                DQMWarning,
                stacklevel=4,
            )


def awkward_of(rows: Rows) -> ak.Array:
    """Return rows as an awkward array of records."""
    import awkward as ak

    def lists(flat: NDArray[Any]) -> Any:
        if len(rows.offsets) and np.array_equal(rows.offsets, np.arange(len(rows) + 1)) and flat.dtype == object:
            return ak.Array(flat.tolist()).layout
        return ak.contents.ListOffsetArray(ak.index.Index64(rows.offsets), ak.contents.NumpyArray(flat))

    fields: dict[str, Any] = {
        "run": ak.contents.NumpyArray(rows.run),
        "lumi": ak.contents.NumpyArray(rows.lumi),
        "me": ak.contents.NumpyArray(rows.me),
        "entries": ak.contents.NumpyArray(rows.entries),
        "contents": lists(rows.contents),
    }
    if rows.bin_entries is not None:
        fields["bin_entries"] = lists(rows.bin_entries)
    sizes = np.diff(rows.offsets)
    for what, flat, at in (("sumw2", rows.sumw2, rows.sumw2_at), ("bin_sumw2", rows.bin_sumw2, rows.bin_sumw2_at)):
        if flat is not None and at is not None:
            starts = np.where(at >= 0, at, 0)
            stops = np.where(at >= 0, at + sizes, 0)
            fields[what] = ak.contents.ListArray(
                ak.index.Index64(starts), ak.index.Index64(stops), ak.contents.NumpyArray(flat)
            )
    return ak.Array(ak.contents.RecordArray(list(fields.values()), list(fields)))
