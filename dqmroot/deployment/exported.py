"""Score with an exported model: onnxruntime alone, neither Keras nor TensorFlow is imported."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from dqmroot.deployment.writing import NO_HASH, SCHEMA_VERSION, to_onnx
from dqmroot.detectors import Detector
from dqmroot.detectors.base import Progress, Sample
from dqmroot.detectors.network import Network
from dqmroot.detectors.training import gpus
from dqmroot.errors import InputError, MissingExtraError, ModelMismatchError, UnknownNameError, UsageError
from dqmroot.files import whole_file
from dqmroot.folds import TrainingSample
from dqmroot.model import Model, load_models
from dqmroot.series import Axis, MonitorElement
from dqmroot.threshold import WorkingPoint

__all__ = ["ExportedModel", "load_exported", "read_models"]

_MOST_ROWS, _MOST_BINS = 2048, 1 << 16
"""What goes through a graph at once; between the layers of a network each bin makes some hundred numbers."""


class _InGraph(Detector):
    """Stands for the detector, which is inside the graph; tells what it can do."""

    def __init__(self, name: str, has: Sequence[str]) -> None:
        self.name = name  # type: ignore[misc]
        self.history_ = {}
        self._has = tuple(has)

    @property
    def parameters(self) -> dict[str, Any]:
        """None of them can be changed any more."""
        return {}

    @property
    def localises(self) -> bool:
        """Whether the graph has a loss per bin."""
        return "loss" in self._has

    @property
    def reconstructs(self) -> bool:
        """Whether the graph has a reconstruction."""
        return "reconstruction" in self._has

    def _learn(self, x: NDArray[np.float32], sample: Sample, progress: Progress | None) -> NoReturn:
        raise UsageError("an exported model has learnt for good: train a new one instead")

    def _score(self, x: NDArray[np.float32], sample: Sample) -> NoReturn:
        raise UsageError("an exported model takes raw histograms: call the model's score")

    def _state(self) -> Mapping[str, NDArray[Any]]:
        return {}

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        del arrays


class ExportedModel(Model):
    """A model in an ONNX file; scores as the model did that was exported, and cannot learn.

    Args:
        data: The bytes of the file.
        path: Where they come from, for messages.

    Raises:
        InputError: Not a model that dqmroot exported, or changed since.
        MissingExtraError: The package ``onnxruntime`` is not installed.

    Examples:
        >>> dq.load_exported(dq.export(model, "model.onnx")).me
        'CSC/FEDIntegrity/FEDTotalEventSize'
    """

    def __init__(self, data: bytes, path: str | Path = "") -> None:
        self._data, self._path = data, path
        self._session = _session(data, path)
        properties = self._session.get_modelmeta().custom_metadata_map
        try:
            version = int(properties["schema_version"])
            self._description: dict[str, Any] = json.loads(properties["description"])
            digest = properties["sha256"]
            super().__init__(detector=_InGraph(self._description["detector"], properties["has"].split()))
            self._me = properties["me"]
            self._storage = str(self._description["storage"])
            self._axes = tuple(map(Axis.from_dict, self._description["axes"]))
            self.min_entries_per_bin = float(self._description["min_entries_per_bin"])
            self.bin_cut = self._description["bin_cut"]
            point, sample = self._description["working_point"], self._description["sample"]
            self.working_point = None if point is None else WorkingPoint.from_dict(point)
            if sample is not None:
                self.sample = TrainingSample.from_dict(sample)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(path, f"an ONNX file, but not a model that dqmroot exported: {error}") from error
        if version > SCHEMA_VERSION:
            raise InputError(path, f"written by a later dqmroot (format {version}, known is {SCHEMA_VERSION})")
        plain = data.replace(digest.encode(), NO_HASH.encode(), 1)
        if not re.fullmatch("[0-9a-f]{64}", digest) or hashlib.sha256(plain).hexdigest() != digest:
            raise InputError(path, "is not the file that was saved: its checksum differs")
        self._inputs = [one.name for one in self._session.get_inputs()]

    def __repr__(self) -> str:
        return f"<ExportedModel {self.me}: {self._description['preparation']} → {self.detector.name}>"

    def score(self, me: MonitorElement) -> NDArray[np.float64]:
        """Return ``(n_ls,)`` scores, higher is worse; NaN is not judged: empty, NaN or too few entries.

        Raises:
            ModelMismatchError: Another ME or other bins.
            UnknownNameError: The model needs a condition that the series has not.
        """
        return self._run(("score",), me)[0]

    def score_bins(self, me: MonitorElement) -> NDArray[np.float64]:
        """Return the badness of each bin in the ME's own bins, ``(n_ls, …, y, x)``."""
        return self._run(("loss",), me)[0]

    def score_with_bins(self, me: MonitorElement) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return `score` and `score_bins` from one run of the graph."""
        score, loss = self._run(("score", "loss"), me)
        return score, loss

    def reconstruct(self, me: MonitorElement) -> NDArray[np.float64]:
        """Return what the detector expected, in the ME's own bins and, where it can be, its own counts."""
        return self._run(("reconstruction",), me)[0]

    def describe(self) -> dict[str, Any]:
        """Return a JSON-ready description: ME, axes, preparation, detector, sample and working point."""
        return dict(self._description)

    def save(self, folder: str | Path) -> None:
        """Write the ONNX file again; ``folder`` is a path that ends in ``.onnx``."""
        with whole_file(folder) as temporary:
            temporary.write_bytes(self._data)

    def _run(self, outputs: Sequence[str], me: MonitorElement) -> list[NDArray[np.float64]]:
        self._check(me)
        if me.is_profile != ("bin_entries" in self._inputs):
            raise ModelMismatchError(f"{me.name}: the data are {me.storage}, the model is of {self.storage}")
        known = {"score", *(one.name for one in self._session.get_outputs())}
        for output in outputs:
            if output not in known:
                raise UsageError(f"{self.detector.name} has no {output} to show")
        if len(me) == 0:
            return [np.empty((0, *(() if output == "score" else me.bins))) for output in outputs]
        step = max(1, min(_MOST_ROWS, _MOST_BINS // math.prod(me.bins)))
        blocks = [me[start : start + step] for start in range(0, len(me), step)]
        parts = [self._session.run(list(outputs), self._given(block)) for block in blocks]
        return [np.asarray(np.concatenate(part), np.float64) for part in zip(*parts, strict=True)]

    def _given(self, me: MonitorElement) -> dict[str, NDArray[Any]]:
        given: dict[str, NDArray[Any]] = {}
        for name in self._inputs:
            if name == "contents":
                profile = "bin_entries" in self._inputs
                given[name] = np.ascontiguousarray(me.contents, np.float64 if profile else np.float32)
            elif name == "bin_entries" and me.bin_entries is not None:
                given[name] = np.ascontiguousarray(me.bin_entries, np.float64)
            elif name == "entries":
                given[name] = me.entries
            elif name in me.conditions:
                given[name] = np.ascontiguousarray(me.conditions[name], np.float64)
            else:
                raise UnknownNameError("condition", name, me.conditions, me.name)
        return given


def load_exported(path: str | Path) -> ExportedModel:
    """Read a model that `dqmroot.export` wrote.

    Raises:
        InputError: It cannot be read, is no model of dqmroot, or was changed.
        MissingExtraError: The package ``onnxruntime`` is not installed.

    Examples:
        >>> exported = dq.load_exported(dq.export(model, "model.onnx"))
        >>> bool(np.allclose(exported.score(new), model.score(new), rtol=1e-5))
        True
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(path, error.strerror or str(error)) from error
    return ExportedModel(data, path)


def read_models(path: str | Path, mes: Sequence[str] | None = None) -> list[Model]:
    """Read models from wherever they are: a model folder, an ``.onnx`` file, or a folder of such files.

    Raises:
        InputError: There are none, or they cannot be read.
        UnknownNameError: An ME that there is no model of.

    Examples:
        >>> model.save("model")
        >>> [one.me for one in dq.read_models("model")]
        ['CSC/FEDIntegrity/FEDTotalEventSize']
    """
    place = Path(path)
    files = [place] if place.suffix == ".onnx" else sorted(place.rglob("*.onnx"))
    if (place / "model.json").exists() or not files:
        return [faster(model) for model in load_models(place, mes)]
    found: dict[str, Model] = {model.me: model for model in map(load_exported, files)}
    for me in mes or ():
        if me not in found:
            raise UnknownNameError("monitoring element", me, found, str(path))
    return [model for me, model in found.items() if mes is None or me in mes]


def faster(model: Model) -> Model:
    """Return what scores faster here: on a CPU a network runs in onnxruntime where that is installed, else the model itself.

    ``benchmarks/deployment.py`` compares both; there the convolutional and Poisson networks take 0.4 to 0.7 of the time, the
    significance network the same. Dense networks and all other
    detectors are fastest in NumPy, and a GPU that Keras sees is left to Keras.
    """
    needed = ("onnx", "onnxruntime")
    if not isinstance(model.detector, Network) or any(importlib.util.find_spec(name) is None for name in needed):
        return model
    if _driver() and gpus():
        return model
    try:
        return ExportedModel(to_onnx(model), model.me)
    except UsageError:  # a step that needs the neighbouring lumisections
        return model


def _driver() -> bool:
    """Whether a GPU is possible at all; asking Keras takes seconds."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def load_onnxruntime() -> Any:
    """Import the package that runs ONNX files.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "onnx") from error
    return onnxruntime


def _session(data: bytes, path: str | Path) -> Any:
    runtime = load_onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    # Else each model of a process keeps what its layers held in between: 150 MiB of a convolutional one, and no second is gained.
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    # onnxruntime does not heed it by itself, and a worker of a batch system has one core.
    threads = os.environ.get("OMP_NUM_THREADS", "")
    options.intra_op_num_threads = int(threads) if threads.isdigit() else 0
    try:
        return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # onnxruntime has an error of its own for each way in which a file can be wrong.
        said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputError(path, f"not an ONNX file that onnxruntime can run: {said}") from error
