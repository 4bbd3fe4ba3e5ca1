"""Pictures as files, for slides and notes: of a certification, and of scores with labels."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dqmroot.certification import Certification
from dqmroot.errors import UsageError
from dqmroot.evaluate import Calibration
from dqmroot.files import folder_name
from dqmroot.judgement import MEResult
from dqmroot.labels import Labels
from dqmroot.plot import (
    LABEL,
    plot_calibration,
    plot_confusion,
    plot_map,
    plot_roc,
    plot_score_distribution,
    plot_score_trend,
    plot_spectrum,
    plot_worst,
    save_figure,
)
from dqmroot.scores import ScoreTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_certification", "draw_evaluation"]

KINDS = ("png", "pdf")

Progress = Callable[[str, int, int, str], None]


def draw_certification(
    cert: Certification,
    out: str | os.PathLike[str],
    *,
    kind: str = "png",
    label: str = LABEL,
    progress: Progress | None = None,
) -> list[Path]:
    """Draw, for each ME and run, score against LS, the worst LS, mean loss and share of LS in which a bin is bad.

    Args:
        cert: What to draw.
        out: Folder; each ME has its own below it.
        kind: ``"png"`` or ``"pdf"``.
        label: What stands beside "CMS".
        progress: Called with (what is done, done, of how many, the ME).

    Returns:
        The pictures written.

    Raises:
        UsageError: Another kind of file.
        OutputError: A picture cannot be written.
    """
    _check_kind(kind)
    written = []
    for i, result in enumerate(cert.mes):
        for run in np.unique(result.run).tolist():
            if progress:
                progress("drawing", i, len(cert.mes), result.me)
            for name, figure in _of_run(result, run, label):
                written.append(Path(out, folder_name(result.me), f"run{run}_{name}.{kind}"))
                save_figure(figure, written[-1])
    return written


def _of_run(result: MEResult, run: int, label: str) -> Iterator[tuple[str, Figure]]:
    rows = result.run == run
    title = f"{result.me}, run {run}"
    yield (
        "score",
        plot_score_trend(
            result.lumi[rows], result.score[rows], result.flag[rows], result.threshold, title=title, label=label
        ),
    )
    if run in result.worst:
        worst = result.worst[run]
        told = f"{title}, LS {worst.lumi}"
        yield (
            "worst",
            plot_worst(worst.original, worst.reconstruction, worst.loss, result.axes, title=told, label=label),
        )
    for name, maps, what in (
        ("mean_loss", result.mean_loss, "Mean loss"),
        ("bad_fraction", result.bad_fraction, "Share of LS in which the bin is bad"),
    ):
        if run not in maps:
            continue
        if len(result.axes) == 1:
            yield name, plot_spectrum([(what, maps[run])], result.axes[0], title=title, ytitle=what, label=label)
        else:
            values = maps[run].sum(axis=0) if maps[run].ndim == 3 else maps[run]
            yield name, plot_map(values, result.axes, title=title, ztitle=what, colours="Oranges", label=label)


def draw_evaluation(
    table: ScoreTable,
    labels: Labels,
    out: str | os.PathLike[str],
    *,
    calibrations: Mapping[str, Calibration | None] | None = None,
    kind: str = "png",
    label: str = LABEL,
) -> list[Path]:
    """Draw the ROC curves of all MEs, and for each the distribution of its scores, its confusion matrix and calibration.

    Args:
        table: Scores.
        labels: Which LS are good and bad.
        out: Folder.
        calibrations: ME → whether its probabilities mean what they say, where known.
        kind: ``"png"`` or ``"pdf"``.
        label: What stands beside "CMS".

    Returns:
        The pictures written.

    Raises:
        EmptySelectionError: A class is missing.
        UsageError: Another kind of file.
        OutputError: A picture cannot be written.
    """
    _check_kind(kind)
    folder = Path(out)
    curves, written = {}, []
    for name in table.mes:
        one = table.of(name)
        good = labels.look_up(one.run, one.lumi)
        pair = one.score[good == 1], one.score[good == 0]
        curves[name] = pair
        cuts = one.threshold[np.isfinite(one.threshold)]
        cut = float(cuts[0]) if len(cuts) else float("nan")
        figures = {"distribution": plot_score_distribution(*pair, threshold=cut, title=name, label=label)}
        if (one.flag >= 0).any():
            matrix = [[int(((good == true) & (one.flag == flag)).sum()) for flag in (0, 1)] for true in (1, 0)]
            figures["confusion"] = plot_confusion(matrix, title=name, label=label)
        known = (calibrations or {}).get(name)
        if known is not None:
            figures["calibration"] = plot_calibration(known.predicted, known.observed, known.n, title=name, label=label)
        for what, figure in figures.items():
            written.append(folder / folder_name(name) / f"{what}.{kind}")
            save_figure(figure, written[-1])
    for what, log in (("roc", False), ("roc_log", True)):
        written.append(folder / f"{what}.{kind}")
        save_figure(plot_roc(curves, log=log, label=label), written[-1])
    return written


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise UsageError(f"pictures can be {' or '.join(KINDS)}, not {kind!r}")
