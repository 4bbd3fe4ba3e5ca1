"""Series come back exactly as they were written, in one go or in parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dqmroot.errors import InputError, ModelMismatchError
from dqmroot.io.tables.hdf5 import append_series, is_series, iterate_series, read_series, write_series
from dqmroot.series import Axis, MonitorElement

FIELDS = ("run", "lumi", "entries", "contents", "sumw2", "bin_entries", "bin_sumw2")
LABELS = tuple(f"ieta {i}" for i in range(5))


def same(one: MonitorElement, other: MonitorElement) -> None:
    assert (one.name, one.storage, one.title, one.axes) == (other.name, other.storage, other.title, other.axes)
    for what in FIELDS:
        a, b = getattr(one, what), getattr(other, what)
        assert (a is None) == (b is None), what
        if a is not None:
            assert a.dtype == b.dtype, what
            np.testing.assert_array_equal(a, b, err_msg=what)
    assert set(one.conditions) == set(other.conditions)
    for name, column in one.conditions.items():
        assert column.dtype.kind == other.conditions[name].dtype.kind
        np.testing.assert_array_equal(column, other.conditions[name])


def every_kind() -> list[MonitorElement]:
    rng = np.random.default_rng(5)
    run, lumi, n = np.array([1, 1, 2]), np.array([1, 2, 1]), 3
    x = Axis(5, -0.1, 1 / 3, labels=LABELS, title="ieta")
    y = Axis.variable([0.0, 0.1, 1.0, 1e300], title="φ")
    z = Axis(2, 0, 1)
    one = MonitorElement("A/B", "TH1F", (x,), run, lumi, rng.random(n), rng.random((n, 7)).astype("f4"), title="a; b")
    two = rng.integers(-5, 5, (n, 5, 7)).astype("i2")
    three = rng.random((n, 4, 5, 7)).astype("f4")
    out = [
        one.replace(conditions={"pileup": rng.random(n), "hf_ready": np.array([1, 0, -1], np.int8)}),
        MonitorElement("A/B/counts", "TH2S", (x, y), run, lumi, rng.random(n), two, sumw2=rng.random(two.shape)),
        MonitorElement("A/B/run/../x y%", "TH3F", (x, y, z), run, lumi, rng.random(n), three),
        MonitorElement("scalar/i", "Int", (), run, lumi, np.ones(n), np.array([1, 2**62, -3])),
        MonitorElement("scalar/s", "String", (), run, lumi, np.ones(n), np.array(["", "ä", "b"], object)),
    ]
    for what in ("TProfile", "TProfile2D"):
        axes = (x, y)[: 1 + what.endswith("2D")]
        shape = (n, *(axis.nbins + 2 for axis in reversed(axes)))
        sums = {key: rng.random(shape) for key in ("contents", "sumw2", "bin_entries", "bin_sumw2")}
        named = {"p": np.array(["2p0E34", "", "x"])}
        out.append(MonitorElement(f"profiles/{what}", what, axes, run, lumi, rng.random(n), conditions=named, **sums))
    return out


def test_every_kind_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "series.h5"
    written = every_kind()
    write_series(path, written, inputs=[{"path": "a.root", "uuid": "0"}])
    assert is_series(path)
    read = read_series(path)
    assert set(read) == {me.name for me in written}
    for me in written:
        same(read[me.name], me)
    assert list(read_series(path, lambda name: name.startswith("scalar/i"))) == ["scalar/i"]
    (part,) = iterate_series(path, lambda name: name == "A/B")
    same(part, written[0])
    with h5py.File(path) as file:
        assert file["A/B/%63ounts"].attrs["name"].decode() == "A/B/counts"
        assert file["A/B/counts"].shape == (3, 7)
        assert file["A/B/counts"].chunks is not None


def test_no_text_of_a_series_lies_in_the_heap(tmp_path: Path) -> None:
    """HDF5's library hangs on damaged heaps, also where only an attribute is looked at."""
    write_series(tmp_path / "series.h5", [me.replace(conditions={}) for me in every_kind() if me.storage != "String"])
    texts = []

    def look(_: str, item: Any) -> None:
        kinds = [item.attrs.get_id(name).dtype for name in item.attrs]
        texts.extend(
            h5py.check_string_dtype(kind) for kind in [*kinds, *([item.dtype] if hasattr(item, "dtype") else [])]
        )

    with h5py.File(tmp_path / "series.h5") as file:
        look("", file)
        file.visititems(look)
    lengths = [text.length for text in texts if text is not None]
    assert len(lengths) > 20
    assert None not in lengths


