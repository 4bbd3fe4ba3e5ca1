"""The process that local workers are forked from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from multiprocessing import forkserver
from pathlib import Path

import pytest

from dqmroot.batch.nursery import ENVIRONMENT, environment_kept, nursery

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only on Linux are workers forked")


def _state() -> tuple[object, ...]:
    server = forkserver._forkserver
    return server._forkserver_pid, server._preload_modules


def test_it_ends_with_its_block_and_leaves_no_trace() -> None:
    before, environment = _state(), dict(os.environ)
    with nursery() as method:
        pid = _state()[0]
        assert method == "forkserver"
        assert isinstance(pid, int)
        assert dict(os.environ) == environment
        with nursery() as inner:
            assert (inner, _state()[0]) == ("forkserver", pid)
        assert _state()[0] == pid
    assert _state() == before == (None, before[1])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


FORKED = """
import json, multiprocessing, os, sys
from pathlib import Path

from dqmroot.batch.nursery import ENVIRONMENT, nursery


def tell(pipe):
    loaded = [name for name in ("dqmroot.batch.work", "distributed.worker", "tensorflow") if name in sys.modules]
    pipe.send([len(list(Path("/proc/self/task").iterdir())), loaded, {name: os.environ.get(name) for name in ENVIRONMENT}])


if __name__ == "__main__":
    with nursery():
        context = multiprocessing.get_context("forkserver")
        there, here = context.Pipe()
        process = context.Process(target=tell, args=(here,))
        process.start()
        assert there.poll(120)
        print(json.dumps(there.recv()))
        process.join()
"""


def test_what_it_forks_has_all_loaded_and_one_thread_per_library(tmp_path: Path) -> None:
    (tmp_path / "forks.py").write_text(FORKED)
    out = subprocess.run(
        [sys.executable, tmp_path / "forks.py"], capture_output=True, text=True, check=True, timeout=200
    )
    assert json.loads(out.stdout) == [1, ["dqmroot.batch.work", "distributed.worker"], ENVIRONMENT]


def test_a_program_with_such_a_process_of_its_own_keeps_it() -> None:
    code = (
        "from multiprocessing import forkserver as f\n"
        "from dqmroot.batch.nursery import nursery\n"
        "f.ensure_running()\n"
        "pid = f._forkserver._forkserver_pid\n"
        "with nursery() as method:\n"
        "    print(method, f._forkserver._forkserver_pid == pid)\n"
        "print(f._forkserver._forkserver_pid == pid)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout
    assert out.split() == ["spawn", "True", "True"]


def test_the_environment_is_given_back() -> None:
    before = dict(os.environ)
    with environment_kept():
        os.environ["DQMROOT_TEST"] = "1"
        os.environ.pop("PATH")
    assert dict(os.environ) == before
