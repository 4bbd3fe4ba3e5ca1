"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real CMS data that is not part of the project; the test is skipped where it is absent."""
    path = Path(os.environ.get("DQMROOT_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not path.is_dir():
        pytest.skip("no real data here (set DQMROOT_DATA)")
    return path
