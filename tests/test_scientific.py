"""SciPy beside ROOT: the same numbers in a process with ROOT and in one without."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

SCORES = """
import sys
{first}
import numpy as np
{then}
import dqmroot as dq
x = np.random.default_rng(0).normal(5, 1, (80, 6, 8))
found = dq.detector("pca", components=2).fit(x).score(x)
assert ("ROOT" in sys.modules) == {root}
print(found.tobytes().hex())
"""


def scores(first: str, then: str) -> np.ndarray:
    code = SCORES.format(first=first, then=then, root="ROOT" in first + then)
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert told.returncode == 0, told.stderr[-2000:]
    return np.frombuffer(bytes.fromhex(told.stdout.strip()))


@pytest.mark.skipif(not hasattr(os, "RTLD_DEEPBIND"), reason="the clash is one of Linux")
@pytest.mark.parametrize(
    ("first", "then"),
    [("import ROOT", "ROOT.TH1F('h', '', 3, 0, 3).Fill(1)"), ("", "import ROOT; ROOT.TH1F('h', '', 3, 0, 3).Fill(1)")],
    ids=["before NumPy", "after NumPy"],
)
def test_root_changes_no_number(first: str, then: str) -> None:
    np.testing.assert_allclose(scores(first, then), scores("", ""), rtol=1e-12)


AFTER_TENSORFLOW = """
from dqmroot.detectors.backend import load_keras
load_keras()
import dqmroot.io.storage.remote as remote
from dqmroot.errors import InputError
remote.TIMEOUT = 1
try:
    remote.XRootDSource("root://127.0.0.1:1//nowhere.root")
except InputError:
    print("told")
"""


def test_xrootd_lives_beside_tensorflow() -> None:
    if importlib.util.find_spec("XRootD") is None:
        pytest.skip("no XRootD client installed")
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", AFTER_TENSORFLOW],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (told.returncode, told.stdout.strip()) == (0, "told"), told.stderr[-2000:]
