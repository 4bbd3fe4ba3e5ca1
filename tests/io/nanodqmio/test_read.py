"""Every type and oddity of nanoDQMIO files, written by ROOT and compared with what ROOT reads."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rootfiles
from nanochecks import ONE, TWO, check, fill, plain

import dqmroot as dq
from dqmroot.errors import DQMWarning, EmptySelectionError, InputError, UnknownNameError, UsageError
from dqmroot.io.nanodqmio import read as nano

CODECS = {"none": 0, "zlib": 101, "lzma": 207, "lz4": 404, "zstd": 505}


def zoo(ROOT: Any) -> list[Any]:
    """One histogram for each oddity."""
    out = []
    for kind in [*ONE, *TWO, "TH3F", "TProfile", "TProfile2D"]:
        out.append(plain(ROOT, kind, f"plain_{kind}"))
        weighted = plain(ROOT, kind, f"sumw2_{kind}")
        weighted.Sumw2()
        out.append(fill(ROOT, weighted, 2, weighted=True))
        labelled = plain(ROOT, kind, f"labels_{kind}")
        for k in (3, 1):  # not in the order of the bins, and not all
            labelled.GetXaxis().SetBinLabel(k, f"bin {k}" + "é" * k)
        out.append(labelled)
        function = plain(ROOT, kind, f"function_{kind}")
        for drawn in (ROOT.TF1("f", "[0]*x", 0, 1), ROOT.TLine(0, 0, 1, 1)):
            ROOT.SetOwnership(drawn, False)
            function.GetListOfFunctions().Add(drawn)
        out.append(function)
        referenced = plain(ROOT, kind, f"referenced_{kind}")
        ROOT.TRef(referenced)  # sets kIsReferenced: two more bytes in its TObject
        assert referenced.TestBit(1 << 4)
        out.append(referenced)
    variable = ROOT.TH1F("variable", "v", 3, np.array([0.0, 0.1, 1.0, 30.0]))
    out.append(fill(ROOT, variable, 3))
    both = ROOT.TH2D("both", "v", 3, np.array([0.0, 0.1, 1.0, 30.0]), 2, np.array([0.0, 1e-3, 2.0]))
    out.append(fill(ROOT, both, 3))
    long = plain(ROOT, "TH1F", "long")
    long.SetTitle("t" * 300)
    long.GetXaxis().SetTitle("x" * 255)
    out.append(long)
    for number in (math.nan, math.inf, -1e-320):
        odd = plain(ROOT, "TH1D", f"odd_{number}")
        odd.SetBinContent(2, number)
        out.append(odd)
    contour = plain(ROOT, "TH2F", "contour")
    contour.SetContour(2, np.array([1.0, 2.0]))
    contour.SetOption("colz")
    contour.SetMaximum(3)
    out.append(contour)
    empty = ROOT.TH1I("empty", "", 1, 0, 1)
    out.append(empty)
    huge = ROOT.TH2F("huge", "", 200, 0, 1, 200, 0, 1)
    out.append(fill(ROOT, huge, 5))
    return out


@pytest.mark.parametrize("codec", CODECS)
def test_every_class_and_oddity_equals_root(tmp_path: Path, codec: str) -> None:
    ROOT = rootfiles.root()
    path = tmp_path / "zoo.root"
    animals = zoo(ROOT)
    with rootfiles.writer(path, CODECS[codec]) as out:
        for run, lumi in ((1, 1), (1, 2), (2, 7), (2, 0)):
            out.begin(run, lumi)
            for h in animals:
                out.add(f"Folder/{h.GetName()}", h)
            out.addInt("Folder/int", lumi - 5)
            out.addFloat("Folder/float", lumi / 3)
            out.addString("Folder/string", "text " * lumi * 20)
            out.end()
    assert check(path) == 4 * (len(animals) + 3)


@pytest.mark.parametrize("table", [12, 14, 15])
def test_tables_of_types(tmp_path: Path, table: int) -> None:
    ROOT = rootfiles.root()
    kinds = [tree[:-1] for tree in rootfiles.TABLES[table] if tree[:-1] not in {"Int", "Float", "String", "TH2Poly"}]
    path = tmp_path / "t.root"
    with rootfiles.writer(path, table=table) as out:
        out.begin(5, 1)
        for kind in kinds:
            out.add(kind, plain(ROOT, kind))
        if table == 15:
            poly = ROOT.TH2Poly("p", "poly", 0, 10, 0, 10)
            ROOT.nanoAddBin(poly, 0, 0, 1, 1)
            ROOT.nanoAddBin(poly, 1, 1, 3, 3)
            for x, y in ((0.5, 0.5), (2, 2), (2, 2), (-1, 5), (9, 9)):
                poly.Fill(x, y)
            out.add("poly", poly)
        out.end()
    assert check(path) == len(kinds) + (table == 15)


def test_blocks_without_entries(tmp_path: Path) -> None:
    """Type 1000 says that an LS has nothing; such an LS has no rows."""
    ROOT = rootfiles.root()
    path = tmp_path / "empty.root"
    with rootfiles.writer(path) as out:
        for lumi in (1, 2, 3):
            out.begin(5, lumi)
            if lumi != 2:
                out.add("a", plain(ROOT, "TH1F"))
            out.end()
    assert dq.read(path, "a").lumi.tolist() == [1, 3]
    (info,) = dq.list_mes(path)
    assert (info.n_ls, info.runs, info.n_runs) == (2, (5,), 0)


@pytest.mark.parametrize("kind", [*ONE, *TWO, "TH3F", "TProfile", "TProfile2D"])
def test_fills_in_the_buffer_are_binned_as_root_does(tmp_path: Path, kind: str) -> None:
    ROOT = rootfiles.root()
    path = tmp_path / "buffer.root"
    make = plain(ROOT, kind).Clone("h")
    make.Reset()
    make.SetBuffer(1000)
    fill(ROOT, make, 4, weighted=kind in {"TH1D", "TH2D", "TProfile"}, n=50)
    with rootfiles.writer(path) as out:
        out.begin(1, 1)
        out.add("plain", plain(ROOT, kind))
        out.add("buffered", make)
        out.end()
    check(path)


@pytest.mark.parametrize("kind", ["TH1F", "TH2D", "TProfile"])
def test_lumisections_with_and_without_a_buffer_are_one_series(tmp_path: Path, kind: str) -> None:
    """Few fills stay in the buffer, many are binned: both occur in one file, of one monitoring element."""
    ROOT = rootfiles.root()
    path = tmp_path / "buffer.root"
    with rootfiles.writer(path) as out:
        for lumi in range(1, 7):
            out.begin(1, lumi)
            make = plain(ROOT, kind).Clone("h")
            make.Reset()
            if lumi not in {2, 3, 6}:
                make.SetBuffer(1000)
            fill(ROOT, make, lumi, weighted=False, n=20)
            out.add("h", make)
            out.add("other", plain(ROOT, kind))
            out.end()
    check(path)
    assert dq.read(path, "h").lumi.tolist() == [1, 2, 3, 4, 5, 6]
    assert len(dq.arrays(path).table) == 2


def test_a_buffer_without_limits_is_refused(tmp_path: Path) -> None:
    ROOT = rootfiles.root()
    path = tmp_path / "buffer.root"
    h = ROOT.TH1F("h", "", 10, 0, 0)
    h.Fill(3)
    with rootfiles.writer(path) as out:
        out.begin(1, 1)
        out.add("h", h)
        out.end()
    with pytest.raises(InputError, match=r"buffer\.root, TH1Fs entry 0: .*no limits"):
        dq.read(path, "h")


def test_a_buffer_that_makes_an_axis_grow_is_refused(tmp_path: Path) -> None:
    """ROOT doubles such an axis when it empties the buffer: other bins than those that the file tells."""
    ROOT = rootfiles.root()
    path = tmp_path / "buffer.root"
    inside, outside = (ROOT.TH1F(name, "", 4, 0, 1) for name in ("inside", "outside"))
    with rootfiles.writer(path) as out:
        out.begin(1, 1)
        for h, x in ((inside, 0.5), (outside, 1.5)):
            h.SetCanExtend(ROOT.TH1.kXaxis)
            h.SetBuffer(100)
            h.Fill(x)
            out.add(h.GetName(), h)
        out.end()
    assert dq.read(path, "inside").contents.tolist() == [[0, 0, 0, 1, 0, 0]]
    with pytest.raises(InputError, match=r"buffer\.root, TH1Fs entry 1: .*grows"):
        dq.read(path, "outside")


@pytest.mark.parametrize("told", [float("inf"), float("nan"), 1002.0, 1e300])
def test_a_damaged_buffer_is_refused(tmp_path: Path, told: float) -> None:
    """The first number in the buffer says how many fills follow; it is not to be trusted."""
    ROOT = rootfiles.root()
    path = tmp_path / "buffer.root"
    h = ROOT.TH1F("h", "", 10, 0, 1)
    h.SetBuffer(1001)
    for _ in range(3):
        h.Fill(0.5, 0.8125)
    with rootfiles.writer(path, 0) as out:
        out.begin(1, 1)
        out.add("h", h)
        out.end()
    assert dq.read(path, "h").contents[0, 6] == 3 * 0.8125
    raw = path.read_bytes()
    fills = struct.pack(">ddd", 3, 0.8125, 0.5)
    assert raw.count(fills) == 1
    path.write_bytes(raw.replace(fills, struct.pack(">d", told) + fills[8:]))
    with pytest.raises(InputError, match=r"buffer\.root, TH1Fs entry 0: "):
        dq.read(path, "h")


def test_growing_axes(tmp_path: Path) -> None:
    """An axis that doubles its bins between LS: two forms, told apart, both right."""
    ROOT = rootfiles.root()
    path = tmp_path / "grow.root"
    with rootfiles.writer(path) as out:
        for lumi, labels in ((1, "ab"), (2, "abcde")):
            h = ROOT.TH1F("h", "", 2, 0, 2)
            h.SetCanExtend(ROOT.TH1.kAllAxes)
            for label in labels:
                h.Fill(label, 1.0)
            out.begin(1, lumi)
            out.add("h", h)
            out.end()
    made = dq.arrays(path)
    assert [info.bins for info in made.table] == [(2,), (8,)]
    assert [len(row) for row in made["TH1F"].contents] == [4, 10]
    assert made.table[1].axes[0].labels[:5] == tuple("abcde")
    with pytest.raises(UsageError, match="its bins change"):
        dq.read(path, "h")
    assert dq.read(path, "h", lumis=(2, 2)).axes[0].nbins == 8


def test_labels_that_come_late(tmp_path: Path) -> None:
    ROOT = rootfiles.root()
    path = tmp_path / "late.root"
    h = plain(ROOT, "TH1F")
    with rootfiles.writer(path) as out:
        for lumi in (1, 2):
            out.begin(1, lumi)
            out.add("h", h)
            out.end()
            h.GetXaxis().SetBinLabel(1, "one")
    with pytest.warns(DQMWarning, match="have no bin labels"):
        me = dq.read(path, "h")
    assert me.axes[0].labels[0] == "one"
    assert len(me) == 2


def test_parts_of_one_lumisection_add_up(tmp_path: Path) -> None:
    """As CMSSW merges: histograms add up as ROOT adds them, scalars take the last."""
    ROOT = rootfiles.root()
    kinds = [*ONE, *TWO, "TH3F", "TProfile", "TProfile2D"]
    parts = [{k: plain(ROOT, k, seed=s) for k in kinds} for s in (1, 2, 3)]
    for part in parts[1:]:
        part["TH1F"].Sumw2()
        part["TH2D"].Sumw2()
        fill(ROOT, part["TH1F"], 9, weighted=True)
        part["TH1S"].SetBinContent(3, 32000)
    for n, part in enumerate(parts):
        with rootfiles.writer(tmp_path / f"p{n}.root") as out:
            for lumi in (4, 5) if n != 1 else (5,):
                out.begin(1, lumi)
                for k, h in part.items():
                    out.add(k, h)
                out.addInt("int", n)
                out.addString("string", f"s{n}")
                out.end()
    files = [tmp_path / f"p{n}.root" for n in range(3)]
    for k in kinds:
        me = dq.read(files, k)
        assert me.lumi.tolist() == [4, 5]
        for i, which in enumerate(((0, 2), (0, 1, 2))):
            total = parts[which[0]][k].Clone()
            for n in which[1:]:
                total.Add(parts[n][k])
            assert np.array_equal(me.values(flow=True)[i].ravel(), rootfiles.contents(total)), k
            assert me.entries[i] == total.GetEntries()
            np.testing.assert_allclose(
                np.sqrt(me.variances(flow=True)[i]).ravel(), rootfiles.errors(total), rtol=1e-12, err_msg=k
            )
    assert dq.read(files, "int").contents.tolist() == [2, 2]
    assert dq.read(files, "string").contents.tolist() == ["s2", "s2"]


def test_different_bins_are_not_merged(tmp_path: Path) -> None:
    ROOT = rootfiles.root()
    for n, bins in enumerate((5, 6)):
        with rootfiles.writer(tmp_path / f"p{n}.root") as out:
            out.begin(1, 1)
            out.add("h", fill(ROOT, ROOT.TH1F("h", "", bins, 0, 1), n))
            out.end()
    with pytest.warns(DQMWarning, match="stored twice with different bins"):
        me = dq.read([tmp_path / "p0.root", tmp_path / "p1.root"], "h")
    assert me.axes[0].nbins == 5


def grown(ROOT: Any, labels: str, weight: float = 1.0) -> Any:
    h = ROOT.TH1F("h", "t;x", 2, 0, 2)
    h.SetDirectory(ROOT.nullptr)
    h.SetCanExtend(ROOT.TH1.kAllAxes)
    for i, label in enumerate(labels):
        h.Fill(label, weight * (i + 1))
    return h


@pytest.mark.parametrize(
    "texts", [("ab", "abcde"), ("abcde", "ab"), ("ab", "cd"), ("ab", "ba"), ("abc", "xyzwv", "av")]
)
@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_growing_axes_merge_by_label(tmp_path: Path, texts: tuple[str, ...], weight: float) -> None:
    """As ``TH1::Merge``, which CMSSW calls where all axes of both can be extended."""
    ROOT = rootfiles.root()
    files = []
    for n, text in enumerate(texts):
        files.append(tmp_path / f"p{n}.root")
        with rootfiles.writer(files[-1]) as out:
            for lumi in (1, 2) if n == 0 else (2,):
                out.begin(1, lumi)
                out.add("h", grown(ROOT, text, weight))
                out.add("other", plain(ROOT, "TH1F"))
                out.end()
    total = grown(ROOT, texts[0], weight)
    for text in texts[1:]:
        other, one = grown(ROOT, text, weight), ROOT.TList()
        one.Add(other)
        assert total.Merge(one) >= 0
        one.Clear("nodelete")  # a list looks at what it holds when it goes, which may have gone before
    made = dq.arrays(files)
    me = dq.read(files, "h", lumis=(2, 2))
    n = total.GetNbinsX()
    assert me.axes[0].nbins == n
    assert (me.axes[0].low, me.axes[0].high) == (0.0, total.GetXaxis().GetXmax())
    assert list(me.axes[0].labels) == [total.GetXaxis().GetBinLabel(i) for i in range(1, n + 1)]
    assert me.contents[0].tolist() == rootfiles.contents(total).tolist()
    # ROOT takes the sum of the weights for the entries where it merges by label.
    assert me.entries[0] == sum(grown(ROOT, text, weight).GetEntries() for text in texts)
    np.testing.assert_allclose(np.sqrt(me.variances(flow=True)[0]), rootfiles.errors(total), rtol=1e-12)
    assert (
        dq.read(files, "h", lumis=(1, 1)).contents[0].tolist()
        == rootfiles.contents(grown(ROOT, texts[0], weight)).tolist()
    )
    assert len(made.series("other")) == 2
    assert {info.name for info in made.table} == {"h", "other"}


def test_several_rows_for_one_block(tmp_path: Path) -> None:
    ROOT = rootfiles.root()
    h = plain(ROOT, "TH1F")
    with rootfiles.writer(tmp_path / "rows.root") as out:
        for _ in range(3):
            out.begin(1, 1)
            out.add("h", h)
            out.end()
    me = dq.read(tmp_path / "rows.root", "h")
    assert me.entries.tolist() == [3 * h.GetEntries()]
    assert np.array_equal(me.contents[0], 3 * rootfiles.contents(h))


def test_large_baskets_of_several_frames(tmp_path: Path) -> None:
    """After 30 MB ROOT makes baskets of up to 25 MB, each in several compression frames."""
    ROOT = rootfiles.root()
    path = tmp_path / "large.root"
    h = ROOT.TH2F("h", "", 700, 0, 1, 900, 0, 1)
    random = np.random.default_rng(1)
    with rootfiles.writer(path, 404) as out:
        out.trees["TH2Fs"].SetAutoFlush(8)
        out.trees["TH2Fs"].GetBranch("Value").SetBasketSize(30_000_000)
        for lumi in range(1, 13):
            array = np.frombuffer(h.GetArray(), np.float32, h.GetNcells())
            array[:] = random.integers(0, 1000, len(array))
            out.begin(1, lumi)
            out.add("h", h)
            out.end()
    assert check(path) == 12


def test_a_file_never_closed(tmp_path: Path) -> None:
    """Baskets that were not written out lie inside the tree's own record."""
    ROOT = rootfiles.root()
    path = tmp_path / "open.root"
    with rootfiles.writer(path, 101) as out:
        for lumi in range(1, 4):
            out.begin(1, lumi)
            for kind in ("TH1F", "TH2F"):
                out.add(kind, plain(ROOT, kind, seed=lumi))
            out.end()
        for name in ("Indices", "TH1Fs", "TH2Fs"):
            tree = out.indices if name == "Indices" else out.trees[name]
            tree.AutoSave("SaveSelf")
        copy = path.read_bytes()
    path.write_bytes(copy)
    assert check(path) == 6