def test_parts_equal_the_whole(tmp_path: Path) -> None:
    whole = every_kind()
    write_series(tmp_path / "whole.h5", whole)
    write_series(tmp_path / "parts.h5", (me[i : i + 1] for i in range(3) for me in whole))
    write_series(tmp_path / "added.h5", [me[1:2] for me in whole])
    append_series(tmp_path / "added.h5", [me[[2, 0]] for me in whole])
    for path in ("whole.h5", "parts.h5", "added.h5"):
        read = read_series(tmp_path / path)
        for me in whole:
            same(read[me.name], me)


def test_errors_and_conditions_that_some_rows_lack(tmp_path: Path) -> None:
    with_all = every_kind()[0]
    bare = with_all.replace(conditions={}, lumi=with_all.lumi + 10)
    weighted = with_all.replace(sumw2=with_all.contents * 2.0, lumi=with_all.lumi + 20, conditions={})
    write_series(tmp_path / "s.h5", [bare, with_all, weighted])
    me = read_series(tmp_path / "s.h5")["A/B"]
    order = np.argsort(np.concatenate([bare.keys, with_all.keys, weighted.keys]))
    plain = bare.contents.astype(np.float64)
    np.testing.assert_array_equal(me.sumw2, np.concatenate([plain, plain, weighted.sumw2])[order])
    gaps = [-1] * 3
    assert me.conditions["hf_ready"].tolist() == np.array([*gaps, 1, 0, -1, *gaps])[order].tolist()
    assert np.isnan(me.conditions["pileup"]).sum() == 6


def test_rows_of_one_ls_are_added_up(tmp_path: Path) -> None:
    me = every_kind()[0].replace(conditions={})
    write_series(tmp_path / "s.h5", [me, me[[1]]])
    read = read_series(tmp_path / "s.h5")["A/B"]
    factor = np.array([1, 2, 1])
    np.testing.assert_array_equal(read.contents, me.contents * factor[:, None].astype("f4"))
    np.testing.assert_array_equal(read.entries, me.entries * factor)
    short = every_kind()[1].replace(sumw2=None, contents=np.full((3, 5, 7), 30000, "i2"))
    write_series(tmp_path / "i.h5", [short, short])
    assert (read_series(tmp_path / "i.h5")[short.name].contents == 32767).all()
    scalar = every_kind()[3]
    write_series(tmp_path / "n.h5", [scalar, scalar.replace(contents=np.array([7, 8, 9]))])
    assert read_series(tmp_path / "n.h5")[scalar.name].contents.tolist() == [7, 8, 9]


def test_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "series.h5"
    me = every_kind()[0]
    write_series(path, [me])
    before = path.read_bytes()
    other = me.replace(axes=(Axis(5, 0, 2),))
    with pytest.raises(ModelMismatchError, match="A/B: bins 5 in"):
        append_series(path, [me[:1], other])
    with pytest.raises(ModelMismatchError, match="class TH1D"):
        append_series(path, [me.replace(storage="TH1D")])

    def fails() -> object:
        yield me
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_series(path, fails())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["series.h5"]


def test_what_is_no_file_of_series(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent"):
        read_series(tmp_path / "absent.h5")
    text = tmp_path / "text.h5"
    text.write_text("hello")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["a"] = [1]
    with h5py.File(tmp_path / "later.h5", "w") as file:
        file.attrs.update({"kind": "dqmroot series", "schema_version": 99})
    for name, what in (
        ("text.h5", "not readable"),
        ("other.h5", "no series of dqmroot"),
        ("later.h5", "later version"),
    ):
        with pytest.raises(InputError, match=what):
            read_series(tmp_path / name)
        with pytest.raises(InputError, match=what):
            append_series(tmp_path / name, [])
    assert not is_series(text)
    assert not is_series(tmp_path / "other.h5")


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(names, min_size=1, max_size=4, unique=True), st.integers(0, 4))
def test_any_name(tmp_path: Path, found: list[str], n: int) -> None:
    series = [
        MonitorElement(name, "TH1D", (Axis(1, 0, 1),), np.ones(n), np.arange(n), np.ones(n), np.full((n, 3), i + 0.5))
        for i, name in enumerate(found)
    ]
    write_series(tmp_path / "names.h5", series)
    read = read_series(tmp_path / "names.h5")
    assert len(read) == len(series)
    for me in series:
        same(read[me.name], me)
