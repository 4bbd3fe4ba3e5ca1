"""The plan: each LS once, with every file that has a part of it, whatever the order of the files."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dqmroot.batch.index import FileIndex, unique_files
from dqmroot.batch.plan import plan_pieces, plan_runs


def index(path: str, lumis: list[tuple[int, int]], size: float = 100.0) -> FileIndex:
    keys = np.unique(np.array([run << 32 | lumi for run, lumi in lumis], np.uint64))
    return FileIndex(path, path, 1, 1, keys, np.ones((len(keys), 1), np.int64), np.array([size]))


def everything(keys: np.ndarray) -> np.ndarray:
    return np.ones(len(keys), bool)


lumisections = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 60)), min_size=1, max_size=40)


@given(st.lists(lumisections, min_size=1, max_size=8), st.integers(1, 30), st.integers(100, 5000), st.randoms())
def test_each_lumisection_is_in_one_piece_with_all_its_files(
    contents: list[list[tuple[int, int]]], lumis: int, nbytes: int, random: object
) -> None:
    indices = [index(f"f{i}", one) for i, one in enumerate(contents)]
    pieces = plan_pieces(indices, ["a"], keep=everything, lumis=lumis, nbytes=nbytes)
    every = np.concatenate([piece.keys for piece in pieces])
    assert len(np.unique(every)) == len(every)
    assert set(every.tolist()) == {key for one in indices for key in one.keys.tolist()}
    for piece in pieces:
        assert len(piece.keys) <= lumis
        holders = {one.path for one in indices if np.isin(piece.keys, one.keys).any()}
        assert set(piece.files) == holders
    shuffled = list(indices)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again = plan_pieces(shuffled, ["a"], keep=everything, lumis=lumis, nbytes=nbytes)
    assert [piece.keys.tolist() for piece in again] == [piece.keys.tolist() for piece in pieces]


def test_files_that_share_no_lumisection_are_read_once() -> None:
    # Dealt like cards: every file reaches over the whole run.
    indices = [index(f"f{i}", [(1, lumi) for lumi in range(1 + i, 101, 5)]) for i in range(5)]
    pieces = plan_pieces(indices, ["a"], keep=everything, lumis=30, nbytes=1e9)
    assert sorted(path for piece in pieces for path in piece.files) == [f"f{i}" for i in range(5)]


def test_a_file_more_leaves_the_other_pieces_as_they_are() -> None:
    indices = [index(f"f{i}", [(1, lumi) for lumi in range(10 * i + 1, 10 * i + 11)]) for i in range(9)]
    before = plan_pieces(indices, ["a"], keep=everything, lumis=30, nbytes=1e9)
    after = plan_pieces([*indices, index("g", [(1, 91), (2, 1)])], ["a"], keep=everything, lumis=30, nbytes=1e9)
    assert [p.files for p in before] == [p.files for p in after][:3]


def test_bytes_limit_a_piece() -> None:
    indices = [index("f", [(1, lumi) for lumi in range(1, 101)], size=1000.0)]
    pieces = plan_pieces(indices, ["a"], keep=everything, lumis=1000, nbytes=10_000)
    assert [len(piece.keys) for piece in pieces] == [10] * 10


def test_what_spans_lumisections_goes_by_run() -> None:
    indices = [index("f", [(1, 1), (1, 2), (2, 1)]), index("g", [(2, 2), (2, 1)])]
    pieces = plan_runs(indices, ["a", "b"], keep=everything)
    assert [(p.mes, p.runs, len(p.keys), p.files) for p in pieces] == [
        ((me,), runs, n, files) for me in ("a", "b") for runs, n, files in [((1,), 2, ("f",)), ((2,), 2, ("f", "g"))]
    ]


def test_nothing_selected_is_no_piece() -> None:
    indices = [index("f", [(1, 1)])]
    assert plan_pieces(indices, ["a"], keep=lambda keys: keys < 0, lumis=10, nbytes=1e9) == []
    assert plan_runs(indices, [], keep=everything) == []


def test_a_copy_is_left_out() -> None:
    a, b = index("a", [(1, 1)]), index("b", [(1, 2)])
    copy = FileIndex("copy", a.uuid, 1, 1, a.keys, a.counts, a.entry_bytes)
    assert unique_files([a, b, copy]) == ([a, b], [("copy", "a")])
