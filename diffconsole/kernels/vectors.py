"""A vector of numbers as one value in compiled loops, a register or a few of the processor.

numba vectorises loops over arrays, but cannot keep a vector in a variable. Here ``load`` makes
one, ``+ − * /`` work on vectors of one kind (and with a scalar, which counts for every lane),
``store`` writes it back. `width` is a literal; places count elements of a flat array.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.core.typing.templates import signature as signature_of
from numba.extending import intrinsic, models, register_model

from .bits import LOG2_COEFFICIENTS

__all__ = [
    "absolute",
    "broadcast",
    "load",
    "log2",
    "maximum",
    "minimum",
    "sqrt",
    "store",
    "sum_lanes",
    "sums_of_rows",
    "where_greater",
]

# A product and the sum after it may become one fused operation; nothing else is relaxed.
_CONTRACT = ("contract",)
_ROOT_HALF_BITS = 0x3F3504F3
_MANTISSA_BITS = 23


class Vector(types.Type):
    """numba's type of `width` numbers of one kind."""

    def __init__(self, kind: Any, width: int) -> None:
        self.kind, self.width = kind, width
        super().__init__(name=f"Vector({kind}, {width})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        kind = manager.lookup(vector.kind).get_value_type()
        super().__init__(manager, vector, ir.VectorType(kind, vector.width))


def _broadcast(builder: Any, scalar: Any, width: int) -> Any:
    empty = ir.Constant(ir.VectorType(scalar.type, width), ir.Undefined)
    first = builder.insert_element(empty, scalar, ir.IntType(32)(0))
    places = ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width)
    return builder.shuffle_vector(first, empty, places)


