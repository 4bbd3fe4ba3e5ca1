"""The convolutional autoencoder of the HCAL study, 86-64-32, for maps of any size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.backend import load_keras
from dqmroot.detectors.base import Progress, Sample, Sees
from dqmroot.detectors.binwise import Binwise
from dqmroot.detectors.network import MOMENTUM, Network, fitting_size
from dqmroot.detectors.occupancy import Occupancy
from dqmroot.detectors.shapes import blocks, cached_blocks, flat, largest
from dqmroot.detectors.training import held_rows, train
from dqmroot.errors import UnknownNameError, UsageError

__all__ = ["ConvAutoencoder"]

_LOSSES = ("mse", "mae", "binary_crossentropy")
_BOTTLENECK = "bottleneck"
_DISTANCES = ("significance", "squared")


class ConvAutoencoder(Binwise, Network):
    """Three convolutions down and three up again, with batch normalisation; learns good maps only.

    The study's network: 3×3 convolutions of 86, 64 and 32 filters, each followed by pooling, and the same upwards; 148,521
    parameters.
    Maps are brought to [0, 1] by the largest share of the good maps; sizes that do not divide by 8 are padded, and cropped back.

    Args:
        filters: Filters of each level; each level halves the map.
        opt: Keras optimiser; the study used adadelta.
        learning_rate: Its learning rate.
        loss: ``"mse"``, ``"mae"`` or ``"binary_crossentropy"``.
        distance: ``"significance"``: the difference to the reconstruction in units of what counting and the reconstruction's own
            errors on good maps explain, which lets a single channel stand out; ``"squared"``, as the study had it.
        k: How many of the largest differences count; 1 is the largest, as in the study.
        epochs: At most so many passes over the sample.
        batch_size: Lumisections a step.
        validation: Share of the sample that is watched for early stopping: whole runs where there are three or more.
        patience: Passes without improvement before training ends.
        precision: ``"float32"``, or ``"mixed_bfloat16"`` and ``"mixed_float16"`` for GPUs.
        seed: Of the first weights and of the order of the LS.
    """

    name = "conv_autoencoder"
    input = "counts"
    ndims = (2,)
    sees = (Sees("dead", 3, 100, 2), Sees("dead", 1, 100, 2))
    quick: ClassVar[Mapping[str, Any]] = {"epochs": 60, "filters": (8, 8), "batch_size": 16, "learning_rate": 1e-2}

    def __init__(
        self,
        *,
        filters: Sequence[int] = (86, 64, 32),
        opt: str = "adam",
        learning_rate: float = 1e-3,
        loss: str = "mse",
        distance: str = "significance",
        k: int = 1,
        epochs: int = 100,
        batch_size: int = 64,
        validation: float = 0.1,
        patience: int = 20,
        precision: str = "float32",
        seed: int = 0,
    ) -> None:
        if loss not in _LOSSES:
            raise UnknownNameError("loss", loss, _LOSSES, f"detector {self.name}")
        if distance not in _DISTANCES:
            raise UnknownNameError("distance", distance, _DISTANCES, f"detector {self.name}")
        if not filters or min(filters) < 1 or k < 1:
            raise UsageError(f"detector {self.name}: filters and k must be at least 1")
        self.filters = filters
        self.loss = loss
        self.distance = distance
        self.k = k
        self._set_training(opt, learning_rate, epochs, batch_size, validation, patience, precision, seed)

    def build(self, bins: tuple[int, ...]) -> Any:
        """Return the network for maps of ``bins``; 148,521 parameters with the study's filters."""
        keras = load_keras()
        layers = keras.layers

        seed = self.seeds()
        factor = 2 ** len(self.filters)
        height, width = (fitting_size(n, factor) for n in bins)
        policy = self.precision

        def level(x: Any, n: int) -> Any:
            x = layers.Conv2D(
                n, 3, padding="same", kernel_initializer=keras.initializers.GlorotUniform(seed()), dtype=policy
            )(x)
            return layers.Activation("relu", dtype=policy)(
                layers.BatchNormalization(momentum=MOMENTUM, dtype=policy)(x)
            )

        given = keras.Input((height, width, 1))
        x = given
        for n in self.filters:
            x = layers.MaxPooling2D(2, padding="same", dtype=policy)(level(x, n))
        x = layers.Identity(name=_BOTTLENECK)(x)
        for n in reversed(self.filters):
            x = layers.UpSampling2D(2, dtype=policy)(level(x, n))
        last = keras.initializers.GlorotUniform(seed())
        # The last layer computes in float32 whatever the precision, so that the loss does.
        decoded = layers.Conv2D(1, 3, padding="same", activation="sigmoid", kernel_initializer=last, dtype="float32")(x)
        return keras.Model(given, decoded)

    def _images(self, x: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Return maps in [0, 1], padded, and the rate of each, ``(n_ls, 1, 1)``."""
        factor = 2 ** len(self.filters)
        sizes = [fitting_size(n, factor) for n in x.shape[1:]]
        padded = np.zeros((len(x), *sizes, 1), np.float32)
        y, z = ((size - n) // 2 for size, n in zip(sizes, x.shape[1:], strict=True))
        inside = padded[:, y : y + x.shape[1], z : z + x.shape[2], 0]
        rate = np.empty((len(x), 1, 1))
        for part in cached_blocks(x):
            rate[part] = self.occupancy_.rate(flat(x[part]))[:, :, None]
            inside[part] = np.clip(x[part] / (rate[part] * self.largest_), 0, 1)
        return padded, rate

    def _learn(self, x: NDArray[np.float32], sample: Sample, progress: Progress | None) -> None:
        self.occupancy_ = Occupancy.learn(x)
        # Headroom of a half: a hot channel must not look like the fullest good one.
        self.largest_ = 1.5 * float(self.occupancy_.shape.max())
        bins = x.shape[1:]
        images, rate = self._images(x)
        network = self.compiled(bins, self.loss)
        self.history_ = train(network, images, images, self.schedule, progress, held_rows(sample, self.validation))
        self.keep(network)
        share = self._decoded(images, bins)
        expected = share * rate
        variance = self.occupancy_.variance(flat(expected), rate[:, :, 0]).reshape(x.shape)
        excess = np.square(x - expected) - variance
        # What the reconstruction is off by on good maps, relative to the largest share.
        self.error_ = np.sqrt(np.maximum((excess / np.square(rate)).mean(axis=0), 0))

    def _decoded(self, images: NDArray[np.float32], bins: tuple[int, ...]) -> NDArray[np.float64]:
        out = self.run(images, bins=bins)[..., 0].astype(np.float64) * self.largest_
        y, x = ((have - need) // 2 for have, need in zip(out.shape[1:], bins, strict=True))
        return out[:, y : y + bins[0], x : x + bins[1]]

    def _differences(self, x: NDArray[np.float32]) -> Iterator[NDArray[np.float64]]:
        """Give some LS at a time and how far each of their bins is off."""
        images, rates = self._images(x)
        shares = self._decoded(images, x.shape[1:])
        for part in cached_blocks(x):
            counts, rate = x[part], rates[part]
            expected = shares[part] * rate
            if self.distance == "squared":
                yield np.square((counts - expected) / (rate * self.largest_))
                continue
            variance = self.occupancy_.variance(flat(expected), rate[:, :, 0]).reshape(counts.shape)
            yield np.abs(counts - expected) / np.sqrt(variance + np.square(self.error_ * rate) + 1)

    def _score(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        return np.concatenate([largest(flat(off), self.k) for off in self._differences(x)])

    def _score_bins(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        return np.concatenate(list(self._differences(x)))

    def _reconstruct(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        images, rate = self._images(x)
        return np.asarray(self._decoded(images, x.shape[1:]) * rate, np.float32)

    def _encode(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        keras = load_keras()

        images, _ = self._images(x)
        self.run(images[:1])
        encoder = keras.Model(self._network.input, self._network.get_layer(_BOTTLENECK).output)
        codes = [np.asarray(encoder.predict_on_batch(images[part]), np.float32) for part in blocks(len(x), 256)]
        out = np.concatenate(codes)
        # Channel by channel, so that features of one filter stand together.
        return np.moveaxis(out, -1, 1).reshape(len(out), -1)

    def _state(self) -> Mapping[str, NDArray[Any]]:
        more = {"largest": np.array(self.largest_), "error": self.error_}
        return {**super()._state(), **self.occupancy_.to_arrays(), **more}

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._restore(arrays)
        bins = self.bins_ or ()
        self.occupancy_ = Occupancy.from_arrays(arrays, int(np.prod(bins)))
        self.largest_, self.error_ = float(arrays["largest"]), np.asarray(arrays["error"], np.float64)
        if self.error_.shape != bins:
            raise ValueError("the stored errors are of other bins")
