"""Baskets: the compressed pieces a ROOT tree is stored in.

Layout: a TKey, the basket's own header at the end of the key, then the payload, compressed in frames of up to 16 MB. Inflated,
the payload holds the entries and then the table of their offsets (docs: ROOT's ``TBasket::Streamer``).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import InputError
from dqmroot.io.storage.inflate import Inflater
from dqmroot.io.storage.source import Source

__all__ = ["KEY", "MAX_BASKET", "Baskets", "Payload", "unpack"]

MAX_BASKET = 1 << 28
"""Bytes of an inflated basket beyond which a file is not believed; ROOT's own limit for automatic sizes is 25.6 MB."""

KEY = struct.Struct(">ihiIhh")
"""How a TKey begins: bytes of all, version, bytes inflated, time, bytes of the key, cycle."""

_NUMBERS = struct.Struct(">iiB")


@dataclass(frozen=True)
class Payload:
    """One inflated basket.

    Args:
        data: ``(n,)`` uint8: entries, then the table of their offsets.
        border: Where the entries end.
        key_length: What the offsets in the table are too large by.
        n_entries: Entries in the basket.
    """

    data: NDArray[np.uint8]
    border: int
    key_length: int
    n_entries: int


@dataclass(frozen=True)
class Baskets:
    """Where the baskets of one branch lie.

    Args:
        path: The file.
        tree: The tree, for messages.
        branch: The branch.
        seek: ``(n,)`` int64, place in the file.
        nbytes: ``(n,)`` int64, bytes there.
        first: ``(n + m + 1,)`` int64, the entry each basket starts with, and the number of entries.
        embedded: The last ``m`` baskets, which were never written out and lie inside the tree's own record.
    """

    path: str
    tree: str
    branch: str
    seek: NDArray[np.int64]
    nbytes: NDArray[np.int64]
    first: NDArray[np.int64]
    embedded: tuple[Payload, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.first) - 1

    @property
    def n_entries(self) -> int:
        """Entries of the branch."""
        return int(self.first[-1])

    def load(self, source: Source, numbers: Sequence[int]) -> list[bytes | None]:
        """Read the bytes of some baskets as they lie in the file; ``None`` for those that are embedded."""
        n = len(self.seek)
        ranges = [(int(self.seek[i]), int(self.seek[i] + self.nbytes[i])) for i in numbers if i < n]
        raw = iter(source.read_many(ranges))
        return [next(raw) if i < n else None for i in numbers]

    def payload(self, number: int, raw: bytes | None, inflater: Inflater) -> Payload:
        """Inflate one basket, from the bytes that `load` gave; it holds until the next one that ``inflater`` inflates.

        Raises:
            InputError: The basket is damaged.
        """
        if raw is None:
            made = self.embedded[number - len(self.seek)]
        else:
            try:
                _check_place(raw, int(self.seek[number]), self.branch)
                made = unpack(raw, inflater)
            except ValueError as error:
                raise InputError(
                    self.path, f"basket {number} is damaged: {error}", self.tree, int(self.first[number])
                ) from error
        if made.n_entries != self.first[number + 1] - self.first[number]:
            what = f"basket {number} holds {made.n_entries} entries, not the {self.first[number + 1] - self.first[number]} told"
            raise InputError(self.path, what, self.tree, int(self.first[number]))
        return made


def _check_place(raw: bytes, seek: int, branch: str) -> None:
    """Make sure that a basket says of itself that it lies at ``seek`` and belongs to ``branch``: none is taken for another."""
    width = 8 if int.from_bytes(raw[4:6], "big") > 1000 else 4
    told = int.from_bytes(raw[18 : 18 + width], "big")
    name = branch.encode()
    if told != seek or raw[18 + 2 * width :][: 9 + len(name)] != b"\x07TBasket" + bytes([len(name)]) + name:
        raise ValueError(f"it is not the basket of {branch} at {seek}")


def unpack(raw: bytes, inflater: Inflater) -> Payload:
    """Read the header of a basket and inflate it; the payload holds until the next use of ``inflater``.

    Raises:
        ValueError: It makes no sense.
    """
    if len(raw) < KEY.size:
        raise ValueError(f"only {len(raw)} bytes")
    total, _, length, _, key_length, _ = KEY.unpack_from(raw)
    if total != len(raw) or not 40 <= key_length <= total:
        raise ValueError(f"its key says {total} bytes, {key_length} of them the key; there are {len(raw)}")
    if not 0 <= length <= MAX_BASKET:
        raise ValueError(f"its key says {length} bytes inflated")
    n_entries, last, _ = _NUMBERS.unpack_from(raw, key_length - 9)
    border = last - key_length
    if not 0 <= border <= length or n_entries < 0:
        raise ValueError(f"its key says {n_entries} entries that end at byte {last} of {length}")
    body = np.frombuffer(raw, np.uint8)[key_length:]
    data = body if len(body) == length else inflater(body, length)
    # The kernels are compiled once, for bytes that are only read.
    data = data.view()
    data.flags.writeable = False
    return Payload(data, border, key_length, n_entries)
