"""Exported models beside Keras: how fast each network scores, and how long a process takes until it has scores.

    python benchmarks/deployment.py

Both engines run in one process, turn by turn, on the same maps; the best of three is told. Then processes, one after the other.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import dqmroot as dq
from dqmroot.demo import DATA

FILE, MAP, SIZE = DATA / "demo.root", "Hcal/DigiTask/Occupancy/depth/depth1", "CSC/FEDIntegrity/FEDTotalEventSize"
NETWORKS: dict[str, dict[str, Any]] = {
    "conv_autoencoder": {"filters": (86, 64, 32), "batch_size": 32},
    "cnn_classifier": {},
    "significance_network": {},
    "poisson_autoencoder": {},
}


def seconds(call: Callable[[], object]) -> float:
    """The best of three."""
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)


def engines(folder: Path) -> None:
    me = dq.read(FILE, MAP)
    print(
        f"| {len(me)} maps of 84 × 72 | Keras | onnxruntime | ratio | largest relative difference |\n|---|---|---|---|---|"
    )
    for name, parameters in NETWORKS.items():
        model = dq.Model(detector=dq.detector(name, epochs=1, **parameters)).fit(me[:24])
        exported = dq.load_exported(dq.export(model, folder / f"{name}.onnx"))
        apart = np.nanmax(np.abs(exported.score(me) / model.score(me) - 1))
        one, other = seconds(lambda m=model: m.score(me)), seconds(lambda m=exported: m.score(me))  # type: ignore[misc]
        print(f"| {name} | {one:.3f} s | {other:.3f} s | {one / other:.1f} | {apart:.0e} |", flush=True)


def processes(folder: Path) -> None:
    good = dq.read(FILE, SIZE, runs=[355100, 355102])
    model = dq.Model(
        prepare="include_flow normalise(integral)", detector=dq.detector("dense_autoencoder", epochs=20, seed=1)
    )
    dq.export(model.train(good, "mean_sigma", 3), folder / "model.onnx")
    score = f"from dqmroot.cli import main; main(['score', {str(FILE)!r}, '--model', 'model.onnx', '-o', 's.csv', '--quiet'])"
    work = {
        "import dqmroot, load the exported model": "import dqmroot; dqmroot.load_exported('model.onnx')",
        "dqmroot score, 170 LS, exported model": score,
        "import keras": "import keras",
    }
    print("\n| process | seconds |\n|---|---|")
    for what, code in work.items():
        words = [sys.executable, "-c", code]
        taken = seconds(lambda w=words: subprocess.run(w, cwd=folder, check=True, capture_output=True))  # type: ignore[misc]
        print(f"| {what} | {taken:.2f} |", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        engines(Path(place))
        processes(Path(place))
