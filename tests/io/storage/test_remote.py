"""The same numbers from a web server and an XRootD server on the loopback interface, and only the bytes that are needed."""

from __future__ import annotations

import http.server
import importlib.util
import itertools
import pickle
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rootfiles import root, writer
from servers import free_port, open_to_all, start_xrootd

from dqmroot.errors import InputError, UsageError
from dqmroot.io import formats
from dqmroot.io.nanodqmio.trees import open_file
from dqmroot.io.storage import remote
from dqmroot.io.storage.source import Source, open_source

pytest.importorskip("ROOT")

ME, N_MES, N_LS = "Folder/h7", 300, 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nanoDQMIO file of 300 elements of 625 bins, a DQM GUI file, a table and a series."""
    path = tmp_path_factory.mktemp("served")
    path.chmod(0o755)
    ROOT = root()
    rng = np.random.default_rng(3)
    with writer(path / "nano.root") as out:
        for lumi in range(1, N_LS + 1):
            out.begin(1, lumi)
            for i in range(N_MES):
                h = ROOT.TH2F(f"h{i}", "", 25, 0.0, 1.0, 25, 0.0, 1.0)
                # Random bins do not compress: the baskets of one element are a small part of the file.
                h.GetArray()
                flat = rng.random(27 * 27).astype("f4")
                h.Set(27 * 27, flat)
                out.add(f"Folder/h{i}", h)
            out.end()
    file = ROOT.TFile(str(path / "gui.root"), "RECREATE")
    file.mkdir("DQMData").mkdir("Run 1").mkdir("Hcal").mkdir("Run summary").cd()
    ROOT.TH1F("h", "", 3, 0.0, 1.0).Write()
    file.Close()
    formats_series = formats.read(path / "nano.root", ME)
    from dqmroot.io.tables.hdf5 import write_series

    write_series(path / "series.h5", [formats_series])
    table = "fromrun,fromlumi,hname,metype,histo,entries,Xmax,Xmin,Xbins,Ymax,Ymin,Ybins\n"
    (path / "table.csv").write_text(table + '1,2,a,3,"[0, 1, 2]",3,1,0,1,1,0,1\n')
    for each in path.iterdir():
        each.chmod(0o644)
    return path


class Handler(http.server.BaseHTTPRequestHandler):
    """GET with ranges; counts what it sends."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        served = self.server
        name = self.path.lstrip("/").split("?")[0]
        if name.startswith("moved/"):
            self.answer(302, b"", Location="/" + name.removeprefix("moved/"))
            return
        path = served.folder / name
        if not path.is_file():
            self.answer(404, b"no")
            return
        data = path.read_bytes()
        first, last = self.headers["Range"].removeprefix("bytes=").split("-")
        if served.ignore_ranges:
            self.answer(200, data)
            return
        part = data[int(first) : int(last) + 1]
        served.sent += len(part)
        served.requests += 1
        if served.cut and served.requests > served.cut:
            part = part[: len(part) // 2]
        where = f"bytes {first}-{min(int(last), len(data) - 1)}/{len(data)}"
        self.answer(206, part, **{"Content-Range": where})

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def web(folder: Path) -> Iterator[Any]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.folder, server.sent, server.requests, server.cut, server.ignore_ranges = folder, 0, 0, 0, False
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def xrootd(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    if shutil.which("xrootd") is None:
        pytest.skip("no xrootd server installed")
    if importlib.util.find_spec("XRootD") is None:
        pytest.skip("no XRootD client installed")
    open_to_all(folder)
    work = tmp_path_factory.mktemp("xrootd")
    process, url = start_xrootd(folder, work)
    yield process, url
    process.kill()
    process.wait()


def check_reads(url: str, folder: Path) -> None:
    """Everything reads as from the disk."""
    local, far = formats.read(folder / "nano.root", ME), formats.read(f"{url}/nano.root", ME)
    np.testing.assert_array_equal(far.contents, local.contents)
    np.testing.assert_array_equal(far.lumi, local.lumi)
    assert [info.name for info in formats.list_mes(f"{url}/gui.root")] == ["Hcal/h"]
    assert formats.read(f"{url}/gui.root", "Hcal/h").contents.shape == (1, 5)
    np.testing.assert_array_equal(formats.read(f"{url}/series.h5", ME).contents, local.contents)
    assert formats.read(f"{url}/table.csv", "a").contents.tolist() == [[0, 1, 2]]
    with pytest.raises(InputError, match=r"absent\.root: "):
        formats.read(f"{url}/absent.root", ME)
    for source in (open_source(f"{url}/nano.root"),):
        size = (folder / "nano.root").stat().st_size
        assert source.size == size
        again = pickle.loads(pickle.dumps(source))
        for each in (source, again):
            each.close()
            check_ranges(each, (folder / "nano.root").read_bytes())
            each.close()


def check_ranges(source: Source, data: bytes) -> None:
    ranges = [(0, 4), (100, 100), (3, 7), (len(data) - 5, len(data)), (10, 10 + 40_000), (0, len(data))]
    assert source.read_many(ranges) == [data[a:b] for a, b in ranges]
    assert source.read_many([]) == []
    for a, b in ((-1, 3), (0, len(data) + 1), (5, 4)):
        with pytest.raises(InputError, match="lie outside the file"):
            source.read(a, b)


def test_http(web: Any, folder: Path) -> None:
    check_reads(web.url, folder)
    check_reads(f"{web.url}/moved", folder)


def test_xrootd(xrootd: tuple[Any, str], folder: Path) -> None:
    check_reads(xrootd[1], folder)


def test_one_element_moves_only_what_holds_it(web: Any, folder: Path) -> None:
    size = (folder / "nano.root").stat().st_size
    formats.read(f"{web.url}/nano.root", ME)
    one, requests = web.sent, web.requests
    web.sent = 0
    formats.arrays(f"{web.url}/nano.root")
    assert size > 7_000_000
    assert web.sent > 0.95 * size
    file = open_file(str(folder / "nano.root"))
    names, ids = file.names("TH2Fs")
    baskets = file.trees["TH2Fs"].values
    holding = np.unique(np.searchsorted(baskets.first, np.flatnonzero(ids == names.index(ME)), side="right") - 1)
    held = int(baskets.nbytes[holding].sum())
    assert len(names) == N_MES
    assert held < 0.15 * size
    # Beyond them only the index: the trees and the names.
    assert held < one < held + 0.015 * size
    assert requests < 150


def test_server_dies_in_mid_read(web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    web.cut = 8
    with pytest.raises(InputError, match=r"nano\.root: the server sent|nano\.root.*does not answer"):
        formats.read(f"{web.url}/nano.root", ME)
    web.cut = 0
    source = open_source(f"{web.url}/nano.root")
    web.shutdown()
    web.server_close()
    source.close()
    with pytest.raises(InputError, match=r"nano\.root: the server does not answer"):
        source.read(0, 10)


def test_xrootd_server_dies_in_mid_read(xrootd: tuple[Any, str], monkeypatch: pytest.MonkeyPatch) -> None:
    process, url = xrootd
    source = open_source(f"{url}/nano.root")
    assert source.read(0, 4) == b"root"
    process.kill()
    process.wait()
    monkeypatch.setattr(remote, "TIMEOUT", 1)
    start = time.monotonic()
    with pytest.raises(InputError, match=r"nano\.root: cannot be read"):
        source.read_many([(0, 1000), (900_000, 2_000_000)])
    with pytest.raises(InputError, match=r"nano\.root: cannot be opened"):
        open_source(f"{url}/nano.root")
    assert time.monotonic() - start < 30


def test_a_server_without_ranges(web: Any) -> None:
    web.ignore_ranges = True
    with pytest.raises(InputError, match="does not answer range requests; copy the file first"):
        formats.read(f"{web.url}/nano.root", ME)


def test_no_server() -> None:
    with pytest.raises(InputError, match="the server does not answer"):
        open_source(f"http://127.0.0.1:{free_port()}/nano.root")
    with pytest.raises(InputError, match="do not know how to read gopher://"):
        open_source("gopher://x/y")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "XRootD", None)
    with pytest.raises(UsageError, match=r"pip install 'dqmroot\[xrootd\]'"):
        open_source("root://127.0.0.1//a.root")


@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 100)).map(lambda p: (p[0], p[0] + p[1]))), st.integers(0, 50)
)
def test_coalesced_ranges_cover_each(ranges: list[tuple[int, int]], gap: int) -> None:
    made = remote.coalesce(ranges, gap)
    for start, stop in ranges:
        assert any(a <= start and stop <= b for a, b in made)
    for (_, stop), (start, _) in itertools.pairwise(made):
        assert start > stop + gap