def test_selection(tmp_path: Path) -> None:
    ROOT = rootfiles.root()
    path = tmp_path / "s.root"
    with rootfiles.writer(path) as out:
        for run in (3, 2):
            for lumi in (9, 1, 5, 0):
                out.begin(run, lumi)
                h = ROOT.TH1F("h", "", 10, 0, 1)
                h.SetEntries(lumi * 10)
                out.add("a/h", h)
                out.end()
    me = dq.read(path, "a/h")
    assert list(zip(me.run.tolist(), me.lumi.tolist(), strict=True)) == [(2, 1), (2, 5), (2, 9), (3, 1), (3, 5), (3, 9)]
    assert dq.read(path, "a/h", scope="run").lumi.tolist() == [0, 0]
    assert dq.read(path, "a/h", scope="all").lumi.tolist() == [0, 1, 5, 9] * 2
    assert dq.read(path, "a/h", runs=3).run.tolist() == [3, 3, 3]
    assert dq.read(path, "a/h", lumis=[(1, 1), (8, 99)]).lumi.tolist() == [1, 9, 1, 9]
    assert dq.read(path, "a/h", min_entries_per_bin=5).lumi.tolist() == [5, 9, 5, 9]
    golden = dq.RunMask.from_ranges({2: [[5, 9]], 3: [[1, 5]]})
    (tmp_path / "dcs.json").write_text('{"2": [[1, 5]], "3": [[-1]]}')
    taken = dq.read(path, "a/h", golden=golden, dcs=tmp_path / "dcs.json")
    assert list(zip(taken.run.tolist(), taken.lumi.tolist(), strict=True)) == [(2, 5), (3, 1), (3, 5)]
    with pytest.raises(EmptySelectionError, match="a/h"):
        dq.read(path, "a/h", runs=77)
    with pytest.raises(UsageError, match="LS range"):
        dq.read(path, "a/h", lumis=(5, 1))


