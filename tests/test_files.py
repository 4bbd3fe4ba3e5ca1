"""Files appear whole or not at all; names of monitoring elements become folders and come back."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqmroot.errors import OutputError
from dqmroot.files import folder_name, me_name, whole_file, whole_folder, write_text


@given(st.text(min_size=1, max_size=400))
def test_folder_names_come_back_and_stay_inside(me: str) -> None:
    name = folder_name(me)
    assert me_name(name) == me
    parts = name.split("/")
    assert all(part and part not in {".", ".."} and len(part.encode()) <= 121 for part in parts)
    assert "\0" not in name


@given(st.text(max_size=30), st.text(max_size=30))
def test_folder_names_do_not_collide(one: str, other: str) -> None:
    assert (folder_name(one) == folder_name(other)) == (one == other)


def test_a_failed_file_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")

    def fail() -> None:
        with whole_file(target) as temporary:
            temporary.write_text("half")
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        fail()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for text in ("one", "two"):
        with whole_folder(target) as temporary:
            (temporary / text).write_text(text)
    assert [path.name for path in target.iterdir()] == ["two"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_unwritable_places_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/a.txt: cannot be written"):
        write_text(tmp_path / "file" / "a.txt", "x")


def test_of_two_writers_one_wins_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    texts = [str(i) * 100_000 for i in range(8)]
    threads = [threading.Thread(target=write_text, args=(target, text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_text() in texts
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
