"""Basket kernels beside plain Python on bytes that ROOT wrote."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
import rootfiles
from hypothesis import given, settings
from hypothesis import strategies as st
from nanochecks import ONE, TWO, plain
from numpy.typing import NDArray

from dqmroot.io.nanodqmio.layout import STORAGES, Storage, histogram_block
from dqmroot.io.nanodqmio.trees import open_file
from dqmroot.io.storage.inflate import Inflater
from dqmroot.kernels import baskets as kernels
from dqmroot.kernels.bytes import be16, be32, be64, bef64
from dqmroot.kernels.names import index_names, rehash

KINDS = [*ONE, *TWO, "TH3F", "TProfile", "TProfile2D"]


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Storage, bool, bytes]]:
    """The bytes of one entry of each class."""
    ROOT = rootfiles.root()
    path: Path = tmp_path_factory.mktemp("kernels") / "one.root"
    with rootfiles.writer(path, 0) as out:
        out.begin(1, 1)
        for kind in KINDS:
            h = plain(ROOT, kind)
            h.GetXaxis().SetBinLabel(1, "label")
            if kind != "TH1F":
                h.Sumw2()
            out.add(kind, h)
        out.end()
    file = open_file(str(path))
    found = {}
    for tree, one in file.trees.items():
        payload = one.values.payload(0, one.values.load(file.source, [0])[0], Inflater())
        found[tree[:-1]] = (STORAGES[tree], one.header, payload.data[: payload.border].tobytes())
    return found


def run(
    storage: Storage, header: bool, data: bytes, start: int = 0, stop: int | None = None
) -> tuple[int, Any, Any, Any]:
    raw = np.frombuffer(data, np.uint8)
    found, where, seen = np.zeros(8, np.int64), np.zeros(5, np.int64), np.zeros(1)
    name = np.frombuffer(storage.name.encode(), np.uint8)
    stop = len(data) if stop is None else stop
    status = kernels.locate(raw, start, stop, storage.shape(header=header), name, found, seen, 0, where)
    return status, found, where, seen


@pytest.mark.parametrize("kind", KINDS)
def test_locate_finds_what_plain_python_finds(entries: Any, kind: str) -> None:
    storage, header, raw = entries[kind]
    status, found, where, seen = run(storage, header, raw)
    parts = histogram_block(raw, storage, header=header)
    assert status == kernels.OK
    assert seen[0] == parts.entries
    assert found[kernels.N] == len(parts.contents)
    assert found[kernels.N_SUMW2] == len(parts.sumw2)

    def numbers(at: int, n: int, dtype: Any) -> NDArray[Any]:
        return np.frombuffer(raw[at + 4 : at + 4 + n * dtype.itemsize], dtype.newbyteorder(">")).astype(dtype)

    assert np.array_equal(numbers(where[0], len(parts.contents), storage.dtype), parts.contents)
    assert np.array_equal(numbers(where[1], len(parts.sumw2), np.dtype("f8")), parts.sumw2)
    if parts.bin_entries is not None:
        assert np.array_equal(numbers(where[2], len(parts.bin_entries), np.dtype("f8")), parts.bin_entries)


@pytest.mark.parametrize("kind", KINDS)
def test_no_cut_entry_is_taken_for_whole(entries: Any, kind: str) -> None:
    storage, header, raw = entries[kind]
    for stop in range(len(raw)):
        assert run(storage, header, raw, 0, stop)[0] != kernels.OK
    # Bytes before and after an entry do not matter.
    assert run(storage, header, b"\xff" * 7 + raw + b"\xff" * 9, 7, 7 + len(raw))[0] == kernels.OK


@pytest.mark.parametrize("kind", KINDS)
def test_fingerprints_tell_bins_and_labels(entries: Any, kind: str) -> None:
    storage, header, raw = entries[kind]
    _, found, _, _ = run(storage, header, raw)
    other = raw.replace(b"\5label", b"\5lebal")
    assert other != raw
    _, changed, _, _ = run(storage, header, other)
    assert changed[kernels.BINS] == found[kernels.BINS]
    assert changed[kernels.LABELS] != found[kernels.LABELS]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_word_may_be_wrong(entries: Any, data: st.DataObject) -> None:
    storage, header, raw = entries[data.draw(st.sampled_from(KINDS))]
    at = data.draw(st.integers(0, len(raw) - 4))
    word = data.draw(
        st.sampled_from([0, 1, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x40000000, 0x7FFFFFF0]) | st.integers(0, 2**32 - 1)
    )
    changed = raw[:at] + word.to_bytes(4, "big") + raw[at + 4 :]
    status, found, where, _ = run(storage, header, changed)
    assert 0 <= status <= kernels.BUFFERED
    if status == kernels.OK:
        assert 0 <= where[0] <= len(raw) - 4 - found[kernels.N] * storage.dtype.itemsize


@pytest.mark.parametrize(("load", "size"), [(be16, 2), (be32, 4), (be64, 8)])
def test_big_endian_words(load: Any, size: int) -> None:
    @numba.njit  # not kept on disk: each load is another function of one name
    def at(data: Any, position: Any) -> Any:
        return load(data, position)

    raw = bytes(range(250, 256)) + bytes(range(20))
    data = np.frombuffer(raw, np.uint8)
    for position in range(len(raw) - size + 1):
        assert at(data, position) == int.from_bytes(raw[position : position + size], "big")


def test_big_endian_float() -> None:
    data = np.frombuffer(np.array([1.5, -np.pi, np.inf], ">f8").tobytes(), np.uint8)
    assert [bef64(data, 8 * i) for i in range(3)] == [1.5, -np.pi, np.inf]


@settings(max_examples=100, deadline=None)
@given(
    names=st.lists(st.sampled_from(["a", "b/c", "", "x" * 254, "y" * 255, "z" * 300, "a" * 8, "a" * 9]), max_size=60)
)
def test_names_are_numbered_in_order_of_appearance(names: list[str]) -> None:
    texts = [name.encode() for name in names]
    packed = [(bytes([len(t)]) if len(t) < 255 else b"\xff" + len(t).to_bytes(4, "big")) + t for t in texts]
    starts = np.cumsum([0, *map(len, packed)])
    table = np.concatenate([[len(texts) + 1], starts[:-1] + 70, [0]]).astype(">u4")
    data = np.frombuffer(b"".join(packed) + table.tobytes(), np.uint8)
    border, n = int(starts[-1]), len(texts)
    ids = np.empty(n, np.int32)
    pool, ends, after = np.empty(border + 1, np.uint8), np.zeros(n + 2, np.int64), np.full(n + 2, -1, np.int32)
    slots, state = np.full(256, -1, np.int32), np.array([0, -1])
    assert index_names(data, border, 70, n, ids, pool, ends, after, slots, state) == -1
    order = list(dict.fromkeys(texts))
    assert ids.tolist() == [order.index(t) for t in texts]
    assert [pool[a:b].tobytes() for a, b in itertools.pairwise(ends[: state[0] + 1])] == order
    again = np.full(512, -1, np.int32)
    rehash(pool, ends, state[0], again)
    assert sorted(again[again >= 0].tolist()) == list(range(len(order)))


def test_names_that_do_not_fit_are_told() -> None:
    raw = b"\3abc\5xyz"
    data = np.frombuffer(raw + np.array([3, 0, 4, 0], ">u4").tobytes(), np.uint8)
    ids = np.empty(2, np.int32)
    rest = (np.empty(99, np.uint8), np.zeros(9, np.int64), np.full(9, -1, np.int32), np.full(16, -1, np.int32))
    assert index_names(data, 8, 0, 2, ids, *rest, np.array([0, -1])) == 1
    assert index_names(data, 99, 0, 2, ids, *rest, np.array([0, -1])) == 0
