"""The folder of a report: complete, small, replaced whole, and made from files alone."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from certifications import MAP, make_certification, make_large
from packed import unpack

from dqmroot.certification import load_certification
from dqmroot.cli import main
from dqmroot.conditions import Conditions
from dqmroot.errors import EmptySelectionError, InputError, UsageError
from dqmroot.judgement import BAD
from dqmroot.reports import gui_files, report
from dqmroot.reports.content import overview, run_content
from dqmroot.reports.pictures import me_contents
from dqmroot.runs import RunMask


def data(folder: Path, name: str) -> Any:
    """What a data script hands to the page."""
    text = (folder / "data" / f"{name}.js").read_text("ascii")
    match = re.fullmatch(r'dqmroot\.put\("([^"]+)",(.*)\);\n', text)
    assert match[1] == name
    return json.loads(match[2])


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_all_is_there_and_the_same_from_files(tmp_path: Path) -> None:
    cert = make_certification()
    cert.save(tmp_path / "out")
    one = report(cert, tmp_path / "one").parent
    two = report(load_certification(tmp_path / "out"), tmp_path / "two").parent
    names = {path.relative_to(one).as_posix() for path in one.rglob("*") if path.is_file()}
    assert {f"data/{name}.js" for name in ("overview", "run-297050", "run-297056", "me-0", "me-1", "me-2")} <= names
    for name in names - {"data/overview.js"}:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    assert {**data(one, "overview"), "made": ""} == {**data(two, "overview"), "made": ""}


def test_the_page_asks_for_nothing_elsewhere(tmp_path: Path) -> None:
    folder = report(make_certification(), tmp_path / "report").parent
    page = (folder / "index.html").read_text()
    assert "default-src 'none'" in page
    for link in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert link.startswith(("#", "data:")) or (folder / link).is_file()
    for path in folder.rglob("*"):
        if path.suffix in {".html", ".js", ".css"}:
            assert not re.search(r"https?://|\bfetch\(|\bimport\b|innerHTML|eval\(", path.read_text("utf-8")), path


def test_states_scores_and_conditions_of_a_run() -> None:
    cert = make_certification()
    gone = dataclasses.replace(
        cert.mes[1], **{name: getattr(cert.mes[1], name)[3:] for name in ("run", "lumi", "score", "flag")}
    )
    no_cut = dataclasses.replace(cert.mes[2], flag=np.full(60, -1, np.int8), threshold=float("nan"))
    cert = dataclasses.replace(cert, mes=(cert.mes[0], gone, no_cut))
    lumi = np.array([3, 4, 6], np.uint32)
    columns = {"pileup": np.array([1.0, 2.0, np.nan]), "on": np.array([1, 0, -1], np.int8)}
    conditions = Conditions(np.full(3, 297050, np.uint32), lumi, columns)
    content = run_content(cert, 297050, conditions, RunMask.from_ranges({297050: [[4, 5]]}))
    state, score = unpack(content["state"]), unpack(content["score"])
    assert state.shape == (3, 30)
    assert state[0, :12].tolist() == [0, 0, 2, 0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert state[1, :4].tolist() == [4, 4, 4, 0]
    assert set(state[2].tolist()) == {2, 3}
    assert np.allclose(score[0], cert.mes[0].score[:30], rtol=1e-4, equal_nan=True)
    dcs, on, pileup = content["lanes"]
    assert unpack(dcs["bits"])[:4].tolist() == [0, 1, 1, 0]
    assert (on["name"], unpack(on["bits"])[:4].tolist()) == ("on", [1, 0, -1, -1])
    assert np.array_equal(unpack(pileup["numbers"])[:4], [1, 2, np.nan, np.nan], equal_nan=True)
    assert [lane["name"] for lane in run_content(cert, 297056, conditions)["lanes"]] == []


def test_reasons_that_only_repeat_scores_are_not_carried_twice() -> None:
    cert = make_certification()
    told = [()] * len(cert)
    told[7] = (f"{MAP}: score 5 above 3", "DCS: tracker off", "Other/ME: score 5 above 3")
    content = run_content(dataclasses.replace(cert, reasons=tuple(told)), 297050)
    assert content["reasons"] == {"7": ["DCS: tracker off", "Other/ME: score 5 above 3"]}


def test_counts_of_the_overview() -> None:
    cert = make_certification()
    told = overview(cert)
    assert [(run["run"], run["good"], run["bad"], run["not_judged"]) for run in told["runs"]] == [
        (297050, 24, 5, 1),
        (297056, 24, 5, 1),
    ]
    assert [(me["name"], me["bad"]) for me in told["mes"]] == [(r.me, int((r.flag == BAD).sum())) for r in cert.mes]
    json.dumps(told, allow_nan=False)


def test_pictures_are_the_arrays() -> None:
    cert = make_certification()
    contents, left_out = me_contents(cert, 1e9)
    assert left_out == 0
    for content, result in zip(contents, cert.mes, strict=True):
        for run, worst in result.worst.items():
            packed = content["ls"][f"{run}/{worst.lumi}"]
            assert np.array_equal(unpack(packed["original"]), worst.original)
            assert np.allclose(unpack(packed["reconstruction"]), worst.reconstruction, rtol=1e-3, atol=1e-6)
            assert np.allclose(unpack(packed["loss"]), worst.loss, atol=1e-4 * worst.loss.max())
            assert np.allclose(unpack(content["runs"][str(run)]["mean_loss"]), result.mean_loss[run], rtol=0.01)


def test_the_least_telling_pictures_are_left_out_first() -> None:
    cert = make_large(1000, 3)
    everything, none_left_out = me_contents(cert, 1e9)
    some, left_out = me_contents(cert, 150_000)
    assert none_left_out == 0
    assert left_out > 0
    assert len(json.dumps(some)) <= 150_000
    for few, all_, result in zip(some, everything, cert.mes, strict=True):
        assert set(few["ls"]) < set(all_["ls"])
        worst = int(result.lumi[np.nanargmax(result.score)])
        assert f"355555/{worst}" in few["ls"]


@pytest.mark.parametrize("most_mb", [0.0, 0.4, 0.6])
def test_the_folder_keeps_its_size(most_mb: float, tmp_path: Path) -> None:
    cert = make_large(1000, 9)
    folder = report(cert, tmp_path / "report", most_mb=most_mb).parent
    assert size(folder) < max(most_mb * 1e6, 250_000)
    assert data(folder, "overview")["left_out"] > 0


@pytest.mark.slow
def test_the_largest_run_stays_below_20_mb(tmp_path: Path) -> None:
    cert = make_large(3000, 300)
    cert.save(tmp_path)
    folder = report(load_certification(tmp_path), tmp_path / "report").parent
    assert 10e6 < size(folder) < 20e6


def test_what_stands_there(tmp_path: Path) -> None:
    cert = make_certification()
    report(cert, tmp_path / "report", title="first")
    (tmp_path / "report" / "mine.txt").write_text("of the old report")
    page = report(cert, tmp_path / "report", title="second & <b>last</b>")
    assert "<title>second &amp; &lt;b&gt;last&lt;/b&gt;</title>" in page.read_text()
    assert not (tmp_path / "report" / "mine.txt").exists()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="exists and is not a report"):
        report(cert, tmp_path / "thesis")
    assert (tmp_path / "thesis" / "thesis.tex").read_text() == "years of work"
    nothing = np.empty(0, np.uint32)
    empty = dataclasses.replace(cert, run=nothing, lumi=nothing, verdict=nothing.astype(np.int8), reasons=())
    with pytest.raises(EmptySelectionError, match="nothing to report"):
        report(empty, tmp_path / "x")


def test_a_report_that_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cert = make_certification()
    report(cert, tmp_path / "report")
    before = {path: path.read_bytes() for path in (tmp_path / "report").rglob("*") if path.is_file()}

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dqmroot.reports.folder.me_contents", full)
    with pytest.raises(Exception, match="No space left"):
        report(cert, tmp_path / "report")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_missing_files_are_told(tmp_path: Path) -> None:
    cert = make_certification()
    missing = tmp_path / "missing"
    for options in ({"conditions": missing}, {"dcs": missing}, {"jsroot": missing}, {"root_files": {297050: missing}}):
        with pytest.raises(InputError, match="missing: No such file"):
            report(cert, tmp_path / "report", **options)
    assert not (tmp_path / "report").exists()


def test_gui_files_are_found_by_their_names(tmp_path: Path) -> None:
    for name in ("DQM_V0001_R000000007__A__B__C.root", "DQM_V0001_R7__A.root", "scores.root"):
        (tmp_path / name).touch()
    assert gui_files(tmp_path) == {7: tmp_path / "DQM_V0001_R000000007__A__B__C.root"}


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_certification().save(tmp_path)
    (tmp_path / "DQM_V0001_R000297050__A__B__C.root").touch()
    assert main(["report", str(tmp_path), "--json", "--title", "Ours"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "report": str(tmp_path / "report" / "index.html"),
        "bytes": size(tmp_path / "report"),
        "pictures": [],
    }
    name = "DQM_V0001_R000297050__A__B__C.root"
    assert data(tmp_path / "report", "overview")["root"] == {
        "297050": {"name": name, "href": f"../{name}", "carried": False}
    }
    assert main(["report", str(tmp_path / "certification.json"), "-o", str(tmp_path / "other"), "--quiet"]) == 0
    assert (tmp_path / "other" / "index.html").is_file()
    assert main(["report", str(tmp_path / "nowhere")]) == 3
    assert "nowhere: No such file" in capsys.readouterr().err
