"""Every dialect of per-LS tables reads to the numbers that were written."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dqmroot.errors import DQMWarning, InputError
from dqmroot.io.tables.reader import iterate_table, read_table
from dqmroot.series import Axis, MonitorElement

X, Y = Axis(3, -1.5, 1.5), Axis(2, 0.0, 10.0)
ONE, TWO = "Tracking/TrackParameters/Chi2", "PixelPhase1/Tracks/zphi"
LUMIS = [(297050, 2), (297050, 1), (297056, 7)]


@pytest.fixture
def truth() -> dict[str, np.ndarray]:
    """Contents with flow bins, (LS, [y,] x), in the order of `LUMIS`."""
    rng = np.random.default_rng(3)
    return {ONE: rng.poisson(50, (3, 5)), TWO: rng.poisson(5, (3, 4, 5))}


def frame(truth: dict[str, np.ndarray], cell: Any = list) -> pd.DataFrame:
    """The columns a harvest writes."""
    rows = []
    for i, (run, lumi) in enumerate(LUMIS):
        for name, code in ((ONE, 3), (TWO, 6)):
            counts = truth[name][i]
            y = (10.0, 0.0, 2) if code == 6 else (1.0, 0.0, 1)
            row = (run, lumi, name, code, cell(counts.ravel().tolist()), int(counts.sum()), 1.5, -1.5, 3, *y)
            rows.append(row)
    columns = "fromrun fromlumi hname metype histo entries Xmax Xmin Xbins Ymax Ymin Ybins".split()  # noqa: SIM905
    return pd.DataFrame(rows, columns=columns)


def check(read: dict[str, MonitorElement], truth: dict[str, np.ndarray], *, flow: bool = True) -> None:
    assert set(read) == set(truth)
    order = np.argsort([run << 32 | lumi for run, lumi in LUMIS])
    for name, me in read.items():
        assert me.axes == ((X,) if name == ONE else (X, Y))
        assert me.storage == ("TH1F" if name == ONE else "TH2F")
        assert me.contents.dtype == np.float32
        assert [(int(r), int(ls)) for r, ls in zip(me.run, me.lumi, strict=True)] == sorted(LUMIS)
        expected = truth[name][order]
        inside = (slice(None), *[slice(1, -1)] * len(me.axes))
        np.testing.assert_array_equal(me.values(), expected[inside])
        if flow:
            np.testing.assert_array_equal(me.contents, expected)
            np.testing.assert_array_equal(me.entries, expected.reshape(3, -1).sum(1))
        else:
            edge = np.ones(me.contents.shape, bool)
            edge[inside] = False
            assert np.isnan(me.contents[edge]).all()


def harvested(truth: dict[str, np.ndarray], tmp_path: Path, dialect: str) -> Path:
    """Write one of the dialects that keep the flow bins."""
    path = tmp_path / f"{dialect}.table"
    if dialect == "parquet":
        frame(truth).to_parquet(path, index=False)
    elif dialect == "13 columns":
        frame(truth).to_csv(path)
    elif dialect == "12 columns":
        # An index column, and no metype.
        frame(truth).drop(columns="metype").to_csv(path)
    elif dialect == "NumPy 2":
        frame(truth, lambda counts: list(np.array(counts))).to_csv(path)
        assert "np.int64(" in path.read_text()
    else:
        df = frame(truth)
        df.index = pd.MultiIndex.from_frame(df[["fromrun", "fromlumi", "hname"]])
        df.to_csv(path)
        assert path.read_text().startswith("fromrun,fromlumi,hname,fromrun,fromlumi,hname,metype")
    return path


DIALECTS = ["parquet", "12 columns", "13 columns", "15 columns", "NumPy 2"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects_with_flow_bins(truth: dict[str, np.ndarray], tmp_path: Path, dialect: str) -> None:
    path = harvested(truth, tmp_path, dialect)
    check(read_table(path), truth)
    check(read_table(io.BytesIO(path.read_bytes())), truth)
    assert list(read_table(path, lambda name: name.startswith("Pixel"))) == [TWO]
    assert read_table(path, lambda name: False) == {}
    parts = list(iterate_table(path, lambda name: name == ONE))
    assert sum(len(part) for part in parts) == 3
    assert {part.name for part in parts} == {ONE}


def test_fifteen_columns_saved_again(truth: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = harvested(truth, tmp_path, "15 columns")
    again = tmp_path / "again.csv"
    pd.read_csv(path).to_csv(again)
    check(read_table(again), truth)


def test_converted_parquet_has_no_flow_bins_and_runs_along_y(truth: dict[str, np.ndarray], tmp_path: Path) -> None:
    df = frame(truth)
    cut = {name: counts[(slice(None), *[slice(1, -1)] * (counts.ndim - 1))] for name, counts in truth.items()}
    df["histo"] = [cut[name][i].T.ravel().tolist() for i in range(3) for name in (ONE, TWO)]
    df.loc[df.metype == 3, ["Ymax", "Ymin", "Ybins"]] = 0, 0, 0
    columns = "fromrun fromlumi hname metype histo entries Xmin Xmax Xbins Ymin Ymax Ybins".split()  # noqa: SIM905
    path = tmp_path / "converted.parquet"
    df[columns].to_parquet(path)
    check(read_table(path), truth, flow=False)
    # A csv of the same is told by the order of its columns; in the other order nobody knows how its maps lie.
    df[columns].to_csv(tmp_path / "converted.csv")
    check(read_table(tmp_path / "converted.csv"), truth, flow=False)
    df.to_csv(tmp_path / "unknown.csv")
    with pytest.raises(InputError, match=r"zphi: 2-D lists without flow bins whose order"):
        read_table(tmp_path / "unknown.csv")


def dials(truth: dict[str, np.ndarray], *, text: str = "") -> pd.DataFrame:
    """The columns of a DIALS table; lists nested [y][x], as lists or as one of two kinds of text."""
    rows = []
    for i, (run, lumi) in enumerate(LUMIS):
        for name in (ONE, TWO):
            counts = truth[name][i]
            counts = counts[(slice(1, -1),) * counts.ndim]
            data: Any = counts.tolist()
            if text == "json":
                data = json.dumps(data)
            elif text == "numpy":
                data = np.array2string(counts.astype(float), max_line_width=12)
            y = (0.0, 10.0, 2) if name == TWO else (None, None, None)
            rows.append((run, lumi, name, -1.5, 1.5, 3, *y, data, int(counts.sum())))
    columns = "run_number ls_number me x_min x_max x_bin y_min y_max y_bin data entries".split()  # noqa: SIM905
    return pd.DataFrame(rows, columns=columns)


@pytest.mark.parametrize("text", ["json", "numpy"])
def test_dials_csv(truth: dict[str, np.ndarray], tmp_path: Path, text: str) -> None:
    dials(truth, text=text).to_csv(tmp_path / "d.csv", index=False)
    check(read_table(tmp_path / "d.csv"), truth, flow=False)


@pytest.mark.parametrize("name", [ONE, TWO])
def test_dials_parquet(truth: dict[str, np.ndarray], tmp_path: Path, name: str) -> None:
    df = dials(truth)
    df[df.me == name].to_parquet(tmp_path / "d.parquet")
    check(read_table(tmp_path / "d.parquet"), {name: truth[name]}, flow=False)


def test_autodqm(tmp_path: Path) -> None:
    one = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    two = [[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]] * 2  # [x][y]
    columns = {"L1T//Run summary/L1TStage2EMTF/emtfTrackEta": one, "CSC//Run summary/Occ": two}
    rest = {"run_number": [355872, 355871], "year": ["2022", "2022"], "label": [1, 0]}
    pq.write_table(pa.table({**columns, **rest}), tmp_path / "HLTPhysics.parquet")
    read = read_table(tmp_path / "HLTPhysics.parquet")
    eta, occupancy = read["L1T/L1TStage2EMTF/emtfTrackEta"], read["CSC/Occ"]
    np.testing.assert_array_equal(eta.values(), one[::-1])
    np.testing.assert_array_equal(occupancy.values()[0], np.transpose(two[0]))
    assert occupancy.axes == (Axis(3, 0.0, 3.0), Axis(2, 0.0, 2.0))
    assert eta.run.tolist() == [355871, 355872]
    assert eta.lumi.tolist() == [0, 0]
    assert eta.conditions["label"].tolist() == [0, 1]
    assert list(read_table(tmp_path / "HLTPhysics.parquet", lambda name: "Occ" in name)) == ["CSC/Occ"]


def test_first_of_several_rows_counts(truth: dict[str, np.ndarray], tmp_path: Path) -> None:
    df = frame(truth)
    same = pd.concat([df, df.iloc[:1]])
    same.to_parquet(tmp_path / "same.parquet")
    check(read_table(tmp_path / "same.parquet"), truth)
    other = df.iloc[:1].copy()
    other["histo"] = [[9, 9, 9, 9, 9]]
    pd.concat([df, other]).to_parquet(tmp_path / "other.parquet")
    with pytest.warns(DQMWarning, match="1 further rows .*run 297050 LS 2 first"):
        check(read_table(tmp_path / "other.parquet"), truth)


def test_numbers_too_large_for_the_class(truth: dict[str, np.ndarray], tmp_path: Path) -> None:
    truth[ONE][0, 0] = 2**24 + 1
    frame(truth).to_parquet(tmp_path / "large.parquet")
    me = read_table(tmp_path / "large.parquet")[ONE]
    assert (me.storage, me.contents.dtype) == ("TH1D", np.float64)
    np.testing.assert_array_equal(me.contents[1], truth[ONE][0])


BREAKS = {
    "not a table of histograms: no column histo": lambda df: df.drop(columns="histo"),
    r"zphi: lists of 3 numbers for 2 × 3 bins \(20 with flow bins\)": lambda df: df.assign(histo="[1, 2, 3]"),
    r"'oops' is not a number": lambda df: df.assign(histo="[1, 2, oops, 4, 5]"),
    r"'...' is not a number": lambda df: df.assign(histo="[1 2 ... 4 5]"),
    "the bins change": lambda df: df.assign(Xmax=np.arange(6.0) + 5),
    "metype 77 is not one of": lambda df: df.assign(metype=77),
    "column fromrun: 1.5 is no whole number": lambda df: df.assign(fromrun=1.5),
    "column fromlumi: nan": lambda df: df.assign(fromlumi=np.nan),
    "an axis with 0 bins": lambda df: df.assign(Xbins=0),
    "not readable as csv": lambda df: df.assign(entries="many"),
}


@pytest.mark.parametrize("message", BREAKS)
def test_broken_tables(truth: dict[str, np.ndarray], tmp_path: Path, message: str) -> None:
    path = tmp_path / "broken.csv"
    BREAKS[message](frame(truth)).to_csv(path)
    with pytest.raises(InputError, match=message) as caught:
        read_table(path)
    assert str(path) in str(caught.value)


def test_no_table_at_all(tmp_path: Path) -> None:
    for content in (b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1", bytes(range(256))):
        path = tmp_path / "x"
        path.write_bytes(content)
        with pytest.raises(InputError):
            read_table(path)
    with pytest.raises(InputError, match="No such file"):
        read_table(tmp_path / "absent.csv")


def test_blocks_do_not_cut_rows(truth: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dqmroot.io.tables import csvtable

    path = harvested(truth, tmp_path, "13 columns")
    whole = csvtable._blocks
    monkeypatch.setattr(csvtable, "_blocks", lambda file: whole(file, 37))
    check(read_table(path), truth)
    dials(truth, text="numpy").to_csv(path, index=False)
    check(read_table(path), truth, flow=False)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.integers(0, 2**24), min_size=5, max_size=5), min_size=1, max_size=5),
    st.sampled_from(["csv", "parquet"]),
)
def test_any_counts(tmp_path: Path, counts: list[list[int]], kind: str) -> None:
    n = len(counts)
    df = pd.DataFrame(
        {"fromrun": 1, "fromlumi": np.arange(n), "hname": "a", "metype": 3, "histo": counts, "entries": 0.0}
        | {"Xmax": 1.0, "Xmin": 0.0, "Xbins": 3, "Ymax": 1, "Ymin": 0, "Ybins": 1}
    )
    path = tmp_path / f"any.{kind}"
    df.to_parquet(path) if kind == "parquet" else df.to_csv(path)
    np.testing.assert_array_equal(read_table(path)["a"].contents, counts)


def test_real_csv(real_data: Path) -> None:
    path = real_data / "tables" / "ZeroBias_2018A_DataFrame_1D_2.csv"
    read = read_table(path)
    df = pd.read_csv(path)
    assert set(read) == set(df.hname)
    for row in df.itertuples():
        me = read[row.hname]
        np.testing.assert_array_equal(me.contents[0], json.loads(row.histo))
        assert (me.run[0], me.lumi[0], me.entries[0]) == (row.fromrun, row.fromlumi, row.entries)


def test_real_parquet_equals_real_root(real_data: Path) -> None:
    (table,) = (real_data / "tables").glob("*.parquet")
    (me,) = read_table(table).values()
    with uproot.open(table.with_suffix(".root")) as file:
        hists = [file[f"run{run}_ls{lumi}_{me.name}"] for run, lumi in zip(me.run, me.lumi, strict=True)]
    assert len(me) == 5
    np.testing.assert_array_equal(me.values(), [h.values().T for h in hists])
    np.testing.assert_array_equal(me.entries, [h.member("fEntries") for h in hists])
