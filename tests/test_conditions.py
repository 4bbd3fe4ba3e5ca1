"""Conditions from every kind of file join to the right LS, and say when a detector is off."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqmroot.conditions import Conditions, detector_on, read_conditions
from dqmroot.errors import InputError, UnknownNameError
from dqmroot.series import Axis, MonitorElement

ROWS = [
    {"run": 306138, "lumi": 3, "pileup": 31.5, "hbhea_ready": True, "hf_ready": False, "prescale_name": "2p0E34"},
    {"run": 306138, "lumi": 1, "pileup": 32.25, "hbhea_ready": True, "hf_ready": True, "prescale_name": None},
    {"run": 306139, "lumi": 1, "pileup": None, "hbhea_ready": None, "hf_ready": True, "prescale_name": "1p8E34"},
]


def series(run: list[int], lumi: list[int], name: str = "Hcal/Occupancy") -> MonitorElement:
    n = len(run)
    return MonitorElement(name, "TH1F", (Axis(1, 0, 1),), np.array(run), np.array(lumi), np.ones(n), np.ones((n, 3)))


def check(conditions: Conditions) -> None:
    me = conditions.join(series([306139, 306138, 306138, 306138], [1, 1, 2, 3]))
    np.testing.assert_array_equal(me.conditions["pileup"], [np.nan, 32.25, np.nan, 31.5])
    assert me.conditions["hbhea_ready"].tolist() == [-1, 1, -1, 1]
    assert me.conditions["hf_ready"].tolist() == [1, 1, -1, 0]
    assert me.conditions["prescale_name"].tolist() == ["1p8E34", "", "", "2p0E34"]
    assert detector_on(me).tolist() == [False, True, False, False]
    assert detector_on(me, ["hf_ready"]).tolist() == [True, True, False, False]


def oms(rows: list[dict[str, object]]) -> dict[str, object]:
    names = {"run": "run_number", "lumi": "lumisection_number"}
    records = [{names.get(key, key): value for key, value in row.items()} for row in rows]
    meta = {"row": {"pileup": {"units": ""}}}
    return {"data": [{"type": "lumisections", "id": "1", "attributes": {**row, "meta": meta}} for row in records]}


def test_every_kind_of_file(tmp_path: Path) -> None:
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    texts = {
        "oms.json": json.dumps(oms(ROWS)),
        "records.json": json.dumps(ROWS),
        "columns.json": json.dumps(columns),
        "table.csv": "\n".join(
            [",".join(ROWS[0]), *(",".join("" if v is None else str(v) for v in row.values()) for row in ROWS)]
        ),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        check(read_conditions(tmp_path / name))
    pq.write_table(pa.table(columns), tmp_path / "table.parquet")
    check(read_conditions(tmp_path / "table.parquet"))


def test_brilcalc(tmp_path: Path) -> None:
    path = tmp_path / "lumi.csv"
    path.write_text(
        "#Data tag : 23v1 , Norm tag: None\n"
        "#run:fill,ls,time,beamstatus,E(GeV),delivered(/ub),recorded(/ub),avgpu,source\n"
        "306138:6358,2:2,11/02/17 20:15:51,STABLE BEAMS,6500,351000.5,340000.25,40.1,PLT\n"
        "306138:6358,1:1,11/02/17 20:15:28,STABLE BEAMS,6500,352000.5,341000.25,40.2,PLT\n"
        "#Summary:\n#nfill,nrun,nls,ncms,totdelivered(/ub),totrecorded(/ub)\n#1,1,2,2,1.0,1.0\n"
    )
    me = read_conditions(path).join(series([306138], [1]), ["avgpu", "recorded(/ub)"])
    assert {name: column.tolist() for name, column in me.conditions.items()} == {
        "avgpu": [40.2],
        "recorded(/ub)": [341000.25],
    }


def test_last_row_of_an_ls_counts(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("run,ls,pileup\n1,1,10\n1,2,20\n1,1,11\n")
    assert read_conditions(path).join(series([1, 1], [1, 2])).conditions["pileup"].tolist() == [11, 20]


def test_join_keeps_what_is_there_and_may_be_repeated() -> None:
    one = Conditions(np.array([1], np.uint32), np.array([1], np.uint32), {"pileup": np.array([30.0])})
    two = Conditions(np.array([1], np.uint32), np.array([1], np.uint32), {"lumi": np.array([2.0])})
    me = two.join(one.join(series([1], [1])))
    assert set(me.conditions) == {"pileup", "lumi"}
    with pytest.raises(UnknownNameError, match="unknown condition 'pileip'; nearest: pileup"):
        one.join(me, ["pileip"])


def test_detector_on_of_a_subsystem() -> None:
    bits = {"bpix_ready": np.array([1, 0], np.int8), "hf_ready": np.array([0, 1], np.int8)}
    conditions = Conditions(np.array([1, 1], np.uint32), np.array([1, 2], np.uint32), bits)
    assert detector_on(conditions.join(series([1, 1], [1, 2], "PixelPhase1/Tracks/a"))).tolist() == [True, False]
    assert detector_on(conditions.join(series([1, 1], [1, 2], "Hcal/a"))).tolist() == [False, True]
    assert detector_on(conditions.join(series([1, 1], [1, 2], "L1T/a"))).tolist() == [True, True]
    assert detector_on(series([1, 1], [1, 2], "Hcal/a")).tolist() == [True, True]
    with pytest.raises(UnknownNameError, match="unknown condition 'hf_redy' in Hcal/a"):
        detector_on(conditions.join(series([1], [1], "Hcal/a")), ["hf_redy"])


@given(st.dictionaries(st.tuples(st.integers(0, 4), st.integers(0, 9)), st.floats(0, 1e6)), st.data())
def test_join_equals_a_dictionary(known: dict[tuple[int, int], float], data: st.DataObject) -> None:
    pairs = sorted(known)
    conditions = Conditions(
        np.array([run for run, _ in pairs], np.uint32),
        np.array([lumi for _, lumi in pairs], np.uint32),
        {"x": np.array([known[pair] for pair in pairs], np.float64)},
    )
    asked = data.draw(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9))))
    me = conditions.join(series([run for run, _ in asked], [lumi for _, lumi in asked]))
    np.testing.assert_array_equal(me.conditions["x"], [known.get(pair, np.nan) for pair in asked])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a,b\n1,2\n", "no column of runs"),
        ("run,b\n1,2\n", "no column of LS"),
        ("run,ls\n1,2,3\n", "another number of fields"),
        ("run,ls\n1.5,2\n", "no whole number"),
        ("[1, 2]", "not a table of conditions"),
        ('{"run": [1], "ls": [1, 2]}', "not equally long"),
        ("{", "not a table of conditions"),
        ("", "no column of runs"),
    ],
)
def test_what_is_no_table(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "c.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=what):
        read_conditions(path)
    with pytest.raises(InputError, match="No such file"):
        read_conditions(tmp_path / "absent")
