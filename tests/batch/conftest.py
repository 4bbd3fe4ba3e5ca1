"""A cluster that all tests here share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from campaign_fixtures import files, models
from tests_batch import make

from dqmroot.config import Campaign

__all__ = ["files", "models"]


@pytest.fixture(scope="session")
def scheduler() -> Iterator[str]:
    """Address of a running Dask scheduler with two workers."""
    import dask
    from distributed import LocalCluster

    # A task that kills its worker is given up after the second.
    few = dask.config.set({"distributed.scheduler.allowed-failures": 1})
    with few, LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def campaign(files: list[Path], models: Path, scheduler: str, tmp_path: Path) -> Campaign:
    return make(files, models, tmp_path / "out", scheduler)


@pytest.fixture
def run() -> Callable[..., Any]:
    from dqmroot.batch.campaign import run_campaign

    return run_campaign
