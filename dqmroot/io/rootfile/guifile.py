"""A file as the DQM GUI reads it: ``DQMData/Run N/<subsystem>/Run summary/…``."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from uuid import UUID

from dqmroot.errors import UsageError
from dqmroot.files import whole_file
from dqmroot.io.rootfile.guinames import EfficiencyFlag, QualityTest, Scalar
from dqmroot.io.rootfile.rootappend import check_chain, gui_run, reopen
from dqmroot.io.rootfile.rootobjects import Histogram
from dqmroot.io.rootfile.rootwrite import RootWriter, create_file

__all__ = ["Item", "overlay_gui_file", "write_gui_file"]

Item = Histogram | Scalar | QualityTest | EfficiencyFlag

# What both GUIs show; the Python GUI passes over TH1I and TH2I in silence.
_SHOWN = {"TH1F", "TH1S", "TH1D", "TH2F", "TH2S", "TH2D", "TH3F", "TProfile", "TProfile2D"}
_PATH = re.compile(r"[-A-Za-z0-9+=_()# ]+(/[-A-Za-z0-9+=_()# ]+)*")


def write_gui_file(
    path: str | os.PathLike[str],
    run: int,
    items: Iterable[tuple[str, Item]],
    *,
    subsystem: str = "dqmroot",
    time: datetime | None = None,
    uuid: UUID | None = None,
) -> Path:
    """Write a DQM GUI file, whole or not at all.

    Args:
        path: The file; `file_name` makes its name.
        run: Its run.
        items: Pairs of a folder below ``Run summary`` ("" for none) and what goes there.
        subsystem: The top folder in the GUI.
        time: Date of every object; now by default.
        uuid: Identity of the file; random by default. With the same time and uuid, equal items give equal bytes.

    Raises:
        UsageError: A name is not allowed, or two items have the same.
        OutputError: The file cannot be written.
    """
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        writer = create_file(stream, Path(path).name, time=time, uuid=uuid)
        put_items(writer, run, items, subsystem)
        writer.close()
    return Path(path)


def overlay_gui_file(
    source: str | os.PathLike[str],
    target: Callable[[int], Path],
    items: Callable[[int], Iterable[tuple[str, Item]]],
    *,
    subsystem: str = "dqmroot",
    time: datetime | None = None,
) -> Path:
    """Write a copy of a DQM GUI file with a subsystem beside those it has; one of the same name is replaced.

    What the file holds stays where it is, byte for byte, whether it is understood or not.

    Args:
        source: A DQM GUI file.
        target: The new file, given the run that ``source`` is of; may be ``source`` itself.
        items: What to put, given the run.
        subsystem: The folder in the GUI.
        time: Date of the new objects; now by default.

    Raises:
        InputError: ``source`` is no whole DQM GUI file of one run.
        UsageError: A name is not allowed.
        OutputError: The file cannot be written.
    """
    run = gui_run(source)
    path = target(run)
    content = items(run)
    with whole_file(path) as temporary:
        shutil.copyfile(source, temporary)
        with temporary.open("rb+") as stream:
            writer = reopen(stream, source, run, without=subsystem, time=time)
            put_items(writer, run, content, subsystem)
            writer.close()
            check_chain(stream, source)
    return path


def put_items(writer: RootWriter, run: int, items: Iterable[tuple[str, Item]], subsystem: str) -> None:
    """Put items into the folder of a subsystem."""
    writer.folder("DQMData", f"Run {run}", subsystem, "Run summary")
    for folder, item in items:
        name = item.name if isinstance(item, Histogram | Scalar) else item.histogram
        if not _PATH.fullmatch(f"{subsystem}/{folder}/{name}" if folder else f"{subsystem}/{name}") or "/" in name:
            raise UsageError(f"{folder}/{name}"[:200] + ": the DQM GUI does not allow this name")
        if isinstance(item, Histogram) and item.storage not in _SHOWN:
            raise UsageError(f"{folder}/{name}: the DQM GUI does not show a {item.storage}")
        directory = writer.folder("DQMData", f"Run {run}", subsystem, "Run summary", *filter(None, folder.split("/")))
        writer.put(directory, item if isinstance(item, Histogram) else item.text())
