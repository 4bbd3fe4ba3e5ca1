"""Networks that learn faults: the study's three classifiers, and one that is given what counting statistics says of each cell."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.backend import load_keras, values_of
from dqmroot.detectors.base import Progress, Sample, Sees
from dqmroot.detectors.faults import DEFAULT_FAULTS, FaultMaker, classes_of
from dqmroot.detectors.network import MOMENTUM, Network
from dqmroot.detectors.occupancy import Occupancy
from dqmroot.detectors.shapes import flat
from dqmroot.detectors.training import held_rows, train_passes
from dqmroot.errors import UnknownNameError, UsageError

__all__ = ["CNNClassifier", "SignificanceNetwork", "Supervised"]

EVIDENCE_GAIN = 8.0
_FIRST_EVIDENCE = 0.7
_LAYOUTS = ("strided", "pooled", "normalised")


class Supervised(Network):
    """What the classifiers share: faults injected on the fly into the good LS they are given, two or three classes, weights.

    The score is the logarithm of the odds of any fault against good, so that it orders even where probabilities round to 1.
    """

    faults: Sequence[Mapping[str, Any]]
    classes: int
    class_weights: Sequence[float]
    good_share: float

    @abstractmethod
    def _images(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Return what the network is given, ``(n_ls, y, x, channels)``."""

    def _set_classes(
        self,
        classes: int,
        faults: Sequence[Mapping[str, Any]],
        class_weights: Sequence[float],
        good_share: float,
    ) -> None:
        """Store the parameters that both classifiers have, checked."""
        self.classes = classes
        self.faults = faults
        self.class_weights = class_weights
        self.good_share = good_share
        if self.classes not in {2, 3}:
            raise UsageError(f"detector {self.name}: classes must be 2 (good, bad) or 3 (good, hot, dead)")
        if not self.faults or any("fault" not in fault for fault in self.faults):
            raise UsageError(f"detector {self.name}: faults must be a list of faults, such as {DEFAULT_FAULTS[1]}")
        missing = set(range(1, self.classes)) - set(classes_of(self.faults, self.classes).tolist())
        if missing:
            raise UsageError(f"detector {self.name}: no fault of the class {['', 'hot', 'dead'][missing.pop()]}")
        if self.class_weights and len(self.class_weights) != self.classes:
            raise UsageError(
                f"detector {self.name}: {len(self.class_weights)} class weights for {self.classes} classes"
            )
        if not 0 < self.good_share < 1:
            raise UsageError(f"detector {self.name}: good_share must be in (0, 1), got {self.good_share}")

    def _learn(self, x: NDArray[np.float32], sample: Sample, progress: Progress | None) -> None:
        self.occupancy_ = Occupancy.learn(x)
        held = held_rows(sample, self.validation)
        maker = FaultMaker(self.faults, self.occupancy_, self.seed)
        good = self._images(x)
        network = self.compiled(x.shape[1:], self._loss())
        watched = self._sample(x[held], good[held], maker, 0) if held.any() else None
        learnt_x, learnt_good = x[~held], good[~held]
        self.history_ = train_passes(
            network,
            lambda epoch: self._sample(learnt_x, learnt_good, maker, epoch + 1),
            watched,
            self.schedule,
            progress,
        )
        self.keep(network)

    def _sample(
        self, x: NDArray[np.float32], good: NDArray[np.float32], maker: FaultMaker, draw: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return inputs and one-hot classes: each map once, a share of them as it is, the rest with a fault."""
        rng = np.random.default_rng([self.seed, draw, 1])
        bad = rng.permutation(len(x)) >= int(np.ceil(self.good_share * len(x)))
        if not bad.any():
            bad[:] = rng.permutation(len(x)) < 1
        faulty, kind = maker.make(x[bad], draw)
        images = good.copy()
        images[bad] = self._images(faulty)
        label = np.zeros(len(x), np.int64)
        label[bad] = classes_of(self.faults, self.classes)[kind]
        return images, np.eye(self.classes, dtype=np.float32)[label]

    def _loss(self) -> Callable[[Any, Any], Any]:
        ops = load_keras().ops
        weights = np.asarray(self.class_weights or (1.0,) * self.classes, np.float32)

        def loss(truth: Any, logits: Any) -> Any:
            each = -ops.sum(truth * ops.log_softmax(logits, axis=-1), axis=-1)
            return each * ops.sum(truth * weights, axis=-1)

        return loss

    def probabilities(self, x: Sample) -> NDArray[np.float64]:
        """Return P(good), P(bad) or P(good), P(hot), P(dead), ``(n_ls, classes)``; NaN where not judged."""
        values, judged = self._check(x)
        out = np.full((len(values), self.classes), np.nan)
        if judged.any():
            logits = self._logits(values[judged])
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            out[judged] = odds / odds.sum(axis=1, keepdims=True)
        return out

    def _logits(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        # Blocks here too, so that the images of a long series need not fit into memory at once.
        parts = [self.run(self._images(x[i : i + 4096])) for i in range(0, len(x), 4096)]
        return np.concatenate(parts).astype(np.float64)

    def _score(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        logits = self._logits(x)
        bad = logits[:, 1:]
        peak = bad.max(axis=1)
        return np.asarray(peak + np.log(np.exp(bad - peak[:, None]).sum(axis=1)) - logits[:, 0])

    def _state(self) -> Mapping[str, NDArray[Any]]:
        return {**super()._state(), **self.occupancy_.to_arrays()}

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._restore(arrays)
        self.occupancy_ = Occupancy.from_arrays(arrays, int(np.prod(self.bins_ or ())))


class CNNClassifier(Supervised):
    """The three classifiers of the HCAL study, layer by layer.

    Args:
        layout: ``"strided"``: batch normalisation, two 3×3 convolutions of 8 with stride 2, dropout. ``"pooled"``: convolutions of
            10 (2×2), 8 (3×3) and 8 (1×1) with pooling and one batch normalisation, Dense 8. ``"normalised"``: the same with
            batch normalisation after every layer.
        classes: 2 (good, bad) or 3 (good, hot, dead).
        centred: Whether the mean map of good LS is subtracted first. The study did not: all maps then have nearly all in common, by
            which the few nodes of the last layers are driven to where they learn nothing more, or learn in hundreds of passes.
        faults: What to learn, each as `dqmroot.inject` takes it; new places in each pass.
        class_weights: Weight of each class in the loss; empty for equal ones.
        good_share: Share of the LS that stay good in each pass.
        opt: Keras optimiser.
        learning_rate: Its learning rate.
        epochs: At most so many passes over the sample.
        batch_size: Lumisections a step.
        validation: Share of the sample that is watched for early stopping: whole runs where there are three or more.
        patience: Passes without improvement before training ends.
        precision: ``"float32"``, or ``"mixed_bfloat16"`` and ``"mixed_float16"`` for GPUs.
        seed: Of weights, order and faults.
    """

    name = "cnn_classifier"
    input = "counts"
    ndims = (2,)
    sees = (Sees("dead", 5, 100, 2),)
    formerly: ClassVar[Mapping[str, Any]] = {"centred": False}
    quick: ClassVar[Mapping[str, Any]] = {
        "layout": "strided",
        "epochs": 150,
        "batch_size": 16,
        "learning_rate": 5e-3,
        "patience": 150,
        "faults": [{"fault": "hot", "amount": 2.0, "size": (5, 5)}, {"fault": "dead", "size": (5, 5)}],
    }

    def __init__(
        self,
        *,
        layout: str = "normalised",
        classes: int = 3,
        centred: bool = True,
        faults: Sequence[Mapping[str, Any]] = DEFAULT_FAULTS,
        class_weights: Sequence[float] = (),
        good_share: float = 0.34,
        opt: str = "adam",
        learning_rate: float = 1e-3,
        epochs: int = 250,
        batch_size: int = 64,
        validation: float = 0.1,
        patience: int = 50,
        precision: str = "float32",
        seed: int = 0,
    ) -> None:
        if layout not in _LAYOUTS:
            raise UnknownNameError("layout", layout, _LAYOUTS, f"detector {self.name}")
        self.layout = layout
        self.centred = centred
        self._set_training(opt, learning_rate, epochs, batch_size, validation, patience, precision, seed)
        self._set_classes(classes, faults, class_weights, good_share)

    def _images(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Maps divided by what the fullest good cell of their rate holds, less the mean map of good ones."""
        rate = self.occupancy_.rate(flat(x))[:, :, None]
        shape = self.occupancy_.shape
        images = x / (rate * shape.max())
        if self.centred:
            images -= (shape / shape.max()).reshape(x.shape[1:])
        return np.asarray(images[..., None], np.float32)

    def build(self, bins: tuple[int, ...]) -> Any:
        """Return the network; it gives logits, one per class."""
        keras = load_keras()
        layers = keras.layers
        if min(bins) < 8:
            raise UsageError(f"detector {self.name}: needs maps of at least 8 × 8 bins, got {bins}")
        seed, policy = self.seeds(), self.precision

        def conv(n: int, width: int, **more: Any) -> Any:
            first = keras.initializers.GlorotUniform(seed())
            return layers.Conv2D(n, width, kernel_initializer=first, dtype=policy, **more)

        def dense(n: int, dtype: str = policy, **more: Any) -> Any:
            return layers.Dense(n, kernel_initializer=keras.initializers.GlorotUniform(seed()), dtype=dtype, **more)

        def norm() -> list[Any]:
            return [layers.BatchNormalization(momentum=MOMENTUM, dtype=policy), layers.Activation("relu", dtype=policy)]

        pool = layers.MaxPooling2D
        if self.layout == "strided":
            stack = [
                layers.BatchNormalization(momentum=MOMENTUM, dtype=policy),
                conv(8, 3, strides=2, activation="relu"),
                conv(8, 3, strides=2, activation="relu"),
                layers.Dropout(0.25, seed=seed()),
                layers.Flatten(),
            ]
        elif self.layout == "pooled":
            stack = [
                *(conv(10, 2, activation="relu"), pool(2), layers.BatchNormalization(momentum=MOMENTUM, dtype=policy)),
                *(conv(8, 3, activation="relu"), pool(2), conv(8, 1, activation="relu")),
                *(layers.Dropout(0.25, seed=seed()), layers.Flatten(), dense(8, activation="relu")),
            ]
        else:
            stack = [
                *(conv(10, 2), *norm(), pool(2), conv(8, 3), *norm(), pool(2), conv(8, 1), *norm()),
                *(layers.Dropout(0.25, seed=seed()), layers.Flatten(), dense(8), *norm()),
            ]
        return keras.Sequential([keras.Input((*bins, 1)), *stack, dense(self.classes, "float32")])


class SignificanceNetwork(Supervised):
    """A network that sees the significance of each cell against the mean map, and adds up evidence as probabilities demand.

    Each cell is described by its signed significance, what was expected there, and the ratio of the two. 1×1 convolutions turn that
    into evidence for each kind of fault, windows add it up over neighbours, and the logarithm of the summed exponentials over
    all places is the evidence for a fault anywhere, which is the form that the exact likelihood ratio has.

    Args:
        classes: 2 (good, bad) or 3 (good, hot, dead).
        faults: What to learn, each as `dqmroot.inject` takes it; new places in each pass.
        windows: Sizes (y, x) of the windows that evidence is added up in.
        hidden: Nodes of the two hidden layers per cell.
        class_weights: Weight of each class in the loss; empty for equal ones.
        good_share: Share of the LS that stay good in each pass.
        opt: Keras optimiser.
        learning_rate: Its learning rate.
        epochs: At most so many passes over the sample.
        batch_size: Lumisections a step.
        validation: Share of the sample that is watched for early stopping: whole runs where there are three or more.
        patience: Passes without improvement before training ends.
        precision: ``"float32"``, or ``"mixed_bfloat16"`` and ``"mixed_float16"`` for GPUs.
        seed: Of weights, order and faults.
    """

    name = "significance_network"
    input = "counts"
    ndims = (2,)
    sees = (Sees("dead", 1, 50, 2), Sees("hot", 1, 100, 2))
    quick: ClassVar[Mapping[str, Any]] = {"epochs": 20, "batch_size": 16, "learning_rate": 1e-2}

    def __init__(
        self,
        *,
        classes: int = 3,
        faults: Sequence[Mapping[str, Any]] = DEFAULT_FAULTS,
        windows: Sequence[Sequence[int]] = ((1, 1),),
        hidden: int = 16,
        class_weights: Sequence[float] = (),
        good_share: float = 0.34,
        opt: str = "adam",
        learning_rate: float = 3e-3,
        epochs: int = 100,
        batch_size: int = 64,
        validation: float = 0.1,
        patience: int = 30,
        precision: str = "float32",
        seed: int = 0,
    ) -> None:
        if not windows or any(len(window) != 2 or min(window) < 1 for window in windows):
            raise UsageError(f"detector {self.name}: windows must be pairs of numbers of cells, got {windows}")
        if hidden < 1:
            raise UsageError(f"detector {self.name}: hidden must be at least 1, got {hidden}")
        self.windows = windows
        self.hidden = hidden
        self._set_training(opt, learning_rate, epochs, batch_size, validation, patience, precision, seed)
        self._set_classes(classes, faults, class_weights, good_share)

    def _images(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Significance, expectation, ratio and whether the cell lives; each compressed to the size that a network likes."""
        pulls, expected = self.occupancy_.pulls(flat(x))
        live = np.broadcast_to(self.occupancy_.shape > 0, pulls.shape)
        ratio = np.log((flat(x) + 0.5) / (expected + 0.5))
        channels = np.stack([np.arcsinh(pulls), 0.3 * np.log1p(expected), ratio, live], axis=-1)
        return np.asarray(channels.reshape(*x.shape, 4), np.float32)

    def build(self, bins: tuple[int, ...]) -> Any:
        """Return the network; it gives logits, one per class, that of good being 0."""
        keras = load_keras()
        layers, ops = keras.layers, keras.ops
        seed, policy, n = self.seeds(), self.precision, self.classes - 1

        def conv(nodes: int, dtype: str = policy, **more: Any) -> Any:
            return layers.Conv2D(
                nodes, 1, kernel_initializer=keras.initializers.GlorotUniform(seed()), dtype=dtype, **more
            )

        given = keras.Input((*bins, 4))
        live = given[..., 3:4]
        hidden = [conv(self.hidden, activation="elu"), conv(self.hidden, activation="elu")]
        x = hidden[1](hidden[0](given))
        parts, evident = [], []
        for i, (height, width) in enumerate(self.windows):
            # The sum over a window, of cells that live; a learnt constant sets how much of it a fault needs.
            # Times 8: one faulty cell in thousands must outshout the others from the start, or nothing is learnt for long.
            evident.append(conv(n, "float32", name=f"evidence_{i}"))
            evidence = evident[-1](x) * live * EVIDENCE_GAIN
            if height * width > 1:
                evidence = layers.AveragePooling2D((height, width), strides=1, padding="same")(evidence) * (
                    height * width
                )
            evidence = _Offset(n, f"offset_{i}")(evidence)
            flat_evidence = ops.reshape(
                evidence + (live - 1) * 1e4 * float(height * width == 1), (-1, bins[0] * bins[1], n)
            )
            parts.append(ops.logsumexp(flat_evidence, axis=(1,)))
        logits = parts[0] if len(parts) == 1 else ops.logsumexp(ops.stack(parts, axis=1), axis=(1,))
        if self.hidden > 1:
            _start_from_significance(hidden, evident)
        return keras.Model(given, ops.concatenate([ops.zeros_like(logits[:, :1]), logits], axis=1))


def _start_from_significance(hidden: Sequence[Any], evident: Sequence[Any]) -> None:
    """Let two nodes carry excess and deficit to the evidence from the start.

    Excess speaks for the first kind of fault, deficit for the last. From random weights, a kind whose evidence starts with
    the wrong sign looks for its one faulty cell among thousands of good ones, and in some seeds never finds it.
    """
    for i, layer in enumerate(hidden):
        (kernel,) = values_of([layer.kernel])
        kernel[..., :2] = 0
        kernel[0, 0, 0, 0], kernel[0, 0, 1 if i else 0, 1] = 1, 1 if i else -1
        layer.kernel.assign(kernel)
    for layer in evident:
        (kernel,) = values_of([layer.kernel])
        kernel[0, 0, :2] = 0
        kernel[0, 0, 0, 0], kernel[0, 0, 1, -1] = _FIRST_EVIDENCE, _FIRST_EVIDENCE
        layer.kernel.assign(kernel)


def _Offset(n: int, name: str) -> Any:  # noqa: N802
    """Return a layer that adds a learnt constant to each channel, below zero at first: faults are rare."""
    keras = load_keras()
    layer: Any = keras.layers.Layer

    class Offset(layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.offset = self.add_weight(shape=(n,), initializer=keras.initializers.Constant(-8.0), name="offset")

        def call(self, x: Any) -> Any:
            return keras.ops.add(x, self.offset)

    return Offset(dtype="float32", name=name)
