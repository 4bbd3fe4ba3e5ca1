"""Memory read ahead of time, and results that are written past the caches.

A processor reads a cache line before it writes a part of it, and looks ahead in memory no further than the page. Loops over
arrays far larger than the caches therefore ask for lines some way ahead (`fetch`), and gather their results in a short
line (`gather`, `room`) that goes to memory in whole cache lines, which need not be read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import load_item, store_item
from numpy.typing import NDArray

from dqmroot.kernels.jit import bare_part

__all__ = ["LARGE", "PIECE", "REST", "fetch", "gather", "put", "room", "take"]

Array = NDArray[Any]

# Bins of a row that are worked on together.
PIECE = 256

# Results of so many bytes are not in the caches when they are needed next.
LARGE = 1 << 27
# So much lies in the second cache anyway.
_NEAR = 1 << 20
# Bytes of a cache line, and how far ahead memory is asked for.
_CACHE_LINE, _AHEAD = 64, 24576
# Values that are gathered before they are written.
_GATHERED = 1024
# More than fits into any line; of a result that is its own line there is no end.
# Not a plain number, for which all that gets it would be compiled twice.
REST, _WITHOUT_END = np.int64(1 << 61), np.array([0, 0, 0, 1 << 62])


@intrinsic
def take(_, flat, at):  # type: ignore[no-untyped-def]  # noqa: ARG001 - Numba looks at the names
    """Return ``flat[at]`` as float64; ``at`` is not negative."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        value = load_item(context, builder, flat, builder.gep(data, [arguments[1]]))
        return context.cast(builder, value, flat.dtype, types.float64)

    return types.float64(flat, types.intp), code


@intrinsic
def put(_, flat, at, value):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """``flat[at] = value``; ``at`` is not negative."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        number = context.cast(builder, arguments[2], types.float64, flat.dtype)
        store_item(context, builder, flat, number, builder.gep(data, [arguments[1]]))
        return context.get_dummy_value()

    return types.void(flat, types.intp, types.float64), code


@intrinsic
def fetch(_, flat, begin, end):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Ask for the memory that lies some way behind ``flat[begin:end]``."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        size = context.get_abi_sizeof(context.get_data_type(flat.dtype))
        ahead, step, most = (cgutils.intp_t(number // size) for number in (_AHEAD, _CACHE_LINE, _NEAR))
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, cgutils.int32_t, cgutils.int32_t, cgutils.int32_t])
        call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        with (
            builder.if_then(builder.icmp_signed(">", array.nitems, most)),
            cgutils.for_range_slice(builder, *arguments[1:], step, cgutils.intp_t) as (x, _),
        ):
            where = builder.bitcast(builder.gep(array.data, [builder.add(x, ahead)]), cgutils.voidptr_t)
            # To be read, into the second cache, data.
            builder.call(call, [where, *(cgutils.int32_t(number) for number in (0, 2, 1))])
        return context.get_dummy_value()

    return types.void(flat, types.intp, types.intp), code


@intrinsic
def _write_line(_, out, at, line, begin):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Write one cache line from ``line[begin]`` on to ``out[at]``, where a cache line begins, past the caches."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        value = context.get_data_type(out.dtype)
        size = context.get_abi_sizeof(value)
        vector = ir.VectorType(value, _CACHE_LINE // size).as_pointer()
        to, source = (
            builder.bitcast(builder.gep(context.make_array(kind)(context, builder, array).data, [index]), vector)
            for kind, array, index in zip(signature.args[::2], arguments[::2], arguments[1::2], strict=True)
        )
        stored = builder.store(builder.load(source, align=size), to, align=_CACHE_LINE)
        stored.set_metadata("nontemporal", builder.module.add_metadata([cgutils.int32_t(1)]))
        return context.get_dummy_value()

    return types.void(out, types.uintp, line, types.uintp), code


@intrinsic
def _move(_, out, at, line, begin, size):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Copy ``size`` values from ``line[begin]`` on to ``out[at]``."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        to, source = (
            builder.gep(context.make_array(kind)(context, builder, array).data, [index])
            for kind, array, index in zip(signature.args[:4:2], arguments[:4:2], arguments[1:4:2], strict=True)
        )
        cgutils.raw_memmove(builder, to, source, arguments[4], context.get_abi_sizeof(context.get_data_type(out.dtype)))
        return context.get_dummy_value()

    return types.void(out, types.intp, line, types.intp, types.intp), code


@intrinsic
def _fence(_):  # type: ignore[no-untyped-def]
    """Wait until what was written past the caches can be seen by others."""

    def code(context, builder, _signature, _arguments):  # type: ignore[no-untyped-def]
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), code


def gather(out: Array, at: int, least: int = PIECE) -> tuple[Array, Array]:
    """Make what one thread needs to write to ``out``, flat, from ``at`` on: see `room`.

    Returns:
        A line that holds at least ``least`` values, ``out`` itself unless it is large; and ``(4,)`` int64: where in ``out``
        the line begins, how many of its first values are not to be written, how many values it holds, and how many fit.
    """
    if out.nbytes < LARGE or not out.flags.aligned:
        mark = _WITHOUT_END.copy()
        mark[2] = at
        return out, mark
    step = _CACHE_LINE // out.itemsize
    size = max(_GATHERED, least) + step
    space = np.empty(size + step, out.dtype)
    # The line lies in its cache lines as its place in the result does.
    line = space[-(space.ctypes.data // out.itemsize) % step :][:size]
    skipped = (out.ctypes.data // out.itemsize + at) % step
    return line, np.array([at - skipped, skipped, skipped, size])


@bare_part
def room(out, line, mark, size):  # type: ignore[no-untyped-def]
    """Return where in ``line`` the next ``size`` values go; what it holds is written where they would not fit.

    With the size `REST` all is written that the line holds, and nothing can follow.
    """
    if mark[2] + size > mark[3]:
        # Whole cache lines, but for values that are not to be written; the rest moves to the begin of the line.
        step, to = _CACHE_LINE // out.itemsize, mark[0]
        full, begin = mark[2] // step * step, mark[1]
        if full:
            whole = (begin + step - 1) // step * step
            _move(out, to + begin, line, begin, whole - begin)
            for x in range(whole, full, step):
                _write_line(out, np.uintp(to + x), line, np.uintp(x))
            _move(line, 0, line, full, mark[2] - full)
            mark[0] += full
            mark[1] = 0
            mark[2] -= full
        if size == REST:
            _move(out, mark[0] + mark[1], line, mark[1], mark[2] - mark[1])
            _fence()
    mark[2] += size
    return mark[2] - size
