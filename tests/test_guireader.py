"""The checker of GUI files is itself checked: every rule refuses a file that breaks it, and only then."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import uproot
from guireader import RefusedError, check_gui_file, check_name

from dqmroot.io.rootfile.rootobjects import Histogram
from dqmroot.io.rootfile.rootwrite import create_file
from dqmroot.series import Axis

RUN, NAME = 297050, "DQM_V0001_R000297050__ZeroBias__Run2017B-x-v1__DQMIO.root"
HERE = ("DQMData", f"Run {RUN}", "Sub", "Run summary")


def histogram(name: str) -> Histogram:
    return Histogram(name, "TH1F", (Axis(2, 0.0, 1.0),), np.arange(4.0))


def write(path: Path, items: Sequence[str | Histogram], folder: Sequence[str] = HERE) -> Path:
    with path.open("wb") as stream:
        writer = create_file(stream, path.name)
        for item in (histogram("h"), *items):
            writer.put(writer.folder(*folder), item)
        writer.close()
    return path


def test_a_good_file_passes(tmp_path: Path) -> None:
    good = [
        "<i>i=-5</i>",
        "<f>f=1e-3</f>",
        "<s>s=a b/c: d</s>",
        "<h>e=1</h>",
        "<h.q>qr=st:100:0.5:algo:all right</h.q>",
    ]
    shown = check_gui_file(write(tmp_path / NAME, good))
    assert set(shown) == {"Sub/h", *(f"Sub/{text}" for text in good)}
    assert shown["Sub/h"].class_name == "TH1F"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hello world", "malformed"),
        ("<x>i=abc</x>", "invalid literal"),
        ("<x>f=</x>", "could not convert"),
        ("<x>f=nan</x>", "not finite"),
        ("<x>i=9999999999</x>", "32 bits"),
        ("<x>i=1</y>", "malformed"),
        ("<h.q>qr=st.100.text</h.q>", "not five parts"),
        ("<h>qr=st:100:1:A:m</h>", "without '.'"),
        ("<h.q>qr=st::1:A:m</h.q>", "not what the classic GUI reads"),
        ("<h.q>qr=st:100:1:A:m:n</h.q>", "':' in the message"),
        ("<h.q>qr=st:100:1:A:m<n</h.q>", "cuts the value"),
        ("<none.q>qr=st:100:1:A:m</none.q>", "no histogram of this name"),
        ("<none>e=1</none>", "no histogram of this name"),
        ("<h>t=42</h>", "tags"),
        ("<s>s=a<b>c</s>", "cuts the value"),
        ("<s>s=</s>", "empty text"),
        ("<s>s=a\nb</s>", "malformed|line break"),
        ("<a.b>i=1</a.b>", "a character of the name"),
    ],
)
def test_malformed_strings(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        check_gui_file(write(tmp_path / NAME, [text]))


@pytest.mark.parametrize(
    ("folder", "why"),
    [
        (("DQMData", "Run 297051", "Sub", "Run summary"), "not recognised"),
        (("DQMData", "Run 0297050", "Sub", "Run summary"), "not recognised"),
        (("Data", "Run 297050", "Sub", "Run summary"), "not recognised"),
        (("DQMData", "Run 297050", "Run summary"), "not below"),
        (("DQMData", "Run 297050", "Sub", "Run Summary"), "not below"),
        (("DQMData", "Run 297050", "Sub", "By Lumi Section 1-2"), "not below"),
        (("DQMData", "Run 297050", "Reference", "Run summary"), "references"),
        ((*HERE, "a.b"), "a character"),
        ((*HERE, "a:b"), "a character"),
        ((*HERE, "BadModuleList"), "never shown"),
        ((), "not below"),
    ],
)
def test_wrong_places(tmp_path: Path, folder: tuple[str, ...], why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        check_gui_file(write(tmp_path / NAME, [], folder))


@pytest.mark.parametrize("name", ["a.b", "a,b", "a[0]", "a%", "a&b"])
def test_wrong_characters(tmp_path: Path, name: str) -> None:
    with pytest.raises(RefusedError, match="a character"):
        check_gui_file(write(tmp_path / NAME, [histogram(name)]))


def test_classes_that_are_not_shown(tmp_path: Path) -> None:
    import ROOT

    for number, made in enumerate(
        (ROOT.TH1I("i", "", 2, 0, 1), ROOT.TH2I("j", "", 2, 0, 1, 2, 0, 1), ROOT.TNamed("n", ""))
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        file = ROOT.TFile(str(folder / NAME), "RECREATE")
        file.mkdir("/".join(HERE)).WriteTObject(made)
        file.Close()
        with pytest.raises(RefusedError, match="is not shown"):
            check_gui_file(folder / NAME)


@pytest.mark.parametrize("algorithm", [2, 4, 5])
def test_other_compressions(tmp_path: Path, algorithm: int) -> None:
    import ROOT

    file = ROOT.TFile(str(tmp_path / NAME), "RECREATE", "", algorithm * 100 + 4)
    file.mkdir("/".join(HERE)).WriteTObject(ROOT.TH1F("h", "", 1000, 0, 1))
    file.Close()
    with pytest.raises(RefusedError, match="only ZLIB is supported"):
        check_gui_file(tmp_path / NAME)


def test_what_root_writes_passes(tmp_path: Path) -> None:
    import ROOT

    file = ROOT.TFile(str(tmp_path / NAME), "RECREATE", "", 101)
    folder = file.mkdir("/".join(HERE))
    for name in ("a", "b", "c"):
        folder.WriteTObject(ROOT.TH1F(name, "", 1000, 0, 1))
    folder.Delete("b;1")
    file.Close()
    assert set(check_gui_file(tmp_path / NAME)) == {"Sub/a", "Sub/c"}


def test_the_holes_that_uproot_leaves(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / NAME, compression=uproot.ZLIB(1)) as file:
        for number in range(60):
            file["/".join((*HERE, f"h{number}"))] = np.histogram([1.0, 2.0])
    with pytest.raises(RefusedError, match=r"hole|corrupted|no key"):
        check_gui_file(tmp_path / NAME)


def test_broken_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / NAME, [])
    data = path.read_bytes()
    for wrong, why in (
        (b"toot" + data[4:], "does not start"),
        (data[:-1], "the header says"),
        (data[:4] + struct.pack(">i", 1_062_400) + data[8:], "64-bit"),
    ):
        path.write_bytes(wrong)
        with pytest.raises(RefusedError, match=why):
            check_gui_file(path)
    # A hole: the key of the histogram is gone, nothing says so.
    at = data.index(b"\4TH1F\1h") - 26
    (length,) = struct.unpack_from(">i", data, at)
    path.write_bytes(data[:at] + bytes(length) + data[at + length :])
    with pytest.raises(RefusedError, match="a hole"):
        check_gui_file(path)


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / NAME, [])
    data = path.read_bytes()
    at = data.index(b"\4TH1F\1h") - 4
    path.write_bytes(data[:at] + struct.pack(">i", 104) + data[at + 4 :])
    with pytest.raises(RefusedError, match="is not there"):
        check_gui_file(path)


@pytest.mark.parametrize(
    "name",
    [
        "DQM_V0001_R297050__ZeroBias__Run2017B__DQMIO.root",
        "DQM_V0002_R000297050__ZeroBias__Run2017B__DQMIO.root",
        "DQM_V0001_R000297050__ZeroBias__DQMIO.root",
        "DQM_V0001_R000297050__Zero.Bias__Run2017B__DQMIO.root",
        "DQM_V0001_R000297050__ZeroBias__2017__DQMIO.root",
        "DQM_V0001_R000297050__ZeroBias___Run2017B__DQMIO.root",
        "DQM_V0001_R000297050__RelValX__Run2017B__DQMIO.root",
        "DQM_V0001_R000297050__CMSSW__Run2017B__DQMIO.root",
        "DQM_V0001_R000000000__ZeroBias__Run2017B__DQMIO.root",
        "file.root",
    ],
)
def test_names(name: str) -> None:
    with pytest.raises(RefusedError):
        check_name(name)


def test_the_upload_wants_event_info(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="has no <reportSummary>"):
        check_gui_file(write(tmp_path / NAME, []), strict="Sub")


def test_real_file_passes_but_for_its_name(tmp_path: Path, real_data: Path) -> None:
    toy = real_data / "dqmgui" / "DQM_V0001_R000123456__HLTPhysics__Test-Dataset-Name__DQMIO.root"
    good = tmp_path / "DQM_V0001_R000123456__HLTPhysics__Run2018A-x-v1__DQMIO.root"
    shutil.copyfile(toy, good)
    assert "testHistogram" in {path.rsplit("/", 1)[-1] for path in check_gui_file(good)}
