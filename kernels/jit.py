"""How the kernels are compiled: lazily, without the GIL, and kept on disk between processes.

Machine code lies in ``$DQMROOT_CACHE`` (default ``$XDG_CACHE_HOME/dqmroot``, ``~/.cache/dqmroot``; ``off`` means
nowhere), in a folder
named after everything it depends on: versions, processor, and the text of all kernels. Numba's own cache is not used:
it does not
see a change in a function that another module calls, and two processes that fill it at once can give two signatures
one file.
Here every signature has its own file, written beside and renamed, so that any number of processes may start at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import llvmlite
import llvmlite.binding
import numba
import numpy as np
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

__all__ = [
    "bare_kernel",
    "bare_part",
    "bare_steady",
    "cache_folder",
    "fast_kernel",
    "inner_kernel",
    "kernel",
    "part_kernel",
    "steady_kernel",
]

F = TypeVar("F", bound=Callable[..., Any])

_DIGEST = 32
_KEEP_DAYS = 60
_FAST = {"reassoc", "nsz", "contract"}


def kernel(function: F) -> F:
    """Compile ``function`` on its first call, without the GIL, and cache the machine code."""
    return _compiled(function, error_model="python", fastmath=False)


def fast_kernel(function: F) -> F:
    """Compile like `kernel`, and let sums be re-ordered, so that they vectorise; NaN and infinity keep their sense."""
    return _compiled(function, fastmath=_FAST, error_model="numpy")


def bare_kernel(function: F) -> F:
    """Compile like `fast_kernel` what gets all its memory from its caller.

    Nobody counts references then, which takes longer than a short row, and there is less to compile.
    """
    return _compiled(function, fastmath=_FAST, error_model="numpy", _nrt=False)


def bare_steady(function: F) -> F:
    """Compile like `bare_kernel`, but keep the order of operations: two loops then give the same sum, to the last bit."""
    return _compiled(function, error_model="numpy", fastmath=False, _nrt=False)


def inner_kernel(function: F) -> F:
    """Make ``function`` a part of the text of each kernel that calls it: neither compiled nor called by itself."""
    made: F = numba.njit(inline="always")(function)
    return made


def part_kernel(function: F) -> F:
    """Compile like `kernel` what only other kernels call."""
    return _compiled(function, error_model="python", fastmath=False, no_cpython_wrapper=True)


def bare_part(function: F) -> F:
    """Compile like `bare_kernel` what only other kernels call."""
    return _compiled(function, fastmath=_FAST, error_model="numpy", _nrt=False, no_cpython_wrapper=True)


def steady_kernel(function: F) -> F:
    """Compile like `fast_kernel`, but keep the order of operations."""
    return _compiled(function, error_model="numpy", fastmath=False)


def _compiled(function: F, **options: Any) -> F:
    if "<locals>" in function.__qualname__ or not function.__module__.startswith("dqmroot.kernels."):
        # Two functions that close over other values, or whose text the fingerprint does not hold, have one name in the
        # cache: one would run the machine code of the other.
        raise TypeError(
            f"a kernel is a function at the top of a module of dqmroot.kernels;"
            f" got {function.__module__}.{function.__qualname__}"
        )
    # The wrapper for calls from C is never used, and takes its time to compile.
    compiled: Any = numba.njit(nogil=True, no_cfunc_wrapper=True, **options)(function)
    if hasattr(compiled, "_cache"):  # not where NUMBA_DISABLE_JIT=1 leaves plain Python
        compiled._cache = _OneFileEach(function)
    made: F = compiled
    return made


@cache
def cache_folder() -> Path | None:
    """The folder of this machine's compiled kernels, or ``None`` where there is no safe place to keep them."""
    asked = os.environ.get("DQMROOT_CACHE", "")
    if asked == "off":
        return None
    try:
        base = Path(asked or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dqmroot")
        folder = base / f"kernels-{_fingerprint()}"
        if not folder.is_dir():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _remove_old(base)
        # What is loaded here is run: only the user and the superuser may have been able to write it.
        owner = folder.stat()
        safe = owner.st_uid in {os.geteuid(), 0} and not owner.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    except (OSError, RuntimeError):
        return None
    return folder if safe else None


def _fingerprint() -> str:
    parts = [
        numba.__version__,
        llvmlite.__version__,
        np.__version__,
        os.uname().sysname,
        os.uname().machine,
        ".".join(map(str, sys.version_info)),
        llvmlite.binding.get_host_cpu_name(),
        str(llvmlite.binding.get_host_cpu_features().flatten()),
        *(
            os.environ.get(name, "")
            for name in ("NUMBA_OPT", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_BOUNDSCHECK")
        ),
    ]
    for path in sorted(Path(__file__).parent.glob("*.py")):
        parts += [path.name, path.read_text(encoding="utf-8")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]


def _remove_old(base: Path) -> None:
    for folder in base.glob("kernels-*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_mtime < time.time() - _KEEP_DAYS * 86400:
                shutil.rmtree(folder, ignore_errors=True)


class _OneFileEach(_Cache):  # type: ignore[misc]
    """Machine code of one function: one file for each signature, whole or absent. What goes wrong is no error."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        self._enabled = True

    @property
    def cache_path(self) -> str:
        return str(cache_folder())

    def _path(self, signature: Any, codegen: Any) -> Path | None:
        folder = cache_folder() if self._enabled else None
        if folder is None:
            return None
        key = repr((str(signature), codegen.magic_tuple()))
        return folder / f"{self._name}-{hashlib.sha256(key.encode()).hexdigest()[:20]}"

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        target_context.refresh()
        path = self._path(signature, target_context.codegen())
        if path is None:
            return None
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(data[_DIGEST:]).digest() != data[:_DIGEST]:
            return None
        # Numba knows no other form of machine code; the folder is checked to be the user's own.
        return CompileResult._rebuild(target_context, *pickle.loads(data[_DIGEST:]))  # noqa: S301

    def save_overload(self, signature: Any, result: Any) -> None:
        path = self._path(signature, result.codegen)
        if path is None or result.library.has_dynamic_globals or not all(lifted.can_cache for lifted in result.lifted):
            return
        data = dumps(result._reduce())
        with contextlib.suppress(OSError):
            handle, name = tempfile.mkstemp(prefix=".", dir=path.parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(hashlib.sha256(data).digest() + data)
                Path(name).replace(path)
            except OSError:
                Path(name).unlink(missing_ok=True)
                raise

    def enable(self) -> None:
        self._enabled = True

    def disable(self) -> None:
        self._enabled = False

    def flush(self) -> None:
        """Nothing is held back."""
