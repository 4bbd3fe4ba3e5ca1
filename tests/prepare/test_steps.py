"""Steps that change contents, the order of steps, saving, and the way back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from series import counts, profile

import dqmroot as dq
from dqmroot.errors import EmptySelectionError, InputError, ModelMismatchError, UnknownNameError, UsageError
from dqmroot.prepare import Preparation, Step

ALL = [
    [dq.include_flow(), dq.normalise()],
    [dq.crop(x=(2, 10)), dq.rebin(2, 4), dq.normalise("maximum")],
    [dq.rebin_edges(x=[-6, 0, 6])],
    [dq.merge_occupancy(40), dq.normalise("entries")],
    [dq.drop_empty(0.5), dq.standardise()],
    [dq.mask_bins(np.eye(8, 12) > 0), dq.normalise()],
    [dq.smooth(3), dq.normalise()],
    [dq.smooth((1, 2, 1), 1)],
    [dq.running(2, partial=True)],
    [dq.running(3, mean=True, gap=1)],
    [dq.stabilise("anscombe")],
    [dq.follow("pileup"), dq.relative()],
]


@pytest.mark.parametrize("steps", ALL, ids=lambda steps: str(Preparation(steps)))
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
def test_what_is_saved_prepares_identically(steps: list[Step], dtype: str, tmp_path: Path) -> None:
    me = counts(20, dtype=dtype)
    before = me.contents.copy()
    preparation = Preparation(steps).fit(me)
    array = preparation.array(me)
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(me.contents, before)
    after = preparation.apply(me)
    np.testing.assert_allclose(after.values(), array, rtol=3e-7, atol=1e-6)
    assert after.variances().shape == array.shape
    preparation.save(tmp_path)
    assert (tmp_path / "prepare.npz").exists() == ('"npz"' in (tmp_path / "prepare.json").read_text())
    for other in (
        Preparation.load(tmp_path),
        Preparation.from_dict(json.loads(json.dumps(preparation.to_dict()))),
    ):
        np.testing.assert_array_equal(other.array(me), array)
        assert other.axes == preparation.axes
    assert preparation.invert(array).shape == me.values().shape
    assert preparation.restore(array, me).shape == me.values().shape
    assert preparation.prepared_axes() == after.axes
    assert preparation.array(me[:0]).shape == (0, *array.shape[1:])


@pytest.mark.parametrize("by", ["integral", "maximum", "entries", "pileup"])
def test_normalise(by: str) -> None:
    me = counts()
    after = dq.normalise(by).apply(me)
    values = me.values()
    wanted = {
        "integral": values.sum(axis=(1, 2)),
        "maximum": values.max(axis=(1, 2)),
        "entries": me.entries,
        "pileup": me.conditions["pileup"],
    }[by]
    np.testing.assert_allclose(after.contents, me.contents / wanted[:, None, None], rtol=1e-6)
    np.testing.assert_allclose(after.variances(flow=True), me.contents / wanted[:, None, None] ** 2, rtol=1e-6)
    np.testing.assert_allclose(dq.normalise(by).restore(after.values(), me), values, rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(by=st.sampled_from(["integral", "maximum"]), n_axes=st.integers(1, 3), dtype=st.sampled_from(["f4", "f8"]))
def test_normalise_is_idempotent(by: str, n_axes: int, dtype: str) -> None:
    me = counts(5, n_axes, dtype=dtype)
    empty = me.contents.copy()
    empty[2] = 0
    once = dq.normalise(by).apply(me.replace(contents=empty))
    assert np.isnan(once.values()[2]).all()  # not judged, and never 0
    twice = dq.normalise(by).apply(once)
    np.testing.assert_allclose(twice.values(), once.values(), rtol=1e-6 if dtype == "f4" else 1e-12)


def test_normalise_of_a_profile_divides_the_mean() -> None:
    me = profile()
    after = dq.normalise().apply(me)
    np.testing.assert_allclose(after.values(), me.values() / me.values().sum(axis=1, keepdims=True))
    np.testing.assert_allclose(
        after.variances() / me.variances(), 1 / (me.values().sum(axis=1) ** 2)[:, None] + 0 * me.values(), rtol=1e-6
    )


def test_negative_contents_cannot_be_normalised() -> None:
    contents = counts().contents.copy()
    contents[5, 3, 4] = -1
    me = counts().replace(contents=contents)
    message = r"Sub/Folder/me: normalise\(integral\) of negative contents: 1 .*in run 8, lumisection 2"
    with pytest.raises(UsageError, match=message):
        dq.normalise().apply(me)
    with pytest.raises(UsageError, match=message):
        Preparation([dq.normalise()]).array(me)
    with pytest.raises(UnknownNameError, match="unknown normalisation 'pileuq' in Sub/Folder/me; nearest: pileup"):
        dq.normalise("pileuq").apply(me)
    with pytest.raises(UsageError, match=r"stabilise.* of negative contents in run 8, lumisection 2"):
        dq.stabilise().apply(me)


def test_follow_finds_the_line_and_relative_the_map() -> None:
    me = counts(40)
    me = me.replace(contents=(me.contents * me.conditions["pileup"][:, None, None]).astype("f4"))
    step = dq.follow("pileup").fit(me)
    np.testing.assert_allclose(step.apply(me).values().sum(axis=(1, 2)), 1, atol=0.2)
    slope, intercept = np.polyfit(me.conditions["pileup"], me.values().sum(axis=(1, 2), dtype=float), 1)
    np.testing.assert_allclose((step.slope, step.intercept), (slope, intercept), rtol=1e-6)
    ratio = dq.relative().fit(me).apply(me).values()
    np.testing.assert_allclose(ratio.mean(axis=0), 1, rtol=1e-5)
    standard = dq.standardise().fit(me).apply(me).values()
    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(standard.std(axis=0), 1, rtol=1e-5)
    for step in (dq.relative().fit(profile(30)), dq.standardise().fit(profile(30))):
        after = step.apply(profile(30))
        np.testing.assert_allclose(step.restore(after.values(), profile(30)), profile(30).values())


def test_smoothing_keeps_a_flat_map_flat_also_at_the_edges() -> None:
    me = counts().replace(contents=np.ones((8, 10, 14), np.float32))
    np.testing.assert_allclose(dq.smooth(3, 5).apply(me).values(), 1, rtol=1e-6)
    np.testing.assert_allclose(dq.smooth(3, 1).apply(me).variances()[:, :, 1:-1], 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(dq.smooth(3, 1).apply(me).variances()[:, :, 0], 1 / 2, rtol=1e-6)
    mean = dq.smooth(3).apply(profile())
    sums = dq.smooth(3).apply(profile().replace(contents=3 * profile().bin_entries))
    assert mean.bin_entries is not None
    np.testing.assert_allclose(sums.values(), 3)
    for wrong in ((2,), (0,), ((1, 1),), ((1, 0, 1),), ((1, -1, 1),)):
        with pytest.raises(UsageError, match="smooth needs"):
            dq.smooth(*wrong)  # type: ignore[arg-type]


def test_running_sums_know_runs_gaps_and_order() -> None:
    lumi = np.array([1, 2, 3, 5, 6, 1, 2, 3])
    run = np.array([7, 7, 7, 7, 7, 8, 8, 8])
    contents = np.zeros((8, 3), np.float32)
    contents[:, 1] = 10 ** np.arange(8)
    me = dq.MonitorElement("m", "TH1F", (dq.Axis(1, 0, 1),), run, lumi, 10.0 ** np.arange(8), contents)
    shuffled = np.array([4, 0, 7, 2, 6, 1, 5, 3])
    wanted = np.array([np.nan, 11, 110, np.nan, 11000, np.nan, 1100000, 11000000])
    for index in (np.arange(8), shuffled):
        after = dq.running(2).apply(me[index])
        np.testing.assert_array_equal(after.values()[:, 0], wanted[index].astype("f4"))
        np.testing.assert_array_equal(after.run, run[index])
    partial = dq.running(3, partial=True, gap=1).apply(me)
    np.testing.assert_array_equal(partial.values()[:, 0], [1, 11, 111, 1110, 11100, 1e5, 1.1e6, 1.11e7])
    np.testing.assert_array_equal(partial.entries, [1, 11, 111, 1110, 11100, 1e5, 1.1e6, 1.11e7])
    mean = dq.running(2, mean=True).apply(me)
    np.testing.assert_array_equal(mean.values()[[1, 2], 0], [5.5, 55])
    np.testing.assert_array_equal(mean.variances()[[1, 2], 0], [2.75, 27.5])
    few = dq.running(2, partial=True, min_entries=100).apply(me)
    np.testing.assert_array_equal(np.isnan(few.values()[:, 0]), [True, True, False, *[False] * 5])
    with pytest.raises(UsageError, match="m: run 7, lumisection 2 is there more than once"):
        dq.running(2).apply(me[[0, 1, 1]])
    grown = dq.add_lumisections(me[shuffled], 2)
    np.testing.assert_array_equal(grown.lumi, [1, 3, 5, 1, 3])
    np.testing.assert_array_equal(grown.values()[:, 0], [11, 100, 11000, 1100000, 1e7])
    np.testing.assert_array_equal(dq.add_lumisections(me, 2, keep_rest=False).lumi, [1, 5, 1])
    assert dq.add_lumisections(me, 3, gap=1).entries.sum() == me.entries.sum()


def test_running_mean_of_a_profile_is_that_of_all_entries() -> None:
    me = profile()
    after = dq.running(2, mean=True, partial=True).apply(me)
    entries = me.view(me.bin_entries)
    wanted = (me.values()[0] * entries[0] + me.values()[1] * entries[1]) / (entries[0] + entries[1])
    np.testing.assert_allclose(after.values()[1], wanted)


def test_profiles_add_as_root_adds_them() -> None:
    root = pytest.importorskip("ROOT")
    rng = np.random.default_rng(8)
    made = []
    for i in range(4):
        one = root.TProfile(f"p{i}", "", 12, -6, 6)
        one.SetDirectory(root.nullptr)
        for x, y in zip(rng.uniform(-7, 7, 300), rng.normal(i, 2, 300), strict=True):
            one.Fill(x, y)
        made.append(one)
    cells = range(14)
    me = dq.MonitorElement(
        "p",
        "TProfile",
        (dq.Axis(12, -6, 6),),
        run=np.full(4, 1),
        lumi=np.arange(1, 5),
        entries=np.array([one.GetEntries() for one in made]),
        contents=np.array([[one.GetArray()[i] for i in cells] for one in made]),
        sumw2=np.array([[one.GetSumw2()[i] for i in cells] for one in made]),
        bin_entries=np.array([[one.GetBinEntries(i) for i in cells] for one in made]),
    )
    total = made[0].Clone("total")
    total.SetDirectory(root.nullptr)
    for one in made[1:]:
        total.Add(one)
    inner = range(1, 13)
    for after in (dq.add_lumisections(me, 4)[:1], dq.running(4).apply(me)[3:]):
        np.testing.assert_allclose(after.values()[0], [total.GetBinContent(i) for i in inner], rtol=1e-12)
        np.testing.assert_allclose(np.sqrt(after.variances()[0]), [total.GetBinError(i) for i in inner], rtol=1e-9)
        assert after.entries[0] == total.GetEntries()


@pytest.mark.parametrize("form", ["sqrt", "anscombe", "freeman_tukey", "log"])
def test_stabilised_counts_spread_alike(form: str) -> None:
    me = counts(4000, 1, mean=50)
    step = dq.stabilise(form)
    after = step.apply(me)
    np.testing.assert_allclose(step.restore(after.values(), me), me.values(), rtol=1e-4, atol=1e-4)
    spread = after.values().std(axis=0) ** 2
    np.testing.assert_allclose(spread / after.variances().mean(axis=0), 1, atol=0.12)
    if form == "anscombe":
        np.testing.assert_allclose(spread, 1, atol=0.1)
    with pytest.raises(UnknownNameError, match="unknown transform"):
        dq.stabilise("squareroot")


def test_a_preparation_knows_its_bins(tmp_path: Path) -> None:
    preparation = Preparation([dq.rebin(3, 2), dq.normalise()]).fit(counts())
    other = counts().replace(axes=(dq.Axis(12, 0, 1), counts().axes[1]))
    with pytest.raises(ModelMismatchError, match="Sub/Folder/me: bins 12 in"):
        preparation.array(other)
    with pytest.raises(UsageError, match="a preparation is made of steps"):
        Preparation(["rebin"])  # type: ignore[list-item]
    with pytest.raises(InputError, match=r"prepare.json"):
        Preparation.load(tmp_path)
    (tmp_path / "prepare.json").write_text("{}")
    with pytest.raises(InputError, match="not a saved preparation"):
        Preparation.load(tmp_path)
    with pytest.raises(UsageError, match="scalar"):
        Preparation([dq.rebin(2)]).apply(dq.MonitorElement("n", "Int", (), [1], [1], [1], np.array([3])))
    with pytest.raises(EmptySelectionError):
        dq.standardise().fit(counts()[:0])


def test_a_loss_map_is_shown_in_the_bins_of_the_detector() -> None:
    me = counts()
    preparation = Preparation([dq.crop(x=(2, 10), y=(0, 4)), dq.rebin(4, 2), dq.normalise()]).fit(me)
    loss = np.arange(8 * 4, dtype=float).reshape(8, 2, 2)
    shown = preparation.invert(loss)
    assert np.isnan(shown[:, 4:]).all()
    assert np.isnan(shown[:, :, :2]).all()
    np.testing.assert_array_equal(shown[0, 0, 2:10], [0, 0, 0, 0, 1, 1, 1, 1])
    assert not np.isnan(preparation.invert(loss, fill=0.0)).any()
    restored = preparation.restore(preparation.array(me), me)
    inside = me.values()[:, :4, 2:10]
    np.testing.assert_allclose(np.nansum(restored, axis=(1, 2)), inside.sum(axis=(1, 2)), rtol=1e-6)


def test_fused_and_single_steps_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    from dqmroot.prepare import preparation as module

    me = counts(30, 3)
    for steps in (
        [dq.include_flow(), dq.crop(x=(1, 13)), dq.rebin(3, 5, 6), dq.normalise("maximum")],
        [dq.rebin(4, 1, 1)],
    ):
        prepared = Preparation(steps)
        fused = prepared.array(me)
        with monkeypatch.context() as patch:
            patch.setattr(module, "fuse", lambda *_: None)
            np.testing.assert_array_equal(prepared.array(me), fused)


def test_some_rows_at_a_time_give_what_all_give(monkeypatch: pytest.MonkeyPatch) -> None:
    me, steps = counts(40), [dq.crop((1, 5)), dq.rebin(2, 1), dq.normalise()]
    monkeypatch.setattr("dqmroot.prepare.fused.AT_ONCE", 100)
    for some in (steps, [*steps, dq.smooth()]):
        prepared = Preparation(some)
        parts = [part.copy() for part in prepared.parts(me)]
        assert (len(parts) > 3) == (some is steps)
        np.testing.assert_array_equal(np.concatenate(parts), prepared.array(me))
    contents, found = me.contents.copy(), []
    contents[33, 3, 3] = -100
    where = rf"normalise\(integral\) of negative contents: 1 .*in run {me.run[33]}, lumisection {me.lumi[33]}$"
    with pytest.raises(UsageError, match=where):
        found.extend(len(part) for part in Preparation(steps).parts(me.replace(contents=contents)))
    assert 0 < sum(found) <= 33


def test_arguments_are_kept_as_given() -> None:
    known: Any = {"n": 4, "mean": True, "partial": True, "gap": 2, "min_entries": 5.0}
    assert {key: value for key, value in dq.running(**known).to_dict().items() if key != "step"} == known
