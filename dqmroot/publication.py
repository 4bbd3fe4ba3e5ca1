"""Writes a certification where people look: DQM GUI files, one per run, and a tree of the scores."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import numpy as np
from numpy.typing import NDArray

from dqmroot._version import __version__
from dqmroot.certification import Certification
from dqmroot.errors import EmptySelectionError, UsageError
from dqmroot.io.rootfile.guifile import Item, overlay_gui_file, write_gui_file
from dqmroot.io.rootfile.guinames import EfficiencyFlag, QualityTest, Scalar, check_dataset, file_name, gui_path, plain
from dqmroot.io.rootfile.rootobjects import Histogram
from dqmroot.io.rootfile.scoretree import write_score_tree
from dqmroot.judgement import BAD, GOOD, NOT_JUDGED, MEResult
from dqmroot.series import Axis

__all__ = ["check_dataset", "me_folder", "overlay", "publish"]

# Names of the histograms of one ME; no folder of another ME may be called so.
SCORE, FLAG, THRESHOLD = "score_vs_ls", "flag_vs_ls", "threshold_vs_ls"
MEAN_LOSS, BAD_FRACTION = "mean_loss", "bad_fraction"
ORIGINAL, RECONSTRUCTION, LOSS = "worst_ls_original", "worst_ls_reconstruction", "worst_ls_loss"
_RESERVED = frozenset({SCORE, FLAG, THRESHOLD, MEAN_LOSS, BAD_FRACTION, ORIGINAL, RECONSTRUCTION, LOSS})

# The GUI's own palette and alarm: green, yellow, red.
_GREEN, _YELLOW = 0.95, 0.85
_UNKNOWN = -1.0
_MOST_LS = 100_000


def publish(
    cert: Certification, out: str | os.PathLike[str], dataset: str, *, time: datetime | None = None
) -> list[Path]:  # fmt: skip
    """Write ``DQM_V0001_R<run>__<PD>__<Era>__<Tier>.root`` for each run, and ``scores.root`` with all of them.

    Args:
        cert: What to publish.
        out: Folder of the files; made where it is missing.
        dataset: ``/PD/Era/Tier``, by the GUI's rules.
        time: Date that the files carry; now by default. With a date given, equal certifications give equal bytes.

    Returns:
        The files, in the order of the runs, ``scores.root`` last.

    Raises:
        UsageError: A GUI would refuse the data set, or two results are of one ME.
        EmptySelectionError: The certification has no LS.
        OutputError: A file cannot be written.

    Examples:
        >>> [path.name for path in dq.publish(cert, "gui", dataset="/Demo/Run2024A-v1/DQMIO")][0]
        'DQM_V0001_R000355105__Demo__Run2024A-v1__DQMIO.root'
    """
    runs = _runs(cert, dataset)
    folder = Path(out)
    written = []
    for run in runs:
        path = folder / file_name(dataset, run)
        stamp, identity = _identity(path.name, time)
        written.append(write_gui_file(path, run, run_items(cert, run, stamp), time=stamp, uuid=identity))
    return [*written, write_score_tree(folder / "scores.root", cert.mes)]


def overlay(
    cert: Certification,
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    dataset: str,
    *,
    time: datetime | None = None,
) -> Path:  # fmt: skip
    """Write a DQM GUI file that holds all of another one, byte for byte, and dqmroot's folder beside it.

    Args:
        cert: What to publish; of its runs, the one that ``source`` is of.
        source: A DQM GUI file of one run.
        out: Folder of the new file.
        dataset: ``/PD/Era/Tier`` of the new file, by the GUI's rules.
        time: Date of the new objects; now by default.

    Returns:
        The new file.

    Raises:
        UsageError: ``source`` is of no run, or of a run that the certification does not have.
        InputError: ``source`` cannot be read.
        OutputError: The file cannot be written.
    """
    known = _runs(cert, dataset)

    def items(run: int) -> Iterator[tuple[str, Item]]:
        if run not in known:
            shown = ", ".join(map(str, known[:5]))
            raise UsageError(
                f"{source}: is of run {run}, the certification of {shown}" + ("…" if len(known) > 5 else "")
            )
        return run_items(cert, run, time or datetime.now(UTC))

    return overlay_gui_file(source, lambda run: Path(out) / file_name(dataset, run), items, time=time)


def _runs(cert: Certification, dataset: str) -> list[int]:
    check_dataset(dataset)
    runs = [int(run) for run in np.unique(cert.run)]
    if not runs:
        raise EmptySelectionError("the certification has no lumisection: nothing to publish")
    for run in runs:
        check_dataset(dataset, run)
    names = [result.me for result in cert.mes]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise UsageError(f"{min(twice)}: two results of one monitoring element; a file has room for one")
    return runs


def _identity(name: str, time: datetime | None) -> tuple[datetime, UUID | None]:
    if time is None:
        return datetime.now(UTC), None
    return time, uuid5(NAMESPACE_URL, f"{name} {time.isoformat()}")


def run_items(cert: Certification, run: int, time: datetime) -> Iterator[tuple[str, Item]]:
    """Yield what the GUI file of one run holds: pairs of a folder and an item."""
    rows = cert.run == run
    axis = _ls_axis(cert.lumi[rows])
    yield from _event_info(cert, run, axis, time)
    verdict = _per_ls(axis, cert.lumi[rows], cert.verdict[rows], NOT_JUDGED)
    title = f"Run {run}: verdict (1 bad, 0 good, -1 not judged)"
    yield "", _trend("verdict_vs_ls", title, axis, verdict, "verdict", -1.1, 1.1)
    yield "", EfficiencyFlag("verdict_vs_ls")
    yield "", _quality("verdict_vs_ls", cert.verdict[rows], float("nan"))
    n_bad, n_bins, told = np.zeros(axis.nbins), np.zeros(axis.nbins), False
    for result in cert.mes:
        n_bad += _flags(result, run, axis) == BAD
        mine = result.run == run
        if result.bad_bins is not None and (result.bad_bins[mine] >= 0).any():
            n_bins, told = n_bins + _per_ls(axis, result.lumi[mine], np.maximum(result.bad_bins[mine], 0), 0), True
    yield "", _trend("bad_mes_vs_ls", f"Run {run}: bad monitoring elements", axis, n_bad, "bad MEs")
    if told:
        yield "", _trend("bad_channels_vs_ls", f"Run {run}: bad channels", axis, n_bins, "bad channels")
    for result in cert.mes:
        folder = me_folder(result.me)
        for item in _me_items(result, run, axis):
            yield folder, item


def me_folder(me: str) -> str:
    """Return where the histograms of a monitoring element lie, below ``DQMData/Run N/dqmroot/Run summary``."""
    return "MEs/" + gui_path(me, _RESERVED)


def _me_items(result: MEResult, run: int, axis: Axis) -> Iterator[Item]:
    rows = result.run == run
    if not rows.any():
        return
    name, lumi, score = plain(result.me, 120), result.lumi[rows], result.score[rows]
    finite = score[np.isfinite(score)]
    # Below every score, so that what was not judged never looks like a perfect score.
    missing = min(_UNKNOWN, float(np.floor(finite.min())) - 1) if finite.size and finite.min() < 0 else _UNKNOWN
    shown = _per_ls(axis, lumi, np.where(np.isfinite(score), score, missing), missing)
    yield _trend(
        SCORE, f"{name}: score ({missing:g}: not judged)", axis, shown, "score", *_range(finite, result.threshold)
    )
    title = f"{name}: flag, threshold {result.threshold:.4g} (1 bad, 0 good, -1 not judged)"
    yield _trend(FLAG, title, axis, _flags(result, run, axis), "flag", -1.1, 1.1)
    flagged = [SCORE, FLAG]
    if np.isfinite(result.threshold):
        yield _trend(THRESHOLD, f"{name}: threshold", axis, np.full(axis.nbins, result.threshold), "threshold")
        flagged.append(THRESHOLD)
    for key, maps, what in (
        (MEAN_LOSS, result.mean_loss, "mean loss over the judged LS"),
        (BAD_FRACTION, result.bad_fraction, "share of LS in which the bin is bad"),
    ):
        if run in maps:
            yield _map(key, f"{name}: {what}", result.axes, maps[run], minimum=0.0)
            flagged.append(key)
    if run in result.worst:
        worst = result.worst[run]
        of_ls = f"of LS {worst.lumi}, the worst, score {worst.score:.4g}"
        counts = "Profile" not in result.storage
        yield _map(ORIGINAL, f"{name}: original {of_ls}", result.axes, worst.original, counts=counts)
        for key, array, what in ((RECONSTRUCTION, worst.reconstruction, "reconstruction"), (LOSS, worst.loss, "loss")):
            if array is not None:
                yield _map(key, f"{name}: {what} {of_ls}", result.axes, array)
                flagged.append(key)
        yield Scalar("worst_ls", int(worst.lumi))
        yield Scalar("worst_score", float(worst.score))
    yield Scalar("threshold", float(result.threshold))
    yield Scalar("expected_false_rate", float(result.expected_false_rate))
    yield Scalar("note", result.note or "none")
    yield _quality(SCORE, result.flag[rows], result.threshold)
    yield from map(EfficiencyFlag, flagged)


def _event_info(cert: Certification, run: int, axis: Axis, time: datetime) -> Iterator[tuple[str, Item]]:
    """Yield what every subsystem has under EventInfo, by the GUI's conventions."""
    here = "EventInfo"
    rows = cert.run == run
    verdict = cert.verdict[rows]
    scalars: dict[str, int | float | str] = {
        "iRun": run,
        "iEvent": -1,
        "iLumiSection": int(cert.lumi[rows].max()),
        "processName": "dqmroot",
        "processVersion": __version__,
        "processTimeStamp": time.timestamp(),
        "rule": cert.rule,
        "goodLumiSections": int((verdict == GOOD).sum()),
        "badLumiSections": int((verdict == BAD).sum()),
        "notJudgedLumiSections": int((verdict == NOT_JUDGED).sum()),
        "reportSummary": _share(verdict, verdict != NOT_JUDGED),
        "CertificationSummary": _share(verdict, np.full(len(verdict), bool((verdict != NOT_JUDGED).any()))),
    }
    for key, value in scalars.items():
        yield here, Scalar(key, value)
    paths = [gui_path(result.me, _RESERVED) for result in cert.mes]
    # No ME has a bracket in its path.
    labels = ("[verdict]", *_short(paths))
    rows_of_map = [_per_ls(axis, cert.lumi[rows], verdict, NOT_JUDGED), *(_flags(r, run, axis) for r in cert.mes)]
    # The GUI shows 1 as good and 0 as bad; flags say it the other way round.
    flags = np.stack(rows_of_map)
    values = np.where(flags == NOT_JUDGED, _UNKNOWN, 1.0 - flags)
    y = Axis(len(labels), 0.0, float(len(labels)), labels=labels)
    title = f"Run {run}: 1 good, 0 bad, -1 not judged"
    yield here, _map("reportSummaryMap", title, (axis, y), values, minimum=-1.0, maximum=1.0)
    yield here, EfficiencyFlag("reportSummaryMap")
    shares = []
    for path, result in zip(paths, cert.mes, strict=True):
        flag = result.flag[result.run == run]
        parent, _, leaf = path.rpartition("/")
        below = f"/{parent}" if parent else ""
        yield f"{here}/reportSummaryContents{below}", Scalar(leaf, _share(flag, flag != NOT_JUDGED))
        certified = _share(flag, np.full(len(flag), bool((flag != NOT_JUDGED).any())))
        yield f"{here}/CertificationContents{below}", Scalar(leaf, certified)
        shares.append(certified)
    column = np.array([float(scalars["CertificationSummary"]), *shares])[:, None]
    x = Axis(1, 0.0, 1.0, labels=("good LS of all",))
    title = f"Run {run}: share of good LS, -1 unknown"
    yield here, _map("CertificationSummaryMap", title, (x, y), column, minimum=-1.0, maximum=1.0)
    yield here, EfficiencyFlag("CertificationSummaryMap")


