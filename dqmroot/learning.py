"""Many models in one go: networks of equal shape learn together, what has been learnt is kept, scores are joined by training."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.combine import Combiner
from dqmroot.detectors import Detector, load_detector
from dqmroot.detectors.base import Progress
from dqmroot.detectors.batched import fit_many, training_key
from dqmroot.errors import UsageError
from dqmroot.files import whole_folder
from dqmroot.folds import HeldOut
from dqmroot.model import Model
from dqmroot.series import MonitorElement

__all__ = ["drop_checkpoint", "train_combiner", "train_many"]

Lesson = tuple[Detector, MonitorElement]


def train_many(
    models: Sequence[Model],
    goods: Sequence[MonitorElement],
    method: str = "mean_sigma",
    value: float | None = None,
    *,
    bads: Sequence[MonitorElement | None] = (),
    faults: Sequence[Mapping[str, Any]] = (),
    progress: Progress | None = None,
    checkpoint: str | Path | None = None,
) -> None:
    """Train models as `Model.train` does, side by side: dense autoencoders of equal shape learn as one network.

    Args:
        models: One per ME.
        goods: The good LS of each.
        method: Working point, as `find_working_point` names it.
        value: Its number.
        bads: The bad LS of each, where known; else empty.
        faults: Faults to put into LS that are kept apart.
        progress: Called while learning; optional.
        checkpoint: Folder in which the state of the training is kept. Called again with the same LS and parameters, what is
            learnt is taken from there, and an interrupted network goes on where it was.

    Raises:
        DQMError: As `Model.train` does, for the first ME that cannot be learnt.
    """
    known = bads or [None] * len(models)
    courses: list[Iterator[Lesson]] = [
        model.lessons(good, method, value, bad=bad, faults=faults)
        for model, good, bad in zip(models, goods, known, strict=True)
    ]
    folder = None if checkpoint is None else Path(checkpoint)
    while True:
        # One lesson of each course at a time; a course may be shorter than others.
        lessons = [lesson for course in courses if (lesson := next(course, None)) is not None]
        if not lessons:
            return
        _fit(lessons, progress, folder)


def _fit(lessons: Sequence[Lesson], progress: Progress | None, folder: Path | None) -> None:
    """Fit what is not in the folder, and keep it there."""
    if folder is None:
        fit_many([made for made, _ in lessons], [sample for _, sample in lessons], progress=progress)
        return
    folder.mkdir(parents=True, exist_ok=True)
    left: list[tuple[Detector, MonitorElement, Path]] = []
    for made, sample in lessons:
        place = folder / training_key(made, sample)
        if (place / "detector.json").is_file():
            made.__dict__.update(load_detector(place).__dict__)
        else:
            left.append((made, sample, place))
    fit_many([made for made, _, _ in left], [sample for _, sample, _ in left], progress=progress, checkpoint=folder)
    for made, _, place in left:
        if hasattr(made, "epochs"):
            with whole_folder(place) as temporary:
                made.save(temporary)


def drop_checkpoint(folder: str | Path) -> None:
    """Remove what `train_many` kept in a folder, and the folder where nothing else is in it."""
    place = Path(folder)
    for entry in place.iterdir() if place.is_dir() else ():
        name = entry.name.removesuffix(".npz")
        if len(name) == 64 and set(name) <= set("0123456789abcdef"):
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    if place.is_dir() and not any(place.iterdir()):
        place.rmdir()


def train_combiner(models: Sequence[Model], *, seed: int = 0) -> Combiner:
    """Learn how the scores of several MEs make one probability that an LS is bad, from LS that no model was trained on.

    Bad LS are labelled ones; or, where faults were injected, each is a good LS in which one ME, drawn by chance, has the fault.

    Args:
        models: Trained, with bad LS or faults.
        seed: Of the ME that has the fault.

    Raises:
        UsageError: Models without bad LS.
    """
    parts = []
    for model in models:
        if model.held_out is None or len(model.held_out.bad_keys) == 0:
            raise UsageError(f"{model.me}: a trained combination needs bad LS, labelled or injected")
        parts.append(model.held_out)
    keys = np.unique(np.concatenate([part.keys for part in parts]))
    good = _aligned(keys, [(part.keys, part.score) for part in parts])
    bad = _injected(keys, good, parts, seed) if parts[0].injected else _labelled(parts)
    label = np.r_[np.ones(good.shape[1]), np.zeros(bad.shape[1])]
    return Combiner.train([model.me for model in models], np.concatenate([good, bad], axis=1), label)


def _labelled(parts: Sequence[HeldOut]) -> NDArray[np.float64]:
    keys = np.unique(np.concatenate([part.bad_keys for part in parts]))
    return _aligned(keys, [(part.bad_keys, part.bad_score) for part in parts])


def _injected(
    keys: NDArray[np.uint64], good: NDArray[np.float64], parts: Sequence[HeldOut], seed: int
) -> NDArray[np.float64]:
    """Return the good scores with one ME's exchanged for one that it has with the fault."""
    out = good.copy()
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(parts), size=len(keys))
    for i, part in enumerate(parts):
        order = np.argsort(part.bad_keys, kind="stable")
        mine = np.flatnonzero((chosen == i) & np.isin(keys, part.bad_keys))
        first = np.searchsorted(part.bad_keys[order], keys[mine], side="left")
        last = np.searchsorted(part.bad_keys[order], keys[mine], side="right")
        out[i, mine] = part.bad_score[order[rng.integers(first, last)]] if len(mine) else []
    return out


def _aligned(
    keys: NDArray[np.uint64], scores: Sequence[tuple[NDArray[np.uint64], NDArray[np.float64]]]
) -> NDArray[np.float64]:
    """Return scores side by side, ``(n_mes, n_keys)``; NaN where an ME has none."""
    out = np.full((len(scores), len(keys)), np.nan)
    for row, (mine, score) in zip(out, scores, strict=True):
        row[np.searchsorted(keys, mine)] = score
    return out
