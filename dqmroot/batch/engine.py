"""Jobs on Dask: all of them done, whatever dies on the way, and told which could not be."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from distributed import Client, KilledWorker, as_completed
from distributed.client import FutureCancelledError

from dqmroot.errors import DQMError, IncompleteError, one_line

__all__ = ["Failure", "Job", "run_jobs"]


_OFTEN = 2.0  # s; so often it is asked how many workers there are


@dataclass(frozen=True)
class Job:
    """One job.

    Args:
        key: Its name in Dask, ``"score-…"``.
        work: What a worker calls, with ``True`` where it is the last try.
        label: What it is, for a person.
        priority: Of what waits at the scheduler, the highest goes first.
    """

    key: str
    work: Callable[[bool], Any]
    label: str
    priority: int = 0


@dataclass(frozen=True)
class Failure:
    """A job that could not be done.

    Args:
        job: Which.
        error: Why.
        tries: How often it was tried.
        mistake: Whether it is an error that dqmroot raises on purpose.
    """

    job: Job
    error: str
    tries: int
    mistake: bool = False


def run_jobs(
    client: Client,
    jobs: Sequence[Job],
    *,
    retries: int,
    delay: float,
    done: Callable[[Job, Any], Iterable[Job]],
    failed: Callable[[Failure], None] = lambda _: None,
) -> list[Failure]:
    """Run jobs; those that fail are tried again after all others, and those whose worker died then go one at a time.

    Args:
        client: Where.
        jobs: What, in the order in which they are handed out.
        retries: How often one that failed is tried again.
        delay: Seconds before that.
        done: Called with each job and its result, in the order in which they end; what it returns is handed out next.
        failed: Called with each try that failed.

    Returns:
        The jobs that could not be done.

    Raises:
        IncompleteError: The scheduler went away.
    """
    left: list[Job] = list(jobs)
    alone: list[Job] = []
    failures: list[Failure] = []
    for attempt in range(retries + 1):
        again: list[Job] = []
        failures = []
        for batch in [left, *([job] for job in alone)]:
            for job, error in _pass(client, batch, attempt, attempt == retries, done):
                failure = Failure(job, _text(error), attempt + 1, isinstance(error, DQMError))
                failures.append(failure)
                failed(failure)
                if isinstance(error, KilledWorker) and job not in alone:
                    alone.append(job)
                elif job not in alone:
                    again.append(job)
        bad = {failure.job.key for failure in failures}
        left, alone = again, [job for job in alone if job.key in bad]
        if not failures:
            break
        if attempt < retries:
            time.sleep(delay)
    return failures


def _pass(
    client: Client, jobs: Sequence[Job], attempt: int, last: bool, done: Callable[[Job, Any], Iterable[Job]]
) -> Iterator[tuple[Job, BaseException]]:
    """Hand out jobs, a few ahead of the workers, and give back those that failed."""
    waiting = deque(jobs)
    running: dict[Any, Job] = {}
    stream = as_completed(loop=client.loop)

    def hand_out(n: int) -> None:
        for job in [waiting.popleft() for _ in range(min(n, len(waiting)))]:
            # Under one first word: of each group of names Dask sends the first few to workers that are busy with others.
            key = f"dqmroot-{attempt}-{job.key}"
            future = client.submit(job.work, last, key=key, pure=False, priority=job.priority)
            running[future] = job
            stream.add(future)

    ahead, asked = _ahead(client), time.monotonic()
    hand_out(ahead)
    for future in stream:
        job = running.pop(future)
        try:
            value = future.result()
        except FutureCancelledError as error:
            # Where a worker dies with a result, only that is lost; where the scheduler is gone, everything is.
            if not _alive(client):
                gone = "the Dask scheduler went away; what was finished is kept: run the same command again"
                raise IncompleteError(gone) from error
            yield job, error
        except Exception as error:  # noqa: BLE001 - whatever a worker raised is a row of the manifest
            yield job, error
        else:
            waiting.extendleft(done(job, value))
        future.release()
        if time.monotonic() - asked > _OFTEN:
            ahead, asked = _ahead(client), time.monotonic()
        hand_out(max(1, ahead - len(running)))


def _alive(client: Client) -> bool:
    try:
        return client.status == "running" and bool(client.scheduler_info(n_workers=1))
    except (OSError, ValueError):
        return False


def _ahead(client: Client) -> int:
    """How many jobs to have with the scheduler: enough that no worker waits, few enough that memory stays flat."""
    return max(8, 2 * len(client.scheduler_info(n_workers=-1)["workers"]))


def _text(error: BaseException) -> str:
    if isinstance(error, KilledWorker):
        return "its worker died each time it was tried (killed, crashed, or out of memory)"
    if isinstance(error, DQMError):
        return str(error)
    return f"{type(error).__name__}: {one_line(error)}"
