"""Online: from the file that is closed to the verdict on disk, and memory over a long replay.

Run it as ``python benchmarks/online.py [--folder DIR] [--mes 300] [--files 100]``. `dqmroot watch` runs as a process of its own;
files of one lumisection each are renamed into its folder, one after the other.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil

from dqmroot.batch.index import index_file

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default="/tmp/dqmroot-online")
    parser.add_argument("--mes", type=int, default=300)
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--replay", type=int, default=3600, help="LS of the long replay, of 2 MEs")
    args = parser.parse_args()
    folder = Path(args.folder)
    latency(folder, args.mes, args.files)
    replay(folder, args.replay)


def make(out: Path, **sizes: int) -> list[Path]:
    """Make files once, in a process of their own."""
    if not out.is_dir():
        options = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
        subprocess.run([sys.executable, "-W", "ignore", HERE / "make_campaign.py", out, *options], check=True)
    return sorted(out.glob("*.root"))


def train(files: list[Path], out: Path) -> Path:
    from dqmroot.pipeline import train_files

    if not out.is_dir():
        train_files(
            list(map(str, files)),
            ["**"],
            out,
            prepare="normalise(integral)",
            detector_name="pca",
            working_point="mean_sigma=5",
        )
    return out


@contextmanager
def watching(models: Path, folder: Path, settle: float) -> Iterator[tuple[Path, Path, psutil.Process]]:
    """Run `dqmroot watch` on an empty folder."""
    incoming, out = folder / "incoming", folder / "watched"
    for one in (incoming, out):
        shutil.rmtree(one, ignore_errors=True)
    incoming.mkdir(parents=True)
    code = "import sys; from dqmroot.cli import main; sys.exit(main())"
    options = ["--model", str(models), "-o", str(out), "--settle", str(settle), "--idle", "1e9", "--refresh", "1e9"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, "watch", str(incoming), *options], stderr=subprocess.DEVNULL
    )
    try:
        while not (out / "log.jsonl").exists():
            time.sleep(0.05)
        yield incoming, out, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def land(file: Path, incoming: Path) -> float:
    """Rename a copy into the folder, and return when."""
    temporary = incoming / f".{file.name}"
    shutil.copy2(file, temporary)
    temporary.replace(incoming / file.name)
    return time.time()


def latency(folder: Path, mes: int, n: int) -> None:
    files = make(folder / f"latency{mes}x{n}", runs=1, lumis=n, mes=mes, files=n)
    models = train(files[:30], folder / f"latency-models{mes}")
    print(f"Latency: one LS × {mes} MEs a file, from the file that is closed to the verdict on disk")
    print(f"  {'settle':>8}{'median':>10}{'99 %':>10}{'largest':>10}")
    for settle in (0.0, 0.5):
        took = []
        with watching(models, folder, settle) as (incoming, out, _):
            for lumi, file in enumerate(files, start=1):
                begin = land(file, incoming)
                verdict = out / "verdicts" / "380000" / f"{lumi:05d}.json"
                while not verdict.exists():
                    time.sleep(0.002)
                took.append(verdict.stat().st_mtime - begin)
        warm = np.array(took[5:])  # the first ones compile kernels and load libraries
        print(
            f"  {settle:6.1f} s{np.median(warm):8.2f} s{np.quantile(warm, 0.99):8.2f} s{warm.max():8.2f} s"
            f"   (first {took[0]:.2f} s)"
        )


def replay(folder: Path, n: int) -> None:
    runs = max(1, n // 900)
    files = make(folder / f"replay{n}", runs=runs, lumis=n // runs, mes=2, files=n // 4)
    models = train(files[:50], folder / "replay-models")
    order = np.random.default_rng(1).permutation(len(files))
    print(f"\nReplay: {n} LS in {len(files)} files, shuffled, as fast as it goes")
    marks = {len(files) * i // 6 for i in range(1, 7)}
    n_lumis = [len(index_file(str(file)).keys) for file in files]
    landed = 0
    with watching(models, folder, 0.0) as (incoming, out, process):
        begin = time.time()
        for i, at in enumerate(order, start=1):
            land(files[at], incoming)
            landed += n_lumis[at]
            if i in marks:
                while sum(1 for _ in out.glob("verdicts/*/*.json")) < landed:
                    time.sleep(0.05)
                seconds = time.time() - begin
                memory = process.memory_info().rss / 2**20
                print(f"  {landed:6d} LS {seconds:8.1f} s {memory:8.0f} MiB resident")


if __name__ == "__main__":
    main()
