"""The detector contract: what every detector promises, and the checks that are the same for all.

Keyword-only parameters are stored unchanged; ``fit`` learns from good lumisections; ``score`` is higher for worse;
NaN means *not judged*. A detector holds no threshold, no file and no run number. On disk it is ``detector.json`` and
``arrays.npz``; nothing is unpickled and no code is loaded.
"""

from __future__ import annotations

import inspect
import json
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dqmroot.display import card
from dqmroot.errors import EmptySelectionError, InputError, ModelMismatchError, NotFittedError, UsageError
from dqmroot.kernels.abreast import measured
from dqmroot.series import MonitorElement

__all__ = ["Detector", "Progress", "Sample", "Sees", "values_of"]

Sample = MonitorElement | NDArray[Any]
"""What a detector is given: a prepared series, or its values ``(n_ls, *bins)``: consecutive LS of one run."""

Progress = Callable[[int, int, str], None]
"""Called with (steps done, steps in all, a short text) while a detector learns."""

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Sees:
    """A fault that a detector promises to see: AUC of faulty LS against their clean twins of at least 0.9.

    Args:
        fault: As `dqmroot.inject` names it: ``"dead"``, ``"hot"`` (twice the rate), or, for spectra, ``"scaled"`` (the axis is
            stretched by 10 %).
        size: Width of the fault in bins, the same along each axis; 0 where it is the whole histogram.
        counts: Mean counts per live bin.
        ndim: Dimensions of the histogram.
    """

    fault: str
    size: int
    counts: float
    ndim: int


def values_of(x: Sample) -> NDArray[np.float32]:
    """Return ``(n_ls, *bins)`` contiguous float32, without flow bins."""
    values = x.values() if isinstance(x, MonitorElement) else x
    return np.ascontiguousarray(values, dtype=np.float32)


