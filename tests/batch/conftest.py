"""A small campaign, its models, and a cluster that all tests here share."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests_batch import make, train

from dqmroot.config import Campaign

MES = 5
RUNS, LUMIS, FILES = 3, 40, 20


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """3 runs × 40 LS × 5 MEs in 20 files; written in a process of its own, which is what ROOT likes best."""
    if importlib.util.find_spec("ROOT") is None:
        pytest.skip("needs ROOT")
    folder = tmp_path_factory.mktemp("campaign")
    script = Path(__file__).parents[2] / "benchmarks" / "make_campaign.py"
    sizes = {"runs": RUNS, "lumis": LUMIS, "mes": MES, "files": FILES}
    options = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    subprocess.run([sys.executable, "-W", "ignore", str(script), str(folder), *options], check=True)
    return sorted(folder.glob("*.root"))


@pytest.fixture(scope="session")
def models(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that learn in no time."""
    return train(files, tmp_path_factory.mktemp("models") / "models", detector_name="pca", working_point="mean_sigma=5")


@pytest.fixture(scope="session")
def scheduler() -> Iterator[str]:
    """Address of a running Dask scheduler with two workers."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def campaign(files: list[Path], models: Path, scheduler: str, tmp_path: Path) -> Campaign:
    return make(files, models, tmp_path / "out", scheduler)


@pytest.fixture
def run() -> Callable[..., Any]:
    from dqmroot.batch.campaign import run_campaign

    return run_campaign
