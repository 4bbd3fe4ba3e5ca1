"""Real ROOT reads every object back, every byte is accounted for, equal input gives equal bytes."""

from __future__ import annotations

import io
import itertools
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import guireader
import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from dqmroot.errors import OutputError, UsageError
from dqmroot.io.rootfile import rootwrite
from dqmroot.io.rootfile.rootobjects import Histogram
from dqmroot.io.rootfile.rootwrite import compressed, create_file, root_time
from dqmroot.series import Axis

WHEN = datetime(2024, 7, 1, 12, 30, 15, tzinfo=UTC)
X = Axis(4, 0.0, 8.0, labels=("one", "", "drei", "ètå"), title="x (cm)")
Y = Axis.variable([0.0, 1.0, 3.0, 7.5], title="y")
Z = Axis(2, -1.0, 1.0)
AXES = {
    "TH1F": (X,),
    "TH1D": (Y,),
    "TH2F": (X, Y),
    "TH2D": (Y, X),
    "TH3F": (X, Y, Z),
    "TProfile": (Y,),
    "TProfile2D": (X, Y),
}


def histogram(storage: str, **changes: Any) -> Histogram:
    rng = np.random.default_rng(list(AXES).index(storage))
    axes = AXES[storage]
    shape = tuple(axis.nbins + 2 for axis in reversed(axes))
    contents = rng.poisson(9.0, shape) + 0.5
    if storage.startswith("TProfile"):
        changes = {"bin_entries": contents - 0.5, "sumw2": contents**2, "bin_sumw2": 2 * contents, **changes}
    return Histogram(f"h_{storage}", storage, axes, contents, f"A {storage}", entries=77.0, **changes)


def write(path: Path, items: dict[str, list[Histogram | str]], **options: Any) -> None:
    with path.open("wb") as stream:
        writer = create_file(stream, path.name, **options)
        for folder, content in items.items():
            directory = writer.folder(*filter(None, folder.split("/")))
            for item in content:
                writer.put(directory, item)
        writer.close()


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    import ROOT

    path = tmp_path_factory.mktemp("rootwrite") / "all.root"
    plain = [histogram(storage) for storage in AXES]
    errors = Histogram("errors", "TH2D", (X, Y), plain[2].contents, sumw2=plain[2].contents * 3, minimum=-2.0, maximum=40.0,
                       option="colz", stats=False, value_title="weights")  # fmt: skip
    write(path, {"": [], "a/b c": [*plain, errors, "<run>i=7</run>", "<s>s=" + 300 * "x" + "</s>"], "a/empty": []})
    file = ROOT.TFile.Open(str(path))
    yield file
    file.Close()


def cells(root: Any, shape: tuple[int, ...], read: str) -> np.ndarray:
    flat = np.array([getattr(root, read)(i) for i in range(int(np.prod(shape)))])
    return flat.reshape(shape)


@pytest.mark.parametrize("storage", AXES)
def test_root_reads_every_class(opened: Any, storage: str) -> None:
    written, root = histogram(storage), opened.Get(f"a/b c/h_{storage}")
    shape = written.contents.shape
    assert (root.ClassName(), root.GetName(), root.GetTitle(), root.GetEntries()) == (
        storage,
        f"h_{storage}",
        f"A {storage}",
        77,
    )
    if written.bin_entries is None:
        assert written.sumw2 is None
        np.testing.assert_array_equal(cells(root, shape, "GetBinContent"), written.contents)
        np.testing.assert_allclose(cells(root, shape, "GetBinError"), np.sqrt(written.contents))
    else:
        assert written.sumw2 is not None
        assert written.bin_sumw2 is not None
        np.testing.assert_array_equal(cells(root, shape, "GetBinEntries"), written.bin_entries)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(written.bin_entries == 0, 0, written.contents / written.bin_entries)
        np.testing.assert_allclose(cells(root, shape, "GetBinContent"), mean)
        np.testing.assert_array_equal(np.array(list(root.GetSumw2())), written.sumw2.ravel())
        np.testing.assert_array_equal(np.array(list(root.GetBinSumw2())), written.bin_sumw2.ravel())
    for axis, got in zip(written.axes, (root.GetXaxis(), root.GetYaxis(), root.GetZaxis()), strict=False):
        assert (got.GetNbins(), got.GetTitle()) == (axis.nbins, axis.title)
        assert [got.GetBinLowEdge(i) for i in range(1, axis.nbins + 2)] == pytest.approx(axis.bin_edges.tolist())
        assert [got.GetBinLabel(i) for i in range(1, axis.nbins + 1)] == list(axis.labels or [""] * axis.nbins)


@pytest.mark.parametrize("storage", [s for s in AXES if s != "TProfile2D"])
def test_statistics_are_those_of_the_bins(opened: Any, storage: str) -> None:
    root = opened.Get(f"a/b c/h_{storage}")
    inner = histogram(storage)
    weights = inner.contents if inner.bin_entries is None else inner.bin_entries
    weights = weights[(slice(1, -1),) * weights.ndim]
    along = weights.sum(axis=tuple(range(weights.ndim - 1)))
    assert root.GetMean() == pytest.approx((along * inner.axes[0].centres).sum() / along.sum())


def test_errors_range_option_and_title_of_the_values(opened: Any) -> None:
    root = opened.Get("a/b c/errors")
    np.testing.assert_allclose(cells(root, (5, 6), "GetBinError") ** 2, 3 * histogram("TH2F").contents)
    assert (root.GetMinimumStored(), root.GetMaximumStored()) == (-2.0, 40.0)
    assert (root.GetOption(), root.GetZaxis().GetTitle()) == ("colz", "weights")
    assert root.TestBit(root.kNoStats)
    plain = opened.Get("a/b c/h_TH2F")
    assert not plain.TestBit(plain.kNoStats)
    assert plain.GetMinimumStored() == -1111


