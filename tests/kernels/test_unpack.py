"""Baskets in compiled loops: the same as step by step from Python, and nothing of a damaged key is believed."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
import rootfiles
from hypothesis import given, settings
from hypothesis import strategies as st
from nanochecks import fill

import dqmroot as dq
from dqmroot.io.nanodqmio import decode
from dqmroot.io.nanodqmio.trees import open_file
from dqmroot.io.storage.baskets import Baskets
from dqmroot.io.storage.inflate import Inflater, linked
from dqmroot.kernels import inflate

pytestmark = pytest.mark.skipif(not linked(), reason="no libdeflate within reach of compiled loops")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ROOT = rootfiles.root()
    path: Path = tmp_path_factory.mktemp("unpack") / "zlib.root"
    with rootfiles.writer(path, 101) as out:
        for lumi in range(1, 5):
            out.begin(1, lumi)
            for i in range(8):
                out.add(f"A/one{i}", fill(ROOT, ROOT.TH1F("h", "", 100, 0, 3), lumi))
                out.add(f"A/two{i}", fill(ROOT, ROOT.TH2F("t", "", 9, 0, 1, 9, 0, 1), lumi))
            out.end()
    return path


def all_contents(path: Path) -> dict[str, Any]:
    return {me.name: me.contents.tobytes() for me in dq.arrays(path, threads=1).all_series()}


def test_compiled_and_stepwise_agree(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    real = Baskets.payload
    monkeypatch.setattr(Baskets, "payload", lambda self, *a: called.append(self.branch) or real(self, *a))
    fast = all_contents(path)
    assert "Value" in called  # one entry of each name is looked at
    looked = called.count("Value")
    monkeypatch.setattr(decode, "linked", lambda: False)
    assert all_contents(path) == fast
    assert called.count("Value") > 2 * looked, "the compiled loop left its work to Python"


def unpacked(raw: bytes, seek: int, size: int = 1 << 20) -> tuple[list[int], bytes] | None:
    out, head = np.zeros(size, np.uint8), np.zeros(4, np.int64)
    data = np.frombuffer(b"\xff" * 5 + raw + b"\xff" * 5, np.uint8)
    label = np.frombuffer(b"\7TBasket\5Value", np.uint8)
    if not unpack(data, 5, 5 + len(raw), seek, label, out, head):
        return None
    return head.tolist(), out[: head[0]].tobytes()


def unpack(data: Any, begin: int, end: int, seek: int, label: Any, out: Any, head: Any) -> bool:
    return bool(_one(data, begin, end, seek, label, out, head))


@numba.njit
def _one(data: Any, begin: Any, end: Any, seek: Any, label: Any, out: Any, head: Any) -> Any:
    worker = inflate._alloc()
    done = inflate.unpack_zlib(data, begin, end, seek, label, worker, out, np.zeros(1, np.uint64), head)
    inflate._free(worker)
    return done


@pytest.fixture(scope="module")
def basket(path: Path) -> tuple[bytes, int, bytes]:
    values = open_file(str(path)).trees["TH1Fs"].values
    source = open_file(str(path)).source
    (raw,) = values.load(source, [0])
    assert raw is not None
    assert raw.count(b"ZL\x08")
    return raw, int(values.seek[0]), values.payload(0, raw, Inflater()).data.tobytes()


def test_one_basket(basket: tuple[bytes, int, bytes]) -> None:
    raw, seek, right = basket
    found = unpacked(raw, seek)
    assert found is not None
    assert found[1] == right
    assert found[0][0] == len(right)
    assert unpacked(raw, seek + 1) is None, "a basket of another place"
    assert unpacked(raw, seek, len(right) - 1) is None, "no room"
    assert unpacked(raw.replace(b"\5Value", b"\5Walue"), seek) is None, "another branch"
    at = raw.index(b"ZL\x08")
    for tag in (b"XZ\x00", b"L4\x00", b"ZS\x00"):
        assert unpacked(raw[:at] + tag + raw[at + 3 :], seek) is None, "another codec"


def test_frames_that_promise_too_much(basket: tuple[bytes, int, bytes]) -> None:
    raw, seek, right = basket
    at = raw.index(b"ZL\x08")
    for size in (0, len(right) - 1, len(right) + 1, 0xFFFFFF):
        assert unpacked(raw[: at + 6] + size.to_bytes(3, "little") + raw[at + 9 :], seek) is None
    packed = len(raw) - at - 9
    for size in (0, packed - 1, packed + 1, 0xFFFFFF):
        assert unpacked(raw[: at + 3] + size.to_bytes(3, "little") + raw[at + 6 :], seek) is None
    bomb = zlib.compress(bytes(10 * len(right)), 9)
    body = raw[at:][:3] + len(bomb).to_bytes(3, "little") + len(right).to_bytes(3, "little") + bomb
    whole = (at + len(body)).to_bytes(4, "big") + raw[4:at] + body
    assert unpacked(whole, seek) is None


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_any_bytes_of_a_key_may_be_wrong(basket: tuple[bytes, int, bytes], data: st.DataObject) -> None:
    raw, seek, right = basket
    at = data.draw(st.integers(0, 110))
    size = data.draw(st.sampled_from([1, 2, 4, 8]))
    word = data.draw(
        st.sampled_from([0, 0x7F, 0x80, 0xFF]).map(lambda b: bytes([b]) * size)
        | st.binary(min_size=size, max_size=size)
    )
    found = unpacked(raw[:at] + word + raw[at + size :], seek)
    if found is not None:
        (length, border, key_length, n), made = found
        assert length == len(right)
        assert made == right
        assert 0 <= border <= length
        assert 40 <= key_length <= len(raw)
        assert n >= 0
