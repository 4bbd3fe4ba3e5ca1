"""How rows are shared out over threads."""

from __future__ import annotations

import multiprocessing
import os
import threading

import numpy as np
import pytest

from dqmroot.kernels import rows
from dqmroot.kernels.scale import row_sums


def test_every_row_is_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    done = np.zeros(103, int)
    names = set()

    def loop(first: int, last: int) -> None:
        done[first:last] += 1
        names.add(threading.current_thread().name)

    for n in (1, 2, 5):
        rows.set_threads(n)
        rows.over_rows(loop, 103, 1 << 30)
    rows.set_threads(None)
    assert (done == 3).all()
    assert len(names) > 1


def test_an_error_in_a_thread_is_raised() -> None:
    def loop(first: int, last: int) -> None:
        if first > 0:
            raise ZeroDivisionError

    rows.set_threads(3)
    with pytest.raises(ZeroDivisionError):
        rows.over_rows(loop, 100, 1 << 30)
    rows.set_threads(None)


def test_what_a_part_calls_is_not_shared_out_again() -> None:
    parts = []

    def inner(first: int, last: int) -> None:
        parts.append((first, last))

    rows.set_threads(2)
    rows.over_rows(lambda _first, _last: rows.over_rows(inner, 10, 1 << 30), 100, 1 << 30)
    assert parts == [(0, 10)] * 2
    rows.over_rows(inner, 10, 1 << 30)
    rows.set_threads(None)
    assert sorted(parts[2:]) == [(0, 5), (5, 10)]


def test_the_number_of_threads_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DQMROOT_THREADS", raising=False)
    assert rows.threads() == len(os.sched_getaffinity(0))
    monkeypatch.setenv("DQMROOT_THREADS", "3")
    assert rows.threads() == 3
    rows.set_threads(2)
    assert rows.threads() == 2
    rows.set_threads(None)
    monkeypatch.delenv("DQMROOT_THREADS")
    monkeypatch.setenv("DASK_WORKER_NAME", "w1")
    assert rows.threads() == 1
    with pytest.raises(ValueError, match="at least 1; got 0"):
        rows.set_threads(0)


def _child(queue: multiprocessing.Queue[float]) -> None:
    rows.set_threads(2)
    queue.put(float(row_sums(np.ones((1000, 2000), np.float32)).sum()))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_makes_threads_of_its_own() -> None:
    rows.set_threads(2)
    assert row_sums(np.ones((1000, 2000), np.float32)).sum() == 2_000_000
    rows.set_threads(None)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == 2_000_000
    child.join()


def test_many_threads_may_call_at_once() -> None:
    x = np.random.default_rng(1).random((2000, 500)).astype(np.float32)
    wanted, found = x.sum(axis=1, dtype=np.float64), []
    callers = [threading.Thread(target=lambda: found.append(row_sums(x))) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(found) == 8
    for sums in found:
        np.testing.assert_allclose(sums, wanted, rtol=1e-12)


def test_more_than_three_axes_are_refused() -> None:
    with pytest.raises(ValueError, match="at most three axes"):
        rows.rows(np.ones((1, 1, 1, 1, 1)))


def test_results_go_where_they_are_told() -> None:
    from dqmroot.kernels.scale import normalise

    x, out = np.ones((4, 5), np.float32), np.zeros((4, 5), np.float32)
    made, _, _ = normalise(x, "integral", ((0, 5),), out=out)
    assert np.shares_memory(made, out)
    np.testing.assert_allclose(out, 0.2)
    with pytest.raises(ValueError, match=r"a result of shape \(4, 5\) does not fit into out, \(4, 4\)"):
        normalise(x, "integral", ((0, 5),), out=out[:, :4])
