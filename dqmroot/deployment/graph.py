"""A graph of ONNX operations, built node by node; values are float64 until a network wants float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqmroot.errors import MissingExtraError

__all__ = ["Graph", "load_onnx"]

# Read by onnxruntime from 1.12 on, which is older than any that CMSSW carries today.
_OPSET, _IR = 17, 8


def load_onnx() -> Any:
    """Import the package that writes ONNX files.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx", "onnx") from error
    return onnx


class Graph:
    """Operations and constants; every value is a name, and the first axis of every value is that of the lumisections."""

    def __init__(self) -> None:
        self._onnx = load_onnx()
        self._nodes: list[Any] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._initializers: list[Any] = []
        self._inputs: dict[str, Any] = {}
        self._outputs: list[Any] = []

    def input(self, name: str, dtype: type[np.generic], shape: Sequence[int | str]) -> str:
        """Declare an input, once; returns its name."""
        kind = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self._inputs.setdefault(name, self._onnx.helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs."""
        return list(self._inputs)

    def constant(self, value: ArrayLike, dtype: Any = None) -> str:
        """Store an array; equal ones are stored once."""
        # asarray and not ascontiguousarray, which makes a vector of a number.
        array = np.asarray(value, dtype, order="C")
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"c{len(self._constants)}"
            self._constants[key] = name
            self._initializers.append(self._onnx.numpy_helper.from_array(array, name))
        return self._constants[key]

    def add(self, op: str, *inputs: str | ArrayLike, **attributes: Any) -> str:
        """Add an operation with one output; inputs that are no names are stored as float64 constants."""
        names = [one if isinstance(one, str) else self.constant(one, np.float64) for one in inputs]
        out = f"v{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(op, names, [out], **attributes))
        return out

    def output(self, name: str, value: str, dtype: type[np.generic], shape: Sequence[int | str]) -> None:
        """Give a value a name of its own and return it from the graph."""
        kind = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name]))
        self._outputs.append(self._onnx.helper.make_tensor_value_info(name, kind, list(shape)))

    def cast(self, value: str, dtype: type[np.generic]) -> str:
        """Convert to another type."""
        return self.add("Cast", value, to=self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def reshape(self, value: str, *shape: int) -> str:
        """Give each lumisection another shape."""
        return self.add("Reshape", value, self.constant((0, *shape), np.int64))

    def sum(self, value: str, axes: Sequence[int], *, keep: bool = True) -> str:
        """Add up over axes."""
        return self.add("ReduceSum", value, self.constant(list(axes), np.int64), keepdims=int(keep))

    def inner(self, value: str, ndim: int) -> str:
        """Leave out the flow bins of a value ``(n, [z,] [y,] x)``."""
        axes = np.arange(1, ndim + 1)
        parts = [np.ones(ndim), np.full(ndim, -1), axes]
        return self.add("Slice", value, *(self.constant(part, np.int64) for part in parts))

    def safe_root(self, value: str) -> str:
        """Square root, 0 of what is below 0."""
        return self.add("Sqrt", self.add("Max", value, 0.0))

    def largest(self, rows: str, n: int, k: int) -> str:
        """Mean of the ``k`` largest of each row of ``n``, ``(n_ls,)``."""
        k = min(k, n)
        node = self._onnx.helper.make_node
        top = f"v{len(self._nodes)}"
        self._nodes.append(node("TopK", [rows, self.constant([k], np.int64)], [top, f"{top}_places"], sorted=0))
        return self.add("ReduceMean", top, axes=[1], keepdims=0)

    def loop(self, times: int, carried: str, body: Sequence[Any], result: str, inside: str, shape: list[Any]) -> str:
        """Repeat nodes ``times`` times: ``inside`` names the carried value in them, ``result`` what it becomes."""
        helper = self._onnx.helper
        double, truth, whole = (helper.np_dtype_to_tensor_dtype(np.dtype(t)) for t in (np.float64, np.bool_, np.int64))
        info = helper.make_tensor_value_info
        go_on = helper.make_node("Identity", ["go"], ["go_out"])
        block = helper.make_graph(
            [*body, go_on],
            "step",
            [info("i", whole, []), info("go", truth, []), info(inside, double, shape)],
            [info("go_out", truth, []), info(result, double, shape)],
        )
        begin = [self.constant(times, np.int64), self.constant(True, np.bool_), carried]
        out = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node("Loop", begin, [out], body=block))
        return out

    def node(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> Any:
        """Make a node for the body of a loop."""
        return self._onnx.helper.make_node(op, list(inputs), [output], **attributes)

    def to_bytes(self, name: str, metadata: dict[str, str]) -> bytes:
        """Return the file, checked by ONNX's own checker."""
        helper = self._onnx.helper
        graph = helper.make_graph(
            self._nodes, name, list(self._inputs.values()), self._outputs, initializer=self._initializers
        )
        model = helper.make_model(
            graph, producer_name="dqmroot", ir_version=_IR, opset_imports=[helper.make_opsetid("", _OPSET)]
        )
        helper.set_model_props(model, metadata)
        self._onnx.checker.check_model(model)
        written: bytes = model.SerializeToString()
        return written


def flat_size(bins: Sequence[int]) -> int:
    """Return the number of bins."""
    return int(np.prod(bins))


Floats = NDArray[np.float64]
