"""Reads a DQM GUI file as both GUIs do, and refuses what one of them would refuse.

Written from the GUIs' own code (`visDQMUtils.py`, `visDQMIndex`, `DQMStore` of the classic GUI; `nanoroot` and the importer of
the Python GUI), and on purpose without anything of dqmroot: it takes no byte on trust that dqmroot wrote.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

HISTOGRAMS = {"TH1F", "TH1S", "TH1D", "TH2F", "TH2S", "TH2D", "TH3F", "TProfile", "TProfile2D"}
OFFLINE = re.compile(r"^(?:.*/)?DQM_V(\d+)_R(\d+)((?:__[-A-Za-z0-9_]+){3})\.root$")
EXACT = re.compile(r"^DQM_V0001_R\d{9}__.+\.root$")
UPLOAD = re.compile(r"^[-A-Za-z0-9_]+\.root$")
DATASET = re.compile(r"^(/[-A-Za-z0-9_]+){3}$")
RELEASE = re.compile(r"^/[^/]+/(CMSSW(?:_[0-9]+)+(?:_pre[0-9]+)?)[-_].*$")
ERA = re.compile(r"^([A-Za-z]+\d+|CMSSW(?:_[0-9]+)+(?:_pre[0-9]+)?)")
CHARACTERS = re.compile(r"[-A-Za-z0-9/+=_()# ]+")
SCALAR = re.compile(r"^<(.*)>(i|f|s|e|t|qr)=(.*)</\1>$")
QUALITY = re.compile(r"^st:(\d+):([-+e.\d]+):([^:]*):(.*)$")


class RefusedError(Exception):
    """A GUI would refuse the file, or not show something in it."""


@dataclass(frozen=True)
class Key:
    """One key of the file."""

    seek: int
    length: int
    nbytes: int
    size: int
    parent: int
    class_name: str
    name: str
    title: str


@dataclass(frozen=True)
class Entry:
    """One object that the GUI shows: its path below the subsystem's folder, its class, its inflated bytes."""

    path: str
    class_name: str
    payload: bytes


def refuse(condition: bool, why: str) -> None:
    if condition:
        raise RefusedError(why)


def check_name(name: str) -> tuple[int, str]:
    """Return run and data set as both GUIs read them from the file's name."""
    found = OFFLINE.match(name)
    refuse(found is None or EXACT.match(name) is None, f"{name}: not the name of an offline file")
    refuse(UPLOAD.match(name) is None, f"{name}: not a name that may be uploaded")
    assert found is not None
    run, dataset = int(found[2]), found[3].replace("__", "/")
    refuse(int(name[11:20]) != run, f"{name}: the run does not stand where the Python GUI looks for it")
    refuse("/".join(name[20:-5].split("__")) != dataset, f"{name}: the GUIs read two different data sets")
    refuse(dataset.count("/") != 3 or DATASET.match(dataset) is None, f"{name}: data set {dataset}")
    _, primary, era, _ = dataset.split("/")
    refuse(ERA.match(era) is None, f"{name}: failed to determine the era of {era}")
    relval, release = primary.startswith("RelVal"), RELEASE.match(dataset) is not None
    refuse("CMSSW" in dataset and not release, f"{name}: non-relval dataset name contains 'CMSSW'")
    refuse(primary == "RelVal", f"{name}: RelVal of what?")
    refuse(relval and not release, f"{name}: a RelVal era must be CMSSW_")
    if "rundepMC" in dataset[1:].partition("/")[2]:
        refuse(run == 1, f"{name}: run dependent simulation, but run number is 1")
    else:
        refuse(release and relval != (run == 1), f"{name}: relval naming, but run number {run}")
    refuse(run < 1, f"{name}: run {run}")
    return run, dataset


