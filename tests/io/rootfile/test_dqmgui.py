"""DQM GUI files: every class, scalar and flag against what ROOT reads."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rootfiles import contents, errors, root

from dqmroot.errors import DQMWarning, InputError, UnknownNameError
from dqmroot.io import formats
from dqmroot.io.rootfile import objects
from dqmroot.io.rootfile.dqmgui import QualityReport, open_gui

pytest.importorskip("ROOT")

TEXTS = {
    "EventInfo": [
        "<iRun>i=306138</iRun>",
        "<reportSummary>f=0.98765432100000003</reportSummary>",
        '<processName>s=HCAL <b>x=1</b> / and = signs: "q"</processName>',
        "<nothing>s=</nothing>",
        "<nan>f=nan</nan>",
        "hello, no scalar",
    ],
    "Digi": [
        "<h1f.YRange>qr=st:300:0.25:ContentsYRange:too low: 3 bins</h1f.YRange>",
        "<h1s.Old>qr=st.100. Test Old (ContentsYRange): fine</h1s.Old>",
        "<h1s.Odd>qr=st::1:A:m</h1s.Odd>",
        "<profile>e=1</profile>",
        "<tagged>t=42</tagged>",
    ],
}


def histograms(ROOT: Any) -> list[Any]:
    """One of each class, with labels, variable bins, errors, functions and a long name among them."""
    edges = np.array([0.0, 0.5, 2.0, 7.0])
    made = [
        ROOT.TH1F("h1f", "one;charge [e];clusters", 3, edges),
        ROOT.TH1S("h1s", "", 7, -1.0, 1.0),
        ROOT.TH1D("h1d", "x" * 300, 4, 0.0, 1.0),
        ROOT.TH1I("h1i", "", 4, 0.0, 1.0),
        ROOT.TH2F("h2f", "two;ieta;iphi", 4, 0.0, 4.0, 3, 0.0, 3.0),
        ROOT.TH2S("h2s", "", 2, 0.0, 4.0, 2, 0.0, 3.0),
        ROOT.TH2D("h2d", "", 3, edges, 2, 0.0, 1.0),
        ROOT.TH2I("h2i", "", 2, 0.0, 4.0, 2, 0.0, 3.0),
        ROOT.TH3F("h3f", "", 2, 0.0, 1.0, 3, 0.0, 1.0, 4, 0.0, 1.0),
        ROOT.TProfile("profile", "p;x", 5, 0.0, 1.0),
        ROOT.TProfile2D("profile2d", "", 3, 0.0, 1.0, 2, 0.0, 1.0),
        ROOT.TH1F('a < b = c "d"', "", 2, 0.0, 1.0),
        ROOT.TH1C("h1c", "", 3, 0.0, 1.0),
        ROOT.TH2C("h2c", "", 3, 0.0, 1.0, 2, 0.0, 1.0),
        *(getattr(ROOT, f"TH3{x}")(f"h3{x}", "", 2, 0.0, 1.0, 3, 0.0, 1.0, 2, 0.0, 1.0) for x in "CSID"),
        ROOT.TProfile3D("profile3d", "", 3, 0.0, 1.0, 2, 0.0, 1.0, 2, 0.0, 1.0),
        *(getattr(ROOT, f"TH{n}L")(f"h{n}l", "", *n * (2, 0.0, 1.0)) for n in (1, 2, 3) if hasattr(ROOT, f"TH{n}L")),
    ]
    rng = ROOT.TRandom3(7)
    for i, h in enumerate(made):
        profile = h.ClassName().startswith("TProfile")
        if i % 2 and not profile:
            h.Sumw2()
        for _ in range(60):
            point = [rng.Uniform(-0.3, 1.3) for _ in range(h.GetDimension() + profile)]
            h.Fill(*point)
    made[4].GetXaxis().SetBinLabel(2, "two")
    made[4].GetXaxis().SetBinLabel(4, "four")
    made[0].GetListOfFunctions().Add(ROOT.TF1("f", "gaus", 0, 1))
    return made


@pytest.fixture(scope="module")
def gui(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gui") / "DQM_V0001_R000306138__A__B__C.root"
    write(path)
    return path


def write(path: Path, compression: int = 101) -> None:
    ROOT = root()
    file = ROOT.TFile(str(path), "RECREATE", "", compression)
    top = file.mkdir("DQMData")
    run = top.mkdir("Run 306138")
    summary = run.mkdir("Hcal").mkdir("Run summary")
    for folder, texts in TEXTS.items():
        summary.mkdir(folder).cd()
        for text in texts:
            ROOT.TObjString(text).Write()
    summary.Get("Digi").cd()
    for h in histograms(ROOT):
        h.SetDirectory(ROOT.nullptr)
        h.Write()
    ROOT.TGraph(3).Write("graph")
    for place, fill in ((run.mkdir("Ecal").mkdir("Run summary"), 1), (run.Get("Hcal").mkdir("By Lumi Section 3-4"), 2)):
        place.mkdir("Digi").cd()
        h = ROOT.TH1F("h1f", "", 3, np.array([0.0, 0.5, 2.0, 7.0]))
        h.SetDirectory(ROOT.nullptr)
        h.Fill(0.1, fill)
        h.Write()
        h.Write()  # a second cycle of the same name
    run.mkdir("Reference").mkdir("Run summary").cd()
    ROOT.TH1F("reference", "", 1, 0.0, 1.0).Write()
    file.Close()


def check(path: Path, made: dict[str, Any]) -> None:
    """Compare every histogram of the Hcal run summary with what ROOT reads."""
    ROOT = root()
    file = ROOT.TFile.Open(str(path))
    folder = file.Get("DQMData/Run 306138/Hcal/Run summary/Digi")
    n = 0
    for key in folder.GetListOfKeys():
        h = key.ReadObj()
        if not h.InheritsFrom("TH1"):
            continue
        n += 1
        me = made[f"Hcal/Digi/{key.GetName()}"]
        me = me[me.lumi == 0]
        assert me.storage == h.ClassName()
        assert me.title == h.GetTitle()
        assert me.entries.tolist() == [h.GetEntries()]
        assert (me.run.tolist(), me.lumi.tolist()) == ([306138], [0])
        values = contents(h).reshape(me.contents.shape)
        if me.is_profile:
            bins = [h.GetBinEntries(i) for i in range(h.GetNcells())]
            np.testing.assert_array_equal(me.bin_entries, np.reshape(bins, values.shape))
            np.testing.assert_allclose(me.values(flow=True), values, rtol=1e-14)
        else:
            np.testing.assert_array_equal(me.contents, values)
            assert me.sumw2 is not None or h.GetSumw2N() == 0
        variances = errors(h).reshape(values.shape) ** 2
        np.testing.assert_allclose(me.variances(flow=True), variances, rtol=1e-9, atol=1e-12)
        for axis, theirs in zip(me.axes, (h.GetXaxis(), h.GetYaxis(), h.GetZaxis()), strict=False):
            assert axis.title == theirs.GetTitle()
            assert axis.bin_edges.tolist() == pytest.approx(
                [theirs.GetBinLowEdge(i + 1) for i in range(axis.nbins + 1)]
            )
            if theirs.GetLabels():
                assert list(axis.labels) == [theirs.GetBinLabel(i + 1) for i in range(axis.nbins)]
            else:
                assert axis.labels == ()
    assert n == len(histograms(ROOT))
    file.Close()


@pytest.mark.parametrize("compression", [0, 101, 209, 404, 505])
def test_every_class_and_codec(tmp_path: Path, compression: int) -> None:
    write(tmp_path / "gui.root", compression)
    arrays = formats.arrays(tmp_path / "gui.root")
    check(tmp_path / "gui.root", {me.name: me for me in arrays.all_series()})


def test_pieces_are_whole_lumisections(gui: Path, tmp_path: Path) -> None:
    whole = formats.arrays(gui)
    (all_at_once,) = formats.iterate(gui)
    assert all_at_once.names == whole.names
    parts = list(formats.iterate(gui, step_bytes=1))
    # The whole run and LS 4.
    assert [sorted({int(lumi) for me in part.all_series() for lumi in me.lumi}) for part in parts] == [[0], [4]]
    found = {
        (me.name, int(lumi)): row
        for part in parts
        for me in part.all_series()
        for lumi, row in zip(me.lumi, me.contents, strict=True)
    }
    for me in whole.all_series():
        for lumi, row in zip(me.lumi, me.contents, strict=True):
            np.testing.assert_array_equal(found.pop((me.name, int(lumi))), row)
    assert not found
    ROOT = root()
    file = ROOT.TFile(str(tmp_path / "flat.root"), "RECREATE")
    for lumi in range(1, 7):
        for name in "ab":
            h = ROOT.TH1F(f"run1_ls{lumi}_{name}", "", 10, 0.0, 1.0)
            h.SetBinContent(1, lumi)
            h.Write()
    file.Close()
    parts = list(formats.iterate(tmp_path / "flat.root", step_bytes=2500))
    assert len(parts) > 2
    for name in "ab":
        assert [int(lumi) for part in parts for lumi in part.series(name).lumi] == [1, 2, 3, 4, 5, 6]
        assert [value for part in parts for value in part.series(name).values()[:, 0]] == [1, 2, 3, 4, 5, 6]


def test_polygons(tmp_path: Path) -> None:
    ROOT = root()
    made = ROOT.TH2Poly("cells", "hexagons", 0.0, 3.0, 0.0, 2.0)
    made.Honeycomb(0.0, 0.0, 0.3, 4, 3)
    made.Sumw2()
    for i in range(40):
        made.Fill(0.1 * i, 0.05 * i, 1.5)
    path = tmp_path / "gui.root"
    file = ROOT.TFile(str(path), "RECREATE")
    file.mkdir("DQMData").mkdir("Run 1").mkdir("Ecal").mkdir("Run summary").cd()
    made.Write()
    file.Close()
    me = formats.read(path, "Ecal/cells")
    assert (me.storage, me.title, me.entries.tolist()) == ("TH2Poly", "hexagons", [made.GetEntries()])
    n = made.GetNumberOfBins()
    assert me.values()[0].tolist() == [made.GetBinContent(i) for i in range(1, n + 1)]
    np.testing.assert_allclose(me.variances()[0], [made.GetBinError(i) ** 2 for i in range(1, n + 1)], rtol=1e-12)
    assert me.contents[0, 0] == sum(made.GetBinContent(-i) for i in range(1, 10))
    assert [one.storage for one in formats.list_mes(path)] == ["TH2Poly"]
    assert open_gui(str(path)).skipped == {}


def test_without_an_exported_libdeflate(gui: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "linked", lambda: False)
    check(gui, {me.name: me for me in formats.arrays(gui, threads=1).all_series()})


def test_scalars_tests_and_flags(gui: Path) -> None:
    file = open_gui(str(gui))
    values = {name.removeprefix("Hcal/EventInfo/"): value for (name, run, lumi), value in file.scalars.items()}
    assert math.isnan(values.pop("nan"))
    assert values == {
        "iRun": 306138,
        "reportSummary": float("0.98765432100000003"),
        "processName": 'HCAL <b>x=1</b> / and = signs: "q"',
        "nothing": "",
    }
    first, second = file.quality
    assert first == QualityReport("Hcal/Digi/h1f", "YRange", 300, 0.25, "ContentsYRange", "too low: 3 bins", 306138, 0)
    assert math.isnan(second.result)
    assert (second.me, second.status, second.message) == ("Hcal/Digi/h1s", 100, "Test Old (ContentsYRange): fine")
    assert file.efficiency == {("Hcal/Digi/profile", 306138, 0)}
    assert file.skipped == {"TGraph": 1}
    arrays = formats.arrays(gui, "Hcal/EventInfo/*")
    assert arrays.series("Hcal/EventInfo/iRun").values().tolist() == [306138]
    assert arrays.series("Hcal/EventInfo/nothing").values().tolist() == [""]
    assert arrays["Float"].contents.tolist()[0] == [float("0.98765432100000003")]


def test_lumisections_and_scope(gui: Path) -> None:
    me = formats.read(gui, "Hcal/Digi/h1f")
    assert (me.run.tolist(), me.lumi.tolist()) == ([306138, 306138], [0, 4])
    assert me.contents[1].tolist() == [0, 2, 0, 0, 0]
    assert formats.read(gui, "Hcal/Digi/h1f", scope="lumi").lumi.tolist() == [4]
    assert formats.read(gui, "Hcal/Digi/h1f", scope="run").lumi.tolist() == [0]
    assert formats.read(gui, "Hcal/Digi/h1f", runs=306138, lumis=(4, 4)).lumi.tolist() == [0, 4]
    info = {i.name: i for i in formats.list_mes(gui)}
    assert (info["Hcal/Digi/h1f"].n_ls, info["Hcal/Digi/h1f"].n_runs, info["Hcal/Digi/h1f"].runs) == (1, 1, (306138,))
    assert "Reference/reference" not in info
    assert len(info) == len(histograms(root())) + 1 + 5
    with pytest.raises(UnknownNameError, match="nearest: Hcal/Digi/h1c, Hcal/Digi/h1d"):
        formats.read(gui, "Hcal/Digi/h1")


def test_only_what_is_asked_for_is_looked_into(gui: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dqmroot.io.rootfile import rootdir

    seen = []
    take = rootdir._take
    monkeypatch.setattr(
        rootdir, "_take", lambda out, columns, path, blob: seen.append(path) or take(out, columns, path, blob)
    )
    for pattern in ("Ecal/**", "Ecal/Digi/h1f", "Ecal/*/h1f"):
        seen.clear()
        assert formats.arrays(gui, pattern).names == ("Ecal/Digi/h1f",)
        assert not [path for path in seen if "Hcal" in path]
    assert formats.arrays(gui, "re:^Ecal").names == ("Ecal/Digi/h1f",)


def test_several_files_make_a_series(gui: Path, tmp_path: Path) -> None:
    ROOT = root()
    for run in (1, 2):
        file = ROOT.TFile(str(tmp_path / f"{run}.root"), "RECREATE")
        file.mkdir("DQMData").mkdir(f"Run {run}").mkdir("Hcal").mkdir("Run summary").mkdir("Digi").cd()
        h = ROOT.TH1F("h1f", "", 3, np.array([0.0, 0.5, 2.0, 7.0]))
        h.SetBinContent(1, run)
        h.SetDirectory(ROOT.nullptr)
        h.Write()
        file.Close()
    me = formats.read([tmp_path / "2.root", gui, tmp_path / "1.root"], "Hcal/Digi/h1f", scope="run")
    assert me.run.tolist() == [1, 2, 306138]
    assert me.values()[:2, 0].tolist() == [1, 2]


def test_the_slow_and_sure_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ROOT = root()
    path = tmp_path / "odd.root"
    file = ROOT.TFile(str(path), "RECREATE")
    file.mkdir("DQMData").mkdir("Run 306138").mkdir("Hcal").mkdir("Run summary").mkdir("Digi").cd()
    buffered = ROOT.TH1F("buffered", "fills in a buffer", 5, 0.0, 1.0)
    buffered.SetBuffer(100)
    for x in (0.1, 0.3, 0.35, 2.0):
        buffered.Fill(x)
    for h in (ROOT.TH1F("before", "b", 5, 0.0, 1.0), buffered, ROOT.TH1F("later", "l", 5, 0.0, 1.0)):
        h.SetDirectory(ROOT.nullptr)
        h.Write()
    file.Close()
    arrays = formats.arrays(path)
    assert arrays.series("Hcal/Digi/buffered").contents.tolist() == [[0, 1, 2, 0, 0, 0, 1]]
    assert arrays.series("Hcal/Digi/buffered").title == "fills in a buffer"
    assert [arrays.series(f"Hcal/Digi/{name}").title for name in ("before", "later")] == ["b", "l"]
    # What the kernel does not take is left to uproot, with a warning: here one of each class.
    write(path)
    find = objects.find

    def refuses(data: Any, starts: Any, stops: Any, shape: Any, name: Any, found: Any, entries: Any, where: Any) -> int:
        bad = find(data, starts, stops, shape, name, found, entries, where)
        found[::2, 0] = 3
        return int(bad) + len(found[::2])

    monkeypatch.setattr(objects, "find", refuses)
    with pytest.warns(DQMWarning, match="not laid out as expected, others may follow; read through uproot"):
        made = {me.name: me for me in formats.arrays(path, threads=1).all_series()}
    check(path, made)


def test_damaged_files(gui: Path, tmp_path: Path) -> None:
    data = bytearray(gui.read_bytes())
    path = tmp_path / "damaged.root"
    rng = np.random.default_rng(11)
    told = right = 0
    for trial in range(300):
        broken = data.copy()
        if trial % 3 == 0:
            broken = broken[: int(rng.integers(0, len(data)))]
        for _ in range(int(rng.integers(1, 6))):
            if len(broken):
                broken[int(rng.integers(0, len(broken)))] = int(rng.integers(0, 256))
        path.write_bytes(broken)
        try:
            for me in formats.arrays(path, threads=1).all_series():
                me.values(flow=True)
            right += 1
        except InputError as error:
            told += str(path) in str(error)
    assert told + right == 300
    assert told > 100


def test_real_file_against_root(real_data: Path) -> None:
    ROOT = root()
    path = real_data / "dqmgui" / "DQMServices-Examples__ref.root"
    arrays = formats.arrays(path)
    assert [len(arrays.rows[k]) for k in ("TH1F", "TH1S", "TH2F", "TProfile", "TProfile2D")] == [17, 1, 2, 1, 1]
    file = ROOT.TFile.Open(str(path))
    for me in arrays.all_series():
        if not me.axes:
            continue
        system, rest = me.name.split("/", 1)
        h = file.Get(f"DQMData/Run 1/{system}/Run summary/{rest}")
        np.testing.assert_allclose(me.values(flow=True)[0], contents(h).reshape(me.contents[0].shape), rtol=1e-14)
        assert me.entries[0] == h.GetEntries()
    file.Close()
    gui = open_gui(str(path))
    assert gui.scalars["YourSubsystemName/DQMsource/C1/int1", 1, 0] == -(2**31)
    assert len(gui.quality) == 13
    assert {report.status for report in gui.quality} == {100, 200, 300}
