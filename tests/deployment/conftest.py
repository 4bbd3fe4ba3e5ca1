"""Simulated lumisections of a spectrum, a map and a profile, with empty and NaN ones among them."""

from __future__ import annotations

import numpy as np
import pytest

from dqmroot import Axis, MonitorElement


def _series(
    name: str, storage: str, axes: tuple[Axis, ...], contents: np.ndarray, **more: np.ndarray
) -> MonitorElement:
    n = len(contents)
    run = np.repeat([7, 8], [n - n // 3, n // 3])
    lumi = np.arange(1, n + 1)
    entries = contents.reshape(n, -1).sum(axis=1)
    conditions = {"pileup": np.linspace(20, 60, n)}
    return MonitorElement(name, storage, axes, run, lumi, entries, contents, conditions=conditions, **more)


def _counts(shape: tuple[int, ...], seed: int, n: int = 60) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mean = 80 * (1 + 0.5 * np.sin(np.arange(np.prod(shape)))).reshape(shape)
    return rng.poisson(mean * rng.uniform(0.8, 1.2, (n, *[1] * len(shape)))).astype(np.float32)


@pytest.fixture(scope="session")
def spectrum() -> MonitorElement:
    """60 LS of 24 bins; flow bins are filled."""
    return _series("Sim/spectrum", "TH1F", (Axis(24, 0, 12),), _counts((26,), 1))


@pytest.fixture(scope="session")
def occupancy() -> MonitorElement:
    """60 LS of a map of 24 × 16 bins, a column of which is always empty."""
    contents = _counts((18, 26), 2)
    contents[:, :, 5] = 0
    return _series("Sim/map", "TH2F", (Axis(24, -12, 12), Axis(16, 0, 16)), contents)


@pytest.fixture(scope="session")
def profile() -> MonitorElement:
    """60 LS of a profile of 24 bins, one of which is always empty."""
    weight = _counts((26,), 3).astype(np.float64)
    weight[:, 4] = 0
    mean = 5 + np.sin(np.arange(26)) + np.random.default_rng(4).normal(0, 0.05, weight.shape)
    return _series(
        "Sim/profile", "TProfile", (Axis(24, 0, 12),), weight * mean, bin_entries=weight, sumw2=weight * (mean**2 + 0.1)
    )