def read_key(data: bytes, at: int) -> Key:
    try:
        nbytes, version, size, _, length, _ = struct.unpack_from(">iHIIHH", data, at)
        seek, parent = struct.unpack_from(">ii" if version <= 1000 else ">qq", data, at + 18)
        position, texts = at + (26 if version <= 1000 else 34), []
        for _ in range(3):
            n, position = data[position], position + 1
            if n == 255:
                (n,) = struct.unpack_from(">i", data, position)
                position += 4
            texts.append(data[position : position + n].decode("utf-8"))
            position += n
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise RefusedError(f"no key at {at}: {error}") from error
    refuse(seek != at, f"TKey at {at} is corrupted: it says {seek}")
    # The key of a basket has more behind its names.
    told = position if texts[0] == "TBasket" else at + length
    refuse(position != told, f"key at {at}: {position - at} bytes long, it says {length}")
    refuse(nbytes < length or at + nbytes > len(data), f"key at {at}: {nbytes} bytes do not fit")
    return Key(seek, length, nbytes, size, parent, *texts)


def walk(data: bytes) -> list[Key]:
    """Return every key from the first to the last byte, as the Python GUI and ``TFile::Map`` walk."""
    refuse(data[:5] != b"root\0", "does not start as a ROOT file")
    version, begin, end, free, nbytes_free, n_free = struct.unpack_from(">6i", data, 4)
    refuse(version >= 1_000_000, "64-bit offsets")
    refuse(end > len(data), f"{len(data)} bytes, the header says {end}")
    refuse(end >= 2**32, "4 GB or more")
    keys, gaps, at = [], [], begin
    while at < end:
        refuse(at + 4 > end, f"{end - at} bytes left over at {at}")
        (length,) = struct.unpack_from(">i", data, at)
        refuse(length == 0, f"a hole at {at}")
        if length < 0:
            gaps.append((at, at - length - 1))
            at -= length
            continue
        keys.append(read_key(data, at))
        at += length
    refuse(at != end, f"the chain ends at {at}, the file at {end}")
    lists = [key for key in keys if key.seek == free and key.nbytes == nbytes_free]
    refuse(not lists, "the free list is not where the header says")
    payload = inflate(data, lists[0])
    segments = list(struct.iter_unpack(">Hii", payload[: 10 * n_free]))
    refuse(len(segments) != n_free or segments[-1][1] < end, "the free list is not what the header says")
    refuse([(a, b) for _, a, b in segments[:-1]] != gaps, "the gaps are not those of the free list")
    return keys


def inflate(data: bytes, key: Key) -> bytes:
    stored = data[key.seek + key.length : key.seek + key.nbytes]
    if len(stored) == key.size:
        return stored
    out, at = b"", 0
    while at < len(stored):
        refuse(stored[at : at + 3] != b"ZL\x08", f"{key.name}: only ZLIB is supported, not {stored[at : at + 2]!r}")
        packed = int.from_bytes(stored[at + 3 : at + 6], "little")
        raw = zlib.decompress(stored[at + 9 : at + 9 + packed])
        refuse(len(raw) != int.from_bytes(stored[at + 6 : at + 9], "little"), f"{key.name}: a frame of another length")
        out += raw
        at += 9 + packed
    refuse(len(out) != key.size, f"{key.name}: inflates to {len(out)} bytes, not {key.size}")
    return out


def check_text(text: str, histograms: set[str]) -> None:
    """Apply the grammar of scalars, flags and quality tests of both GUIs."""
    found = SCALAR.match(text)
    refuse(not text.startswith("<") or found is None, f"malformed string {text!r}")
    assert found is not None
    name, kind, value = found.groups()
    refuse("\n" in text or "\r" in text or "\0" in text, f"a line break in {text!r}")
    refuse("<" in value, f"{text!r}: the Python GUI cuts the value at '<'")
    if kind == "qr":
        refuse("." not in name, f"{text!r}: a quality test without '.'")
        parts = value.split(":", 4)
        refuse(len(parts) != 5 or parts[0] != "st", f"{text!r}: not five parts")
        refuse(QUALITY.match(value) is None, f"{text!r}: not what the classic GUI reads")
        int(parts[1]), float(parts[2])
        name = name.split(".", 1)[0]
        refuse(":" in parts[4], f"{text!r}: ':' in the message")
    refuse(CHARACTERS.fullmatch(name) is None or "/" in name, f"{text!r}: a character of the name is not allowed")
    refuse(kind == "t", f"{text!r}: tags are no longer shown")
    refuse(kind == "e" and value != "1", f"{text!r}: an efficiency flag is 1")
    refuse(kind in {"e", "qr"} and name not in histograms, f"{text!r}: there is no histogram of this name beside it")
    refuse(kind == "s" and not value, f"{text!r}: the Python GUI does not find an empty text")
    try:
        refuse(kind == "i" and not -(2**31) <= int(value) < 2**31, f"{text!r}: more than 32 bits")
        refuse(kind == "f" and not abs(float(value)) < float("inf"), f"{text!r}: not finite")
    except ValueError as error:
        raise RefusedError(f"{text!r}: {error}") from error