def test_strings_are_their_keys(opened: Any) -> None:
    found = [key for key in opened.Get("a/b c").GetListOfKeys() if key.GetClassName() == "TObjString"]
    assert [key.GetName() for key in found] == ["<run>i=7</run>", "<s>s=" + 300 * "x" + "</s>"]
    for key in found:
        assert key.ReadObj().GetString().Data() == key.GetName()
        assert key.GetTitle() == "Collectable string class"


def test_directories_and_map(opened: Any, capfd: pytest.CaptureFixture[str]) -> None:
    assert [key.GetName() for key in opened.Get("a").GetListOfKeys()] == ["b c", "empty"]
    assert opened.Get("a/empty").GetNkeys() == 0
    assert not opened.TestBit(opened.kRecovered)
    capfd.readouterr()
    opened.Map()
    printed = capfd.readouterr().out
    assert "END" in printed
    assert "G A P" not in printed
    assert "E R R O R" not in printed


def test_streamer_information_is_whole(opened: Any) -> None:
    described = {info.GetName() for info in opened.GetStreamerInfoList()}
    assert described >= {*AXES, "TH1", "TH2", "TH3", "TAxis", "TObjString", "TList"}


def test_uproot_reads_it(tmp_path: Path) -> None:
    write(tmp_path / "f.root", {"d": [histogram("TH2F"), histogram("TProfile"), "<a>i=1</a>"]})
    with uproot.open(tmp_path / "f.root") as file:
        np.testing.assert_array_equal(file["d/h_TH2F"].values(flow=True), histogram("TH2F").contents.T)
        assert list(file["d/h_TH2F"].axis("x").member("fLabels")) == ["one", "drei", "ètå"]


def test_a_root_file_can_be_updated_by_root(tmp_path: Path) -> None:
    import ROOT

    path = tmp_path / "f.root"
    write(path, {"d": [histogram("TH2F")]})
    file = ROOT.TFile.Open(str(path), "UPDATE")
    file.Get("d").WriteObject(ROOT.TNamed("more", "text"), "more")
    file.Close()
    file = ROOT.TFile.Open(str(path))
    assert {key.GetName() for key in file.Get("d").GetListOfKeys()} == {"h_TH2F", "more"}
    assert file.Get("d/h_TH2F").GetBinContent(7) == histogram("TH2F").contents.ravel()[7]
    file.Close()
    guireader.walk(path.read_bytes())


def test_same_input_same_bytes(tmp_path: Path) -> None:
    options = {"time": WHEN, "uuid": uuid.UUID(int=5)}
    content = {"d/e": [histogram(storage) for storage in AXES]}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "f.root", content, **options)
    assert (tmp_path / "one" / "f.root").read_bytes() == (tmp_path / "two" / "f.root").read_bytes()


def test_date(tmp_path: Path) -> None:
    import ROOT

    write(tmp_path / "f.root", {"": ["text"]}, time=WHEN)
    file = ROOT.TFile.Open(str(tmp_path / "f.root"))
    assert file.GetKey("text").GetDatime().AsSQLString() == "2024-07-01 12:30:15"
    assert file.GetCreationDate().Get() == root_time(WHEN)
    file.Close()


@given(st.binary(max_size=2000), st.integers(1, 3))
def test_frames_inflate(data: bytes, times: int) -> None:
    whole = data * times * 50
    key = guireader.Key(0, 0, len(compressed(whole)), len(whole), 0, "", "", "")
    assert guireader.inflate(compressed(whole), key) == whole


def test_long_objects_take_several_frames() -> None:
    data = bytes(0xFFFFFF) + b"the rest of it" * 20
    packed = compressed(data)
    assert packed.count(b"ZL\x08") == 2
    key = guireader.Key(0, 0, len(packed), len(data), 0, "", "", "")
    assert guireader.inflate(packed, key) == data


@given(
    st.lists(
        st.tuples(st.text("ab", min_size=1, max_size=3), st.text("ab<>/é", max_size=300)), max_size=12, unique=True
    )
)
def test_every_byte_is_accounted_for(tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, str]]) -> None:
    stream = io.BytesIO()
    writer = create_file(stream, "f.root")
    for folder, text in entries:
        writer.put(writer.folder(*folder), text + "|")
    writer.close()
    keys = guireader.walk(stream.getvalue())
    strings = [key.name for key in keys if key.class_name == "TObjString"]
    assert strings == [text + "|" for _, text in entries]


def test_a_name_is_used_once(tmp_path: Path) -> None:
    for first, second in itertools.product((histogram("TH1F"), "h_TH1F"), repeat=2):
        with pytest.raises(UsageError, match="already an object named 'h_TH1F'"):
            write(tmp_path / "f.root", {"d": [first, second]})


def test_a_name_too_long_for_a_key(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="33000 bytes is too long"):
        write(tmp_path / "f.root", {"d": ["x" * 33_000]})


def test_two_gigabytes_are_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rootwrite, "LARGEST", 3000)
    with pytest.raises(OutputError, match="2 GB"):
        write(tmp_path / "f.root", {"d": ["x" * 20_000]})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"storage": "TH1C"}, "cannot write a TH1C; there are TH1F"),
        ({"storage": "TH2F"}, "2 axes, not 1"),
        ({"contents": np.zeros(4)}, r"contents has shape \(4,\), the axes say \(6,\)"),
        ({"sumw2": np.zeros((6, 6))}, "sumw2 has shape"),
        ({"storage": "TProfile"}, "needs bin_entries"),
    ],
)
def test_what_cannot_be_written(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Histogram(**{"name": "h", "storage": "TH1F", "axes": (X,), "contents": np.zeros(6), **changes})
