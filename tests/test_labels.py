"""Labels: reading, looking up, and what is wrong with a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dqmroot.errors import InputError, UnknownNameError
from dqmroot.labels import Labels


def test_labels_are_looked_up_by_run_and_lumi(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("run,lumi,entries,good\n7,2,10,0\n5,1,10,1\n")
    labels = Labels.from_csv(path)
    np.testing.assert_array_equal(labels.look_up([5, 7, 7, 1], [1, 2, 1, 1]), [1, 0, -1, -1])


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    with pytest.raises(InputError, match=r"l.csv: No such file"):
        Labels.from_csv(path)
    path.write_text("run,lumi,good_pixel\n1,1,1\n")
    with pytest.raises(UnknownNameError, match="nearest: good_pixel"):
        Labels.from_csv(path, "good")
    path.write_text("run,lumi,good\n1,1,2\n")
    with pytest.raises(InputError, match="must hold 1"):
        Labels.from_csv(path)
    path.write_text("run,lumi,good\n1,x,1\n")
    with pytest.raises(InputError, match="not a table of numbers"):
        Labels.from_csv(path)
    path.write_text("")
    with pytest.raises(InputError, match="is empty"):
        Labels.from_csv(path)
    path.write_text("run,lumi,good\n")
    assert Labels.from_csv(path).look_up([1], [1]).tolist() == [-1]
