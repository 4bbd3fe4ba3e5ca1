"""Eight bins at once: the innermost loops, written in the processor's vectors.

A compiler that makes vectors of a plain loop adds a second and a third loop for the bins that are left, and looks for each
line anew whether arrays overlap. Lines of histograms are short: that costs more than the bins. Here what is left is one more
vector, of which only some lanes count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["add_line", "fold_line", "fold_lines", "put_line", "scale_line", "sum_line", "sum_lines", "top_line"]

_LANES = 8
_DOUBLE, _INT = ir.DoubleType(), ir.IntType(32)


class _Line:
    """Values of an array from some index on, as vectors of float64."""

    def __init__(self, context: Any, builder: Any, kind: Any, array: Any, at: Any) -> None:
        self._builder, self._kind, self._float = builder, kind.dtype, isinstance(kind.dtype, types.Float)
        self._value = context.get_data_type(kind.dtype)
        self._size = context.get_abi_sizeof(self._value)
        self._begin = builder.gep(context.make_array(kind)(context, builder, array).data, [at])

    def _where(self, x: Any, lanes: int) -> tuple[Any, Any]:
        vector = ir.VectorType(self._value, lanes)
        return self._builder.bitcast(self._builder.gep(self._begin, [x]), vector.as_pointer()), vector

    def _masked(self, name: str, lanes: int, result: Any, arguments: list[Any]) -> Any:
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        letter = "f" if self._float else "i"
        name = f"llvm.masked.{name}.v{lanes}{letter}{8 * self._size}.p0"
        return self._builder.call(cgutils.get_or_insert_function(self._builder.module, kind, name), arguments)

    def raw(self, x: Any, left: Any, lanes: int = _LANES) -> Any:
        """Values ``x`` to ``x + lanes`` as they are, those behind the first ``left`` as 0."""
        builder = self._builder
        where, vector = self._where(x, lanes)
        if left is None:
            return builder.load(where, align=self._size)
        mask = _first(builder, left, lanes)
        return self._masked("load", lanes, vector, [where, _INT(self._size), mask, vector(None)])

    def take(self, x: Any, left: Any, lanes: int = _LANES) -> Any:
        """The same as float64."""
        return self.widen(self.raw(x, left, lanes), ir.VectorType(_DOUBLE, lanes))

    def widen(self, value: Any, wide: Any) -> Any:
        """A value, or a vector, as float64."""
        if self._float:
            return value if self._value == _DOUBLE else self._builder.fpext(value, wide)
        return (self._builder.sitofp if self._kind.signed else self._builder.uitofp)(value, wide)

    def whole(self, lanes: int = _LANES) -> Any:
        """The type of a vector of whole numbers of the same size."""
        return ir.VectorType(ir.IntType(8 * self._size), lanes)

    def signed(self) -> bool:
        """Whether a value below 0 has its first bit set."""
        return self._float or self._kind.signed

    def number(self, bits: Any) -> Any:
        """The value, as float64, that has the bits of a whole number."""
        return self.widen(self._builder.bitcast(bits, self._value), _DOUBLE)

    def put(self, x: Any, left: Any, value: Any) -> None:
        """Store values ``x`` to ``x + 8``, only the first ``left`` of them."""
        builder = self._builder
        where, vector = self._where(x, _LANES)
        if not self._float:
            value = (builder.fptosi if self._kind.signed else builder.fptoui)(value, vector)
        elif self._value != _DOUBLE:
            value = builder.fptrunc(value, vector)
        if left is None:
            builder.store(value, where, align=self._size)
        else:
            mask = _first(builder, left, _LANES)
            self._masked("store", _LANES, ir.VoidType(), [value, where, _INT(self._size), mask])


def _same(builder: Any, value: Any, lanes: int) -> Any:
    """A vector of one value."""
    vector = ir.VectorType(value.type, lanes)
    one = builder.insert_element(vector(ir.Undefined), value, _INT(0))
    return builder.shuffle_vector(one, vector(ir.Undefined), ir.VectorType(_INT, lanes)([0] * lanes))


def _first(builder: Any, left: Any, lanes: int) -> Any:
    """The mask of the first ``left`` lanes."""
    count = ir.VectorType(_INT, lanes)(list(range(lanes)))
    return builder.icmp_signed("<", count, _same(builder, builder.trunc(left, _INT), lanes))


def _each(builder: Any, n: Any, do: Callable[[Any, Any], None], lanes: int = _LANES) -> None:
    """Do for each ``lanes`` of ``n`` bins, with ``None``, and for those that are left, with their number."""
    full = builder.and_(n, cgutils.intp_t(-lanes))
    with cgutils.for_range_slice(builder, cgutils.intp_t(0), full, cgutils.intp_t(lanes), cgutils.intp_t) as (x, _):
        do(x, None)
    with builder.if_then(builder.icmp_signed("<", full, n)):
        do(full, builder.sub(n, full))


def _lines(context: Any, builder: Any, signature: Any, arguments: Any, *indices: int) -> list[_Line]:
    """The arrays of some arguments, each from the index on that stands behind it."""
    return [_Line(context, builder, signature.args[i], arguments[i], arguments[i + 1]) for i in indices]


@intrinsic
def put_line(_, to, at, flat, begin, n):  # type: ignore[no-untyped-def]  # noqa: ARG001 - Numba looks at the names
    """``to[at:at+n] = flat[begin:begin+n]``."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        out, line = _lines(context, builder, signature, arguments, 0, 2)
        _each(builder, arguments[4], lambda x, left: out.put(x, left, line.take(x, left)))
        return context.get_dummy_value()

    return types.void(to, types.intp, flat, types.intp, types.intp), code


