"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import scipy.linalg  # noqa: F401 - before ROOT: tests use SciPy directly too, see dqmroot.scientific
from hypothesis import settings

# The same examples on every machine, however slow it is; HYPOTHESIS_PROFILE=search looks for new ones.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real CMS data that is not part of the project; the test is skipped where it is absent."""
    path = Path(os.environ.get("DQMROOT_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not path.is_dir():
        pytest.skip("no real data here (set DQMROOT_DATA)")
    return path
