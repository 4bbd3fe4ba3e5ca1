"""How fast networks learn and score: prints device, backend and ratios measured side by side in one run.

    python benchmarks/train.py                        on whatever there is
    python benchmarks/train.py --require-gpu          fails where there is no GPU; the goal there is 50,000 maps of 72×32 per second
    KERAS_BACKEND=jax python benchmarks/train.py      the same code on JAX

What was not run on a GPU is untested there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from dqmroot.detectors import detector
from dqmroot.detectors.backend import load_keras
from dqmroot.detectors.batched import fit_many
from dqmroot.detectors.convolutional import ConvAutoencoder
from dqmroot.detectors.training import gpus, require_gpu


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


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--require-gpu", action="store_true")
    options.add_argument("--networks", type=int, default=100)
    options.add_argument("--quick", action="store_true")
    args = options.parse_args()
    keras = load_keras()
    devices = [require_gpu()] if args.require_gpu else gpus()
    print(f"backend {keras.backend.backend()}, Keras {keras.__version__}, device {devices[0] if devices else 'CPU'}\n")
    print("| what | value |\n|---|---|")
    settings = (
        [(4096, 50, "float32"), (4096, 50, "mixed_bfloat16")] if devices else [(64, 3 if args.quick else 10, "float32")]
    )
    for batch, steps, precision in settings:
        rate = conv_training(batch, steps, precision)
        print(f"| 86-64-32 on 72×32, batch {batch}, {precision} | {rate:,.0f} maps/s |")
    n = 10 if args.quick else args.networks
    one, many = many_networks(n, 500, 10 if args.quick else 40)
    print(f"| {n} dense networks together ÷ one | {many / one:.1f} ({many:.1f} s, {one:.1f} s) |")
    scores, bare = dense_scoring(20_000 if args.quick else 200_000)
    print(f"| scores of the dense autoencoder, 102 bins | {scores:,.0f} LS/s |")
    print(f"| its scores ÷ bare forward pass, in time | {bare / scores:.2f} |")


if __name__ == "__main__":
    main()
