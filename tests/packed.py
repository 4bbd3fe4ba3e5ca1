"""Reads the arrays that a report carries, by the same steps as the page."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np


def unpack(packed: dict[str, Any]) -> np.ndarray:
    """The same steps as `dqmroot.unpack` in store.js."""
    raw = base64.b64decode(packed["data"])
    raw = raw if packed.get("plain") else zlib.decompress(raw)
    values = np.frombuffer(raw, "<" + packed["type"]).reshape(packed["shape"])
    if "low" not in packed:
        return values
    share = values.astype(float) / 65534
    return np.where(values == 65535, np.nan, packed["low"] + share**2 * (packed["high"] - packed["low"]))
