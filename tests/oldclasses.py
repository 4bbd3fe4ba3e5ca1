"""DQM GUI files as old ROOT wrote them: today's bytes, less the members that the classes did not have then.

The file describes its classes by the StreamerInfo of their old versions, which real ROOT follows when it reads it.
"""

from __future__ import annotations

import functools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import rootfiles

from dqmroot.io.nanodqmio.layout import CLASSES
from dqmroot.io.rootfile.rootwrite import create_file

_CODE = """
#include "TBufferFile.h"
#include "TList.h"
namespace oldclasses {
  std::vector<unsigned char> bytes(TObject& object, int before) {
    TBufferFile buffer(TBuffer::kWrite);
    buffer.SetBufferOffset(before);
    object.Streamer(buffer);
    return std::vector<unsigned char>(buffer.Buffer() + before, buffer.Buffer() + buffer.Length());
  }
  TObject* copy(TObject& object) {
    TBufferFile buffer(TBuffer::kWrite);
    buffer.WriteObject(&object);
    buffer.SetReadMode();
    buffer.Reset();
    return (TObject*)buffer.ReadObjectAny(TObject::Class());
  }
}
"""

# Class → version, members it lacked, and bytes that these take at the end of its block (where no array is longer than empty).
OLD: dict[str, dict[str, tuple[int, tuple[str, ...], int]]] = {
    "2009": {
        "TH1": (5, ("fBinStatErrOpt", "fStatOverflows"), 8),
        "TAxis": (9, ("fModLabs",), 4),
        "TProfile": (5, ("fBinSumw2",), 4),
    },
    "1999": {
        "TH1": (3, ("fBufferSize", "fBuffer", "fBinStatErrOpt", "fStatOverflows"), 13),
        "TAxis": (6, ("fLabels", "fModLabs"), 8),
        "TProfile": (4, ("fTsumwy", "fTsumwy2", "fBinSumw2"), 20),
    },
}


@functools.cache
def _helpers() -> Any:
    ROOT = rootfiles.root()
    ROOT.gInterpreter.Declare(_CODE)
    return ROOT.oldclasses


def write_old(path: Path, age: str, histograms: list[Any]) -> None:
    """Write histograms into the run summary of run 1, as ROOT of some age would have."""
    with path.open("wb") as stream:
        out = create_file(stream, path.name)
        folder = out.folder("DQMData", "Run 1", "Old", "Run summary")
        for h in histograms:
            out._put(folder, h.ClassName().encode(), h.GetName().encode(), h.GetTitle().encode(), _aged(h, age))
        out._streamers = _streamers(age, histograms)
        out.close()


def _block(data: bytes) -> tuple[int, bytes, bytes]:
    """Version of the byte-counted block that ``data`` begins with, what is in it, and what follows."""
    count, version = struct.unpack_from(">IH", data)
    end = 4 + (count & 0x3FFFFFFF)
    return version, data[6:end], data[end:]


def _blocked(version: int, body: bytes) -> bytes:
    return struct.pack(">IH", (len(body) + 2) | 0x40000000, version) + body


def _aged(h: Any, age: str) -> bytes:
    storage = CLASSES[str(h.ClassName())]

    def inner(data: bytes, depth: int) -> bytes:
        version, body, after = _block(data)
        if depth:
            body = inner(body, depth - 1)
            if depth > storage.depth and storage.profile:
                version, _, n = OLD[age]["TProfile"]
                body = body[:-n]
        else:
            version, _, n = OLD[age]["TH1"]
            body = _th1(body, age)[:-n]
        return _blocked(version, body) + after

    return inner(bytes(np.array(_helpers().bytes(h, 0), np.uint8)), storage.depth + 1)


def _th1(body: bytes, age: str) -> bytes:
    out = b""
    for _ in range(4):  # TNamed, TAttLine, TAttFill, TAttMarker
        version, one, body = _block(body)
        out += _blocked(version, one)
    out, body = out + body[:4], body[4:]
    for _ in range(3):
        _, one, body = _block(body)
        version, _, n = OLD[age]["TAxis"]
        out += _blocked(version, one[:-n])
    return out + body


def _streamers(age: str, histograms: list[Any]) -> bytes:
    ROOT = rootfiles.root()
    names = {"TNamed", "TObject", "TAttLine", "TAttFill", "TAttMarker", "TAttAxis", "TAxis", "TH1", "TH2", "TH3"}
    for h in histograms:
        names |= {str(h.ClassName()), *(str(base.GetName()) for base in h.IsA().GetListOfBases())}
    found = ROOT.TList()
    for name in sorted(names):
        info = _helpers().copy(ROOT.TClass.GetClass(name).GetStreamerInfo())
        if name in OLD[age]:
            version, missing, _ = OLD[age][name]
            info.SetClassVersion(version)
            elements = info.GetElements()
            for element in [e for e in elements if e.GetName() in missing]:
                elements.Remove(element)
            elements.Compress()
            info.SetCheckSum(version)
        found.Add(info)
    return bytes(np.array(_helpers().bytes(found, 64), np.uint8))
