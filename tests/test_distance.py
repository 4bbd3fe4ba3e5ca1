"""Distances: definitions, ROOT's own numbers, what is not judged."""

from __future__ import annotations

import numpy as np
import pytest
from series import counts

import dqmroot as dq
from dqmroot.errors import UnknownNameError, UsageError
from dqmroot.kernels.top import DIFFERENCES


def test_mean_of_largest() -> None:
    x = np.array([[1.0, 5, 2], [0, 0, 1], [np.nan, 1, 2]])
    r = np.array([1.0, 2, 4])
    np.testing.assert_allclose(dq.mean_of_largest(x, r, 2), [(9 + 4) / 2, (9 + 4) / 2, np.nan])
    np.testing.assert_allclose(dq.mean_of_largest(x, r, 1, "chi2"), [4.5, 9 / 4, np.nan])
    np.testing.assert_allclose(dq.mean_of_largest(x, r, 1, "pull"), [3 / 2**0.5, 3 / 2, np.nan])
    np.testing.assert_allclose(dq.mean_of_largest(x, r, 1, "deviance"), [2 * (5 * np.log(2.5) - 3), 4, np.nan])
    assert dq.mean_of_largest(x[:1], np.array([1.0, 0, 2]), 1, "chi2") == np.inf
    assert dq.mean_of_largest(x[:1], np.array([1.0, 0, 2]), 1, "chi2", floor=1.0) == 25


@pytest.mark.parametrize("n_axes", [1, 2, 3])
@pytest.mark.parametrize("shared", [True, False])
def test_what_is_empty_or_nan_is_not_judged(n_axes: int, *, shared: bool) -> None:
    x = counts(6, n_axes, mean=0.2, dtype="f8").values().copy()
    x[[1, 4]] = 0
    x[3].flat[-1] = np.nan
    x[5] = 0
    x[5].flat[5] = 1  # a single entry is not nothing
    reference = np.ones(x.shape[1:] if shared else x.shape)
    unknown = np.array([False, True, False, True, True, False])
    axes = tuple(range(1, n_axes + 1))
    for kind in DIFFERENCES:
        score = dq.mean_of_largest(x, reference, 3, kind)  # type: ignore[arg-type]
        np.testing.assert_array_equal(np.isnan(score), unknown, kind)
        for loss in (
            dq.loss_map(x, reference, kind),  # type: ignore[arg-type]
            dq.loss_map(x, reference, kind, mean_map=np.ones(x.shape[1:])),  # type: ignore[arg-type]
        ):
            np.testing.assert_array_equal(np.isnan(loss).all(axis=axes), unknown & (np.arange(6) != 3), kind)
            np.testing.assert_array_equal(np.isnan(loss).any(axis=axes), unknown, kind)
    for scale in (True, False):
        np.testing.assert_array_equal(np.isnan(dq.pulls(x, reference, scale=scale)).any(axis=axes), unknown)
    for found in (dq.ks_distance(x, reference), dq.shape_chi2(x, reference), dq.moments(x)[0][:, 0]):
        np.testing.assert_array_equal(np.isnan(found), unknown)
    assert np.isnan(dq.mean_of_largest(np.zeros((2, 3)), np.zeros(3), 1)).all()  # what is as expected, too
    assert dq.mean_of_largest(x[:0], x[:0], 1).shape == (0,)


@pytest.mark.parametrize(
    ("k", "kind", "shape", "message"),
    [
        (4, "squared", (3,), r"me: k = 4 largest of 3 bins \(3,\)"),
        (0, "squared", (3,), "k = 0"),
        (1.5, "squared", (3,), r"k = 1.5"),
        (1, "squared", (4,), r"contents of shape \(2, 3\) and a reference of shape \(4,\)"),
        (1, "deviance", (3,), r"negative counts, contents of shape \(2, 3\)"),
        (1, "square", (3,), "unknown kind of difference 'square'; nearest: squared"),
    ],
)
def test_what_does_not_fit_is_told(k: int, kind: str, shape: tuple[int, ...], message: str) -> None:
    x = np.array([[1.0, -1, 2], [1, 1, 1]])
    with pytest.raises((UsageError, UnknownNameError), match=message):
        dq.mean_of_largest(x, np.ones(shape), k, kind, name="me")  # type: ignore[arg-type]


def test_loss_map_relative_to_the_mean_map() -> None:
    x = counts(5).values()
    mean = x.mean(axis=0)
    mean[0, 0] = 0
    usual = np.where(mean > 0, mean, mean[mean > 0].min()).astype(float)
    r = np.roll(x, 1, axis=0)
    wanted = (r / usual - x / usual) ** 2
    np.testing.assert_allclose(dq.loss_map(x, r, mean_map=mean), wanted, rtol=1e-10)
    np.testing.assert_allclose(
        dq.loss_map(x, r, "pull", mean_map=mean, floor=1.0),
        np.abs(r - x) / usual / np.sqrt(np.maximum(r / usual, 1)),
        rtol=1e-6,
    )
    with pytest.raises(UsageError, match="a mean map of shape"):
        dq.loss_map(x, r, mean_map=mean[0])