@intrinsic
def add_line(_, to, at, flat, begin, n):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """``to[at:at+n] += flat[begin:begin+n]``."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        out, line = _lines(context, builder, signature, arguments, 0, 2)
        sums = lambda x, left: builder.fadd(out.take(x, left), line.take(x, left))  # noqa: E731
        _each(builder, arguments[4], lambda x, left: out.put(x, left, sums(x, left)))
        return context.get_dummy_value()

    return types.void(to, types.intp, flat, types.intp, types.intp), code


@intrinsic
def sum_lines(_, to, at, flat, begin, more, other, n):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """``to[at:at+n] = flat[begin:begin+n] + more[other:other+n]``."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        out, line, second = _lines(context, builder, signature, arguments, 0, 2, 4)
        sums = lambda x, left: builder.fadd(line.take(x, left), second.take(x, left))  # noqa: E731
        _each(builder, arguments[6], lambda x, left: out.put(x, left, sums(x, left)))
        return context.get_dummy_value()

    return types.void(to, types.intp, flat, types.intp, more, types.intp, types.intp), code


def _fold(builder: Any, lines: list[_Line], x: Any, left: Any) -> Any:
    """Sums of eight neighbouring pairs of all ``lines``."""
    twice = None if left is None else builder.shl(left, cgutils.intp_t(1))
    parts = [line.take(builder.shl(x, cgutils.intp_t(1)), twice, 2 * _LANES) for line in lines]
    both = parts[0] if len(parts) == 1 else builder.fadd(*parts)
    pick = [ir.VectorType(_INT, _LANES)(list(range(first, 2 * _LANES, 2))) for first in (0, 1)]
    return builder.fadd(*(builder.shuffle_vector(both, both, which) for which in pick))


