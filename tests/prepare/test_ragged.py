"""Every step on arrays of many monitoring elements gives what it gives on each of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from series import counts, profile

import dqmroot as dq
from dqmroot.io.ragged import from_series
from dqmroot.prepare import STEPS

Change = Callable[[dq.MonitorElement], dq.MonitorElement]


def lit(me: dq.MonitorElement) -> dq.MonitorElement:
    """Conditions, which files of histograms do not hold."""
    return me.replace(conditions={"pileup": 20.0 + me.lumi, "events": 100.0 + me.run})


CHANGES: dict[str, Change] = {
    "rebin": lambda me: dq.rebin(*(3, 2, 2)[: len(me.axes)]).apply(me),
    "rebin_edges": lambda me: dq.rebin_edges(x=[-6, -1, 0, 6]).apply(me),
    "merge_occupancy": lambda me: dq.merge_occupancy(20).fit(me).apply(me),
    "crop": lambda me: dq.crop(x=(2, 9)).apply(me),
    "include_flow": dq.include_flow().apply,
    "drop_empty": lambda me: dq.drop_empty(0.5).fit(me).apply(me),
    "mask_bins": lambda me: dq.mask_bins(np.arange(np.prod(me.bins)).reshape(me.bins) % 5 == 0).apply(me),
    "normalise": dq.normalise("integral").apply,
    "normalise to the maximum": dq.normalise("maximum").apply,
    "normalise per entry": dq.normalise("entries").apply,
    "normalise per event": lambda me: dq.normalise("events").apply(lit(me)),
    "follow": lambda me: dq.follow("pileup").fit(lit(me)).apply(lit(me)),
    "smooth": dq.smooth(3).apply,
    "running": dq.running(2).apply,
    "running mean": dq.running(3, mean=True, partial=True, gap=1, min_entries=10).apply,
    "add_lumisections": lambda me: dq.add_lumisections(me, 3),
    "remove_outliers": lambda me: dq.remove_outliers(me, 2.5),
    "relative": lambda me: dq.relative().fit(me).apply(me),
    "standardise": lambda me: dq.standardise().fit(me).apply(me),
    "stabilise": dq.stabilise().apply,
    "inject": lambda me: dq.inject(me, "degraded", where="all", seed=1),
    "resample": lambda me: dq.resample(me, 5, seed=1),
}
COUNTS_ONLY = {"stabilise", "resample"}


def elements(*, profiles: bool) -> list[dq.MonitorElement]:
    found = [
        counts(20, n_axes, dtype=dtype, seed=n_axes).replace(name=f"{n_axes}-D {dtype}")
        for n_axes in (1, 2, 3)
        for dtype in ("f4", "f8", "i2", "i4")
    ]
    weighted = counts(7, 2, seed=5)
    found.append(weighted.replace(name="weighted", sumw2=3 * weighted.contents.astype(float)))
    if profiles:
        found += [profile(9, 1).replace(name="TProfile"), profile(6, 2).replace(name="TProfile2D")]
    return found


@pytest.mark.parametrize("name", CHANGES)
def test_ragged_arrays_are_prepared_as_each_element_is(name: str) -> None:
    change = CHANGES[name]
    series = elements(profiles=name not in COUNTS_ONLY)
    after = dq.map_series(change, from_series(series))
    assert after.names == tuple(me.name for me in series)
    for me in series:
        found, wanted = after.series(me.name), change(me)
        np.testing.assert_array_equal(found.contents, wanted.contents, strict=True)
        np.testing.assert_array_equal(found.variances(flow=True), wanted.variances(flow=True))
        np.testing.assert_array_equal(found.entries, wanted.entries)
        np.testing.assert_array_equal(found.keys, wanted.keys)
        assert found.axes == wanted.axes
        assert found.storage == wanted.storage
    lengths = {storage: np.diff(rows.offsets) for storage, rows in after.rows.items()}
    for storage, size in lengths.items():
        assert [len(row) for row in after[storage]["contents"].to_list()] == size.tolist()


def test_every_step_is_among_them() -> None:
    assert not set(STEPS) - set(CHANGES)


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("n_axes", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "i4"])
def test_the_class_of_root_holds_the_contents(name: str, n_axes: int, dtype: str) -> None:
    after = CHANGES[name](counts(20, n_axes, dtype=dtype))
    assert {"f4": "F", "f8": "D", "i2": "S", "i4": "I"}[after.contents.dtype.str[1:]] == after.storage[-1]
    assert (after.storage[:2], int(after.storage[2])) == ("TH", len(after.axes))


@pytest.mark.parametrize(
    ("one", "other", "storage"),
    [("i2", "f4", "TH2F"), ("f4", "i4", "TH2D"), ("i2", "i4", "TH2I"), ("f4", "f8", "TH2D")],
)
def test_joined_series_are_of_the_class_that_holds_both(one: str, other: str, storage: str) -> None:
    for parts in ((one, other), (other, one)):
        joined = dq.concatenate([counts(4, dtype=dtype) for dtype in parts])
        assert joined.storage == storage
        np.testing.assert_array_equal(joined.values()[:4], joined.values()[4:])
    assert dq.concatenate([profile(3), profile(3)]).storage == "TProfile"
