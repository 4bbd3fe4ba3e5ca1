"""What is packed is what was given, to the digits that are shown; nothing in a name can end a script."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from packed import unpack

from dqmroot.reports.packing import pack, pack_exact, pack_rough, round_digits, script


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "u4", "f4", "f8", ">f4", ">u2"])
def test_arrays_keep_type_shape_and_values(kind: str) -> None:
    array = np.arange(12, dtype=kind).reshape(3, 4)[:, ::2]
    packed = json.loads(json.dumps(pack(array)))
    assert packed["type"] == kind.lstrip(">")
    assert np.array_equal(unpack(packed), array)


def test_only_what_shrinks_is_deflated() -> None:
    noise = np.random.default_rng(5).integers(0, 2**16, (40, 50)).astype(np.uint16)
    sparse = np.where(noise < 2**13, noise, 0).astype(np.uint16)
    assert pack(noise)["plain"]
    assert "plain" not in pack(sparse)
    assert len(pack(sparse)["data"]) < len(pack(noise)["data"]) / 2
    for array in (noise, sparse):
        assert np.array_equal(unpack(json.loads(json.dumps(pack(array)))), array)


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="no packing for arrays of complex128"):
        pack(np.zeros(3, complex))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 1, 255], "u1"),
        ([0.0, 256.0], "u2"),
        ([0, 2**16], "f4"),
        ([-1.0, 2], "f4"),
        ([0.5, 1], "f4"),
        ([np.nan, 1], "f4"),
    ],
)
def test_counts_are_as_small_as_they_can_be(values: list[float], kind: str) -> None:
    packed = pack_exact(np.array(values))
    assert packed["type"] == kind
    assert np.array_equal(unpack(packed), np.array(values, np.float32), equal_nan=True)


@given(arrays(np.float64, array_shapes(max_dims=2, max_side=8), elements=st.floats(-1e6, 1e6) | st.just(np.nan)))
def test_what_is_only_looked_at_is_near(values: np.ndarray) -> None:
    back = unpack(pack_rough(values))
    assert np.array_equal(np.isnan(back), np.isnan(values))
    finite = values[np.isfinite(values)]
    if finite.size:
        span = finite.max() - finite.min()
        assert np.nanmax(np.abs(back - values)) <= 2e-5 * span + 1e-9 * np.abs(finite).max()


def test_small_losses_survive_beside_large_ones() -> None:
    values = np.array([0.0, 1e-6, 1e-4, 1e-2, 1.0])
    assert np.allclose(unpack(pack_rough(values)), values, rtol=0.02)


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_scores_show_the_digits_of_the_json(value: float) -> None:
    shown = float(round_digits([value])[0])
    assert np.float32(float(f"{shown:.5g}")) == np.float32(float(f"{value:.5g}"))
    if abs(value) > 1e-37:
        assert f"{shown:.5g}" == f"{value:.5g}"


@given(st.text())
def test_scripts_are_ascii_and_closed(text: str) -> None:
    made = script(text, {text: [text]})
    assert made.isascii()
    assert "\n" not in made[:-1]
    body = made.removeprefix("dqmroot.put(").removesuffix(");\n")
    name, end = json.JSONDecoder().raw_decode(body)
    assert name == text
    assert json.loads(body[end + 1 :]) == {text: [text]}
