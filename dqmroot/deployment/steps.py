"""The steps of a preparation as ONNX operations, forward and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.deployment.graph import Floats, Graph
from dqmroot.errors import UsageError
from dqmroot.prepare import Preparation, Step
from dqmroot.series import Axis, MonitorElement

__all__ = ["State", "forward", "invert", "restore"]

# Steps that only add up, average or leave out bins: each is a matrix per axis.
_LINEAR = ("include_flow", "crop", "rebin", "rebin_edges", "merge_occupancy", "smooth")


@dataclass(frozen=True)
class State:
    """A series inside the graph.

    Args:
        axes: Its axes, x first.
        contents: ``(n, [z,] [y,] x)`` float64 with flow bins; for profiles Σw·y.
        weight: For profiles Σw, the same shape; ``None`` for counts.
    """

    axes: tuple[Axis, ...]
    contents: str
    weight: str | None = None

    def values(self, graph: Graph) -> str:
        """Return what `MonitorElement.values` gives: contents without flow bins, for profiles their mean."""
        inner = graph.inner(self.contents, len(self.axes))
        if self.weight is None:
            return inner
        weight = graph.inner(self.weight, len(self.axes))
        filled = graph.add("Not", graph.add("Equal", weight, 0.0))
        return graph.add("Where", filled, graph.add("Div", inner, weight), 0.0)

    def each(self, function: Callable[[str], str], axes: Sequence[Axis] = ()) -> State:
        """Return the series with both arrays sent through ``function``."""
        weight = None if self.weight is None else function(self.weight)
        return State(tuple(axes) or self.axes, function(self.contents), weight)

    def with_contents(self, contents: str) -> State:
        """Return the series with other contents."""
        return replace(self, contents=contents)


def forward(graph: Graph, preparation: Preparation, begin: State) -> list[State]:
    """Add all steps to the graph; return the series before each step and after the last one.

    Raises:
        UsageError: A step that needs more than the histogram itself.
    """
    states = [begin]
    for step in preparation.steps:
        now = states[-1]
        if step.name in _LINEAR:
            maker = _matrices(graph, step, now.axes)
            states.append(now.each(maker, step.axes_after(now.axes)))
        elif step.name in _FORWARD:
            states.append(_FORWARD[step.name](graph, step, now))
        else:
            raise UsageError(f"{step}: cannot be exported, it needs more than the histogram of one lumisection")
    return states


def invert(graph: Graph, preparation: Preparation, axes: Sequence[Axis], value: str) -> str:
    """Show a quantity per prepared bin in the bins of the raw histogram; NaN in those left out."""
    bins = tuple(axis.nbins for axis in reversed(preparation.prepared_axes(axes)))
    places = preparation.invert(np.arange(np.prod(bins), dtype=np.float64).reshape(1, *bins), axes)[0]
    return _placed(graph, value, places, np.where(np.isnan(places), np.nan, 1.0))


def restore(graph: Graph, preparation: Preparation, states: Sequence[State], value: str) -> str:
    """Turn prepared contents into contents of the raw histogram, ``(n, [z,] [y,] x)`` without flow bins.

    Args:
        graph: Where to.
        preparation: What was fitted.
        states: What `forward` returned.
        value: ``(n, *prepared bins)`` float64.
    """
    for i in reversed(range(len(preparation.steps))):
        step = preparation.steps[i]
        if step.name in _BACK:
            value = _BACK[step.name](graph, step, value, states[i])
        else:
            value = _spread(graph, step, states[i], states[i + 1], value)
    return value


def _blank(axes: Sequence[Axis], n_ls: int = 1, *, profile: bool = False) -> MonitorElement:
    some = np.arange(1, n_ls + 1, dtype=np.uint32)
    zeros = np.zeros((n_ls, *(axis.nbins + 2 for axis in reversed(axes))))
    kind = "TProfile" if profile else f"TH{len(axes)}D"
    return MonitorElement(
        "", kind, tuple(axes), some, some, np.ones(n_ls), zeros, bin_entries=zeros if profile else None
    )


def _matrices(graph: Graph, step: Step, axes: Sequence[Axis]) -> Callable[[str], str]:
    """Return what multiplies each axis by the matrix that the step is, found by sending one bin at a time through it."""
    ndim = len(axes)
    shape = [axis.nbins + 2 for axis in reversed(axes)]
    matrices = []
    for where, size in enumerate(shape):
        probe = np.zeros((size, *shape))
        np.moveaxis(probe, where + 1, 1)[np.arange(size), np.arange(size)] = 1
        after = step.apply(_blank(axes, size).replace(contents=probe), errors=False).contents
        # One row in the middle of the other axes stands for all; flow bins would not do, which some steps leave alone.
        middle = tuple(n // 2 for n in np.delete(after.shape[1:], where))
        matrix = np.moveaxis(np.asarray(after, np.float64), where + 1, 1)[(slice(None), slice(None), *middle)]
        # The underflow goes whole into one bin, so that its sum is what the other axes made of their row of ones.
        matrices.append(matrix / matrix[0].sum())

    def multiply(value: str) -> str:
        sizes = list(shape)
        for where, matrix in enumerate(matrices):
            if np.array_equal(matrix, np.eye(*matrix.shape)):
                continue
            # From the left along all axes but the last: what is turned round is fused with the product by onnxruntime, which
            # up to 1.22 cannot do that in double precision.
            before = math.prod(sizes[:where]), sizes[where], math.prod(sizes[where + 1 :])
            sizes[where] = matrix.shape[1]
            if where == ndim - 1:
                value = graph.add("MatMul", value, matrix)
            else:
                value = graph.reshape(graph.add("MatMul", matrix.T, graph.reshape(value, *before)), *sizes)
        return value

    return multiply


def _placed(graph: Graph, value: str, places: Floats, weight: Floats) -> str:
    """Put prepared bins in their places, ``places`` (NaN is nowhere), each times its weight."""
    nowhere = np.isnan(places)
    flat = graph.reshape(value, -1)
    index = graph.constant(np.where(nowhere, 0, places).astype(np.int64).ravel(), np.int64)
    out = graph.add("Gather", flat, index, axis=1)
    if nowhere.any():
        out = graph.add("Where", graph.constant(nowhere.ravel()), np.where(np.isnan(weight), np.nan, 0.0).ravel(), out)
    if not np.array_equal(weight[~nowhere], np.ones(int((~nowhere).sum()))):
        out = graph.add("Mul", out, np.where(np.isnan(weight), 1.0, weight).ravel())
    return graph.reshape(out, *places.shape)


def _spread(graph: Graph, step: Step, before: State, after: State, value: str) -> str:
    """Go back through a step that only moves contents, each times a weight that the step knows beforehand."""
    bins = tuple(axis.nbins for axis in reversed(after.axes))
    blank = _blank(before.axes, profile=before.weight is not None)
    numbers = np.arange(np.prod(bins), dtype=np.float64).reshape(1, *bins)
    places = np.asarray(step.invert(numbers, before.axes)[0], np.float64)
    return _placed(graph, value, places, np.asarray(step.restore(np.ones((1, *bins)), blank)[0], np.float64))


def _per_ls(graph: Graph, number: str, ndim: int) -> str:
    """Give one number per LS the shape of a histogram, NaN where it is not above 0."""
    positive = graph.add("Where", graph.add("Greater", number, 0.0), number, np.nan)
    return graph.reshape(positive, *[1] * ndim)


def _divisor(graph: Graph, step: Any, state: State) -> str:
    """Return what `Normalise` divides by."""
    ndim = len(state.axes)
    over = list(range(1, ndim + 1))
    if step.by == "integral":
        number = graph.sum(state.values(graph), over, keep=False)
    elif step.by == "maximum":
        number = graph.add("ReduceMax", state.values(graph), axes=over, keepdims=0)
    else:
        number = graph.input(step.by, np.float64, ["n"])
    return _per_ls(graph, number, ndim)


def _line(graph: Graph, step: Any, state: State) -> str:
    """Return what `Follow` divides by."""
    condition = graph.input(step.condition, np.float64, ["n"])
    number = graph.add("Add", graph.add("Mul", condition, step.slope), step.intercept)
    return _per_ls(graph, number, len(state.axes))


def _linear(graph: Graph, state: State, by: Floats, less: Floats | None = None) -> State:
    """Subtract and divide bin by bin; of a profile, what is subtracted counts once per entry."""
    value = state.contents
    if less is not None:
        value = graph.add("Sub", value, less if state.weight is None else graph.add("Mul", state.weight, less))
    return state.with_contents(graph.add("Div", value, by))


def _drop_empty(graph: Graph, step: Any, state: State) -> State:
    """Gather the bins that are kept; the flow bins of the result are never looked at, and are 0."""
    at = np.flatnonzero(np.pad(step.keep, 1))

    def gather(value: str) -> str:
        kept = graph.add("Gather", graph.reshape(value, -1), graph.constant(at, np.int64), axis=1)
        return graph.add("Pad", kept, graph.constant([0, 1, 0, 1], np.int64), graph.constant(0.0, np.float64))

    return state.each(gather, step.axes_after(state.axes))


def _mask(graph: Graph, step: Any, state: State) -> State:
    mask, fill = graph.constant(np.pad(step.mask, 1)), step.fill if state.weight is None else 0.0
    return state.each(lambda value: graph.add("Where", mask, fill, value))


def _stabilise(graph: Graph, step: Any, state: State) -> State:
    value = state.contents
    if step.form == "log":
        return state.with_contents(graph.add("Log", graph.add("Add", value, 1.0)))
    root = graph.add("Sqrt", graph.add("Add", value, 0.375) if step.form == "anscombe" else value)
    if step.form == "anscombe":
        root = graph.add("Mul", root, 2.0)
    elif step.form == "freeman_tukey":
        root = graph.add("Add", root, graph.add("Sqrt", graph.add("Add", value, 1.0)))
    return state.with_contents(root)


def _unstabilise(graph: Graph, step: Any, value: str, _before: State) -> str:
    value = graph.add("Max", value, 0.0)
    if step.form == "sqrt":
        return graph.add("Mul", value, value)
    if step.form == "anscombe":
        half = graph.add("Mul", value, 0.5)
        return graph.add("Max", graph.add("Sub", graph.add("Mul", half, half), 0.375), 0.0)
    if step.form == "log":
        return graph.add("Sub", graph.add("Exp", value), 1.0)
    value = graph.add("Max", value, 1.0)
    half = graph.add("Mul", graph.add("Sub", value, graph.add("Reciprocal", value)), 0.5)
    return graph.add("Mul", half, half)


def _inner(array: NDArray[Any]) -> NDArray[Any]:
    return array[(slice(1, -1),) * array.ndim]


_FORWARD: dict[str, Callable[[Graph, Any, State], State]] = {
    "normalise": lambda g, s, state: state.with_contents(g.add("Div", state.contents, _divisor(g, s, state))),
    "follow": lambda g, s, state: state.with_contents(g.add("Div", state.contents, _line(g, s, state))),
    "relative": lambda g, s, state: _linear(g, state, s.reference),
    "standardise": lambda g, s, state: _linear(g, state, s.deviation, s.mean),
    "stabilise": _stabilise,
    "mask_bins": _mask,
    "drop_empty": _drop_empty,
}
_BACK: dict[str, Callable[[Graph, Any, str, State], str]] = {
    "normalise": lambda g, s, v, before: g.add("Mul", v, _divisor(g, s, before)),
    "follow": lambda g, s, v, before: g.add("Mul", v, _line(g, s, before)),
    "relative": lambda g, s, v, _: g.add("Mul", v, _inner(s.reference)),
    "standardise": lambda g, s, v, _: g.add("Add", g.add("Mul", v, _inner(s.deviation)), _inner(s.mean)),
    "stabilise": _unstabilise,
    "mask_bins": lambda g, s, v, before: g.add("Where", g.constant(s.mask), before.values(g), v),
}
