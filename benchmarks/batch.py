"""Campaigns: throughput against workers, overhead over the bare reading and scoring, memory, and growth with the number of LS.

Run it as ``python benchmarks/batch.py [--folder DIR] [--quick]``. The files are made once in the folder. All figures of a table
are measured in one run, one after the other, on the machine as it is: the first table says what two processes that only
calculate get from it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default="/tmp/dqmroot-batch")
    parser.add_argument("--quick", action="store_true", help="a tenth of the lumisections")
    args = parser.parse_args()
    folder = Path(args.folder)
    scale = 10 if args.quick else 1
    cores()
    files = make(folder / f"campaign{scale}", runs=10, lumis=1000 // scale, mes=20, files=200 // scale)
    models = train(files, folder / f"models{scale}", [380000, 380001])
    speed(files, models, folder / "out")
    memory(files, models, folder / "out")
    growth(folder, 10_000 if args.quick else 100_000)


def make(out: Path, **sizes: int) -> list[Path]:
    """Make files once, in a process of their own."""
    if not out.is_dir():
        options = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
        subprocess.run([sys.executable, "-W", "ignore", HERE / "make_campaign.py", out, *options], check=True)
    return sorted(out.glob("*.root"))


def train(files: list[Path], out: Path, runs: list[int]) -> Path:
    """Train models that cost little, so that the campaign and not the network is measured."""
    from dqmroot.pipeline import train_files

    if not out.is_dir():
        settings: dict[str, Any] = {"prepare": "normalise(integral)", "detector_name": "pca"}
        train_files(list(map(str, files)), ["**"], out, select={"runs": runs}, working_point="mean_sigma=5", **settings)
    return out


def cores() -> None:
    """What one and two processes that only calculate get done."""
    print("\nCores: loops done per second by processes that only calculate")
    one = _spin(1)
    two = _spin(2)
    print(f"  1 process {one:8.0f}    2 processes {two:8.0f}    ratio {two / one:.2f}")


def _spin(n: int) -> float:
    context = multiprocessing.get_context("spawn")
    with context.Pool(n) as pool:
        pool.map(_loops, [0.2] * n)
        return sum(pool.map(_loops, [3.0] * n, chunksize=1))


def _loops(seconds: float) -> float:
    x, n, begin = np.random.default_rng(1).random(20_000), 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        np.sort(x)
        n += 1
    return n / seconds


def campaign(files: list[Path], models: Path, out: Path, workers: int) -> dict[str, float]:
    """Run a campaign from nothing.

    Returns:
        Seconds of each step, processor seconds of the workers while scoring (``cpu``), and the peak memory of a worker in MiB.
    """
    import shutil

    from dqmroot.batch.campaign import run_campaign
    from dqmroot.config import Campaign, Inputs, Output, Resources

    shutil.rmtree(out, ignore_errors=True)
    made = Campaign(Inputs(tuple(map(str, files))), Output(str(out), str(models)), resources=Resources(workers=workers))
    stop = threading.Event()
    samples: list[tuple[float, dict[int, tuple[float, float]]]] = []
    thread = threading.Thread(target=_watch_workers, args=(stop, samples))
    thread.start()
    begin = time.perf_counter()
    told = run_campaign(made)
    whole = time.perf_counter() - begin
    stop.set()
    thread.join()
    assert told.status == 0, told
    steps, marks = _steps(out / "log.jsonl")
    peak = max(rss for _, workers_now in samples for rss, _ in workers_now.values())
    cpu = _processor(samples, marks["score"]) - _processor(samples, marks["index"])
    return {"whole": whole, "peak": peak, "cpu": cpu, **steps}


def _steps(path: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds from the end of the step before to the last job of each step, and when that was."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    last = next(_time(row) for row in rows if row["event"] == "cluster")
    out, marks = {}, {}
    for step in ("index", "score", "certify"):
        end = max((_time(row) for row in rows if row.get("step") == step), default=last)
        out[step], marks[step], last = end - last, end, end
    return out, marks


def _processor(samples: list[tuple[float, dict[int, tuple[float, float]]]], when: float) -> float:
    """Processor seconds of all workers up to a time."""
    last: dict[int, float] = {}
    for at, workers in samples:
        if at <= when:
            last.update({pid: cpu for pid, (_, cpu) in workers.items()})
    return sum(last.values())


def _time(row: dict[str, Any]) -> float:
    return datetime.fromisoformat(row["time"]).timestamp()


def _watch_workers(stop: threading.Event, samples: list[tuple[float, dict[int, tuple[float, float]]]]) -> None:
    """Note resident MiB and processor seconds of each worker, ten times a second."""
    import psutil

    me = psutil.Process()
    while not stop.wait(0.1):
        now = {}
        for child in me.children(recursive=True):
            try:
                times = child.cpu_times()
                now[child.pid] = child.memory_info().rss / 2**20, times.user + times.system
            except psutil.Error:
                continue
        samples.append((time.time(), now))


def speed(files: list[Path], models: Path, out: Path, rounds: int = 3) -> None:
    """Bare reading and scoring in one process against campaigns of one and two workers."""
    from threadpoolctl import threadpool_limits

    from dqmroot.certification import judge
    from dqmroot.io.nanodqmio.read import arrays
    from dqmroot.model import load_models

    made = load_models(models)
    names = [model.me for model in made]

    def bare(full: bool) -> tuple[int, float, float]:
        # One thread, as in a worker.
        with threadpool_limits(1):
            begin = time.process_time()
            n, seconds = bare_inside(full)
            return n, seconds, time.process_time() - begin

    def bare_inside(full: bool) -> tuple[int, float]:
        begin, n = time.perf_counter(), 0
        for start in range(0, len(files), 5):
            found = arrays(list(map(str, files[start : start + 5])), names, threads=1)
            for model in made:
                series = found.series(model.me)
                if full:
                    judge(series, model)
                else:
                    model.score(series)
            n += len(series)
        return n, time.perf_counter() - begin

    bare(False)
    # In turns, and the best of each: other work on the machine comes and goes.
    bares, pictures, ones, twos = [], [], [], []
    for _ in range(rounds):
        bares.append(bare(False))
        pictures.append(bare(True))
        ones.append(campaign(files, models, out, 1))
        twos.append(campaign(files, models, out, 2))
    n = bares[0][0]
    read_score, read_judge = (min(run[1] for run in runs) for runs in (bares, pictures))
    one, two = (min(runs, key=lambda run: run["score"]) for runs in (ones, twos))
    print(f"\nSpeed: {n} LS × {len(names)} MEs in {len(files)} files, best of {rounds}")
    rows = {
        "bare: read + score": read_score,
        "bare: read + score + pictures": read_judge,
        **{
            f"{k} worker(s): {step}": run[step]
            for k, run in ((1, one), (2, two))
            for step in ("index", "score", "certify")
        },
        "1 worker: all, with start": min(run["whole"] for run in ones),
        "2 workers: all, with start": min(run["whole"] for run in twos),
    }
    for what, seconds in rows.items():
        print(f"  {what:34} {seconds:8.2f} s  {n / seconds:8.0f} LS/s")
    print(f"  bare read + score + pictures over bare read + score: {read_judge / read_score - 1:+.1%}")
    print(f"  scoring step of 1 worker over the same work bare:    {one['score'] / read_judge - 1:+.1%}")
    print(f"  scoring step, 2 workers over 1:                      {one['score'] / two['score']:.2f} ×")
    cpu = [min(run["cpu"] for run in runs) for runs in (ones, twos)]
    bare_cpu = [min(run[2] for run in runs) for runs in (bares, pictures)]
    print(f"  processor seconds: bare {bare_cpu[0]:.2f}, bare with pictures {bare_cpu[1]:.2f}", end="")
    print(f", scoring step of 1 worker {cpu[0]:.2f}, of 2 workers {cpu[1]:.2f}")


def memory(files: list[Path], models: Path, out: Path) -> None:
    """Peak memory of a worker against the number of files."""
    print("\nMemory: peak of a worker (resident, MiB)")
    for n in (len(files) // 4, len(files) // 2, len(files)):
        print(f"  {n:5d} files {campaign(files[:n], models, out, 2)['peak']:8.0f}")


def growth(folder: Path, most: int) -> None:
    """Time against the number of LS, for two monitoring elements."""
    print("\nGrowth: LS × 2 MEs, 2 workers")
    sizes = [most // 100, most // 10, most]
    seconds = []
    for n in sizes:
        files = make(folder / f"growth{n}", runs=max(1, n // 1000), lumis=min(n, 1000), mes=2, files=max(4, n // 500))
        models = train(files, folder / f"growth-models{n}", [380000])
        took = campaign(files, models, folder / "out", 2)
        work = sum(took[step] for step in ("index", "score", "certify"))
        seconds.append(work)
        print(
            f"  {n:7d} LS in {len(files):4d} files {work:8.2f} s  {1e3 * work / n:7.3f} ms/LS  peak {took['peak']:6.0f} MiB"
        )
    print(f"  from {sizes[1]} to {sizes[2]} LS: time × {seconds[2] / seconds[1]:.1f}")


if __name__ == "__main__":
    main()
