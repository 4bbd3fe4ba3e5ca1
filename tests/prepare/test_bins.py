"""Bins: rebinning, cropping, merging; nothing is lost, errors and profiles follow, ROOT agrees."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from series import AXES, counts, profile

import dqmroot as dq
from dqmroot.errors import ModelMismatchError, NotFittedError, UnknownNameError, UsageError
from dqmroot.prepare import Preparation, Step
from dqmroot.prepare.step import step_from_dict

STEPS = st.sampled_from(
    [
        dq.rebin(3, 2),
        dq.rebin(1, 8),
        dq.crop(x=(2, 9)),
        dq.crop(x=(-4, None), y=(1, 2)),
        dq.include_flow(),
        dq.rebin_edges(x=[-6, -1, 0, 6], y=(1, 4, 40)),
        dq.merge_occupancy(40),
        dq.drop_empty(0.9),
    ]
)


@settings(max_examples=60, deadline=None)
@given(step=STEPS, n=st.integers(0, 5), seed=st.integers(0, 9), dtype=st.sampled_from(["f4", "f8", "i2", "i4"]))
def test_no_entry_is_lost(step: Step, n: int, seed: int, dtype: str) -> None:
    me = counts(max(n, 1), seed=seed, dtype=dtype)
    step = step.fit(me)
    me = me[:n]
    after = step.apply(me)
    axes = tuple(range(1, me.contents.ndim))
    wanted = me.contents.sum(axis=axes, dtype=np.float64)
    np.testing.assert_array_equal(
        after.contents.reshape(len(me), -1 if n else 1).sum(axis=-1, dtype=np.float64), wanted
    )
    assert (after.contents.dtype == np.float32) == (dtype == "f4")
    assert after.axes == step.axes_after(me.axes)
    inverse = step.invert(after.values(), me.axes)
    assert inverse.shape == me.values().shape


@settings(max_examples=40, deadline=None)
@given(low=st.integers(0, 11), size=st.integers(1, 12), data=st.data())
def test_crop_after_pad_is_identity(low: int, size: int, data: st.DataObject) -> None:
    high = min(low + size, 12)
    y = data.draw(st.tuples(st.integers(0, 3), st.integers(4, 8)))
    step = dq.crop(x=(low, high), y=y)
    bins = np.random.default_rng(low).random((3, y[1] - y[0], high - low))
    padded = step.invert(bins, AXES[:2])
    assert np.isnan(padded).sum() == 3 * (96 - bins[0].size)
    np.testing.assert_array_equal(padded[:, slice(*y), low:high], bins)
    me = counts()
    np.testing.assert_array_equal(step.apply(me).values(), me.values()[:, slice(*y), low:high])


def test_rebin_sums_neighbours_and_keeps_labels_and_edges() -> None:
    me = counts(n_axes=3)
    after = dq.rebin(3, 2, 2).apply(me)
    wanted = me.values().reshape(8, 2, 2, 4, 2, 4, 3).sum(axis=(2, 4, 6))
    np.testing.assert_array_equal(after.values(), wanted)
    assert after.axes[0] == dq.Axis(4, -6, 6, title="ieta")
    np.testing.assert_array_equal(after.axes[1].bin_edges, [0, 2, 8, 20, 40])
    assert after.axes[2].labels == ("a, b", "d")
    np.testing.assert_array_equal(after.variances(), wanted)


@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_errors_and_labels_follow_every_change_of_bins(n_axes: int) -> None:
    me = counts(n_axes=n_axes)
    letters = tuple("abcdefghijkl")
    axes = (dq.Axis(12, -6, 6, labels=letters), *me.axes[1:])
    me = me.replace(axes=axes, sumw2=2.0 * me.contents, storage=f"TH{n_axes}F")
    contents = me.contents.copy()
    contents[..., 5] = 0
    holes = me.replace(contents=contents, sumw2=2.0 * contents)
    wanted = {
        dq.rebin(*(3, 2, 2)[:n_axes]): ("a, b, c", "d, e, f", "g, h, i", "j, k, l"),
        dq.rebin_edges(x=[-4, -1, 5]): ("c, d, e", "f, g, h, i, j, k"),
        dq.crop(x=(3, 5)): ("d", "e"),
        dq.include_flow(): ("", *letters, ""),
        dq.merge_occupancy(0.0001): ("a", "b", "c", "d", "e, f", *letters[6:]),
        dq.drop_empty(): letters[:4] + letters[5:] if n_axes == 1 else (),
    }
    for step, labels in wanted.items():
        after = step.fit(holes).apply(holes)
        assert after.axes[0].labels == labels, step
        np.testing.assert_allclose(after.variances(flow=True), 2 * np.asarray(after.values(flow=True), float))
        assert after.variances().shape == (len(me), *after.bins)


def test_rebin_of_a_profile_is_what_root_makes_of_it() -> None:
    root = pytest.importorskip("ROOT")
    rng = np.random.default_rng(3)
    made = root.TProfile("p", "", 12, -6, 6)
    made.SetDirectory(root.nullptr)
    for x, y in zip(rng.uniform(-7, 7, 500), rng.normal(3, 2, 500), strict=True):
        made.Fill(x, y)
    cells = range(14)
    me = dq.MonitorElement(
        "p",
        "TProfile",
        (dq.Axis(12, -6, 6),),
        run=[1],
        lumi=[1],
        entries=[made.GetEntries()],
        contents=np.array([[made.GetArray()[i] for i in cells]]),
        sumw2=np.array([[made.GetSumw2()[i] for i in cells]]),
        bin_entries=np.array([[made.GetBinEntries(i) for i in cells]]),
    )
    coarse = made.Rebin(4, "coarse")
    coarse.SetDirectory(root.nullptr)
    after = dq.rebin(4).apply(me)
    np.testing.assert_allclose(after.values()[0], [coarse.GetBinContent(i) for i in (1, 2, 3)], rtol=1e-12)
    np.testing.assert_allclose(np.sqrt(after.variances()[0]), [coarse.GetBinError(i) for i in (1, 2, 3)], rtol=1e-9)


def test_rebin_and_crop_of_a_map_are_what_root_makes_of_it() -> None:
    root = pytest.importorskip("ROOT")
    me = counts(1)
    made = root.TH2F("h", "", 12, -6, 6, 8, AXES[1].bin_edges)
    made.SetDirectory(root.nullptr)
    for y in range(10):
        for x in range(14):
            made.SetBinContent(x, y, me.contents[0, y, x])
    coarse = made.Rebin2D(3, 2, "coarse")
    coarse.SetDirectory(root.nullptr)
    after = dq.rebin(3, 2).apply(me)
    found = [[coarse.GetBinContent(x, y) for x in range(1, 5)] for y in range(1, 5)]
    np.testing.assert_array_equal(after.values()[0], found)


def test_include_flow_makes_102_of_100_bins() -> None:
    me = counts(n_axes=1).replace(axes=(dq.Axis(12, 0, 12, labels=tuple("abcdefghijkl")),))
    after = dq.include_flow().apply(me)
    assert after.axes[0].nbins == 14
    assert (after.axes[0].low, after.axes[0].high) == (-1, 13)
    assert after.axes[0].labels == ("", *"abcdefghijkl", "")
    np.testing.assert_array_equal(after.values(), me.contents)
    assert not after.contents[:, [0, -1]].any()
    np.testing.assert_array_equal(dq.include_flow().invert(after.values(), me.axes), me.values())


def test_merge_occupancy_fills_every_bin_also_the_first_and_the_last() -> None:
    contents = np.zeros((4, 12), np.float32)
    contents[:, 1:11] = [0, 0, 3, 0, 9, 5, 1, 0, 0, 1]
    me = counts(4, 1).replace(contents=contents, axes=(dq.Axis(10, 0, 10),))
    step = dq.merge_occupancy(3).fit(me)
    after = step.apply(me)
    np.testing.assert_array_equal(after.values()[0], [3, 9, 7])
    assert (after.values().mean(axis=0) >= 3).all()
    np.testing.assert_array_equal(after.axes[0].bin_edges, [0, 3, 5, 10])
    np.testing.assert_array_equal(step.invert(after.values(), me.axes)[0], [3, 3, 3, 9, 9, 7, 7, 7, 7, 7])
    np.testing.assert_allclose(step.restore(after.values(), me)[0, :3], 1)
    with pytest.raises(UsageError, match=r"all bins together hold 19 .*less than merge_occupancy\(minimum=30\)"):
        dq.merge_occupancy(30).fit(me)


def test_dropped_bins_come_back_in_their_places() -> None:
    me = counts()
    contents = me.contents.copy()
    contents[:, 3, :5] = 0
    me = me.replace(contents=contents)
    step = dq.drop_empty().fit(me)
    after = step.apply(me)
    assert after.axes[0].nbins == 96 - 4
    back = step.invert(after.values(), me.axes)
    assert np.isnan(back[:, 2, :4]).all()
    np.testing.assert_array_equal(np.nan_to_num(back), me.values())
    np.testing.assert_array_equal(step.restore(after.values(), me), me.values())


@pytest.mark.parametrize("make", [counts, lambda: profile(n_axes=2)])
def test_masked_bins_are_hidden(make: object) -> None:
    me = make()  # type: ignore[operator]
    mask = np.zeros((8, 12), bool)
    mask[2, 3] = True
    step = dq.mask_bins(mask)
    after = step.apply(me)
    assert (after.values()[:, 2, 3] == 0).all()
    np.testing.assert_array_equal(after.values()[:, ~mask], me.values()[:, ~mask])
    assert np.isnan(step.invert(after.values(), me.axes)[:, 2, 3]).all()
    np.testing.assert_array_equal(step.restore(after.values(), me), me.values())
    np.testing.assert_array_equal(step_from_dict(step.to_dict()).apply(me).values(), after.values())


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (dq.rebin(5, 2), r"Sub/Folder/me: rebin factor 5 does not divide the 12 bins of x; 2, 3, 4, 6, 12 do"),
        (dq.rebin(2), r"Sub/Folder/me: rebin\(2\) needs as many factors as the histogram has axes, 2"),
        (dq.crop(x=(3, 13)), r"Sub/Folder/me: crop\(x=\(3, 13\)\) does not fit 12 bins"),
        (dq.crop(z=(0, 1)), r"names an axis that a histogram with 2 axes has not"),
        (dq.rebin_edges(x=[-6, 0.5, 6]), r"Sub/Folder/me: 0.5 is no edge of the 12 bins of x; nearest: 0|1"),
        (dq.mask_bins(np.zeros((12, 8))), r"Sub/Folder/me: a mask of shape \(12, 8\) for bins \(8, 12\)"),
    ],
)
def test_what_does_not_fit_is_told_with_the_name(step: Step, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        step.apply(counts())


def test_bins_that_were_not_learnt_are_told() -> None:
    other = counts().replace(axes=(dq.Axis(13, 0, 1), AXES[1]), contents=np.ones((8, 10, 15), np.float32))
    for step in (dq.merge_occupancy(), dq.drop_empty(), dq.relative(), dq.standardise()):
        fitted = step.fit(counts())
        for me in (other, counts(n_axes=1)):
            with pytest.raises(ModelMismatchError, match=f"Sub/Folder/me: .*, but the step {step.name} learnt"):
                fitted.apply(me)


def test_factors_are_whole_and_positive() -> None:
    for wrong in ((0,), (2.5,), (), (True,)):
        with pytest.raises(UsageError, match="rebin needs whole factors of at least 1"):
            dq.rebin(*wrong)  # type: ignore[arg-type]


def test_what_is_not_learnt_is_told() -> None:
    for step in (dq.drop_empty(), dq.merge_occupancy(), dq.relative(), dq.standardise(), dq.follow()):
        with pytest.raises(NotFittedError, match=f"Sub/Folder/me: the step {step.name} has learnt no"):
            step.apply(counts())


def test_text_names_steps() -> None:
    text = "include_flow crop(x=(0, 6)) rebin(7, 5), smooth(weights=((1, 2, 1), 3)); normalise(maximum)"
    steps = Preparation.parse(text)
    assert str(steps) == "include_flow crop(x=(0, 6)) rebin(7, 5) smooth(weights=((1, 2, 1), 3)) normalise(maximum)"
    assert str(Preparation.parse("smooth(3) smooth(5, 3)")) == "smooth smooth(weights=(5, 3))"
    with pytest.raises(UnknownNameError, match="unknown step 'normalize'; nearest: normalise"):
        Preparation.parse("normalize")
    with pytest.raises(UnknownNameError, match="unknown parameter 'w' in the step crop"):
        Preparation.parse("crop(w=3)")
    for wrong in ("rebin(2", "rebin(2,)+1", "crop(x=[)", "(2)", "rebin", "normalise(integral, 3)"):
        with pytest.raises(UsageError):
            Preparation.parse(wrong)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("running(a)", "running: n cannot be 'a'; expected a whole number"),
        ("normalise(3)", "normalise: by cannot be 3; expected a name"),
        ("crop(x=3)", "crop: x cannot be 3; expected two whole numbers"),
        ("rebin_edges(a)", "rebin_edges: x cannot be 'a'; expected several numbers"),
        ("standardise(a)", "standardise: mean cannot be 'a'; expected an array"),
        ("merge_occupancy(a)", "merge_occupancy: minimum cannot be 'a'; expected a number"),
        ("running(3, mean=2)", "running: mean cannot be 2; expected true or false"),
        ("smooth(weights=a)", "smooth: weights cannot be 'a'; expected several values"),
    ],
)
def test_a_parameter_of_another_kind_is_told(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        Preparation.parse(text)
