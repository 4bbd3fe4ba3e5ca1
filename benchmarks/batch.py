"""Campaigns: throughput against workers, overhead over the bare reading and scoring, memory, and growth with the number of LS.

Run it as ``python benchmarks/batch.py [--folder DIR] [--quick] [--only speed]``. The files are made once in the folder. All
figures of a table are measured in one run, one after the other, on the machine as it is. What two processes can reach on it is
measured beside: the same work done by plain processes without any campaign, one against two.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
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
    parser.add_argument("--only", choices=("speed", "overhead", "memory", "growth"), help="one of the tables")
    parser.add_argument("--rounds", type=int, default=3, help="of the table of speed; the best of each counts")
    args = parser.parse_args()
    folder = Path(args.folder)
    scale = 10 if args.quick else 1
    if args.only != "growth":
        files = make(folder / f"campaign{scale}", runs=10, lumis=1000 // scale, mes=20, files=200 // scale)
        models = train(files, folder / f"models{scale}", [380000, 380001])
    if args.only in {None, "speed"}:
        speed(files, models, folder / "out", args.rounds)
    if args.only in {None, "overhead"}:
        overhead(files, folder, scale, args.rounds)
    if args.only in {None, "memory"}:
        memory(files, models, folder / "out")
    if args.only in {None, "growth"}:
        growth(folder, 10_000 if args.quick else 100_000)


def make(out: Path, **sizes: int) -> list[Path]:
    """Make files once, in a process of their own."""
    if not out.is_dir():
        options = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
        subprocess.run([sys.executable, "-W", "ignore", HERE / "make_campaign.py", out, *options], check=True)
    return sorted(out.glob("*.root"))


def train(files: list[Path], out: Path, runs: list[int], detector: str = "pca", mes: str = "**") -> Path:
    """Train models once; by default ones that cost little, so that the campaign and not the network is measured."""
    from dqmroot.pipeline import train_files

    if not out.is_dir():
        settings: dict[str, Any] = {"detector_name": detector}
        # The convolutional one takes counts, and makes shares of them by itself.
        settings |= {} if detector == "conv_autoencoder" else {"prepare": "normalise(integral)"}
        settings |= {"parameters": {"epochs": 2}} if detector != "pca" else {}
        train_files(list(map(str, files)), [mes], out, select={"runs": runs}, working_point="mean_sigma=5", **settings)
    return out


def train_networks(files: list[Path], folder: Path, scale: int, runs: list[int]) -> Path:
    """Train once what the first studies had: a convolutional autoencoder for each map, a dense one for each spectrum."""
    from dqmroot.model import load_models, save_models

    out = folder / f"models{scale}networks"
    if not out.is_dir():
        kinds = {"**/Maps/*": "conv_autoencoder", "**/Spectra/*": "dense_autoencoder"}
        parts = [train(files, folder / f"models{scale}{kind}_some", runs, kind, mes) for mes, kind in kinds.items()]
        save_models([model for part in parts for model in load_models(part)], out)
    return out


def read_and_score(files: list[str], models: str, out: str) -> None:  # noqa: ARG001 - called like the other
    """The bare job: read, prepare, forward pass; nothing is kept."""
    from dqmroot.deployment import read_models
    from dqmroot.io.formats import arrays

    made = read_models(models)
    for start in range(0, len(files), 10):
        found = arrays(files[start : start + 10], [model.me for model in made], threads=1)
        for model in made:
            model.score(found.series(model.me))


def certify_runs(files: list[str], models: str, out: str) -> None:
    """The whole job without a campaign: each run read, certified, published and reported by plain calls."""
    from dqmroot.batch.index import index_file
    from dqmroot.certification import certify
    from dqmroot.deployment import read_models
    from dqmroot.io.formats import arrays
    from dqmroot.publication import publish
    from dqmroot.reports import report

    made = read_models(models)
    runs: dict[int, list[str]] = {}
    for path in files:
        for run in np.unique(index_file(path).keys >> np.uint64(32)).tolist():
            runs.setdefault(run, []).append(path)
    for run, mine in runs.items():
        found = arrays(mine, [model.me for model in made], runs=run, threads=1)
        cert = certify([found.series(model.me) for model in made], made)
        place = Path(out) / str(run)
        cert.save(place)
        publish(cert, place, "/ZeroBias/Run2024C-dqmroot-v1/DQMIO")
        report(cert, place / "report")


def _timed(job: Any, files: list[str], models: str, out: str, barrier: Any, queue: Any) -> None:
    job(files[:2], models, f"{out}-warm")  # libraries and kernels are loaded
    barrier.wait()
    begin, cpu = time.time(), time.process_time()
    job(files, models, out)
    queue.put((begin, time.time(), time.process_time() - cpu))


def plain(job: Any, parts: list[list[str]], models: Path, out: Path) -> tuple[float, float]:
    """Do a job in plain processes, one for each part of the files, in the environment of a worker.

    Returns:
        Seconds from the first begin to the last end, and processor seconds of all.
    """
    from dqmroot.batch.nursery import ENVIRONMENT

    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(len(parts)), context.Queue()
    before = dict(os.environ)
    # Kernels of Dask's workers have one thread without being told.
    os.environ.update(ENVIRONMENT | {"DQMROOT_THREADS": "1"})
    try:
        processes = [
            context.Process(target=_timed, args=(job, part, str(models), f"{out}-{i}", barrier, queue))
            for i, part in enumerate(parts)
        ]
        for process in processes:
            process.start()
    finally:
        os.environ.clear()
        os.environ.update(before)
    times = [queue.get() for _ in processes]
    for process in processes:
        process.join()
    return max(end for _, end, _ in times) - min(begin for begin, *_ in times), sum(cpu for *_, cpu in times)


def campaign(files: list[Path], models: Path, out: Path, workers: int, **output: Any) -> dict[str, float]:
    """Run a campaign from nothing, with more of the keys of ``[output]``.

    Returns:
        Seconds of all (``whole``), of each step, and of all steps (``steps``: without the start of the workers); processor
        seconds of all processes from first to last (``all``), of the workers in the steps (``cpu``), and of the campaign's own
        process (``own``); peak memory of a worker in MiB.
    """
    import shutil

    from dqmroot.batch.campaign import run_campaign
    from dqmroot.config import Campaign, Inputs, Output, Resources

    shutil.rmtree(out, ignore_errors=True)
    made = Campaign(
        Inputs(tuple(map(str, files))), Output(str(out), str(models), **output), resources=Resources(workers=workers)
    )
    stop = threading.Event()
    samples: list[tuple[float, dict[int, tuple[float, float]]]] = []
    thread = threading.Thread(target=_watch_workers, args=(stop, samples))
    thread.start()
    begin, own, every = time.perf_counter(), time.process_time(), _all_processor()
    told = run_campaign(made)
    whole, own, every = time.perf_counter() - begin, time.process_time() - own, _all_processor() - every
    stop.set()
    thread.join()
    assert told.status == 0, told
    steps, first, last = _steps(out / "log.jsonl")
    peak = max(rss for _, workers_now in samples for rss, _ in workers_now.values())
    cpu = _processor(samples, last) - _processor(samples, first)
    return {"whole": whole, "peak": peak, "all": every, "cpu": cpu, "own": own, "steps": last - first, **steps}


def _all_processor() -> float:
    """Processor seconds of this process and of all that it has seen end."""
    times = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in times)


def _steps(path: Path) -> tuple[dict[str, float], float, float]:
    """Seconds of indexing and of scoring with certification, and when the first began and the last ended."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    first = next(_time(row) for row in rows if row["event"] == "cluster")
    middle = max(_time(row) for row in rows if row.get("step") == "index")
    last = max(_time(row) for row in rows if row.get("step") == "certify")
    return {"index": middle - first, "score, certify": last - middle}, first, last


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
    """Note resident MiB and processor seconds of each worker, a few times a second."""
    import psutil

    me = psutil.Process()
    while not stop.wait(0.25):
        now = {}
        for child in me.children(recursive=True):
            try:
                times = child.cpu_times()
                now[child.pid] = child.memory_info().rss / 2**20, times.user + times.system
            except psutil.Error:
                continue
        samples.append((time.time(), now))


