"""Rows of one class from several places put together: one table of monitoring elements, one order."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import DQMWarning
from dqmroot.io.arrays import Arrays, MEInfo, Rows
from dqmroot.io.nanodqmio.merge import take
from dqmroot.io.rootfile.objects import join_rows
from dqmroot.series import MonitorElement

__all__ = ["Part", "form_of", "joined", "part_of", "parts_of"]

Part = tuple[str, list[MEInfo], Rows]
"""Class, what there is of it, and the rows, whose ``me`` counts in that."""


def form_of(info: MEInfo) -> tuple[object, ...]:
    """Return what tells two forms of one element apart: class, bins and labels, whatever the titles say."""
    axes = (
        (axis.nbins, axis.low, axis.high, None if axis.edges is None else axis.edges.tobytes(), axis.labels)
        for axis in info.axes
    )
    return (info.name, info.storage, *axes)


def part_of(me: MonitorElement) -> Part:
    """Return a series as rows; its conditions are left out."""
    n = len(me)
    size = int(np.prod(me.contents.shape[1:], dtype=np.int64))
    offsets = np.arange(n + 1) * size
    extra: dict[str, Any] = {}
    for what in ("sumw2", "bin_sumw2"):
        array = getattr(me, what)
        if array is not None:
            extra.update({what: np.asarray(array, np.float64).reshape(-1), what + "_at": offsets[:-1]})
    if me.bin_entries is not None:
        extra["bin_entries"] = me.bin_entries.reshape(-1)
    rows = Rows(np.zeros(n, np.int32), me.run, me.lumi, me.entries, offsets, me.contents.reshape(-1), **extra)
    return me.storage, [MEInfo(me.name, me.storage, me.axes, me.title)], rows


def parts_of(arrays: Arrays) -> list[Part]:
    """Return arrays as parts."""
    return [(storage, list(arrays.table), rows) for storage, rows in arrays.rows.items()]


def joined(parts: Iterable[Part]) -> Arrays:
    """Put parts together: ordered by element, run and LS; of rows for one element and LS the first counts, with a warning.

    Elements stand in the order in which they are first met, which is that of the file: nothing is moved without need.
    """
    table: list[MEInfo] = []
    known: dict[str, list[int]] = {}
    rows: dict[str, list[Rows]] = {}
    for storage, infos, part in parts:
        if len(part):
            new = _numbers(infos, table, known)
            rows.setdefault(storage, []).append(dataclasses.replace(part, me=new[part.me]))
    if len(known) < len(table):
        # Forms of one element stand next to each other.
        order = [i for forms in known.values() for i in forms]
        place = np.empty(len(table), np.int32)
        place[order] = np.arange(len(table), dtype=np.int32)
        table = [table[i] for i in order]
        rows = {storage: [dataclasses.replace(r, me=place[r.me]) for r in some] for storage, some in rows.items()}
    rank = np.repeat(np.arange(len(known)), [len(forms) for forms in known.values()])
    made = {storage: _ordered(join_rows(some), rank, table) for storage, some in rows.items()}
    return Arrays(_counted(table, made), made)


def _numbers(infos: list[MEInfo], table: list[MEInfo], known: dict[str, list[int]]) -> NDArray[np.int32]:
    """Return the place of each element in ``table``, to which new ones are added."""
    out = np.empty(len(infos), np.int32)
    for i, info in enumerate(infos):
        forms = known.get(info.name)
        if forms is None:
            known[info.name] = [len(table)]
            out[i] = len(table)
            table.append(info)
            continue
        form = form_of(info)
        at = next((j for j in forms if form_of(table[j]) == form), -1)
        if at < 0:
            at = len(table)
            forms.append(at)
            table.append(info)
        out[i] = at
    return out


def _counted(table: list[MEInfo], rows: dict[str, Rows]) -> tuple[MEInfo, ...]:
    """Fill in how many lumisections and runs have each element."""
    n_ls, n_runs = np.zeros(len(table), np.int64), np.zeros(len(table), np.int64)
    runs: list[NDArray[np.uint64]] = [np.empty(0, np.uint64)]
    for part in rows.values():
        n_ls += np.bincount(part.me[part.lumi > 0], minlength=len(table))
        n_runs += np.bincount(part.me[part.lumi == 0], minlength=len(table))
        runs.append(np.unique((part.me.astype(np.uint64) << np.uint64(32)) | part.run))
    pairs = np.sort(np.concatenate(runs))
    run = (pairs & np.uint64(0xFFFFFFFF)).tolist()
    bounds = np.searchsorted(pairs >> np.uint64(32), np.arange(len(table) + 1)).tolist()
    out = []
    for info, ls, whole, first, last in zip(
        table, n_ls.tolist(), n_runs.tolist(), bounds[:-1], bounds[1:], strict=True
    ):
        if ls + whole == 1 and info.n_ls + info.n_runs == 1:
            out.append(info)
        else:
            out.append(MEInfo(info.name, info.storage, info.axes, info.title, ls, tuple(run[first:last]), whole))
    return tuple(out)


def _ordered(rows: Rows, rank: NDArray[np.int64], table: list[MEInfo]) -> Rows:
    """Sort by element, run and LS, and leave out what is there more than once."""
    key = (rows.run.astype(np.uint64) << np.uint64(32)) | rows.lumi
    name = rank[rows.me]
    if ((name[1:] > name[:-1]) | ((name[1:] == name[:-1]) & (key[1:] > key[:-1]))).all():
        return rows
    order = np.lexsort((key, name))
    again = np.zeros(len(order), np.bool_)
    again[1:] = (name[order][1:] == name[order][:-1]) & (key[order][1:] == key[order][:-1])
    if again.any():
        at = int(order[np.flatnonzero(again)[0]])
        first = f"{table[rows.me[at]].name}, run {rows.run[at]} LS {rows.lumi[at]} first"
        text = f"{int(again.sum())} histograms are there more than once ({first}); of each the first one counts"
        warnings.warn(text, DQMWarning, stacklevel=4)
        order = order[~again]
    return take(rows, order)
