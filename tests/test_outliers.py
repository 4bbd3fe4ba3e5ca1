"""Outliers: what is unlike the rest goes, what is like it stays, in any number of axes."""

from __future__ import annotations

import numpy as np
import pytest
from series import counts, profile

import dqmroot as dq
from dqmroot.errors import UsageError
from dqmroot.io.ragged import from_series


@pytest.mark.parametrize("n_axes", [1, 2, 3])
@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "hot", "amount": 50, "where": "channel"},
        {"fault": "dead", "where": "half"},
        {"fault": "shifted", "amount": 2.0},
        {"fault": "degraded", "amount": 0.3, "where": "all"},
        {"fault": "lost_tail"},
    ],
    ids=lambda fault: str(fault["fault"]),
)
def test_what_is_unlike_the_others_goes(fault: dict[str, object], n_axes: int) -> None:
    me = counts(200, n_axes, mean=60)
    bad = dq.inject(me, **fault, share=0.05, seed=3)  # type: ignore[arg-type]
    assert 3 <= bad.faulty.sum() <= 20
    left = dq.remove_outliers(bad)
    np.testing.assert_array_equal(left.keys, me.keys[~bad.faulty])
    assert len(dq.remove_outliers(me)) == len(me)


def test_what_is_not_judged_goes_and_order_stays() -> None:
    me = counts(40, dtype="f8")
    contents = me.contents.copy()
    contents[3] = 0
    contents[7, 2, 3] = np.nan
    me = me.replace(contents=contents)[::-1]
    left = dq.remove_outliers(me)
    np.testing.assert_array_equal(left.keys, np.delete(me.keys, [40 - 1 - 3, 40 - 1 - 7]))
    assert len(dq.remove_outliers(me.replace(contents=0 * np.nan_to_num(contents)))) == 0
    for few in (0, 1, 2):
        assert len(dq.remove_outliers(counts(few))) == few


def test_a_profile_is_judged_by_its_mean_too() -> None:
    me = profile(60)
    contents = me.contents.copy()
    contents[11] *= 2
    left = dq.remove_outliers(me.replace(contents=contents))
    np.testing.assert_array_equal(left.keys, np.delete(me.keys, 11))


def test_the_number_of_deviations_counts() -> None:
    me = counts(400, 1)
    assert len(dq.remove_outliers(me, 1.0)) < len(dq.remove_outliers(me, 2.5)) < len(me)


def test_many_elements_at_once() -> None:
    bad = dq.inject(counts(60, 2, mean=60), "hot", amount=50, first=(8, 30), seed=1).series
    after = dq.map_series(dq.remove_outliers, from_series([bad.replace(name="a"), counts(50, 1).replace(name="b")]))
    assert (len(after.series("a")), len(after.series("b"))) == (59, 50)


def test_what_has_no_outliers_is_told() -> None:
    with pytest.raises(UsageError, match="n is a scalar"):
        dq.remove_outliers(dq.MonitorElement("n", "Int", (), [1], [1], [1], np.array([3])))
    with pytest.raises(UsageError, match="Sub/Folder/me: negative counts in run 7, lumisection 1, shape"):
        dq.remove_outliers(counts().replace(contents=-counts().contents))
    with pytest.raises(UsageError, match="more than 0 deviations"):
        dq.remove_outliers(counts(), 0)
