"""Asking the processor for memory ahead of its use.

The loops go through long rows block by block, many rows at a time and half of them backwards:
the processor's own guess of what comes next starts again with every block, and misses.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import compiled

__all__ = ["expect", "expect_written"]

LINE_BYTES = 64


def _prefetch(written: bool) -> Any:
    @intrinsic
    def prefetch(typing: Any, row: Any, place: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array = context.make_array(signature.args[0])
            data = array(context, builder, arguments[0]).data
            byte = ir.IntType(8).as_pointer()
            address = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
            number = ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            # For reading or writing, into the second cache and beyond, as data.
            builder.call(function, [address, number(int(written)), number(2), number(1)])
            return context.get_dummy_value()

        return types.void(row, place), generate

    return prefetch


_prefetch_read, _prefetch_written = _prefetch(False), _prefetch(True)


@compiled
def expect(row, first, stop):
    """Ask for ``row[first:stop]``, what of it exists; nothing is read."""
    for place in range(max(first, 0), min(stop, row.shape[0]), LINE_BYTES // row.itemsize):
        _prefetch_read(row, place)


@compiled
def expect_written(row, first, stop):
    """Ask for ``row[first:stop]``, what of it exists, to be written soon."""
    for place in range(max(first, 0), min(stop, row.shape[0]), LINE_BYTES // row.itemsize):
        _prefetch_written(row, place)