def test_patterns_and_absent_names(tmp_path: Path) -> None:
    ROOT = rootfiles.root()
    path = tmp_path / "n.root"
    names = ["Hcal/Digi/depth1", "Hcal/Digi/depth2", "Hcal/Reco/depth1", "CSC/size (kB)", "CSC/a=b#c"]
    with rootfiles.writer(path) as out:
        out.begin(1, 1)
        for name in names:
            out.add(name, plain(ROOT, "TH1F"))
        out.end()
    assert list(dq.arrays(path, "Hcal/*/depth1").names) == ["Hcal/Digi/depth1", "Hcal/Reco/depth1"]
    assert list(dq.arrays(path, "Hcal/**").names) == sorted(names[:3])
    assert list(dq.arrays(path, "re:^CSC/.*kB").names) == ["CSC/size (kB)"]
    assert list(dq.arrays(path, ["CSC/a=b#c", "*/Digi/depth[2-9]"]).names) == ["CSC/a=b#c", "Hcal/Digi/depth2"]
    assert [info.name for info in dq.list_mes(path, "**/depth1")] == ["Hcal/Digi/depth1", "Hcal/Reco/depth1"]
    with pytest.raises(UnknownNameError, match=r"Hcal/Digi/depth3'.*nearest: Hcal/Digi/depth"):
        dq.read(path, "Hcal/Digi/depth3")
    with pytest.raises(UnknownNameError, match="'x/y'"):
        dq.arrays(path, ["Hcal/**", "nothing", "x/y"])
    with pytest.warns(DQMWarning, match="in no file: nothing, x/y"):
        made = dq.arrays(path, ["Hcal/**", "nothing", "x/y"], missing="warn")
    assert len(made.names) == 3
    with pytest.raises(UsageError, match="not a pattern"):
        dq.arrays(path, "re:(")


