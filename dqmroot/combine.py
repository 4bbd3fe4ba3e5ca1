"""Several monitoring elements → one verdict per lumisection."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dqmroot.errors import EmptySelectionError, UsageError
from dqmroot.scientific import load_scipy

__all__ = ["TRAINED", "Combiner", "combine_flags"]

TRAINED = "trained"
"""The rule by which a `Combiner` gives the verdict."""


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
        raise UsageError(f"rule {rule!r}: expected any, all, at_least_N or {TRAINED}")
    return np.where(judged == 0, np.int8(-1), verdict.astype(np.int8))


@dataclass(frozen=True)
class Combiner:
    """A trained combination: the probability that an LS is bad, from the scores of several MEs.

    A logistic regression on how far each score lies above the good ones, in their own spread and on a logarithmic scale. Its
    probability is calibrated for the share of bad LS it was trained with, and can be moved to another share. An ME that is not
    judged counts as an average good one.

    Args:
        mes: Names of the MEs, in the order of the scores.
        middle: Median score of the good LS, per ME.
        spread: Their median absolute deviation, per ME.
        weights: Weight of each ME.
        offset: Logarithm of the odds with all scores at their middle.
        share: Share of bad LS in the training sample.
    """

    mes: tuple[str, ...]
    middle: tuple[float, ...]
    spread: tuple[float, ...]
    weights: tuple[float, ...]
    offset: float
    share: float

    @classmethod
    def train(cls, mes: Sequence[str], scores: ArrayLike, good: ArrayLike) -> Combiner:
        """Learn from labelled LS that the models were not trained on.

        Args:
            mes: Names.
            scores: ``(n_mes, n_ls)``, NaN is not judged.
            good: ``(n_ls,)``: 1 good, 0 bad, -1 no label (left out).

        Raises:
            EmptySelectionError: A class is missing.
            UsageError: Shapes that do not fit.
        """
        load_scipy()
        from sklearn.linear_model import LogisticRegression

        table, label = np.atleast_2d(np.asarray(scores, np.float64)), np.asarray(good)
        if table.shape != (len(mes), len(label)):
            raise UsageError(
                f"scores of shape {table.shape} for {len(mes)} monitoring elements and {len(label)} labels"
            )
        judged = np.isfinite(table).any(axis=0) & (label >= 0)
        is_good, is_bad = judged & (label == 1), judged & (label == 0)
        if not is_good.any() or not is_bad.any():
            raise EmptySelectionError(
                f"a combiner needs both classes: there are {is_good.sum()} good and {is_bad.sum()} bad LS"
            )
        middle, spread = [], []
        for row in table[:, is_good]:
            known = row[np.isfinite(row)]
            centre = float(np.median(known)) if len(known) else 0.0
            width = float(np.median(np.abs(known - centre))) if len(known) else 0.0
            middle.append(centre)
            spread.append(width or max(abs(centre), 1.0) * 1e-3)
        start = cls(
            tuple(mes), tuple(middle), tuple(spread), (0.0,) * len(mes), 0.0, float(is_bad.sum() / judged.sum())
        )
        found = LogisticRegression(C=10.0, max_iter=1000).fit(start._features(table)[judged], label[judged] == 0)
        # More badness of one ME must not excuse an LS.
        weights = tuple(max(0.0, float(w)) for w in found.coef_[0])
        return replace(start, weights=weights, offset=float(found.intercept_[0]))

    def _features(self, table: NDArray[np.float64]) -> NDArray[np.float64]:
        above = (table - np.array(self.middle)[:, None]) / np.array(self.spread)[:, None]
        return np.asarray(np.arcsinh(np.nan_to_num(above, nan=0.0, posinf=1e6, neginf=-1e6)).T)

    def probability(self, scores: ArrayLike, *, share: float | None = None) -> NDArray[np.float64]:
        """Return the probability that each LS is bad, ``(n_ls,)``; NaN where no ME was judged.

        Args:
            scores: ``(n_mes, n_ls)``, in the order of `mes`.
            share: Share of bad LS that is expected; that of the training sample where None.
        """
        table = np.atleast_2d(np.asarray(scores, np.float64))
        if len(table) != len(self.mes):
            raise UsageError(f"scores of {len(table)} monitoring elements for a combiner of {len(self.mes)}")
        odds = self._features(table) @ np.array(self.weights) + self.offset
        if share is not None:
            if not 0 < share < 1:
                raise UsageError(f"the share of bad LS must lie between 0 and 1, got {share}")
            odds = odds + np.log(share / (1 - share)) - np.log(self.share / (1 - self.share))
        out = 1 / (1 + np.exp(-np.clip(odds, -700, 700)))
        return np.where(np.isfinite(table).any(axis=0), out, np.nan)

    def flag(self, scores: ArrayLike, *, cut: float = 0.5) -> NDArray[np.int8]:
        """Return 1 where the probability is above ``cut``, 0 where not, -1 where no ME was judged."""
        probability = self.probability(scores)
        return np.where(np.isnan(probability), np.int8(-1), (probability > cut).astype(np.int8))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Combiner:
        """Read what `to_dict` wrote."""
        lists = {key: tuple(data[key]) for key in ("mes", "middle", "spread", "weights")}
        return cls(**lists, offset=float(data["offset"]), share=float(data["share"]))
