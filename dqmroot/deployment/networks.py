"""Detectors as ONNX operations: networks layer by layer, decompositions as matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dqmroot.deployment.counting import add_pulls, add_rate, add_variance
from dqmroot.deployment.graph import Graph, flat_size
from dqmroot.detectors import Detector
from dqmroot.detectors.network import Network, fitting_size
from dqmroot.detectors.supervised import EVIDENCE_GAIN
from dqmroot.errors import UsageError

__all__ = ["EXPORTED", "Parts", "add_detector"]

_DOUBLE, _SINGLE = np.float64, np.float32


@dataclass(frozen=True)
class Parts:
    """Names of what a detector gives.

    Args:
        score: ``(n,)`` float64.
        loss: ``(n, *bins)`` float64; ``None`` where the detector cannot say where.
        reconstruction: ``(n, *bins)`` float64; ``None`` where it has no expectation.
    """

    score: str
    loss: str | None = None
    reconstruction: str | None = None


def add_detector(graph: Graph, detector: Detector, x: str) -> Parts:
    """Add a fitted detector to the graph; ``x`` is the prepared series, ``(n, *bins)`` float32.

    Raises:
        UsageError: A detector that has no form in ONNX.
    """
    if detector.name not in EXPORTED:
        known = ", ".join(sorted(EXPORTED))
        raise UsageError(
            f"detector {detector.name}: cannot be exported to ONNX, {_reason(detector)}; these can: {known}"
        )
    return EXPORTED[detector.name](graph, detector, x)


def _reason(detector: Detector) -> str:
    if detector.sequential:
        return "its score needs the lumisections before, and a graph sees one at a time"
    if "detector" in detector.parameters:
        return (
            f"it corrects another detector by what it keeps beside it; export {detector.parameters['detector']} itself"
        )
    return "it is no network and scores in NumPy"


def _dense_autoencoder(graph: Graph, detector: Any, x: str) -> Parts:
    bins = detector.bins_
    _, activations = detector.layers(flat_size(bins))
    out = graph.reshape(x, -1)
    for i, activation in enumerate(activations):
        weights = [graph.constant(w, _SINGLE) for w in detector.weights_[2 * i : 2 * i + 2]]
        out = _activation(graph, graph.add("Gemm", out, *weights), activation)
    return _squared(graph, x, graph.reshape(out, *bins), bins, detector.k)


def _pca(graph: Graph, detector: Any, x: str) -> Parts:
    rows = graph.reshape(graph.cast(x, _DOUBLE), -1)
    if len(detector.components_):
        weights = graph.add("MatMul", graph.add("Sub", rows, detector.mean_), detector.components_.T)
        out = graph.add("Add", graph.add("MatMul", weights, detector.components_), detector.mean_)
    else:
        out = graph.add("Add", graph.add("Mul", rows, 0.0), detector.mean_)
    return _squared(graph, x, graph.cast(graph.reshape(out, *detector.bins_), _SINGLE), detector.bins_, detector.k)


def _nmf(graph: Graph, detector: Any, x: str) -> Parts:
    """The multiplicative updates are a loop of a fixed number of passes, which ONNX has."""
    tiny = 1e-12
    parts = detector.components_
    rows = graph.add("Max", graph.reshape(graph.cast(x, _DOUBLE), -1), 0.0)
    projected = graph.add("MatMul", rows, parts.T)
    begin = graph.add("Mul", graph.sum(rows, [1]), np.full((1, len(parts)), 1 / parts.sum()))
    gram, least = graph.constant(parts @ parts.T, _DOUBLE), graph.constant(tiny, _DOUBLE)
    body = [
        graph.node("MatMul", ["weights", gram], "explained"),
        graph.node("Max", ["explained", least], "safe"),
        graph.node("Div", [projected, "safe"], "ratio"),
        graph.node("Mul", ["weights", "ratio"], "better"),
    ]
    weights = graph.loop(detector.iterations, begin, body, "better", "weights", ["n", len(parts)])
    out = graph.reshape(graph.add("MatMul", weights, parts), *detector.bins_)
    return _squared(graph, x, graph.cast(out, _SINGLE), detector.bins_, detector.k)


def _squared(graph: Graph, x: str, reconstruction: str, bins: Sequence[int], k: int) -> Parts:
    """Score by the mean of the k largest squared differences, taken in float64."""
    expected = graph.cast(reconstruction, _DOUBLE)
    off = graph.add("Sub", graph.cast(x, _DOUBLE), expected)
    loss = graph.add("Mul", off, off)
    return Parts(graph.largest(graph.reshape(loss, -1), flat_size(bins), k), loss, expected)


def _conv_autoencoder(graph: Graph, detector: Any, x: str) -> Parts:
    bins = detector.bins_
    occupancy = detector.occupancy_
    counts = graph.reshape(graph.cast(x, _DOUBLE), -1)
    rate = add_rate(graph, occupancy, counts)
    shares = graph.add("Div", counts, graph.add("Mul", rate, detector.largest_))
    image = graph.reshape(graph.cast(graph.add("Max", graph.add("Min", shares, 1.0), 0.0), _SINGLE), 1, *bins)
    factor = 2 ** len(detector.filters)
    pads = [fitting_size(n, factor) - n for n in bins]
    low = [n // 2 for n in pads]
    around = [0, 0, *low, 0, 0, *(n - m for n, m in zip(pads, low, strict=True))]
    padded = graph.add("Pad", image, graph.constant(around, np.int64), graph.constant(0.0, _SINGLE))
    decoded = _chain(graph, detector, padded)
    ends = [[m, m + n] for m, n in zip(low, bins, strict=True)]
    begin, end = (graph.constant([pair[i] for pair in ends], np.int64) for i in (0, 1))
    cropped = graph.add("Slice", decoded, begin, end, graph.constant([2, 3], np.int64))
    share = graph.add("Mul", graph.reshape(graph.cast(cropped, _DOUBLE), -1), detector.largest_)
    expected = graph.add("Mul", share, rate)
    off = graph.add("Sub", counts, expected)
    if detector.distance == "squared":
        off = graph.add("Div", off, graph.add("Mul", rate, detector.largest_))
        loss = graph.add("Mul", off, off)
    else:
        own = graph.add("Mul", rate, detector.error_.ravel())
        variance = graph.add("Add", add_variance(graph, occupancy, expected, rate), graph.add("Mul", own, own))
        loss = graph.add("Div", graph.add("Abs", off), graph.add("Sqrt", graph.add("Add", variance, 1.0)))
    score = graph.largest(loss, flat_size(bins), detector.k)
    return Parts(score, graph.reshape(loss, *bins), graph.reshape(expected, *bins))


def _cnn_classifier(graph: Graph, detector: Any, x: str) -> Parts:
    counts = graph.reshape(graph.cast(x, _DOUBLE), -1)
    rate = add_rate(graph, detector.occupancy_, counts)
    shape = detector.occupancy_.shape
    shares = graph.add("Div", counts, graph.add("Mul", rate, float(shape.max())))
    if detector.centred:
        shares = graph.add("Sub", shares, shape / shape.max())
    image = graph.reshape(graph.cast(shares, _SINGLE), 1, *detector.bins_)
    return _odds(graph, _chain(graph, detector, image), detector.classes)


def _significance_network(graph: Graph, detector: Any, x: str) -> Parts:
    cells, n = flat_size(detector.bins_), detector.classes - 1
    counts = graph.reshape(graph.cast(x, _DOUBLE), -1)
    pulls, expected = add_pulls(graph, detector.occupancy_, counts)
    channels = [
        _asinh(graph, pulls),
        graph.add("Mul", graph.add("Log", graph.add("Add", expected, 1.0)), 0.3),
        graph.add("Log", graph.add("Div", graph.add("Add", counts, 0.5), graph.add("Add", expected, 0.5))),
        graph.add("Add", graph.add("Mul", pulls, 0.0), np.asarray(detector.occupancy_.shape > 0, _DOUBLE)),
    ]
    planes = [graph.reshape(graph.cast(one, _SINGLE), 1, *detector.bins_) for one in channels]
    image, live = graph.add("Concat", *planes, axis=1), planes[3]
    network = detector.network()
    for layer in [one for one in network.layers if type(one).__name__ == "Conv2D"][:2]:
        image = _layer(graph, layer, image)
    parts = []
    for i, (height, width) in enumerate(detector.windows):
        (offset,) = network.get_layer(f"offset_{i}").get_weights()
        evidence = graph.add("Mul", _layer(graph, network.get_layer(f"evidence_{i}"), image), live)
        evidence = graph.add("Mul", evidence, graph.constant(EVIDENCE_GAIN, _SINGLE))
        if height * width > 1:
            evidence = graph.add("AveragePool", evidence, kernel_shape=[height, width], auto_pad="SAME_UPPER")
            evidence = graph.add("Mul", evidence, graph.constant(height * width, _SINGLE))
        evidence = graph.add("Add", evidence, graph.constant(offset.reshape(-1, 1, 1), _SINGLE))
        if height * width == 1:
            dead = graph.add("Sub", live, graph.constant(1, _SINGLE))
            evidence = graph.add("Add", evidence, graph.add("Mul", dead, graph.constant(1e4, _SINGLE)))
        parts.append(graph.add("ReduceLogSumExp", graph.reshape(evidence, n, cells), axes=[2], keepdims=0))
    if len(parts) > 1:
        stacked = graph.add("Concat", *(graph.reshape(part, 1, n) for part in parts), axis=1)
        parts = [graph.add("ReduceLogSumExp", stacked, axes=[1], keepdims=0)]
    return Parts(graph.add("ReduceLogSumExp", graph.cast(parts[0], _DOUBLE), axes=[1], keepdims=0))


def _poisson_autoencoder(graph: Graph, detector: Any, x: str) -> Parts:
    occupancy, bins = detector.occupancy_, detector.bins_
    counts = graph.reshape(graph.cast(x, _DOUBLE), -1)
    rate = add_rate(graph, occupancy, counts)
    pulls, expected = add_pulls(graph, occupancy, counts)
    out = graph.cast(_asinh(graph, graph.add("Max", graph.add("Min", pulls, 5.0), -5.0)), _SINGLE)
    dense = [layer for layer in detector.network().layers if type(layer).__name__ == "Dense"]
    for layer in dense[:2]:
        out = _layer(graph, layer, out)
    if detector.conditions:
        names = [
            graph.add("Log", rate) if name == "rate" else graph.reshape(graph.input(name, _DOUBLE, ["n"]), 1)
            for name in detector.conditions
        ]
        told = graph.add("Concat", *names, axis=1)
        told = graph.add("Div", graph.add("Sub", told, detector.centre_), detector.width_)
        told = graph.cast(graph.add("Max", graph.add("Min", told, 3.0), -3.0), _SINGLE)
        out = graph.add("Concat", out, told, axis=1)
    for layer in dense[2:]:
        out = _layer(graph, layer, out)
    change = graph.add("Max", graph.add("Min", graph.cast(out, _DOUBLE), 1.0), -1.0)
    expected = graph.add("Mul", expected, graph.add("Exp", change))
    spread = graph.add("Sqrt", graph.add("Max", add_variance(graph, occupancy, expected, rate), 1.0))
    loss = graph.add("Div", graph.add("Abs", graph.add("Sub", counts, expected)), spread)
    score = graph.largest(loss, flat_size(bins), detector.k)
    return Parts(score, graph.reshape(loss, *bins), graph.reshape(expected, *bins))


def _asinh(graph: Graph, value: str) -> str:
    """Add asinh, which onnxruntime has in float32 only."""
    size = graph.add("Abs", value)
    root = graph.add("Sqrt", graph.add("Add", graph.add("Mul", size, size), 1.0))
    return graph.add("Mul", graph.add("Log", graph.add("Add", size, root)), graph.add("Sign", value))


def _odds(graph: Graph, logits: str, classes: int) -> Parts:
    """Score by the logarithm of the odds of any fault against good."""
    wide = graph.cast(logits, _DOUBLE)
    good, faults = (
        graph.add("Slice", wide, *(graph.constant([i], np.int64) for i in ends))
        for ends in ((0, 1, 1), (1, classes, 1))
    )
    bad = graph.add("ReduceLogSumExp", faults, axes=[1], keepdims=1)
    return Parts(graph.add("Squeeze", graph.add("Sub", bad, good), graph.constant([1], np.int64)))


def _chain(graph: Graph, detector: Network, image: str) -> str:
    """Add the layers of a network that stand one after the other; images are (n, channels, y, x)."""
    for layer in detector.network().layers:
        image = _layer(graph, layer, image)
    return image


def _layer(graph: Graph, layer: Any, value: str) -> str:
    kind = type(layer).__name__
    if kind not in _LAYERS:
        raise UsageError(f"a layer {kind} cannot be exported to ONNX")
    return _LAYERS[kind](graph, layer, value)


def _conv(graph: Graph, layer: Any, value: str) -> str:
    kernel, bias = layer.get_weights()
    pad = "SAME_UPPER" if layer.padding == "same" else "VALID"
    weights = [graph.constant(kernel.transpose(3, 2, 0, 1), _SINGLE), graph.constant(bias, _SINGLE)]
    out = graph.add("Conv", value, *weights, auto_pad=pad, strides=list(layer.strides))
    return _activation(graph, out, layer.activation.__name__)


def _dense(graph: Graph, layer: Any, value: str) -> str:
    weights = [graph.constant(weight, _SINGLE) for weight in layer.get_weights()]
    return _activation(graph, graph.add("Gemm", value, *weights), layer.activation.__name__)


def _batch_normalisation(graph: Graph, layer: Any, value: str) -> str:
    weights = [graph.constant(weight, _SINGLE) for weight in layer.get_weights()]
    return graph.add("BatchNormalization", value, *weights, epsilon=float(layer.epsilon))


def _max_pooling(graph: Graph, layer: Any, value: str) -> str:
    pad = "SAME_UPPER" if layer.padding == "same" else "VALID"
    return graph.add("MaxPool", value, kernel_shape=list(layer.pool_size), strides=list(layer.strides), auto_pad=pad)


def _up_sampling(graph: Graph, layer: Any, value: str) -> str:
    none = graph.constant(np.zeros(0), _SINGLE)
    scales = graph.constant([1, 1, *layer.size], _SINGLE)
    modes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return graph.add("Resize", value, none, scales, **modes)


def _flatten(graph: Graph, _layer: Any, value: str) -> str:
    # Keras flattens (y, x, channels).
    return graph.reshape(graph.add("Transpose", value, perm=[0, 2, 3, 1]), -1)


_SAME_IN_ONNX = {"elu", "relu", "selu", "sigmoid", "softplus", "softsign", "tanh"}


def _activation(graph: Graph, value: str, name: str) -> str:
    if name == "linear":
        return value
    if name == "leaky_relu":
        return graph.add("LeakyRelu", value, alpha=0.2)
    if name == "silu":
        return graph.add("Mul", value, graph.add("Sigmoid", value))
    if name not in _SAME_IN_ONNX:
        raise UsageError(f"activation {name}: cannot be exported to ONNX")
    return graph.add(name.capitalize(), value)


_LAYERS: dict[str, Callable[[Graph, Any, str], str]] = {
    "Activation": lambda graph, layer, value: _activation(graph, value, layer.activation.__name__),
    "BatchNormalization": _batch_normalisation,
    "Conv2D": _conv,
    "Dense": _dense,
    "Dropout": lambda _graph, _layer, value: value,
    "Flatten": _flatten,
    "Identity": lambda _graph, _layer, value: value,
    "InputLayer": lambda _graph, _layer, value: value,
    "MaxPooling2D": _max_pooling,
    "UpSampling2D": _up_sampling,
}

EXPORTED: dict[str, Callable[[Graph, Any, str], Parts]] = {
    "cnn_classifier": _cnn_classifier,
    "conv_autoencoder": _conv_autoencoder,
    "dense_autoencoder": _dense_autoencoder,
    "nmf": _nmf,
    "pca": _pca,
    "poisson_autoencoder": _poisson_autoencoder,
    "significance_network": _significance_network,
}
