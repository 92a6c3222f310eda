"""A vector of eight floats for numba kernels.

The simulator keeps eight samples of the batch side by side; every amplitude is then two vectors (real and imaginary
part), and one gate is the same arithmetic on eight samples. LLVM does not find this by itself: it cannot know that
the rows of a state do not overlap. So the vector is made a type, and kernels say load, multiply, store.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model

LANES = 8

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile with numba: cached on disk, without the interpreter lock, C semantics of division.

    The cache lies beside the source, or in the user's cache folder where that is not writable; where neither is, each
    process compiles anew. It is valid while no module of kernels changes.
    """
    return _compiled(function, {"nogil": True, "error_model": "numpy"})


def lean_kernel(function: Function) -> Function:
    """`kernel` without reference counts: it must neither allocate arrays, nor return, nor assign slices of them.

    The code is smaller, compiles faster and, for small states, runs faster.
    """
    return _compiled(function, {"nogil": True, "error_model": "numpy", "_nrt": False})


def _compiled(function: Function, options: dict[str, Any]) -> Function:
    try:
        dispatcher = numba.njit(cache=True, **options)(function)
        # Numba looks at the file of the outermost kernel only, which does not change with those that it calls.
        dispatcher._cache._cache_file._source_stamp = source_stamp()
    except (RuntimeError, AttributeError):  # no place for the cache, or another numba
        dispatcher = numba.njit(**options)(function)
    return cast(Function, dispatcher)


@functools.cache
def source_stamp(folder: Path = Path(__file__).parent.parent) -> str:
    """Hash every module of the engine, since a kernel may be built from any of them.

    Args:
        folder: The engine's folder; its sub-folders count as well.

    Returns:
        A hexadecimal SHA-256 over names and contents.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


class Vector(types.Type):
    """Numba type of `LANES` floats of one precision."""

    def __init__(self, scalar: Any) -> None:
        self.scalar = scalar
        super().__init__(name=f"Vector{LANES}({scalar})")


class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        scalar = ir.FloatType() if fe_type.scalar == types.float32 else ir.DoubleType()
        super().__init__(dmm, fe_type, ir.VectorType(scalar, LANES))


register_model(Vector)(_VectorModel)


def _pointer(context: Any, builder: Any, signature: Any, args: Any) -> tuple[Any, int]:
    array_type = signature.args[0]
    array = context.make_array(array_type)(context, builder, args[0])
    address = builder.gep(array.data, [args[1]])
    vector = context.get_value_type(Vector(array_type.dtype))
    return builder.bitcast(address, vector.as_pointer()), array_type.dtype.bitwidth // 8


def _load(typingctx: Any, array: Any, index: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer, alignment = _pointer(context, builder, signature, args)
        return builder.load(pointer, align=alignment)

    return Vector(array.dtype)(array, types.intp), codegen


def _store(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer, alignment = _pointer(context, builder, signature, args)
        builder.store(args[2], pointer, align=alignment)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


def _splat(typingctx: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = context.get_value_type(signature.return_type)
        single = builder.insert_element(ir.Constant(vector, ir.Undefined), args[0], ir.Constant(ir.IntType(32), 0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), mask)

    return Vector(value)(value), codegen


def _binary(operation: str) -> Any:
    def define(typingctx: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, operation)(*args)

        return a(a, b), codegen

    return intrinsic(define)


def _fma(negate: bool) -> Any:
    def define(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            first = builder.fneg(args[0]) if negate else args[0]
            vector = first.type
            letter = "f32" if a.scalar == types.float32 else "f64"
            function = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{LANES}{letter}"
            )
            return builder.call(function, [first, args[1], args[2]])

        return a(a, b, c), codegen

    return intrinsic(define)


load: Any = intrinsic(_load)
"""load(array, index): `LANES` contiguous elements of a one-dimensional array."""
store: Any = intrinsic(_store)
"""store(array, index, vector)."""
splat: Any = intrinsic(_splat)
"""splat(scalar): the scalar in every lane; its precision is the vector's."""
add: Any = _binary("fadd")
sub: Any = _binary("fsub")
mul: Any = _binary("fmul")
fma: Any = _fma(negate=False)
"""fma(a, b, c) = a * b + c."""
fnma: Any = _fma(negate=True)
"""fnma(a, b, c) = c - a * b."""


@lean_kernel
def store_turn(turns: Any, angle: int, lane: int, lanes: int, value: float) -> None:
    """cos and sin of a value into `lanes` lanes from `lane` on, as vectors `2 * angle` and `2 * angle + 1`."""
    cosine, sine = turns.dtype.type(math.cos(value)), turns.dtype.type(math.sin(value))
    for k in range(lane, lane + lanes):
        turns[2 * angle * LANES + k] = cosine
        turns[(2 * angle + 1) * LANES + k] = sine
