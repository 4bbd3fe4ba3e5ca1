"""The process that local workers are forked from: it loads what all of them need once, while the campaign is planned."""

from __future__ import annotations

import os
import platform
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from typing import Any

__all__ = ["ENVIRONMENT", "environment_kept", "nursery"]

# One thread each: the parallel work is the workers'. TensorFlow, BLAS and Numba all count cores otherwise.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    # Else the C library gives each large array back to the system and asks for it anew: a fifth of the scoring time.
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "134217728",
    # Arrow's allocator starts a thread as soon as it is loaded, and only a process of one thread may be forked.
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}

_LOADED = ["dqmroot.batch.loaded"]


@contextmanager
def nursery() -> Iterator[str]:
    """Start that process, and end it; give the name of the way in which Dask is to start workers.

    It is not waited for: it loads while its caller goes on. Within another `nursery` there is only that one. Elsewhere than
    on Linux, and where the calling program already has such a process of its own, workers start by themselves (``"spawn"``).
    """
    # Python says of this object only how it begins.
    server: Any = getattr(forkserver, "_forkserver")  # noqa: B009
    if platform.system() != "Linux" or server._forkserver_pid is not None:
        yield "forkserver" if server._preload_modules == _LOADED else "spawn"
        return
    modules = server._preload_modules
    # Without TensorFlow, which starts threads and which many campaigns do not need.
    server.set_forkserver_preload(_LOADED)
    try:
        with environment_kept():
            os.environ.update(ENVIRONMENT)
            server.ensure_running()
        yield "forkserver"
    finally:
        _end(server)
        server.set_forkserver_preload(modules)


def _end(server: Any) -> None:
    if server._forkserver_pid is not None:
        # By itself it would wait for a worker that hangs.
        with suppress(OSError):
            os.kill(server._forkserver_pid, signal.SIGKILL)
        server._stop()


@contextmanager
def environment_kept() -> Iterator[None]:
    """Give the environment variables back the values that they had: Dask sets those of workers in its own process."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
