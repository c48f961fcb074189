"""Two second-order sections in a row, eight samples at a time.

In a recursion each sample waits for the one before. Eight samples at once are a product of
matrices: with the four states s before them and the samples x,

    y = H·x + G·s,  s ← B·x + A·s

so that only A's product waits, once in eight samples, and everything runs in vector registers.
The states are those of the transposed direct form II, two of each section.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import compiled

__all__ = ["STATES", "TABLE_ROWS", "state_space", "state_space_block", "state_space_table"]

STATES, STEP = 4, 8
HALF = STEP // 2
TABLE_ROWS = 3 * STEP + STATES
TINY = 1e-60
"""States below this become 0: subnormal numbers are some 40 times slower."""

_VECTOR = ir.VectorType(ir.DoubleType(), STATES)
_PAIR = ir.VectorType(ir.DoubleType(), STATES // 2)
# A product and the sum after it may become one fused operation; nothing else is relaxed.
_CONTRACT = ("contract",)


@compiled
def _next(value, b, c, s):
    """One sample through the two sections; `s` moves on."""
    u = b[0] * value + s[0]
    v = c[0] * u + s[2]
    s[0], s[1] = b[1] * value - b[3] * u + s[1], b[2] * value - b[4] * u
    s[2], s[3] = c[1] * u - c[3] * v + s[3], c[2] * u - c[4] * v
    return v


@compiled
def state_space_table(b, c, table):
    """Write the matrices of the sections `b` and `c`, b0, b1, b2, a1, a2 each.

    `table`, ``(28, 4)``, holds a column of a matrix in each row: of H the first halves of its first
    four columns, then their second halves (the other columns are the same, later), B's eight, the
    first halves of G's four, their second halves, A's four.
    """
    s = np.empty(STATES)
    for k in range(STEP + STATES):
        s[:] = 0.0
        if k >= STEP:
            s[k - STEP] = 1.0
        for n in range(STEP):
            y = _next(1.0 if n == k else 0.0, b, c, s)
            part, at = (n // HALF) * HALF, n % HALF
            if k < HALF:
                table[part + k, at] = y
            elif k >= STEP:
                table[2 * STEP + part + k - STEP, at] = y
        row = STEP + k if k < STEP else 2 * STEP + k
        for n in range(STATES):
            table[row, n] = s[n]


@compiled
def state_space(x, b, c, table, state, y):
    """Run the two sections over `x` (float64) into `y`; `state`, ``(4,)``, goes on from there."""
    count = x.shape[0]
    whole = count - count % STEP
    state_space_block(x, table, state, y, whole)
    kind = y.dtype.type
    for n in range(whole, count):
        y[n] = kind(_next(x[n], b, c, state))
    for k in range(STATES):
        if abs(state[k]) < TINY:
            state[k] = 0.0


@intrinsic
def state_space_block(typing: Any, x: Any, table: Any, state: Any, y: Any, count: Any) -> Any:
    """``state_space_block(x, table, state, y, count)``: `count` samples, a multiple of eight.

    `x`, `table` of :func:`state_space_table` and `state` are float64, `y` is of either kind.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def whole(value: int) -> Any:
            return ir.IntType(64)(value)

        def begin(argument: int) -> Any:
            array = context.make_array(signature.args[argument])
            return array(context, builder, arguments[argument]).data

        def load(base: Any, index: int) -> Any:
            place = builder.gep(base, [whole(index * STATES)])
            value = builder.load(builder.bitcast(place, _VECTOR.as_pointer()))
            value.align = 8
            return value

        def picked(value: Any, *lanes: int) -> Any:
            places = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)
            return builder.shuffle_vector(value, value, places)

        def everywhere(at: Any) -> Any:
            value = builder.load(builder.gep(signal, [at]))
            empty = ir.Constant(_VECTOR, ir.Undefined)
            return picked(builder.insert_element(empty, value, ir.IntType(32)(0)), *[0] * STATES)

        def plus(sum_: Any, a: Any, b: Any) -> Any:
            product = builder.fmul(a, b, flags=_CONTRACT)
            return product if sum_ is None else builder.fadd(sum_, product, flags=_CONTRACT)

        signal, rows, kept, result = (begin(argument) for argument in range(4))
        # Each section's states are kept apart: what waits for the step before stays in one half of
        # a register.
        own, other = cgutils.alloca_once(builder, _PAIR), cgutils.alloca_once(builder, _PAIR)
        before = load(kept, 0)
        builder.store(picked(before, 0, 1), own)
        builder.store(picked(before, 2, 3), other)
        kind = ir.VectorType(context.get_data_type(signature.args[3].dtype), HALF)
        steps = cgutils.for_range_slice(builder, whole(0), arguments[4], whole(STEP))
        with steps as (n, _):
            early = late = after = None
            for j in range(STEP):
                value = everywhere(builder.add(n, whole(j)))
                if j < HALF:
                    early = plus(early, load(rows, j), value)
                late = plus(late, load(rows, HALF + j if j < HALF else j - HALF), value)
                after = plus(after, load(rows, STEP + j), value)
            u, v = builder.load(own), builder.load(other)
            next_u, next_v = picked(after, 0, 1), picked(after, 2, 3)
            for k in range(STATES):
                a, value = load(rows, 3 * STEP + k), picked(u if k < 2 else v, *[k % 2] * 2)
                if k < 2:
                    next_u = plus(next_u, picked(a, 0, 1), value)
                next_v = plus(next_v, picked(a, 2, 3), value)
            builder.store(next_u, own)
            builder.store(next_v, other)
            for k in range(STATES):
                value = picked(u if k < 2 else v, *[k % 2] * STATES)
                early = plus(early, load(rows, 2 * STEP + k), value)
                late = plus(late, load(rows, 2 * STEP + HALF + k), value)
            for k, half in enumerate((early, late)):
                at = builder.gep(result, [builder.add(n, whole(HALF * k))])
                value = half if kind == _VECTOR else builder.fptrunc(half, kind)
                place = builder.bitcast(at, kind.as_pointer())
                builder.store(value, place).align = signature.args[3].dtype.bitwidth // 8
        u, v = builder.load(own), builder.load(other)
        together = ir.Constant(ir.VectorType(ir.IntType(32), STATES), list(range(STATES)))
        place = builder.bitcast(kept, _VECTOR.as_pointer())
        builder.store(builder.shuffle_vector(u, v, together), place).align = 8
        return context.get_dummy_value()

    return types.void(x, table, state, y, count), generate
