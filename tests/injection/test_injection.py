"""Faults: where they are told to be and nowhere else, with the statistics of counts, the same for the same seed."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from series import counts, profile

import dqmroot as dq
from dqmroot.errors import UnknownNameError, UsageError
from dqmroot.injection import FAULTS, PLACES
from dqmroot.kernels import rows

AMOUNT: dict[str, float] = {"shifted": 2.5, "smeared": 1.5}


def maps(n: int = 40, mean: float = 30.0, bins: tuple[int, int] = (40, 24)) -> dq.MonitorElement:
    """Maps of 40 × 24 bins, about as an occupancy has them."""
    nx, ny = bins
    axes = (dq.Axis(nx, -nx / 2, nx / 2), dq.Axis(ny, 0, ny))
    contents = np.random.default_rng(5).poisson(mean, (n, ny + 2, nx + 2)).astype(np.float32)
    sums = contents.reshape(n, (ny + 2) * (nx + 2)).sum(axis=1)
    return dq.MonitorElement(
        "Sub/map",
        "TH2F",
        axes,
        np.full(n, 3),
        np.arange(1, n + 1),
        sums,
        contents,
        conditions={"events": np.full(n, 60)},
    )


@settings(max_examples=80, deadline=None)
@given(
    fault=st.sampled_from(sorted(FAULTS)),
    where=st.sampled_from([None, "channel", "region", "strip", "random_size"]),
    place=st.sampled_from(["random", "fixed"]),
    share=st.sampled_from([1.0, 0.5, 0.0]),
    n_axes=st.integers(1, 3),
    dtype=st.sampled_from(["f4", "i2"]),
    seed=st.integers(0, 5),
)
def test_nothing_changes_outside_the_truth(
    fault: str, where: str | None, place: str, share: float, n_axes: int, dtype: str, seed: int
) -> None:
    me = counts(6, n_axes, dtype=dtype)
    options: dict[str, Any] = {
        "where": where,
        "place": place,
        "share": share,
        "seed": seed,
        "amount": AMOUNT.get(fault),
    }
    if where in {"region", "strip"}:
        options["size"] = (2,) * n_axes
    if fault == "swapped" and where == "random_size":
        options["where"] = "channel"  # two boxes of 16 bins find no room here
    bad = dq.inject(me, fault, **options)
    assert bad.clean is me
    assert bad.contents.dtype == me.contents.dtype
    np.testing.assert_array_equal(bad.values()[~bad.truth], me.values()[~bad.truth])
    if fault not in {"shifted", "scaled", "smeared"}:  # whose entries may leave the axis
        inner = np.zeros(me.contents.shape, bool)
        me.view(inner)[...] = True
        np.testing.assert_array_equal(bad.contents[~inner], me.contents[~inner])
    assert (bad.values() >= 0).all()
    assert (bad.values() == np.floor(bad.values())).all()
    gained = bad.contents.sum(axis=tuple(range(1, n_axes + 1)), dtype=float) - me.contents.sum(
        axis=tuple(range(1, n_axes + 1)), dtype=float
    )
    np.testing.assert_allclose(bad.entries, me.entries + gained)
    again = dq.inject(me, fault, **options)
    np.testing.assert_array_equal(again.contents, bad.contents)
    assert json.loads(json.dumps(dict(bad.record)))["fault"] == fault


@pytest.mark.parametrize("fault", FAULTS)
def test_neither_threads_nor_company_change_the_numbers(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_WORTH_A_THREAD", 1)
    me = maps()
    found = []
    for n in (1, 3):
        rows.set_threads(n)
        found.append(dq.inject(me, fault, amount=AMOUNT.get(fault), seed=4))
    rows.set_threads(None)
    np.testing.assert_array_equal(found[0].contents, found[1].contents)
    np.testing.assert_array_equal(found[0].truth, found[1].truth)
    if fault not in {"hot", "peak"}:  # which need the mean map
        alone = dq.inject(me[[7, 30]], fault, amount=AMOUNT.get(fault), seed=4)
        np.testing.assert_array_equal(alone.contents, found[0].contents[[7, 30]])
    other = dq.inject(me, fault, amount=AMOUNT.get(fault), seed=5)
    if fault != "lost_tail":  # in which nothing is random
        assert not np.array_equal(other.contents, found[0].contents)


def test_degraded_is_binomial_thinning() -> None:
    me = maps(200)
    bad = dq.inject(me, "degraded", amount=0.3, where="all", seed=1)
    lost, n = bad.values(), me.values()
    pull = (lost - 0.3 * n) / np.sqrt(0.3 * 0.7 * np.maximum(n, 1))
    assert abs(pull.mean()) < 4 / np.sqrt(pull.size)
    assert abs(pull.std() - 1) < 0.02
    assert (lost <= n).all()
    assert abs(lost.var() / lost.mean() - 1) < 0.02  # a thinned Poisson process is one again


def test_hot_is_more_of_the_same_process() -> None:
    me = maps(400)
    bad = dq.inject(me, "hot", amount=5, where="region", size=(6, 4), place=(10, 5), seed=1)
    inside = bad.values()[bad.truth]
    assert abs(inside.mean() / 150 - 1) < 0.01
    assert abs(inside.var() / inside.mean() - 1) < 0.1
    limited = dq.inject(me, "hot", amount=1.5, events="events", where="all", seed=1).values()
    np.testing.assert_allclose(limited.mean(), 45, rtol=0.01)
    assert (limited <= np.maximum(me.values(), 60)).all()
    assert (dq.inject(me, "hot", amount=50, events=60, where="all").values() == np.maximum(me.values(), 60)).all()


def test_events_are_never_exceeded_and_hits_are_kept() -> None:
    me = maps(20, mean=10)
    bad = dq.inject(me, "hot", amount=3, events=40, where="all")
    assert (bad.values() >= me.values()).all()
    assert bad.values().max() <= 40


def test_shapes_move_entries_as_they_say() -> None:
    centres = np.arange(-19.5, 20)
    contents = np.zeros((500, 42), np.float32)
    contents[:, 1:-1] = np.random.default_rng(2).poisson(200 * np.exp(-0.5 * (centres / 4) ** 2), (500, 40))
    me = dq.MonitorElement(
        "Sub/line", "TH1F", (dq.Axis(40, -20, 20),), np.ones(500), np.arange(500), contents.sum(axis=1), contents
    )
    (mean,), (width,) = (m.mean(axis=0) for m in dq.moments(me.values(), me.axes))

    def moved(fault: str, amount: float) -> tuple[float, float]:
        bad = dq.inject(me, fault, amount=amount, seed=3)
        np.testing.assert_array_equal(bad.contents.sum(axis=1), contents.sum(axis=1))
        means, widths = dq.moments(bad.values(), me.axes)
        return float(means.mean()), float(widths.mean())

    assert moved("shifted", 3.0) == pytest.approx((mean + 3, width), abs=0.02)
    assert moved("shifted", -1.5)[0] == pytest.approx(mean - 1.5, abs=0.02)
    assert moved("scaled", 1.2) == pytest.approx((1.2 * mean, np.hypot(1.2 * width, 0.35)), abs=0.08)
    assert moved("smeared", 2.0) == pytest.approx((mean, np.hypot(width, 2.0)), abs=0.05)
    peak = dq.inject(me, "peak", amount=0.2, position=12.5, seed=1)
    np.testing.assert_allclose(peak.entries / me.entries, 1.2, atol=0.05)
    assert (peak.values() - me.values()).sum(axis=0).argmax() == 32
    tail = dq.inject(me, "lost_tail", position=4.0)
    assert not tail.values()[:, 24:].any()
    np.testing.assert_array_equal(tail.values()[:, :24], me.values()[:, :24])


def test_shapes_of_maps_move_along_the_axis_that_is_named() -> None:
    me = maps(30)
    bad = dq.inject(me, "shifted", amount=2.0, axis="y", seed=1)
    np.testing.assert_array_equal(bad.contents[:, 3:-1, :][:, :, 1:-1], me.contents[:, 1:-3, 1:-1])
    np.testing.assert_array_equal(bad.contents.sum(axis=1), me.contents.sum(axis=1))


def test_places() -> None:
    me = maps(300)
    sizes = {where: dq.inject(me, "dead", where=where, seed=2).truth.sum(axis=(1, 2)) for where in PLACES}
    assert (sizes["channel"] == 1).all()
    assert (sizes["region"] == 25).all()
    assert set(sizes["strip"]) == {24, 40}
    assert (sizes["box"] == 64).all()
    assert (sizes["half"] == 480).all()
    assert (sizes["all"] == 960).all()
    assert sizes["random_size"].min() <= 8
    assert 150 < sizes["random_size"].max() <= 256
    corners = {tuple(np.argwhere(truth)[0]) for truth in dq.inject(me, "dead", where="box", seed=2).truth}
    assert corners == {(y, x) for y in range(0, 24, 4) for x in (4, 20)}
    fixed = dq.inject(me, "dead", size=(3, 2), place="fixed", seed=2).truth
    assert (fixed == fixed[0]).all()
    given_place = dq.inject(me, "dead", size=(3, 2), place=(1, 5), seed=2).truth
    assert np.argwhere(given_place[0]).tolist() == [[y, x] for y in (5, 6) for x in (1, 2, 3)]
    firsts = np.array([np.argwhere(t)[0] for t in dq.inject(me, "dead", size=(5, 5), seed=2).truth])
    assert firsts.min(axis=0).tolist() == [0, 0]
    assert firsts.max(axis=0).tolist() == [19, 35]


WHEN: dict[str, tuple[dict[str, Any], range]] = {
    "from one on": ({"first": 21}, range(21, 41)),
    "window": ({"first": (3, 11), "last": (3, 20)}, range(11, 21)),
    "intermittent": ({"share": 0.5}, range(1, 41)),
    "intermittent window": ({"first": 11, "last": 30, "share": 0.7}, range(11, 31)),
}


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_everywhere_at_any_time(fault: str, where: str, when: str) -> None:
    me = maps(bins=(60, 48))
    before = me.contents.copy()
    chosen, times = WHEN[when]
    options: dict[str, Any] = {"where": where, "amount": AMOUNT.get(fault), "seed": 6, **chosen}
    if (fault, where) == ("swapped", "all"):
        with pytest.raises(UsageError, match=r"Sub/map: no room to exchange \(60, 48\) bins in \(60, 48\)"):
            dq.inject(me, fault, **options)
        return
    bad = dq.inject(me, fault, **options)
    inside = np.isin(me.lumi, times)
    assert not bad.faulty[~inside].any()
    assert bad.faulty.any()
    if fault != "lost_tail":  # which leaves boxes below the tail as they are
        share = options.get("share", FAULTS[fault].share)
        assert share - 0.3 < bad.faulty[inside].mean() <= (1 if share == 1 else share + 0.3)
    np.testing.assert_array_equal(bad.contents[~bad.faulty], before[~bad.faulty])
    np.testing.assert_array_equal(bad.values()[~bad.truth], me.values()[~bad.truth])
    assert not np.array_equal(bad.contents, before)
    assert bad.clean is me
    np.testing.assert_array_equal(me.contents, before)
    again = dq.inject(me, bad.record["fault"], **json.loads(json.dumps(bad.record["parameters"])))
    np.testing.assert_array_equal(again.contents, bad.contents)
    np.testing.assert_array_equal(again.truth, bad.truth)


def test_strips_of_both_axes_are_swapped() -> None:
    me = maps()
    bad = dq.inject(me, "swapped", where="strip", seed=2)
    assert set(bad.truth.sum(axis=(1, 2))) == {48, 80}
    for clean, swapped in zip(me.values(), bad.values(), strict=True):
        np.testing.assert_array_equal(np.sort(clean, axis=None), np.sort(swapped, axis=None))
    assert len(dq.inject(me[:0], "swapped")) == 0


def test_times() -> None:
    me = counts(20)
    assert dq.inject(me, "dead", first=4).faulty.tolist() == (me.lumi >= 4).tolist()
    window = dq.inject(me, "dead", first=(7, 4), last=(8, 2)).faulty
    np.testing.assert_array_equal(window, [False] * 3 + [True] * 9 + [False] * 8)
    share = dq.inject(counts(400), "dead", share=0.3, seed=1).faulty.mean()
    assert 0.2 < share < 0.4
    flicker = dq.inject(counts(400), "flickering", seed=1)
    assert 0.4 < flicker.faulty.mean() < 0.6
    assert flicker.truth.any(axis=0).sum() == 1  # always the same channel


def test_the_plain_edits_of_the_slides() -> None:
    me = counts()
    zero = dq.inject(me, "set_zero", size=(3, 3))
    assert (zero.values()[zero.truth] == 0).all()
    top = dq.inject(me, "set_maximum", size=(3, 3))
    np.testing.assert_array_equal(top.values().max(axis=(1, 2)), me.values().max(axis=(1, 2)))
    assert (top.values()[top.truth].reshape(8, 9) == me.values().max(axis=(1, 2))[:, None]).all()


def test_swapped_channels_keep_all_entries() -> None:
    me = counts()
    bad = dq.inject(me, "swapped", where="region", size=(3, 2), seed=1)
    assert (bad.truth.sum(axis=(1, 2)) == 12).all()
    for clean, swapped in zip(me.values(), bad.values(), strict=True):
        np.testing.assert_array_equal(np.sort(clean, axis=None), np.sort(swapped, axis=None))
    assert (bad.values() != me.values()).any()


def test_profiles_lose_entries_with_their_sums() -> None:
    me = profile(6, 2)
    bad = dq.inject(me, "degraded", amount=0.5, where="all", seed=1)
    assert bad.bin_entries is not None
    assert me.bin_entries is not None
    some = bad.view(bad.bin_entries) > 0
    np.testing.assert_allclose(bad.values()[some], me.values()[some])
    assert abs(bad.view(bad.bin_entries).sum() / me.view(me.bin_entries).sum() - 0.5) < 0.05
    with pytest.raises(
        UsageError, match="hot is for counts, not for a TProfile2D; for profiles there are dead, degraded"
    ):
        dq.inject(me, "hot")


def test_stored_errors_follow() -> None:
    me = counts()
    weighted = me.replace(sumw2=4.0 * me.contents)
    bad = dq.inject(weighted, "degraded", where="all", seed=1)
    np.testing.assert_allclose(bad.variances(), 4 * bad.values())


def test_a_bin_of_whole_numbers_that_is_full_stays_full() -> None:
    me = counts(3, dtype="i2", mean=20000)
    assert (dq.inject(me, "hot", amount=10, where="all").values() == 32767).all()


def test_an_injected_series_is_a_series() -> None:
    me = counts()
    bad = dq.inject(me, "dead", size=(2, 2), share=0.5, seed=3)
    assert isinstance(bad, dq.MonitorElement)
    part = bad[bad.faulty]
    assert isinstance(part, dq.Injected)
    assert part.truth.any(axis=(1, 2)).all()
    assert len(part.clean) == len(part)
    assert isinstance(bad[2:4], dq.Injected)
    assert len(bad[np.zeros(0, int)]) == 0
    joined = dq.concatenate([me, bad])
    assert type(joined) is dq.MonitorElement
    assert len(joined) == 16
    prepared = dq.Preparation([dq.rebin(3, 2), dq.normalise()]).apply(bad)
    assert type(prepared) is dq.MonitorElement
    twice = dq.inject(bad, "hot", size=(2, 2), seed=9)
    assert twice.clean is me
    assert twice.truth[bad.truth].all()
    assert twice.record["after"]["fault"] == "dead"
    assert "Sub/Folder/me" in repr(bad)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"fault": "deda"}, UnknownNameError, "unknown fault 'deda'; nearest: dead"),
        ({"fault": "dead", "where": "boxx"}, UnknownNameError, "unknown place of a fault 'boxx'; nearest: box"),
        (
            {"fault": "dead", "size": (5, 9)},
            UsageError,
            r"Sub/Folder/me: a region of \(5, 9\) bins does not fit \(12, 8\)",
        ),
        (
            {"fault": "dead", "size": (5, 5), "place": (9, 0)},
            UsageError,
            r"Sub/Folder/me: a fault of \(.*5.*5.*\) bins at",
        ),
        ({"fault": "dead", "amount": 1}, UsageError, "the fault dead has no amount"),
        ({"fault": "degraded", "amount": 1.5}, UsageError, "an efficiency must be from 0 to 1; got 1.5"),
        ({"fault": "shifted"}, UsageError, "needs an amount: shift, in units of the axis"),
        ({"fault": "shifted", "amount": 1, "axis": "z"}, UnknownNameError, "unknown axis 'z'"),
        ({"fault": "hot", "events": "event"}, UnknownNameError, "unknown condition 'event'.*nearest: events"),
        (
            {"fault": "hot", "events": [1, 2]},
            UsageError,
            r"Sub/Folder/me: numbers of events of shape \(2,\) for 8 lumisections",
        ),
        ({"fault": "hot", "events": 0}, UsageError, "the number of events must be above 0"),
        ({"fault": "dead", "share": 2}, UsageError, "share of faulty lumisections must be from 0 to 1"),
        ({"fault": "swapped", "size": (12, 8)}, UsageError, "no room to exchange"),
        ({"fault": "dead", "where": "all", "size": 3}, UsageError, "a size goes with where='region'"),
        ({"fault": "peak", "position": 99}, UsageError, "a peak at 99 is outside the axis, -6 to 6"),
        ({"fault": "lost_tail", "position": 6}, UsageError, "a tail from 6 on holds none of the 12 bins"),
        ({"fault": "scaled", "amount": 0}, UsageError, "scaled by numbers above 0 only"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_is_told(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        dq.inject(counts(), **options)


def test_only_counts_can_be_changed() -> None:
    me = counts()
    with pytest.raises(UsageError, match="Sub/Folder/me: negative counts in run 7, lumisection 1"):
        dq.inject(me.replace(contents=me.contents - 100), "dead")
    prepared = dq.normalise().apply(me)
    with pytest.raises(UsageError, match=r"no whole numbers.*inject before preparing"):
        dq.inject(prepared, "degraded")
    bad = dq.inject(prepared, "degraded", amount=0.25, where="all", fluctuate=False)
    np.testing.assert_allclose(bad.values(), 0.25 * prepared.values(), rtol=1e-6)
    with pytest.raises(UsageError, match="scalar"):
        dq.inject(dq.MonitorElement("n", "Int", (), [1], [1], [1], np.array([3])), "dead")
    assert len(dq.inject(me[:0], "hot", where="all")) == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("size", value) for value in ("5,5", [5, "b"], {"x": 5})),
        *(("place", value) for value in ([1, "b"], {"x": 1})),
        *((key, value) for key in ("first", "last") for value in ("x", [7], [7, "x"], [7, 1, 2])),
        *((key, value) for key in ("amount", "share", "position", "seed") for value in ("lots", [1, 2])),
    ],
)
def test_what_must_be_a_number_is_told_by_its_name(key: str, value: Any) -> None:
    shown = re.escape(repr(value))
    with pytest.raises(UsageError, match=rf"^Sub/Folder/me: {key} must be a number(, or .* such as .*)?; got {shown}$"):
        dq.inject(counts(), "hot", **{key: value})


def test_a_place_on_one_axis_may_be_a_number() -> None:
    me = counts(n_axes=1)
    one, listed = (dq.inject(me, "dead", size=3, place=place).truth for place in (4, [4]))
    np.testing.assert_array_equal(one, listed)
    with pytest.raises(UsageError, match=r"a fault of \(3,\) bins at \(11,\) leaves the \[12\] bins"):
        dq.inject(me, "dead", size=3, place=[11])
