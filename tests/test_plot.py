"""Figures show the numbers they were given, in CMS style, labelled, without touching anything global."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from PIL import Image

from dqmroot.errors import EmptySelectionError, OutputError, UsageError
from dqmroot.evaluate import auc
from dqmroot.plot import (
    animate_maps,
    plot_calibration,
    plot_confusion,
    plot_loss,
    plot_map,
    plot_roc,
    plot_score_distribution,
    plot_score_trend,
    plot_spectra,
    plot_spectrum,
    plot_trend,
    plot_worst,
    save_figure,
)
from dqmroot.plot.scores import roc_points
from dqmroot.plot.style import style
from dqmroot.series import Axis

AXIS = Axis(20, 0.0, 10.0, title="size")
UNEVEN = Axis.variable([0.0, 1.0, 2.0, 5.0, 10.0], title="pt")
MAP_AXES = (Axis(6, -3.0, 3.0, labels=tuple("abcdef"), title="#eta"), Axis(4, 0.5, 4.5, title="iphi"))
RNG = np.random.default_rng(1)
SPECTRUM = RNG.poisson(50, 20).astype(np.float32)
MAP = RNG.poisson(50, (4, 6)).astype(np.float32)
SCORES = RNG.exponential(1.0, 50)
FLAGS = np.where(np.arange(50) % 7 == 0, -1, (SCORES > 2).astype(int))
HOSTILE = [
    "$x^$ $\\frac{",
    "<script>",
    "日本語 🎉",
    "a\nb\tc\0",
    "x" * 10_000,
    "#eta #nonsense %s {0}",
    "\ud800",
    "_^\\",
]

EVERY: dict[str, Callable[..., Figure]] = {
    "spectrum": lambda **k: plot_spectrum([("LS 1", SPECTRUM), ("reference", SPECTRUM * 1.1)], AXIS, **k),
    "spectra": lambda **k: plot_spectra(np.stack([SPECTRUM] * 3), AXIS, [1, 2, 3], reference=SPECTRUM, **k),
    "uneven": lambda **k: plot_spectrum([("LS 1", [1, 2, 3, 4])], UNEVEN, **k),
    "map": lambda **k: plot_map(MAP, MAP_AXES, **k),
    "worst_1d": lambda **k: plot_worst(SPECTRUM, SPECTRUM, SPECTRUM, (AXIS,), **k),
    "worst_2d": lambda **k: plot_worst(MAP, MAP, None, MAP_AXES, **k),
    "worst_3d": lambda **k: plot_worst(np.stack([MAP, MAP]), None, None, (*MAP_AXES, AXIS), **k),
    "score_trend": lambda **k: plot_score_trend(np.arange(50), SCORES, FLAGS, 2.0, **k),
    "trend": lambda **k: plot_trend(np.arange(50), {"pile-up": SCORES}, **k),
    "distribution": lambda **k: plot_score_distribution(SCORES, SCORES * 9, threshold=3.0, **k),
    "roc": lambda **k: plot_roc({"one": (SCORES, SCORES * 3)}, **k),
    "roc_log": lambda **k: plot_roc({"one": (SCORES, SCORES * 3)}, log=True, **k),
    "loss": lambda **k: plot_loss({"loss": [3.0, 2.0, 1.0], "val_loss": [3.0, 1.5, 1.6]}, **k),
    "calibration": lambda **k: plot_calibration([0.1, 0.9], [0.0, 1.0], [20, 20], **k),
    "confusion": lambda **k: plot_confusion([[90, 10], [1, 99]], **k),
}


TITLE = "PixelPhase1/Tracks/PXBarrel/chargeInner_PXLayer_2, run 297050, LS 12"


@cache
def drawn(name: str) -> Figure:
    """One of every kind with a long title, drawn once for all tests."""
    return EVERY[name](title=TITLE)


def pixels(figure: Figure) -> np.ndarray:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=60)
    return np.asarray(Image.open(file).convert("RGB")).astype(int)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text()]


@pytest.mark.parametrize("name", EVERY)
def test_the_style_is_that_of_cms_wherever_it_is_drawn(name: str) -> None:
    before = dict(mpl.rcParams)
    figure = EVERY[name](title=TITLE)
    assert dict(mpl.rcParams) == before
    assert mpl._pylab_helpers.Gcf.figs == {}
    outside = pixels(figure)
    with mpl.rc_context(style()):
        inside = pixels(figure)
    # Formulas on logarithmic axes move by a pixel; a style that is lost moves everything.
    assert (outside != inside).mean() < 0.04
    axis = figure.axes[0]
    assert axis.xaxis.get_label().get_fontfamily()[0] == "TeX Gyre Heros"
    if name != "confusion":
        assert axis.xaxis.get_major_ticks()[0]._tickdir == "in"
        assert axis.xaxis.get_major_ticks()[0]._size == 9


@pytest.mark.parametrize("name", EVERY)
def test_the_label_is_private_work_unless_set(name: str) -> None:
    told = texts(drawn(name))
    assert "CMS" in told
    assert "Private work" in told
    assert any("run 297050" in text for text in told)
    told = texts(EVERY[name](label="Preliminary"))
    assert "Preliminary" in told
    assert "Private work" not in told


@pytest.mark.parametrize("name", EVERY)
def test_nothing_stands_on_the_label_or_leaves_the_page(name: str) -> None:
    figure = drawn(name)
    renderer = FigureCanvasAgg(figure).get_renderer()
    label = next(text for text in figure.findobj(mpl.text.Text) if text.get_text() == "Private work")
    cms = next(text for text in figure.findobj(mpl.text.Text) if text.get_text() == "CMS")
    title = next(text for text in figure.findobj(mpl.text.Text) if text.get_text().endswith("LS 12"))
    boxes = [text.get_window_extent(renderer) for text in (cms, label, title)]
    assert boxes[0].x1 < boxes[1].x0
    assert not boxes[1].overlaps(boxes[2])
    for box in boxes:
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1 + 1
        assert box.y1 <= figure.bbox.y1 + 1


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:12]))
def test_names_of_others_are_drawn_as_they_are(text: str, tmp_path: Path) -> None:
    axis = Axis(20, 0.0, 10.0, title=text, labels=(text,) * 20)
    save_figure(plot_spectrum([(text, SPECTRUM)], axis, title=text, ytitle=text, label=text), tmp_path / "one.png")
    save_figure(plot_map(np.outer(SPECTRUM, SPECTRUM), (axis, axis), title=text, ztitle=text), tmp_path / "two.pdf")
    assert {path.name for path in tmp_path.iterdir()} == {"one.png", "two.pdf"}


def test_greek_letters_of_root() -> None:
    assert "η" in texts(EVERY["map"]())


def test_histograms_are_drawn_bin_by_bin() -> None:
    for axis, values in ((AXIS, SPECTRUM), (UNEVEN, np.array([1.0, 2.0, 3.0, 4.0]))):
        figure = plot_spectrum([("LS 1", values)], axis)
        step = figure.axes[0].findobj(StepPatch)[0]
        assert np.array_equal(step.get_data().values, values)
        assert np.array_equal(step.get_data().edges, axis.bin_edges)


def test_maps_are_drawn_bin_by_bin() -> None:
    values = MAP.copy()
    values[1, 2], values[3, 0] = 0, np.nan
    mesh = plot_map(values, MAP_AXES).axes[0].findobj(QuadMesh)[0]
    shown = mesh.get_array()
    assert shown.shape == (4, 6)
    assert np.argwhere(shown.mask).tolist() == [[1, 2], [3, 0]]
    assert np.array_equal(shown.compressed(), values[~shown.mask])
    # Row 0 lies at the bottom: the lowest y.
    assert mesh.get_coordinates()[0, 0].tolist() == [-3.0, 0.5]


def test_original_and_reconstruction_share_their_colours_where_they_can() -> None:
    def limits(reconstruction: np.ndarray) -> list[tuple[float, float]]:
        figure = plot_worst(MAP, reconstruction, MAP, MAP_AXES)
        return [axes.findobj(QuadMesh)[0].get_clim() for axes in figure.axes[:2]]

    one, two = limits(MAP * 1.5)
    assert one == two == (0, 1.5 * MAP.max())
    one, two = limits(MAP * 1e-3)
    assert one != two


@pytest.mark.parametrize("values", [np.zeros((4, 6)), np.full((4, 6), np.nan), -MAP], ids=["zero", "nan", "negative"])
def test_maps_without_contents(values: np.ndarray) -> None:
    pixels(plot_map(values, MAP_AXES))
    pixels(plot_worst(values, values, None, MAP_AXES))


def test_scores_by_verdict() -> None:
    figure = EVERY["score_trend"]()
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert set(lines) == {
        f"{name} ({(v == FLAGS).sum()} LS)" for v, name in ((0, "good"), (1, "bad"), (-1, "not judged"))
    } | {"cut 2"}
    bad = lines[f"bad ({(FLAGS == 1).sum()} LS)"]
    assert np.array_equal(bad.get_ydata(), SCORES[FLAGS == 1])
    assert np.array_equal(bad.get_xdata(), np.flatnonzero(FLAGS == 1))


@pytest.mark.parametrize(
    ("score", "threshold"),
    [
        ([], 1.0),
        ([np.nan] * 3, np.nan),
        ([0.0] * 3, 0.0),
        ([1.0], np.nan),
        ([1e-9, 1.0, 1e9], 5.0),
        ([-1.0, 5.0, 2.0], 3.0),
    ],
    ids=["none", "nan", "zero", "one", "wide", "negative"],
)
def test_few_and_odd_scores(score: list[float], threshold: float) -> None:
    pixels(plot_score_trend(np.arange(len(score)), score, np.zeros(len(score)), threshold))


@pytest.mark.parametrize("digits", [1, 9])
def test_the_roc_curve_is_exact(digits: int) -> None:
    good, bad = RNG.normal(0, 1, 300).round(digits), RNG.normal(1, 1, 200).round(digits)
    flagged, found = roc_points(good, np.append(bad, np.nan))
    assert (flagged[0], found[0], flagged[-1], found[-1]) == (0, 0, 1, 1)
    area = np.trapezoid(found, flagged)
    assert area == pytest.approx(auc(good, bad), abs=1e-12)
    legend = plot_roc({"ours": (good, bad)}).axes[0].get_legend().get_texts()[0].get_text()
    assert legend == f"ours (AUC {area:.4f})"
    with pytest.raises(EmptySelectionError, match="300 good and 0 bad"):
        plot_roc({"ours": (good, [np.nan])})


def test_distributions_have_the_area_one() -> None:
    figure = EVERY["distribution"]()
    shares = [patch.get_data().values.sum() for patch in figure.axes[0].findobj(StepPatch)]
    assert shares == pytest.approx([1.0] * len(shares))
    pixels(plot_score_distribution([1.0, 1.0]))
    with pytest.raises(EmptySelectionError, match="no scores"):
        plot_score_distribution([np.nan])


def test_confusion_tells_numbers_and_shares() -> None:
    told = texts(EVERY["confusion"]())
    assert {"90\n90 %", "10\n10 %", "1\n1 %", "99\n99 %"} <= set(told)
    with pytest.raises(UsageError, match="2 classes need a 2 x 2 matrix"):
        plot_confusion([[1, 2, 3]])


def test_the_best_pass_is_marked() -> None:
    legend = [text.get_text() for text in EVERY["loss"]().axes[0].get_legend().get_texts()]
    assert legend == ["training", "validation", "best, 1.5"]


def test_files_are_whole_and_reproducible(tmp_path: Path) -> None:
    for ending, head in (("png", b"\x89PNG"), ("pdf", b"%PDF")):
        for name in ("one", "two"):
            save_figure(EVERY["map"](title="Run 7"), tmp_path / f"{name}.{ending}")
        assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()
        assert (tmp_path / f"one.{ending}").read_bytes().startswith(head)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        save_figure(EVERY["map"](), tmp_path / "file" / "one.png")


def test_colours_are_told_apart_without_seeing_them() -> None:
    # Good, bad and not judged differ in marker; maps run from dark to light without turning back.
    markers = {line.get_marker() for line in EVERY["score_trend"]().axes[0].lines if line.get_linestyle() == "None"}
    assert len(markers) == 3
    for name in ("cividis", "Oranges"):
        luminance = mpl.colormaps[name](np.linspace(0, 1, 64))[:, :3] @ [0.2126, 0.7152, 0.0722]
        assert (np.diff(luminance) > 0).all() or (np.diff(luminance) < 0).all()


def test_powers_of_ten_do_not_stand_on_the_label() -> None:
    scores = np.linspace(1.0, 3.0, 50)
    for scale, power in ((1e-6, "-6"), (1e7, "7")):
        axes = plot_score_trend(np.arange(50), scores * scale, FLAGS, 2 * scale).axes[0]
        assert not axes.yaxis.get_offset_text().get_visible()
        assert axes.get_ylabel() == f"Score (higher is worse) [$10^{{{power}}}$]"
    assert plot_score_trend(np.arange(50), scores, FLAGS, 2.0).axes[0].get_ylabel() == "Score (higher is worse)"


def test_a_film_has_one_frame_per_lumisection(tmp_path: Path) -> None:
    maps = np.stack([np.full((4, 6), 10.0 * (k + 1)) for k in range(4)])
    path = animate_maps(maps, MAP_AXES, [3, 4, 5, 9], tmp_path / "film.gif", title="Run 7", ztitle="Digis", seconds=0.5)
    with Image.open(path) as film:
        frames: list[Any] = []
        for k in range(film.n_frames):
            film.seek(k)
            assert film.info["duration"] == 500
            frames.append(np.asarray(film.convert("RGB")).astype(int))
    assert len(frames) == 4
    height, width = frames[0].shape[:2]
    middle = [frame[height // 2, width // 2].sum() for frame in frames]
    assert middle == sorted(middle)
    assert len(set(middle)) == 4
    # What frames the map stays where it is.
    assert np.abs(frames[0][:30, : width // 2] - frames[3][:30, : width // 2]).mean() < 2
    with pytest.raises(EmptySelectionError, match="no lumisection"):
        animate_maps(maps[:0], MAP_AXES, [], tmp_path / "none.gif")
