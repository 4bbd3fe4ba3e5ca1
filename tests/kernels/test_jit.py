"""The cache of compiled kernels: shared, whole, never in the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

WORK = """
import sys, time
import numpy as np
from dqmroot.kernels import bins, jit, scale
kind = sys.argv[1]
values = np.arange(24).reshape(2, 3, 4).astype(kind)
merged = bins.merge(values, [np.array([0, 3]), np.array([0, 2, 4])], np.float64)
assert merged.tolist() == [[[27.0, 39.0]], [[99.0, 111.0]]], merged
assert scale.scale_rows(values, np.array([1.0, 2.0]), np.float64)[1, 2, 3] == 11.5
used = (bins._merge, bins._merge_short, scale._multiply, scale._scale_short)
hits = sum(sum(f.stats.cache_hits.values()) for f in used)
print(hits, jit.cache_folder())
"""


def start(kind: str, *, code: str = WORK, folder: Path | None = None, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, kind],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert err == ""
    hits, folder = out.split(maxsplit=1)
    return int(hits), folder.strip()


def test_many_processes_fill_one_cache_and_a_later_one_compiles_nothing(tmp_path: Path) -> None:
    kinds = ["f4", "f8", "i2", "i4", "f4", "f8"]
    for process in [start(kind, DQMROOT_CACHE=str(tmp_path)) for kind in kinds]:
        finish(process)
    for process in [start(kind, DQMROOT_CACHE=str(tmp_path)) for kind in kinds[:4]]:
        hits, folder = finish(process)
        assert hits == 2
        assert Path(folder).parent == tmp_path
        assert not list(Path(folder).glob(".*"))


def test_a_damaged_file_is_compiled_anew(tmp_path: Path) -> None:
    _, folder = finish(start("f4", DQMROOT_CACHE=str(tmp_path)))
    files = list(Path(folder).iterdir())
    for i, path in enumerate(files):
        data = path.read_bytes()
        path.write_bytes((b"", data[: len(data) // 2], data[:-1] + b"?")[i % 3])
    hits, _ = finish(start("f4", DQMROOT_CACHE=str(tmp_path)))
    assert hits == 0
    hits, _ = finish(start("f4", DQMROOT_CACHE=str(tmp_path)))
    assert hits == 2


@pytest.mark.parametrize("where", ["file", "off", "open to all", "read only"])
def test_no_safe_place_is_no_error(tmp_path: Path, where: str) -> None:
    place = {"file": tmp_path / "file" / "below", "off": Path("off")}.get(where, tmp_path)
    (tmp_path / "file").write_text("")
    if where == "open to all":
        _, folder = finish(start("f4", DQMROOT_CACHE=str(tmp_path)))
        Path(folder).chmod(0o777)
    if where == "read only":
        if os.geteuid() == 0:
            place = Path("/proc/self/dqmroot")  # nothing else stops the superuser
        else:
            tmp_path.chmod(0o500)
    hits, folder = finish(start("f4", DQMROOT_CACHE=str(place)))
    tmp_path.chmod(0o700)
    assert (hits, folder) == (0, "None")


def test_an_install_folder_that_is_read_only_is_no_hindrance(tmp_path: Path) -> None:
    import dqmroot

    place = tmp_path / "site" / "dqmroot"
    shutil.copytree(Path(dqmroot.__file__).parent, place, ignore=shutil.ignore_patterns("__pycache__"))
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    for path in [place, *before]:
        path.chmod(0o500 if path.is_dir() else 0o400)
    # The superuser writes where others may not: that nothing is written there is looked at, too.
    where = {"PYTHONPATH": str(place.parent), "PYTHONDONTWRITEBYTECODE": "1", "NUMBA_CACHE_DIR": ""}
    home = {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": "", "DQMROOT_CACHE": ""}
    told = []
    for _ in range(2):
        process = start(
            "f4",
            folder=tmp_path,
            code=f"import dqmroot; assert {str(place)!r} in dqmroot.__file__\n{WORK}",
            **where,
            **home,
        )
        told.append(finish(process))
    after = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    for path in [place, *before]:
        path.chmod(0o700)
    assert [hits for hits, _ in told] == [0, 2]
    assert {Path(folder).parent for _, folder in told} == {tmp_path / "home" / ".cache" / "dqmroot"}
    assert after == before


def test_nothing_is_compiled_at_import() -> None:
    code = """
import importlib, pkgutil, numba
import dqmroot.kernels
from numba.core.dispatcher import Dispatcher
found = 0
for info in pkgutil.iter_modules(dqmroot.kernels.__path__):
    module = importlib.import_module(f"dqmroot.kernels.{info.name}")
    for value in vars(module).values():
        if isinstance(value, Dispatcher):
            found += 1
            assert not value.signatures, value
print(found)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 5


def test_the_fingerprint_follows_the_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from dqmroot.kernels import jit

    (tmp_path / "jit.py").write_text("a = 1")
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "jit.py"))
    before = jit._fingerprint()
    assert before == jit._fingerprint()
    (tmp_path / "other.py").write_text("")
    assert jit._fingerprint() != before


def test_functions_that_would_share_machine_code_are_refused() -> None:
    from dqmroot.kernels import jit

    def made(number: int) -> Callable[[], int]:
        def give() -> int:
            return number

        return give

    with pytest.raises(TypeError, match=r"top of a module of dqmroot\.kernels; got .*made\.<locals>\.give"):
        jit.kernel(made(1))
    with pytest.raises(TypeError, match=r"got test_jit\.finish|got tests.*finish"):
        jit.fast_kernel(finish)
