"""Recursions on eight signals side by side, in vector registers.

A recursion leaves most of a processor idle: each sample waits for the one before. Eight
independent signals, the *lanes*, fill it. numba has no vector type, and its compiler does not
keep eight states of a loop in registers by itself, so these loops are spelled out in LLVM's
terms, once; everything around them is plain numba code.

Arrays are C-contiguous. *Rows* are float64 with the lanes last: row n holds sample n of every
lane. A *slab* holds the same samples the other way round, ``(LANES, samples)`` in the audio's
type; :func:`to_rows` and :func:`to_slab` turn one into the other.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "LANES",
    "TINY",
    "add_carried_block",
    "adjoint_block",
    "adjoint_block_only",
    "carry_block",
    "detect_block",
    "hold_block",
    "peaks_to_rows",
    "section_block",
    "to_rows",
    "to_slab",
]

LANES = 8
_VECTOR = ir.VectorType(ir.DoubleType(), LANES)
# States below this become 0: subnormal numbers are some 40 times slower.
TINY = 1e-60
# A product and the sum after it may become one fused operation; nothing else is relaxed.
_CONTRACT = ("contract",)


class _Writer:
    """Vector loads, stores and arithmetic of one function under construction."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self.context, self.builder = context, builder
        self.signature, self.arguments = signature, arguments

    def data(self, argument: int) -> Any:
        array = self.context.make_array(self.signature.args[argument])
        return array(self.context, self.builder, self.arguments[argument]).data

    def rows(self, argument: int) -> Any:
        return self.builder.bitcast(self.data(argument), _VECTOR.as_pointer())

    def load(self, rows: Any, index: Any) -> Any:
        index = self.index(index) if isinstance(index, int) else index
        value = self.builder.load(self.builder.gep(rows, [index]))
        value.align = 8
        return value

    def store(self, value: Any, rows: Any, index: Any) -> None:
        index = self.index(index) if isinstance(index, int) else index
        self.builder.store(value, self.builder.gep(rows, [index])).align = 8

    def several(self, argument: int, count: int) -> list[Any]:
        """The first rows of an array."""
        rows = self.rows(argument)
        return [self.load(rows, k) for k in range(count)]

    def slab_row(self, argument: int, lane: int) -> Any:
        """Where a lane of a slab begins."""
        array = self.context.make_array(self.signature.args[argument])
        slab = array(self.context, self.builder, self.arguments[argument])
        _, width = cgutils.unpack_tuple(self.builder, slab.shape)
        return self.builder.gep(slab.data, [self.builder.mul(self.index(lane), width)])

    def transposed(self, vectors: list[Any]) -> list[Any]:
        """Eight vectors of eight: element k of vector n becomes element n of vector k."""
        for _ in range(3):
            half = LANES // 2
            pairs = zip(vectors[:half], vectors[half:], strict=True)
            vectors = [v for pair in pairs for v in self._interleaved(*pair)]
        return vectors

    def _interleaved(self, one: Any, other: Any) -> tuple[Any, Any]:
        def pick(first: int) -> Any:
            places = [n for k in range(LANES // 2) for n in (first + k, LANES + first + k)]
            mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), places)
            return self.builder.shuffle_vector(one, other, mask)

        return pick(0), pick(LANES // 2)

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
    `y` are the two samples before the block, row 2 is its first. `coefficients` has five rows.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        w = _Writer(context, builder, signature, arguments)
        x, y = w.rows(0), w.rows(1)
        b0, b1, b2, a1, a2 = w.several(2, 5)
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
    b0, b1, b2, a1, a2 = w.several(coefficients, 5)
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
        # Each row of x and y is loaded once and handed down to the two rows before it.
        last = builder.add(count, w.index(1))
        x0, x1 = w.variable(w.load(x, last)), w.variable(w.load(x, count))
        y1 = w.variable(w.load(y, count))
        with cgutils.for_range(builder, count) as loop:
            row, u = body(loop)
            inputs = [builder.load(x0), builder.load(x1), w.load(x, row)]
            outputs = [builder.load(y1), w.load(y, row)]
            for k, value in enumerate(inputs):
                builder.store(w.plus(builder.load(totals[k]), u, value), totals[k])
            for k, value in enumerate(outputs, start=3):
                builder.store(w.minus(builder.load(totals[k]), u, value), totals[k])
            builder.store(inputs[1], x0)
            builder.store(inputs[2], x1)
            builder.store(outputs[1], y1)
        finish()
        for k in range(5):
            w.store(builder.load(totals[k]), sums, k)
        return context.get_dummy_value()

    return types.void(gradient, coefficients, future, x, y, sums, count), generate


@intrinsic
def to_rows(typing: Any, slab: Any, rows: Any, count: Any) -> Any:
    """``to_rows(slab, rows, count)``: transpose, `count` a multiple of eight."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        w = _Writer(context, builder, signature, arguments)
        rows = w.rows(1)
        kind = context.get_data_type(signature.args[0].dtype)
        vector = ir.VectorType(kind, LANES)
        lanes = [w.slab_row(0, lane) for lane in range(LANES)]
        with cgutils.for_range_slice(builder, w.index(0), arguments[2], w.index(LANES)) as (n, _):
            read = []
            for lane in lanes:
                place = builder.bitcast(builder.gep(lane, [n]), vector.as_pointer())
                read.append(builder.load(place))
                read[-1].align = 4
            for k, value in enumerate(w.transposed(read)):
                wide = value if vector == _VECTOR else builder.fpext(value, _VECTOR)
                w.store(wide, rows, builder.add(n, w.index(k)))
        return context.get_dummy_value()

    return types.void(slab, rows, count), generate


@intrinsic
def peaks_to_rows(typing: Any, x: Any, left: Any, right: Any, rows: Any, count: Any) -> Any:
    """``peaks_to_rows(x, left, right, rows, count)``: transpose the larger of two magnitudes.

    `left` and `right`, ``(1, LANES)`` int64, say where in the flat `x` each lane's two channels
    begin. `count` is a multiple of eight.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        w = _Writer(context, builder, signature, arguments)
        kind = context.get_data_type(signature.args[0].dtype)
        vector = ir.VectorType(kind, LANES)
        width = 64 if vector == _VECTOR else 32
        bits = ir.VectorType(ir.IntType(width), LANES)
        without_sign = ir.Constant(bits, [(1 << (width - 1)) - 1] * LANES)
        base, rows = w.data(0), w.rows(3)
        starts = [
            [builder.gep(base, [builder.load(builder.gep(w.data(side), [w.index(lane)]))])
             for lane in range(LANES)]
            for side in (1, 2)
        ]  # fmt: skip
        with cgutils.for_range_slice(builder, w.index(0), arguments[4], w.index(LANES)) as (n, _):
            peaks = []
            for pair in zip(*starts, strict=True):
                sides = []
                for start in pair:
                    place = builder.bitcast(builder.gep(start, [n]), vector.as_pointer())
                    value = builder.load(place)
                    value.align = 4
                    size = builder.and_(builder.bitcast(value, bits), without_sign)
                    sides.append(builder.bitcast(size, vector))
                # What is no number stays, on whichever side it is, as it does elsewhere.
                no_number = builder.fcmp_unordered("uno", sides[0], sides[0])
                louder = builder.or_(builder.fcmp_ordered(">", *sides), no_number)
                peaks.append(builder.select(louder, *sides))
            for k, value in enumerate(w.transposed(peaks)):
                wide = value if vector == _VECTOR else builder.fpext(value, _VECTOR)
                w.store(wide, rows, builder.add(n, w.index(k)))
        return context.get_dummy_value()

    return types.void(x, left, right, rows, count), generate


@intrinsic
def to_slab(typing: Any, rows: Any, slab: Any, count: Any) -> Any:
    """``to_slab(rows, slab, count)``: transpose back, `count` a multiple of eight."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        w = _Writer(context, builder, signature, arguments)
        rows = w.rows(0)
        kind = context.get_data_type(signature.args[1].dtype)
        vector = ir.VectorType(kind, LANES)
        lanes = [w.slab_row(1, lane) for lane in range(LANES)]
        with cgutils.for_range_slice(builder, w.index(0), arguments[2], w.index(LANES)) as (n, _):
            read = [w.load(rows, builder.add(n, w.index(k))) for k in range(LANES)]
            if vector != _VECTOR:
                read = [builder.fptrunc(value, vector) for value in read]
            for lane, value in zip(lanes, w.transposed(read), strict=True):
                place = builder.bitcast(builder.gep(lane, [n]), vector.as_pointer())
                builder.store(value, place).align = 4
        return context.get_dummy_value()

    return types.void(rows, slab, count), generate


@intrinsic
def detect_block(typing: Any, rows: Any, state: Any, settings: Any, count: Any) -> Any:
    """``detect_block(rows, state, settings, count)``: the compressor's detector, in place.

    With the rows a, (1 − a)·m, r, (1 − r)·m and m of `settings`, and s the row of `state`:
    ``s ← max(a·s + (1 − a)·m·v, r·s + (1 − r)·m·v)``. m is 1, or −1 where the smaller update
    is wanted. The level m·s takes the place of v, negative where it has risen.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        w = _Writer(context, builder, signature, arguments)
        rows, state = w.rows(0), w.rows(1)
        attack, by_attack, release, by_release, mirror = w.several(2, 5)
        s = w.variable(w.load(state, 0))
        zero = ir.Constant(_VECTOR, [0.0] * LANES)
        with cgutils.for_range(builder, arguments[3]) as loop:
            v, before = w.load(rows, loop.index), builder.load(s)
            rising = w.plus(builder.fmul(by_attack, v), attack, before)
            falling = w.plus(builder.fmul(by_release, v), release, before)
            now = builder.select(builder.fcmp_ordered(">", rising, falling), rising, falling)
            builder.store(now, s)
            level, old = builder.fmul(mirror, now), builder.fmul(mirror, before)
            risen = builder.fcmp_ordered(">", level, old)
            w.store(builder.select(risen, builder.fsub(zero, level), level), rows, loop.index)
        w.store(builder.load(s), state, 0)
        return context.get_dummy_value()

    return types.void(rows, state, settings, count), generate


@intrinsic
def hold_block(typing: Any, rows: Any, state: Any, settings: Any, count: Any) -> Any:
    """``hold_block(rows, state, settings, count)``: a detector with a hold, in place.

    With the rows a, 1 − a, r, 1 − r, e, 1 − e and H of `settings` it is the recursion of
    :mod:`.envelope`, e the coefficient at the end of a hold of H samples; the rows of `state` are
    the level, what is left of the hold, and the lowest and the highest level so far. Rounded as
    written where the function around it is, so that a lane has the bits of one loop; levels below
    `TINY` become 0.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        w = _Writer(context, builder, signature, arguments)
        rows, state = w.rows(0), w.rows(1)
        *pairs, hold = w.several(2, 7)
        level, left, least, most = (w.variable(w.load(state, k)) for k in range(4))
        zero, one, tiny = (ir.Constant(_VECTOR, [c] * LANES) for c in (0.0, 1.0, TINY))
        with cgutils.for_range(builder, arguments[3]) as loop:
            v, before, rest = w.load(rows, loop.index), builder.load(level), builder.load(left)
            ends = builder.fcmp_ordered(">", rest, zero)
            fall, by_fall = (builder.select(ends, pairs[4 + k], pairs[2 + k]) for k in range(2))
            attack, falling = (
                builder.fadd(builder.fmul(k, before), builder.fmul(by, v))
                for k, by in ((pairs[0], pairs[1]), (fall, by_fall))
            )
            falling = builder.select(builder.fcmp_ordered("<", falling, tiny), zero, falling)
            lasts = builder.fcmp_ordered(">=", rest, one)
            rises = builder.fcmp_ordered(">", v, before)
            now = builder.select(lasts, before, falling)
            now = builder.select(rises, attack, now)
            rest = builder.select(lasts, builder.fsub(rest, one), zero)
            builder.store(now, level)
            builder.store(builder.select(rises, hold, rest), left)
            for comparison, bound in (("<", least), (">", most)):
                so_far = builder.load(bound)
                beyond = builder.fcmp_ordered(comparison, now, so_far)
                builder.store(builder.select(beyond, now, so_far), bound)
            w.store(now, rows, loop.index)
        for k, kept in enumerate((level, left, least, most)):
            w.store(builder.load(kept), state, k)
        return context.get_dummy_value()

    return types.void(rows, state, settings, count), generate


@intrinsic
def carry_block(typing: Any, errors: Any, factors: Any, ends: Any, count: Any) -> Any:
    """``carry_block(errors, factors, ends, count)``: a linear recursion back in time, in place.

    ``c[n] = e[n] + f[n+1]·c[n+1]`` from c = 0 after the last row; row n of `factors` becomes the
    share ``f[n+1] ⋯ f[count]`` of what comes from after the block, f[count] being 1. The rows of
    `ends`: f[0]·c[0] and f[0] times the share of row 0, what goes on to the block before.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        w = _Writer(context, builder, signature, arguments)
        errors, factors, ends, count = w.rows(0), w.rows(1), w.rows(2), arguments[3]
        zero = ir.Constant(_VECTOR, [0.0] * LANES)
        carried, share = w.variable(zero), w.variable(ir.Constant(_VECTOR, [1.0] * LANES))
        with cgutils.for_range(builder, count) as loop:
            row = builder.sub(builder.sub(count, w.index(1)), loop.index)
            now = builder.fadd(builder.load(carried), w.load(errors, row))
            factor, whole = w.load(factors, row), builder.load(share)
            w.store(now, errors, row)
            w.store(whole, factors, row)
            builder.store(builder.fmul(factor, now), carried)
            builder.store(builder.fmul(factor, whole), share)
        w.store(builder.load(carried), ends, 0)
        w.store(builder.load(share), ends, 1)
        return context.get_dummy_value()

    return types.void(errors, factors, ends, count), generate


@intrinsic
def add_carried_block(typing: Any, errors: Any, factors: Any, ends: Any, count: Any) -> Any:
    """``add_carried_block(errors, factors, ends, count)``: what :func:`carry_block` leaves out.

    ``c[n] += factors[n]·e`` with e the first row of `ends`: c of the row after the block, times f.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        w = _Writer(context, builder, signature, arguments)
        errors, factors, count = w.rows(0), w.rows(1), arguments[3]
        carried = w.load(w.rows(2), 0)
        with cgutils.for_range(builder, count) as loop:
            value = w.plus(w.load(errors, loop.index), w.load(factors, loop.index), carried)
            w.store(value, errors, loop.index)
        return context.get_dummy_value()

    return types.void(errors, factors, ends, count), generate
