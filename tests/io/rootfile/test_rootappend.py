"""An overlay loses nothing of the file it starts from, whoever wrote it."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import guireader
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from dqmroot.errors import InputError, UsageError
from dqmroot.io.rootfile.guifile import Item, overlay_gui_file, write_gui_file
from dqmroot.io.rootfile.guinames import EfficiencyFlag, Scalar
from dqmroot.io.rootfile.rootobjects import Histogram
from dqmroot.series import Axis

RUN = 297050
NAME = f"DQM_V0001_R{RUN:09d}__ZeroBias__Run2017B-x-v1__DQMIO.root"
HERE = f"DQMData/Run {RUN}/Sub/Run summary"


def items(run: int, value: int = 1) -> Iterator[tuple[str, Item]]:
    axes = (Axis(3, 0.0, 3.0, labels=("a", "b", "c")), Axis(2, 0.0, 1.0))
    yield "more", Histogram("map", "TH2F", axes, np.arange(20.0).reshape(4, 5) * value)
    yield "more", EfficiencyFlag("map")
    yield "", Scalar("iRun", run)


def by_root(path: Path) -> None:
    """Histograms of many classes, a tree with baskets, an unknown class, cycles and gaps, in ROOT's own hand."""
    import ROOT

    file = ROOT.TFile(str(path), "RECREATE", "a title", 101)
    folder = file.mkdir(HERE)
    folder.cd()
    for number in range(20):
        ROOT.TH1F(f"h{number}", "", 100, 0, 1).Write()
    ROOT.TObjString("x").Write("<i>i=5</i>")
    file.Get(HERE).Delete("h3;1")
    file.mkdir("elsewhere").cd()
    ROOT.TGraph(3, np.arange(3.0), np.arange(3.0)).Write("graph")
    ROOT.TNamed("twice", "first").Write()
    ROOT.TNamed("twice", "second").Write()
    tree = ROOT.TTree("tree", "")
    value = np.zeros(1)
    tree.Branch("x", value, "x/D")
    for entry in range(5000):
        value[0] = entry
        tree.Fill()
    tree.Write()
    file.Close()


def by_uproot(path: Path) -> None:
    """Many histograms, so that uproot leaves holes."""
    with uproot.recreate(path, compression=uproot.ZLIB(1)) as file:
        for number in range(60):
            file[f"{HERE}/h{number}"] = np.histogram(np.arange(number + 2.0))


def by_dqmroot(path: Path) -> None:
    write_gui_file(path, RUN, items(RUN), subsystem="Sub")


WRITERS = [by_root, by_uproot, by_dqmroot]


def contents(path: Path, skip: str = "dqmroot") -> dict[str, tuple[str, bytes]]:
    """Path and cycle → class and bytes of every object that ROOT finds, without one subsystem."""
    import ROOT

    found = {}

    def descend(folder: object, above: str) -> None:
        for key in folder.GetListOfKeys():  # type: ignore[attr-defined]
            name = f"{above}/{key.GetName()};{key.GetCycle()}"
            if key.GetClassName().startswith("TDirectory"):
                if key.GetName() != skip:
                    descend(key.ReadObj(), name)
            else:
                seek, length, nbytes = key.GetSeekKey(), key.GetKeylen(), key.GetNbytes()
                found[name] = (key.GetClassName(), data[seek + length : seek + nbytes])

    data = path.read_bytes()
    file = ROOT.TFile.Open(str(path))
    descend(file, "")
    file.Close()
    return found


def overlay(source: Path, folder: Path, value: int = 1) -> Path:
    return overlay_gui_file(source, lambda _: folder / NAME, lambda run: items(run, value))


@pytest.mark.parametrize("writer", WRITERS)
def test_nothing_is_lost(tmp_path: Path, writer: Callable[[Path], None]) -> None:
    import ROOT

    source = tmp_path / NAME
    writer(source)
    made = overlay(source, tmp_path / "out")
    before = contents(source)
    assert len(before) > 2
    assert contents(made) == before
    file = ROOT.TFile.Open(str(made))
    added = file.Get(f"DQMData/Run {RUN}/dqmroot/Run summary/more/map")
    assert [added.GetBinContent(i) for i in range(20)] == list(range(20))
    assert added.GetXaxis().GetBinLabel(2) == "b"
    if writer is by_root:
        assert file.GetTitle() == "a title"
        tree = file.Get("elsewhere/tree")
        assert [entry.x for entry in tree] == list(range(5000))
        assert file.Get("elsewhere/twice").GetTitle() == "second"
    file.Close()


@pytest.mark.parametrize("writer", WRITERS)
def test_no_hole_is_left(tmp_path: Path, writer: Callable[[Path], None]) -> None:
    source = tmp_path / NAME
    writer(source)
    keys = guireader.walk(overlay(source, tmp_path / "out").read_bytes())
    assert {key.name for key in keys} >= {"map", f"<iRun>i={RUN}</iRun>"}
    if writer is by_dqmroot:
        shown = guireader.check_gui_file(tmp_path / "out" / NAME)
        assert {"Sub/more/map", "dqmroot/more/map"} <= set(shown)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_second_overlay_takes_the_place_of_the_first(tmp_path: Path, writer: Callable[[Path], None]) -> None:
    import ROOT

    source = tmp_path / NAME
    writer(source)
    first = overlay(source, tmp_path / "one", 1)
    second = overlay(first, tmp_path / "two", 7)
    assert contents(second) == contents(source)
    file = ROOT.TFile.Open(str(second))
    assert file.Get(f"DQMData/Run {RUN}/dqmroot/Run summary/more/map").GetBinContent(1) == 7
    assert [key.GetName() for key in file.Get(f"DQMData/Run {RUN}").GetListOfKeys()] == ["Sub", "dqmroot"]
    file.Close()
    guireader.walk(second.read_bytes())
    assert abs(second.stat().st_size - first.stat().st_size) < 100


