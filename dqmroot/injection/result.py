"""What an injection gives: the faulty series, where it is faulty, what was done, and the series as it was."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import UsageError
from dqmroot.series import MonitorElement

__all__ = ["Injected"]


@dataclass(frozen=True, eq=False, repr=False)
class Injected(MonitorElement):
    """A series with faults in it; it can be used wherever a `MonitorElement` can.

    Indexing keeps truth and twin; what changes the bins or joins series gives a plain `MonitorElement`.

    Args:
        truth: ``(n_ls, [nz,] [ny,] nx)`` bool without flow bins: the bins that the fault was put into.
        clean: The same lumisections without the fault.
        record: Fault, parameters and seed, ready for JSON; injecting again with them gives the same.

    Examples:
        >>> bad = dq.inject(occupancy, "dead", size=(5, 5), seed=1)
        >>> bad.truth.shape == bad.values().shape
        True
    """

    truth: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    clean: MonitorElement | None = None
    record: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "record", MappingProxyType(dict(self.record)))
        if self.truth.shape != (len(self), *self.bins):
            raise UsageError(f"{self.name}: truth has shape {self.truth.shape}, the bins are {(len(self), *self.bins)}")

    def __getitem__(self, index: Any) -> Any:
        """``bad[3]`` is the histogram of one LS; ``bad[mask]`` is a series again, with its truth and twin."""
        if isinstance(index, int | np.integer) or self.clean is None:
            return super().__getitem__(index)
        chosen = index if isinstance(index, slice) else np.asarray(index)
        if not isinstance(chosen, slice) and chosen.size == 0:
            chosen = chosen.astype(np.intp)
        plain = self.series[chosen]
        return _with(plain, self.truth[chosen], self.clean[chosen], self.record)

    def replace(self, **changes: Any) -> MonitorElement:
        """Return a plain series with some fields changed."""
        return dataclasses.replace(self.series, **changes)

    @property
    def series(self) -> MonitorElement:
        """The faulty series without truth and twin."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(MonitorElement)}
        return MonitorElement(**fields)

    @property
    def faulty(self) -> NDArray[np.bool_]:
        """``(n_ls,)`` bool: the lumisections with a fault."""
        return np.asarray(self.truth.any(axis=tuple(range(1, self.truth.ndim))))


def _with(
    series: MonitorElement, truth: NDArray[np.bool_], clean: MonitorElement, record: Mapping[str, Any]
) -> Injected:
    fields = {f.name: getattr(series, f.name) for f in dataclasses.fields(MonitorElement)}
    return Injected(**fields, truth=truth, clean=clean, record=record)
