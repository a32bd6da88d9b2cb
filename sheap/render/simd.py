"""Eight float32 numbers at once inside numba kernels.

LLVM turns a plain loop over pixels into vector code only where it can prove that arrays do not overlap, which it cannot
for the scratch arrays of the splat kernels. So the vectors are written out: two types, `Float8` and `Mask8` (LLVM's
<8 x float> and <8 x i1>; any CPU runs them, AVX2 in one instruction each), with the usual operators and the few
functions below. They live in compiled code only.

Operators: + - * / between Float8 and Float8 or float32; <= >= < > != between them give Mask8; & | between Mask8.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

LANES = 8
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_MASK = ir.VectorType(ir.IntType(1), LANES)
_INTS = ir.VectorType(ir.IntType(32), LANES)


class Float8Type(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Float8")


class Mask8Type(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Mask8")


float8 = Float8Type()
mask8 = Mask8Type()


@register_model(Float8Type)
class _Float8Model(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: types.Type) -> None:
        super().__init__(manager, fe_type, _VECTOR)


@register_model(Mask8Type)
class _Mask8Model(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: types.Type) -> None:
        super().__init__(manager, fe_type, _MASK)


def _constant(value: float) -> ir.Constant:
    """All lanes equal, exactly the float32 nearest to `value`."""
    return ir.Constant(_VECTOR, [ir.Constant(ir.FloatType(), float(np.float32(value)))] * LANES)


def _broadcast(builder: Any, scalar: Any, kind: ir.VectorType) -> Any:
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(_INTS, [0] * LANES)
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), zeros)


def _as_vector(builder: Any, value: Any, kind: types.Type) -> Any:
    return value if kind == float8 else _broadcast(builder, value, _VECTOR)


def _define(function: Callable, result: types.Type, emit: Callable[[Any, Any, Any], Any]) -> None:
    """Teach numba a binary operator on Float8 and float32 (at least one Float8)."""

    @type_callable(function)
    def typing(context: Any) -> Callable:
        def typer(left: types.Type, right: types.Type) -> types.Type | None:
            known = {left, right} <= {float8, types.float32} and float8 in (left, right)
            return result if known else None

        return typer

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        left, right = (_as_vector(builder, arg, kind) for arg, kind in zip(args, signature.args))
        return emit(builder, left, right)

    for pair in ((float8, float8), (float8, types.float32), (types.float32, float8)):
        lower_builtin(function, *pair)(lower)


def _define_mask(function: Callable, emit: Callable[[Any, Any, Any], Any]) -> None:
    @type_callable(function)
    def typing(context: Any) -> Callable:
        return lambda left, right: mask8 if (left, right) == (mask8, mask8) else None

    @lower_builtin(function, mask8, mask8)
    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return emit(builder, *args)


# "contract" lets a * b + c become one instruction.
_FLAGS = ("contract",)
_define(operator.add, float8, lambda b, x, y: b.fadd(x, y, flags=_FLAGS))
_define(operator.sub, float8, lambda b, x, y: b.fsub(x, y, flags=_FLAGS))
_define(operator.mul, float8, lambda b, x, y: b.fmul(x, y, flags=_FLAGS))
_define(operator.truediv, float8, lambda b, x, y: b.fdiv(x, y, flags=_FLAGS))
# Ordered comparisons: false for NaN (but != is true).
_define(operator.le, mask8, lambda b, x, y: b.fcmp_ordered("<=", x, y))
_define(operator.ge, mask8, lambda b, x, y: b.fcmp_ordered(">=", x, y))
_define(operator.lt, mask8, lambda b, x, y: b.fcmp_ordered("<", x, y))
_define(operator.gt, mask8, lambda b, x, y: b.fcmp_ordered(">", x, y))
_define(operator.ne, mask8, lambda b, x, y: b.fcmp_unordered("!=", x, y))
_define_mask(operator.and_, lambda b, x, y: b.and_(x, y))
_define_mask(operator.or_, lambda b, x, y: b.or_(x, y))


@intrinsic
def broadcast8(typingctx, value):
    """A float32 in all lanes."""

    def emit(context, builder, signature, args):
        return _broadcast(builder, args[0], _VECTOR)

    return float8(types.float32), emit


@intrinsic
def iota8(typingctx):
    """0, 1, ..., 7."""

    def emit(context, builder, signature, args):
        return ir.Constant(_VECTOR, [ir.Constant(ir.FloatType(), float(lane)) for lane in range(LANES)])

    return float8(), emit


def _vector_pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


@intrinsic
def load8(typingctx, array, index):
    """Elements index .. index + 7 of a one-dimensional float32 array. Not checked against its end."""

    def emit(context, builder, signature, args):
        return builder.load(_vector_pointer(context, builder, signature.args[0], *args), align=4)

    return float8(_checked(array), types.intp), emit


@intrinsic
def store8(typingctx, array, index, value):
    """Write elements index .. index + 7 of a one-dimensional float32 array. Not checked against its end."""

    def emit(context, builder, signature, args):
        builder.store(args[2], _vector_pointer(context, builder, signature.args[0], *args[:2]), align=4)
        return context.get_dummy_value()

    return types.void(_checked(array), types.intp, float8), emit


def _checked(array: Any) -> Any:
    assert isinstance(array, types.Array) and array.dtype == types.float32 and array.ndim == 1 and array.layout == "C"
    return array


@intrinsic
def select8(typingctx, mask, if_true, if_false):
    """Per lane: `if_true` where the mask holds, else `if_false` (Float8 or float32 each)."""

    def emit(context, builder, signature, args):
        return builder.select(
            args[0],
            _as_vector(builder, args[1], signature.args[1]),
            _as_vector(builder, args[2], signature.args[2]),
        )

    return float8(mask8, if_true, if_false), emit


@intrinsic
def max8(typingctx, left, right):
    """The larger of each lane; undefined where either is NaN."""

    def emit(context, builder, signature, args):
        # Not a comparison and a selection: where the result is stored back to where an operand came from, LLVM makes
        # them a masked store, which takes AMD's processors tens of cycles (a third of the forward pass, measured).
        kind = ir.FunctionType(_VECTOR, [_VECTOR, _VECTOR])
        maximum = builder.module.declare_intrinsic(f"llvm.maxnum.v{LANES}f32", (), kind)
        return builder.call(maximum, args, fastmath=("nnan",))

    return float8(float8, float8), emit


@intrinsic
def any8(typingctx, mask):
    """Whether the mask holds in any lane."""

    def emit(context, builder, signature, args):
        bits = builder.bitcast(args[0], ir.IntType(LANES))
        return builder.icmp_unsigned("!=", bits, ir.Constant(ir.IntType(LANES), 0))

    return types.boolean(mask8), emit


@intrinsic
def sum8(typingctx, value):
    """The sum of the lanes, in halves: ((0+4) + (2+6)) + ((1+5) + (3+7))."""

    def emit(context, builder, signature, args):
        total, width = args[0], LANES
        while width > 1:
            half = width // 2
            kind = ir.VectorType(ir.IntType(32), half)
            low = builder.shuffle_vector(total, total, ir.Constant(kind, list(range(half))))
            high = builder.shuffle_vector(total, total, ir.Constant(kind, list(range(half, width))))
            total, width = builder.fadd(low, high), half
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return types.float32(float8), emit


# 2^f = sum of c_i f^i on [-1, 0], exactly 1 at 0, least squares at Chebyshev nodes; relative error 9e-8, a rounding.
_EXP2 = (1.0, 0.693143568, 0.240178903, 0.0552940415, 0.00920217637, 0.000943510875)


@intrinsic
def exp_minus_half8(typingctx, value):
    """exp(-value / 2) for value >= 0, relative error below 1e-6 up to 30; NaN and infinity give some finite number."""

    def emit(context, builder, signature, args):
        y = builder.fmul(args[0], _constant(-0.5 * math.log2(math.e)))
        low = _constant(-100.0)
        y = builder.select(builder.fcmp_ordered(">", y, low), y, low)
        whole = builder.fptosi(y, _INTS)
        f = builder.fsub(y, builder.sitofp(whole, _VECTOR))

        def step(low, high, x):
            return builder.fadd(builder.fmul(high, x, flags=_FLAGS), low, flags=_FLAGS)

        # In pairs (Estrin), not one after the other: the chain of waiting is half as long.
        c = [_constant(coefficient) for coefficient in _EXP2]
        squared = builder.fmul(f, f)
        pairs = [step(c[0], c[1], f), step(c[2], c[3], f), step(c[4], c[5], f)]
        power = step(pairs[0], step(pairs[1], pairs[2], squared), squared)
        bias, shift = (ir.Constant(_INTS, [number] * LANES) for number in (127, 23))
        scale = builder.bitcast(builder.shl(builder.add(whole, bias), shift), _VECTOR)
        return builder.fmul(power, scale)

    return float8(float8), emit
