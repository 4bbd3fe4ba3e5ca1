"""Training of Keras networks: seeded order, best weights kept, early stopping, the same on every backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.base import Progress
from dqmroot.errors import UsageError

_WATCHED_AT_ONCE = 4096

__all__ = ["Schedule", "mean_of_largest_loss", "train"]


@dataclass(frozen=True)
class Schedule:
    """How long and how to train.

    Args:
        epochs: At most so many passes over the sample.
        batch_size: Lumisections a step; smaller samples take one step a pass.
        validation: Share of the sample, its last lumisections, that is watched and not trained on.
        patience: Passes without a better validation loss before training ends.
        seed: Of the order of the lumisections.
    """

    epochs: int
    batch_size: int
    validation: float
    patience: int
    seed: int


def mean_of_largest_loss(k: int) -> Callable[[Any, Any], Any]:
    """Return the loss mseTop10 for any k: the mean over the k largest squared differences of each histogram."""
    from keras import ops

    def loss(truth: Any, predicted: Any) -> Any:
        square = ops.square(truth - predicted)
        square = ops.reshape(square, (ops.shape(square)[0], -1))
        return ops.mean(ops.top_k(square, k=k, sorted=False)[0], axis=-1)

    return loss


def train(
    network: Any, x: NDArray[np.float32], y: NDArray[np.float32], schedule: Schedule, progress: Progress | None = None
) -> dict[str, list[float]]:
    """Train a compiled network and leave it with its best weights.

    Args:
        network: A compiled `keras.Model`.
        x: ``(n_ls, …)`` inputs.
        y: ``(n_ls, …)`` targets.
        schedule: How long and how.
        progress: Called after each pass; optional.

    Returns:
        The loss of each pass, ``loss`` and ``val_loss`` (the same where nothing is held back).

    Raises:
        UsageError: The loss becomes NaN.
    """
    held = int(len(x) * schedule.validation)
    n = len(x) - held
    batch = min(schedule.batch_size, n)
    steps = -(-n // batch)
    order = np.random.default_rng(schedule.seed)
    history: dict[str, list[float]] = {"loss": [], "val_loss": []}
    best, best_weights, waited = np.inf, network.get_weights(), 0
    for epoch in range(schedule.epochs):
        # Whole batches only, so that the step is compiled once: the last one is filled up from the front.
        rows = np.resize(order.permutation(n), steps * batch).reshape(steps, batch)
        losses = []
        for i in rows:
            network.reset_metrics()
            losses.append(float(network.train_on_batch(x[i], y[i])))
        loss = float(np.mean(losses))
        if not np.isfinite(loss):
            raise UsageError(
                f"the loss became {loss} in pass {epoch + 1}: lower the learning rate or normalise the input"
            )
        watched = _loss_of(network, x[n:], y[n:]) if held else loss
        history["loss"].append(loss)
        history["val_loss"].append(watched)
        if progress:
            progress(epoch + 1, schedule.epochs, f"loss {watched:.3g}")
        if watched < best:
            best, best_weights, waited = watched, network.get_weights(), 0
        else:
            waited += 1
            if waited >= schedule.patience:
                break
    network.set_weights(best_weights)
    return history


def _loss_of(network: Any, x: NDArray[np.float32], y: NDArray[np.float32]) -> float:
    """Return the loss over a sample; ``evaluate`` sets up a data pipeline at each call, which costs more than small networks do."""
    sums = 0.0
    for start in range(0, len(x), _WATCHED_AT_ONCE):
        network.reset_metrics()
        part = slice(start, start + _WATCHED_AT_ONCE)
        sums += float(network.test_on_batch(x[part], y[part])) * len(x[part])
    return sums / len(x)