def test_iterate_gives_the_same_in_pieces(tmp_path: Path) -> None:
    ROOT = rootfiles.root()
    for n in range(2):
        with rootfiles.writer(tmp_path / f"i{n}.root") as out:
            for lumi in range(1, 20):
                out.begin(10 + n, lumi)
                for kind in ("TH1F", "TH2F", "TProfile"):
                    out.add(kind, plain(ROOT, kind, seed=lumi))
                out.end()
    whole = dq.arrays(tmp_path / "i*.root")
    pieces = list(dq.iterate(tmp_path / "i*.root", step_bytes=5000))
    assert len(pieces) > 10
    for kind in ("TH1F", "TH2F", "TProfile"):
        joined = dq.concatenate([piece.series(kind) for piece in pieces]).sort()
        assert np.array_equal(joined.contents, whole.series(kind).contents)
        assert np.array_equal(joined.keys, whole.series(kind).keys)
    with pytest.raises(UsageError, match="step_bytes"):
        next(dq.iterate(tmp_path / "i*.root", step_bytes=0))


def test_threads_do_not_matter(tmp_path: Path) -> None:
    ROOT = rootfiles.root()
    path = tmp_path / "t.root"
    h = ROOT.TH2F("h", "", 60, 0, 1, 60, 0, 1)
    with rootfiles.writer(path) as out:
        for lumi in range(1, 80):
            fill(ROOT, h, lumi, n=20)
            out.begin(1, lumi)
            out.add("h", h)
            out.end()
    one, many = (dq.read(path, "h", threads=n) for n in (1, 5))
    assert np.array_equal(one.contents, many.contents)
    check(path, threads=3)


