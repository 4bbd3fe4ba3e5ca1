"""Memory read ahead of time, and results that are written past the caches.

A processor reads a cache line before it writes a part of it, and looks ahead in memory no further than the page. Loops over
arrays far larger than the caches therefore ask for lines some way ahead (`fetch`), and gather their results in a short
line (`gather`, `begin_at`, `room`, `close_line`) that goes to memory in whole cache lines, which need not be read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from dqmroot.kernels.jit import bare_part, inner_kernel

__all__ = ["LARGE", "PIECE", "begin_at", "close_line", "fetch", "gather", "room"]

Array = NDArray[Any]

# Bins of a row that are worked on together.
PIECE = 256

# Results of so many bytes are not in the caches when they are needed next.
LARGE = 1 << 28
# So much lies in the second cache anyway.
_NEAR = 1 << 20
# Bytes of a cache line, and how far ahead memory is asked for.
_CACHE_LINE, _AHEAD = 64, 24576
# Values that are gathered before they are written.
_GATHERED = 1024
_NO_END = 1 << 62


@intrinsic
def _prefetch(_, array, at):  # type: ignore[no-untyped-def]  # noqa: ARG001 - Numba looks at the names
    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        where = builder.bitcast(builder.gep(data, [arguments[1]]), cgutils.voidptr_t)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, cgutils.int32_t, cgutils.int32_t, cgutils.int32_t])
        call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        # To be read, into the second cache, data.
        builder.call(call, [where, *(cgutils.int32_t(number) for number in (0, 2, 1))])
        return context.get_dummy_value()

    return types.void(array, types.uintp), code


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
def _fence(_):  # type: ignore[no-untyped-def]
    """Wait until what was written past the caches can be seen by others."""

    def code(context, builder, _signature, _arguments):  # type: ignore[no-untyped-def]
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), code


@inner_kernel
def fetch(flat, begin, end):  # type: ignore[no-untyped-def]
    """Ask for the memory that lies some way behind ``flat[begin:end]``."""
    far = end if flat.size * flat.itemsize > _NEAR else begin
    for x in range(begin, far, _CACHE_LINE // flat.itemsize):
        _prefetch(flat, np.uintp(x + _AHEAD // flat.itemsize))


def gather(out: Array, least: int = PIECE) -> tuple[Array, Array]:
    """Make what one thread needs to write to ``out``, flat: see `begin_at`, `room` and `close_line`.

    Returns:
        A line that holds at least ``least`` values, ``out`` itself unless it is large; and ``(5,)`` int64: where in ``out``
        the line begins, how many of its first values are not to be written, how many values it holds, how many fit, and
        where in a cache line ``out`` begins.
    """
    if out.nbytes < LARGE or not out.flags.aligned:
        return out, np.array([0, 0, 0, _NO_END, 0])
    step = _CACHE_LINE // out.itemsize
    size = max(_GATHERED, least) + step
    space = np.empty(size + step, out.dtype)
    # The line lies in its cache lines as its place in the result does.
    line = space[-(space.ctypes.data // out.itemsize) % step :][:size]
    return line, np.array([0, 0, 0, size, out.ctypes.data // out.itemsize % step])


@inner_kernel
def begin_at(out, mark, at):  # type: ignore[no-untyped-def]
    """Begin to write to the result from ``at`` on."""
    if mark[3] == _NO_END:
        mark[2] = at
    else:
        mark[1] = mark[2] = (mark[4] + at) % (_CACHE_LINE // out.itemsize)
        mark[0] = at - mark[1]


@inner_kernel
def room(out, line, mark, size):  # type: ignore[no-untyped-def]
    """Return where in ``line`` the next ``size`` values go; what it holds is written where they would not fit."""
    if mark[2] + size > mark[3]:
        _empty(out, line, mark)
    mark[2] += size
    return mark[2] - size


@inner_kernel
def close_line(out, line, mark):  # type: ignore[no-untyped-def]
    """Write what ``line`` still holds."""
    if mark[3] != _NO_END:
        _empty(out, line, mark)
        for x in range(mark[1], mark[2]):
            out[np.uintp(mark[0] + x)] = line[np.uintp(x)]
        _fence()


@bare_part
def _empty(out, line, mark):  # type: ignore[no-untyped-def]
    """Write whole cache lines, but for values that are not to be written, and move the rest to the begin of ``line``."""
    step, to = _CACHE_LINE // out.itemsize, mark[0]
    full = mark[2] // step * step
    if full == 0:
        return
    whole = (mark[1] + step - 1) // step * step
    for x in range(mark[1], whole):
        out[np.uintp(to + x)] = line[np.uintp(x)]
    for x in range(whole, full, step):
        _write_line(out, np.uintp(to + x), line, np.uintp(x))
    for x in range(full, mark[2]):
        line[np.uintp(x - full)] = line[np.uintp(x)]
    mark[0] += full
    mark[1] = 0
    mark[2] -= full