class Detector(ABC):
    """Base of all detectors.

    A subclass sets `name`, takes keyword-only parameters that it stores under their own names, and implements
    `_learn`, `_score` and, for what it learnt, `_state` and `_restore`::

        class FarFromMean(Detector):
            name = "far_from_mean"

            def _learn(self, x, sample, progress):
                self.mean_ = x.mean(axis=0)

            def _score(self, x, sample):
                return ((x - self.mean_) ** 2).reshape(len(x), -1).mean(axis=1)

            def _state(self):
                return {"mean": self.mean_}

            def _restore(self, arrays):
                self.mean_ = arrays["mean"]

    Examples:
        >>> dq.detector("pca").fit(good).fitted
        True
    """

    name: ClassVar[str]
    input: ClassVar[str] = "normalised"
    """``"counts"`` where the score needs to know the statistics, ``"normalised"`` where the rate must be divided out before."""
    ndims: ClassVar[tuple[int, ...]] = (1, 2)
    """Dimensions of the histograms it takes."""
    sequential: ClassVar[bool] = False
    """Whether the score of an LS depends on those before it in the sample."""
    values_only: ClassVar[bool] = False
    """Whether the score of an LS follows from its prepared values alone: not from its run, its conditions, or other LS."""
    sees: ClassVar[tuple[Sees, ...]] = ()
    """The faults it promises to see; the contract suite holds it to them."""
    formerly: ClassVar[Mapping[str, Any]] = {}
    """Parameters that came later, and how it was without them: so a folder that lacks them is read."""
    quick: ClassVar[Mapping[str, Any]] = {}
    """Parameters for a quick look: the least training that keeps the promise."""

    bins_: tuple[int, ...] | None = None
    checkpoint: str | Path | None = None
    history_: Mapping[str, list[float]]

    @property
    def parameters(self) -> dict[str, Any]:
        """The constructor's keyword parameters and their values."""
        return {key: getattr(self, key) for key in inspect.signature(type(self)).parameters}

    def __repr__(self) -> str:
        inside = ", ".join(f"{key}={value!r}" for key, value in self.parameters.items())
        return f"{type(self).__name__}({inside})"

    def _repr_html_(self) -> str:
        state = f"learnt, bins {self.bins_}" if self.fitted else "not fitted"
        return card(f"Detector {self.name}", {"state": state, "takes": self.input, **self.parameters})

    @property
    def warmup(self) -> int:
        """How many LS of the same run must come before one that is judged; 0 where each LS stands alone."""
        return 0

    @property
    def fitted(self) -> bool:
        """Whether the detector has learnt."""
        return self.bins_ is not None

    def fit(self, x: Sample, *, progress: Progress | None = None, checkpoint: str | Path | None = None) -> Self:
        """Learn from good lumisections.

        Args:
            x: ``(n_ls, *bins)`` or a prepared series.
            progress: Called while learning; optional.
            checkpoint: File (.npz) in which a network keeps the state of its training: called again with it, an interrupted
                training goes on. Detectors that learn in no time do not write it.

        Raises:
            EmptySelectionError: No lumisection, or none that holds anything.
            UsageError: NaN or infinite values.
        """
        values, sample = self.training_sample(x)
        self.history_, self.checkpoint = {}, checkpoint
        self._learn(values, sample, progress)
        self.bins_ = values.shape[1:]
        return self

    def training_sample(self, x: Sample) -> tuple[NDArray[np.float32], Sample]:
        """Return the values and LS that `fit` learns from, checked; empty LS are left out.

        Raises:
            EmptySelectionError: No lumisection, or none that holds anything.
            UsageError: NaN or infinite values, or dimensions that the detector does not take.
        """
        values = values_of(x)
        if values.ndim < 2 or 0 in values.shape[1:]:
            raise UsageError(f"{self.name}: expected (n_ls, bins…), got shape {values.shape}")
        if values.ndim - 1 not in self.ndims:
            known = " or ".join(map(str, self.ndims))
            raise UsageError(f"{self.name}: takes histograms of {known} dimensions, got bins {values.shape[1:]}")
        if len(values) == 0:
            raise EmptySelectionError(f"{self.name}: no lumisection to learn from")
        if not np.isfinite(values).all():
            bad = int((~np.isfinite(values.reshape(len(values), -1)).all(axis=1)).sum())
            raise UsageError(
                f"{self.name}: {bad} of {len(values)} training LS hold NaN or infinite values; select them out"
            )
        full = np.asarray(values.reshape(len(values), -1).any(axis=1), np.bool_)
        if not full.any():
            raise EmptySelectionError(f"{self.name}: every training LS is empty")
        if self.input == "counts":
            self._need_counts(values[full])
        return _taken(values, full), _rows(x, full)

    def score(self, x: Sample) -> NDArray[np.float64]:
        """Return ``(n_ls,)`` float64, higher is worse; NaN for LS that are empty or hold NaN.

        Raises:
            NotFittedError: `fit` comes first.
            ModelMismatchError: Other bins than those learnt from.
        """
        values, judged = self._check(x)
        out = np.full(len(values), np.nan)
        if judged.any():
            out[judged] = self._score(_taken(values, judged), _rows(x, judged))
        return out

    def score_bins(self, x: Sample) -> NDArray[np.float64]:
        """Return the badness of each bin, ``(n_ls, *bins)`` float64; NaN for LS that are not judged.

        Raises:
            UsageError: This detector cannot say where.
        """
        values, judged = self._check(x)
        out = np.full(values.shape, np.nan)
        if judged.any():
            out[judged] = self._score_bins(_taken(values, judged), _rows(x, judged))
        return out

    def score_with_bins(self, x: Sample) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return `score` and `score_bins`; where the one is made of the other, for the price of one.

        Raises:
            UsageError: This detector cannot say where.
        """
        values, judged = self._check(x)
        if len(values) and judged.all():
            return self._score_with_bins(values, x)
        score, bins = np.full(len(values), np.nan), np.full(values.shape, np.nan)
        if judged.any():
            score[judged], bins[judged] = self._score_with_bins(_taken(values, judged), _rows(x, judged))
        return score, bins

    def reconstruct(self, x: Sample) -> NDArray[np.float32]:
        """Return what the detector expected, ``(n_ls, *bins)`` float32; NaN for LS that are not judged.

        Raises:
            UsageError: This detector has no expectation to show.
        """
        values, judged = self._check(x)
        out = np.full(values.shape, np.nan, np.float32)
        if judged.any():
            out[judged] = self._reconstruct(_taken(values, judged), _rows(x, judged))
        return out

    def encode(self, x: Sample) -> NDArray[np.float32]:
        """Return what the detector boils an LS down to, ``(n_ls, features)`` float32; NaN for LS that are not judged.

        Raises:
            UsageError: This detector has no such features.
        """
        values, judged = self._check(x)
        if not judged.any():
            return np.full((len(values), 0), np.nan, np.float32)
        found = self._encode(_taken(values, judged), _rows(x, judged))
        out = np.full((len(values), found.shape[1]), np.nan, np.float32)
        out[judged] = found
        return out

    @property
    def encodes(self) -> bool:
        """Whether `encode` has a meaning here."""
        return type(self)._encode is not Detector._encode

    @property
    def localises(self) -> bool:
        """Whether `score_bins` has a meaning here."""
        return type(self)._score_bins is not Detector._score_bins

    @property
    def reconstructs(self) -> bool:
        """Whether `reconstruct` has a meaning here."""
        return type(self)._reconstruct is not Detector._reconstruct

    def save(self, folder: str | Path) -> None:
        """Write ``detector.json`` and ``arrays.npz`` into ``folder``, which exists."""
        bins = self._need_fit()
        arrays = {key: np.asarray(value) for key, value in self._state().items()}
        text = {
            "schema_version": SCHEMA_VERSION,
            "detector": self.name,
            "parameters": self.parameters,
            "bins": list(bins),
            "history": {key: [float(v) for v in values] for key, values in self.history_.items()},
        }
        Path(folder, "detector.json").write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
        with Path(folder, "arrays.npz").open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            InputError: The folder lacks a file, or holds something else.
        """
        path = Path(folder)
        data = read_detector_json(path)
        if data["detector"] != cls.name:
            raise InputError(path / "detector.json", f"holds a {data['detector']}, not a {cls.name}")
        try:
            made = cls(**{**cls.formerly, **data["parameters"]})
            with (path / "arrays.npz").open("rb") as file, np.load(file, allow_pickle=False) as stored:
                arrays = {key: stored[key] for key in stored.files}
            made.bins_ = tuple(int(n) for n in data["bins"])
            made.history_ = {str(key): list(values) for key, values in data.get("history", {}).items()}
            made._restore(arrays)
        except OSError as error:
            raise InputError(path, error.strerror or str(error)) from error
        except (KeyError, TypeError, ValueError, UsageError, zipfile.BadZipFile) as error:
            raise InputError(path, f"is not a saved {cls.name}: {error}") from error
        return made

    @abstractmethod
    def _learn(self, x: NDArray[np.float32], sample: Sample, progress: Progress | None) -> None:
        """Learn from ``(n_ls, *bins)``; ``sample`` is the same LS with their runs and conditions, where known."""

    @abstractmethod
    def _score(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        """Score LS that hold something."""

    def _score_bins(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float64]:
        raise UsageError(f"{self.name} judges whole histograms: it cannot say which bin is bad")

    def _score_with_bins(
        self, x: NDArray[np.float32], sample: Sample
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Both; a detector whose score is made of the badness of bins looks once."""
        return self._score(x, sample), self._score_bins(x, sample)

    def _reconstruct(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        raise UsageError(f"{self.name} has no expectation to show")

    def _encode(self, x: NDArray[np.float32], sample: Sample) -> NDArray[np.float32]:
        raise UsageError(f"{self.name} has no features to show")

    @abstractmethod
    def _state(self) -> Mapping[str, NDArray[Any]]:
        """Everything learnt, as arrays."""

    @abstractmethod
    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `_state` gave; `bins_` is set before."""

    def _need_counts(self, values: NDArray[np.float32]) -> None:
        if values.min() < 0:
            raise UsageError(f"{self.name}: negative contents in the training LS, but it needs counts")
        if values.reshape(len(values), -1).sum(axis=1).max() < 2:
            raise UsageError(f"{self.name}: needs counts, but the LS sum up to less than 2: leave out `normalise`")

    def _need_fit(self) -> tuple[int, ...]:
        if self.bins_ is None:
            raise NotFittedError(f"{self.name} has not learnt yet: call fit first")
        return self.bins_

    def _check(self, x: Sample) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the values and which LS can be judged."""
        bins = self._need_fit()
        values = values_of(x)
        if values.shape[1:] != bins:
            raise ModelMismatchError(f"{self.name} learnt from bins {bins}, but is given {values.shape[1:]}")
        flat = values.reshape(len(values), int(np.prod(bins)))
        judged = measured(flat)
        if self.input == "counts":
            judged &= (flat >= 0).all(axis=1)
        return values, judged


def read_detector_json(folder: Path) -> dict[str, Any]:
    """Return the description in a detector's folder, checked for its form.

    Raises:
        InputError: Missing, not JSON, of a later version, or not a detector.
    """
    path = folder / "detector.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(path, error.strerror or str(error)) from error
    except ValueError as error:
        raise InputError(path, f"not a JSON file: {error}") from error
    if not isinstance(data, dict) or not {"detector", "parameters", "bins", "schema_version"} <= set(data):
        raise InputError(path, "does not describe a detector")
    if data["schema_version"] > SCHEMA_VERSION:
        raise InputError(
            path, f"written by a later dqmroot (format {data['schema_version']}, known is {SCHEMA_VERSION})"
        )
    return data


def _taken(values: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    return values if mask.all() else values[mask]


def _rows(x: Sample, mask: NDArray[np.bool_]) -> Sample:
    return x if mask.all() else x[mask]
