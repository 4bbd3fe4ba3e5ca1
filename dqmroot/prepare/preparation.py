"""An ordered list of steps, saved beside the model and applied identically at scoring time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import InputError, NotFittedError, UsageError
from dqmroot.files import whole_file, write_text
from dqmroot.prepare.fused import fuse
from dqmroot.prepare.step import Array, Step, parse_steps, step_from_dict
from dqmroot.series import Axis, MonitorElement

__all__ = ["Preparation"]


class Preparation:
    """Steps applied one after the other.

    Args:
        steps: The steps, or text such as ``"include_flow rebin(2,2) normalise(integral)"``.

    Attributes:
        steps: The steps, with what they have learnt.
        axes: The axes of the series it was fitted on, x first; ``None`` before.

    Examples:
        >>> dq.Preparation("include_flow normalise(integral)").apply(good).bins
        (102,)
    """

    def __init__(self, steps: Iterable[Step] | str = ()) -> None:
        self.steps: tuple[Step, ...] = tuple(parse_steps(steps) if isinstance(steps, str) else steps)
        for step in self.steps:
            if not isinstance(step, Step):
                raise UsageError(f"a preparation is made of steps such as rebin(2, 2); got {step!r}")
        self.axes: tuple[Axis, ...] | None = None

    @classmethod
    def parse(cls, text: str) -> Preparation:
        """Read ``"include_flow rebin(2,2) normalise(integral)"``, the form of the command line."""
        return cls(text)

    def __str__(self) -> str:
        return " ".join(map(str, self.steps))

    def __repr__(self) -> str:
        return f"<Preparation {self}>"

    def fit(self, me: MonitorElement) -> Preparation:
        """Learn from good lumisections what the steps need, and remember the bins; returns itself."""
        axes, now, learnt = me.axes, me, []
        for i, step in enumerate(self.steps):
            fitted = step.fit(now)
            learnt.append(fitted)
            if any(later.learns for later in self.steps[i + 1 :]):
                now = fitted.apply(now, errors=False)
        self.steps, self.axes = tuple(learnt), axes
        return self

    def apply(self, me: MonitorElement) -> MonitorElement:
        """Return the prepared series: axes, errors and the sums of profiles follow.

        Raises:
            NotFittedError: A step has not learnt yet.
            ModelMismatchError: Fitted on other bins.
            UsageError: A step does not fit the series.
        """
        return self._apply(me, errors=True)

    def array(self, me: MonitorElement) -> NDArray[np.float32]:
        """Return the prepared values without flow bins; profiles give their mean.

        Returns:
            ``(n_ls, [z,] [y,] x)`` float32, contiguous.
        """
        self._check(me)
        plan = fuse(self.steps, me)
        if plan is not None:
            return plan.array(me)
        lean = me.replace(sumw2=None, bin_sumw2=None)
        return np.ascontiguousarray(self._apply(lean, errors=False).values(), np.float32)

    def parts(self, me: MonitorElement) -> Iterator[NDArray[np.float32]]:
        """Give what `array` returns, the rows in order, some at a time; what was given is overwritten by what comes next."""
        self._check(me)
        plan = fuse(self.steps, me)
        if plan is None:
            yield self.array(me)
        else:
            yield from plan.parts(me)

    def _apply(self, me: MonitorElement, *, errors: bool) -> MonitorElement:
        self._check(me)
        for step in self.steps:
            me = step.apply(me, errors=errors)
        return me

    def invert(self, bins: Array, axes: Sequence[Axis] | None = None, fill: float = np.nan) -> Array:
        """Show a quantity per prepared bin (a loss map) in the bins of the monitoring element.

        Args:
            bins: ``(n, [z,] [y,] x)`` in prepared bins.
            axes: Axes of the element; by default those it was fitted on.
            fill: What bins show that the preparation leaves out.

        Returns:
            ``(n, [z,] [y,] x)`` in the element's own bins, without flow bins.
        """
        befores = self._axes_before(axes)
        out = np.asarray(bins)
        for step, before in zip(reversed(self.steps), reversed(befores), strict=True):
            out = step.invert(out, before)
        return out if np.isnan(fill) or out.dtype.kind != "f" else np.where(np.isnan(out), out.dtype.type(fill), out)

    def restore(self, bins: Array, me: MonitorElement) -> Array:
        """Turn prepared contents (a reconstruction) into contents of the element, as far as that can be.

        Args:
            bins: ``(n_ls, [z,] [y,] x)`` in prepared bins.
            me: The lumisections that ``bins`` belong to, not prepared.
        """
        self._check(me)
        befores = [me]
        for step in self.steps[:-1]:
            befores.append(step.apply(befores[-1], errors=False))
        out = np.asarray(bins)
        # Without steps there is nothing to go back to.
        for step, before in zip(reversed(self.steps), reversed(befores), strict=False):
            out = step.restore(out, before)
        return out

    def prepared_axes(self, axes: Sequence[Axis] | None = None) -> tuple[Axis, ...]:
        """Return the axes after all steps, x first; by default from those it was fitted on."""
        return self._walk(axes)[-1]

    def _axes_before(self, axes: Sequence[Axis] | None) -> list[tuple[Axis, ...]]:
        return self._walk(axes)[:-1]

    def _walk(self, axes: Sequence[Axis] | None) -> list[tuple[Axis, ...]]:
        """Axes before each step and after the last."""
        now = self.axes if axes is None else tuple(axes)
        if now is None:
            raise NotFittedError("the preparation does not know the bins yet: fit it, or give the axes")
        out = [now]
        for step in self.steps:
            now = step.axes_after(now)
            out.append(now)
        return out

    def _check(self, me: MonitorElement) -> None:
        if self.axes is not None:
            me.check_same_bins(self.axes, "the preparation")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description, learnt arrays included, that `from_dict` reads back."""
        return {
            "steps": [step.to_dict() for step in self.steps],
            "axes": None if self.axes is None else [axis.to_dict() for axis in self.axes],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Preparation:
        """Read what `to_dict` wrote."""
        out = cls(step_from_dict(step) for step in data["steps"])
        axes = data.get("axes")
        out.axes = None if axes is None else tuple(Axis.from_dict(axis) for axis in axes)
        return out

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write ``prepare.json`` and, where something was learnt, ``prepare.npz`` into ``folder``."""
        data = self.to_dict()
        arrays: dict[str, Array] = {}
        for i, step in enumerate(data["steps"]):
            for key, value in step.items():
                if isinstance(value, dict) and "dtype" in value:
                    arrays[f"{i}.{key}"] = getattr(self.steps[i], key)
                    step[key] = {"npz": f"{i}.{key}"}
        if arrays:
            with whole_file(Path(folder) / "prepare.npz") as path, path.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
        write_text(Path(folder) / "prepare.json", json.dumps({"schema_version": 1, **data}, indent=1) + "\n")

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Preparation:
        """Read what `save` wrote.

        Raises:
            InputError: A file is missing or cannot be read.
        """
        path = Path(folder) / "prepare.json"
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            named = [(step, key) for step in data["steps"] for key, value in step.items() if isinstance(value, dict)]
            if named:
                path = Path(folder) / "prepare.npz"
                with np.load(path, allow_pickle=False) as arrays:
                    for step, key in named:
                        array = arrays[step[key]["npz"]]
                        step[key] = {"dtype": array.dtype.str, "data": array}
            return cls.from_dict(data)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(path, f"not a saved preparation: {error}") from error
