"""Which lumisections keep their pictures, and that the pictures are theirs."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from samples import spectrum, trained

from dqmroot.examples import choose_examples, collect_examples, reference_by_run
from dqmroot.series import concatenate


def choose(text: str, score: list[float] | None = None, most: int = 100) -> list[int]:
    """Rows chosen of one run, drawn as `.` good and `B` bad."""
    flag = np.array([letter == "B" for letter in text], np.int8)
    scores = np.arange(len(text), dtype=float) if score is None else np.array(score)
    return choose_examples(np.ones(len(text), np.uint32), scores, flag, most).tolist()


def test_bad_ones_with_neighbours() -> None:
    assert choose(".....") == []
    assert choose("..B..") == [1, 2, 3]
    assert choose("B...B") == [0, 1, 3, 4]


def test_each_stretch_comes_before_a_second_of_the_same() -> None:
    text, score = "..BBBBB......B..", [0, 0, 5, 9, 8, 7, 6, 0, 0, 0, 0, 0, 0, 2, 0, 0]
    assert choose(text, score, most=3) == [2, 3, 4]
    assert choose(text, score, most=6) == [2, 3, 4, 12, 13, 14]
    assert choose(text, score, most=1) == [3]


def test_neighbours_are_of_the_same_run() -> None:
    run = np.array([1, 1, 2, 2], np.uint32)
    assert choose_examples(run, np.ones(4), np.array([0, 1, 0, 0], np.int8), 10).tolist() == [0, 1]


@given(st.lists(st.integers(-1, 1), max_size=60), st.integers(1, 20))
def test_any_flags(flags: list[int], most: int) -> None:
    flag = np.array(flags, np.int8)
    rows = choose_examples(np.ones(len(flag), np.uint32), np.random.default_rng(1).random(len(flag)), flag, most)
    assert len(rows) <= most
    assert (np.diff(rows) > 0).all()
    assert (len(rows) > 0) == (flag == 1).any()
    for row in rows:
        assert (flag[max(0, row - 1) : row + 2] == 1).any()


def test_pictures_are_those_of_the_lumisection() -> None:
    me = concatenate([spectrum({6: 20}, seed=9), spectrum({7: 3}, mean=14)])
    model = trained()
    score = model.score(me)
    flag = np.zeros(23, np.int8)
    flag[[20, 21, 22]] = 1
    kept = collect_examples(me, model, score, flag)
    assert kept is not None
    assert kept.run.tolist() == [7, 7, 7]
    assert np.array_equal(kept.original, me.values()[20:])
    assert np.allclose(kept.loss, model.score_bins(me)[20:])
    assert np.allclose(kept.reconstruction, model.reconstruct(me)[20:])
    reference = reference_by_run(me, flag)
    assert np.allclose(reference[6], me.values()[:20].mean(axis=0))
    assert np.array_equal(reference[7], reference[6])
    assert reference_by_run(me, np.ones(23, np.int8)) == {}
    assert collect_examples(me, model, score, np.zeros(23, np.int8)) is None
