"""Several monitoring elements → one verdict per lumisection."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqmroot.errors import UsageError

__all__ = ["combine_flags"]


def combine_flags(flags: ArrayLike, rule: str = "any") -> NDArray[np.int8]:
    """Combine flags of several MEs.

    Args:
        flags: ``(n_mes, n_ls)``: 1 bad, 0 good, -1 not judged.
        rule: ``"any"``: one bad ME is enough; ``"at_least_N"``; ``"all"``: each judged ME must be bad.

    Returns:
        ``(n_ls,)`` int8; -1 where no ME was judged.

    Raises:
        UsageError: Not such a rule, or N larger than the number of MEs.
    """
    table = np.atleast_2d(np.asarray(flags))
    judged = (table >= 0).sum(axis=0)
    bad = (table > 0).sum(axis=0)
    if rule == "any":
        verdict = bad >= 1
    elif rule == "all":
        verdict = (bad == judged) & (bad > 0)
    elif (match := re.fullmatch(r"at_least_([1-9]\d*)", rule)) is not None:
        need = int(match[1])
        if need > len(table):
            raise UsageError(f"rule {rule}: there are only {len(table)} monitoring elements")
        verdict = bad >= need
    else:
        raise UsageError(f"rule {rule!r}: expected any, all or at_least_N")
    return np.where(judged == 0, np.int8(-1), verdict.astype(np.int8))
