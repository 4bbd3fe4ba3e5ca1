"""Pictures of how well scores separate: distributions, ROC, confusion matrix, loss while training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqmroot.errors import EmptySelectionError, UsageError
from dqmroot.plot.style import (
    BAD,
    GOOD,
    GREEN,
    INK,
    LABEL,
    NOT_JUDGED,
    dress,
    legend_name,
    make_figure,
    plain,
    whole_ticks,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_calibration", "plot_confusion", "plot_loss", "plot_roc", "plot_score_distribution", "roc_points"]

_CURVES = ((GOOD, "-"), (BAD, "--"), (GREEN, "-."), (INK, ":"), (NOT_JUDGED, "-"))


def plot_score_distribution(
    good: ArrayLike,
    bad: ArrayLike = (),
    *,
    threshold: float = float("nan"),
    bins: int = 60,
    title: str = "",
    label: str = LABEL,
) -> Figure:
    """Draw the distributions of the scores of good and bad LS, with the cut; each has the area 1.

    Args:
        good: Scores of good LS; NaN is left out.
        bad: Scores of bad LS; may be empty.
        threshold: The cut; NaN for none.
        bins: Number of bins.
        title: Name of the monitoring element.
        label: What stands beside "CMS".

    Raises:
        EmptySelectionError: No score at all.
    """
    samples = [("good", _finite(good), GOOD, "-"), ("bad", _finite(bad), BAD, "--")]
    every = np.concatenate([values for _, values, _, _ in samples])
    if every.size == 0:
        raise EmptySelectionError("no scores to draw a distribution of")
    low, high = float(every.min()), float(every.max())
    wide = low > 0 and high > 20 * low
    edges = np.geomspace(low, high * (1 + 1e-9), bins + 1) if wide else np.linspace(low, high or 1.0, bins + 1)
    if high == low:
        edges = np.linspace(low - 0.5, high + 0.5, bins + 1)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for name, values, colour, line in samples:
            if values.size:
                share = np.histogram(values, edges)[0] / values.size
                told = f"{name} ({values.size} LS)"
                axes.stairs(share, edges, fill=name == "good", color=colour, alpha=0.35 if name == "good" else 1.0)
                axes.stairs(share, edges, color=colour, linestyle=line, linewidth=2, label=told)
        if np.isfinite(threshold):
            axes.axvline(threshold, color=INK, linestyle=":", linewidth=2, label=f"cut {threshold:.3g}")
        if wide:
            axes.set_xscale("log")
        axes.margins(y=0.2)
        axes.set_xlabel("Score (higher is worse)")
        axes.set_ylabel("Share of LS per bin")
        axes.legend(loc="upper right")
        dress(axes, title, label)

    return make_figure(draw)


def roc_points(good: ArrayLike, bad: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the corners of the exact ROC curve: for each cut, the share of good LS flagged and of bad LS found.

    Returns:
        Two arrays ``(m,)`` from 0 to 1; between corners of tied scores the curve is a straight line.

    Raises:
        EmptySelectionError: A class is missing.
    """
    g, b = np.sort(_finite(good)), np.sort(_finite(bad))
    if g.size == 0 or b.size == 0:
        raise EmptySelectionError(f"a ROC curve needs both classes: there are {g.size} good and {b.size} bad LS")
    cuts = np.unique(np.concatenate([g, b]))[::-1]
    flagged = 1 - np.searchsorted(g, cuts, side="left") / g.size
    found = 1 - np.searchsorted(b, cuts, side="left") / b.size
    return np.concatenate([[0.0], flagged]), np.concatenate([[0.0], found])


def plot_roc(
    scores: Mapping[str, tuple[ArrayLike, ArrayLike]], *, log: bool = False, title: str = "", label: str = LABEL
) -> Figure:
    """Draw exact ROC curves, with the area under each.

    Args:
        scores: Name → (scores of good LS, scores of bad LS).
        log: A logarithmic axis for the share of good LS flagged, which shows what happens at few false flags.
        title: Name of the monitoring element.
        label: What stands beside "CMS".

    Raises:
        EmptySelectionError: A class is missing.
    """
    curves = {name: (*roc_points(*pair), _finite(pair[0]).size) for name, pair in scores.items()}

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for i, (name, (flagged, found, _)) in enumerate(curves.items()):
            colour, line = _CURVES[i % len(_CURVES)]
            area = float(np.sum(np.diff(flagged) * (found[1:] + found[:-1]) / 2))
            told = f"{legend_name(name)} (AUC {area:.4f})"
            axes.plot(flagged, found, color=colour, linestyle=line, linewidth=2.2, label=told)
        if log:
            axes.set_xscale("log")
            axes.set_xlim(0.5 / max((n for _, _, n in curves.values()), default=1000), 1)
        else:
            axes.plot([0, 1], [0, 1], color=NOT_JUDGED, linewidth=1, linestyle=":")
            axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("Share of good LS flagged")
        axes.set_ylabel("Share of bad LS found")
        axes.legend(loc="lower right")
        dress(axes, title, label)

    return make_figure(draw, (9.0, 8.0))


