"""One pass from files to series.h5, parquet and flat ROOT, each of which reads back to the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import uproot
from rootfiles import root, writer

from dqmroot.errors import EmptySelectionError, InputError, UnknownNameError, UsageError
from dqmroot.io import formats
from dqmroot.io.extract import extract
from dqmroot.io.tables.hdf5 import read_series
from dqmroot.io.tables.reader import read_table
from dqmroot.series import MonitorElement

pytest.importorskip("ROOT")

HISTOGRAMS = ["A/one", "A/two", "B/profile", "B/short", "B/weighted"]
FIELDS = ("run", "lumi", "entries", "contents", "sumw2", "bin_entries", "bin_sumw2")


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three files of one run: LS 1-4, 4-6, 6-8. LS 4 and 6 lie in two of them."""
    ROOT = root()
    folder = tmp_path_factory.mktemp("nano")
    rng = ROOT.TRandom3(3)
    out = []
    for first in (1, 4, 6):
        path = folder / f"{first}.root"
        with writer(path) as file:
            for lumi in range(first, min(first + 4, 9) if first == 1 else first + 3):
                file.begin(7, lumi)
                one = ROOT.TH1F("one", "first;x", 5, -1.0, 1.0)
                two = ROOT.TH2F("two", "", 3, 0.0, 1.0, 2, 0.0, 1.0)
                two.GetXaxis().SetBinLabel(1, "left")
                profile = ROOT.TProfile("profile", "", 4, 0.0, 1.0)
                short = ROOT.TH1S("short", "", 4, 0.0, 1.0)
                weighted = ROOT.TH1D("weighted", "", 4, 0.0, 1.0)
                weighted.Sumw2()
                for _ in range(50):
                    x, y = rng.Uniform(-0.2, 1.2), rng.Uniform(-0.2, 1.2)
                    one.Fill(x)
                    two.Fill(x, y)
                    profile.Fill(x, y)
                    short.Fill(x)
                    weighted.Fill(x, y)
                for name, h in zip(HISTOGRAMS, (one, two, profile, short, weighted), strict=True):
                    file.add(name, h)
                file.end()
        out.append(path)
    return out


def same(one: MonitorElement, other: MonitorElement, title: bool = True) -> None:
    assert (one.name, one.storage, one.axes) == (other.name, other.storage, other.axes)
    assert not title or one.title == other.title
    for what in FIELDS:
        a, b = getattr(one, what), getattr(other, what)
        assert (a is None) == (b is None), f"{one.name} {what}"
        if a is not None:
            assert a.dtype == b.dtype, f"{one.name} {what}"
            np.testing.assert_array_equal(a, b, err_msg=f"{one.name} {what}")


