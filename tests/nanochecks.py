"""Compare everything in a nanoDQMIO file with what ROOT reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rootfiles

import dqmroot as dq

ONE = ["TH1F", "TH1S", "TH1D", "TH1I"]
TWO = ["TH2F", "TH2S", "TH2D", "TH2I"]


def plain(ROOT: Any, kind: str, name: str = "h", seed: int = 1) -> Any:
    """A filled histogram of any class."""
    make = getattr(ROOT, kind)
    if kind in ONE:
        h = make(name, "title;x title;y title", 7, -1, 2.5)
    elif kind in TWO:
        h = make(name, "title;x;y", 5, 0, 1, 3, -2, 2)
    elif kind == "TH3F":
        h = make(name, "title;x;y;z", 3, 0, 1, 4, 0, 2, 2, 0, 3)
    elif kind == "TProfile":
        h = make(name, "title;x;y", 6, 0, 3)
    else:
        h = make(name, "title;x;y;z", 4, 0, 1, 3, 0, 2)
    return fill(ROOT, h, seed)


def fill(ROOT: Any, h: Any, seed: int, weighted: bool = False, n: int = 300) -> Any:
    random = np.random.default_rng(seed)
    for x, y, z in random.uniform(-0.5, 3.5, (n, 3)).tolist():
        weight = (float(random.uniform(0.5, 2)),) if weighted else ()
        kind = h.ClassName()
        if kind in ONE:
            h.Fill(x, *weight)
        elif kind in TWO or kind == "TProfile":
            h.Fill(x, y, *weight)
        else:
            h.Fill(x, y, z, *weight)
    return h


def check(path: Path, **options: Any) -> int:
    """Compare everything in a file with what ROOT reads; returns the number of rows."""
    ROOT = rootfiles.root()
    made = dq.arrays(path, scope="all", **options)
    series = {me.name: me for me in made.all_series()}
    n = 0
    for run, lumi, tree, name, value in rootfiles.entries(path):
        me = series[name]
        (i,) = np.flatnonzero((me.run == run) & (me.lumi == lumi))
        n += 1
        assert me.storage == tree[:-1]
        if tree in {"Ints", "Floats", "Strings"}:
            assert me.contents[i] == (str(value) if tree == "Strings" else value)
            continue
        if tree == "TH2Polys":
            outside = sum(value.GetBinContent(-k) for k in range(1, 10))
            inside = [value.GetBinContent(k) for k in range(1, value.GetNumberOfBins() + 1)]
            assert me.contents[i].tolist() == [outside, *inside, 0.0]
            continue
        assert me.entries[i] == value.GetEntries()
        assert me.title == value.GetTitle()
        check_axes(me, value)
        assert np.array_equal(me.values(flow=True)[i].ravel(), rootfiles.contents(value), equal_nan=True)
        np.testing.assert_allclose(
            np.sqrt(me.variances(flow=True)[i]).ravel(), rootfiles.errors(value), rtol=1e-12, atol=1e-12
        )
        if not me.is_profile:
            assert (me.sumw2 is not None) >= (value.GetSumw2N() > 0)
        else:
            weights = [value.GetBinEntries(k) for k in range(value.GetNcells())]
            assert me.bin_entries is not None
            assert me.bin_entries[i].ravel().tolist() == weights
    assert n == sum(len(rows) for rows in made.rows.values())
    assert ROOT is not None
    return n


def check_axes(me: dq.MonitorElement, value: Any) -> None:
    for axis, root in zip(me.axes, (value.GetXaxis(), value.GetYaxis(), value.GetZaxis()), strict=False):
        assert (axis.nbins, axis.low, axis.high) == (root.GetNbins(), root.GetXmin(), root.GetXmax())
        assert axis.title == root.GetTitle()
        edges = [root.GetBinLowEdge(k) for k in range(1, axis.nbins + 2)]
        # ROOT works the upper edge out of the width of a bin, also where the edges are stored.
        np.testing.assert_allclose(axis.bin_edges, edges, rtol=1e-15, atol=2e-15 * max(map(abs, edges)))
        labels = [root.GetBinLabel(k) for k in range(1, axis.nbins + 1)]
        assert list(axis.labels) == (labels if any(labels) else [])