def test_pulls_have_the_square_root_of_the_reference() -> None:
    found = dq.pulls(np.array([[4.0, 9, 20]]), np.array([16.0, 0, 17]))
    np.testing.assert_allclose(found, [[-3, 9, 0.728]], atol=1e-3)
    assert np.isnan(dq.pulls(np.zeros((1, 3)), np.array([16.0, 0, 17]))).all()
    np.testing.assert_allclose(dq.pulls(np.array([[4.0, 9, 20]]), np.array([16.0, 1, 25]), scale=False), [[-3, 8, -1]])


def test_time_product_survives_gaps_runs_and_order() -> None:
    run = np.array([7, 7, 7, 7, 8, 8])
    lumi = np.array([1, 2, 4, 5, 1, 2])
    loss = np.arange(2.0, 8)[:, None]
    me = dq.MonitorElement("m", "TH1F", (dq.Axis(1, 0, 1),), run, lumi, np.ones(6), np.ones((6, 3)))
    wanted = np.array([np.nan, 6, np.nan, 20, np.nan, 42])
    order = [3, 5, 0, 1, 4, 2]
    np.testing.assert_array_equal(dq.time_product(loss, me, 2)[:, 0], wanted)
    np.testing.assert_array_equal(dq.time_product(loss[order], me[order], 2)[:, 0], wanted[order])
    np.testing.assert_array_equal(dq.time_product(loss, me, 3, gap=1, partial=True)[:, 0], [2, 6, 24, 60, 6, 42])
    with pytest.raises(UsageError, match="5 loss maps for 6 lumisections"):
        dq.time_product(loss[:5], me, 2)


def test_shape_distances_are_those_of_root() -> None:
    root = pytest.importorskip("ROOT")
    rng = np.random.default_rng(4)
    x, r = rng.poisson(20, (5, 30)).astype(float), rng.poisson(40, 30).astype(float)
    made = []
    for i, line in enumerate([*x, r]):
        h = root.TH1D(f"h{i}", "", 30, 0, 1)
        h.SetDirectory(root.nullptr)
        for j, value in enumerate(line, start=1):
            h.SetBinContent(j, value)
        h.SetEntries(line.sum())
        made.append(h)
    ks = [h.KolmogorovTest(made[-1], "M") for h in made[:-1]]
    chi2 = [h.Chi2Test(made[-1], "UU CHI2/NDF") for h in made[:-1]]
    np.testing.assert_allclose(dq.ks_distance(x, r), ks, rtol=1e-12)
    np.testing.assert_allclose(dq.shape_chi2(x, r), chi2, rtol=1e-12)


def test_cumulative_distances_see_the_order_of_the_bins() -> None:
    x = np.array([[10.0, 0, 0, 5], [0, 0, 0, 0], [5, 0, 0, 10]])
    r = np.array([10.0, 0, 0, 5])
    np.testing.assert_allclose(dq.ks_distance(x, r), [0, np.nan, 1 / 3], atol=1e-15)
    assert np.isnan(dq.shape_chi2(x, r)[1])
    maps = np.zeros((1, 2, 3))
    maps[0, 0, 2] = maps[0, 1, 0] = 1
    other = np.zeros((2, 3))
    other[0, 2] = other[1, 2] = 1
    assert dq.ks_distance(maps, other) == pytest.approx(0.5)


def test_negative_counts_have_no_cumulative_distance() -> None:
    x = np.array([[1.0, -1, 2]])
    for distance in (dq.ks_distance, dq.shape_chi2):
        with pytest.raises(UsageError, match=r"me: negative counts, contents of shape \(1, 3\)"):
            distance(x, np.ones(3), name="me")
        with pytest.raises(UsageError, match=r"me: contents of shape \(1, 3\) and a reference of shape \(4,\)"):
            distance(np.abs(x), np.ones(4), name="me")


def test_moments_need_the_axes_of_the_contents() -> None:
    me = counts(6)
    for axes in (me.axes[:1], me.axes[::-1]):
        with pytest.raises(UsageError, match=r"moments of contents of shape \(6, 8, 12\) along axes of"):
            dq.moments(me.values(), axes)


def test_moments() -> None:
    me = counts(6)
    means, widths = dq.moments(me.values(), me.axes)
    x, w = me.axes[0].centres, me.values()[2].sum(axis=0, dtype=float)
    assert means[2, 0] == pytest.approx(np.average(x, weights=w))
    assert widths[2, 0] == pytest.approx(np.sqrt(np.average((x - means[2, 0]) ** 2, weights=w)))
    assert means.shape == (6, 2)
    assert np.isnan(dq.moments(np.zeros((2, 4)))[0]).all()
    assert dq.moments(np.array([[0, 0, 3.0]]))[0] == 2
