"""Many small networks of one shape, trained together as one: a network per monitoring element costs little more than one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.backend import load_keras, weights_of
from dqmroot.detectors.base import Detector, Progress, Sample, values_of
from dqmroot.detectors.dense import DenseAutoencoder
from dqmroot.detectors.shapes import runs_of
from dqmroot.detectors.training import held_rows, keep_state, mean_of_largest_loss, resume_state
from dqmroot.errors import UsageError

__all__ = ["fit_many", "training_key"]

_LOOKED_AT = 128  # LS that tell the loss on what is learnt: all of them would cost as much as the learning
_AT_ONCE = 128  # networks in one: more do not get cheaper, and memory grows


_KEPT_EVERY = 10  # passes: the state of many networks is large


def training_key(made: Detector, sample: Sample) -> str:
    """Return a name, 64 hexadecimal digits, that no other detector, parameters or sample have."""
    values = values_of(sample)
    digest = hashlib.sha256(json.dumps([made.name, made.parameters, values.shape], default=str).encode())
    digest.update(values.data)
    digest.update(np.ascontiguousarray(runs_of(sample)).data)
    return digest.hexdigest()


def fit_many(
    detectors: Sequence[Detector],
    samples: Sequence[Sample],
    *,
    progress: Progress | None = None,
    checkpoint: str | Path | None = None,
) -> None:
    """Fit each detector to its own sample; dense autoencoders with the same parameters and bins learn together.

    Each network gets the first weights and the order of LS that it would get alone; from samples of equal length it learns the
    same.

    Args:
        detectors: Not fitted; all become fitted.
        samples: One for each.
        progress: Called while learning; optional.
        checkpoint: Folder in which networks keep the state of their training, each in a file of its own: called again with it, an
            interrupted training goes on. Files are removed when training has ended.

    Raises:
        DQMError: As `Detector.fit` does, for the first sample that cannot be learnt from.
    """
    if len(detectors) != len(samples):
        raise UsageError(f"{len(detectors)} detectors for {len(samples)} samples")
    groups: dict[str, list[int]] = {}
    checked = [made.training_sample(x) for made, x in zip(detectors, samples, strict=True)]
    for i, (made, (values, _)) in enumerate(zip(detectors, checked, strict=True)):
        alone = not isinstance(made, DenseAutoencoder) or made.loss != "mean_of_largest"
        shared = {key: value for key, value in made.parameters.items() if key != "seed"}
        key = f"alone {i}" if alone else json.dumps([shared, values.shape[1:]])
        groups.setdefault(key, []).append(i)
    for members in groups.values():
        for start in range(0, len(members), _AT_ONCE):
            part = members[start : start + _AT_ONCE]
            state = None
            if checkpoint is not None:
                name = "".join(training_key(detectors[i], samples[i]) for i in part)
                state = Path(checkpoint) / f"{hashlib.sha256(name.encode()).hexdigest()}.npz"
            if len(part) == 1:
                detectors[part[0]].fit(samples[part[0]], progress=progress, checkpoint=state)
            else:
                _fit_together([detectors[i] for i in part], [checked[i] for i in part], progress, state)
            if state is not None:
                state.unlink(missing_ok=True)


def _fit_together(
    detectors: Sequence[Any],
    samples: Sequence[tuple[NDArray[np.float32], Sample]],
    progress: Progress | None,
    state: Path | None,
) -> None:
    """Train as `dqmroot.detectors.training.train_passes` does, all networks in one step."""
    flats = [values.reshape(len(values), -1) for values, _ in samples]
    held = [held_rows(sample, made.validation) for made, (_, sample) in zip(detectors, samples, strict=True)]
    learnt = [rows[~mask] for rows, mask in zip(flats, held, strict=True)]
    watched = [rows[mask] if mask.any() else rows for rows, mask in zip(flats, held, strict=True)]
    first, n_bins = detectors[0], flats[0].shape[1]
    schedule = first.schedule(max(map(len, flats)))
    network = _network(detectors, n_bins)
    batch = min(schedule.batch_size, max(map(len, learnt)))
    steps = -(-max(map(len, learnt)) // batch)
    best = weights_of(network)
    histories: list[dict[str, list[float]]] = [{"loss": [], "val_loss": []} for _ in detectors]
    kept: dict[str, list[Any]] = {"loss": [], "val_loss": []}
    if state is not None and state.is_file():
        best = resume_state(network, state, kept)
        histories = [{key: [row[i] for row in rows] for key, rows in kept.items()} for i in range(len(detectors))]
    running = np.array([_waited(history) < schedule.patience for history in histories])
    for epoch in range(len(kept["loss"]), schedule.epochs):
        if not running.any():
            break
        orders = [
            np.resize(np.random.default_rng([made.seed, epoch]).permutation(len(rows)), steps * batch)
            for made, rows in zip(detectors, learnt, strict=True)
        ]
        for step in range(steps):
            part = slice(step * batch, (step + 1) * batch)
            x = np.stack([rows[order[part]] for rows, order in zip(learnt, orders, strict=True)])
            network.reset_metrics()
            loss = float(network.train_on_batch(x, x))
            if not np.isfinite(loss):
                raise UsageError(
                    f"the loss became {loss} in pass {epoch + 1}: lower the learning rate or normalise the input"
                )
        weights = weights_of(network)
        for i, made in enumerate(detectors):
            if not running[i]:
                # Kept as long as the others, so that the state of all is one table.
                for losses in histories[i].values():
                    losses.append(float("nan"))
                continue
            made.weights_ = [
                weight[i].reshape(weight[i].shape[-1] if j % 2 else weight[i].shape) for j, weight in enumerate(weights)
            ]
            loss = _loss(made, watched[i])
            losses = histories[i]["val_loss"]
            histories[i]["loss"].append(_loss(made, learnt[i][:_LOOKED_AT]))
            losses.append(loss)
            if loss == min(losses):
                for one, weight in zip(best, weights, strict=True):
                    one[i] = weight[i]
            running[i] = _waited(histories[i]) < schedule.patience
        if state is not None and (epoch + 1) % _KEPT_EVERY == 0:
            table = {key: [list(row) for row in zip(*(h[key] for h in histories), strict=True)] for key in kept}
            keep_state(network, state, table, best)
        if progress:
            told = np.nanmean([h["val_loss"][-1] for h in histories])
            progress(epoch + 1, schedule.epochs, f"{len(detectors)} networks, loss {told:.3g}")
    for i, (made, (values, _)) in enumerate(zip(detectors, samples, strict=True)):
        made.weights_ = [weight[i].reshape(-1) if j % 2 else weight[i] for j, weight in enumerate(best)]
        made.history_ = {key: [loss for loss in losses if not np.isnan(loss)] for key, losses in histories[i].items()}
        made.bins_ = values.shape[1:]


def _waited(history: dict[str, list[float]]) -> int:
    """Return how many passes ago the best one was; those after the end of a training count too."""
    losses = history["val_loss"]
    return len(losses) - 1 - int(np.nanargmin(losses)) if losses else 0


def _loss(made: DenseAutoencoder, rows: NDArray[np.float32]) -> float:
    """Return the loss of one network with the NumPy forward pass, which costs no call of the backend."""
    square = np.square(rows - made._reconstruct(rows, rows))
    return float(np.partition(square, -made.k, axis=1)[:, -made.k :].mean())


def _network(detectors: Sequence[DenseAutoencoder], n_bins: int) -> Any:
    """Return one compiled network of ``(networks, batch, bins)``; its weights are those of the single ones, stacked."""
    keras = load_keras()
    ops = keras.ops
    n = len(detectors)
    singles = [made.build(n_bins) for made in detectors]
    _, activations = detectors[0].layers(n_bins)

    class Dense(keras.layers.Layer):  # type: ignore[misc, name-defined]
        """One dense layer of every network."""

        def __init__(self, nodes: int, activation: str) -> None:
            super().__init__()
            self.nodes, self.activation = nodes, keras.activations.get(activation)

        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(shape=(n, shape[-1], self.nodes), name="kernel")
            self.bias = self.add_weight(shape=(n, 1, self.nodes), name="bias")

        def call(self, x: Any) -> Any:
            # A product of stacks of matrices is what every backend does best.
            return self.activation(ops.add(ops.matmul(x, self.kernel), self.bias))

    widths, _ = detectors[0].layers(n_bins)
    # What Keras takes for the batch are the networks: stacks of matrices, without moving axes about.
    given = x = keras.Input((None, n_bins))
    for width, activation in zip(widths, activations, strict=True):
        x = Dense(width, activation)(x)
    network = keras.Model(given, x)
    stacked = [np.stack(weights) for weights in zip(*(weights_of(single) for single in singles), strict=True)]
    network.set_weights([weight[:, None] if weight.ndim == 2 else weight for weight in stacked])
    each = mean_of_largest_loss(detectors[0].k)

    def loss(truth: Any, predicted: Any) -> Any:
        rows = (-1, n_bins)
        # The sum over networks of the mean over LS: each has the gradient that it would have alone.
        return n * ops.mean(each(ops.reshape(truth, rows), ops.reshape(predicted, rows)))

    optimizer = keras.optimizers.get(detectors[0].opt)
    optimizer.learning_rate = singles[0].optimizer.learning_rate
    network.compile(optimizer=optimizer, loss=loss)
    return network