def _operator(operation: Callable[..., Any], instruction: str) -> None:
    """Teach numba an operator on two vectors, or on a vector and a scalar."""

    @infer_global(operation)
    class _Typing(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            vectors = [a for a in args if isinstance(a, Vector)]
            if len(args) != 2 or not vectors or len(set(vectors)) > 1:
                return None
            if not all(isinstance(a, (Vector, types.Float)) for a in args):
                return None
            return signature_of(vectors[0], *args)

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = signature.return_type
        both = []
        for kind, value in zip(signature.args, arguments, strict=True):
            if kind != vector:
                scalar = context.cast(builder, value, kind, vector.kind)
                value = _broadcast(builder, scalar, vector.width)
            both.append(value)
        return getattr(builder, instruction)(*both, flags=_CONTRACT)

    for kinds in ((Vector, Vector), (Vector, types.Float), (types.Float, Vector)):
        lower_builtin(operation, *kinds)(lower)


_operator(operator.add, "fadd")
_operator(operator.iadd, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")
_operator(operator.truediv, "fdiv")


def _place(context: Any, builder: Any, array_type: Any, array: Any, at: Any, width: int) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    vector = ir.VectorType(context.get_data_type(array_type.dtype), width)
    return builder.bitcast(builder.gep(data, [at]), vector.as_pointer())


@intrinsic(prefer_literal=True)
def load(typing: Any, array: Any, at: Any, width: Any) -> Any:
    """``load(array, at, width)``: the elements from place `at` on."""
    count = width.literal_value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        at = context.cast(builder, arguments[1], signature.args[1], types.intp)
        value = builder.load(_place(context, builder, signature.args[0], arguments[0], at, count))
        value.align = array.dtype.bitwidth // 8
        return value

    return signature_of(Vector(array.dtype, count), array, at, width), generate


@intrinsic
def store(typing: Any, value: Any, array: Any, at: Any) -> Any:
    """``store(vector, array, at)``: write the elements from place `at` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, array, at = arguments
        at = context.cast(builder, at, signature.args[2], types.intp)
        width = signature.args[0].width
        place = _place(context, builder, signature.args[1], array, at, width)
        builder.store(value, place).align = signature.args[1].dtype.bitwidth // 8
        return context.get_dummy_value()

    return signature_of(types.void, value, array, at), generate


@intrinsic(prefer_literal=True)
def broadcast(typing: Any, scalar: Any, width: Any) -> Any:
    """``broadcast(scalar, width)``: the same number in every lane."""
    count = width.literal_value
    kind = types.unliteral(scalar)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _broadcast(builder, arguments[0], count)

    return signature_of(Vector(kind, count), kind, width), generate


def _unary(name: str) -> Callable[..., Any]:
    """A function of LLVM's on every lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector, own = signature.args[0], arguments[0].type
        full_name = f"{name}.v{vector.width}f{vector.kind.bitwidth}"
        kind = ir.FunctionType(own, [own])
        function = cgutils.get_or_insert_function(builder.module, kind, full_name)
        return builder.call(function, arguments)

    return generate


@intrinsic
def sqrt(typing: Any, value: Any) -> Any:
    """Square root of every lane."""
    return signature_of(value, value), _unary("llvm.sqrt")


@intrinsic
def absolute(typing: Any, value: Any) -> Any:
    """Magnitude of every lane."""
    return signature_of(value, value), _unary("llvm.fabs")


def _limited(comparison: str) -> Callable[..., Any]:
    """The limit wherever it compares so with the value."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, limit = arguments
        return builder.select(builder.fcmp_ordered(comparison, limit, value), limit, value)

    return generate


@intrinsic
def maximum(typing: Any, value: Any, other: Any) -> Any:
    """``maximum(value, limit)``, lane by lane; what is not a number stays so."""
    return signature_of(value, value, other), _limited(">")


@intrinsic
def minimum(typing: Any, value: Any, other: Any) -> Any:
    """``minimum(value, limit)``, lane by lane; what is not a number stays so."""
    return signature_of(value, value, other), _limited("<")


@intrinsic
def where_greater(typing: Any, value: Any, limit: Any, one: Any, other: Any) -> Any:
    """``where_greater(a, b, one, other)``: `one` in the lanes where a > b, else `other`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, limit, one, other = arguments
        return builder.select(builder.fcmp_ordered(">", value, limit), one, other)

    return signature_of(one, value, limit, one, other), generate


@intrinsic
def sum_lanes(typing: Any, value: Any) -> Any:
    """Sum of the lanes in float64, from the first to the last."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = signature.args[0]
        result = context.get_constant(types.float64, 0.0)
        for lane in range(vector.width):
            element = builder.extract_element(arguments[0], ir.IntType(32)(lane))
            element = context.cast(builder, element, vector.kind, types.float64)
            result = builder.fadd(result, element)
        return result

    return signature_of(types.float64, value), generate


@intrinsic
def sums_of_rows(typing: Any, array: Any, at: Any) -> Any:
    """``sums_of_rows(array, at)``: one vector of the sums of eight rows of eight from `at` on.

    In pairs, then in pairs of pairs: each sum rounds in the same order as in the other rows.
    """
    width = 8
    even, odd = [0, 2, 8, 10, 4, 6, 12, 14], [1, 3, 9, 11, 5, 7, 13, 15]
    lower, upper = [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def pick(one: Any, other: Any, places: list[int]) -> Any:
            mask = ir.Constant(ir.VectorType(ir.IntType(32), width), places)
            return builder.shuffle_vector(one, other, mask)

        def joined(rows: list[Any], first: list[int], second: list[int]) -> list[Any]:
            pairs = zip(rows[::2], rows[1::2], strict=True)
            return [builder.fadd(pick(*pair, first), pick(*pair, second)) for pair in pairs]

        at = context.cast(builder, arguments[1], signature.args[1], types.intp)
        rows = []
        for row in range(width):
            place = builder.add(at, ir.Constant(at.type, row * width))
            of_row = _place(context, builder, signature.args[0], arguments[0], place, width)
            rows.append(builder.load(of_row))
            rows[-1].align = array.dtype.bitwidth // 8
        # Within halves of a register twice, as processors shuffle fastest, then across.
        quarters = joined(joined(rows, even, odd), even, odd)
        return joined(quarters, lower, upper)[0]

    return signature_of(Vector(array.dtype, width), array, at), generate


@intrinsic
def log2(typing: Any, value: Any) -> Any:
    """log2 of normal, positive numbers; of float32 by :mod:`.bits`' polynomial."""

    def single(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        width = value.width
        floats, bits_type = arguments[0].type, ir.VectorType(ir.IntType(32), width)

        def number(x: float) -> Any:
            return ir.Constant(floats, [float(x)] * width)

        def whole(x: int) -> Any:
            return ir.Constant(bits_type, [x] * width)

        bits = builder.bitcast(arguments[0], bits_type)
        exponent = builder.ashr(builder.sub(bits, whole(_ROOT_HALF_BITS)), whole(_MANTISSA_BITS))
        mantissa = builder.sub(bits, builder.shl(exponent, whole(_MANTISSA_BITS)))
        f = builder.fsub(builder.bitcast(mantissa, floats), number(1.0))
        p = number(LOG2_COEFFICIENTS[-1])
        for coefficient in LOG2_COEFFICIENTS[-2::-1]:
            product = builder.fmul(p, f, flags=_CONTRACT)
            p = builder.fadd(product, number(coefficient), flags=_CONTRACT)
        return builder.fadd(
            builder.sitofp(exponent, floats), builder.fmul(p, f, flags=_CONTRACT), flags=_CONTRACT
        )

    return signature_of(value, value), (
        single if value.kind == types.float32 else _unary("llvm.log2")
    )
