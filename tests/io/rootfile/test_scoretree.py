"""The tree of scores is read by RDataFrame without dqmroot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import uproot
from certifications import MAP, SHAPE, make_certification

from dqmroot.errors import OutputError
from dqmroot.io.rootfile.scoretree import write_score_tree


def test_rdataframe_reads_it(tmp_path: Path) -> None:
    import ROOT

    cert = make_certification(((MAP, "TH2F"), (SHAPE, "TH1F")))
    path = write_score_tree(tmp_path / "scores.root", cert.mes)
    frame = ROOT.RDataFrame("scores", str(path))
    columns = frame.AsNumpy(["run", "lumi", "me", "score", "threshold", "flag"])
    for name in ("run", "lumi", "score", "flag"):
        np.testing.assert_array_equal(columns[name], np.concatenate([getattr(result, name) for result in cert.mes]))
    assert columns["me"].tolist() == [0] * 60 + [1] * 60
    assert set(columns["threshold"]) == {3.0}
    assert frame.Filter(f'std::string(name.data()) == "{SHAPE}"').Count().GetValue() == 60
    assert frame.Filter("flag == 1").Count().GetValue() == 20
    assert {str(frame.GetColumnType(name)) for name in ("run", "lumi")} == {"UInt_t"}


def test_uproot_reads_it(tmp_path: Path) -> None:
    cert = make_certification((("a/<é>\n" + "x" * 300, "TH1F"), ("b", "TH1F")))
    with uproot.open(write_score_tree(tmp_path / "scores.root", cert.mes)) as file:
        names = file["scores"]["name"].array(library="np").tolist()
    assert names == [cert.mes[0].me] * 60 + ["b"] * 60


def test_no_rows(tmp_path: Path) -> None:
    import ROOT

    path = write_score_tree(tmp_path / "scores.root", [])
    assert ROOT.RDataFrame("scores", str(path)).Count().GetValue() == 0


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        write_score_tree(tmp_path / "file" / "scores.root", [])
