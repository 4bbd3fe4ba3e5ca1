"""Simulated good lumisections for the detector tests, of three runs that differ as good runs do, and known faults in them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from dqmroot import Axis, MonitorElement, inject

SHAPES = {1: (60,), 2: (16, 24)}


def spectrum(scale: float, n_bins: int = 60) -> NDArray[np.float64]:
    """A Landau-like spectrum of mean 1; ``scale`` stretches its axis, as a drift of the charge scale does."""
    x = (np.arange(n_bins) + 0.5) / (n_bins / 10) / scale
    shape = np.exp(-0.5 * ((x - 3) / 0.8 + np.exp(-(x - 3) / 0.8))) / scale + 0.01
    return np.asarray(shape / shape.mean())


def occupancy(shape: tuple[int, int] = (16, 24)) -> NDArray[np.float64]:
    """An occupancy map of mean 1 over its live cells: a profile in x, a texture, and holes that are always there."""
    place = np.random.default_rng(7)
    profile = 0.6 + np.abs(np.linspace(-1, 1, shape[1]))
    out = profile * place.uniform(0.8, 1.2, shape)
    out[:, shape[1] // 2] = 0
    out[place.random(shape) < 0.03] = 0
    return np.asarray(out / out[out > 0].mean())


def good_sample(ndim: int, counts: float, n_ls: int = 60, seed: int = 0) -> MonitorElement:
    """Good LS of three runs: Poisson counts around a shape, whose scale and rate differ a little from run to run and LS to LS."""
    rng = np.random.default_rng(seed)
    run = np.repeat([1, 2, 3], -(-n_ls // 3))[:n_ls]
    drift = {1: 0.99, 2: 1.0, 3: 1.01}
    rate = counts * rng.uniform(0.9, 1.1, n_ls)
    if ndim == 1:
        shapes = np.array([spectrum(drift[int(r)]) for r in run])
        axes = (Axis(60, 0, 10),)
    else:
        shapes = np.broadcast_to(occupancy(), (n_ls, 16, 24))
        axes = (Axis(24, -12, 12), Axis(16, 0, 16))
    content = rng.poisson(shapes * rate.reshape(-1, *[1] * ndim)).astype(np.float32)
    padded = np.pad(content, [(0, 0), *[(1, 1)] * ndim])
    lumi = np.concatenate([np.arange(1, (run == r).sum() + 1) for r in (1, 2, 3)])
    entries = content.reshape(n_ls, -1).sum(axis=1)
    return MonitorElement("Sim/good", f"TH{ndim}F", axes, run, lumi, entries, padded, conditions={"rate": rate})


def with_fault(good: MonitorElement, fault: str, size: int, seed: int = 1) -> MonitorElement:
    """The same LS with a fault of `dqmroot.inject` in each, at a place of its own, always where there are counts."""
    if fault == "scaled":
        return inject(good, fault, amount=1.1, seed=seed).series
    rng = np.random.default_rng(seed)
    total = good.values().sum(axis=0)
    contents = good.contents.copy()
    for i in range(len(good)):
        while True:
            corner = [int(rng.integers(0, n - size + 1)) for n in total.shape]
            where = tuple(slice(c, c + size) for c in corner)
            if total[where].mean() > 0.5 * total[total > 0].mean():
                break
        more = {"amount": 2.0} if fault == "hot" else {}
        place = {"size": [size] * len(corner), "place": corner[::-1], "where": "region", "seed": seed + i}
        contents[i] = inject(good[i : i + 1], fault, **place, **more).contents[0]
    return good.replace(contents=contents)


def prepared(me: MonitorElement, kind: str) -> MonitorElement:
    """What a detector takes: the counts, or each LS divided by its sum."""
    if kind == "counts":
        return me
    total = me.values().reshape(len(me), -1).sum(axis=1).reshape(-1, *[1] * len(me.axes))
    return me.replace(contents=(me.contents / total).astype(np.float32))


Sampler = Callable[..., MonitorElement]


@pytest.fixture(scope="session")
def sample() -> Sampler:
    return good_sample


@pytest.fixture(scope="session")
def fault() -> Sampler:
    return with_fault


@pytest.fixture(scope="session")
def prepare() -> Sampler:
    return prepared
