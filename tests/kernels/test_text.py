"""Numbers out of text against Python's own ``float``."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dqmroot.kernels.text import POWERS, parse_numbers


def parse(rows: list[bytes], room: int = 1000) -> tuple[list[list[float]], list[bytes]]:
    """The numbers of each row (NaN where left to the caller), and the words left to the caller."""
    text = np.frombuffer(b"".join(rows) + b" ", np.uint8)
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.uint64)
    out = np.full(len(text) // 2 + len(rows) + 1, np.inf)
    ends = np.empty(len(rows), np.int64)
    slow = np.empty((room, 3), np.uint64)
    left = parse_numbers(text, offsets, POWERS, slow, ends, out)
    assert np.isinf(out[ends[-1] if len(ends) else 0 :]).all(), "wrote beyond its end"
    words = [text[a:b].tobytes() for _, a, b in slow[: min(left, room)]]
    out[slow[: min(left, room), 0].astype(np.int64)] = np.nan
    starts = [0, *ends][: len(ends)]
    return [out[a:b].tolist() for a, b in zip(starts, ends, strict=True)], words


def test_dialects() -> None:
    rows = [
        b"[1, 2, 3]",
        b"[]",
        b"[ 1.  2.5\n -3. ]",
        b"[np.int64(16), np.float32(0.5)]",
        b"array([[1, 2], [3, 4]])",
        b"",
    ]
    assert parse(rows) == ([[1, 2, 3], [], [1, 2.5, -3], [16, 0.5], [1, 2, 3, 4], []], [])


@pytest.mark.parametrize(
    "word", [b"1e5", b"nan", b"-inf", b"...", b"-", b"1-2", b"12345678901234567", b"0x10", b"1_000"]
)
def test_what_is_left_to_the_caller(word: bytes) -> None:
    numbers, words = parse([b"[1, " + word + b", 2]"])
    assert words == [word]
    np.testing.assert_array_equal(numbers, [[1, np.nan, 2]])


def test_more_left_than_there_is_room_for() -> None:
    text = np.frombuffer(b"nan nan nan ", np.uint8)
    slow = np.zeros((2, 3), np.uint64)
    left = parse_numbers(text, np.array([0, 11], np.uint64), POWERS, slow, np.empty(1, np.int64), np.empty(9))
    assert left == 3
    assert slow.tolist() == [[0, 0, 3], [1, 4, 7]]


@given(st.lists(st.lists(st.decimals(-(10**9), 10**9, places=3) | st.integers(-(10**15) + 1, 10**15 - 1))))
def test_plain_numbers_are_the_nearest_double(rows: list[list[object]]) -> None:
    numbers, words = parse([f"[{', '.join(map(str, row))}]".encode() for row in rows])
    assert numbers == [[float(str(x)) for x in row] for row in rows]
    assert words == []


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=40), min_size=1))
def test_any_bytes_stay_inside(rows: list[bytes]) -> None:
    numbers, words = parse(rows)
    assert len(numbers) == len(rows)
    assert all(words)