@intrinsic
def fold_line(_, to, at, flat, begin, n):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """``to[at+j] = flat[begin+2j] + flat[begin+2j+1]`` for j below ``n``."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        out, line = _lines(context, builder, signature, arguments, 0, 2)
        _each(builder, arguments[4], lambda x, left: out.put(x, left, _fold(builder, [line], x, left)))
        return context.get_dummy_value()

    return types.void(to, types.intp, flat, types.intp, types.intp), code


@intrinsic
def fold_lines(_, to, at, flat, begin, more, other, n):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Like `fold_line`, of the sum of two lines, ``flat`` and ``more``."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        out, *both = _lines(context, builder, signature, arguments, 0, 2, 4)
        _each(builder, arguments[6], lambda x, left: out.put(x, left, _fold(builder, both, x, left)))
        return context.get_dummy_value()

    return types.void(to, types.intp, flat, types.intp, more, types.intp, types.intp), code


@intrinsic
def scale_line(_, to, at, flat, begin, n, by):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """``to[at:at+n] = flat[begin:begin+n] * by``."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        out, line = _lines(context, builder, signature, arguments, 0, 2)
        factor = _same(builder, arguments[5], _LANES)
        _each(builder, arguments[4], lambda x, left: out.put(x, left, builder.fmul(line.take(x, left), factor)))
        return context.get_dummy_value()

    return types.void(to, types.intp, flat, types.intp, types.intp, types.float64), code


def _reduce(builder: Any, name: str, vector: Any) -> Any:
    """One number of a vector of whole numbers."""
    element = vector.type.element
    kind = ir.FunctionType(element, [vector.type])
    name = f"llvm.vector.reduce.{name}.v{vector.type.count}i{element.width}"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [vector])


def _total(builder: Any, vector: Any) -> Any:
    """The sum of a vector, halves upon halves: not in an order that the compiler chooses for each loop."""
    lanes = vector.type.count
    while lanes > 1:
        lanes //= 2
        halves = [ir.VectorType(_INT, lanes)(list(range(first, first + lanes))) for first in (0, lanes)]
        vector = builder.fadd(*(builder.shuffle_vector(vector, vector, half) for half in halves))
    return builder.extract_element(vector, _INT(0))


def _sign(builder: Any, line: _Line, bits: Any) -> Any:
    """Whether the first bit of a number is set."""
    if not line.signed():
        return ir.IntType(1)(0)
    number = _reduce(builder, "or", builder.load(bits))
    return builder.icmp_signed("<", number, number.type(0))


@intrinsic
def sum_line(_, flat, begin, n):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Return the sum of ``flat[begin:begin+n]``, and whether one of them may be negative: -0 and NaN may have a sign, too."""
    result = types.Tuple((types.float64, types.boolean))

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        (line,) = _lines(context, builder, signature, arguments, 0)
        # Twice as many, as one sum has to wait for the one before.
        lanes = 2 * _LANES
        wide, whole = ir.VectorType(_DOUBLE, lanes), line.whole(lanes)
        total, bits = (cgutils.alloca_once_value(builder, kind(None)) for kind in (wide, whole))

        def do(x: Any, left: Any) -> None:
            values = line.raw(x, left, lanes)
            builder.store(builder.fadd(builder.load(total), line.widen(values, wide)), total)
            builder.store(builder.or_(builder.load(bits), builder.bitcast(values, whole)), bits)

        _each(builder, arguments[2], do, lanes)
        return context.make_tuple(builder, result, [_total(builder, builder.load(total)), _sign(builder, line, bits)])

    return result(flat, types.intp, types.intp), code


@intrinsic
def top_line(_, flat, begin, n):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Return the largest of ``flat[begin:begin+n]``, and the second of `sum_line`.

    It is at least 0, and NaN where there is a NaN without a sign.
    """
    result = types.Tuple((types.float64, types.boolean))

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        (line,) = _lines(context, builder, signature, arguments, 0)
        top, bits = (cgutils.alloca_once_value(builder, line.whole()(None)) for _ in range(2))
        larger = builder.icmp_signed if line.signed() else builder.icmp_unsigned

        def do(x: Any, left: Any) -> None:
            # What is not negative has the order of whole numbers, NaN last.
            values, best = builder.bitcast(line.raw(x, left), line.whole()), builder.load(top)
            builder.store(builder.select(larger(">", values, best), values, best), top)
            builder.store(builder.or_(builder.load(bits), values), bits)

        _each(builder, arguments[2], do)
        best = _reduce(builder, "smax" if line.signed() else "umax", builder.load(top))
        return context.make_tuple(builder, result, [line.number(best), _sign(builder, line, bits)])

    return result(flat, types.intp, types.intp), code
