"""Series to hist, pandas and PyROOT and back: nothing is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rootfiles
from hypothesis import given, settings
from hypothesis import strategies as st

import dqmroot as dq
from dqmroot.errors import UsageError

PROFILES = {"TProfile": 1, "TProfile2D": 2, "TProfile3D": 3}
CLASSES = [*(f"TH{n}{x}" for n in (1, 2, 3) for x in "FSDIC"), *PROFILES]
TYPES = {"F": np.float32, "C": np.int8, "S": np.int16, "I": np.int32, "D": np.float64}


def series(storage: str, *, sumw2: bool, variable: bool, seed: int = 1, n: int = 3) -> dq.MonitorElement:
    random = np.random.default_rng(seed)
    dimensions = PROFILES.get(storage) or int(storage[2])
    axes = []
    for k in range(dimensions):
        bins = int(random.integers(1, 5))
        labels = tuple(f"label {i}" if i % 2 else "" for i in range(bins)) if k == 0 and bins > 1 else ()
        if variable:
            axes.append(dq.Axis.variable(np.cumsum(random.uniform(0.1, 1, bins + 1)), labels, "xyz"[k]))
        else:
            axes.append(dq.Axis(bins, -1.0, 2.5, None, labels, "xyz"[k]))
    shape = (n, *(axis.nbins + 2 for axis in reversed(axes)))
    profile = "Profile" in storage
    dtype = np.float64 if profile else TYPES[storage[-1]]
    contents = random.integers(0, 99, shape).astype(dtype)
    more: dict[str, Any] = {}
    if profile:
        weight = random.uniform(0.1, 9, shape)
        y = random.normal(0, 3, shape)
        more = {"bin_entries": weight, "sumw2": weight * y**2 * 1.5, "bin_sumw2": weight**2 if sumw2 else None}
        contents = weight * y
    elif sumw2:
        more = {"sumw2": random.uniform(0, 9, shape)}
    return dq.MonitorElement(
        "Folder/name",
        storage,
        tuple(axes),
        [5] * n,
        [3, 1, 7][:n],
        random.uniform(0, 9, n),
        contents,
        title="a title",
        **more,
    )


def assert_same(a: dq.MonitorElement, b: dq.MonitorElement) -> None:
    assert (a.name, a.storage, a.axes, a.title) == (b.name, b.storage, b.axes, b.title)
    assert np.array_equal(a.keys, b.keys)
    assert np.array_equal(a.entries, b.entries)
    for what in ("contents", "sumw2", "bin_entries", "bin_sumw2"):
        mine, theirs = getattr(a, what), getattr(b, what)
        assert (mine is None) == (theirs is None), what
        if mine is not None:
            assert mine.dtype == theirs.dtype
            assert np.array_equal(mine, theirs), what


@pytest.mark.parametrize("storage", CLASSES)
@pytest.mark.parametrize("sumw2", [False, True])
@pytest.mark.parametrize("variable", [False, True])
def test_root_and_back(storage: str, sumw2: bool, variable: bool) -> None:
    me = series(storage, sumw2=sumw2, variable=variable)
    objects = [me.to_root(i) for i in range(len(me))]
    assert {str(h.ClassName()) for h in objects} == {storage}
    assert_same(dq.from_root(objects, name=me.name, run=me.run, lumi=me.lumi), me)
    for i, h in enumerate(objects):
        np.testing.assert_array_equal(rootfiles.contents(h), me.values(flow=True)[i].ravel())
        np.testing.assert_allclose(rootfiles.errors(h), np.sqrt(me.variances(flow=True)[i]).ravel(), rtol=1e-12)


@pytest.mark.parametrize("storage", CLASSES)
@settings(max_examples=10, deadline=None)
@given(sumw2=st.booleans(), variable=st.booleans(), seed=st.integers(0, 1000))
def test_hist_and_pandas_and_back(storage: str, sumw2: bool, variable: bool, seed: int) -> None:
    me = series(storage, sumw2=sumw2, variable=variable, seed=seed)
    back = dq.from_hist(list(me))
    if me.is_profile and me.bin_sumw2 is None:
        assert back.bin_sumw2 is None
    assert_same(back, me)
    assert_same(dq.from_dataframe(me.to_dataframe(flow=True)), me)


def test_a_changed_profile_is_read_anew() -> None:
    me = series("TProfile", sumw2=True, variable=False)
    h = me.to_hist(0)
    h.view(flow=True)["sum_of_weights"] *= 2
    back = dq.from_hist(h)
    assert back.bin_entries is not None
    assert me.bin_entries is not None
    np.testing.assert_allclose(back.bin_entries[0], 2 * me.bin_entries[0])
    np.testing.assert_allclose(back.values(flow=True)[0], me.values(flow=True)[0], rtol=1e-12)


def test_a_histogram_from_elsewhere() -> None:
    import hist

    h = hist.Hist.new.Reg(4, 0, 1, name="x").Double().fill([0.1, 0.2, 5])
    me = dq.from_hist(h, name="a/b", run=7)
    assert (me.name, me.storage, me.run.tolist(), me.lumi.tolist(), me.entries.tolist()) == (
        "a/b",
        "TH1D",
        [7],
        [1],
        [3.0],
    )
    assert me.contents.tolist() == [[0, 2, 0, 0, 0, 1]]
    with pytest.raises(UsageError, match="StrCategory"):
        dq.from_hist(hist.Hist.new.StrCat(["a"], name="x").Double())
    with pytest.raises(UsageError, match="flow"):
        dq.from_hist(hist.Hist.new.Reg(4, 0, 1, flow=False, name="x").Double())
    with pytest.raises(UsageError, match="different axes"):
        dq.from_hist([h, hist.Hist.new.Reg(5, 0, 1, name="x").Double()])
    with pytest.raises(UsageError, match="no histogram"):
        dq.from_hist([])


def test_what_has_no_form_in_root() -> None:
    scalar = dq.MonitorElement("a", "Int", (), [1], [1], [1], np.array([4]))
    with pytest.raises(UsageError, match=r"a \(Int\)"):
        scalar.to_root(0)
    with pytest.raises(UsageError, match="different classes"):
        dq.from_root([series(k, sumw2=False, variable=False).to_root(0) for k in ("TH1F", "TH1D")])


def test_uproot_interpretation(tmp_path: Path) -> None:
    """The decoder in a plain uproot session gives what `arrays` gives."""
    import awkward as ak
    import uproot

    ROOT = rootfiles.root()
    path = tmp_path / "i.root"
    kinds = ["TH1F", "TH2S", "TProfile"]
    with rootfiles.writer(path, 101) as out:
        for lumi in range(1, 30):
            out.begin(1, lumi)
            for kind in kinds:
                h = series(kind, sumw2=kind != "TH1F", variable=False, seed=lumi % 3).to_root(0)
                out.add(kind, h)
            out.end()
    assert ROOT is not None
    with uproot.open(path) as file:
        for kind in kinds:
            branch = file[kind + "s"]["Value"]
            made = branch.array(interpretation=dq.AsHistograms())
            mine = dq.arrays(path, kind)
            whole = {(row.me, row.lumi): row for row in mine[kind]}
            assert len(made) == 29
            order = sorted(range(29), key=lambda i, rows=mine.rows[kind]: rows.lumi[i])  # type: ignore[misc]
            for i in range(29):
                right = mine[kind][order[i]]
                assert made.entries[i] == right.entries
                assert ak.all(made.contents[i] == right.contents)
            assert whole
            part = branch.array(dq.AsHistograms(), entry_start=5, entry_stop=9)
            assert ak.all(part.contents == made.contents[5:9])
            arrays = branch.array(dq.AsHistograms(), entry_start=5, entry_stop=9, library="np")
            assert [a.tolist() for a in arrays] == part.contents.tolist()
        with pytest.raises(UsageError, match="does not hold histograms"):
            file["TH1Fs"]["FullName"].array(dq.AsHistograms())
