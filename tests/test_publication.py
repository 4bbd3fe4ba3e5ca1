"""What is published is what was certified, and both GUIs show all of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import guireader
import numpy as np
import pytest
from certifications import MAP, PROFILE, SHAPE, make_certification

from dqmroot.certification import Certification
from dqmroot.errors import EmptySelectionError, InputError, OutputError, UsageError
from dqmroot.judgement import NOT_JUDGED
from dqmroot.publication import overlay, publish

DATASET = "/ZeroBias/Run2017B-dqmroot-v1/DQMIO"
NAMES = [f"DQM_V0001_R000{run}__ZeroBias__Run2017B-dqmroot-v1__DQMIO.root" for run in (297050, 297056)]
RUN = 297050
TOP = f"DQMData/Run {RUN}/dqmroot/Run summary/"


@pytest.fixture(scope="module")
def cert() -> Certification:
    return make_certification()


@pytest.fixture(scope="module")
def folder(cert: Certification, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("published")
    assert [path.name for path in publish(cert, out, DATASET)] == [*NAMES, "scores.root"]
    return out


@pytest.fixture(scope="module")
def opened(folder: Path) -> Iterator[Any]:
    import ROOT

    file = ROOT.TFile.Open(str(folder / NAMES[0]))
    yield file
    file.Close()


def values(root: Any) -> np.ndarray:
    """Contents of a histogram without flow, (y, x)."""
    nx, ny = root.GetNbinsX(), root.GetNbinsY()
    array = np.array([[root.GetBinContent(x, y) for x in range(1, nx + 1)] for y in range(1, ny + 1)])
    return array if root.GetDimension() == 2 else array[0]


def labels(axis: Any) -> list[str]:
    return [axis.GetBinLabel(i) for i in range(1, axis.GetNbins() + 1)]


def scalars(file: Any, folder: str) -> dict[str, str]:
    texts = [key.GetName() for key in file.Get(TOP + folder).GetListOfKeys() if key.GetClassName() == "TObjString"]
    found = [guireader.SCALAR.match(text) for text in texts]
    return {match[1] + match[2]: match[3] for match in found if match}


def test_both_guis_show_everything(folder: Path) -> None:
    for name in NAMES:
        shown = guireader.check_gui_file(folder / name, strict="dqmroot")
        histograms = {path for path, entry in shown.items() if entry.class_name != "TObjString"}
        keys = ("score_vs_ls", "flag_vs_ls", "threshold_vs_ls", "mean_loss", "bad_fraction",
                "worst_ls_original", "worst_ls_reconstruction", "worst_ls_loss")  # fmt: skip
        expected = {f"dqmroot/MEs/{me}/{key}" for me in (MAP, SHAPE, PROFILE) for key in keys}
        expected |= {"dqmroot/verdict_vs_ls", "dqmroot/bad_mes_vs_ls"}
        expected |= {f"dqmroot/EventInfo/{key}" for key in ("reportSummaryMap", "CertificationSummaryMap")}
        assert histograms == expected


def test_classes_titles_and_axes(opened: Any, cert: Certification) -> None:
    for result in cert.mes:
        here = f"{TOP}MEs/{result.me}/"
        dimension = len(result.axes)
        for key in ("mean_loss", "bad_fraction", "worst_ls_original", "worst_ls_reconstruction", "worst_ls_loss"):
            root = opened.Get(here + key)
            assert (root.ClassName(), root.GetName()) == (f"TH{dimension}F", key)
            assert root.GetTitle().startswith(f"{result.me}: ")
            for axis, got in zip(result.axes, (root.GetXaxis(), root.GetYaxis()), strict=False):
                assert (got.GetNbins(), got.GetTitle()) == (axis.nbins, axis.title)
                assert labels(got) == list(axis.labels or [""] * axis.nbins)
                assert [got.GetBinLowEdge(i) for i in range(1, axis.nbins + 2)] == pytest.approx(
                    axis.bin_edges.tolist()
                )
        for key in ("score_vs_ls", "flag_vs_ls", "threshold_vs_ls"):
            root = opened.Get(here + key)
            assert root.ClassName() == "TH1D"
            assert root.GetXaxis().GetTitle() == "Lumisection"
            assert root.GetXaxis().FindBin(20) == 20
            assert root.GetNbinsX() == 32


def test_score_flag_and_threshold(opened: Any, cert: Certification) -> None:
    for result in cert.mes:
        rows = result.run == RUN
        expected = np.full(32, -1.0)
        expected[result.lumi[rows] - 1] = np.nan_to_num(result.score[rows], nan=-1.0)
        np.testing.assert_array_equal(values(opened.Get(f"{TOP}MEs/{result.me}/score_vs_ls")), expected)
        flags = np.full(32, -1.0)
        flags[result.lumi[rows] - 1] = result.flag[rows]
        root = opened.Get(f"{TOP}MEs/{result.me}/flag_vs_ls")
        np.testing.assert_array_equal(values(root), flags)
        assert "threshold 3" in root.GetTitle()
        assert root.GetBinError(10) == 0
        assert set(values(opened.Get(f"{TOP}MEs/{result.me}/threshold_vs_ls"))) == {3.0}


def test_maps(opened: Any, cert: Certification) -> None:
    for result in cert.mes:
        worst = result.worst[RUN]
        for key, array in (
            ("mean_loss", result.mean_loss[RUN]),
            ("bad_fraction", result.bad_fraction[RUN]),
            ("worst_ls_original", worst.original),
            ("worst_ls_reconstruction", worst.reconstruction),
            ("worst_ls_loss", worst.loss),
        ):
            root = opened.Get(f"{TOP}MEs/{result.me}/{key}")
            np.testing.assert_array_equal(values(root), np.asarray(array, np.float32))
            counts = key == "worst_ls_original" and result.storage != "TProfile"
            content, error = root.GetBinContent(4, 1), root.GetBinError(4, 1)
            assert error == pytest.approx(np.sqrt(content) if counts else 0.0)


def test_event_info(opened: Any, cert: Certification) -> None:
    info = scalars(opened, "EventInfo")
    judged = cert.verdict[(cert.run == RUN) & (cert.verdict != NOT_JUDGED)]
    assert info["iRuni"] == str(RUN)
    assert info["iLumiSectioni"] == "32"
    assert info["processNames"] == "dqmroot"
    assert (info["goodLumiSectionsi"], info["badLumiSectionsi"], info["notJudgedLumiSectionsi"]) == ("24", "5", "1")
    assert float(info["reportSummaryf"]) == pytest.approx((judged == 0).mean()) == pytest.approx(24 / 29)
    assert float(info["CertificationSummaryf"]) == pytest.approx(24 / 30)
    parent, leaf = SHAPE.rsplit("/", 1)
    assert float(scalars(opened, f"EventInfo/reportSummaryContents/{parent}")[leaf + "f"]) == pytest.approx(24 / 29)
    assert float(scalars(opened, f"EventInfo/CertificationContents/{parent}")[leaf + "f"]) == pytest.approx(24 / 30)


def test_verdict_map(opened: Any, cert: Certification) -> None:
    root = opened.Get(TOP + "EventInfo/reportSummaryMap")
    assert labels(root.GetYaxis()) == ["[verdict]", "depth1", "FEDTotalEventSize", "Mean"]
    rows = cert.run == RUN
    expected = np.full((4, 32), -1.0)
    for row, flag in enumerate([cert.verdict, *(result.flag for result in cert.mes)]):
        expected[row, cert.lumi[rows] - 1] = [{0: 1, 1: 0, -1: -1}[f] for f in flag[rows].tolist()]
    np.testing.assert_array_equal(values(root), expected)
    assert (root.GetMinimumStored(), root.GetMaximumStored()) == (-1, 1)
    shares = opened.Get(TOP + "EventInfo/CertificationSummaryMap")
    np.testing.assert_allclose(values(shares)[:, 0], [24 / 30] * 4)


def test_labels_are_as_short_as_they_can_be(tmp_path: Path) -> None:
    import ROOT

    mes = ("Hcal/DigiTask/depth1", "Hcal/RecHitTask/depth1", "all", "b/x", "x", "Ecal/y")
    cert = make_certification([(me, "TH1F") for me in mes], runs=(RUN,))
    file = ROOT.TFile.Open(str(publish(cert, tmp_path, DATASET)[0]))
    got = labels(file.Get(TOP + "EventInfo/reportSummaryMap").GetYaxis())
    assert got == ["[verdict]", "DigiTask/depth1", "RecHitTask/depth1", "all", "b/x", "x", "y"]
    file.Close()


def test_the_drawn_range_holds_the_scores_and_the_cut(opened: Any, cert: Certification) -> None:
    root = opened.Get(f"{TOP}MEs/{MAP}/score_vs_ls")
    score = cert.mes[0].score[cert.mes[0].run == RUN]
    assert -1 < root.GetMinimumStored() < 0
    assert np.nanmax(score) < root.GetMaximumStored() < 1.2 * np.nanmax(score)


def test_quality_tests_and_flags(opened: Any) -> None:
    here = scalars(opened, f"MEs/{SHAPE}")
    quality = guireader.QUALITY.match(here["score_vs_ls.dqmrootqr"])
    assert quality is not None
    assert (quality[1], quality[3], quality[4]) == (
        "300",
        "dqmroot",
        "5 of 29 judged lumisections are bad, threshold 3",
    )
    assert float(quality[2]) == pytest.approx(24 / 29)
    assert {name for name in here if name.endswith("e")} >= {
        "score_vs_lse",
        "flag_vs_lse",
        "mean_losse",
        "bad_fractione",
    }
    assert "worst_ls_originale" not in here
    assert (here["worst_lsi"], here["notes"]) == (str(make_certification().mes[1].worst[RUN].lumi), "mean + 3 sigma")
    assert float(here["expected_false_ratef"]) == 1e-3


def change(cert: Certification, **changes: Any) -> Certification:
    return dataclasses.replace(cert, mes=tuple(dataclasses.replace(result, **changes) for result in cert.mes))


def test_nothing_judged(tmp_path: Path) -> None:
    import ROOT

    cert = make_certification(((SHAPE, "TH1F"),), runs=(RUN,))
    n = len(cert)
    cert = change(cert, score=np.full(n, np.nan), flag=np.full(n, -1, np.int8), threshold=float("nan"), worst={}, mean_loss={},
                  bad_fraction={}, expected_false_rate=float("nan"), note="")  # fmt: skip
    cert = dataclasses.replace(cert, verdict=np.full(n, -1, np.int8))
    path = publish(cert, tmp_path, DATASET)[0]
    shown = guireader.check_gui_file(path, strict="dqmroot")
    assert "dqmroot/EventInfo/<reportSummary>f=-1</reportSummary>" in shown
    assert f"dqmroot/MEs/{SHAPE}/threshold_vs_ls" not in shown
    file = ROOT.TFile.Open(str(path))
    assert set(values(file.Get(f"{TOP}MEs/{SHAPE}/score_vs_ls"))) == {-1.0}
    assert "90" in scalars(file, f"MEs/{SHAPE}")["score_vs_ls.dqmrootqr"]
    file.Close()


def test_negative_scores_stay_above_what_is_not_judged(tmp_path: Path) -> None:
    import ROOT

    cert = make_certification(((SHAPE, "TH1F"),), runs=(RUN,))
    cert = change(cert, score=cert.mes[0].score - 8.25)
    file = ROOT.TFile.Open(str(publish(cert, tmp_path, DATASET)[0]))
    root = file.Get(f"{TOP}MEs/{SHAPE}/score_vs_ls")
    assert root.GetBinContent(5) == np.floor(np.nanmin(cert.mes[0].score)) - 1
    assert root.GetBinContent(5) < root.GetMinimumStored() < np.nanmin(cert.mes[0].score)
    assert "-9: not judged" in root.GetTitle()
    file.Close()


def test_an_me_that_lacks_a_run(tmp_path: Path) -> None:
    cert = make_certification()
    first = cert.mes[0]
    rows = first.run == RUN
    short = dataclasses.replace(
        first, run=first.run[rows], lumi=first.lumi[rows], score=first.score[rows], flag=first.flag[rows], bad_bins=None
    )
    paths = publish(dataclasses.replace(cert, mes=(short, *cert.mes[1:])), tmp_path, DATASET)
    shown = guireader.check_gui_file(paths[1], strict="dqmroot")
    assert not any(path.startswith(f"dqmroot/MEs/{MAP}") for path in shown)
    assert f"dqmroot/EventInfo/reportSummaryContents/{MAP.rsplit('/', 1)[0]}/<depth1>f=-1</depth1>" in shown


def test_numbers_that_are_none(tmp_path: Path) -> None:
    import ROOT

    cert = make_certification(((MAP, "TH2F"),), runs=(RUN,))
    broken = cert.mes[0].mean_loss[RUN].copy()
    broken[0, 0], broken[1, 1] = np.nan, np.inf
    file = ROOT.TFile.Open(str(publish(change(cert, mean_loss={RUN: broken}), tmp_path, DATASET)[0]))
    got = values(file.Get(f"{TOP}MEs/{MAP}/mean_loss"))
    assert (got[0, 0], got[1, 1]) == (-1, -1)
    assert np.isfinite(got).all()
    file.Close()


def test_three_dimensions_and_doubles(tmp_path: Path) -> None:
    import ROOT

    from dqmroot.examples import WorstLS
    from dqmroot.series import Axis

    cert = make_certification((("a", "TH1F"), ("b", "TH1F")), runs=(RUN,))
    axes = (Axis(2, 0.0, 1.0), Axis(3, 0.0, 1.0), Axis(4, 0.0, 1.0, title="depth"))
    cube, wide = np.arange(24.0).reshape(4, 3, 2), np.arange(50) + 2.0**25 + 1
    solid = dataclasses.replace(cert.mes[0], axes=axes, storage="TH3F", mean_loss={RUN: cube}, bad_fraction={},
                                worst={RUN: WorstLS(4, 1.0, cube, None, None)})  # fmt: skip
    fine = dataclasses.replace(cert.mes[1], worst={RUN: WorstLS(4, 1.0, wide, None, None)})
    path = publish(dataclasses.replace(cert, mes=(solid, fine)), tmp_path, DATASET)[0]
    guireader.check_gui_file(path, strict="dqmroot")
    file = ROOT.TFile.Open(str(path))
    root = file.Get(f"{TOP}MEs/a/mean_loss")
    assert root.ClassName() == "TH3F"
    assert root.GetBinContent(2, 3, 4) == 23
    assert root.GetZaxis().GetTitle() == "depth"
    double = file.Get(f"{TOP}MEs/b/worst_ls_original")
    assert double.ClassName() == "TH1D"
    np.testing.assert_array_equal(values(double), wide)
    file.Close()


HOSTILE = [
    "<script>alert(1)</script>", "../../../../etc/passwd", 'a"b\'c', "a\nb\tc\0d", "x" * 10_000, "y" * 9_999 + "z/w",
    "Ünïcödé/мюон/粒子",
    "/absolute//double/", "a:b;1", "<x>i=1</x>", "a.b", "score_vs_ls", "a", "a/score_vs_ls", "a/score_vs_ls/b", "", " ", "..", ".",
    "EventInfo", "MEs", "Run summary", "BadModuleList", "%s%n", "a" + "/a" * 3000, "\ud800",
]  # fmt: skip


def test_hostile_names(tmp_path: Path) -> None:
    import ROOT

    cert = make_certification([(me, "TH1F") for me in HOSTILE], runs=(RUN,), n_ls=12)
    out = tmp_path / "deep" / "out"
    paths = publish(cert, out, DATASET)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()) == sorted(
        path.relative_to(tmp_path).as_posix() for path in paths
    )
    shown = guireader.check_gui_file(paths[0], strict="dqmroot")
    assert sum(path.endswith("/score_vs_ls") for path in shown) == len(HOSTILE)
    assert not any("<script" in path for path in shown)
    assert b"<script" not in b"".join(entry.payload for entry in shown.values())
    file = ROOT.TFile.Open(str(paths[0]))
    assert len(set(labels(file.Get(TOP + "EventInfo/reportSummaryMap").GetYaxis()))) == len(HOSTILE) + 1
    file.Close()


def test_hostile_labels_reach_root_as_they_are(tmp_path: Path) -> None:
    import ROOT

    from dqmroot.series import Axis

    texts = ("<script>alert(1)</script>", "a\nb", '"', "x" * 10_000, "粒子", "", "#splitline{a}{b}", "';--")
    cert = make_certification(((SHAPE, "TH1F"),), runs=(RUN,))
    axis = Axis(len(texts), 0.0, 1.0, labels=texts, title="<b>" + "t" * 300)
    cert = change(cert, axes=(axis,), mean_loss={RUN: np.zeros(len(texts))}, bad_fraction={}, worst={})
    path = publish(cert, tmp_path, DATASET)[0]
    guireader.check_gui_file(path, strict="dqmroot")
    file = ROOT.TFile.Open(str(path))
    got = file.Get(f"{TOP}MEs/{SHAPE}/mean_loss").GetXaxis()
    assert labels(got) == list(texts)
    assert got.GetTitle() == axis.title
    file.Close()


def test_same_certification_same_bytes(cert: Certification, tmp_path: Path) -> None:
    when = datetime(2024, 7, 1, tzinfo=UTC)
    one, two = publish(cert, tmp_path / "1", DATASET, time=when), publish(cert, tmp_path / "2", DATASET, time=when)
    assert [path.read_bytes() for path in one[:-1]] == [path.read_bytes() for path in two[:-1]]


def test_a_file_that_was_there_is_replaced(cert: Certification, tmp_path: Path) -> None:
    (tmp_path / NAMES[0]).write_text("old")
    publish(cert, tmp_path, DATASET)
    guireader.check_gui_file(tmp_path / NAMES[0], strict="dqmroot")


def test_what_cannot_be_published(cert: Certification, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must be /Primary/Era/Tier"):
        publish(cert, tmp_path / "out", "ZeroBias")
    with pytest.raises(UsageError, match=f"{MAP}: two results"):
        publish(dataclasses.replace(cert, mes=(*cert.mes, cert.mes[0])), tmp_path / "out", DATASET)
    nothing = cert.verdict[:0]
    empty = Certification(cert.run[:0], cert.lumi[:0], nothing, (), ())
    with pytest.raises(EmptySelectionError, match="no lumisection"):
        publish(empty, tmp_path / "out", DATASET)
    absurd = dataclasses.replace(cert, lumi=np.where(cert.lumi == 32, 4_000_000_000, cert.lumi).astype(np.uint32))
    with pytest.raises(UsageError, match="LS 4000000000: no run has"):
        publish(absurd, tmp_path / "out", DATASET)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        publish(cert, tmp_path / "file", DATASET)


def test_whole_runs_have_lumisection_zero(tmp_path: Path) -> None:
    import ROOT

    cert = make_certification(((SHAPE, "TH1F"),), runs=(RUN,), n_ls=1)
    zero = np.zeros(1, np.uint32)
    cert = dataclasses.replace(change(cert, lumi=zero), lumi=zero)
    file = ROOT.TFile.Open(str(publish(cert, tmp_path, DATASET)[0]))
    root = file.Get(f"{TOP}MEs/{SHAPE}/score_vs_ls")
    assert (root.GetNbinsX(), root.GetXaxis().FindBin(0)) == (1, 1)
    assert root.GetBinContent(1) == cert.mes[0].score[0]
    file.Close()


def test_overlay(cert: Certification, tmp_path: Path) -> None:
    import ROOT

    other = make_certification(((SHAPE, "TH1F"),), runs=(RUN,))
    source = publish(other, tmp_path / "one", DATASET)[0]
    made = overlay(cert, source, tmp_path / "two", "/Muon/Run2017B-x-v1/DQMIO")
    assert made == tmp_path / "two" / f"DQM_V0001_R000{RUN}__Muon__Run2017B-x-v1__DQMIO.root"
    shown = guireader.check_gui_file(made, strict="dqmroot")
    assert f"dqmroot/MEs/{MAP}/mean_loss" in shown
    file = ROOT.TFile.Open(str(made))
    assert labels(file.Get(TOP + "EventInfo/reportSummaryMap").GetYaxis()) == [
        "[verdict]",
        "depth1",
        "FEDTotalEventSize",
        "Mean",
    ]
    file.Close()


def test_overlay_of_another_run(cert: Certification, tmp_path: Path) -> None:
    source = publish(make_certification(runs=(1234,)), tmp_path / "one", DATASET)[0]
    with pytest.raises(UsageError, match="is of run 1234, the certification of 297050, 297056"):
        overlay(cert, source, tmp_path / "two", DATASET)
    with pytest.raises(InputError, match="No such file"):
        overlay(cert, tmp_path / "absent.root", tmp_path / "two", DATASET)
    assert not (tmp_path / "two").exists()


def test_bad_channels(tmp_path: Path) -> None:
    import ROOT

    cert = make_certification(((SHAPE, "TH1F"), (PROFILE, "TProfile"), (MAP, "TH2F")), runs=(RUN,))
    counts = [np.arange(30, dtype=np.int32), np.full(30, 100, np.int32), None]
    counts[1][3] = -1
    mes = tuple(dataclasses.replace(result, bad_bins=n) for result, n in zip(cert.mes, counts, strict=True))
    file = ROOT.TFile.Open(str(publish(dataclasses.replace(cert, mes=mes), tmp_path, DATASET)[0]))
    got = values(file.Get(TOP + "bad_channels_vs_ls"))
    assert got.tolist() == [0, 0, *(float(i + (0 if i == 3 else 100)) for i in range(30))]
    np.testing.assert_array_equal(values(file.Get(TOP + "bad_mes_vs_ls"))[9:14], [3] * 5)
    file.Close()


def test_command_line(cert: Certification, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from dqmroot.cli import main

    cert.save(tmp_path / "cert")
    words = ["publish", str(tmp_path / "cert"), "--dataset", DATASET, "-o"]
    assert main([*words, str(tmp_path / "one"), "--json"]) == 0
    assert [Path(path).name for path in json.loads(capsys.readouterr().out)["files"]] == [*NAMES, "scores.root"]
    for name in NAMES:
        guireader.check_gui_file(tmp_path / "one" / name, strict="dqmroot")
    assert main([*words, str(tmp_path / "two"), "--overlay", str(tmp_path / "one" / NAMES[1])]) == 0
    assert f"wrote {tmp_path / 'two' / NAMES[1]}" in capsys.readouterr().err
    guireader.check_gui_file(tmp_path / "two" / NAMES[1], strict="dqmroot")
    assert main([*words, str(tmp_path / "two"), "--overlay", "absent.root"]) == 3
    assert "absent.root: No such file" in capsys.readouterr().err
    assert main([*words[:3], "Demo", "-o", str(tmp_path / "three")]) == 2
    assert "'Demo': must be /Primary/Era/Tier" in capsys.readouterr().err
    assert main(["publish", str(tmp_path / "nothing"), *words[2:], str(tmp_path)]) == 3


def test_what_was_saved_is_published_the_same(cert: Certification, tmp_path: Path) -> None:
    from dqmroot.certification import load_certification

    when = datetime(2024, 7, 1, tzinfo=UTC)
    cert.save(tmp_path / "cert")
    one = publish(cert, tmp_path / "one", DATASET, time=when)
    two = publish(load_certification(tmp_path / "cert"), tmp_path / "two", DATASET, time=when)
    assert [path.read_bytes() for path in one[:-1]] == [path.read_bytes() for path in two[:-1]]
