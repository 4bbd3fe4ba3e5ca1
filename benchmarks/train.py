"""How fast networks learn and score: prints device, backend and ratios measured side by side in one run.

    python benchmarks/train.py                        on whatever there is
    python benchmarks/train.py --require-gpu          fails where there is no GPU; the goal there is 50,000 maps of 72×32 per second
    KERAS_BACKEND=jax python benchmarks/train.py      the same code on JAX

What was not run on a GPU is untested there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from make_nanodqmio import make

from dqmroot.detectors import detector
from dqmroot.detectors.backend import load_keras
from dqmroot.detectors.batched import fit_many
from dqmroot.detectors.convolutional import ConvAutoencoder
from dqmroot.detectors.training import gpus, require_gpu
from dqmroot.io.formats import arrays, list_mes
from dqmroot.model import Model
from dqmroot.series import MonitorElement


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def conv_training(batch: int, steps: int, precision: str) -> float:
    """Maps of 72×32 per second that the 86-64-32 autoencoder learns from, without the first step, which compiles."""
    made = ConvAutoencoder(precision=precision)
    network = made.compiled((72, 32), "mse")
    x = np.random.default_rng(0).random((batch, 72, 32, 1), np.float32)
    for _ in range(2):
        network.train_on_batch(x, x)
    return batch * steps / timed(lambda: [float(network.train_on_batch(x, x)) for _ in range(steps)])


def many_networks(n: int, n_ls: int, epochs: int) -> tuple[float, float]:
    """Seconds to train one dense autoencoder of 102 bins, and ``n`` of them together, compilation included in both."""
    rng = np.random.default_rng(0)
    samples = [rng.dirichlet(rng.uniform(5, 50, 102), n_ls).astype(np.float32) for _ in range(n)]
    made = [detector("dense_autoencoder", epochs=epochs, seed=i) for i in range(n)]
    detector("dense_autoencoder", epochs=2).fit(samples[0])
    one = timed(lambda: detector("dense_autoencoder", epochs=epochs).fit(samples[0]))
    return one, timed(lambda: fit_many(made, samples))


def dense_scoring(n_ls: int) -> tuple[float, float]:
    """LS of 102 bins per second: scores, and the two bare matrix products with their activations."""
    x = np.random.default_rng(0).random((n_ls, 102), np.float32) / 102
    made = detector("dense_autoencoder", epochs=1).fit(x[:500])
    made.score(x[:100])
    scores = min(timed(lambda: made.score(x)) for _ in range(5))
    bare = min(timed(lambda: made._reconstruct(x, x)) for _ in range(5))
    return n_ls / scores, n_ls / bare


def conv_scoring(n_ls: int) -> float:
    """Time of the scores of the 86-64-32 autoencoder on 72×32, over that of its forward pass alone."""
    x = np.random.default_rng(0).poisson(50, (n_ls, 72, 32)).astype(np.float32)
    made = ConvAutoencoder(epochs=1).fit(x[:64])
    images, _ = made._images(x)
    network = made.network()
    scores = min(timed(lambda: made.score(x)) for _ in range(3))
    blocks = [images[i : i + 256] for i in range(0, n_ls, 256)]
    return scores / min(timed(lambda: [network.predict_on_batch(block) for block in blocks]) for _ in range(3))


def plain_forward(one: Model, x: np.ndarray) -> np.ndarray:
    """The network as one writes it down in NumPy."""
    first, second, third, fourth = one.detector.weights_
    return np.tanh(np.tanh(x @ first + second) @ third + fourth)


def from_file(lumis: int, mes: int) -> dict[str, float]:
    """Seconds of each stage from a file of 1-D MEs to scores of the dense autoencoder, all stages by turns in one run.

    A bare forward pass is the network on inputs that lie ready, prepared, one call per ME: written down in NumPy (``plain``), as
    the detector computes it, in blocks and in place (``engine``), and in Keras (``keras``); the search for the largest differences
    is not in it. ``read`` is `arrays` and one series per ME; ``prepare`` what the model does before, ``judge`` the detector's
    scores of ready inputs, ``score`` the model's scores of series that have been read, ``whole`` from the file to scores.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "narrow.root")
        make(path, lumis=lumis, mes=mes, narrow=True)
        names = [info.name for info in list_mes([str(path)])]
        prepare = "include_flow normalise(integral)"

        def read() -> list[MonitorElement]:
            found = arrays([str(path)], names)
            return [found.series(name) for name in names]

        series = read()
        made = [Model(prepare=prepare, detector=detector("dense_autoencoder", epochs=1)) for _ in series]
        models = [one.fit(me[:500]) for one, me in zip(made, series, strict=True)]
        prepared = [one.preparation.array(me) for one, me in zip(models, series, strict=True)]
        networks = [one.detector.build(x.shape[1]) for one, x in zip(models, prepared, strict=True)]
        for network, one in zip(networks, models, strict=True):
            network.set_weights(one.detector.weights_)

        def each(what: Callable[[Model, Any], object], of: list[Any]) -> None:
            for one, x in zip(models, of, strict=True):
                what(one, x)

        stages: dict[str, Callable[[], object]] = {
            "read": read,
            "whole": lambda: each(Model.score, read()),
            "score": lambda: each(Model.score, series),
            "prepare": lambda: each(lambda one, me: list(one.preparation.parts(me)), series),
            "judge": lambda: each(lambda one, x: one.detector.score(x), prepared),
            "plain": lambda: each(plain_forward, prepared),
            "engine": lambda: each(lambda one, x: list(one.detector._blocks(x)), prepared),
            "keras": lambda: [n.predict_on_batch(x) for n, x in zip(networks, prepared, strict=True)],
        }
        times: dict[str, list[float]] = {name: [] for name in stages}
        for _ in range(7):
            for name, stage in stages.items():
                times[name].append(timed(stage))
        return {name: min(found) for name, found in times.items()}


