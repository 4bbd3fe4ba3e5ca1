"""Masks of known bad bins, given as files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import dqmroot as dq
from dqmroot.errors import InputError, UsageError

MASK = np.zeros((8, 12), bool)
MASK[2, 3] = MASK[5:7, 4:9] = True


def series() -> dq.MonitorElement:
    counts = np.random.default_rng(1).poisson(5, (4, 10, 14)).astype(np.float32)
    axes = (dq.Axis(12, 0, 12), dq.Axis(8, 0, 8))
    return dq.MonitorElement("Hcal/occupancy", "TH2F", axes, np.ones(4), np.arange(4), np.ones(4), counts)


def written(folder: Path, kind: str) -> Path:
    path = folder / f"hot{kind}"
    if kind == ".npy":
        np.save(path, MASK)
    elif kind == ".json":
        path.write_text(json.dumps(MASK.astype(int).tolist()))
    else:
        np.savetxt(path, MASK, fmt="%d", delimiter="," if kind == ".csv" else " ")
    return path


@pytest.mark.parametrize("kind", [".npy", ".json", ".txt", ".csv"])
def test_a_mask_comes_from_a_file_and_goes_with_the_model(tmp_path: Path, kind: str) -> None:
    path, me = written(tmp_path, kind), series()
    preparation = dq.Preparation.parse(f"mask_bins('{path}', fill=7) rebin(2, 2)")
    wanted = dq.Preparation([dq.mask_bins(MASK, 7), dq.rebin(2, 2)]).array(me)
    np.testing.assert_array_equal(preparation.array(me), wanted)
    np.testing.assert_array_equal(dq.Preparation.parse(str(preparation)).array(me), wanted)
    preparation.fit(me).save(tmp_path)
    path.unlink()
    np.testing.assert_array_equal(dq.Preparation.load(tmp_path).array(me), wanted)


def test_a_name_without_folders_needs_no_quotes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, ".npy")
    monkeypatch.chdir(tmp_path)
    (step,) = dq.Preparation.parse("mask_bins(hot.npy)").steps
    np.testing.assert_array_equal(dq.mask_bins(Path("hot.npy")).mask, MASK)
    assert str(step) == "mask_bins('hot.npy')"
    assert str(dq.mask_bins(MASK)) == "mask_bins(11 of (8, 12))"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.npy", None, r"none\.npy: No such file"),
        ("words.txt", "hot cold", r"words\.txt: not a mask of bins"),
        ("empty.txt", "", r"empty\.txt: not a mask of bins"),
        ("ragged.json", "[[0, 1], [1]]", r"ragged\.json: not a mask of bins"),
        ("broken.json", "[[0, 1", r"broken\.json: not a mask of bins"),
        ("counts.txt", "0 1 2", r"counts\.txt: a mask of bins is an array \(…, y, x\) of 0 and 1"),
    ],
)
def test_a_file_that_is_no_mask_is_told(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        dq.Preparation.parse(f"mask_bins('{tmp_path / name}')")


def test_pickles_are_not_read(tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(InputError, match=r"evil\.npy: not a mask of bins"):
        dq.mask_bins(tmp_path / "evil.npy")


def test_a_mask_of_another_shape_names_the_element_and_both_shapes() -> None:
    with pytest.raises(UsageError, match=r"Hcal/occupancy: a mask of shape \(12, 8\) for bins \(8, 12\)"):
        dq.mask_bins(MASK.T).apply(series())
