"""Second-order sections on eight stretches of one signal side by side, in vector registers.

A recursion leaves most of a processor idle: each sample waits for the one before. Eight
independent stretches, the *lanes*, fill it. numba has no vector type, and its compiler does not
keep eight states of a loop in registers by itself, so these loops are spelled out in LLVM's
terms, once; everything around them is plain numba code.

All arrays are C-contiguous float64 with the lanes last: row n holds sample n of every lane.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["LANES", "adjoint_block", "adjoint_block_only", "section_block"]

LANES = 8
_VECTOR = ir.VectorType(ir.DoubleType(), LANES)
# A product and the sum after it may become one fused operation; nothing else is relaxed.
_CONTRACT = ("contract",)


class _Writer:
    """Vector loads, stores and arithmetic of one function under construction."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self.context, self.builder = context, builder
        self.signature, self.arguments = signature, arguments

    def _data(self, argument: int) -> Any:
        array = self.context.make_array(self.signature.args[argument])
        return array(self.context, self.builder, self.arguments[argument]).data

    def rows(self, argument: int) -> Any:
        return self.builder.bitcast(self._data(argument), _VECTOR.as_pointer())

    def load(self, rows: Any, index: Any) -> Any:
        index = self.index(index) if isinstance(index, int) else index
        value = self.builder.load(self.builder.gep(rows, [index]))
        value.align = 8
        return value

    def store(self, value: Any, rows: Any, index: Any) -> None:
        index = self.index(index) if isinstance(index, int) else index
        self.builder.store(value, self.builder.gep(rows, [index])).align = 8

    def splats(self, argument: int, count: int) -> list[Any]:
        """The first numbers of an array, each in all lanes."""
        data = self._data(argument)
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        found = []
        for k in range(count):
            scalar = self.builder.load(self.builder.gep(data, [self.index(k)]))
            one = self.builder.insert_element(undefined, scalar, ir.IntType(32)(0))
            found.append(self.builder.shuffle_vector(one, undefined, zeros))
        return found

    def variable(self, value: Any) -> Any:
        return cgutils.alloca_once_value(self.builder, value)

    def index(self, value: int) -> Any:
        return ir.IntType(64)(value)

    def plus(self, sum_: Any, a: Any, b: Any) -> Any:
        """``sum + a·b``."""
        product = self.builder.fmul(a, b, flags=_CONTRACT)
        return self.builder.fadd(sum_, product, flags=_CONTRACT)

    def minus(self, sum_: Any, a: Any, b: Any) -> Any:
        """``sum − a·b``."""
        product = self.builder.fmul(a, b, flags=_CONTRACT)
        return self.builder.fsub(sum_, product, flags=_CONTRACT)


@intrinsic
def section_block(typing: Any, x: Any, y: Any, coefficients: Any, count: Any) -> Any:
    """``section_block(x, y, coefficients, count)``: one section over `count` rows.

    ``y[n] = b0·x[n] + b1·x[n−1] + b2·x[n−2] − a1·y[n−1] − a2·y[n−2]``; rows 0 and 1 of `x` and
    `y` are the two samples before the block, row 2 is its first.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        w = _Writer(context, builder, signature, arguments)
        x, y = w.rows(0), w.rows(1)
        b0, b1, b2, a1, a2 = w.splats(2, 5)
        x2, x1 = w.variable(w.load(x, 0)), w.variable(w.load(x, 1))
        y2, y1 = w.variable(w.load(y, 0)), w.variable(w.load(y, 1))
        with cgutils.for_range(builder, arguments[3]) as loop:
            row = builder.add(loop.index, w.index(2))
            now, before, older = w.load(x, row), builder.load(x1), builder.load(y1)
            value = builder.fmul(b2, builder.load(x2), flags=_CONTRACT)
            value = w.plus(w.plus(value, b1, before), b0, now)
            # The newest output comes last: only this one operation waits for the row before.
            value = w.minus(w.minus(value, a2, builder.load(y2)), a1, older)
            w.store(value, y, row)
            builder.store(before, x2)
            builder.store(now, x1)
            builder.store(older, y2)
            builder.store(value, y1)
        return context.get_dummy_value()

    return types.void(x, y, coefficients, count), generate


def _adjoint_loop(w: _Writer, count: Any, coefficients: int, gradient: Any, future: Any) -> Any:
    """Context of the reverse loop; yields (row, u, u1, u2) after storing the new gradient."""
    b0, b1, b2, a1, a2 = w.splats(coefficients, 5)
    builder = w.builder
    u1, u2 = w.variable(w.load(future, 0)), w.variable(w.load(future, 1))

    def body(loop: Any) -> tuple[Any, Any]:
        row = builder.sub(builder.sub(count, w.index(1)), loop.index)
        later, latest = builder.load(u1), builder.load(u2)
        u = w.minus(w.minus(w.load(gradient, row), a2, latest), a1, later)
        value = w.plus(builder.fmul(b2, latest, flags=_CONTRACT), b1, later)
        w.store(w.plus(value, b0, u), gradient, row)
        builder.store(later, u2)
        builder.store(u, u1)
        return row, u

    def finish() -> None:
        w.store(builder.load(u1), future, 0)
        w.store(builder.load(u2), future, 1)

    return body, finish


@intrinsic
def adjoint_block_only(
    typing: Any, gradient: Any, coefficients: Any, future: Any, count: Any
) -> Any:
    """``adjoint_block_only(gradient, coefficients, future, count)``: a section, back in time.

    ``u[n] = g[n] − a1·u[n+1] − a2·u[n+2]``, then ``g[n] ← b0·u[n] + b1·u[n+1] + b2·u[n+2]``.
    Rows 0 and 1 of `future` hold u of the two rows after the block, and on return of its first.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        w = _Writer(context, builder, signature, arguments)
        body, finish = _adjoint_loop(w, arguments[3], 1, w.rows(0), w.rows(2))
        with cgutils.for_range(builder, arguments[3]) as loop:
            body(loop)
        finish()
        return context.get_dummy_value()

    return types.void(gradient, coefficients, future, count), generate


@intrinsic
def adjoint_block(
    typing: Any,
    gradient: Any,
    coefficients: Any,
    future: Any,
    x: Any,
    y: Any,
    sums: Any,
    count: Any,
) -> Any:
    """``adjoint_block(gradient, coefficients, future, x, y, sums, count)``.

    :func:`adjoint_block_only`, and the gradients of the coefficients, added to the five rows of
    `sums`: ``Σ u[n]·x[n−k]`` for b0, b1, b2 and ``−Σ u[n]·y[n−k]`` for a1, a2. `x` and `y` are
    the section's input and output as :func:`section_block` left them.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        w = _Writer(context, builder, signature, arguments)
        count = arguments[6]
        x, y, sums = w.rows(3), w.rows(4), w.rows(5)
        body, finish = _adjoint_loop(w, count, 1, w.rows(0), w.rows(2))
        totals = [w.variable(w.load(sums, k)) for k in range(5)]
        with cgutils.for_range(builder, count) as loop:
            row, u = body(loop)
            rows = [row, builder.add(row, w.index(1)), builder.add(row, w.index(2))]
            for k in range(3):
                total = w.plus(builder.load(totals[k]), u, w.load(x, rows[2 - k]))
                builder.store(total, totals[k])
            for k in (1, 2):
                total = w.minus(builder.load(totals[2 + k]), u, w.load(y, rows[2 - k]))
                builder.store(total, totals[2 + k])
        finish()
        for k in range(5):
            w.store(builder.load(totals[k]), sums, k)
        return context.get_dummy_value()

    return types.void(gradient, coefficients, future, x, y, sums, count), generate
