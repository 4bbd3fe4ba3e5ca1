"""What a file is, is told by its content; files of several kinds are read together."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import uproot

from dqmroot.cli import main
from dqmroot.errors import DQMWarning, InputError, UnknownNameError, UsageError
from dqmroot.io import formats
from dqmroot.io.rootfile.flatwrite import flat_writer
from dqmroot.io.tables.cubes import read_cubes
from dqmroot.io.tables.hdf5 import write_series
from dqmroot.series import Axis, MonitorElement

X, Y = Axis(3, 0.0, 3.0), Axis(2, 0.0, 2.0)


def series(name: str = "A/b", lumis: tuple[int, ...] = (1, 2), run: int = 7, shift: float = 0.0) -> MonitorElement:
    n = len(lumis)
    values = np.arange(n * 20, dtype="f4").reshape(n, 4, 5) + np.float32(shift)
    return MonitorElement(
        name, "TH2F", (X, Y), np.full(n, run), np.array(lumis), values.sum((1, 2)), values, title=name
    )


@pytest.fixture
def one_of_each(tmp_path: Path) -> dict[str, Path]:
    paths = {name: tmp_path / f"{name}.data" for name in ("series", "flat", "table", "cubes")}
    write_series(paths["series"], [series()])
    with flat_writer(paths["flat"]) as out:
        out.append(series())
    paths["table"].write_text(
        "fromrun,fromlumi,hname,metype,histo,entries,Xmax,Xmin,Xbins,Ymax,Ymin,Ybins\n"
        + "".join(
            f'7,{lumi},A/b,6,"{counts.ravel().tolist()}",{counts.sum()},3,0,3,2,0,2\n'
            for lumi, counts in zip(series().lumi, series().contents, strict=True)
        )
    )
    paths["cubes"] = tmp_path / "maps_run7.data"
    with h5py.File(paths["cubes"], "w") as file:
        file["A/b"] = series().values()
    return paths


def test_told_by_content(one_of_each: dict[str, Path]) -> None:
    assert {name: formats.kind_of(str(path)) for name, path in one_of_each.items()} == {n: n for n in one_of_each}


@pytest.mark.parametrize("kind", ["series", "flat", "table", "cubes"])
def test_every_way_to_read(one_of_each: dict[str, Path], kind: str) -> None:
    path, truth = one_of_each[kind], series()
    read = formats.read(path, "A/b")
    (from_arrays,) = formats.arrays(path, "A/*").all_series()
    pieces = [me for part in formats.iterate(path) for me in part.all_series()]
    for me in (read, from_arrays):
        np.testing.assert_array_equal(me.values(), truth.values())
        assert me.contents.dtype == np.float32
        assert (me.run.tolist(), me.lumi.tolist()) == ([7, 7], [1, 2])
        assert [axis.bin_edges.tolist() for axis in me.axes] == [axis.bin_edges.tolist() for axis in truth.axes]
        if kind != "cubes":
            np.testing.assert_array_equal(me.contents, truth.contents)
            np.testing.assert_array_equal(me.entries, truth.entries)
    assert sum(map(len, pieces)) == 2
    (info,) = formats.list_mes(path)
    assert (info.name, info.storage, info.bins, info.n_ls, info.runs) == ("A/b", "TH2F", (2, 3), 2, (7,))
    assert formats.read(path, "A/b", lumis=(2, 2)).lumi.tolist() == [2]
    assert len(formats.arrays(path, runs=8).table) == 0
    with pytest.raises(UnknownNameError, match="nearest: A/b"):
        formats.read(path, "A/c")
    with pytest.raises(UnknownNameError, match="A/c"):
        formats.arrays(path, ["A/b", "A/c"])
    with pytest.warns(DQMWarning, match="in no file: A/c"):
        formats.arrays(path, ["A/b", "A/c"], missing="warn")


@pytest.mark.parametrize("kind", ["series", "flat", "table", "cubes"])
def test_faults_go_from_every_kind_of_file_to_hdf5(one_of_each: dict[str, Path], tmp_path: Path, kind: str) -> None:
    out, truth = tmp_path / "faulty.h5", series()
    words = ["--fault", "dead", "--set", "size=[2,1]", "--set", "first=2", "--seed", "3", "-o", str(out)]
    assert main(["inject", str(one_of_each[kind]), "--me", "A/b", *words]) == 0
    bad, clean, where = (formats.read(out, name) for name in ("A/b", "clean/A/b", "truth/A/b"))
    np.testing.assert_array_equal(clean.values(), truth.values())
    assert where.values().sum(axis=(1, 2)).tolist() == [0, 2]
    np.testing.assert_array_equal(bad.values(), np.where(where.values() > 0, 0, truth.values()))
    assert Path(f"{out}.labels.csv").read_text().splitlines() == ["run,lumi,good,kind", "7,1,1,", "7,2,0,dead 2×1"]


def test_together(one_of_each: dict[str, Path], tmp_path: Path) -> None:
    write_series(tmp_path / "later.h5", [series(lumis=(3,)), series("C", lumis=(1,))])
    files = [one_of_each["flat"], tmp_path / "later.h5"]
    assert formats.read(files, "A/b").lumi.tolist() == [1, 2, 3]
    assert [(info.name, info.n_ls) for info in formats.list_mes(files)] == [("A/b", 3), ("C", 1)]
    assert formats.arrays(files).names == ("A/b", "C")
    # The same LS in a table and in a flat file: the first counts; where they differ, that is told.
    np.testing.assert_array_equal(
        formats.read([one_of_each["flat"], one_of_each["table"]], "A/b").contents, series().contents
    )
    write_series(tmp_path / "other.h5", [series(shift=1)])
    with pytest.warns(DQMWarning, match="2 further rows with other contents"):
        me = formats.read([one_of_each["flat"], tmp_path / "other.h5"], "A/b")
    np.testing.assert_array_equal(me.contents, series().contents)
    with pytest.warns(DQMWarning, match=re.escape("2 histograms are there more than once (A/b, run 7 LS 1 first)")):
        formats.arrays([one_of_each["flat"], one_of_each["table"]])


def test_unknown_files(one_of_each: dict[str, Path], tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "other.root") as file:
        file["tree"] = {"x": np.arange(3)}
    (tmp_path / "text.csv").write_text("a,b\n1,2\n")
    (tmp_path / "empty").touch()
    wrong = {
        "other.root": r"no known kind: neither Indices nor DQMData nor run…_ls…_… in it, but tree",
        "text.csv": "not a table of histograms: no column fromrun",
        "empty": "not a table of histograms",
        "absent": "No such file",
    }
    for name, message in wrong.items():
        with pytest.raises(InputError, match=message) as caught:
            formats.list_mes(tmp_path / name)
        assert name in str(caught.value)
    errors: list[InputError] = []
    files = [tmp_path / name for name in wrong] + [one_of_each["flat"]]
    assert len(formats.read(files, "A/b", errors=errors)) == 2
    assert {Path(error.path).name for error in errors} == set(wrong)
    with pytest.raises(UsageError, match="step_bytes"):
        list(formats.iterate(files, step_bytes=0))


def test_cubes(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    maps = rng.poisson(9, (4, 72, 84)).astype("f4")
    path = tmp_path / "HCAL_occ_run306138.hdf5"
    with h5py.File(path, "w") as file:
        file["Digi_depth1"] = maps
        file["group/doubles"] = rng.random((4, 3))
        file["whole"] = rng.integers(0, 9, (4, 2, 2))
        file["text"] = "not a map"
    read = read_cubes(path)
    me = read["Digi_depth1"]
    np.testing.assert_array_equal(me.values(), maps)
    assert np.isnan(me.contents[:, 0]).all()
    assert me.axes[0].labels[:2] == ("-41", "-40")
    assert me.axes[0].labels[41:43] == ("-1", "1")
    assert (me.axes[0].nbins, me.axes[1].low, me.axes[1].high) == (84, 0.5, 72.5)
    assert (me.run.tolist(), me.lumi.tolist()) == ([306138] * 4, [1, 2, 3, 4])
    assert me.entries.tolist() == maps.sum((1, 2)).tolist()
    assert {name: (one.storage, one.contents.dtype) for name, one in read.items() if name != "Digi_depth1"} == {
        "group/doubles": ("TH1D", np.float64),
        "whole": ("TH2D", np.float64),
    }
    again = read_cubes(path, lambda name: name == "whole", run=5, lumi=[9, 3, 4, 2])["whole"]
    assert (again.run.tolist(), again.lumi.tolist()) == ([5] * 4, [2, 3, 4, 9])
    with pytest.raises(InputError, match="4 maps, but 2 LS numbers"):
        read_cubes(path, run=5, lumi=[1, 2])
    nameless = tmp_path / "maps.h5"
    nameless.write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="give run="):
        read_cubes(nameless)
    with h5py.File(tmp_path / "none_run1.h5", "w") as file:
        file["text"] = "x"
    with pytest.raises(InputError, match="without a dataset"):
        read_cubes(tmp_path / "none_run1.h5")


def test_real_cubes_equal_real_nanodqmio(real_data: Path) -> None:
    maps = read_cubes(real_data / "hcal" / "HCAL_digi+rechit_occ_run306138.hdf5")
    nano = real_data / "nanodqmio" / "nanoDQMIO_HCAL_2017_R000306138.root"
    infos = formats.list_mes(nano)
    assert len(infos) == len(maps) == 14
    for info in infos:
        me = formats.read(nano, info.name)
        other = maps[info.name.removeprefix("Hcal/").replace("/", "_")]
        np.testing.assert_array_equal(me.values(), other.values())
        assert me.keys.tolist() == other.keys.tolist()


def test_real_flat_root_equals_real_parquet(real_data: Path) -> None:
    (flat,) = (real_data / "tables").glob("*.root")
    (info,) = formats.list_mes(flat)
    one, other = formats.read(flat, info.name), formats.read(flat.with_suffix(".parquet"), info.name)
    np.testing.assert_array_equal(one.values(), other.values())
    np.testing.assert_array_equal(one.entries, other.entries)
    assert one.keys.tolist() == other.keys.tolist()
