"""Histograms of class versions that ROOT no longer writes: equal to what real ROOT makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oldclasses import OLD, write_old
from rootfiles import contents, errors, root

import dqmroot as dq
from dqmroot.errors import DQMWarning

pytest.importorskip("ROOT")


def filled(ROOT: Any) -> list[Any]:
    made = [
        ROOT.TH1F("h1f", "one;x title", 5, 0.0, 1.0),
        ROOT.TH1S("h1s", "", 5, np.array([0.0, 0.1, 0.3, 0.4, 0.7, 1.0])),
        ROOT.TH2F("h2f", "two;x;y", 3, 0.0, 1.0, 2, 0.0, 1.0),
        ROOT.TH3D("h3d", "", 2, 0.0, 1.0, 2, 0.0, 1.0, 2, 0.0, 1.0),
        ROOT.TProfile("profile", "", 4, 0.0, 1.0),
    ]
    made[2].Sumw2()
    random = np.random.default_rng(1)
    for h in made:
        weight = (1.5,) if h.GetName() == "h2f" else ()
        for point in random.uniform(-0.2, 1.2, (50, 4)).tolist():
            h.Fill(*point[: h.GetDimension() + ("Profile" in h.ClassName())], *weight)
    return made


@pytest.mark.parametrize("age", list(OLD))
def test_old_versions_equal_root(tmp_path: Path, age: str) -> None:
    ROOT = root()
    path = tmp_path / "old.root"
    write_old(path, age, filled(ROOT))
    file = ROOT.TFile.Open(str(path))
    with pytest.warns(DQMWarning, match="not laid out as expected") as told:
        made = {me.name: me for me in dq.arrays(path, threads=2).all_series()}
    assert len(told) == 1, "one warning for a file, however many it has of them"
    assert len(made) == 5
    for h in filled(ROOT):
        theirs = file.Get(f"DQMData/Run 1/Old/Run summary/{h.GetName()}")
        me = made[f"Old/{h.GetName()}"]
        assert theirs.GetEntries() == 50
        assert (me.storage, me.title, me.entries.tolist()) == (h.ClassName(), theirs.GetTitle(), [50.0])
        assert np.array_equal(contents(theirs), contents(h)), "this is no file that ROOT reads"
        np.testing.assert_allclose(me.values(flow=True)[0].ravel(), contents(theirs), rtol=1e-14)
        np.testing.assert_allclose(np.sqrt(me.variances(flow=True)[0]).ravel(), errors(theirs), rtol=1e-9)
        for mine, axis in zip(me.axes, (theirs.GetXaxis(), theirs.GetYaxis(), theirs.GetZaxis()), strict=False):
            assert mine.title == axis.GetTitle()
            assert mine.bin_edges.tolist() == pytest.approx([axis.GetBinLowEdge(i + 1) for i in range(mine.nbins + 1)])
    file.Close()