@pytest.mark.parametrize("ending", ["h5", "parquet", "root"])
def test_reads_back_exactly(nano: list[Path], tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"series.{ending}"
    told: list[tuple[int, int]] = []
    result = extract(nano, HISTOGRAMS, out, progress=lambda done, total: told.append((done, total)))
    assert result.rows == dict.fromkeys(HISTOGRAMS, 8)
    assert result.absent == ()
    assert told == [(1, 3), (2, 3), (3, 3)]
    for name in HISTOGRAMS:
        same(formats.read(out, name), formats.read(nano, name), title=ending != "root")
    assert [info.name for info in formats.list_mes(out)] == HISTOGRAMS
    assert [p.name for p in tmp_path.iterdir()] == [out.name]


def test_root_opens_the_flat_file(nano: list[Path], tmp_path: Path) -> None:
    ROOT = root()
    extract(nano, "A/*", tmp_path / "s.root")
    me = formats.read(nano, "A/two")
    file = ROOT.TFile.Open(str(tmp_path / "s.root"))
    h = file.Get("run7_ls4_A_two")
    assert (h.ClassName(), h.GetTitle(), h.GetEntries()) == ("TH2F", "A/two", me.entries[3])
    assert [h.GetBinContent(i) for i in range(20)] == me.contents[3].ravel().tolist()
    assert file.GetNkeys() == 16
    file.Close()
    with uproot.open(tmp_path / "s.root") as again:
        assert again["run7_ls1_A_one"].values(flow=True).tolist() == formats.read(nano, "A/one").contents[0].tolist()


def test_the_parquet_file_is_a_legacy_table_too(nano: list[Path], tmp_path: Path) -> None:
    import pandas as pd

    extract(nano, ["A/one", "A/two"], tmp_path / "s.parquet")
    df = pd.read_parquet(tmp_path / "s.parquet")
    row = df[(df.hname == "A/two") & (df.fromlumi == 5)].iloc[0]
    me = formats.read(nano, "A/two", lumis=(5, 5))
    assert (row.metype, row.Xbins, row.Xmin, row.Ymax, row.fromrun) == (6, 3, 0.0, 1.0, 7)
    np.testing.assert_array_equal(row.histo, me.contents[0].ravel())
    # Without its own metadata the file is a table with flow bins like any other.
    df.drop(columns=["sumw2", "bin_entries", "bin_sumw2", "conditions"]).to_parquet(tmp_path / "plain.parquet")
    np.testing.assert_array_equal(read_table(tmp_path / "plain.parquet")["A/two"].contents[4:5], me.contents)


def test_what_is_absent_is_named(nano: list[Path], tmp_path: Path) -> None:
    result = extract(nano, ["A/one", "A/onee", "C/**"], tmp_path / "s.h5")
    assert (list(result.rows), result.absent) == (["A/one"], ("A/onee", "C/**"))
    with pytest.raises(UnknownNameError, match="'A/onee'; nearest: A/one"):
        extract(nano, ["A/onee"], tmp_path / "none.h5")
    with pytest.raises(EmptySelectionError):
        extract(nano, ["A/one"], tmp_path / "none.h5", runs=8)
    assert not (tmp_path / "none.h5").exists()


def test_files_of_several_kinds(nano: list[Path], tmp_path: Path) -> None:
    extract(nano[:1], ["A/one"], tmp_path / "first.h5")
    extract(nano[2:], ["A/one"], tmp_path / "last.parquet")
    files = [tmp_path / "last.parquet", nano[1], tmp_path / "first.h5"]
    me = formats.read(files, "A/one", lumis=[(1, 3), (5, 5), (7, 9)])
    same(me, formats.read(nano, "A/one", lumis=[(1, 3), (5, 5), (7, 9)]))
    extract(files, "**", tmp_path / "all.h5", lumis=[(1, 3), (5, 5), (7, 9)])
    same(read_series(tmp_path / "all.h5")["A/one"], me)


def test_files_that_cannot_be_read(nano: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.root"
    bad.write_bytes(nano[0].read_bytes()[:1000])
    with pytest.raises(InputError, match=r"bad\.root: truncated"):
        extract([nano[0], bad], "A/one", tmp_path / "s.h5")
    errors: list[InputError] = []
    assert extract([nano[0], bad], "A/one", tmp_path / "s.h5", errors=errors).rows == {"A/one": 4}
    assert [Path(error.path).name for error in errors] == ["bad.root"]


def test_what_a_format_cannot_hold(nano: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot tell the format"):
        extract(nano, "A/one", tmp_path / "s.txt")
    scalar = tmp_path / "scalar.root"
    with writer(scalar) as file:
        file.begin(1, 1)
        file.addInt("S/i", 3)
        file.end()
    for ending in ("parquet", "root"):
        with pytest.raises(UsageError, match=r"S/i is a Int.*use series\.h5"):
            extract(scalar, "S/i", tmp_path / f"s.{ending}")
    extract(scalar, "S/i", tmp_path / "s.h5")
    assert formats.read(tmp_path / "s.h5", "S/i").values().tolist() == [3]
