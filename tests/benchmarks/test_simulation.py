"""The simulated maps are held against fixed numbers of the real ones: ten lumisections of HCAL DigiTask occupancy, depth 1."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "simulation.py"
spec = importlib.util.spec_from_file_location("simulation", PATH)
assert spec is not None
assert spec.loader is not None
simulation = importlib.util.module_from_spec(spec)
sys.modules["simulation"] = simulation
spec.loader.exec_module(simulation)

REAL_QUANTILES = {0.01: 0.0963, 0.05: 0.157, 0.25: 0.2819, 0.5: 0.485, 0.75: 0.8897, 0.95: 1.0}


@pytest.fixture(scope="module", params=[0, 1, 2])
def maps(request):
    return simulation.simulate(1, 40, seed=request.param, cut=False)


def test_cells_are_like_the_real_ones(maps) -> None:
    p = maps.p[0]
    assert (p > 0).mean() == pytest.approx(0.7235, abs=0.01)
    for quantile, value in REAL_QUANTILES.items():
        assert np.quantile(p[p > 0], quantile) == pytest.approx(value, abs=0.035)
    assert (p[p > 0] > 0.98).mean() == pytest.approx(0.21, abs=0.025)


def test_cut_of_the_first_study_is_like_the_real_one(maps) -> None:
    p = maps.p[0][:, simulation.CUT]
    assert (p > 0).mean() == pytest.approx(0.9974, abs=0.004)
    assert np.quantile(p[p > 0], [0.05, 0.5, 0.95]) == pytest.approx([0.165, 0.382, 0.685], abs=0.025)


def test_counts_scatter_as_the_real_ones(maps) -> None:
    live = maps.p[0] > 0
    expected = maps.events[:, None] * maps.p[:, live]
    ratio = np.square(maps.counts[:, live] - expected).mean(axis=0) / expected.mean(axis=0)
    assert ratio.mean() == pytest.approx(0.448, abs=0.05)
    left = 1 - maps.p[0][live]
    assert (ratio[left > 0.02] / left[left > 0.02]).mean() == pytest.approx(1.0, abs=0.07)


def test_events_step_as_the_real_ones(maps) -> None:
    assert 1200 < maps.events.min() < 1400
    assert 1900 < maps.events.max() < 2150
    assert maps.events[20:].mean() / maps.events[:20].mean() == pytest.approx(1.41, abs=0.03)
    assert (maps.counts.reshape(40, -1).max(axis=1) == maps.events).all()


@pytest.mark.parametrize("name", list(simulation.CASES))
def test_faults_change_live_cells_only(name) -> None:
    good = simulation.simulate(1, 20, seed=5)
    case = simulation.CASES[name]
    for kind, sign in (("dead", -1), ("hot", 1)):
        counts, truth = simulation.break_maps(good, case, kind, seed=3)
        assert truth.reshape(20, -1).any(axis=1).all()
        assert (good.p[truth] > 0).all()
        np.testing.assert_array_equal(counts[~truth], good.counts[~truth])
        assert (counts <= good.events[:, None, None]).all()
        assert sign * (counts[truth].sum() - good.counts[truth].sum()) > 0
        again = simulation.break_maps(good, case, kind, seed=3)[0]
        np.testing.assert_array_equal(again, counts)


def test_low_statistics() -> None:
    maps = simulation.simulate(1, 50, seed=0, counts_per_cell=2.0)
    assert maps.counts[maps.p > 0].mean() == pytest.approx(2.0, rel=0.2)


def test_runs_are_others_with_another_number() -> None:
    first, second = simulation.simulate(1, 2, seed=0), simulation.simulate(1, 2, seed=0, first_run=2)
    assert not np.array_equal(first.p, second.p)
    assert np.abs(first.p[0] - second.p[0]).max() < 0.05