def test_broken_files(tmp_path: Path) -> None:
    ROOT = rootfiles.root()
    good = tmp_path / "good.root"
    with rootfiles.writer(good) as out:
        out.begin(1, 1)
        out.add("h", plain(ROOT, "TH1F"))
        out.end()
    raw = good.read_bytes()
    bad = {"empty": b"", "text": b"hello " * 100, "short": raw[: len(raw) // 2], "head": raw[:80]}
    for name, data in bad.items():
        (tmp_path / f"{name}.root").write_bytes(data)
        with pytest.raises(InputError, match=f"{name}.root"):
            dq.read(tmp_path / f"{name}.root", "h")
    with pytest.raises(InputError, match="No such file"):
        dq.read(tmp_path / "missing.root", "h")
    with pytest.raises(InputError, match="a folder; name the files in it"):
        dq.read(tmp_path, "h")
    with pytest.raises(InputError, match="no file matches"):
        dq.read(tmp_path / "x*.root", "h")
    other = ROOT.TFile(str(tmp_path / "other.root"), "RECREATE")
    other.Close()
    with pytest.raises(InputError, match=r"other\.root"):
        dq.read(tmp_path / "other.root", "h")
    errors: list[InputError] = []
    me = dq.read([*(tmp_path / f"{name}.root" for name in bad), good, tmp_path / "missing.root"], "h", errors=errors)
    assert len(me) == 1
    assert len(errors) == len(bad) + 1
    with pytest.raises(InputError):
        nano.read([tmp_path / "text.root", tmp_path / "short.root"], "h", errors=[])


def test_a_damaged_basket_names_file_tree_and_entry(tmp_path: Path) -> None:
    ROOT = rootfiles.root()
    for n in range(2):
        with rootfiles.writer(tmp_path / f"d{n}.root", 101) as out:
            out.begin(1 + n, 1)
            out.add("h", plain(ROOT, "TH2F"))
            out.end()
    path = tmp_path / "d1.root"
    raw = bytearray(path.read_bytes())
    from dqmroot.io.nanodqmio.trees import open_file

    seek = int(open_file(str(path)).trees["TH2Fs"].values.seek[0])
    raw[seek + 150] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"d1\.root, TH2Fs entry 0: basket 0 is damaged"):
        dq.read(path, "h")
    errors: list[InputError] = []
    assert dq.read([tmp_path / "d0.root", path], "h", errors=errors).run.tolist() == [1]
    assert [error.tree for error in errors] == ["TH2Fs"]
    errors.clear()
    assert sum(len(piece.series("h")) for piece in dq.iterate([tmp_path / "d0.root", path], "h", errors=errors)) == 1
    assert len(errors) == 1


def test_a_tree_of_another_name_than_its_key(tmp_path: Path) -> None:
    ROOT = rootfiles.root()
    path = tmp_path / "k.root"
    with rootfiles.writer(path, 0) as out:
        out.begin(1, 1)
        out.add("h", plain(ROOT, "TH2F"))
        out.end()
    raw = bytearray(path.read_bytes())
    # Name and title in the tree's own record, which begins with the name; the key before it has them too.
    raw[raw.rindex(b"\5TH2Fs\5TH2Fs@") + 5] ^= 0xA0
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"k\.root, TH2Fs"):
        dq.read(path, "h")


