"""The statistics of occupancy maps (`dqmroot.detectors.occupancy`) as ONNX operations, float64 throughout."""

from __future__ import annotations

import numpy as np

from dqmroot.deployment.graph import Graph
from dqmroot.detectors.occupancy import CLIP, SLACKS, Occupancy

__all__ = ["add_pulls", "add_rate", "add_variance"]


def add_rate(graph: Graph, occupancy: Occupancy, counts: str) -> str:
    """Return what each LS would count in all cells were none faulty, ``(n, 1)``; ``counts`` is ``(n, cells)``."""
    weight = 1 / np.maximum(1 - occupancy.saturation * occupancy.shape, 0.01)
    rate = graph.sum(counts, [1])
    for slack in SLACKS:
        expected = graph.add("Mul", rate, occupancy.shape)
        off = graph.add("Sub", counts, expected)
        room = graph.add("Mul", graph.add("Add", add_variance(graph, occupancy, expected, rate), 1.0), CLIP**2)
        may = graph.add("Mul", expected, slack)
        room = graph.add("Add", room, graph.add("Mul", may, may))
        kept = graph.cast(graph.add("LessOrEqual", graph.add("Mul", off, off), room), np.float64)
        trusted = graph.add("Greater", graph.sum(graph.add("Mul", kept, occupancy.shape), [1]), 0.2)
        kept = graph.add("Mul", kept, weight)
        share = graph.add("Max", graph.sum(graph.add("Mul", kept, occupancy.shape), [1]), 1e-12)
        better = graph.add("Div", graph.sum(graph.add("Mul", kept, counts), [1]), share)
        rate = graph.add("Where", trusted, better, rate)
    return graph.add("Max", rate, 1e-9)


def add_variance(graph: Graph, occupancy: Occupancy, expected: str, rate: str) -> str:
    """Return the variance of counts that good LS have, ``(n, cells)``."""
    sampled = graph.add("Mul", expected, occupancy.scatter)
    if occupancy.saturation:
        fired = graph.add("Div", graph.add("Mul", expected, occupancy.saturation), rate)
        sampled = graph.add("Mul", sampled, graph.add("Max", graph.add("Sub", 1.0, fired), 0.0))
    return graph.add("Mul", sampled, graph.add("Add", graph.add("Div", rate, occupancy.counts), 1.0))


def add_pulls(graph: Graph, occupancy: Occupancy, counts: str) -> tuple[str, str]:
    """Return signed significances and expectations, each ``(n, cells)``."""
    rate = add_rate(graph, occupancy, counts)
    expected = graph.add("Mul", rate, occupancy.shape)
    safe = graph.add("Max", expected, 1e-9)
    some = graph.add("Greater", counts, 0.0)
    ratio = graph.add("Where", some, graph.add("Div", counts, safe), 1.0)
    gain = graph.add("Where", some, graph.add("Mul", counts, graph.add("Log", ratio)), 0.0)
    deviance = graph.add("Mul", graph.add("Add", graph.add("Sub", gain, counts), safe), 2.0)
    spread = graph.add("Add", add_variance(graph, occupancy, expected, rate), 0.25)
    scaled = graph.add("Div", graph.add("Mul", deviance, graph.add("Add", safe, 0.25)), spread)
    size = graph.safe_root(scaled)
    signed = graph.add("Where", graph.add("GreaterOrEqual", counts, expected), size, graph.add("Neg", size))
    return signed, expected
