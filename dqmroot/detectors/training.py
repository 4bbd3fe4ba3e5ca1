"""Training of Keras networks: seeded order, best weights kept, early stopping, resumable, the same on every backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.backend import load_keras, values_of, weights_of
from dqmroot.detectors.base import Progress, Sample
from dqmroot.detectors.shapes import runs_of
from dqmroot.errors import UsageError

_WATCHED_AT_ONCE = 4096

__all__ = [
    "Schedule",
    "gpus",
    "held_rows",
    "keep_state",
    "mean_of_largest_loss",
    "require_gpu",
    "resume_state",
    "train",
    "train_passes",
]

Arrays = NDArray[Any] | tuple[NDArray[Any], ...]
Pair = tuple[Arrays, Arrays]


@dataclass(frozen=True)
class Schedule:
    """How long and how to train.

    Args:
        epochs: At most so many passes over the sample.
        batch_size: Lumisections a step; smaller samples take one step a pass.
        validation: Share of the sample that is watched and not trained on.
        patience: Passes without a better validation loss before training ends.
        seed: Of the order of the lumisections.
        checkpoint: File that the state of the training is kept in, so that an interrupted one goes on where it was; optional.
    """

    epochs: int
    batch_size: int
    validation: float
    patience: int
    seed: int
    checkpoint: Path | None = None


def gpus() -> list[str]:
    """Return the names of the GPUs that the backend of Keras sees."""
    try:
        return [str(device) for device in load_keras().distribution.list_devices("gpu")]
    except RuntimeError:  # JAX, where TensorFlow gives an empty list
        return []


def _seen() -> str:
    """Return the names of all devices that the backend sees."""
    try:
        return ", ".join(map(str, load_keras().distribution.list_devices())) or "no device"
    except (RuntimeError, ValueError):
        return "none"


def require_gpu() -> str:
    """Return the name of the first GPU that the backend of Keras sees.

    Raises:
        UsageError: It sees none.
    """
    found = gpus()
    if not found:
        backend = load_keras().backend.backend()
        raise UsageError(
            f"no GPU: {backend} sees {_seen()}; pip install 'dqmroot[gpu]' brings the libraries for one from NVIDIA"
        )
    return found[0]


def held_rows(sample: Sample, share: float) -> NDArray[np.bool_]:
    """Return which LS to watch and not to train on, ``(n_ls,)``: whole runs where there are three or more, else the last LS.

    Of the runs, the one whose size comes closest to the share; never more than half of the sample.
    """
    n = len(sample)
    held = np.zeros(n, np.bool_)
    wanted = int(n * share)
    if wanted == 0:
        return held
    runs, sizes = np.unique(runs_of(sample), return_counts=True)
    if len(runs) >= 3 and sizes.min() <= n / 2:
        chosen = runs[np.abs(sizes - wanted).argmin()]
        return np.asarray(runs_of(sample) == chosen)
    held[n - wanted :] = True
    return held


def mean_of_largest_loss(k: int) -> Callable[[Any, Any], Any]:
    """Return the loss mseTop10 for any k: the mean over the k largest squared differences of each histogram."""
    ops = load_keras().ops

    def loss(truth: Any, predicted: Any) -> Any:
        square = ops.square(truth - predicted)
        square = ops.reshape(square, (ops.shape(square)[0], -1))
        return ops.mean(ops.top_k(square, k=k, sorted=False)[0], axis=-1)

    return loss


def train(
    network: Any,
    x: Arrays,
    y: Arrays,
    schedule: Schedule,
    progress: Progress | None = None,
    held: NDArray[np.bool_] | None = None,
) -> dict[str, list[float]]:
    """Train a compiled network and leave it with its best weights.

    Args:
        network: A compiled `keras.Model`.
        x: ``(n_ls, …)`` inputs, one array or several.
        y: ``(n_ls, …)`` targets.
        schedule: How long and how.
        progress: Called after each pass; optional.
        held: ``(n_ls,)`` LS to watch; the last ones where not given.

    Returns:
        The loss of each pass, ``loss`` and ``val_loss`` (the same where nothing is held back).

    Raises:
        UsageError: The loss becomes NaN, or the memory of the device does not suffice.
    """
    n = len(x[0] if isinstance(x, tuple) else x)
    if held is None:
        held = np.arange(n) >= n - int(n * schedule.validation)
    learnt = _taken(x, ~held), _taken(y, ~held)
    watched = (_taken(x, held), _taken(y, held)) if held.any() else None
    return train_passes(network, lambda _: learnt, watched, schedule, progress)


def train_passes(
    network: Any,
    sample_of: Callable[[int], Pair],
    watched: Pair | None,
    schedule: Schedule,
    progress: Progress | None = None,
) -> dict[str, list[float]]:
    """Train as `train` does, on a sample that may differ from pass to pass.

    Args:
        network: A compiled `keras.Model`.
        sample_of: Gives inputs and targets of a pass, whose number it is called with; as many LS each time.
        watched: Inputs and targets that are not trained on; optional.
        schedule: How long and how; `Schedule.validation` is not used.
        progress: Called after each pass; optional.

    Returns:
        The loss of each pass, ``loss`` and ``val_loss``.

    Raises:
        UsageError: The loss becomes NaN, or the memory of the device does not suffice.
    """
    history: dict[str, list[float]] = {"loss": [], "val_loss": []}
    best = weights_of(network)
    if schedule.checkpoint is not None and schedule.checkpoint.is_file():
        best = resume_state(network, schedule.checkpoint, history)
    with _told(schedule.batch_size):
        for epoch in range(len(history["loss"]), schedule.epochs):
            if _waited(history) >= schedule.patience:
                break
            x, y = sample_of(epoch)
            n = len(x[0] if isinstance(x, tuple) else x)
            batch = min(schedule.batch_size, n)
            order = np.random.default_rng([schedule.seed, epoch]).permutation(n)
            # Whole batches only, so that the step is compiled once: the last one is filled up from the front.
            losses = []
            for rows in np.resize(order, -(-n // batch) * batch).reshape(-1, batch):
                network.reset_metrics()
                losses.append(float(network.train_on_batch(_given(x, rows), _given(y, rows))))
            loss = float(np.mean(losses))
            if not np.isfinite(loss):
                raise UsageError(
                    f"the loss became {loss} in pass {epoch + 1}: lower the learning rate or normalise the input"
                )
            history["loss"].append(loss)
            history["val_loss"].append(loss if watched is None else _loss_of(network, *watched))
            if _waited(history) == 0:
                best = weights_of(network)
            if schedule.checkpoint is not None:
                keep_state(network, schedule.checkpoint, history, best)
            if progress:
                progress(epoch + 1, schedule.epochs, f"loss {history['val_loss'][-1]:.3g}")
    network.set_weights(best)
    return history


def _waited(history: dict[str, list[float]]) -> int:
    """Return how many passes ago the best one was."""
    losses = history["val_loss"]
    return len(losses) - 1 - int(np.argmin(losses)) if losses else 0


def _taken(arrays: Arrays, mask: NDArray[Any]) -> Arrays:
    return tuple(array[mask] for array in arrays) if isinstance(arrays, tuple) else arrays[mask]


def _given(arrays: Arrays, rows: Any) -> Any:
    return [array[rows] for array in arrays] if isinstance(arrays, tuple) else arrays[rows]


def _loss_of(network: Any, x: Arrays, y: Arrays) -> float:
    """Return the loss over a sample; ``evaluate`` sets up a data pipeline at each call, which costs more than small networks do."""
    n, sums = len(x[0] if isinstance(x, tuple) else x), 0.0
    for start in range(0, n, _WATCHED_AT_ONCE):
        network.reset_metrics()
        part = slice(start, min(n, start + _WATCHED_AT_ONCE))
        sums += float(network.test_on_batch(_given(x, part), _given(y, part))) * (part.stop - part.start)
    return sums / n


def keep_state(network: Any, path: Path, history: dict[str, list[Any]], best: list[NDArray[Any]]) -> None:
    """Write the state of a training, whole or not at all: weights, best weights, optimiser, loss of each pass."""
    from dqmroot.files import whole_file

    arrays: dict[str, Any] = {f"best_{i}": weight for i, weight in enumerate(best)}
    arrays |= {f"weight_{i}": weight for i, weight in enumerate(weights_of(network))}
    arrays |= {f"optimizer_{i}": value for i, value in enumerate(values_of(network.optimizer.variables))}
    arrays |= {key: np.array(values) for key, values in history.items()}
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def resume_state(network: Any, path: Path, history: dict[str, list[Any]]) -> list[NDArray[Any]]:
    """Take up a training where `keep_state` left it; return the best weights so far.

    Raises:
        UsageError: The file is not of this training.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            n = len(weights_of(network))
            network.set_weights([stored[f"weight_{i}"] for i in range(n)])
            best = [stored[f"best_{i}"] for i in range(n)]
            network.optimizer.build(network.trainable_variables)
            for i, variable in enumerate(network.optimizer.variables):
                variable.assign(stored[f"optimizer_{i}"])
            for key in history:
                history[key] = stored[key].tolist()
    except (KeyError, ValueError, OSError) as error:
        raise UsageError(f"{path}: not a checkpoint of this training, remove it: {error}") from error
    return best


@contextmanager
def _told(batch_size: int) -> Iterator[None]:
    """Tell a device that is out of memory in one line; each backend has its own error for it."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        text = f"{type(error).__name__} {error}"
        if "RESOURCE_EXHAUSTED" in text or "ResourceExhausted" in text or isinstance(error, MemoryError):
            raise UsageError(
                f"the memory of the device does not suffice for a batch of {batch_size}: lower batch_size"
            ) from error
        raise