def test_lists_of_files(tmp_path: Path) -> None:
    ROOT = rootfiles.root()
    for n in range(3):
        with rootfiles.writer(tmp_path / f"l{n}.root") as out:
            out.begin(n + 1, 1)
            out.add("h", plain(ROOT, "TH1F"))
            out.end()
    listed = tmp_path / "files.txt"
    listed.write_text(f"# these\n{tmp_path}/l0.root\n\n{tmp_path}/l[12].root  # both\n{tmp_path}/l0.root\n")
    assert dq.read(listed, "h").run.tolist() == [1, 2, 3]
    assert dq.read([tmp_path / "l1.root", str(tmp_path / "l*.root")], "h").run.tolist() == [1, 2, 3]
    with pytest.raises(InputError, match="do not know how to read ftp"):
        dq.read("ftp://host/file.root", "h")


def test_real_files_equal_root_bit_for_bit(real_data: Path) -> None:
    files = sorted((real_data / "nanodqmio").glob("*.root"))
    assert len(files) == 10
    assert [check(path) for path in files] == [140, 28, 15, 776, 185, 65, 1378, 43, 32, 40]
    zero_bias = dq.list_mes(files[1:])
    assert len(zero_bias) == 1
    assert len(zero_bias[0].runs) == 9
    hcal = dq.list_mes(files[0])
    assert (len(hcal), {info.n_ls for info in hcal}, {info.bins for info in hcal}) == (14, {10}, {(72, 84)})
