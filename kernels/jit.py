"""How the kernels are compiled: lazily, without the GIL, and kept on disk between processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

__all__ = ["kernel"]

F = TypeVar("F", bound=Callable[..., Any])

# Sums may be re-ordered, so that they vectorise; NaN and infinity keep their meaning.
_FAST = {"reassoc", "nsz", "contract"}


def kernel(function: F) -> F:
    """Compile ``function`` on its first call, without the GIL, and cache the machine code."""
    compiled: F = numba.njit(nogil=True, cache=True, fastmath=_FAST)(function)
    return compiled