_BARE, _SAME = "read + forward pass", "the same outputs, plain calls"


def speed(files: list[Path], models: Path, out: Path, rounds: int) -> None:
    """Plain processes against campaigns, one against two, and campaigns against half of themselves."""
    paths, few = list(map(str, files)), files[: len(files) // 2]
    half = [paths[: len(few)], paths[len(few) :]]
    walls: dict[tuple[str, int], list[float]] = {}
    cpus: dict[tuple[str, int], list[float]] = {}

    def note(name: str, workers: int, wall: float, cpu: float) -> None:
        walls.setdefault((name, workers), []).append(wall)
        cpus.setdefault((name, workers), []).append(cpu)

    # In turns, and the best of each: other work on the machine comes and goes.
    for _ in range(rounds):
        for name, job in ((_BARE, read_and_score), (_SAME, certify_runs)):
            note(name, 1, *plain(job, [paths], models, out))
            note(name, 2, *plain(job, half, models, out))
            # The second half has other faults in it than the first: what is further there is compared with itself.
            note(f"{name}, second half", 1, *plain(job, half[1:], models, out))
        for workers in (1, 2):
            whole, part = campaign(files, models, out, workers), campaign(few, models, out, workers)
            note("campaign, steps", workers, whole["steps"], whole["cpu"])
            note("campaign, with start", workers, whole["whole"], whole["all"])
            note("first half", workers, part["steps"], part["all"])
            note("its own process", workers, whole["steps"], whole["own"])
    best = {key: (min(walls[key]), min(cpus[key])) for key in walls}
    for workers in (1, 2):
        wall = best["campaign, steps", workers][0] - best["first half", workers][0]
        cpu = best["campaign, with start", workers][1] - best["first half", workers][1]
        best["campaign, second half", workers] = wall, cpu
    _print_speed(best, f"{_count(paths)} LS × 20 MEs in {len(files)} files, best of {rounds}")


def _count(paths: list[str]) -> int:
    from dqmroot.batch.index import index_file

    return sum(len(index_file(path).keys) for path in paths)


def _print_speed(best: dict[tuple[str, int], tuple[float, float]], what: str) -> None:
    print(f"\nSpeed: {what}; plain processes are warm")
    print(f"  {'':30}{'1 process':>12}{'2':>9}{'ratio':>9}   {'processor s, 1':>15}{'2':>9}")
    for name in (_BARE, _SAME, "campaign, steps", "campaign, second half", "campaign, with start"):
        (one, cpu_one), (two, cpu_two) = best[name, 1], best[name, 2]
        print(f"  {name:30}{one:10.2f} s{two:7.2f} s{one / two:9.2f}   {cpu_one:13.2f} s{cpu_two:7.2f} s")
    own = ", ".join(f"{best['its own process', workers][1]:.2f} s" for workers in (1, 2))
    print(f"  (second half: the whole less a campaign over the first; the campaign's own process takes {own})")
    print("  processor time of a campaign with one worker over plain calls in one process:")
    for name in (_BARE, _SAME):
        whole = best["campaign, with start", 1][1] / best[name, 1][1]
        steps = best["campaign, steps", 1][1] / best[name, 1][1]
        further = best["campaign, second half", 1][1] / best[f"{name}, second half", 1][1]
        told = (
            f"with start {whole - 1:+.0%}; its worker in the steps {steps - 1:+.0%}; each further LS {further - 1:+.0%}"
        )
        print(f"    over {name:28} {told}")


OUTPUTS = {
    "verdicts": {"publish": False, "report": False},
    "verdicts, DQM GUI file": {"report": False},
    "verdicts, DQM GUI file, HTML report": {},
}


def overhead(files: list[Path], folder: Path, scale: int, rounds: int) -> None:
    """What a campaign with one worker takes over the bare job, for two detectors that cost little and for networks on maps."""
    print(f"\nOverhead over the {_BARE}: one worker in the steps, best of {rounds}")
    runs = [380000, 380001]
    for name, models in {
        "pca": train(files, folder / f"models{scale}", runs),
        "dense_autoencoder": train(files, folder / f"models{scale}dense_autoencoder", runs, "dense_autoencoder"),
        "networks for maps": train_networks(files, folder, scale, runs),
    }.items():
        bare: list[float] = []
        walls: dict[str, list[float]] = {told: [] for told in OUTPUTS}
        for _ in range(rounds):
            bare.append(plain(read_and_score, [list(map(str, files))], models, folder / "out")[0])
            for told, output in OUTPUTS.items():
                walls[told].append(campaign(files, models, folder / "out", 1, **output)["steps"])
        print(f"  {name:20} {_BARE:38}{min(bare):8.2f} s")
        for told, seconds in walls.items():
            print(f"  {'':20} {told:38}{min(seconds):8.2f} s  {min(seconds) / min(bare) - 1:+6.0%}")


def memory(files: list[Path], models: Path, out: Path) -> None:
    """Peak memory of a worker against the number of files."""
    print("\nMemory: peak of a worker (resident, MiB)")
    for n in (len(files) // 4, len(files) // 2, len(files)):
        print(f"  {n:5d} files {campaign(files[:n], models, out, 2)['peak']:8.0f}")


def growth(folder: Path, most: int) -> None:
    """Time against the number of LS, for two monitoring elements."""
    print("\nGrowth: LS × 2 MEs, 2 workers")
    sizes = [most // 100, 3 * most // 100, most // 10, 3 * most // 10, most]
    seconds = []
    for n in sizes:
        files = make(folder / f"growth{n}", runs=max(1, n // 1000), lumis=min(n, 1000), mes=2, files=max(4, n // 500))
        models = train(files, folder / f"growth-models{n}", [380000])
        took = campaign(files, models, folder / "out", 2)
        work = took["steps"]
        seconds.append(work)
        print(
            f"  {n:7d} LS in {len(files):4d} files {work:8.2f} s  {1e3 * work / n:7.3f} ms/LS  peak {took['peak']:6.0f} MiB"
        )
    slope, start = np.polyfit(sizes, seconds, 1)
    off = max(abs(start + slope * n - took) / took for n, took in zip(sizes, seconds, strict=True))
    print(f"  straight line: {start:.2f} s + {1e3 * slope:.4f} ms/LS; the points lie within {off:.0%} of it")


if __name__ == "__main__":
    main()
