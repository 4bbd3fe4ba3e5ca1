"""The records of trees, beside what uproot builds of them, and damaged ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rootfiles
import uproot
from hypothesis import given
from hypothesis import strategies as st
from nanochecks import check, plain

from dqmroot.io.nanodqmio import trees
from dqmroot.io.nanodqmio.treerecord import BranchRecord, TreeRecord, parse_tree, record_of

NAMES = {"Run", "Lumi", "Type", "FirstIndex", "LastIndex", "FullName", "Flags", "Value"}


def raw_record(top: Any, name: str) -> tuple[bytes, int]:
    key = top.key(name)
    chunk, _ = key.get_uncompressed_chunk_cursor()
    return np.asarray(chunk.raw_data, np.uint8).tobytes(), key.fKeylen


def same(one: BranchRecord, other: BranchRecord) -> bool:
    """Whether two records say the same of the baskets."""
    numbers = all(
        np.array_equal(getattr(one, field), getattr(other, field))
        for field in ("name", "classname", "n_entries", "total_bytes", "seek", "nbytes", "first")
    )
    inside = [
        (mine.data.tobytes(), mine.border, mine.key_length, mine.n_entries)
        == (theirs.data.tobytes(), theirs.border, theirs.key_length, theirs.n_entries)
        for mine, theirs in zip(one.embedded, other.embedded, strict=True)
    ]
    return numbers and all(inside)


def write(path: Path, compression: int, *, basket: int = 4000, closed: bool = True, lumis: int = 12) -> Path:
    ROOT = rootfiles.root()
    with rootfiles.writer(path, compression) as out:
        for name in ("TH1Fs", "TH2Fs"):
            out.trees[name].GetBranch("Value").SetBasketSize(basket)
        out.trees["TProfiles"].SetAutoFlush(3)
        for lumi in range(1, lumis + 1):
            out.begin(1, lumi)
            for kind in ("TH1F", "TH2F", "TProfile"):
                out.add(kind, plain(ROOT, kind, seed=lumi))
            out.end()
        if not closed:
            for tree in (out.indices, *(out.trees[name] for name in ("TH1Fs", "TH2Fs", "TProfiles"))):
                tree.AutoSave("SaveSelf")
        copy = path.read_bytes() if not closed else b""
    if not closed:
        path.write_bytes(copy)
    return path


@pytest.mark.parametrize("compression", [0, 101, 207, 404, 505])
@pytest.mark.parametrize("closed", [True, False])
def test_records_equal_those_of_uproot(tmp_path: Path, compression: int, closed: bool) -> None:
    path, found = write(tmp_path / "x.root", compression, closed=closed), 0
    with uproot.open(path) as top:
        for name in top.keys(cycle=False):
            mine, theirs = parse_tree(*raw_record(top, name)), record_of(top[name], NAMES)
            assert mine is not None
            assert (mine.name, mine.n_entries) == (theirs.name, theirs.n_entries)
            assert list(mine.branches) == [branch.name for branch in top[name].branches]
            for branch in theirs.branches:
                said = mine.branches[branch]
                used = said if theirs.branches[branch].embedded else dataclasses.replace(said, embedded=())
                assert same(used, theirs.branches[branch]), (name, branch)
                found += len(used.embedded)
    assert bool(found) is not closed


def test_real_records_equal_those_of_uproot(real_data: Path) -> None:
    paths = sorted(real_data.glob("**/nanoDQMIO_*.root"))[:4]
    for path in paths:
        with uproot.open(path) as top:
            for name in top.keys(cycle=False):
                mine, theirs = parse_tree(*raw_record(top, name)), record_of(top[name], NAMES)
                assert mine is not None
                assert all(same(mine.branches[branch], said) for branch, said in theirs.branches.items())
    assert paths


def test_what_looks_different_goes_through_uproot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.root", 101, closed=False)
    built: list[str] = []

    def refuse(data: bytes, key_length: int) -> None:
        assert len(data) > key_length

    def told(tree: Any, names: Any) -> TreeRecord:
        built.append(tree.name)
        return record_of(tree, names)

    monkeypatch.setattr(trees, "parse_tree", refuse)
    monkeypatch.setattr(trees, "record_of", told)
    assert check(path) == 36
    assert {"Indices", "TH1Fs", "TH2Fs", "TProfiles"} <= set(built)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (5, 18),  # an older version of TTree
        (0, 0x41),  # a length beyond the end
        (0, 0),  # no length at all
    ],
)
def test_other_layouts_are_told(tmp_path: Path, place: int, value: int) -> None:
    with uproot.open(write(tmp_path / "x.root", 101)) as top:
        data, key_length = raw_record(top, "TH1Fs")
    assert parse_tree(data, key_length) is not None
    assert parse_tree(data[:place] + bytes([value]) + data[place + 1 :], key_length) is None
    assert parse_tree(data[: len(data) // 2], key_length) is None
    assert parse_tree(data, key_length + 1) is None  # references to classes lead nowhere


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[bytes, int]]:
    out = []
    for number, closed in enumerate((True, False)):
        path = write(tmp_path_factory.mktemp("records") / f"{number}.root", 101, closed=closed, lumis=2)
        with uproot.open(path) as top:
            out += [raw_record(top, name) for name in ("Indices", "TH1Fs")]
    return out


@given(which=st.integers(0, 3), changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8))
def test_damaged_records_are_refused_or_read(
    records: list[tuple[bytes, int]], which: int, changes: list[tuple[float, int]]
) -> None:
    data, key_length = records[which]
    damaged = bytearray(data)
    for place, value in changes:
        damaged[int(place * (len(damaged) - 1))] = value
    found = parse_tree(bytes(damaged), key_length)
    if bytes(damaged) == data:
        assert found is not None
    if found is not None:
        assert all(len(said.seek) == len(said.nbytes) == len(said.first) for said in found.branches.values())
