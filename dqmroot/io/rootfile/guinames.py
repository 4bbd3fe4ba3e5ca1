"""What the readers of DQM GUI files allow in the names of files, data sets, directories and objects, and in scalars.

The rules are those of ``visDQMUtils.py`` and ``DQMStore`` of the classic GUI and of the importer of the Python GUI. Where
one of them is broken, a GUI refuses the whole file: so nothing of the kind can be written.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass

from dqmroot.errors import UsageError

__all__ = ["EfficiencyFlag", "QualityTest", "Scalar", "check_dataset", "file_name", "gui_path", "plain"]

_DATASET = re.compile(r"(/[-A-Za-z0-9_]+){3}")
_ERA = re.compile(r"([A-Za-z]+\d+|CMSSW(?:_[0-9]+)+(?:_pre[0-9]+)?)")
_RELEASE = re.compile(r"CMSSW(_[0-9]+)+(_pre[0-9]+)?[-_].*")
_ALLOWED = re.compile(rb"[^-A-Za-z0-9+_()# ]")
_NAME = re.compile(r"[-A-Za-z0-9+=_()# ]+")
_PART, _PATH = 120, 400
EXAMPLE = "/ZeroBias/Run2024C-dqmroot-v1/DQMIO"


def check_dataset(dataset: str, run: int | None = None) -> str:
    """Return ``dataset`` if both GUIs accept it for ``run``.

    Raises:
        UsageError: The name would be refused, or read back as another.
    """
    wrong = f"dataset {dataset!r}: "
    if not _DATASET.fullmatch(dataset):
        raise UsageError(wrong + f"must be /Primary/Era/Tier of letters, digits, '-' and '_', such as {EXAMPLE}")
    parts = dataset[1:].split("/")
    for part in parts:
        if "__" in part or part.startswith("_") or part.endswith("_"):
            raise UsageError(
                wrong + f"{part!r} may neither start nor end with '_' nor contain '__', which parts file names"
            )
    if not _ERA.match(parts[1]):
        raise UsageError(wrong + f"the era {parts[1]!r} must start with letters and digits, such as Run2024C-…-v1")
    release = _RELEASE.match(f"{parts[1]}/{parts[2]}")
    if "CMSSW" in dataset and not release:
        raise UsageError(
            wrong + "only an era of release validation says CMSSW: it reads CMSSW_14_0_0-… or CMSSW_14_0_0_pre1-…"
        )
    if parts[0] == "RelVal":
        raise UsageError(wrong + "RelVal is followed by the name of a sample")
    if parts[0].startswith("RelVal") and not release:
        raise UsageError(wrong + "the era of a RelVal data set must start with CMSSW_14_0_0- or the like")
    if run is not None:
        if not 1 <= run <= 999_999_999:
            raise UsageError(f"run {run}: a DQM GUI file name holds runs 1 to 999999999")
        _check_run(parts, bool(release), run)
        if len(_file_name(dataset, run)) > 255:
            raise UsageError(wrong + "is too long for a file name")
    return dataset


def _check_run(parts: list[str], release: bool, run: int) -> None:
    """Simulation has run 1, data and run-dependent simulation have not."""
    wrong = f"dataset '/{'/'.join(parts)}': "
    if any("rundepMC" in part for part in parts[1:]):
        if run == 1:
            raise UsageError(wrong + "run-dependent simulation is not of run 1")
    elif release and parts[0].startswith("RelVal") != (run == 1):
        raise UsageError(wrong + f"of release validation: run 1 goes with RelVal…, other runs with data; run is {run}")


def file_name(dataset: str, run: int) -> str:
    """Return ``DQM_V0001_R<run>__<Primary>__<Era>__<Tier>.root``.

    Raises:
        UsageError: A GUI would refuse the data set or the run.
    """
    return _file_name(check_dataset(dataset, run), run)


def _file_name(dataset: str, run: int) -> str:
    return f"DQM_V0001_R{run:09d}{dataset.replace('/', '__')}.root"


def gui_path(me: str, reserved: frozenset[str] = frozenset()) -> str:
    """Return the path at which a monitoring element appears: only what the GUI allows, never two elements at one path.

    A byte that is not allowed, and ``=`` itself, becomes ``=XX``; so does the first letter of a part that is in
    ``reserved`` or starts with ``script``, and a space at either end. An empty part becomes ``=``. What is too long is
    cut and ends in ``==`` and a hash of the whole.
    """
    parts = [_part(part.encode("utf-8", "surrogatepass"), reserved) for part in me.split("/")]
    path = "/".join(parts)
    if len(path) > _PATH:
        digest = hashlib.sha256(me.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        path = path[: _PATH - 50].rsplit("/", 1)[0].rstrip("/") + "/==" + digest
    return path


def _part(raw: bytes, reserved: frozenset[str]) -> str:
    text = _ALLOWED.sub(lambda found: b"=%02X" % found.group()[0], raw).decode("ascii")
    if not text:
        return "="
    # A scalar is stored as <name>…</name>: none may look like a script.
    if text in reserved or text.startswith(" ") or text.lower().startswith("script"):
        text = f"={ord(text[0]):02X}" + text[1:]
    if text.endswith(" "):
        text = text[:-1] + "=20"
    # The Python GUI drops every path that contains this word.
    text = text.replace("BadModuleList", "=42adModuleList")
    if len(text) > _PART:
        text = text[: _PART - 40] + "==" + hashlib.sha256(raw).hexdigest()[:32]
    return text


def plain(text: str, longest: int = 200) -> str:
    """Return ``text`` as a value that no reader takes for markup: one line, no ``<``, ``>`` or ``:``, not empty."""
    out = re.sub(r"[^\x20-\x7e]", " ", text.replace("<", "(").replace(">", ")").replace(":", ";")).strip()
    return out[:longest].strip() or "-"


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name an object of the DQM GUI: allowed are A-Z a-z 0-9 - + = _ ( ) # and space"
        )
    return name


@dataclass(frozen=True)
class Scalar:
    """A number or a text.

    Args:
        name: Its name.
        value: Its value; a float that is not finite becomes -1, the GUI's "unknown".
    """

    name: str
    value: int | float | str

    def text(self) -> str:
        """Return the text that stands for it in the file."""
        name = _check_name(self.name)
        if isinstance(self.value, str):
            return f"<{name}>s={plain(self.value)}</{name}>"
        if isinstance(self.value, int):
            if not -(2**31) <= self.value < 2**31:
                raise UsageError(f"{name}: {self.value} does not fit the GUI's 32-bit integers")
            return f"<{name}>i={self.value}</{name}>"
        value = float(self.value)
        return f"<{name}>f={value if math.isfinite(value) else -1.0:.17g}</{name}>"


@dataclass(frozen=True)
class QualityTest:
    """The outcome of a test of a histogram in the same directory.

    Args:
        histogram: Name of the histogram.
        test: Name of the test.
        code: 100 good, 200 warning, 300 error, 70 not enough data, 90 did not run.
        result: A number that the test found.
        message: What it says.
    """

    histogram: str
    test: str
    code: int
    result: float
    message: str

    def text(self) -> str:
        """Return the text that stands for it in the file."""
        name = f"{_check_name(self.histogram)}.{_check_name(self.test)}"
        result = self.result if math.isfinite(self.result) else -1.0
        return f"<{name}>qr=st:{int(self.code)}:{result:.17g}:dqmroot:{plain(self.message)}</{name}>"


@dataclass(frozen=True)
class EfficiencyFlag:
    """Marks a histogram in the same directory whose contents are no counts: the GUI never normalises it.

    Args:
        histogram: Name of the histogram.
    """

    histogram: str

    def text(self) -> str:
        """Return the text that stands for it in the file."""
        return f"<{_check_name(self.histogram)}>e=1</{self.histogram}>"