def tell_file(lumis: int, mes: int) -> None:
    """Print what `from_file` finds, as ratios and in ms."""
    found = from_file(lumis, mes)
    what = f"{mes} MEs × {lumis:,} LS"
    beyond = {"file → scores, less reading": found["whole"] - found["read"], "scores of what was read": found["score"]}
    for label, seconds in beyond.items():
        ratios = ", ".join(f"{seconds / found[name]:.2f}" for name in ("plain", "engine", "keras"))
        print(f"| {what}: {label}, ÷ bare forward pass (NumPy, detector's, Keras) | {ratios} |")
    stages = ", ".join(f"{name} {1e3 * seconds:.1f}" for name, seconds in found.items())
    print(f"| {what}: ms | {stages} |", flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--require-gpu", action="store_true")
    options.add_argument("--networks", type=int, default=100)
    options.add_argument("--quick", action="store_true")
    options.add_argument("--only", choices=("conv", "many", "score", "file"), help="one of the measurements")
    args = options.parse_args()
    keras = load_keras()
    devices = [require_gpu()] if args.require_gpu else gpus()
    print(f"backend {keras.backend.backend()}, Keras {keras.__version__}, device {devices[0] if devices else 'CPU'}\n")
    print("| what | value |\n|---|---|")
    settings = (
        [(4096, 50, "float32"), (4096, 50, "mixed_bfloat16")] if devices else [(64, 3 if args.quick else 10, "float32")]
    )
    wanted = ("conv", "many", "score", "file") if args.only is None else (args.only,)
    for batch, steps, precision in settings if "conv" in wanted else ():
        rate = conv_training(batch, steps, precision)
        print(f"| 86-64-32 on 72×32, batch {batch}, {precision} | {rate:,.0f} maps/s |", flush=True)
    if "many" in wanted:
        n = 10 if args.quick else args.networks
        one, many = many_networks(n, 500, 10 if args.quick else 40)
        print(f"| {n} dense networks together ÷ one | {many / one:.1f} ({many:.1f} s, {one:.1f} s) |", flush=True)
    if "score" in wanted:
        scores, bare = dense_scoring(20_000 if args.quick else 200_000)
        print(f"| scores of the dense autoencoder, 102 bins | {scores:,.0f} LS/s |")
        print(f"| its scores ÷ bare forward pass, in time | {bare / scores:.2f} |", flush=True)
        print(f"| scores of the 86-64-32 autoencoder ÷ bare forward pass | {conv_scoring(512):.2f} |", flush=True)
    if "file" in wanted:
        tell_file(200 if args.quick else 2000, 20)
        tell_file(2000 if args.quick else 100_000, 1)


if __name__ == "__main__":
    main()
