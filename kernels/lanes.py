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

__all__ = ["add_line", "fold_line", "fold_lines", "put_line", "scale_line", "sum_line", "sum_lines"]

_LANES = 8
_DOUBLE, _INT = ir.DoubleType(), ir.IntType(32)
_WIDE = ir.VectorType(_DOUBLE, _LANES)


class _Line:
    """Values of an array from some index on, as vectors of float64."""

    def __init__(self, context: Any, builder: Any, kind: Any, array: Any, at: Any) -> None:
        self._builder, self._float, self._signed = builder, isinstance(kind.dtype, types.Float), kind.dtype
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

    def take(self, x: Any, left: Any, lanes: int = _LANES) -> Any:
        """Values ``x`` to ``x + lanes``, those behind the first ``left`` as 0."""
        builder = self._builder
        where, vector = self._where(x, lanes)
        if left is None:
            value = builder.load(where, align=self._size)
        else:
            mask = _first(builder, left, lanes)
            value = self._masked("load", lanes, vector, [where, _INT(self._size), mask, vector(None)])
        wide = ir.VectorType(_DOUBLE, lanes)
        if self._float:
            return value if self._value == _DOUBLE else builder.fpext(value, wide)
        return (builder.sitofp if self._signed.signed else builder.uitofp)(value, wide)

    def put(self, x: Any, left: Any, value: Any) -> None:
        """Store values ``x`` to ``x + 8``, only the first ``left`` of them."""
        builder = self._builder
        where, vector = self._where(x, _LANES)
        if not self._float:
            value = (builder.fptosi if self._signed.signed else builder.fptoui)(value, vector)
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


def _each(builder: Any, n: Any, do: Callable[[Any, Any], None]) -> None:
    """Do for each eight of ``n`` bins, with ``None``, and for those that are left, with their number."""
    full = builder.and_(n, cgutils.intp_t(-_LANES))
    with cgutils.for_range_slice(builder, cgutils.intp_t(0), full, cgutils.intp_t(_LANES), cgutils.intp_t) as (x, _):
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


@intrinsic
def sum_line(_, flat, begin, n):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Return the sum of ``flat[begin:begin+n]``."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        (line,) = _lines(context, builder, signature, arguments, 0)
        total = cgutils.alloca_once_value(builder, _WIDE(None))
        more = lambda x, left: builder.fadd(builder.load(total), line.take(x, left))  # noqa: E731
        _each(builder, arguments[2], lambda x, left: builder.store(more(x, left), total))
        kind = ir.FunctionType(_DOUBLE, [_DOUBLE, _WIDE])
        call = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fadd.v{_LANES}f64")
        return builder.call(call, [_DOUBLE(0.0), builder.load(total)], fastmath=("reassoc",))

    return types.float64(flat, types.intp, types.intp), code
