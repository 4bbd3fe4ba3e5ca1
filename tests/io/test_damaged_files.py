"""Damaged files of every kind: data or one error, never anything else. The long version is ``benchmarks/fuzz_files.py``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ROOT")


@pytest.fixture(scope="module")
def fuzz() -> Any:
    before = list(sys.path)
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    import fuzz_files

    sys.path[:] = before
    return fuzz_files


@pytest.fixture(scope="module")
def originals(fuzz: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("originals")
    fuzz.make(folder)
    return sorted(folder.iterdir())


def test_whole_files_are_read(fuzz: Any, originals: list[Path]) -> None:
    kinds = {"gui", "flat", "series", "cubes_run1", "table", "mask", "references", "conditions", "autodqm", "scores"}
    assert {path.stem.split("-")[0] for path in originals} == kinds
    assert {fuzz.read(path) for path in originals} == {"data"}


def test_damaged_files_give_data_or_one_error(fuzz: Any, originals: list[Path], tmp_path: Path) -> None:
    ends = []
    for i, path in enumerate(originals):
        whole = path.read_bytes()
        for k in range(12):
            way, raw = fuzz.mutate(path, whole, np.random.default_rng([i, k]))
            mutant = tmp_path / path.name
            mutant.write_bytes(raw)
            ends.append(fuzz.read(mutant))
            assert ends[-1] in {"data", "error"}, (path.name, way)
    assert set(ends) == {"data", "error"}


@pytest.mark.parametrize(
    ("name", "text"),
    [("mask.json", '{"1": [[1, 1e999]]}'), ("references.json", '[{"run_number": 1e999, "reference_run_number": 1}]')],
)
def test_what_the_long_version_found(fuzz: Any, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert fuzz.read(tmp_path / name) == "error"
