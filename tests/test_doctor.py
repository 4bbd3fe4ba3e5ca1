"""`dqmroot doctor`: what is here is said to be here, what is not is said with how to get it."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

from dqmroot import doctor
from dqmroot.cli import main
from dqmroot.doctor import examine


def found(**more: bool) -> dict[str, doctor.Finding]:
    return {one.what: one for one in examine(**more)}


def test_versions() -> None:
    told = found(gpu=False)
    assert told["numpy"].told == importlib.metadata.version("numpy")
    assert told["[onnx]"].state == "ok"
    assert not [one for one in told.values() if one.state == "missing"]


def test_nothing_heavy_is_loaded() -> None:
    code = (
        "import sys, dqmroot.doctor\ndqmroot.doctor.examine(gpu=False)\n"
        "print([name for name in ('keras', 'tensorflow', 'matplotlib', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_NEEDED", ("numpy", "no-such-package"))
    monkeypatch.setattr(doctor, "_EXTRAS", {"onnx": (("no_such_package",), "exported models")})
    monkeypatch.setenv("KERAS_BACKEND", "no_such_backend")
    told = found(gpu=False)
    assert told["no-such-package"].state == "missing"
    assert told["[onnx]"].help == "pip install 'dqmroot[onnx]'"
    assert "no_such_backend" in told["Keras backend"].told


def test_gpu_and_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "hidden by CUDA_VISIBLE_DEVICES" in found()["GPU"].told
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")

    def no_driver(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(doctor.ctypes, "CDLL", no_driver)
    assert "no NVIDIA driver" in found()["GPU"].told
    monkeypatch.setattr(doctor.ctypes, "CDLL", lambda name: None)
    for out, err, state, told in [
        ("tensorflow gpu:0", "", "ok", "tensorflow sees gpu:0"),
        ("tensorflow", "", "absent", "tensorflow sees no GPU: its CUDA libraries"),
        ("", "Traceback\nImportError: no keras", "absent", "ImportError: no keras"),
    ]:
        answer = subprocess.CompletedProcess([], 0, out, err)
        monkeypatch.setattr(doctor.subprocess, "run", lambda *_, _answer=answer, **__: _answer)
        finding = found()["GPU"]
        assert finding.state == state
        assert told in finding.told


@pytest.mark.parametrize(("where", "told"), [(None, "off"), ("new", "made on first use"), (".", "1 files, 0.0 MiB")])
def test_cache_folder(where: str | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kernel").write_text("code")
    folder = None if where is None else tmp_path / where
    monkeypatch.setattr("dqmroot.kernels.jit.cache_folder", lambda: folder)
    assert told in found(gpu=False)["cache of kernels"].told


def test_the_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--no-gpu", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {one["what"] for one in told} >= {"dqmroot", "Python", "threads", "GPU"}
    assert main(["doctor", "--no-gpu"]) == 0
    assert "everything that the main job needs is here" in capsys.readouterr().err
