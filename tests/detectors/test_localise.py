"""Clusters of bad bins and coincidences across depths."""

from __future__ import annotations

import numpy as np
import pytest

from dqmroot.detectors import detector
from dqmroot.detectors.localise import Cluster, clusters, coincidence
from dqmroot.errors import UsageError
from dqmroot.evaluate import overlap


def test_neighbours_make_one_cluster() -> None:
    badness = np.zeros((2, 6, 8))
    badness[0, 1:3, 2:4] = 5
    badness[0, 3, 4] = 9  # touches at a corner
    badness[0, 5, 7] = 7
    badness[1, 0, 0] = np.nan
    found = clusters(badness, 3)
    assert [(c.ls, c.size, c.low, c.high, c.peak) for c in found] == [
        (0, 5, (1, 2), (3, 4), 9.0), (0, 1, (5, 7), (5, 7), 7.0),
    ]  # fmt: skip
    assert found[0].centre == pytest.approx(((1 * 10 + 2 * 10 + 3 * 9) / 29, (2 * 10 + 3 * 10 + 4 * 9) / 29))
    assert len(clusters(badness, 3, smallest=2)) == 1
    assert clusters(badness, 100) == []


def test_axes_may_close_on_themselves() -> None:
    badness = np.zeros((1, 6, 8))
    badness[0, [0, 5], 3] = 1
    assert len(clusters(badness, 0.5)) == 2
    (joined,) = clusters(badness, 0.5, around=[0])
    assert isinstance(joined, Cluster)
    assert joined.size == 2
    with pytest.raises(UsageError, match="the histogram has 2"):
        clusters(badness, 0.5, around=[2])


def test_coincidence() -> None:
    bad = np.zeros((3, 1, 2, 2), bool)
    bad[:2, 0, 0, 0] = bad[2, 0, 1, 1] = True
    np.testing.assert_array_equal(coincidence(bad)[0], [[True, False], [False, False]])
    with pytest.raises(UsageError, match="at least 4"):
        coincidence(bad, 4)


def test_a_dead_region_is_found_where_it_is(sample, fault) -> None:
    clean = sample(2, 200, 20, seed=4)
    broken = fault(clean, "dead", 4)
    made = detector("likelihood_scan").fit(sample(2, 200))
    truth = broken.values() != clean.values()
    found = made.score_bins(broken) > 8
    assert np.nanmedian(overlap(truth, found)) > 0.9
    assert len(clusters(made.score_bins(broken), 8, smallest=8)) >= 18
