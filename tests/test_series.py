"""MonitorElement: shapes, flow bins, views, UHI, profiles as sums, joining."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqmroot.errors import EmptySelectionError, ModelMismatchError, UsageError
from dqmroot.series import Axis, MonitorElement, concatenate


def make(n_ls: int = 4, ny: int = 2, nx: int = 3, **changes: Any) -> MonitorElement:
    rng = np.random.default_rng(1)
    contents = rng.poisson(20, (n_ls, ny + 2, nx + 2)).astype(np.float32)
    values: dict[str, Any] = {
        "name": "A/b",
        "storage": "TH2F",
        "axes": (Axis(nx, 0, 3, labels=("a", "b", "c"), title="x"), Axis.variable([0, 1, 4], title="y")),
        "run": np.full(n_ls, 5),
        "lumi": np.arange(1, n_ls + 1),
        "entries": contents.sum(axis=(1, 2)),
        "contents": contents,
    }
    return MonitorElement(**{**values, **changes})


def test_values_are_a_view_without_flow_bins() -> None:
    me = make()
    assert me.values().shape == (4, 2, 3)
    assert np.shares_memory(me.values(), me.contents)
    assert me.values(flow=True).dtype == np.float32
    np.testing.assert_array_equal(me.values(), me.contents[:, 1:-1, 1:-1])
    assert me.run.dtype == me.lumi.dtype == np.uint32
    assert me.entries.dtype == np.float64


def test_wrong_shapes_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"A/b: contents has shape \(4, 4, 4\), the axes say \(4, 4, 5\)"):
        make(contents=np.zeros((4, 4, 4)))
    with pytest.raises(UsageError, match=r"A/b: lumi has shape \(3,\)"):
        make(lumi=np.arange(3))
    with pytest.raises(UsageError, match="A/b: pileup has shape"):
        make(conditions={"pileup": np.zeros(2)})


def test_indexing_gives_series_or_a_histogram() -> None:
    me = make(conditions={"pileup": np.arange(4.0)})
    some = me[me.lumi > 2]
    assert len(some) == 2
    np.testing.assert_array_equal(some.conditions["pileup"], [2, 3])
    assert len(me[[]]) == 0
    assert len(me[1:3]) == 2
    one = me[1]
    assert one.axes[0].size == 3
    np.testing.assert_array_equal(one.values(flow=True), me.contents[1].T)


def test_to_hist_obeys_uhi() -> None:
    from uhi.typing.plottable import PlottableHistogram

    me = make()
    shown = me.to_hist(0)
    assert isinstance(shown, PlottableHistogram)
    assert shown.kind == "COUNT"
    np.testing.assert_array_equal(shown.axes[1].edges, [0, 1, 4])
    np.testing.assert_array_equal(shown.values(), me.values()[0].T)
    assert shown.axes[0].label == "x"


def test_stored_errors_are_kept() -> None:
    me = make()
    weighted = me.replace(sumw2=4.0 * me.contents)
    np.testing.assert_array_equal(me.variances(), me.values())
    np.testing.assert_array_equal(weighted.variances(), 4 * me.values())
    np.testing.assert_allclose(weighted.to_hist(2).variances(flow=True), 4 * me.contents[2].T)


def test_profiles_are_sums_and_agree_with_root() -> None:
    import ROOT

    ROOT.TH1.AddDirectory(False)
    profile = ROOT.TProfile("p", "", 4, 0.0, 4.0)
    rng = np.random.default_rng(3)
    for x, y in zip(rng.uniform(-1, 5, 200), rng.normal(3, 1, 200), strict=True):
        profile.Fill(x, y)
    n = profile.GetNcells()
    sums = np.array([profile.At(i) for i in range(n)])
    weights = np.array([profile.GetBinEntries(i) for i in range(n)])
    squares = np.array([profile.GetSumw2()[i] for i in range(n)])
    me = MonitorElement(
        "p", "TProfile", (Axis(4, 0, 4),), [1], [1], [200], sums[None], sumw2=squares[None], bin_entries=weights[None]
    )
    assert me.is_profile
    mean = [profile.GetBinContent(i) for i in range(n)]
    error = [profile.GetBinError(i) for i in range(n)]
    np.testing.assert_allclose(me.values(flow=True)[0], mean, rtol=1e-12)
    np.testing.assert_allclose(np.sqrt(me.variances(flow=True)[0]), error, rtol=1e-9)
    shown = me.to_hist(0)
    assert shown.kind == "MEAN"
    np.testing.assert_allclose(shown.values(flow=True), mean, rtol=1e-12)


def test_concatenate_joins_and_refuses() -> None:
    me = make()
    both = concatenate([me, me.replace(run=np.full(4, 6))])
    assert len(both) == 8
    np.testing.assert_array_equal(both.run, [5] * 4 + [6] * 4)
    mixed = concatenate([me, me.replace(sumw2=me.contents * 2.0)])
    assert mixed.sumw2 is not None
    np.testing.assert_array_equal(mixed.sumw2[:4], me.contents)
    with pytest.raises(UsageError, match="cannot join"):
        concatenate([me, me.replace(name="other")])
    with pytest.raises(ModelMismatchError, match=r"A/b: bins 3 in \[0, 9\]"):
        concatenate([me, make(axes=(Axis(3, 0, 9), me.axes[1]))])
    with pytest.raises(UsageError, match="nothing"):
        concatenate([])


def test_require_names_the_element() -> None:
    with pytest.raises(EmptySelectionError, match="A/b: no lumisection left after the golden JSON"):
        make()[[]].require("the golden JSON")


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9)), min_size=1, max_size=20))
def test_sort_orders_by_run_then_lumisection(pairs: list[tuple[int, int]]) -> None:
    n = len(pairs)
    run, lumi = np.array(pairs).T
    contents = np.arange(n * 3, dtype=np.float32).reshape(n, 3)
    me = MonitorElement("m", "TH1F", (Axis(1, 0, 1),), run, lumi, np.arange(n), contents).sort()
    assert list(zip(me.run.tolist(), me.lumi.tolist(), strict=True)) == sorted(pairs)
    np.testing.assert_array_equal(me.contents, contents[me.entries.astype(int)])


def test_axes_read_back_from_json() -> None:
    for axis in make().axes:
        assert Axis.from_dict(axis.to_dict()) == axis
    with pytest.raises(UsageError, match="increasing"):
        Axis.variable([0, 2, 1])