def plot_loss(history: Mapping[str, Sequence[float]], *, title: str = "", label: str = LABEL) -> Figure:
    """Draw the loss of each pass over the training sample.

    Args:
        history: Name of the loss → its values; ``"loss"`` and ``"val_loss"`` are told in words.
        title: Name of the monitoring element.
        label: What stands beside "CMS".
    """
    words = {"loss": "training", "val_loss": "validation"}
    values = {words.get(name, name): np.asarray(losses, np.float64) for name, losses in history.items()}

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for i, (name, losses) in enumerate(values.items()):
            colour, line = _CURVES[i % len(_CURVES)]
            passes = np.arange(1, len(losses) + 1)
            axes.plot(passes, losses, color=colour, linestyle=line, linewidth=2.2, label=legend_name(name))
        if "validation" in values and np.isfinite(values["validation"]).any():
            best = int(np.nanargmin(values["validation"]))
            told = f"best, {values['validation'][best]:.3g}"
            axes.plot(best + 1, values["validation"][best], "D", color=BAD, markersize=9, label=told)
        every = np.concatenate([np.empty(0), *values.values()])
        if every.size and every.min() > 0 and every.max() > 10 * every.min():
            axes.set_yscale("log")
        whole_ticks(axes)
        axes.set_xlabel("Pass over the training sample")
        axes.set_ylabel("Loss")
        if values:
            axes.legend(loc="upper right")
        dress(axes, title, label)

    return make_figure(draw)


def plot_calibration(
    predicted: Sequence[float], observed: Sequence[float], n: Sequence[int], *, title: str = "", label: str = LABEL
) -> Figure:
    """Draw the share of bad LS in groups of LS against the mean probability of the group; on the diagonal it means what it says.

    Args:
        predicted: Mean probability of each group.
        observed: Share of bad LS in it.
        n: LS in it.
        title: Name of the monitoring element.
        label: What stands beside "CMS".
    """
    share, size = np.asarray(observed, np.float64), np.asarray(n, np.float64)
    # At least what one LS more or less would change, so that shares of 0 and 1 have a bar too.
    error = np.sqrt(np.maximum(share * (1 - share), 1 / (size + 1)) / np.maximum(size, 1))

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=NOT_JUDGED, linewidth=1, linestyle=":")
        axes.errorbar(
            predicted, share, error, fmt="o", color=GOOD, markersize=8, capsize=3, label=f"{int(size.sum())} LS"
        )
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.03, 1.15)
        axes.set_xlabel("Mean probability of being bad")
        axes.set_ylabel("Share of bad LS")
        axes.legend(loc="upper left")
        dress(axes, title, label)

    return make_figure(draw, (9.0, 8.0))


def plot_confusion(
    matrix: ArrayLike, names: Sequence[str] = ("good", "bad"), *, title: str = "", label: str = LABEL
) -> Figure:
    """Draw a confusion matrix with numbers and shares per true class.

    Args:
        matrix: ``(k, k)`` numbers of LS, true class by row, judged class by column.
        names: The ``k`` classes.
        title: Name of the monitoring element.
        label: What stands beside "CMS".

    Raises:
        UsageError: Not a square matrix, or not as many names.
    """
    counts = np.asarray(matrix)
    if counts.shape != (len(names), len(names)):
        raise UsageError(
            f"{len(names)} classes need a {len(names)} x {len(names)} matrix, not one of shape {counts.shape}"
        )
    of_row = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, of_row, out=np.zeros(counts.shape), where=of_row > 0)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        image = axes.imshow(shares, cmap="cividis", vmin=0, vmax=1)
        for (row, column), share in np.ndenumerate(shares):
            text = f"{int(counts[row, column])}\n{100 * share:.3g} %"
            axes.text(column, row, text, ha="center", va="center", color=INK if share > 0.6 else "white")
        ticks = range(len(names))
        for side, set_label, what in ((axes.xaxis, axes.set_xlabel, "Judged"), (axes.yaxis, axes.set_ylabel, "True")):
            side.set_ticks(ticks, [plain(name, 16) for name in names])
            side.set_ticks([], minor=True)
            set_label(what)
        axes.tick_params(length=0, pad=10)
        figure.colorbar(image, ax=axes, pad=0.02, label="Share of the true class")
        dress(axes, title, label, letters=34)

    return make_figure(draw, (8.5, 7.0))


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64).ravel()
    return array[np.isfinite(array)]
