"""What all convolutional networks share: scaling, padding, weights as arrays, and running in blocks of one size."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.backend import load_keras, weights_of
from dqmroot.detectors.base import Detector
from dqmroot.detectors.training import Schedule, gpus
from dqmroot.errors import UnknownNameError, UsageError

__all__ = ["MOMENTUM", "Network", "fitting_size"]

MOMENTUM = 0.9
"""Of the means and variances that batch normalisation scores with. Keras' 0.99 follows those of the training after some 500
steps; a few passes over a few hundred maps are fewer, the network would be judged with statistics that are not its own, and the
first pass, in which it has learnt nothing, would be kept as the best."""

_MOST_ROWS, _MOST_BINS = 256, 1 << 16
"""What goes through a network at once: of 1,500 bins each row makes some MB of what its layers hold in between."""

_PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")


def fitting_size(n: int, multiple: int) -> int:
    """Return the least number from ``n`` on that divides by ``multiple``."""
    return -(-n // multiple) * multiple


class Network(Detector):
    """Base of the detectors whose network runs in Keras, on any backend.

    A subclass implements `build`, which makes the network for maps of some size from its parameters alone; on disk are the
    parameters and the weights, as arrays.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    validation: float
    patience: int
    opt: str
    precision: str
    seed: int

    weights_: list[NDArray[Any]]
    _network: Any = None

    @abstractmethod
    def build(self, bins: tuple[int, ...]) -> Any:
        """Return the network, a `keras.Model`, for histograms of these bins."""

    @property
    def schedule(self) -> Schedule:
        """How the network is trained."""
        path = None if self.checkpoint is None else Path(self.checkpoint)
        return Schedule(self.epochs, self.batch_size, self.validation, self.patience, self.seed, path)

    def _set_training(
        self,
        opt: str,
        learning_rate: float,
        epochs: int,
        batch_size: int,
        validation: float,
        patience: int,
        precision: str,
        seed: int,
    ) -> None:
        """Store the parameters that all networks have, checked."""
        self.opt = opt
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation = validation
        self.patience = patience
        self.precision = precision
        self.seed = seed
        for key, low in (("epochs", 1), ("batch_size", 1), ("patience", 1)):
            if getattr(self, key) < low:
                raise UsageError(f"detector {self.name}: {key} must be at least {low}, got {getattr(self, key)}")
        if not 0 <= self.validation < 1:
            raise UsageError(f"detector {self.name}: validation must be in [0, 1), got {self.validation}")
        if not self.learning_rate > 0:
            raise UsageError(f"detector {self.name}: learning_rate must be positive, got {self.learning_rate}")
        if self.precision not in _PRECISIONS:
            raise UnknownNameError("precision", self.precision, _PRECISIONS, f"detector {self.name}")

    def compiled(self, bins: tuple[int, ...], loss: Any) -> Any:
        """Return the network ready to learn; the step is compiled where there is a GPU."""
        keras = load_keras()

        network = self.build(bins)
        try:
            optimizer = keras.optimizers.get(self.opt)
        except ValueError as error:
            raise UsageError(f"detector {self.name}: unknown optimiser {self.opt!r}") from error
        optimizer.learning_rate = self.learning_rate
        network.compile(optimizer=optimizer, loss=loss, jit_compile="auto" if gpus() else False)
        return network

    def seeds(self) -> Callable[[], int]:
        """Return a function that gives another seed at each call, the same ones for the same detector."""
        count = iter(range(self.seed * 1000, self.seed * 1000 + 1000))
        return lambda: next(count)

    def keep(self, network: Any) -> None:
        """Take the network that has learnt."""
        self._network = network
        self.weights_ = [np.asarray(weight) for weight in weights_of(network)]

    def network(self, bins: tuple[int, ...] | None = None) -> Any:
        """Return the network that has learnt, a `keras.Model`; one that was loaded is built now.

        Raises:
            UsageError: The stored weights are of another network.
        """
        if self._network is None:
            network = self.build(bins or self._need_fit())
            try:
                network.set_weights(self.weights_)
            except ValueError as error:
                raise UsageError(f"{self.name}: the stored weights do not fit the network: {error}") from error
            self._network = network
        return self._network

    def run(self, *inputs: NDArray[Any], bins: tuple[int, ...] | None = None) -> NDArray[np.float32]:
        """Return the network's output for inputs ``(n_ls, …)``, in blocks of one size so that it is compiled once."""
        network = self.network(bins)
        n, step = len(inputs[0]), _rows_at_once(inputs[0][:1].size)
        parts = []
        for start in range(0, n, step):
            # Rows are repeated to fill the last block.
            rows = np.resize(np.arange(start, min(n, start + step)), step)
            given = [array[rows] for array in inputs]
            out = network.predict_on_batch(given if len(given) > 1 else given[0])
            parts.append(np.asarray(out, np.float32)[: min(step, n - start)])
        return np.concatenate(parts)

    def _state(self) -> Mapping[str, NDArray[Any]]:
        return {"n_weights": np.array(len(self.weights_))} | {f"weight_{i}": w for i, w in enumerate(self.weights_)}

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.weights_ = [arrays[f"weight_{i}"] for i in range(int(arrays["n_weights"]))]
        self._network = None


def _rows_at_once(n_bins: int) -> int:
    return _MOST_ROWS if gpus() else max(1, min(_MOST_ROWS, _MOST_BINS // n_bins))
