"""GUI files appear whole or not at all, and hold nothing that a GUI would refuse."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import guireader
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqmroot.errors import OutputError, UsageError
from dqmroot.io.rootfile.guifile import Item, write_gui_file
from dqmroot.io.rootfile.guinames import EfficiencyFlag, QualityTest, Scalar
from dqmroot.io.rootfile.rootobjects import Histogram
from dqmroot.series import Axis

RUN = 297050
NAME = f"DQM_V0001_R{RUN:09d}__ZeroBias__Run2017B-x-v1__DQMIO.root"


def items(n: int, value: float = 1.0) -> Iterator[tuple[str, Item]]:
    axis = Axis(500, 0.0, 1.0)
    noise = np.random.default_rng(n).random(502)
    for number in range(n):
        yield f"folder{number % 7}", Histogram(f"h{number}", "TH1D", (axis,), noise + value, entries=value)


def test_everything_is_shown(tmp_path: Path) -> None:
    extra: list[tuple[str, Item]] = [
        ("", Scalar("text", "a:b")),
        ("folder0", EfficiencyFlag("h0")),
        ("folder0", QualityTest("h0", "q", 100, 1.0, "fine")),
    ]
    shown = guireader.check_gui_file(write_gui_file(tmp_path / NAME, RUN, [*items(20), *extra]))
    assert {path for path in shown if "<" not in path} == {f"dqmroot/folder{i % 7}/h{i}" for i in range(20)}
    assert "dqmroot/<text>s=a;b</text>" in shown
    assert "dqmroot/folder0/<h0.q>qr=st:100:1:dqmroot:fine</h0.q>" in shown


@pytest.mark.parametrize("folder", ["a.b", "../up", "/root", "a//b", "a/", "é", "a\nb", "<b>"])
def test_folders_that_are_not_allowed(tmp_path: Path, folder: str) -> None:
    with pytest.raises(UsageError, match="does not allow this name"):
        write_gui_file(tmp_path / NAME, RUN, [(folder, Scalar("x", 1))])
    assert not list(tmp_path.iterdir())


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_name_is_refused_or_shown(tmp_path_factory: pytest.TempPathFactory, folder: str, name: str) -> None:
    path = tmp_path_factory.mktemp("names") / NAME
    histogram = Histogram(name, "TH1F", (Axis(1, 0.0, 1.0),), np.zeros(3))
    try:
        write_gui_file(path, RUN, [(folder, histogram)])
    except UsageError:
        assert not path.exists()
    else:
        assert set(guireader.check_gui_file(path)) == {"/".join(filter(None, ("dqmroot", folder, name)))}


def limit_file_size() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def write_in_child(path: Path, n: int, value: float, limit: bool) -> None:
    if limit:
        limit_file_size()
    try:
        write_gui_file(path, RUN, items(n, value))
    except OutputError as error:
        print(error)
        os._exit(5)
    os._exit(0)


def start(path: Path, n: int, value: float, limit: bool = False) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=write_in_child, args=(path, n, value, limit))
    process.start()
    return process


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("existing", [False, True])
def test_no_room_left(tmp_path: Path, existing: bool) -> None:
    path = tmp_path / NAME
    if existing:
        write_gui_file(path, RUN, items(5))
    before = path.read_bytes() if existing else b""
    process = start(path, 500, 2.0, limit=True)
    process.join(60)
    assert process.exitcode == 5
    assert list(tmp_path.iterdir()) == ([path] if existing else [])
    assert not existing or path.read_bytes() == before


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_killed_in_mid_write(tmp_path: Path) -> None:
    path = tmp_path / NAME
    write_gui_file(path, RUN, items(5))
    before = path.read_bytes()
    process = start(path, 1_000_000, 2.0)
    deadline = time.monotonic() + 30
    while not any(part.stat().st_size > 100_000 for part in tmp_path.glob(".*.part")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert path.read_bytes() == before
    assert [other.name for other in tmp_path.iterdir() if not other.name.startswith(".")] == [NAME]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_two_writers_at_once(tmp_path: Path) -> None:
    path = tmp_path / NAME
    writers = [start(path, 300, float(value)) for value in range(2, 6)]
    seen = 0
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            assert len(guireader.check_gui_file(path)) == 300
            seen += 1
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert len(guireader.check_gui_file(path)) == 300
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        write_gui_file(tmp_path / "file" / NAME, RUN, items(1))


def test_module_loads_without_uproot() -> None:
    code = "import sys, dqmroot.io.rootfile.rootwrite, dqmroot.io.rootfile.guinames; print('uproot' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed == "False\n"


def test_classes_that_a_gui_passes_over(tmp_path: Path) -> None:
    hidden = Histogram("h", "TH1F", (Axis(1, 0.0, 1.0),), np.zeros(3))
    object.__setattr__(hidden, "storage", "TH1I")
    with pytest.raises(UsageError, match="folder/h: the DQM GUI does not show a TH1I"):
        write_gui_file(tmp_path / NAME, RUN, [("folder", hidden)])
    assert not list(tmp_path.iterdir())
