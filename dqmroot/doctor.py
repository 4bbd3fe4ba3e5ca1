"""What is installed here, and what dqmroot can do with it: versions, GPU, threads, cache, extras."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dqmroot._version import __version__

__all__ = ["Finding", "examine"]

_NEEDED = (
    *("numpy", "numba", "uproot", "awkward", "h5py", "pyarrow", "scipy", "scikit-learn"),
    *("matplotlib", "mplhep", "hist", "keras", "rich"),
)
_EXTRAS = {
    "onnx": (("onnx", "onnxruntime"), "exported models"),
    "batch": (("dask", "distributed", "dask_jobqueue"), "campaigns on many cores and batch systems"),
    "xrootd": (("XRootD",), "root:// addresses"),
    "root": (("ROOT",), "PyROOT beside dqmroot"),
}
_BACKENDS = ("tensorflow", "jax", "torch")
_ASK_GPU = """
from dqmroot.detectors.backend import load_keras
keras = load_keras()
from dqmroot.detectors.training import gpus
print(keras.backend.backend(), *gpus())
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        what: What it is, "Python".
        state: ``"ok"``, ``"missing"`` (dqmroot cannot work without), ``"absent"`` (optional) or ``"info"``.
        told: What was found.
        help: How to get it where it is not there; may be empty.
    """

    what: str
    state: str
    told: str
    help: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return asdict(self)


def examine(*, gpu: bool = True) -> list[Finding]:
    """Look at this installation; imports nothing heavy in this process.

    Args:
        gpu: Whether to ask Keras for GPUs where a driver is here, which takes some seconds.

    Returns:
        The findings, the most general first.
    """
    from dqmroot.kernels.jit import cache_folder

    found = [
        Finding("dqmroot", "info", f"{__version__} in {Path(__file__).parent}"),
        Finding("Python", "info", f"{platform.python_version()} ({sys.executable}) on {platform.platform()}"),
        Finding("threads", "info", _threads()),
        _cache(cache_folder()),
    ]
    found += [_package(name) for name in _NEEDED]
    found.append(_backend())
    found += [_extra(extra, packages, what) for extra, (packages, what) in _EXTRAS.items()]
    found.append(_gpu(ask=gpu))
    return found


def _package(name: str) -> Finding:
    try:
        return Finding(name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "missing", "not installed", "pip install dqmroot")


def _extra(extra: str, packages: tuple[str, ...], what: str) -> Finding:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        return Finding(f"[{extra}]", "absent", f"{what}: no {', '.join(missing)}", f"pip install 'dqmroot[{extra}]'")
    return Finding(f"[{extra}]", "ok", what)


def _backend() -> Finding:
    asked = os.environ.get("KERAS_BACKEND", "tensorflow")
    there = [name for name in _BACKENDS if importlib.util.find_spec(name) is not None]
    if asked in there:
        return Finding("Keras backend", "ok", f"{asked} {importlib.metadata.version(asked)}")
    told = f"KERAS_BACKEND asks for {asked}, installed: {', '.join(there) or 'none'}"
    return Finding("Keras backend", "missing", told, f"pip install {asked}, or set KERAS_BACKEND to one installed")


def _threads() -> str:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limits = [f"{key}={os.environ[key]}" for key in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS") if key in os.environ]
    return f"{usable} of {os.cpu_count()} cores may be used" + (f"; {', '.join(limits)}" if limits else "")


def _cache(folder: Path | None) -> Finding:
    if folder is None:
        return Finding("cache of kernels", "info", "off: kernels are compiled anew in each process (DQMROOT_CACHE)")
    if not folder.is_dir():
        return Finding("cache of kernels", "info", f"{folder}, made on first use")
    files = [file for file in folder.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files) / 2**20
    return Finding("cache of kernels", "ok", f"{folder}, {len(files)} files, {size:.1f} MiB")


def _gpu(*, ask: bool) -> Finding:
    """Say whether a network would run on a GPU, and if not, why."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in {"", "-1"}:
        return Finding("GPU", "absent", f"hidden by CUDA_VISIBLE_DEVICES={hidden!r}", "unset CUDA_VISIBLE_DEVICES")
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Finding("GPU", "absent", "no NVIDIA driver here (libcuda.so.1 is not found); networks run on the CPU")
    if not ask:
        return Finding("GPU", "info", "there is a driver; Keras was not asked")
    done = subprocess.run([sys.executable, "-c", _ASK_GPU], capture_output=True, text=True, check=False)
    backend, *devices = done.stdout.split() or ["Keras"]
    if devices:
        return Finding("GPU", "ok", f"{backend} sees {', '.join(devices)}")
    why = (done.stderr.strip().splitlines() or ["its CUDA libraries are not installed, or do not fit the driver"])[-1]
    return Finding(
        "GPU", "absent", f"there is a driver, but {backend} sees no GPU: {why}", "pip install 'dqmroot[gpu]'"
    )
