"""A small campaign and its models, for the tests of batch and watch."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from tests_batch import train

MES = 5
RUNS, LUMIS, FILES = 3, 40, 20


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """3 runs × 40 LS × 5 MEs in 20 files; written in a process of its own, which is what ROOT likes best."""
    if importlib.util.find_spec("ROOT") is None:
        pytest.skip("needs ROOT")
    folder = tmp_path_factory.mktemp("campaign")
    script = Path(__file__).parents[1] / "benchmarks" / "make_campaign.py"
    sizes = {"runs": RUNS, "lumis": LUMIS, "mes": MES, "files": FILES}
    options = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    subprocess.run([sys.executable, "-W", "ignore", str(script), str(folder), *options], check=True)
    return sorted(folder.glob("*.root"))


@pytest.fixture(scope="session")
def models(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that learn in no time."""
    return train(files, tmp_path_factory.mktemp("models") / "models", detector_name="pca", working_point="mean_sigma=5")