def _quality(histogram: str, flag: NDArray[np.int8], threshold: float) -> QualityTest:
    """The test that a histogram carries: is the share of good LS what the GUI calls good?"""
    judged, bad = int((flag != NOT_JUDGED).sum()), int((flag == BAD).sum())
    share = _share(flag, flag != NOT_JUDGED)
    if judged == 0:
        return QualityTest(histogram, "dqmroot", 90, _UNKNOWN, "no lumisection was judged")
    code = 100 if share >= _GREEN else 200 if share >= _YELLOW else 300
    cut = f", threshold {threshold:.4g}" if np.isfinite(threshold) else ""
    return QualityTest(histogram, "dqmroot", code, share, f"{bad} of {judged} judged lumisections are bad{cut}")


def _share(flag: NDArray[np.int8], among: NDArray[np.bool_]) -> float:
    """Share of good LS; -1 where there is nothing to share."""
    return float((flag[among] == GOOD).mean()) if among.any() else _UNKNOWN


def _ls_axis(lumi: NDArray[np.uint32]) -> Axis:
    first, last = min(1, int(lumi.min())), int(lumi.max())
    if last - first >= _MOST_LS:
        raise UsageError(f"LS {last}: no run has that many lumisections")
    return Axis(last - first + 1, first - 0.5, last + 0.5, title="Lumisection")


