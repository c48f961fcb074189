"""A short filter whose sums stay in vector registers.

A plain loop loads a vector of the signal for every tap. Taps that lie a vector's width apart need
the same vectors, for sums that lie as far apart: here each is loaded once for all of them, so that
the processor's sums are the limit rather than its loads, many of which cross a line of its cache.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["FIR_STEP", "fir_block"]

FIR_STEP = 64
"""Samples that are computed at a time: a block is rounded up to that."""

REGISTER_BITS = 256
# A product and the sum after it may become one fused operation; nothing else is relaxed.
_CONTRACT = ("contract",)


@intrinsic(prefer_literal=True)
def fir_block(typing: Any, x: Any, taps: Any, length: Any, y: Any, count: Any) -> Any:
    """``fir_block(x, taps, length, y, count)``: ``y[n] = Σ_k taps[k]·x[n + length − 1 − k]``.

    All arrays are flat and of one type. `length` is a literal, a multiple of 8. `x` is read up to
    ``length − 1`` samples beyond `count`; both `x` and `y` have room for `count` rounded up to
    :data:`FIR_STEP`.
    """
    bits = x.dtype.bitwidth
    width = REGISTER_BITS // bits
    shared, vectors = length.literal_value // width, 8

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.VectorType(context.get_data_type(signature.args[0].dtype), width)
        spread = ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width)
        zero = ir.Constant(kind, [0.0] * width)

        def whole(value: int) -> Any:
            return ir.IntType(64)(value)

        def begin(argument: int) -> Any:
            array = context.make_array(signature.args[argument])
            return array(context, builder, arguments[argument]).data

        def load(at: Any) -> Any:
            place = builder.gep(signal, [at])
            value = builder.load(builder.bitcast(place, kind.as_pointer()))
            value.align = bits // 8
            return value

        def store(value: Any, at: Any) -> None:
            place = builder.bitcast(builder.gep(result, [at]), kind.as_pointer())
            builder.store(value, place).align = bits // 8

        def tap(at: Any) -> Any:
            value = builder.load(builder.gep(weights, [at]))
            alone = builder.insert_element(ir.Constant(kind, ir.Undefined), value, _first)
            return builder.shuffle_vector(alone, alone, spread)

        _first = ir.IntType(32)(0)
        signal, weights, result = begin(0), begin(1), begin(3)
        sums = [cgutils.alloca_once(builder, kind) for _ in range(vectors)]
        rounded = builder.add(arguments[4], whole(FIR_STEP - 1))
        rounded = builder.and_(rounded, whole(-FIR_STEP))
        step = whole(width * vectors)
        with cgutils.for_range_slice(builder, whole(0), rounded, step) as (n, _):
            for place_of_sum in sums:
                builder.store(zero, place_of_sum)
            with cgutils.for_range(builder, whole(width)) as loop:
                own = [tap(builder.add(loop.index, whole(width * k))) for k in range(shared)]
                first = builder.sub(builder.add(n, whole(width - 1)), loop.index)
                found = [builder.load(place_of_sum) for place_of_sum in sums]
                for j in range(vectors + shared - 1):
                    value = load(builder.add(first, whole(width * j)))
                    for k in range(shared):
                        m = j - (shared - 1) + k
                        if 0 <= m < vectors:
                            product = builder.fmul(own[k], value, flags=_CONTRACT)
                            found[m] = builder.fadd(found[m], product, flags=_CONTRACT)
                for place_of_sum, value in zip(sums, found, strict=True):
                    builder.store(value, place_of_sum)
            for m, place_of_sum in enumerate(sums):
                store(builder.load(place_of_sum), builder.add(n, whole(width * m)))
        return context.get_dummy_value()

    return types.void(x, taps, length, y, count), generate
