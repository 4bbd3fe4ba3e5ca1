"""Resampling: like the originals, seeded, in one to three dimensions."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from series import counts, profile

import dqmroot as dq
from dqmroot.errors import EmptySelectionError, UnknownNameError, UsageError
from dqmroot.resampling import METHODS


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_resampled_are_like_the_originals(method: str, n_axes: int) -> None:
    me = counts(30, n_axes, mean=200)
    made = dq.resample(me, 50, method, seed=3)
    assert made.contents.shape == (50, *me.contents.shape[1:])
    assert made.contents.dtype == np.float32
    assert len(np.unique(made.keys)) == 50
    np.testing.assert_allclose(made.values().mean(), me.values().mean(), rtol=0.05)
    np.testing.assert_allclose(made.entries, made.contents.sum(axis=tuple(range(1, n_axes + 1))), rtol=1e-6)
    np.testing.assert_array_equal(dq.resample(me, 50, method, seed=3).contents, made.contents)
    assert not np.array_equal(dq.resample(me, 50, method, seed=4).contents, made.contents)
    whole = dq.resample(me, 5, method, counts=True, seed=3)
    np.testing.assert_array_equal(whole.contents, np.floor(whole.contents))
    assert (whole.contents >= 0).all()


THREADS = """
import hashlib
import numpy as np
import dqmroot as dq
from dqmroot.kernels import rows
from dqmroot.resampling import METHODS
rows._WORTH_A_THREAD = 1
contents = np.random.default_rng(1).poisson(50, (601, 62, 54)).astype("f8")
axes = (dq.Axis(52, 0, 1), dq.Axis(60, 0, 1))
flat = dq.MonitorElement("m", "TH2D", axes, np.ones(601), np.arange(601), np.ones(601), contents)
line = dq.MonitorElement("l", "TH1D", axes[:1], np.ones(601), np.arange(601), np.ones(601), contents[:, 7])
for me in (flat, line):
    for method in METHODS:
        for counts in (False, True):
            made = dq.resample(me, 101, method, counts=counts, seed=3)
            print(method, counts, hashlib.sha256(made.contents.tobytes() + made.entries.tobytes()).hexdigest())
"""


def test_the_number_of_threads_changes_nothing() -> None:
    found = []
    for n in ("1", "2"):
        names = ("DQMROOT_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
        environment = {**os.environ, **dict.fromkeys(names, n)}
        done = subprocess.run(
            [sys.executable, "-c", THREADS], env=environment, capture_output=True, text=True, check=True
        )
        found.append(done.stdout.splitlines())
    assert len(found[0]) == 4 * len(METHODS)
    assert found[0] == found[1]


def test_each_method_does_what_its_name_says() -> None:
    me = counts(30, 1, mean=1000)
    values = me.values()
    relative = dq.resample(me[:1], 3000, "white", width=0.1, seed=1).values() / values[0]
    assert relative.std() == pytest.approx(0.1, rel=0.03)
    waves = dq.resample(me[:1], 3000, "fourier", width=0.1, seed=1).values() / values[0] - 1
    assert waves.std() == pytest.approx(0.1, rel=0.1)
    steps = np.diff(waves, axis=1).std() / waves.std()
    assert steps < 0.6  # slow: neighbours go together
    bins = dq.resample(me, 200, "bins", seed=1).values()
    assert all(np.isin(bins[:, i], values[:, i]).all() for i in range(12))
    mixed = dq.resample(me, 200, "combine", seed=1).values()
    assert (mixed <= values.max(axis=0) + 1e-3).all()
    assert mixed.std(axis=0).mean() < 0.5 * values.std(axis=0).mean()
    sampled = dq.resample(me[:1], 3000, "sample", seed=1).values()
    np.testing.assert_allclose(sampled.var(axis=0) / values[0], 1, atol=0.15)


def test_similar_are_found_by_scaled_moments() -> None:
    me = counts(20, 1, mean=100)
    contents = me.contents.copy()
    contents[10:] = contents[10:] * np.linspace(0.5, 1.5, 14, dtype="f4")  # another shape
    me = me.replace(contents=np.round(contents))
    made = dq.resample(me, 100, "similar", nearest=3, seed=1).values()
    slope = np.polyfit(np.arange(12), (made / made.mean(axis=1, keepdims=True)).T, 1)[0]
    assert ((np.abs(slope) < 0.03) | (np.abs(slope - 0.077) < 0.03)).all()  # never a mixture of the two


def test_what_cannot_be_resampled_is_told() -> None:
    with pytest.raises(UnknownNameError, match="unknown method of resampling 'forier'; nearest: fourier"):
        dq.resample(counts(), 3, "forier")
    with pytest.raises(UsageError, match="not for a TProfile"):
        dq.resample(profile(), 3)
    with pytest.raises(UsageError, match="n = 0"):
        dq.resample(counts(), 0)
    with pytest.raises(UsageError, match="negative contents"):
        dq.resample(counts().replace(contents=-counts().contents), 3)
    with pytest.raises(EmptySelectionError, match="no lumisection with contents"):
        dq.resample(counts().replace(contents=0 * counts().contents), 3)
