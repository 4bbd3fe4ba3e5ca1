"""Messages name what is nearest; errors travel between processes; each has its exit status."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path

import pytest

from dqmroot import errors
from dqmroot.errors import DQMError, InputError, MissingExtraError, UnknownNameError, nearest


def test_the_nearest_names_come_first() -> None:
    known = ["Hcal/DigiTask/Occupancy/depth/depth1", "Hcal/DigiTask/Occupancy/depth/depth2", "Csc/Size"]
    assert nearest("depth2", known)[0].endswith("depth2")
    assert nearest("Hcal/DigiTask/Ocupancy/depth/depth1", known)[0].endswith("depth1")
    assert nearest("zzzz", known) == []


def test_an_unknown_name_offers_others() -> None:
    assert "nearest: train" in str(UnknownNameError("verb", "trian", ["train", "score"]))
    assert "there are: a, b" in str(UnknownNameError("step", "qqqq", ["a", "b"]))
    assert "in f.root" in str(UnknownNameError("ME", "x", [], "f.root"))


def test_an_input_error_names_the_place_and_survives_pickling() -> None:
    error = InputError("f.root", "is short", "TH1Fs/Value", 7)
    assert str(error) == "f.root, TH1Fs/Value entry 7: is short"
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert again.entry == 7


def test_a_missing_extra_tells_the_install_line() -> None:
    assert "pip install 'dqmroot[root]'" in str(MissingExtraError("ROOT", "root"))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("UsageError", 2),
        ("EmptySelectionError", 2),
        ("InputError", 3),
        ("IncompleteError", 4),
        ("OutputError", 5),
        ("DQMError", 70),
    ],
)
def test_exit_codes(name: str, code: int) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, DQMError)
    assert kind.exit_code == code


def test_a_path_that_is_not_there_tells_what_is(tmp_path: Path) -> None:
    (tmp_path / "nano_355105.root").touch()
    missing = os.strerror(errno.ENOENT)
    error = InputError(tmp_path / "nano_355106.root", missing)
    assert str(error).endswith("No such file or directory; nearest: nano_355105.root")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(InputError(tmp_path / "a" / "b" / "c.root", missing)).endswith(f"(there is no folder {tmp_path}/a/b)")
    assert str(InputError(tmp_path / "xyz", missing)).endswith("No such file or directory")
    assert "nearest" not in str(InputError("root://host//nano_355106.root", missing))
