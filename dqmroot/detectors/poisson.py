"""An autoencoder of what differs from the mean: counts in, expected counts out, trained on the Poisson likelihood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.backend import load_keras
from dqmroot.detectors.base import Progress, Sample, Sees
from dqmroot.detectors.binwise import Binwise
from dqmroot.detectors.network import Network
from dqmroot.detectors.occupancy import Occupancy
from dqmroot.detectors.shapes import flat
from dqmroot.detectors.training import held_rows, train
from dqmroot.errors import UnknownNameError, UsageError
from dqmroot.series import MonitorElement

__all__ = ["PoissonAutoencoder"]

_BOTTLENECK = "bottleneck"
_RATE = "rate"


class PoissonAutoencoder(Binwise, Network):
    """Predicts ln(expected / mean) from the significances of all bins, through a narrow layer, and from conditions.

    A residual network: with nothing learnt it predicts the mean shape at the rate of the LS, and it need only learn how good LS
    differ from it. Its loss is the Poisson deviance of the counts, so that full and empty bins count for what they are worth.

    Args:
        nodes: Width of the narrow layer: how many ways good LS may differ.
        hidden: Width of the layers before and after it.
        conditions: What the network is told beside the histogram: ``"rate"`` (counts of the LS), and names of conditions of the
            series, such as its pile-up.
        k: How many of the largest significances count.
        opt: Keras optimiser.
        learning_rate: Its learning rate.
        epochs: At most so many passes over the sample.
        batch_size: Lumisections a step.
        validation: Share of the sample that is watched for early stopping: whole runs where there are three or more.
        patience: Passes without improvement before training ends.
        precision: ``"float32"``, or ``"mixed_bfloat16"`` and ``"mixed_float16"`` for GPUs.
        seed: Of the first weights and of the order of the LS.
    """

    name = "poisson_autoencoder"
    input = "counts"
    sees = (Sees("dead", 3, 300, 1), Sees("dead", 1, 100, 2), Sees("hot", 1, 100, 2))
    quick: ClassVar[Mapping[str, Any]] = {"epochs": 40, "batch_size": 16, "nodes": 2}

    def __init__(
        self,
        *,
        nodes: int = 4,
        hidden: int = 32,
        conditions: Sequence[str] = (_RATE,),
        k: int = 1,
        opt: str = "adam",
        learning_rate: float = 1e-3,
        epochs: int = 200,
        batch_size: int = 64,
        validation: float = 0.1,
        patience: int = 20,
        precision: str = "float32",
        seed: int = 0,
    ) -> None:
        if min(nodes, hidden, k) < 1:
            raise UsageError(f"detector {self.name}: nodes, hidden and k must be at least 1")
        self.nodes = nodes
        self.hidden = hidden
        self.conditions = conditions
        self.k = k
        self._set_training(opt, learning_rate, epochs, batch_size, validation, patience, precision, seed)

    def build(self, bins: tuple[int, ...]) -> Any:
        """Return the network: significances and conditions in, ln(expected / mean) out."""
        keras = load_keras()
        layers = keras.layers
        seed, policy, n = self.seeds(), self.precision, int(np.prod(bins))

        def dense(nodes: int, act: str | None = "tanh", name: str | None = None) -> Any:
            first = keras.initializers.GlorotUniform(seed())
            return layers.Dense(nodes, activation=act, kernel_initializer=first, dtype=policy, name=name)

        given = [keras.Input((n,))]
        code = dense(self.nodes, None, _BOTTLENECK)(dense(self.hidden)(given[0]))
        if self.conditions:
            given.append(keras.Input((len(self.conditions),)))
            code = layers.Concatenate(dtype=policy)([code, given[1]])
        # Nothing learnt, nothing predicted: the mean shape is where training starts.
        out = layers.Dense(n, kernel_initializer="zeros", dtype="float32")(dense(self.hidden)(code))
        return keras.Model(given, out)

    def _given(self, x: NDArray[np.float32], sample: Sample) -> tuple[list[NDArray[Any]], NDArray[np.float64]]:
        """Return the network's inputs and the mean shape at each LS's rate, ``(n_ls, bins)``."""
        counts = flat(x)
        rate = self.occupancy_.rate(counts)
        pulls, expected = self.occupancy_.pulls(counts)
        given: list[NDArray[Any]] = [np.asarray(np.arcsinh(np.clip(pulls, -5, 5)), np.float32)]
        if self.conditions:
            values = []
            for name in self.conditions:
                if name == _RATE:
                    values.append(np.log(rate[:, 0]))
                elif isinstance(sample, MonitorElement) and name in sample.conditions:
                    values.append(np.asarray(sample.conditions[name], np.float64))
                else:
                    known = [_RATE, *(sample.conditions if isinstance(sample, MonitorElement) else ())]
                    raise UnknownNameError("condition", name, known, f"detector {self.name}")
            given.append(np.stack(values, axis=1).astype(np.float64))
        return given, expected

    def _scaled(self, conditions: NDArray[np.float64]) -> NDArray[np.float32]:
        return np.asarray(np.clip((conditions - self.centre_) / self.width_, -3, 3), np.float32)

    def _learn(self, x: NDArray[np.float32], sample: Sample, progress: Progress | None) -> None:
        self.occupancy_ = Occupancy.learn(x)
        given, expected = self._given(x, sample)
        if self.conditions:
            self.centre_, self.width_ = given[1].mean(axis=0), np.maximum(given[1].std(axis=0), 1e-3)
            given[1] = self._scaled(given[1])
        else:
            self.centre_ = self.width_ = np.zeros(0)
        network = self.compiled(x.shape[1:], self._loss(float(expected.mean())))
        target = np.stack([flat(x), expected], axis=-1).astype(np.float32)
        inputs = tuple(given) if len(given) > 1 else given[0]
        self.history_ = train(network, inputs, target, self.schedule, progress, held_rows(sample, self.validation))
        self.keep(network)

    @staticmethod
    def _loss(scale: float) -> Any:
        """Return the Poisson loss E·exp(δ) - x·δ per bin, in units of the mean counts, of truth ``(n_ls, bins, [x, E])``."""
        ops = load_keras().ops

        def loss(truth: Any, change: Any) -> Any:
            counts, expected = truth[..., 0], truth[..., 1]
            return ops.mean((expected * (ops.exp(change) - 1) - counts * change) / scale, axis=-1)

        return loss

    def _expected(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        given, expected = self._given(x, sample)
        if self.conditions:
            given[1] = self._scaled(given[1])
        change = np.clip(self.run(*given, bins=x.shape[1:]).astype(np.float64), -1, 1)
        return np.asarray(expected * np.exp(change))

    def _differences(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        counts, expected = flat(x), self._expected(x, sample)
        variance = self.occupancy_.variance(expected, self.occupancy_.rate(counts))
        return np.asarray(np.abs(counts - expected) / np.sqrt(np.maximum(variance, 1)))

    def _score_bins(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        return self._differences(x, sample).reshape(x.shape)

    def _reconstruct(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        return np.asarray(self._expected(x, sample).reshape(x.shape), np.float32)

    def _encode(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        given, _ = self._given(x, sample)
        self._expected(x[:1], sample[:1])
        network = self._network
        encoder = load_keras().Model(network.inputs[0], network.get_layer(_BOTTLENECK).output)
        return np.asarray(encoder.predict(given[0], verbose=0), np.float32)

    def _state(self) -> Mapping[str, NDArray[Any]]:
        return {**super()._state(), **self.occupancy_.to_arrays(), "centre": self.centre_, "width": self.width_}

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._restore(arrays)
        self.occupancy_ = Occupancy.from_arrays(arrays, int(np.prod(self.bins_ or ())))
        self.centre_, self.width_ = arrays["centre"], arrays["width"]
