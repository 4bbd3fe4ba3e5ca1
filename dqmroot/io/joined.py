"""Rows of one class from several places put together: one table of monitoring elements, one order."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from dqmroot.errors import DQMWarning
from dqmroot.io.arrays import Arrays, MEInfo, Rows
from dqmroot.io.merge import take
from dqmroot.io.objects import join_rows
from dqmroot.io.read import tidy
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
    """Put parts together: ordered by name, run and LS; of rows for one element and LS the first counts, with a warning."""
    table: list[MEInfo] = []
    known: dict[tuple[Any, ...], int] = {}
    rows: dict[str, list[Rows]] = {}
    for storage, infos, part in parts:
        if not len(part):
            continue
        new = np.empty(len(infos), np.int32)
        for i, info in enumerate(infos):
            key = form_of(info)
            if key not in known:
                known[key] = len(table)
                table.append(info)
            new[i] = known[key]
        rows.setdefault(storage, []).append(dataclasses.replace(part, me=new[part.me]))
    rank = {name: i for i, name in enumerate(sorted({info.name for info in table}))}
    ranks = np.array([rank[info.name] for info in table], np.int64)
    return tidy(table, {storage: _ordered(join_rows(some), ranks, table) for storage, some in rows.items()})


def _ordered(rows: Rows, ranks: Any, table: list[MEInfo]) -> Rows:
    key = (rows.run.astype(np.uint64) << np.uint64(32)) | rows.lumi
    name = ranks[rows.me]
    order = np.lexsort((key, name))
    again = np.zeros(len(order), np.bool_)
    again[1:] = (name[order][1:] == name[order][:-1]) & (key[order][1:] == key[order][:-1])
    if again.any():
        at = int(order[np.flatnonzero(again)[0]])
        text = f"{table[rows.me[at]].name}, run {rows.run[at]} LS {rows.lumi[at]}"
        warnings.warn(
            f"{int(again.sum())} rows are there more than once ({text} first); the first of each counts",
            DQMWarning,
            stacklevel=4,
        )
        order = order[~again]
    if len(order) == len(name) and np.array_equal(order, np.arange(len(order))):
        return rows
    return take(rows, order)
