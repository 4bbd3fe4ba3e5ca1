"""Mutate nanoDQMIO files and read them: each gives right data or one `InputError`; nothing crashes, hangs or eats memory.

Files of every codec are written by ROOT, then damaged: bits flipped, lengths made absurd, pieces cut off, moved or doubled,
names made hostile, inflated baskets changed and packed again so that their checksums hold. Every worker has a limit of
memory and an alarm for each file; kernels are compiled with bounds checks, so that a read outside of a basket is seen.

    python benchmarks/fuzz_nanodqmio.py --files 20000 --seed 1
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

MEMORY = 3 << 30
SECONDS = 10
CHUNK = 500
Random = np.random.Generator
WORDS = [
    0,
    1,
    0x7F,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    0x40000000,
    0x7FFFFFFE,
    0x3FFFFFFF,
    0x10000000,
]
NAMES = [b"\0", b"\n", b"/", b"../", b"\xff", b"%s%n", b"\xed\xa0\x80", b" "]


def make(folder: Path) -> list[Path]:
    """Write the files to damage, with ROOT."""
    import rootfiles

    ROOT = rootfiles.root()
    out = []
    for codec, setting in {"none": 0, "zlib": 101, "lzma": 207, "lz4": 404, "zstd": 505}.items():
        path = folder / f"{codec}.root"
        with rootfiles.writer(path, setting, 15 if codec in {"none", "zlib"} else 14) as file:
            for lumi in (1, 2, 0):
                file.begin(1, lumi)
                for h in histograms(ROOT):
                    file.add("Folder/" + h.GetName(), h)
                file.addInt("Folder/int", lumi)
                file.addFloat("Folder/float", lumi)
                file.addString("Folder/string", "text")
                file.end()
        out.append(path)
    return out


def histograms(ROOT: Any) -> list[Any]:
    out = [getattr(ROOT, f"TH1{x}")(f"one{x}", "one", 6, 0, 1) for x in "FSDI"]
    out += [getattr(ROOT, f"TH2{x}")(f"two{x}", "two", 3, 0, 1, 4, 0, 1) for x in "FSDI"]
    out += [
        ROOT.TH3F("three", "three", 2, 0, 1, 2, 0, 1, 2, 0, 1),
        ROOT.TProfile("prof", "p", 5, 0, 1),
        ROOT.TProfile2D("p2", "p", 3, 0, 1, 2, 0, 1),
    ]
    for h in out:
        h.FillRandom("gaus", 50) if h.GetDimension() == 1 and "Profile" not in h.ClassName() else None
    out[0].Sumw2()
    out[1].GetXaxis().SetBinLabel(2, "two")
    buffered = ROOT.TH1F("buffered", "b", 4, 0, 1)
    buffered.SetBuffer(20)
    buffered.Fill(0.5)
    return [*out, buffered]


def flips(raw: bytearray, random: Random) -> None:
    for at in random.integers(0, len(raw), random.integers(1, 9)):
        raw[at] ^= 1 << random.integers(0, 8)


def words(raw: bytearray, random: Random) -> None:
    for _ in range(random.integers(1, 4)):
        at = int(random.integers(0, len(raw) - 8))
        size = int(random.choice([1, 2, 4, 8]))
        value = int(random.choice(WORDS))
        raw[at : at + size] = (value & ((1 << (8 * size)) - 1)).to_bytes(size, "big")


def cut(raw: bytearray, random: Random) -> None:
    del raw[int(random.integers(0, len(raw))) :]


def splice(raw: bytearray, random: Random) -> None:
    n = int(random.integers(1, 2000))
    a, b = (int(x) for x in random.integers(0, max(1, len(raw) - n), 2))
    raw[a : a + n] = raw[b : b + n]


def shift(raw: bytearray, random: Random) -> None:
    at, n = int(random.integers(100, len(raw))), int(random.integers(1, 64))
    if random.random() < 0.5:
        del raw[at : at + n]
    else:
        raw[at:at] = bytes(n)


def names(raw: bytearray, random: Random) -> None:
    places = [i for i in range(len(raw)) if raw.startswith(b"Folder/", i)]
    for at in random.choice(places, min(len(places), 3)) if places else []:
        bad = NAMES[random.integers(0, len(NAMES))]
        raw[at + 1 : at + 1 + len(bad)] = bad
        if random.random() < 0.3:
            raw[at - 1] = int(random.choice([0, 255, 254, 3]))


def repack(raw: bytearray, random: Random) -> None:
    """Change the inflated bytes of one ZLIB frame and pack it again, with all checksums and lengths right."""
    frames = [i for i in range(100, len(raw) - 9) if raw[i : i + 3] == b"ZL\x08"]
    for _ in range(10):
        if not frames:
            return
        at = int(random.choice(frames))
        size = int.from_bytes(raw[at + 3 : at + 6], "little")
        try:
            data = bytearray(zlib.decompress(bytes(raw[at + 9 : at + 9 + size])))
        except zlib.error:
            continue
        (words if random.random() < 0.5 else flips)(data, random)
        packed = zlib.compress(bytes(data), 9)
        if len(packed) <= size:
            raw[at + 9 : at + 9 + len(packed)] = packed
            return


MUTATIONS: list[Callable[[bytearray, Random], None]] = [
    flips,
    flips,
    words,
    words,
    words,
    cut,
    splice,
    shift,
    names,
    repack,
    repack,
]


def mutate(original: bytes, random: Random) -> tuple[str, bytes]:
    raw = bytearray(original)
    which = MUTATIONS[random.integers(0, len(MUTATIONS))]
    which(raw, random)
    return which.__name__, bytes(raw)


Data = dict[tuple[str, int, int], bytes]


def read_all(path: Path) -> Data | None:
    """Read everything; return the contents of each row, or ``None`` where an error was told. Any other error is raised."""
    import warnings

    import dqmroot.io.nanodqmio.read as reader
    from dqmroot.errors import InputError, UsageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            made = reader.arrays(path, scope="all", threads=1)
        except InputError as error:
            text = str(error)
            assert str(path) in text, text
            assert "\n" not in text, text
            return None
        data: Data = {}
        for info in made.table:
            try:
                me = made.series(info.name)
            except UsageError:
                continue
            n = int(np.prod(me.contents.shape[1:], dtype=np.int64))
            assert n == int(np.prod([axis.nbins + 2 for axis in me.axes], dtype=np.int64))
            for run, lumi, contents in zip(me.run.tolist(), me.lumi.tolist(), me.contents, strict=True):
                data[info.name, run, lumi] = (
                    np.asarray(contents).tobytes() if me.storage != "String" else str(contents).encode()
                )
    return data


def judge(data: Data | None, right: Data, checked: bool) -> str:
    """One word for how it ended; where checksums protect the baskets, what is read must be right."""
    if data is None:
        return "error"
    # Baskets of a few bytes are stored as they are, without a checksum: scalars, and the columns that say which LS is which.
    if checked and data.keys() == right.keys():
        scalars = {"Folder/int", "Folder/float", "Folder/string"}
        wrong = [key for key, contents in data.items() if key[0] not in scalars and right[key] != contents]
        assert not wrong, f"wrong numbers in {wrong[0]}"
    return "data"


def work(folder: Path, seed: int, begin: int, end: int) -> None:
    """Read the files from ``begin`` to ``end``; the number of each is printed before it is tried."""
    paths = sorted(folder.glob("*.root"))
    originals = [path.read_bytes() for path in paths]
    protected = [path.stem in {"zlib", "lzma", "lz4"} for path in paths]
    scratch = Path(tempfile.mkdtemp(dir=folder)) / "mutant.root"
    rights = []
    for original in originals:  # this compiles everything, too
        scratch.write_bytes(original)
        rights.append(read_all(scratch) or {})
    assert all(rights)
    limited()
    for i in range(begin, end):
        random = np.random.default_rng([seed, i])
        which = int(random.integers(0, len(originals)))
        kind, raw = mutate(originals[which], random)
        scratch.write_bytes(raw)
        checked = protected[which] and kind != "repack"
        attempt(i, kind, lambda which=which, checked=checked: judge(read_all(scratch), rights[which], checked))  # type: ignore[misc]


def limited() -> None:
    """Bound the memory of this process, and let it tell where it hangs."""
    import faulthandler
    import resource
    import signal

    faulthandler.register(signal.SIGPROF, chain=True)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def attempt(i: int, kind: str, read: Callable[[], str]) -> None:
    """Print the number of a mutant, then how its reading ended."""
    import signal

    print(i, kind, end=" ", flush=True)
    # Processor time, so that a busy machine is no finding.
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        print(read(), flush=True)
    except BaseException as error:  # noqa: BLE001 - every other end is a finding
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        line = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else "?"
        print(f"DEFECT {type(error).__name__}: {str(error)[:100]!r} at {line}".replace("\n", " "), flush=True)
    signal.setitimer(signal.ITIMER_PROF, 0)


def run(files: int, seed: int, folder: Path, script: str = __file__) -> tuple[Counter[str], list[str]]:
    """Read ``files`` mutants in processes of their own; return how they ended, and what was wrong."""
    # ROOT stays out of the processes that read.
    subprocess.run([sys.executable, "-W", "ignore", script, "--make", "--folder", str(folder)], check=True)
    ends: Counter[str] = Counter()
    defects: list[str] = []
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1"}
    at = 0
    while at < files:
        stop = min(at + CHUNK, files)
        command = [
            sys.executable,
            script,
            "--worker",
            str(at),
            str(stop),
            "--seed",
            str(seed),
            "--folder",
            str(folder),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        last, lines = at - 1, done.stdout.splitlines()
        for line in lines:
            number, kind, *rest = line.split(" ", 2)
            last = int(number)
            end = rest[0].strip() if rest else ""
            if end in {"data", "error"}:
                ends[f"{kind}: {end}"] += 1
            elif end:
                defects.append(line)
        if done.returncode or last < stop - 1:
            defects.append(
                f"{last + 1 if not lines else last}: process ended with {done.returncode}: {done.stderr[:1500]}"
            )
            last = max(last, at)
        at = last + 1
    return ends, defects


def main(script: str = __file__, make: Callable[[Path], Any] = make, work: Callable[..., None] = work) -> int:
    """Parse the command line and do what it says; other scripts give their own files and their own work."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--files", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--worker", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        make(arguments.folder)
        return 0
    if arguments.worker:
        work(arguments.folder, arguments.seed, *arguments.worker)
        return 0
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        ends, defects = run(arguments.files, arguments.seed, Path(folder), script)
    for kind, n in sorted(ends.items()):
        print(f"{kind:24} {n:6}")
    print(f"{sum(ends.values())} files in {time.monotonic() - begin:.0f} s; {len(defects)} defects")
    for line in defects[:50]:
        print(line)
    return 1 if defects else 0


if __name__ == "__main__":
    sys.exit(main())
