"""Score tables: on disk and back, joined, and the worst of each lumisection."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dqmroot.errors import InputError, UnknownNameError
from dqmroot.io.tables.scores import SUFFIXES, read_scores, write_scores
from dqmroot.scores import COLUMNS, ScoreTable, join


def table(me: str = "A/b", scale: float = 1.0) -> ScoreTable:
    score = np.array([1.5, np.nan, 3.0]) * scale
    return ScoreTable(
        np.array([2, 1, 1], np.uint32),
        np.array([1, 7, 9], np.uint32),
        np.full(3, me),
        score,
        np.full(3, 2.0),
        np.array([0, -1, 1], np.int8),
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_tables_read_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"scores{suffix}"
    write_scores(path, table('Ünicode/µ, "quoted"'))
    again = read_scores(path)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(again, name), getattr(table('Ünicode/µ, "quoted"'), name))


def test_wrong_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"\.parquet"):
        write_scores(tmp_path / "scores.parqet", table())
    with pytest.raises(InputError, match=r"absent\.csv"):
        read_scores(tmp_path / "absent.csv")
    for suffix in SUFFIXES:
        path = tmp_path / f"bad{suffix}"
        path.write_text("a,b\n1,2\n")
        with pytest.raises(InputError, match=path.name):
            read_scores(path)


@pytest.mark.parametrize(
    "wrong", ["-1,1,a,0.5,1,0", "4294967296,1,a,0.5,1,0", "1,1.5,a,0.5,1,0", "1,1,a,0.5,1,200", "1,1,a,x,1,0"]
)
def test_a_number_that_does_not_fit_is_an_error(tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("run,lumi,me,score,threshold,flag\n1,1,a,0.5,1,0\n")
    assert len(read_scores(path)) == 1
    path.write_text(f"run,lumi,me,score,threshold,flag\n{wrong}\n")
    with pytest.raises(InputError, match=r"scores\.csv: is not a score table: [^\n]+$"):
        read_scores(path)


def test_join_sorts_by_lumisection() -> None:
    joined = join([table("B"), table("A", 2.0)])
    assert joined.run.tolist() == [1, 1, 1, 1, 2, 2]
    assert joined.me.tolist() == ["B", "A"] * 3
    assert joined.mes == ["B", "A"]
    run, lumi, worst = joined.worst_per_ls()
    assert (run.tolist(), lumi.tolist()) == ([1, 1, 2], [7, 9, 1])
    np.testing.assert_array_equal(worst, [np.nan, 3.0, 1.5])
