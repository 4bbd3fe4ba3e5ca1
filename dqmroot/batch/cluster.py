"""Where a campaign runs: processes of this machine, a running Dask scheduler, Slurm or HTCondor."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dask
import distributed.utils
from distributed import Client, LocalCluster

from dqmroot.batch.nursery import ENVIRONMENT
from dqmroot.config import Campaign, Site
from dqmroot.errors import MissingExtraError, UsageError

__all__ = ["dashboard", "job_logs", "job_script", "open_client", "tell_without_workers"]

# Dask pauses a worker whose memory is full until it falls; what TensorFlow holds never does, and all would wait.
_NEVER_FALLS = ("target", "spill", "pause")

_FIRST, _SELDOM = 30.0, 3600.0  # s without a worker until that is told first, and at most between two times


@contextmanager
def open_client(campaign: Campaign, kind: str = "local", method: str = "spawn") -> Iterator[Client]:
    """Give a client of the cluster that a campaign runs on, and stop what was started for it.

    Args:
        campaign: Its settings.
        kind: ``"local"``, ``"slurm"`` or ``"htcondor"``; a scheduler named in the campaign comes before ``"local"``.
        method: How local workers start, as `dqmroot.batch.nursery.nursery` gives it.

    Raises:
        UsageError: The scheduler does not answer.
        MissingExtraError: dask-jobqueue is not installed.
    """
    resources = campaign.resources
    settings = {
        "distributed.scheduler.allowed-failures": resources.retries,
        # A worker has only what it works at: when it dies, nothing else is held against other tasks.
        "distributed.scheduler.worker-saturation": 1.0,
        "distributed.nanny.pre-spawn-environ": ENVIRONMENT,
        "distributed.worker.multiprocessing-method": method,
        # Looks at the stack of each worker a hundred times a second.
        "distributed.worker.profile.enabled": False,
        "distributed.comm.timeouts.connect": "30s",
        **{f"distributed.worker.memory.{what}": False for what in _NEVER_FALLS},
    }
    # Dask would load pandas here, and name to the nursery what it has loaded already.
    distributed.utils._forkserver_preload_set = True
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with dask.config.set(settings):
        if kind != "local":
            with _site_cluster(campaign, kind) as cluster, Client(cluster) as client:
                yield client
        elif resources.scheduler:
            try:
                client = Client(resources.scheduler, timeout=30)
            except (OSError, ValueError) as error:
                raise UsageError(f"the Dask scheduler {resources.scheduler} does not answer: {error}") from error
            with client:
                yield client
        else:
            with (
                LocalCluster(
                    n_workers=resources.workers or os.cpu_count() or 1,
                    threads_per_worker=1,
                    processes=True,
                    memory_limit=resources.memory,
                    dashboard_address=":0",
                    host="127.0.0.1",
                    silence_logs=logging.CRITICAL,
                ) as cluster,
                Client(cluster) as client,
            ):
                yield client


def job_script(campaign: Campaign, kind: str) -> str:
    """Return what is handed to Slurm or HTCondor for one worker."""
    with _site_cluster(campaign, kind, jobs=0) as cluster:
        return str(cluster.job_script())


def dashboard(client: Client) -> str:
    """Return the address of Dask's dashboard, empty where bokeh, which draws it, is not installed."""
    return client.dashboard_link if importlib.util.find_spec("bokeh") is not None else ""


@contextmanager
def tell_without_workers(client: Client, tell: Callable[[float], None]) -> Iterator[None]:
    """Call ``tell(seconds)`` while the scheduler has no worker, ever more seldom: a queue may be long, or no job able to start.

    Args:
        client: Whose scheduler.
        tell: Called from a thread of its own, with the seconds for which there has been none.
    """
    over = threading.Event()

    def look() -> None:
        without, wait = 0.0, _FIRST
        while not over.wait(wait):
            with suppress(OSError, ValueError):  # the scheduler is going away: its own error tells
                if client.scheduler_info(n_workers=-1)["workers"]:
                    without, wait = 0.0, _FIRST
                    continue
                without += wait
                wait = min(2 * wait, _SELDOM)
                tell(without)

    thread = threading.Thread(target=look, name="dqmroot-workers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(1.0)  # it may be asking a scheduler that has gone


def job_logs(campaign: Campaign, kind: str) -> str:
    """Return the folder that the jobs of a site write what they say into; none elsewhere."""
    if kind == "local":
        return ""
    site: Site = getattr(campaign, kind)
    return site.log_folder or str(Path(campaign.output.folder) / "logs")


def _site_cluster(campaign: Campaign, kind: str, jobs: int | None = None) -> Any:
    """Start a scheduler here and hand its workers to the site."""
    try:
        jobqueue = importlib.import_module("dask_jobqueue")
    except ImportError as error:
        raise MissingExtraError("dask-jobqueue", "batch") from error
    site: Site = getattr(campaign, kind)
    log_folder = job_logs(campaign, kind)
    Path(log_folder).mkdir(parents=True, exist_ok=True)
    exports = ENVIRONMENT | {f"DASK_DISTRIBUTED__WORKER__MEMORY__{what.upper()}": "False" for what in _NEVER_FALLS}
    worker_args = ["--worker-port", site.worker_ports] if site.worker_ports else []
    common: dict[str, Any] = {
        "cores": 1,
        "processes": 1,
        "memory": site.memory,
        "python": site.python or sys.executable,
        "interface": site.interface,
        "log_directory": log_folder,
        "job_script_prologue": [*(f"export {key}={value}" for key, value in exports.items()), *site.prologue],
        "job_extra_directives": list(site.extra),
        "worker_extra_args": worker_args,
        "scheduler_options": {
            "port": site.scheduler_port,
            "dashboard_address": ":0",
        },
    }
    try:
        if kind == "slurm":
            cluster = jobqueue.SLURMCluster(
                queue=site.queue, account=site.account, walltime=site.walltime, job_cpu=1, **common
            )
        else:
            common["job_extra_directives"] = _condor_directives(site)
            cluster = jobqueue.HTCondorCluster(disk=site.disk, **common)
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(f"no cluster for {kind}: {error}") from error
    if jobs is None:
        # Jobs that end by their wall time, or are removed, are handed in anew.
        cluster.adapt(minimum_jobs=site.jobs, maximum_jobs=site.jobs)
    return cluster


def _condor_directives(site: Site) -> Mapping[str, str]:
    """Read ``"key = value"`` lines as HTCondor's directives; the wall time is one of them."""
    hours, minutes, seconds = (int(part) for part in site.walltime.split(":"))
    out = {"+MaxRuntime": str(3600 * hours + 60 * minutes + seconds)}
    for line in site.extra:
        key, equals, value = line.partition("=")
        if not equals:
            raise UsageError(f"[htcondor] extra {line!r}: expected key = value")
        out[key.strip()] = value.strip()
    return out
