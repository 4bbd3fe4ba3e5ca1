"""What all figures share: the style of CMS, the label, colours, and texts that are drawn as they are."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

from dqmroot.files import whole_file

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BAD",
    "GOOD",
    "GREEN",
    "INK",
    "LABEL",
    "NOT_JUDGED",
    "dress",
    "legend_name",
    "make_figure",
    "plain",
    "save_figure",
    "style",
    "whole_ticks",
]

LABEL = "Private work"

# Okabe and Ito's palette: blue, vermilion, grey, green.
GOOD, BAD, NOT_JUDGED, GREEN, INK = "#0072B2", "#D55E00", "#999999", "#009E73", "#1c2530"

_GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "eta": "η", "theta": "θ", "lambda": "λ",
    "mu": "μ", "nu": "ν", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ", "varphi": "φ", "chi": "χ",
    "psi": "ψ", "omega": "ω", "Delta": "Δ", "Phi": "Φ", "Sigma": "Σ", "Omega": "Ω",
}  # fmt: skip


@cache
def style() -> Any:
    """Return mplhep's CMS style with smaller letters: these figures stand beside each other on a screen or a slide."""
    import mplhep

    return {
        **mplhep.style.CMS,
        "font.family": ["TeX Gyre Heros", "DejaVu Sans"],  # what the first lacks comes from the second
        "mathtext.cal": "TeX Gyre Heros",  # mplhep asks for a cursive font, which few machines have
        "font.size": 19,
        "axes.linewidth": 1.5,
        "xtick.major.size": 9,
        "xtick.minor.size": 4.5,
        "ytick.major.size": 9,
        "ytick.minor.size": 4.5,
        "legend.fontsize": 15,
        "image.cmap": "cividis",
    }


def make_figure(draw: Callable[[Figure], None], size: tuple[float, float] = (10.0, 7.0)) -> Figure:
    """Return a figure of so many inches that ``draw`` has drawn on, in the style of CMS.

    Matplotlib makes ticks and other parts when they are first drawn, with the style of that moment; so all is drawn once here.
    """
    import matplotlib as mpl

    with mpl.rc_context(style()):
        figure = _shown()(figsize=size, layout="constrained")
        draw(figure)
        figure.draw_without_rendering()
        moved = [_move_power(axes) for axes in figure.axes]
        if any(moved):
            figure.draw_without_rendering()
    return figure


@cache
def _shown() -> type[Figure]:
    """Return the class of figures that a notebook shows, whether or not pyplot and its backend are set up there."""
    from matplotlib import figure

    class Figure(figure.Figure):
        """A figure that shows itself."""

        def _repr_png_(self) -> bytes:
            data = BytesIO()
            self.savefig(data, format="png", dpi=72)
            return data.getvalue()

    return Figure


def _move_power(axes: Axes) -> bool:
    """Put the power of ten that Matplotlib writes above the y axis, where "CMS" stands, into the title of the axis."""
    text = axes.yaxis.get_offset_text()
    match = re.fullmatch(r"1e[-\N{MINUS SIGN}](\d+)|1e(\d+)", text.get_text())
    if match is None:
        return False
    power = f"-{match[1]}" if match[1] else match[2]
    text.set_visible(False)
    axes.set_ylabel(f"{axes.get_ylabel()} [$10^{{{power}}}$]".lstrip())
    return True


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG or PDF, by the ending of ``path``, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    import matplotlib as mpl

    ending = os.fspath(path).rpartition(".")[2].lower()
    # Without the date, equal figures are equal files.
    metadata = {"CreationDate": None} if ending == "pdf" else None
    with mpl.rc_context(style()), whole_file(path) as temporary:
        figure.savefig(temporary, format=ending, dpi=110, metadata=metadata)


def dress(axes: Axes, title: str, label: str | None, *, letters: int = 57) -> None:
    """Put the experiment's label above the frame, and the title beside it on up to two lines of so many small letters."""
    if label is not None:
        # Not mplhep's own text: it is placed before the layout is known, and then stands apart from "CMS" or on it.
        name = axes.text(
            0.0, 1.005, "CMS", transform=axes.transAxes, ha="left", va="bottom", weight="bold", fontsize=23
        )
        axes.annotate(
            plain(label, 40), (1, 0), xycoords=name, xytext=(6, 0), textcoords="offset points", style="italic", fontsize=18,
            va="bottom", annotation_clip=False,
        )  # fmt: skip
    if title:
        axes.set_title(_lines(plain(title, 2 * letters), letters), fontsize=12, loc="right", pad=7)


def plain(text: str, most: int = 60) -> str:
    """Return one line that is drawn as it is: Greek letters for ROOT's, no mathematics, nothing without a glyph."""
    one = re.sub(r"#([A-Za-z]+)", lambda match: _GREEK.get(match[1], match[0]), " ".join(text.split()))
    one = one if len(one) <= most else "…" + one[1 - most :]
    known = _glyphs()
    return "".join(letter if ord(letter) in known else "\N{WHITE SQUARE}" for letter in one).replace("$", r"\$")


def whole_ticks(axes: Axes) -> None:
    """Let ticks along x stand at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))


def legend_name(text: str) -> str:
    """Return a name for a legend; Matplotlib leaves out those that begin with an underscore."""
    return plain(text) if not text.startswith("_") else f" {plain(text)}"


@cache
def _glyphs() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def _lines(text: str, most: int) -> str:
    """Break a long title after a comma, or before a slash or a space."""
    if len(text) <= most:
        return text
    at = text.rfind(", ", 0, most) + 1 or max(text.rfind("/", 0, most), text.rfind(" ", 0, most))
    at = at if at > most // 3 else most
    return f"{text[:at].rstrip()}\n{text[at:].lstrip()}"
