"""What every step of a preparation is, and how steps are named in text and JSON."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, ClassVar, Self, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from dqmroot.errors import UnknownNameError, UsageError
from dqmroot.series import Axis, MonitorElement

__all__ = ["STEPS", "Array", "BinStep", "Step", "flatten", "parse_steps", "step_from_dict"]

Array = NDArray[Any]

STEPS: dict[str, type[Step]] = {}


@dataclass(frozen=True, eq=False)
class Step:
    """One operation on a monitoring element, the same for every lumisection.

    Subclasses are frozen dataclasses whose fields are their parameters and, where ``learns``, the arrays that `fit`
    found. A field that is an array is ``None`` until it is learnt.
    """

    name: ClassVar[str] = ""
    learns: ClassVar[bool] = False
    variadic: ClassVar[bool] = False  # whether its one parameter may be given as several: rebin(2, 2)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.name:
            STEPS[cls.name] = cls

    def fit(self, me: MonitorElement) -> Self:
        """Return the step with what it learns from ``me`` (good lumisections)."""
        del me
        return self

    def apply(self, me: MonitorElement, *, errors: bool = True) -> MonitorElement:
        """Return the series after the step.

        Args:
            me: The series before.
            errors: Whether `MonitorElement.variances` of the result must be right; without, an array is saved.
        """
        raise NotImplementedError

    def axes_after(self, axes: Sequence[Axis]) -> tuple[Axis, ...]:
        """Return the axes after the step, x first, of a histogram with ``axes``."""
        return tuple(axes)

    def invert(self, bins: Array, axes: Sequence[Axis]) -> Array:
        """Show a quantity per bin after the step in the bins before it.

        Args:
            bins: ``(n, [z,] [y,] x)`` without flow bins: losses, flags, anything that belongs to a bin and is not a
                count.
            axes: The axes before the step.

        Returns:
            ``(n, [z,] [y,] x)`` of ``axes``: each bin shows what was found for the bin it went into, NaN where it went
            nowhere.
        """
        del axes
        return bins

    def restore(self, bins: Array, before: MonitorElement) -> Array:
        """Turn contents after the step, ``(n, …)`` without flow bins, into contents before it, as far as that can be.

        Args:
            bins: For instance the reconstruction of an autoencoder.
            before: The series before the step, the same lumisections.
        """
        return self.invert(bins, before.axes)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description that `step_from_dict` reads back; arrays as nested lists."""
        out: dict[str, Any] = {"step": self.name}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            out[field.name] = (
                {"dtype": value.dtype.str, "data": value.tolist()} if isinstance(value, np.ndarray) else value
            )
        return out

    def __str__(self) -> str:
        shown = [
            f"{field.name}={_text(value)}"
            for field in dataclasses.fields(self)
            if not isinstance(value := getattr(self, field.name), np.ndarray)
            and value != field.default
            and not (self.learns and field.default is None)
        ]
        return f"{self.name}({', '.join(shown)})" if shown else self.name


class BinStep(Step):
    """A step that changes the axes, whatever the contents."""

    def axes_after(self, axes: Sequence[Axis]) -> tuple[Axis, ...]:
        """Return the axes after the step, found by sending a series without lumisections through it."""
        none = np.empty(0, np.uint32)
        contents = np.empty((0, *(axis.nbins + 2 for axis in reversed(axes))), np.float32)
        me = MonitorElement("", f"TH{len(axes)}F", tuple(axes), none, none, np.empty(0), contents)
        return self.apply(me, errors=False).axes


def flatten(array: Array) -> Array:
    """``(n, [z,] [y,] x)`` as ``(n, bins)``, also where n is 0."""
    return array.reshape(len(array), int(np.prod(array.shape[1:])))


def step_from_dict(data: Mapping[str, Any]) -> Step:
    """Read what `Step.to_dict` wrote.

    Raises:
        UnknownNameError: There is no such step.
        UsageError: The parameters are not those of the step.
    """
    name = str(data.get("step", ""))
    if name not in STEPS:
        raise UnknownNameError("step", name, STEPS)
    given = {
        key: np.asarray(value["data"], np.dtype(value["dtype"]))
        if isinstance(value, dict) and "dtype" in value
        else value
        for key, value in data.items()
        if key != "step"
    }
    return _make(name, (), {key: _tuples(value) for key, value in given.items()})


