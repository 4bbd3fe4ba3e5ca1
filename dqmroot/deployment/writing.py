"""Write a model as one ONNX file: raw bin contents in; score, flag, loss per bin and reconstruction out.

Nothing but onnxruntime is needed to run it. The inputs are ``contents``, ``(n, [nz+2,] [ny+2,] nx+2)`` float32 with flow bins (of a
profile ``contents`` Σw·y and ``bin_entries`` Σw, float64), and, where the model needs them, ``entries`` and conditions such as
``pileup``, ``(n,)`` float64. The outputs are ``score`` ``(n,)``
float64 (NaN: not judged), ``flag`` ``(n,)`` int8 (1 bad, 0 good, -1 not judged), and, where the detector has them, ``loss`` and
``reconstruction``, ``(n, [nz,] [ny,] nx)``, in the bins of the histogram. An LS that
holds a NaN in any bin, flow bins included, is not judged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dqmroot._version import __version__
from dqmroot.deployment.graph import Graph
from dqmroot.deployment.networks import Parts, add_detector
from dqmroot.deployment.steps import State, forward, invert, restore
from dqmroot.errors import UsageError
from dqmroot.files import folder_name, whole_file
from dqmroot.model import Model

__all__ = ["NO_HASH", "SCHEMA_VERSION", "export", "export_models", "to_onnx"]

SCHEMA_VERSION = 1
NO_HASH = "0" * 64
"""Stands in the file where its SHA-256 goes; the sum is taken with this in its place."""


def export(model: Model, path: str | Path) -> Path:
    """Write one model as an ONNX file that onnxruntime runs without dqmroot.

    Args:
        model: A fitted model.
        path: The file, ``model.onnx``.

    Returns:
        The path.

    Raises:
        NotFittedError: The model has not learnt.
        UsageError: A detector or a step that ONNX cannot express.
        MissingExtraError: The package ``onnx`` is not installed.

    Examples:
        >>> dq.export(model, "model.onnx").stat().st_size > 0
        True
    """
    data = to_onnx(model)
    with whole_file(path) as temporary:
        temporary.write_bytes(data)
    return Path(path)


def export_models(models: Sequence[Model], target: str | Path) -> list[Path]:
    """Write several models: one file each below a folder, or, where there is one model, to a path that ends in ``.onnx``.

    Raises:
        UsageError: Several models for one file.
    """
    path = Path(target)
    if path.suffix == ".onnx":
        if len(models) != 1:
            names = ", ".join(model.me for model in models[:3])
            raise UsageError(f"{path}: one file holds one model, there are {len(models)} ({names}, …); name a folder")
        return [export(models[0], path)]
    return [export(model, path / f"{folder_name(model.me)}.onnx") for model in models]


def to_onnx(model: Model) -> bytes:
    """Return the ONNX file of a model."""
    graph = Graph()
    own = [axis.nbins for axis in reversed(model.axes)]
    shape: list[int | str] = ["n", *(n + 2 for n in own)]
    names = ("contents", "bin_entries") if model.storage.startswith("TProfile") else ("contents",)
    # Sums of a profile need all their digits; counts are small enough for float32.
    kind = np.float64 if len(names) > 1 else np.float32
    raw = [graph.cast(graph.input(name, kind, shape), np.float64) for name in names]
    states = forward(graph, model.preparation, State(model.axes, *raw))
    x = graph.cast(states[-1].values(graph), np.float32)
    judged = _judged(graph, x, model.detector.input == "counts")
    parts = add_detector(graph, model.detector, x)
    score = _outputs(graph, model, parts, judged, own, states)
    graph.output("score", score, np.float64, ["n"])
    graph.output("flag", graph.cast(_flag(graph, model, score), np.int8), np.int8, ["n"])
    data = graph.to_bytes(model.me, _metadata(model, parts))
    digest = hashlib.sha256(data).hexdigest()
    return data.replace(NO_HASH.encode(), digest.encode(), 1)


def _outputs(graph: Graph, model: Model, parts: Parts, judged: str, own: list[int], states: list[State]) -> str:
    """Add loss and reconstruction in the histogram's own bins; return the score."""
    masked = graph.reshape(judged, *[1] * len(model.detector.bins_ or ()))
    if parts.loss is not None:
        loss = graph.add("Where", masked, parts.loss, np.nan)
        graph.output("loss", invert(graph, model.preparation, model.axes, loss), np.float64, ["n", *own])
    if parts.reconstruction is not None:
        expected = graph.add("Where", masked, parts.reconstruction, np.nan)
        shown = restore(graph, model.preparation, states, expected)
        graph.output("reconstruction", shown, np.float64, ["n", *own])
    if model.min_entries_per_bin > 0:
        least = model.min_entries_per_bin * float(np.prod(own))
        enough = graph.add("GreaterOrEqual", graph.input("entries", np.float64, ["n"]), least)
        judged = graph.add("And", judged, enough)
    return graph.add("Where", judged, parts.score, np.nan)


def _judged(graph: Graph, x: str, counts: bool) -> str:
    """Return ``(n,)`` whether an LS can be judged: finite everywhere, not empty, and no counts below zero."""
    flat = graph.cast(graph.reshape(x, -1), np.float64)
    # NaN is not smaller than anything, and infinity not than the largest number.
    fine = graph.add("LessOrEqual", graph.add("Abs", flat), float(np.finfo(np.float32).max))
    if counts:
        fine = graph.add("And", fine, graph.add("GreaterOrEqual", flat, 0.0))
    some = graph.add("Not", graph.add("Equal", flat, 0.0))
    every = graph.add("ReduceMin", graph.cast(fine, np.float64), axes=[1], keepdims=0)
    any_ = graph.add("ReduceMax", graph.cast(some, np.float64), axes=[1], keepdims=0)
    return graph.add("Greater", graph.add("Mul", every, any_), 0.0)


def _flag(graph: Graph, model: Model, score: str) -> str:
    point = model.working_point
    if point is None or not point.usable:
        return graph.add("Where", graph.add("IsNaN", score), -1.0, -1.0)
    above = graph.cast(graph.add("Greater", score, point.threshold), np.float64)
    return graph.add("Where", graph.add("IsNaN", score), -1.0, above)


def _metadata(model: Model, parts: Parts) -> dict[str, str]:
    """Return what stands in the file besides the graph; JSON where it is more than a word."""
    description = model.describe()
    sample = description["sample"]
    runs = sample["runs"] if sample else []
    return {
        "schema_version": str(SCHEMA_VERSION),
        "dqmroot_version": __version__,
        "me": model.me,
        "axes": json.dumps(description["axes"]),
        "runs": f"{min(runs)}-{max(runs)}" if runs else "",
        "working_point": json.dumps(description["working_point"]),
        "has": " ".join(name for name in ("loss", "reconstruction") if getattr(parts, name) is not None),
        "description": json.dumps(description),
        "sha256": NO_HASH,
    }
