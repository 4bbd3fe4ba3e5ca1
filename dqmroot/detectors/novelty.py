"""Isolation forest and one-class support vectors: learnt with scikit-learn, kept as arrays, scored with NumPy.

The trees and the support vectors are stored, not a pickled estimator, so that a model opens whatever the version of scikit-learn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.detectors.base import Detector, Progress, Sample, Sees
from dqmroot.detectors.shapes import blocks, check_length, flat
from dqmroot.errors import UsageError
from dqmroot.scientific import load_scipy

__all__ = ["IsolationForest", "OneClassSVM"]

_EULER = 0.5772156649015329
_BLOCK = 1024


class IsolationForest(Detector):
    """How few random cuts set an LS apart, 2^(-depth/c(n)) (Liu, Ting and Zhou, ICDM 2008).

    Args:
        trees: Number of trees.
        samples: LS that each tree learns from; all where there are fewer.
        seed: Of the cuts.
    """

    name = "isolation_forest"
    sees = (Sees("scaled", 0, 300, 1), Sees("dead", 12, 100, 2))

    def __init__(self, *, trees: int = 200, samples: int = 256, seed: int = 0) -> None:
        for key, value in (("trees", trees), ("samples", samples)):
            if value < 1:
                raise UsageError(f"detector {self.name}: {key} must be at least 1, got {value}")
        self.trees = trees
        self.samples = samples
        self.seed = seed

    def _learn(self, x: NDArray[np.float32], sample: Sample, progress: Progress | None) -> None:
        load_scipy()
        from sklearn.ensemble import IsolationForest as SkForest

        rows = x.reshape(len(x), -1)
        used = min(self.samples, len(rows))
        forest = SkForest(n_estimators=self.trees, max_samples=used, random_state=self.seed).fit(rows)
        trees = [estimator.tree_ for estimator in forest.estimators_]
        size = max(tree.node_count for tree in trees)
        shape = (len(trees), size)
        self.left_, self.right_ = np.full(shape, -1, np.int32), np.full(shape, -1, np.int32)
        self.feature_, self.cut_ = np.zeros(shape, np.int32), np.zeros(shape)
        self.path_ = np.zeros(shape)
        for i, tree in enumerate(trees):
            n = tree.node_count
            self.left_[i, :n], self.right_[i, :n] = tree.children_left, tree.children_right
            self.feature_[i, :n] = np.maximum(tree.feature, 0)
            self.cut_[i, :n] = tree.threshold
            self.path_[i, :n] = _depths(tree.children_left, tree.children_right) + _unfinished(tree.n_node_samples)
        self.scale_ = float(_unfinished(np.array([used]))[0]) or 1.0

    def _score(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        rows = x.reshape(len(x), -1)
        out = np.empty(len(rows))
        tree = np.arange(len(self.left_))
        for part in blocks(len(rows), _BLOCK):
            block = rows[part]
            at = np.zeros((len(block), len(tree)), np.int32)
            ls = np.arange(len(block))[:, None]
            while (inner := self.left_[tree, at] >= 0).any():
                goes_left = block[ls, self.feature_[tree, at]] <= self.cut_[tree, at]
                at = np.where(inner, np.where(goes_left, self.left_[tree, at], self.right_[tree, at]), at)
            out[part] = 2.0 ** (-self.path_[tree, at].mean(axis=1) / self.scale_)
        return out

    def _state(self) -> Mapping[str, NDArray[Any]]:
        return {
            "left": self.left_,
            "right": self.right_,
            "feature": self.feature_,
            "cut": self.cut_,
            "path": self.path_,
            "scale": np.array(self.scale_),
        }

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.left_, self.right_ = arrays["left"], arrays["right"]
        self.feature_, self.cut_, self.path_ = arrays["feature"], arrays["cut"], arrays["path"]
        self.scale_ = float(arrays["scale"])
        n_nodes, node = self.left_.shape[1], np.arange(self.left_.shape[1])
        for child in (self.left_, self.right_):
            # Children come after their parent, so that every walk ends.
            if not ((child == -1) | ((child > node) & (child < n_nodes))).all():
                raise ValueError("the stored trees are damaged")
        if self.feature_.min() < 0 or self.feature_.max() >= np.prod(self.bins_ or ()):
            raise ValueError("the stored trees are of other bins")


class OneClassSVM(Detector):
    """Support vectors around the good LS with a Gaussian kernel (Schölkopf et al., Neural Comput. 13 (2001) 1443).

    Bins are divided by their standard deviation over the good LS first.

    Args:
        nu: Share of the training LS that may lie outside.
        gamma: Of the kernel exp(-γ·d²), in units of 1/bins.
        samples: At most so many training LS, evenly spread: time grows with their square.
    """

    name = "one_class_svm"
    sees = (Sees("scaled", 0, 300, 1), Sees("dead", 3, 300, 1), Sees("dead", 8, 100, 2))

    def __init__(self, *, nu: float = 0.05, gamma: float = 0.1, samples: int = 3000) -> None:
        if not 0 < nu <= 1:
            raise UsageError(f"detector {self.name}: nu must be in (0, 1], got {nu}")
        if not gamma > 0:
            raise UsageError(f"detector {self.name}: gamma must be positive, got {gamma}")
        self.nu = nu
        self.gamma = gamma
        self.samples = samples

    def _learn(self, x: NDArray[np.float32], sample: Sample, progress: Progress | None) -> None:
        load_scipy()
        from sklearn.svm import OneClassSVM as SkSVM

        rows = flat(x)
        self.mean_, spread = rows.mean(axis=0), rows.std(axis=0)
        typical = float(np.median(spread[spread > 0])) if (spread > 0).any() else 1.0
        self.spread_ = np.where(spread > 0, spread, typical)
        chosen = np.unique(np.linspace(0, len(rows) - 1, min(self.samples, len(rows))).round().astype(np.intp))
        scaled = (rows[chosen] - self.mean_) / self.spread_
        machine = SkSVM(nu=self.nu, gamma=self.gamma / rows.shape[1]).fit(scaled)
        self.vectors_ = np.asarray(machine.support_vectors_, np.float64)
        self.weights_ = np.asarray(machine.dual_coef_[0], np.float64)
        self.offset_ = float(machine.intercept_[0])

    def _score(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        rows = (flat(x) - self.mean_) / self.spread_
        out = np.empty(len(rows))
        gamma = self.gamma / rows.shape[1]
        norm = np.square(self.vectors_).sum(axis=1)
        for part in blocks(len(rows), _BLOCK):
            block = rows[part]
            distance = np.square(block).sum(axis=1)[:, None] + norm - 2 * block @ self.vectors_.T
            nearest = np.maximum(distance, 0).min(axis=1)
            inside = np.exp(-gamma * (np.maximum(distance, 0) - nearest[:, None])) @ self.weights_
            # ln of the kernel sum: far away the sum itself underflows to zero, and all far LS would score the same.
            out[part] = gamma * nearest - np.log(np.maximum(inside, np.finfo(float).tiny))
        return out

    def _state(self) -> Mapping[str, NDArray[Any]]:
        return {
            "mean": self.mean_,
            "spread": self.spread_,
            "vectors": self.vectors_,
            "weights": self.weights_,
            "offset": np.array(self.offset_),
        }

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        n_bins = int(np.prod(self.bins_ or ()))
        self.mean_ = check_length(arrays["mean"], n_bins, "mean")
        self.spread_ = check_length(arrays["spread"], n_bins, "spread")
        self.vectors_ = check_length(arrays["vectors"], n_bins, "vectors")
        self.weights_, self.offset_ = arrays["weights"], float(arrays["offset"])


def _depths(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    depth = np.zeros(len(left))
    for node in range(len(left)):
        if left[node] >= 0:
            depth[left[node]] = depth[right[node]] = depth[node] + 1
    return depth


def _unfinished(n: NDArray[Any]) -> NDArray[np.float64]:
    """Return c(n), the mean depth of a random tree of n LS."""
    size = np.asarray(n, np.float64)
    large = 2 * (np.log(np.maximum(size - 1, 1)) + _EULER) - 2 * (size - 1) / np.maximum(size, 1)
    return np.where(size > 2, large, np.where(size == 2, 1.0, 0.0))