def parse_steps(text: str) -> list[Step]:
    """Read steps as the command line has them: ``"include_flow rebin(2,2) normalise(integral)"``.

    Steps stand one after the other, with their parameters in parentheses as in Python; words need no quotes.

    Raises:
        UnknownNameError: There is no such step.
        UsageError: The text cannot be read, or the parameters are not those of the step.
    """
    steps = []
    rest = text.strip()
    while rest:
        word = re.match(r"\w+", rest)
        if word is None:
            raise UsageError(
                f"cannot read the steps {text!r} at {rest!r}; write them like: rebin(2,2) normalise(integral)"
            )
        name, rest = word.group(), rest[word.end() :].lstrip()
        end = _closing(rest)
        positional, keywords = _arguments(name, rest[:end] or "()")
        steps.append(_make(name, positional, keywords))
        rest = rest[end:].lstrip(" \t\n,;|")
    return steps


def _closing(text: str) -> int:
    """Place after the parenthesis that closes the one ``text`` begins with; 0 where it begins with none."""
    depth = 0
    for i, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return i + 1 if letter == ")" else 0
    return len(text)


def _arguments(name: str, text: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    try:
        call = ast.parse(f"f{text}", mode="eval").body
        assert isinstance(call, ast.Call)
        positional = tuple(_literal(node) for node in call.args)
        keywords = {keyword.arg: _literal(keyword.value) for keyword in call.keywords if keyword.arg}
    except (SyntaxError, ValueError, AssertionError) as error:
        raise UsageError(f"cannot read the parameters of {name}{text}; expected such as rebin(2, 2)") from error
    return positional, keywords


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_literal(node.value)}.{node.attr}"  # a file: hot.npy
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_literal(item) for item in node.elts)
    return ast.literal_eval(node)


def _make(name: str, positional: tuple[Any, ...], keywords: dict[str, Any]) -> Step:
    if name not in STEPS:
        raise UnknownNameError("step", name, STEPS)
    cls = STEPS[name]
    fields = [field.name for field in dataclasses.fields(cls)]
    for key in keywords:
        if key not in fields:
            raise UnknownNameError("parameter", key, fields, f"the step {name}")
    if cls.variadic and positional:
        positional = (positional[0] if len(positional) == 1 and isinstance(positional[0], tuple) else positional,)
    try:
        _check_kinds(cls, {**dict(zip(fields, positional, strict=False)), **keywords})
        return cls(*positional, **keywords)
    except TypeError as error:
        raise UsageError(
            f"{name} takes the parameters {', '.join(fields) or 'none'}; got {positional} {keywords}"
        ) from error


def _check_kinds(cls: type[Step], given: Mapping[str, Any]) -> None:
    """Refuse text where a number belongs and the like: what comes from a command line or a file has no types."""
    hints = get_type_hints(cls)
    for field, value in given.items():
        if not _fits(value, hints[field], file="file" in hints):
            raise UsageError(f"{cls.name}: {field} cannot be {value!r}; expected {_kind(hints[field])}")


def _fits(value: Any, hint: Any, *, file: bool = False) -> bool:
    args = get_args(hint)
    if get_origin(hint) is UnionType:
        return any(_fits(value, arg, file=file) for arg in args)
    if get_origin(hint) is np.ndarray:
        return isinstance(value, np.ndarray | tuple) or (file and isinstance(value, str))
    if get_origin(hint) is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = args[:1] * len(value) if args[-1] is Ellipsis else args
        return len(value) == len(kinds) and all(map(_fits, value, kinds))
    if hint is float:
        return isinstance(value, float | int | np.number) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int | np.integer) and not isinstance(value, bool)
    return hint is Any or isinstance(value, hint)


def _kind(hint: Any) -> str:
    if get_origin(hint) is UnionType:
        return " or ".join(_kind(arg) for arg in get_args(hint) if arg is not NoneType)
    if get_origin(hint) is np.ndarray:
        return "an array"
    if get_origin(hint) is tuple:
        first, *rest = get_args(hint)
        return f"{'several' if Ellipsis in rest else 'two'} {_kind(first).removeprefix('a ')}s"
    return {int: "a whole number", float: "a number", str: "a name", bool: "true or false"}.get(hint, "a value")


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def _text(value: Any) -> str:
    if isinstance(value, str) and value.isidentifier():
        return value
    return repr(value)
