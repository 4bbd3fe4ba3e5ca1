"""Writes the folder of a report."""

from __future__ import annotations

import base64
import html
import os
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dqmroot.certification import Certification
from dqmroot.conditions import Conditions, read_conditions
from dqmroot.errors import EmptySelectionError, InputError, UsageError
from dqmroot.files import whole_folder
from dqmroot.reports.content import overview, run_content
from dqmroot.reports.packing import script
from dqmroot.reports.pictures import me_contents
from dqmroot.runs import RunMask

__all__ = ["gui_files", "report"]

MOST_MB = 20.0

_GUI_FILE = re.compile(r"DQM_V\d+_R(\d{9})__.+\.root")

_ASSETS = ("report.css", "store.js", "theme.js", "heatmap.js", "pictures.js", "panel.js", "page.js")


def report(
    cert: Certification,
    out: str | os.PathLike[str],
    *,
    title: str = "",
    conditions: Conditions | str | os.PathLike[str] | None = None,
    dcs: RunMask | str | os.PathLike[str] | None = None,
    root_files: Mapping[int, str | os.PathLike[str]] | None = None,
    jsroot: str | os.PathLike[str] | None = None,
    most_mb: float = MOST_MB,
) -> Path:
    """Write a report that a browser opens from disk: ``out/index.html``.

    Args:
        cert: What to show. `dqmroot.load_certification` reads one back.
        out: The folder; a report that stood there is replaced.
        title: Heading; by default the runs.
        conditions: Quantities and DCS bits per LS for the time line, or their file (see `dqmroot.read_conditions`).
        dcs: LS in which the detector was on, or a DCS-only JSON.
        root_files: Run → its DQM GUI file, to link to.
        jsroot: ``jsroot.min.js`` (of ``$ROOTSYS/js/build`` or the npm package), to draw those files in the page; it and they
            are carried along, and are not counted in ``most_mb``.
        most_mb: Pictures are left out, the least telling first, so that the folder does not pass so many MB.

    Returns:
        ``out/index.html``.

    Raises:
        EmptySelectionError: The certification has no LS.
        UsageError: ``out`` holds something that is not a report; it is left alone.
        InputError: A file cannot be read.
        OutputError: The folder cannot be written.

    Examples:
        >>> dq.report(cert, "out/report").name
        'index.html'
    """
    if len(cert) == 0:
        raise EmptySelectionError("the certification has no lumisection: nothing to report")
    target = Path(out)
    if target.exists() and not _replaceable(target):
        raise UsageError(f"{target}: exists and is not a report; it is left alone")
    known = conditions if isinstance(conditions, Conditions | None) else read_conditions(conditions)
    mask = dcs if isinstance(dcs, RunMask | None) else RunMask.from_json(Path(dcs))
    links = {run: Path(path) for run, path in (root_files or {}).items()}
    library = None if jsroot is None else _read(Path(jsroot))
    head, runs = overview(cert, title), [int(run) for run in dict.fromkeys(cert.run.tolist())]
    head["root"] = _links(links, target, carried=library is not None)
    with whole_folder(target) as folder:
        data = folder / "data"
        data.mkdir()
        for run in runs:
            (data / f"run-{run}.js").write_text(script(f"run-{run}", run_content(cert, run, known, mask)), "ascii")
        _copy_assets(folder, str(head["title"]))
        # What base64 makes of a byte, and room for the overview itself.
        room = most_mb * 1e6 - _size(folder) - len(script("overview", head)) - 1e5
        contents, left_out = me_contents(cert, max(room, 0.0))
        for i, content in enumerate(contents):
            (data / f"me-{i}.js").write_text(script(f"me-{i}", content), "ascii")
        head["left_out"] = left_out
        (data / "overview.js").write_text(script("overview", head), "ascii")
        if library is not None:
            _carry_root(folder, library, links)
    return target / "index.html"


def gui_files(folder: str | os.PathLike[str]) -> dict[int, Path]:
    """Return the DQM GUI files of a folder by run, as `report` takes them."""
    found = ((_GUI_FILE.fullmatch(path.name), path) for path in sorted(Path(folder).glob("DQM_V*.root")))
    return {int(match[1]): path for match, path in found if match}


def _replaceable(target: Path) -> bool:
    return target.is_dir() and ((target / "data" / "overview.js").is_file() or not any(target.iterdir()))


def _copy_assets(folder: Path, title: str) -> None:
    assets = resources.files("dqmroot.reports") / "assets"
    for name in _ASSETS:
        (folder / name).write_bytes((assets / name).read_bytes())
    page = (assets / "index.html").read_text(encoding="utf-8")
    (folder / "index.html").write_text(page.replace("{{title}}", html.escape(title)), encoding="utf-8")


def _links(links: Mapping[int, Path], target: Path, *, carried: bool) -> dict[str, Any]:
    """Return for each run where its file lies as seen from the page."""
    out = {}
    for run, path in links.items():
        if not path.is_file():
            raise InputError(path, "No such file")
        relative = os.path.relpath(path.resolve(), target.resolve())
        out[str(run)] = {"name": path.name, "href": quote(relative.replace(os.sep, "/")), "carried": carried}
    return out


def _carry_root(folder: Path, library: bytes, links: Mapping[int, Path]) -> None:
    (folder / "jsroot.js").write_bytes(library)
    for run, path in links.items():
        text = base64.b64encode(_read(path)).decode("ascii")
        (folder / "data" / f"root-{run}.js").write_text(script(f"root-{run}", text), "ascii")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(path, error.strerror or str(error)) from error


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
