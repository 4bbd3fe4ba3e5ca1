"""What a notebook shows of an object: a few lines and a small picture, as HTML made of standard things."""

from __future__ import annotations

import base64
import html
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["card", "map_picture", "spectrum_picture", "strip_picture"]

_STYLE = "font:13px/1.5 system-ui,sans-serif;display:flex;gap:1.5em;align-items:center"
_BLUE, _COLOURS = "#3f90da", {1: "#bd1f01", 0: "#92dadd", -1: "#b9ac70"}


def card(title: str, rows: Mapping[str, Any], picture: str = "") -> str:
    """Return a title with a table of names and values, and a picture beside it."""
    lines = "".join(
        f"<tr><td style='text-align:left;opacity:.7'>{html.escape(key)}</td>"
        f"<td style='text-align:left'>{html.escape(str(value))}</td></tr>"
        for key, value in rows.items()
    )
    return f"<div style='{_STYLE}'><div><b>{html.escape(title)}</b><table>{lines}</table></div>{picture}</div>"


def spectrum_picture(values: ArrayLike, width: int = 240, height: int = 90) -> str:
    """Draw the contents of a 1-D histogram, ``(nx,)``, as SVG steps."""
    contents = np.nan_to_num(np.asarray(values, np.float64))
    top = float(contents.max(initial=0)) or 1.0
    x = np.repeat(np.linspace(0, width, len(contents) + 1), 2)[1:-1]
    y = np.repeat(height - 2 - np.clip(contents, 0, None) / top * (height - 4), 2)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return _svg(width, height, f"<polyline points='{points}' fill='none' stroke='{_BLUE}' stroke-width='1.5'/>")


def map_picture(values: ArrayLike, height: int = 120) -> str:
    """Draw a map, ``(ny, nx)``, with y upwards, as a PNG of one pixel per bin: white is empty, dark is full."""
    contents = np.nan_to_num(np.asarray(values, np.float64))[::-1]
    top = float(contents.max(initial=0)) or 1.0
    grey = (255 - 255 * np.sqrt(np.clip(contents, 0, None) / top)).astype(np.uint8)
    data = base64.b64encode(_png(grey)).decode()
    return (
        f"<img alt='map' height='{height}' style='image-rendering:pixelated;border:1px solid #ccc' "
        f"src='data:image/png;base64,{data}'/>"
    )


def strip_picture(verdict: ArrayLike, width: int = 320, height: int = 24) -> str:
    """Draw verdicts over lumisections, ``(n,)``, as a strip: red bad, blue good, sand not judged."""
    flags = np.asarray(verdict)
    if not len(flags):
        return ""
    ends = np.flatnonzero(np.append(np.diff(flags) != 0, True)) + 1
    begins = np.concatenate([[0], ends[:-1]])
    step = width / len(flags)
    bars = "".join(
        f"<rect x='{a * step:.2f}' width='{(b - a) * step:.2f}' height='{height}' fill='{_COLOURS[int(flags[a])]}'/>"
        for a, b in zip(begins.tolist(), ends.tolist(), strict=True)
    )
    return _svg(width, height, bars)


def _svg(width: int, height: int, inside: str) -> str:
    return f"<svg width='{width}' height='{height}' viewBox='0 0 {width} {height}'>{inside}</svg>"


def _png(grey: NDArray[np.uint8]) -> bytes:
    """Return a grey PNG (PNG specification, section 5)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = np.pad(grey, ((0, 0), (1, 0)))  # each row begins with its filter, 0
    head = struct.pack(">IIBBBBB", grey.shape[1], grey.shape[0], 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows.tobytes())) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
