"""Big-endian words at any place of a byte array (one load and one byte swap each), texts, fingerprints.

The loads check no bounds: each caller has checked that the word lies inside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import config, types
from numba.core.extending import intrinsic

from dqmroot.kernels.jit import kernel

__all__ = ["BASIS", "after_text", "be16", "be32", "be64", "bef64", "mix"]

BASIS = np.uint64(0xCBF29CE484222325)
"""What a fingerprint starts from (FNV-1a)."""

_PRIME = np.uint64(0x100000001B3)


def _loader(bits: int, result: Any) -> Callable[[Any, Any], Any]:
    """Make the intrinsic that reads ``bits`` at a byte position."""

    @intrinsic
    def load(_typing_context: Any, data: Any, _position: Any) -> Any:
        signature = result(data, types.intp)

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array = context.make_array(signature.args[0])(context, builder, arguments[0])
            if config.BOUNDSCHECK:
                _check(context, builder, array.nitems, arguments[1], bits // 8)
            place = builder.gep(array.data, [arguments[1]])
            word = ir.IntType(bits)
            value = builder.load(builder.bitcast(place, word.as_pointer()), align=1)
            return builder.bswap(value)

        return signature, code

    made: Callable[[Any, Any], Any] = load
    return made


def _check(context: Any, builder: Any, n: Any, position: Any, size: int) -> None:
    """Raise IndexError where the word does not lie inside; compiled in by NUMBA_BOUNDSCHECK=1, for fuzzing."""
    beyond = builder.icmp_signed(">", builder.add(position, position.type(size)), n)
    before = builder.icmp_signed("<", position, position.type(0))
    with builder.if_then(builder.or_(beyond, before), likely=False):
        context.call_conv.return_user_exc(builder, IndexError, ("a word outside the bytes",))


be16 = _loader(16, types.uint16)
be32 = _loader(32, types.uint32)
be64 = _loader(64, types.uint64)


def _reinterpreter() -> Callable[[Any], Any]:
    """Make the intrinsic that reads the bits of a uint64 as a float64."""

    @intrinsic
    def reinterpret(_typing_context: Any, _word: Any) -> Any:
        def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], ir.DoubleType())

        return types.float64(types.uint64), code

    made: Callable[[Any], Any] = reinterpret
    return made


as_float = _reinterpreter()


@kernel
def bef64(data: Any, position: Any) -> Any:
    """Read a big-endian float64."""
    return as_float(be64(data, position))


@kernel
def after_text(data: Any, at: Any, stop: Any) -> Any:
    """First byte after the TString at ``at``; -1 where it does not fit before ``stop``."""
    if at < 0 or at + 1 > stop:
        return -1
    n = np.int64(data[at])
    at += 1
    if n == 255:
        if at + 4 > stop:
            return -1
        n = np.int64(be32(data, at))
        at += 4
    if at + n > stop:
        return -1
    return at + n


@kernel
def mix(fingerprint: Any, word: Any) -> Any:
    """Mix a 64-bit word into a fingerprint."""
    value = (fingerprint ^ word) * _PRIME
    return value ^ (value >> np.uint64(29))
