"""Preparation, detector and working point of one monitoring element, as one saved unit.

A model folder holds several models: ``model.json`` names them, with a checksum of each file; each has its own folder with
``prepare.json``, ``detector.json``, ``arrays.npz``, ``working_point.json`` and, of a network, ``loss.csv`` with the loss of each
pass. ``combiner.json`` beside them joins the scores of all. Nothing in it is unpickled or executed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dqmroot._version import __version__
from dqmroot.combine import Combiner
from dqmroot.detectors import Detector, load_detector
from dqmroot.detectors.base import Progress, Sample
from dqmroot.display import card
from dqmroot.errors import (
    InputError,
    ModelMismatchError,
    NotFittedError,
    UnknownNameError,
    UsageError,
)
from dqmroot.files import folder_name, whole_folder
from dqmroot.folds import HeldOut, TrainingSample, split_good
from dqmroot.injection import inject
from dqmroot.modelcard import card_text, loss_table
from dqmroot.prepare import Preparation, Step
from dqmroot.series import Axis, MonitorElement
from dqmroot.threshold import WorkingPoint, find_working_point, need_bad, needs_bad

__all__ = ["Model", "load_combiner", "load_models", "save_models"]

SCHEMA_VERSION = 1
_COMBINER = "combiner.json"


class Model:
    """A detector with all that it needs to judge one monitoring element.

    Args:
        prepare: Steps from the raw histogram to the detector's input, or text such as ``"rebin(2,2) normalise(integral)"``.
        detector: A detector; `dqmroot.detector` makes one by name.
        min_entries_per_bin: An LS with fewer entries per bin is neither learnt from nor judged.

    Raises:
        UsageError: ``detector`` is no detector.

    Examples:
        >>> model = dq.Model(prepare="include_flow normalise(integral)", detector=dq.detector("pca"))
        >>> model.train(good, "mean_sigma", 3).score(new).shape
        (50,)
    """

    def __init__(
        self, *, prepare: Preparation | Iterable[Step] | str = (), detector: Detector, min_entries_per_bin: float = 0.0
    ) -> None:
        if not isinstance(detector, Detector):
            raise UsageError(f"detector {detector!r}: expected a Detector; dqmroot.detector makes one by name")
        self.preparation = prepare if isinstance(prepare, Preparation) else Preparation(prepare)
        self.detector = detector
        self.min_entries_per_bin = float(min_entries_per_bin)
        self.working_point: WorkingPoint | None = None
        self.bin_cut: float | None = None
        self.sample: TrainingSample | None = None
        self.held_out: HeldOut | None = None
        self._me = ""
        self._storage = ""
        self._axes: tuple[Axis, ...] = ()

    def __repr__(self) -> str:
        state = self._me or "not fitted"
        return f"<Model {state}: {self.preparation} → {self.detector.name}>"

    def _repr_html_(self) -> str:
        point, sample = self.working_point, self.sample
        rows = {
            "preparation": self.preparation,
            "detector": repr(self.detector),
            "sample": "not fitted" if sample is None else f"{sample.n} LS of {len(sample.runs)} run(s)",
            "cut": "none" if point is None else f"{point.threshold:.6g} ({point.method}={point.value:g})",
        }
        return card(f"Model of {self._me or 'nothing yet'}", rows)

    @property
    def me(self) -> str:
        """Name of the monitoring element that was learnt.

        Raises:
            NotFittedError: `fit` comes first.
        """
        if not self._me:
            raise NotFittedError("the model has not learnt yet: call fit first")
        return self._me

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Axes of the raw histograms it takes."""
        return self._axes

    @property
    def storage(self) -> str:
        """ROOT class of the histograms it learnt from; empty where a model of an early version does not tell."""
        return self._storage

    def fit(self, good: MonitorElement, *, progress: Progress | None = None) -> Self:
        """Learn from good lumisections; an earlier working point is dropped.

        Raises:
            EmptySelectionError: No LS.
            UsageError: NaN in them.
        """
        good = good[self._enough(good)].require("the selection of good LS with enough entries")
        self.detector.fit(self._begin(good), progress=progress)
        return self

    def _begin(self, good: MonitorElement) -> MonitorElement:
        """Take a sample to learn from, and return it prepared."""
        self.working_point = self.bin_cut = None
        self.preparation = self.preparation.fit(good)
        self._me, self._storage, self._axes = good.name, good.storage, good.axes
        self.sample = TrainingSample.of(good)
        return self.preparation.apply(good)

    def set_working_point(self, method: str, value: float | None, held: MonitorElement, *, source: str = "") -> Self:
        """Find the cut on good LS that were not trained on.

        Raises:
            EmptySelectionError: No LS with a score among ``held``.
        """
        scores, peaks = self._held_scores(held)
        return self._cut(method, value, scores, peaks, source or _where(held))

    def train(
        self,
        good: MonitorElement,
        method: str = "mean_sigma",
        value: float | None = None,
        *,
        bad: MonitorElement | None = None,
        faults: Sequence[Mapping[str, Any]] = (),
        progress: Progress | None = None,
    ) -> Self:
        """Fit, and find the working point on LS that were kept apart.

        One run: its last fifth in time is not trained on. Two to four runs: each is left out in turn, a detector that has not
        seen it scores it, and the final detector learns from all of them. More runs: every fifth is not trained on.

        Args:
            good: Good LS.
            method: As `find_working_point` names them.
            value: Its number; its usual one where None.
            bad: Bad LS, for working points that need some; they are not learnt from.
            faults: Faults to put into the LS that are kept apart, where there are no bad ones; each as `dqmroot.inject` takes it.
            progress: Called while learning; optional.

        Raises:
            EmptySelectionError: Too few LS to keep some apart.
            UsageError: A working point that needs bad LS, without any.
        """
        for detector, sample in self.lessons(good, method, value, bad=bad, faults=faults):
            detector.fit(sample, progress=progress)
        return self

    def lessons(
        self,
        good: MonitorElement,
        method: str = "mean_sigma",
        value: float | None = None,
        *,
        bad: MonitorElement | None = None,
        faults: Sequence[Mapping[str, Any]] = (),
    ) -> Iterator[tuple[Detector, MonitorElement]]:
        """Give what `train` fits, one detector with its sample after another; each must be fitted before the next is asked for.

        Many models can so be trained side by side. Arguments and errors are those of `train`.
        """
        need_bad(method, bad is not None or bool(faults))
        good = good[self._enough(good)].sort().require("the selection of good LS with enough entries")
        split = split_good(good)
        held, scores, peaks, broken = [], [], [], []
        for apart in split.folds:
            yield self.detector, self._begin(good[~apart])
            held.append(good[apart])
            score, peak = self._held_scores(held[-1])
            scores.append(score)
            peaks.append(peak)
            broken += [
                (held[-1].keys, self.detector.score(self.preparation.apply(_broken(held[-1], f)))) for f in faults
            ]
        if split.again:
            yield self.detector, self._begin(good)
        told = split.told
        if bad is not None and len(bad):
            bad = bad[self._enough(bad)].sort()
            broken.append((bad.keys, self.detector.score(self.preparation.apply(bad))))
            told += f"; {len(bad)} bad LS of {len(np.unique(bad.run))} runs"
        if faults:
            told += "; injected " + ", ".join(" ".join(f"{key}={v}" for key, v in fault.items()) for fault in faults)
        bad_keys, bad_score = (
            (np.concatenate(part) for part in zip(*broken, strict=True)) if broken else (_NO_KEYS, _NONE)
        )
        self.held_out = HeldOut(
            np.concatenate([one.keys for one in held]), np.concatenate(scores), bad_keys, bad_score, bool(faults)
        )
        self._cut(method, value, self.held_out.score, np.concatenate(peaks), told, bad_score if broken else None)
        sample, point = self.sample, self.working_point
        assert sample is not None
        assert point is not None
        self.sample = sample.with_held(split.told, self.held_out, point.threshold)

    def score(self, me: MonitorElement) -> NDArray[np.float64]:
        """Return ``(n_ls,)`` scores, higher is worse; NaN is not judged: empty, NaN or too few entries.

        Raises:
            ModelMismatchError: Another ME or other bins.
        """
        self._check(me)
        if not self.detector.values_only or len(me) == 0:
            return np.where(self._enough(me), self.detector.score(self.preparation.apply(me)), np.nan)
        score = np.concatenate([self.detector.score(rows) for rows in self.preparation.parts(me)])
        score[~self._enough(me)] = np.nan
        return score

    def score_bins(self, me: MonitorElement) -> NDArray[np.float64]:
        """Return the badness of each bin in the ME's own bins, ``(n_ls, …, y, x)``."""
        self._check(me)
        return np.asarray(self.preparation.invert(self.detector.score_bins(self._prepared(me))), np.float64)

    def score_with_bins(self, me: MonitorElement) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return `score` and `score_bins`; the histograms are prepared once, and most detectors look once."""
        self._check(me)
        score, bins = self.detector.score_with_bins(self._prepared(me))
        return np.where(self._enough(me), score, np.nan), np.asarray(self.preparation.invert(bins), np.float64)

    def reconstruct(self, me: MonitorElement) -> NDArray[np.float64]:
        """Return what the detector expected, in the ME's own bins and, where it can be, its own counts."""
        self._check(me)
        return np.asarray(self.preparation.restore(self.detector.reconstruct(self._prepared(me)), me), np.float64)

    @property
    def spans_lumis(self) -> bool:
        """Whether the score of an LS depends on other LS of its run."""
        made = self.detector
        inner = getattr(made, "inner_", made)
        sequential = made.sequential or inner.sequential or made.warmup > 0
        return sequential or any(step.name == "running" for step in self.preparation.steps)

    def score_bins_at(self, me: MonitorElement, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return `score_bins` of some rows of ``me``, which are of one run; they get the history that they need."""
        return self._at(self.score_bins, me, rows)

    def reconstruct_at(self, me: MonitorElement, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return `reconstruct` of some rows of ``me``, which are of one run; they get the history that they need."""
        return self._at(self.reconstruct, me, rows)

    def _at(
        self, what: Callable[[MonitorElement], NDArray[np.float64]], me: MonitorElement, rows: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        if not self.spans_lumis:
            return what(me[rows])
        whole = np.flatnonzero(np.isin(me.run, np.unique(me.run[rows])))
        return what(me[whole])[np.searchsorted(whole, rows)]

    def describe(self) -> dict[str, Any]:
        """Return a JSON-ready description: ME, axes, preparation, detector, sample and working point."""
        sample = self.sample
        return {
            "me": self.me,
            "storage": self._storage,
            "axes": [axis.to_dict() for axis in self._axes],
            "preparation": str(self.preparation),
            "detector": self.detector.name,
            "parameters": self.detector.parameters,
            "min_entries_per_bin": self.min_entries_per_bin,
            "working_point": None if self.working_point is None else self.working_point.to_dict(),
            "bin_cut": self.bin_cut,
            "sample": None if sample is None else sample.to_dict(),
        }

    def save(self, folder: str | Path) -> None:
        """Write a model folder with this one model."""
        save_models([self], folder)

    def _check(self, me: MonitorElement) -> None:
        if not isinstance(me, MonitorElement):
            kind = type(me).__name__  # type: ignore[unreachable]
            raise ModelMismatchError(
                f"a model takes a MonitorElement with its axes, not {kind}; dqmroot.read gives one"
            )
        if me.name != self.me:
            raise ModelMismatchError(f"the model is of {self.me}, the data of {me.name}")
        me.check_same_bins(self._axes, f"the model of {self.me}")

    def _prepared(self, me: MonitorElement) -> Sample:
        """Return what the detector looks at; errors are left out where it takes values alone."""
        return self.preparation.array(me) if self.detector.values_only else self.preparation.apply(me)

    def _enough(self, me: MonitorElement) -> NDArray[np.bool_]:
        enough: NDArray[np.bool_] = me.entries >= self.min_entries_per_bin * np.prod(me.bins)
        return enough

    def _held_scores(self, held: MonitorElement) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the scores of LS not trained on, and the badness of the worst bin of each."""
        prepared = self.preparation.apply(held.require("keeping some apart for the working point"))
        scores = self.detector.score(prepared)
        if not self.detector.localises:
            return scores, np.empty(0)
        peaks = [
            self.detector.score_bins(prepared[start : start + 512])
            .reshape(-1, np.prod(self.detector.bins_ or (1,)))
            .max(axis=1)
            for start in range(0, len(prepared), 512)
        ]
        return scores, np.concatenate(peaks)

    def _cut(
        self,
        method: str,
        value: float | None,
        scores: NDArray[np.float64],
        peaks: NDArray[np.float64],
        source: str,
        bad: NDArray[np.float64] | None = None,
    ) -> Self:
        point = self.working_point = find_working_point(method, value, scores, bad=bad, source=source)
        self.bin_cut = None
        if point.usable and len(peaks):
            # A bin is bad above the cut that the worst bin of a good LS passes as rarely as its score passes the other.
            same = (method, value) if not needs_bad(method) else ("quantile", 1 - min(point.expected_false_rate, 0.5))
            cut = find_working_point(*same, peaks).threshold
            self.bin_cut = cut if np.isfinite(cut) else None
        return self


_NO_KEYS, _NONE = np.zeros(0, np.uint64), np.zeros(0)


def _broken(held: MonitorElement, fault: Mapping[str, Any]) -> MonitorElement:
    """Return LS with a fault in each."""
    plain = {"seed": 0, **{key: value for key, value in fault.items() if key != "fault"}}
    return inject(held, fault["fault"], **plain).series


def save_models(models: Sequence[Model], folder: str | Path, combiner: Combiner | None = None) -> None:
    """Write a model folder, whole or not at all; what stood there before is replaced.

    Args:
        models: One per ME.
        folder: Model folder.
        combiner: What joins their scores to one probability; optional.

    Raises:
        UsageError: Two models of one ME, or a folder that holds something else than models.
        NotFittedError: A model has not learnt.
        OutputError: The folder cannot be written.

    Examples:
        >>> dq.save_models([model], "model")
        >>> len(dq.load_models("model"))
        1
    """
    names = [model.me for model in models]
    if len(set(names)) != len(names):
        raise UsageError("two models of the same monitoring element cannot share a folder")
    target = Path(folder)
    if target.exists() and not (target.is_dir() and (target / "model.json").is_file()) and not _empty(target):
        raise UsageError(f"{target}: exists and is not a model folder; it is left alone")
    with whole_folder(target) as temporary:
        entries = []
        for model in models:
            place = temporary / folder_name(model.me)
            place.mkdir(parents=True)
            model.preparation.save(place)
            model.detector.save(place)
            if model.working_point is not None:
                text = json.dumps({**model.working_point.to_dict(), "bin_cut": model.bin_cut}, indent=1)
                (place / "working_point.json").write_text(text + "\n", encoding="utf-8")
            if model.detector.history_.get("loss"):
                (place / "loss.csv").write_text(loss_table(model.detector.history_), encoding="utf-8")
            sums = {file.name: _checksum(file) for file in sorted(place.iterdir()) if file.is_file()}
            entries.append({**model.describe(), "folder": folder_name(model.me), "sha256": sums})
        head: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "dqmroot_version": __version__, "models": entries}
        if combiner is not None:
            text = json.dumps(combiner.to_dict(), indent=1) + "\n"
            (temporary / _COMBINER).write_text(text, encoding="utf-8")
            head["combiner"] = _checksum(temporary / _COMBINER)
        (temporary / "model.json").write_text(json.dumps(head, indent=1) + "\n", encoding="utf-8")
        (temporary / "card.md").write_text("\n".join(map(card_text, models)), encoding="utf-8")


def load_models(folder: str | Path, mes: Sequence[str] | None = None) -> list[Model]:
    """Read all models of a folder, or those of some MEs.

    Raises:
        InputError: Not a model folder, of a later version, or changed since it was written.
        UnknownNameError: An ME that the folder has no model of.

    Examples:
        >>> model.save("model")
        >>> [one.me for one in dq.load_models("model")]
        ['CSC/FEDIntegrity/FEDTotalEventSize']
    """
    root = Path(folder)
    path = root / "model.json"
    try:
        head = json.loads(path.read_text(encoding="utf-8"))
        version, entries = head["schema_version"], {entry["me"]: entry for entry in head["models"]}
    except (FileNotFoundError, NotADirectoryError) as error:
        what = "is not a model folder; dqmroot train makes one" if root.exists() else str(error.strerror)
        raise InputError(root, what) from error
    except OSError as error:
        raise InputError(path, error.strerror or str(error)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(path, f"does not describe models: {error}") from error
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise InputError(path, f"written by a later dqmroot (format {version}, known is {SCHEMA_VERSION})")
    for me in mes or ():
        if me not in entries:
            raise UnknownNameError("monitoring element", me, entries, str(path))
    return [_load(root, path, entry) for me, entry in entries.items() if mes is None or me in mes]


def load_combiner(folder: str | Path) -> Combiner | None:
    """Read the combiner of a model folder; None where it has none.

    Raises:
        InputError: Not a model folder, or changed since it was written.
    """
    root = Path(folder)
    try:
        known = json.loads((root / "model.json").read_text(encoding="utf-8")).get("combiner")
        if known is None:
            return None
        if _checksum(root / _COMBINER) != known:
            raise InputError(root / _COMBINER, "is not the file that was saved: its checksum differs")
        return Combiner.from_dict(json.loads((root / _COMBINER).read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(error.filename or root, error.strerror or str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(root / _COMBINER, f"does not describe a combiner: {error}") from error


def _load(root: Path, path: Path, entry: Mapping[str, Any]) -> Model:
    try:
        me = str(entry["me"])
        place = root / folder_name(me)
        for name, known in entry["sha256"].items():
            if Path(name).name != name or _checksum(place / name) != known:
                raise InputError(place / name, "is not the file that was saved: its checksum differs")
        model = Model(
            prepare=Preparation.load(place),
            detector=load_detector(place),
            min_entries_per_bin=float(entry["min_entries_per_bin"]),
        )
        model._me, model._axes = me, tuple(map(Axis.from_dict, entry["axes"]))
        model._storage = str(entry.get("storage", ""))
        model.sample = TrainingSample.from_dict(entry["sample"])
        if "working_point.json" in entry["sha256"]:
            point = json.loads((place / "working_point.json").read_text(encoding="utf-8"))
            model.bin_cut = point.pop("bin_cut")
            model.working_point = WorkingPoint.from_dict(point)
    except OSError as error:
        raise InputError(error.filename or path, error.strerror or str(error)) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(path, f"does not describe a model: {error}") from error
    return model


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _where(held: MonitorElement) -> str:
    runs = np.unique(held.run)
    return f"{len(held)} LS of {'run' if len(runs) == 1 else 'runs'} {', '.join(map(str, runs[:8]))}"