def check_object(key: Key, payload: bytes) -> None:
    """The bytes of an object start with its length; a string is the name of its key."""
    (count,) = struct.unpack_from(">I", payload, 0)
    refuse(count != (len(payload) - 4) | 0x40000000, f"{key.name}: the object is not as long as it says")
    if key.class_name == "TObjString":
        refuse(read_text(payload, 16) != key.name, f"{key.name!r}: the string has another text")
        refuse(key.title != "Collectable string class", f"{key.name!r}: titled {key.title!r}")


def read_text(data: bytes, at: int) -> str:
    n = data[at]
    if n == 255:
        (n,), at = struct.unpack_from(">i", data, at + 1), at + 4
    return data[at + 1 : at + 1 + n].decode("utf-8")


def check_gui_file(path: Path, *, strict: str = "") -> dict[str, Entry]:
    """Return every object that the GUIs show, by path (``Subsystem/folder/name``).

    Args:
        path: The file.
        strict: A subsystem that must have what the upload demands of online files.

    Raises:
        RefusedError: One of the GUIs would refuse the file, or not show something that is in it.
    """
    run, _ = check_name(path.name)
    data = path.read_bytes()
    keys = walk(data)
    folders = {key.seek: key for key in keys if key.class_name in {"TFile", "TDirectory", "TDirectoryFile"}}
    shown: dict[str, Entry] = {}
    texts: list[tuple[str, str]] = []
    for key in keys:
        if key.class_name in {"TFile", "TDirectory", "TDirectoryFile", "TList"} or key.parent == 0:
            continue
        parts, above = [], key.parent
        while above:
            refuse(above not in folders, f"{key.name}: its directory at {above} is not there")
            parts.append(folders[above].name)
            above = folders[above].parent
        parts.reverse()
        where = "/".join(parts[1:])
        refuse(
            key.class_name not in {*HISTOGRAMS, "TObjString"}, f"{where}/{key.name}: a {key.class_name} is not shown"
        )
        refuse(len(parts) < 5 or parts[4] != "Run summary", f"{where}/{key.name}: not below <subsystem>/Run summary")
        refuse(parts[1] != "DQMData" or parts[2] != f"Run {run}", f"{where}: not recognised in a file of run {run}")
        refuse(parts[3] == "Reference", f"{where}: references are skipped")
        refuse(any(CHARACTERS.fullmatch(part) is None or "/" in part for part in parts[1:]), f"{where}: a character")
        folder = "/".join((parts[3], *parts[5:]))
        refuse("BadModuleList" in folder, f"{folder}: never shown")
        if key.class_name == "TObjString":
            texts.append((folder, key.name))
        else:
            refuse(CHARACTERS.fullmatch(key.name) is None or "/" in key.name, f"{where}/{key.name}: a character")
        full = f"{folder}/{key.name}"
        refuse(full in shown, f"{full}: twice")
        payload = inflate(data, key)
        check_object(key, payload)
        shown[full] = Entry(full, key.class_name, payload)
    for folder, text in texts:
        check_text(
            text,
            {
                p[len(folder) + 1 :]
                for p, e in shown.items()
                if p.startswith(folder + "/") and e.class_name != "TObjString"
            },
        )
    refuse(not shown, "no objects")
    if strict:
        for needed in ("<reportSummary>f=", "<iRun>i=", "<iEvent>i=", "<iLumiSection>i=", "reportSummaryMap"):
            refuse(not any(p.startswith(f"{strict}/EventInfo/{needed}") for p in shown), f"{strict} has no {needed}")
        refuse(
            not any(p.startswith(f"{strict}/EventInfo/reportSummaryContents/") for p in shown),
            "no reportSummaryContents",
        )
        refuse(f"{strict}/EventInfo/<iRun>i={run}</iRun>" not in shown, f"iRun is not {run}")
    return shown
