"""Sets of lumisections against plain Python sets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqmroot.errors import InputError, UsageError
from dqmroot.runs import RunMask, read_reference_runs, reference_runs_json

RUNS = [1, 2, 297050]
PAIRS = [(run, lumi) for run in RUNS for lumi in range(40)]

limits = st.tuples(st.integers(0, 35), st.integers(0, 6)).map(lambda pair: [pair[0], pair[0] + pair[1]])
ranges = st.dictionaries(st.sampled_from(RUNS), st.lists(limits | st.just([-1]), max_size=6))


def members(lists: dict[int, list[list[int]]]) -> set[tuple[int, int]]:
    """The (run, LS) of `PAIRS` that are in the ranges, the slow way."""
    return {
        (run, lumi) for run, lumi in PAIRS for pair in lists.get(run, []) if pair == [-1] or pair[0] <= lumi <= pair[1]
    }


def inside(mask: RunMask) -> set[tuple[int, int]]:
    held = mask.contains([run for run, _ in PAIRS], [lumi for _, lumi in PAIRS])
    return {pair for pair, yes in zip(PAIRS, held, strict=True) if yes}


@given(ranges)
def test_unsorted_and_overlapping_ranges(lists: dict[int, list[list[int]]]) -> None:
    mask = RunMask.from_ranges(lists)
    assert inside(mask) == members(lists)
    # Sorted, disjoint, and no two that touch within a run.
    assert (mask.first <= mask.last).all()
    touching = mask.last[:-1] + np.uint64(1) >= mask.first[1:]
    assert not (touching & (mask.last[:-1] >> np.uint64(32) == mask.first[1:] >> np.uint64(32))).any()


@given(ranges, ranges)
def test_union_and_intersection(a: dict[int, list[list[int]]], b: dict[int, list[list[int]]]) -> None:
    one, two = RunMask.from_ranges(a), RunMask.from_ranges(b)
    assert inside(one | two) == members(a) | members(b)
    assert inside(one & two) == members(a) & members(b)
    assert (one | two) == (two | one)
    assert (one & two) == (two & one)
    assert (one & one) == one == (one | one)
    assert hash(one | two) == hash(two | one)


@given(ranges)
def test_json_round_trip(lists: dict[int, list[list[int]]]) -> None:
    mask = RunMask.from_ranges(lists)
    text = mask.to_json()
    assert RunMask.from_ranges({int(run): pairs for run, pairs in json.loads(text).items()}) == mask


@given(st.sets(st.sampled_from(PAIRS)))
def test_from_lumis_is_the_smallest(pairs: set[tuple[int, int]]) -> None:
    mask = RunMask.from_lumis([run for run, _ in pairs], [lumi for _, lumi in pairs])
    assert inside(mask) == pairs
    assert set(mask.runs.tolist()) == {run for run, _ in pairs}
    assert bool(mask) == bool(pairs)


def test_lost_by_a_search_that_trusts_the_order() -> None:
    mask = RunMask.from_ranges({7: [[10, 20], [1, 5]]})
    assert mask.contains([7, 7, 7, 7], [3, 7, 12, 21]).tolist() == [True, False, True, False]


def test_neighbouring_runs_do_not_join() -> None:
    mask = RunMask.from_ranges({1: [[-1]], 2: [[0, 3]]})
    assert mask.to_ranges() == {1: [[-1]], 2: [[0, 3]]}
    assert mask.contains([1, 1, 2, 2], [0, 2**32 - 1, 0, 4]).tolist() == [True, True, True, False]


def test_empty() -> None:
    mask = RunMask.from_ranges({})
    assert not mask
    assert mask.contains([1], [1]).tolist() == [False]
    assert mask.to_json() == "{}\n"


@pytest.mark.parametrize("pair", [[5, 3], [-1, 3], [1], [1, 2, 3], [], [-2], [0, 2**32]])
def test_what_is_no_range(pair: list[int]) -> None:
    with pytest.raises(UsageError, match=r"run 5: .* is not an LS range"):
        RunMask.from_ranges({5: [pair]})


@pytest.mark.parametrize("text", ["", "[]", '{"a": [[1, 2]]}', '{"1": [[2, 1]]}', '{"1": 3}', "3", '{"1": [["x", 2]]}'])
def test_what_is_no_run_list(tmp_path: Path, text: str) -> None:
    path = tmp_path / "golden.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"golden\.json: "):
        RunMask.from_json(path)


def test_absent_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        RunMask.from_json(tmp_path / "absent.json")
    with pytest.raises(InputError, match="No such file"):
        read_reference_runs(tmp_path / "absent.json")


@given(st.dictionaries(st.integers(1, 10**6), st.integers(1, 10**6)))
def test_reference_runs(tmp_path_factory: pytest.TempPathFactory, references: dict[int, int]) -> None:
    path = tmp_path_factory.mktemp("runs", numbered=True) / "reference.json"
    path.write_text(reference_runs_json(references))
    assert read_reference_runs(path) == references


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "not a list of reference runs"),
        ('[{"run_number": 5}]', "KeyError 'reference_run_number'"),
        ("[3]", "not a list of reference runs"),
        (
            '[{"run_number": 5, "reference_run_number": 3}, {"run_number": 5, "reference_run_number": 4}]',
            "two reference",
        ),
    ],
)
def test_what_is_no_list_of_reference_runs(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "reference.json"
    path.write_text(text)
    with pytest.raises(InputError, match=what):
        read_reference_runs(path)


def test_real_json(real_data: Path) -> None:
    golden = RunMask.from_json(real_data / "json" / "json_GOLDEN_2017.txt")
    dcs = RunMask.from_json(real_data / "json" / "json_DCSONLY_2017.txt")
    for path, mask in (("json_GOLDEN_2017.txt", golden), ("json_DCSONLY_2017.txt", dcs)):
        raw = json.loads((real_data / "json" / path).read_text())
        for run, pairs in raw.items():
            for first, last in pairs:
                assert mask.contains([int(run)] * 2, [first, last]).all()
    assert dcs.runs.size > golden.runs.size > 400
