"""The dense autoencoder of the muon study: few hidden layers, tanh, trained on the largest squared differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.backend import load_keras, weights_of
from dqmroot.detectors.base import Detector, Progress, Sample, Sees
from dqmroot.detectors.shapes import blocks
from dqmroot.detectors.training import Schedule, held_rows, mean_of_largest_loss, train
from dqmroot.errors import UnknownNameError, UsageError
from dqmroot.kernels.scratch import AT_ONCE, scratch
from dqmroot.kernels.top import top_mean

__all__ = ["DenseAutoencoder"]

_STEPS = 1700
_RATE, _RATE_BINS = 1e-3, 200

# All but the first by Keras' own names; those that need a positive output are left to networks that have one.
_LOSSES = (
    *("mean_of_largest", "mse", "mae", "huber", "log_cosh"),
    *("kl_divergence", "binary_crossentropy", "cosine_similarity"),
)

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # Klambauer et al., arXiv:1706.02515

Rows = NDArray[np.float32]


def _sigmoid(x: Rows) -> None:
    x *= np.float32(0.5)
    np.tanh(x, out=x)
    x += np.float32(1)
    x *= np.float32(0.5)


def _selu(x: Rows) -> None:
    np.copyto(x, np.float32(_SELU_ALPHA) * np.expm1(np.minimum(x, 0)), where=x <= 0)
    x *= np.float32(_SELU_SCALE)


# Each changes its argument.
_ACTIVATIONS: dict[str, Callable[[Rows], Any]] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0, out=x),
    "sigmoid": _sigmoid,
    "tanh": lambda x: np.tanh(x, out=x),
    "elu": lambda x: np.copyto(x, np.expm1(np.minimum(x, 0)), where=x <= 0),
    "leaky_relu": lambda x: np.multiply(x, np.float32(0.2), out=x, where=x < 0),
    "selu": _selu,
    "silu": lambda x: np.multiply(x, 0.5 + 0.5 * np.tanh(0.5 * x), out=x),
    "softplus": lambda x: np.logaddexp(x, 0, out=x),
    "softsign": lambda x: np.divide(x, 1 + np.abs(x), out=x),
}


class DenseAutoencoder(Detector):
    """Dense layers down and up again; the score is the mean of the k largest squared differences.

    Maps are flattened. Trained with Keras; scored with NumPy, so that no deep-learning library is needed to score.

    Args:
        arch: Nodes of each hidden layer; empty means one layer of half the bins.
        act: Activation of each hidden layer; empty means tanh for all. ``"elu"``, ``"leaky_relu"``, ``"linear"``, ``"relu"``,
            ``"selu"``, ``"sigmoid"``, ``"silu"``, ``"softplus"``, ``"softsign"`` or ``"tanh"``.
        output: Activation of the last layer.
        opt: Keras optimiser.
        learning_rate: Its learning rate; ``None`` for 1e-3 up to 200 bins, less in proportion above: with more inputs of order
            one the same rate drives tanh into saturation, where it learns nothing more.
        loss: ``"mean_of_largest"`` (mseTop10 where ``k`` is 10), or Keras' ``"mse"``, ``"mae"``, ``"huber"``, ``"log_cosh"``,
            ``"kl_divergence"``, ``"binary_crossentropy"`` or ``"cosine_similarity"``.
        k: How many of the largest squared differences count, in the loss and in the score.
        epochs: At most so many passes over the sample; 0 for as many as make 1,700 steps. Longer training does not help: the
            network then learns to copy faults too (on the pixel charge of 2017 the AUC falls from 0.98 to 0.90).
        batch_size: Lumisections a step.
        validation: Share of the sample watched for early stopping: whole runs where there are three or more, else the last LS.
        patience: Passes without improvement before training ends; the best weights are kept in any case.
        seed: Of the first weights and of the order of the LS.
    """

    name = "dense_autoencoder"
    values_only = True
    sees = (Sees("dead", 3, 300, 1), Sees("scaled", 0, 300, 1), Sees("dead", 5, 100, 2))
    quick: ClassVar[Mapping[str, Any]] = {"epochs": 120, "learning_rate": 1e-3}

    def __init__(
        self,
        *,
        arch: Sequence[int] = (),
        act: Sequence[str] = (),
        output: str = "tanh",
        opt: str = "adam",
        learning_rate: float | None = None,
        loss: str = "mean_of_largest",
        k: int = 10,
        epochs: int = 0,
        batch_size: int = 64,
        validation: float = 0.1,
        patience: int = 1000,
        seed: int = 0,
    ) -> None:
        if loss not in _LOSSES:
            raise UnknownNameError("loss", loss, _LOSSES, f"detector {self.name}")
        for activation in (*act, output):
            if activation not in _ACTIVATIONS:
                raise UnknownNameError("activation", activation, _ACTIVATIONS, f"detector {self.name}")
        if act and len(act) != len(arch):
            raise UsageError(f"detector {self.name}: {len(arch)} hidden layers, but {len(act)} activations")
        for key, value, low in [
            ("k", k, 1),
            ("epochs", epochs, 0),
            ("batch_size", batch_size, 1),
            ("patience", patience, 1),
        ]:
            if value < low:
                raise UsageError(f"detector {self.name}: {key} must be at least {low}, got {value}")
        if not 0 <= validation < 1:
            raise UsageError(f"detector {self.name}: validation must be in [0, 1), got {validation}")
        self.arch = arch
        self.act = act
        self.output = output
        self.opt = opt
        self.learning_rate = learning_rate
        self.loss = loss
        self.k = k
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation = validation
        self.patience = patience
        self.seed = seed
        self.weights_: list[NDArray[np.float32]] = []

    def layers(self, n_bins: int) -> tuple[list[int], list[str]]:
        """Return the widths and activations of all layers, the last one included."""
        widths = [*self.arch] or [max(1, n_bins // 2)]
        return [*widths, n_bins], [*(self.act or ["tanh"] * len(widths)), self.output]

    def build(self, n_bins: int) -> Any:
        """Return the compiled Keras network for histograms of ``n_bins`` bins; 102 bins make 10,557 parameters."""
        keras = load_keras()

        if self.k > n_bins:
            raise UsageError(f"detector {self.name}: k={self.k}, but the histogram has only {n_bins} bins")
        widths, activations = self.layers(n_bins)
        network = keras.Sequential([keras.Input((n_bins,))])
        for i, (width, activation) in enumerate(zip(widths, activations, strict=True)):
            first = keras.initializers.GlorotUniform(seed=self.seed * 1000 + i)
            network.add(keras.layers.Dense(width, activation=activation, kernel_initializer=first))
        optimizer = keras.optimizers.get(self.opt)
        optimizer.learning_rate = self.learning_rate or _RATE * min(1.0, _RATE_BINS / n_bins)
        loss = mean_of_largest_loss(self.k) if self.loss == "mean_of_largest" else self.loss
        network.compile(optimizer=optimizer, loss=loss)
        return network

    def schedule(self, n_ls: int) -> Schedule:
        """Return how a sample of ``n_ls`` is trained on."""
        epochs = self.epochs or max(20, round(_STEPS / math.ceil(n_ls / self.batch_size)))
        path = None if self.checkpoint is None else Path(self.checkpoint)
        return Schedule(epochs, self.batch_size, self.validation, self.patience, self.seed, path)

    def _learn(self, x: NDArray[np.float32], sample: Sample, progress: Progress | None) -> None:
        flat = x.reshape(len(x), -1)
        network = self.build(flat.shape[1])
        held = held_rows(sample, self.validation)
        self.history_ = train(network, flat, flat, self.schedule(len(flat)), progress, held)
        self.weights_ = [np.asarray(weight, np.float32) for weight in weights_of(network)]

    def _forward(self, rows: Rows, memory: Sequence[Rows]) -> Rows:
        """Run as many layers as there is memory for, ``(at least the rows, nodes)`` each; the last is returned."""
        _, activations = self.layers(rows.shape[1])
        out = rows
        for i, place in enumerate(memory):
            out = np.matmul(out, self.weights_[2 * i], out=place[: len(rows)])
            out += self.weights_[2 * i + 1]
            _ACTIVATIONS[activations[i]](out)
        return out

    def _blocks(self, rows: Rows) -> Iterator[tuple[slice, Rows]]:
        """Give blocks of rows and their reconstructions, in memory that the next block uses again."""
        step = max(1, min(AT_ONCE // rows.shape[1], len(rows)))
        with ExitStack() as stack:
            memory = [stack.enter_context(scratch((step, bias.size), np.float32)) for bias in self.weights_[1::2]]
            for part in blocks(len(rows), step):
                yield part, self._forward(rows[part], memory)

    def _reconstruct(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        out = np.empty(x.shape, np.float32)
        for part, expected in self._blocks(x.reshape(len(x), -1)):
            out[part] = expected.reshape(out[part].shape)
        return out

    def _encode(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        """Return the narrowest hidden layer."""
        rows = x.reshape(len(x), -1)
        widths, _ = self.layers(rows.shape[1])
        hidden = widths[: int(np.argmin(widths)) + 1]
        return self._forward(rows, [np.empty((len(rows), width), np.float32) for width in hidden])

    def _score(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        rows = x.reshape(len(x), -1)
        out = np.empty(len(rows))
        for part, expected in self._blocks(rows):
            out[part] = top_mean(rows[part], expected, self.k)
        return out

    def _score_bins(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        return np.square(x.astype(np.float64) - self._reconstruct(x, sample))

    def _score_with_bins(
        self, x: NDArray[np.float32], sample: Sample
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rows = x.reshape(len(x), -1)
        score, bins = np.empty(len(rows)), np.empty(rows.shape)
        for part, expected in self._blocks(rows):
            score[part] = top_mean(rows[part], expected, self.k)
            np.subtract(rows[part], expected, bins[part], dtype=np.float64)
            np.square(bins[part], bins[part])
        return score, bins.reshape(x.shape)

    def _state(self) -> Mapping[str, NDArray[Any]]:
        return {f"weight_{i}": weight for i, weight in enumerate(self.weights_)}

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        n_bins = int(np.prod(self.bins_ or ()))
        widths, _ = self.layers(n_bins)
        shapes = []
        for width_in, width_out in zip([n_bins, *widths[:-1]], widths, strict=True):
            shapes += [(width_in, width_out), (width_out,)]
        weights = [np.asarray(arrays[f"weight_{i}"], np.float32) for i in range(len(shapes))]
        if [weight.shape for weight in weights] != shapes:
            raise ValueError("the weights have other shapes than the parameters say")
        self.weights_ = weights