def _per_ls(axis: Axis, lumi: NDArray[np.uint32], values: NDArray[Any], missing: float) -> NDArray[np.float64]:
    """Lay values over the bins of the LS axis; ``missing`` where there is none."""
    out = np.full(axis.nbins, float(missing))
    at = lumi.astype(np.int64) - int(axis.low + 0.5)
    inside = (at >= 0) & (at < axis.nbins)
    out[at[inside]] = values[inside]
    return out


def _range(score: NDArray[np.float64], threshold: float) -> tuple[float, float] | tuple[None, None]:
    """Range to draw: all scores, the cut and 0; what was not judged falls out at the bottom."""
    drawn = [0.0, *score, *([threshold] if np.isfinite(threshold) else [])]
    low, high = float(min(drawn)), float(max(drawn))
    return (low - 0.03 * (high - low), high + 0.1 * (high - low)) if high > low else (None, None)


def _short(paths: Sequence[str]) -> tuple[str, ...]:
    """The shortest end of each path that no other path has."""
    ends = {path: ["/".join(path.split("/")[-n:]) for n in range(1, path.count("/") + 2)] for path in paths}
    count = Counter(end for path in paths for end in ends[path])
    return tuple(next((end for end in ends[path] if count[end] == 1), path) for path in paths)


def _flags(result: MEResult, run: int, axis: Axis) -> NDArray[np.float64]:
    rows = result.run == run
    return _per_ls(axis, result.lumi[rows], result.flag[rows], NOT_JUDGED)


def _trend(
    name: str, title: str, axis: Axis, values: NDArray[Any], what: str,
    low: float | None = None, high: float | None = None,
) -> Histogram:  # fmt: skip
    padded = np.pad(np.asarray(values, float), 1)
    # Errors of 0: these are no counts.
    return Histogram(
        name, "TH1D", (axis,), padded, title, sumw2=np.zeros_like(padded), minimum=low, maximum=high,
        option="hist", stats=False, value_title=what,
    )  # fmt: skip


def _map(
    name: str, title: str, axes: tuple[Axis, ...], values: NDArray[Any], *,
    counts: bool = False, minimum: float | None = None, maximum: float | None = None,
) -> Histogram:  # fmt: skip
    array = np.asarray(values)
    wide = counts and array.dtype.itemsize > 4 and len(axes) < 3
    padded = np.pad(np.where(np.isfinite(array), array, _UNKNOWN), 1)
    return Histogram(
        name,
        f"TH{len(axes)}{'D' if wide else 'F'}",
        axes,
        padded,
        title,
        sumw2=None if counts else np.zeros(padded.shape),
        minimum=minimum,
        maximum=maximum,
        option="colz" if len(axes) == 2 else "hist",
        stats=False,
    )