def test_in_place(tmp_path: Path) -> None:
    by_root(tmp_path / NAME)
    before = contents(tmp_path / NAME)
    assert overlay(tmp_path / NAME, tmp_path) == tmp_path / NAME
    assert contents(tmp_path / NAME) == before
    assert len(list(tmp_path.iterdir())) == 1


def test_root_goes_on_writing(tmp_path: Path) -> None:
    import ROOT

    by_root(tmp_path / NAME)
    made = overlay(tmp_path / NAME, tmp_path / "out")
    before = contents(made, skip="")
    file = ROOT.TFile.Open(str(made), "UPDATE")
    file.WriteObject(ROOT.TNamed("late", ""), "late")
    file.Close()
    assert set(contents(made, skip="")) - set(before) == {"/late;1"}
    guireader.walk(made.read_bytes())


def test_inputs_that_cannot_be_used(tmp_path: Path) -> None:
    by_root(tmp_path / NAME)
    good = (tmp_path / NAME).read_bytes()

    def refused(data: bytes, why: str) -> None:
        (tmp_path / "bad.root").write_bytes(data)
        with pytest.raises(InputError, match=why):
            overlay(tmp_path / "bad.root", tmp_path / "out")
        assert not (tmp_path / "out" / NAME).exists()

    refused(b"", "truncated")
    refused(b"no ROOT file at all, but long enough to have a header " * 3, "not a ROOT file")
    refused(good[:-200], "truncated: it says")
    refused(good[:4] + struct.pack(">i", 1_062_400) + good[8:], "64-bit offsets")
    refused(good[:16] + bytes(4) + good[20:], "never closed")
    refused(good.replace(b"DQMData", b"DQMDatX"), "it has no DQMData")
    refused(good.replace(b"Run 297050", b"run 297050"), "holds one run; this one has none")
    with pytest.raises(InputError, match="No such file"):
        overlay(tmp_path / "absent.root", tmp_path / "out")


def test_every_truncation_is_told(tmp_path: Path) -> None:
    by_dqmroot(tmp_path / NAME)
    good = (tmp_path / NAME).read_bytes()
    for length in range(0, len(good), 97):
        (tmp_path / "bad.root").write_bytes(good[:length])
        with pytest.raises(InputError):
            overlay(tmp_path / "bad.root", tmp_path / "out")


def test_a_hole_that_nobody_marked(tmp_path: Path) -> None:
    by_dqmroot(tmp_path / NAME)
    data = (tmp_path / NAME).read_bytes()
    at = data.index(b"\4TH2F\3map") - 26
    (length,) = struct.unpack_from(">i", data, at)
    (tmp_path / NAME).write_bytes(data[:at] + bytes(length) + data[at + length :])
    with pytest.raises(InputError, match=f"unmarked hole at byte {at}"):
        overlay(tmp_path / NAME, tmp_path / "out")
    assert not (tmp_path / "out" / NAME).exists()


def test_a_name_that_is_not_allowed(tmp_path: Path) -> None:
    by_root(tmp_path / NAME)
    with pytest.raises(UsageError, match="does not allow"):
        overlay_gui_file(tmp_path / NAME, lambda _: tmp_path / "new.root", lambda _: [("a.b", Scalar("x", 1))])
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize(
    "name", ["DQM_V0001_R000123456__HLTPhysics__Test-Dataset-Name__DQMIO.root", "DQMServices-Examples__ref.root"]
)
def test_real_files(tmp_path: Path, real_data: Path, name: str) -> None:
    source = tmp_path / NAME
    shutil.copyfile(real_data / "dqmgui" / name, source)
    made = overlay(source, tmp_path / "out")
    assert contents(made) == contents(source)
    guireader.walk(made.read_bytes())


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("samples")
    out = []
    for writer in WRITERS:
        writer(folder / NAME)
        out.append((folder / NAME).read_bytes())
        (folder / NAME).unlink()
    return out


@pytest.mark.filterwarnings("ignore::Warning")
@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_damaged_files_are_told_or_survive(
    tmp_path_factory: pytest.TempPathFactory, samples: list[bytes], which: int, damage: list[tuple[float, int]]
) -> None:
    data = bytearray(samples[which])
    for place, value in damage:
        data[int(place * len(data))] = value
    folder = tmp_path_factory.mktemp("damaged")
    (folder / NAME).write_bytes(data)
    try:
        made = overlay_gui_file(folder / NAME, lambda run: folder / "out" / NAME, items)
    except (InputError, UsageError):
        assert not (folder / "out" / NAME).exists()
    else:
        assert made.stat().st_size > 100
