"""Vector arithmetic that is written once in Python and emitted as LLVM instructions.

The simulator keeps `LANES` samples of the batch side by side; an amplitude is two vectors, its real and imaginary
part, and a gate is the same arithmetic on all lanes. A function decorated with `staged` runs when a kernel is
compiled: its arguments stand for values of the running kernel, and what it does with them becomes part of the kernel.
Numba sees one call, where it would otherwise type and lower dozens of operations one by one; that is what makes the
kernels compile in seconds. Loops and branches belong to the kernels that call staged functions.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model

from qhybrid.quantum.circuits.feasibility import LANES

# A product followed by a sum may become one fused instruction.
_FLAGS = ("contract",)
_WORD = ir.IntType(8 * np.dtype(np.intp).itemsize)


class Vectors(types.Type):
    """Numba type of a fixed number of vectors of one precision; what staged functions take and return."""

    def __init__(self, scalar: Any, count: int) -> None:
        self.scalar, self.count = scalar, count
        super().__init__(name=f"Vectors{count}x{LANES}({scalar})")


class _VectorsModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, dmm: Any, fe_type: Vectors) -> None:
        super().__init__(dmm, fe_type, ir.LiteralStructType([_vector_type(fe_type.scalar)] * fe_type.count))


register_model(Vectors)(_VectorsModel)


class Lane:
    """One real number per lane."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def __add__(self, other: Lane) -> Lane:
        return Lane(self.builder, self.builder.fadd(self.value, other.value, flags=_FLAGS))

    def __sub__(self, other: Lane) -> Lane:
        return Lane(self.builder, self.builder.fsub(self.value, other.value, flags=_FLAGS))

    def __mul__(self, other: Lane) -> Lane:
        return Lane(self.builder, self.builder.fmul(self.value, other.value, flags=_FLAGS))

    def __neg__(self) -> Lane:
        return Lane(self.builder, self.builder.fneg(self.value))


def fma(a: Lane, b: Lane, c: Lane) -> Lane:
    """`a * b + c` as one instruction where the machine has it, whatever else stands around it.

    With `*` and `+` the compiler chooses what to fuse, and with it the last bits of a result.

    Args:
        a: First factor of the product.
        b: Second factor of the product.
        c: Summand added to the product.
    """
    vector = a.value.type
    letter = "f32" if vector.element == ir.FloatType() else "f64"
    function = cgutils.get_or_insert_function(
        a.builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{LANES}{letter}"
    )
    return Lane(a.builder, a.builder.call(function, [a.value, b.value, c.value]))


class Amplitude:
    """One complex number per lane."""

    def __init__(self, re: Lane, im: Lane) -> None:
        self.re, self.im = re, im

    def __neg__(self) -> Amplitude:
        return Amplitude(-self.re, -self.im)

    def conj(self) -> Amplitude:
        """The complex conjugate."""
        return Amplitude(self.re, -self.im)


def combine(*products: tuple[Amplitude, Amplitude]) -> Amplitude:
    """The sum of products of amplitudes, as one chain of fused operations."""
    (a, x), *others = products
    re, im = a.re * x.re - a.im * x.im, a.re * x.im + a.im * x.re
    for b, y in others:
        re, im = re + b.re * y.re - b.im * y.im, im + b.re * y.im + b.im * y.re
    return Amplitude(re, im)


class Memory:
    """A kernel's array. Places count amplitudes (`memory[i]`), vectors (`lane`) or single numbers (`scalar`).

    A place is an `Index`, or for vectors and single numbers also a constant.
    """

    def __init__(self, builder: Any, pointer: Any) -> None:
        self.builder, self.pointer = builder, pointer
        self._bytes = 4 if pointer.type.pointee == ir.FloatType() else 8

    def __getitem__(self, index: Any) -> Amplitude:
        return Amplitude(self.lane(_times(index, 2)), self.lane(_times(index, 2, 1)))

    def __setitem__(self, index: Any, value: Amplitude) -> None:
        self.set_lane(_times(index, 2), value.re)
        self.set_lane(_times(index, 2, 1), value.im)

    def lane(self, index: Index | int) -> Lane:
        """The vector at `index`."""
        return Lane(self.builder, self.builder.load(self._vector(index), align=self._bytes))

    def set_lane(self, index: Index | int, value: Lane) -> None:
        """Write the vector at `index`."""
        self.builder.store(value.value, self._vector(index), align=self._bytes)

    def scalar(self, index: Index | int) -> Lane:
        """The single number at `index`, in all lanes."""
        return _spread(self.builder, self.builder.load(self.builder.gep(self.pointer, [self._place(index).value])))

    def constant(self, number: float) -> Lane:
        """A number of this array's precision in all lanes."""
        return Lane(self.builder, ir.Constant(ir.VectorType(self.pointer.type.pointee, LANES), [number] * LANES))

    def _place(self, index: Index | int) -> Index:
        return index if isinstance(index, Index) else Index(self.builder, ir.Constant(_WORD, index))

    def _vector(self, index: Index | int) -> Any:
        place = self.builder.gep(self.pointer, [_times(self._place(index), LANES).value])
        return self.builder.bitcast(place, ir.VectorType(self.pointer.type.pointee, LANES).as_pointer())


class Index:
    """An integer of the running kernel."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def __add__(self, other: Index | int) -> Index:
        if isinstance(other, Index):
            return Index(self.builder, self.builder.add(self.value, other.value))
        return _times(self, 1, other)

    def __mul__(self, number: int) -> Index:
        return _times(self, number)


def staged(outputs: int = 0) -> Callable[[Callable[..., Any]], Any]:
    """Make a function of `Memory`, `Index`, `Lane` and lists of `Lane` callable from kernels.

    In the kernel these are arrays, integers, floats and `Vectors`.

    Args:
        outputs: How many lanes the function returns, as one value of type `Vectors`; 0 for none.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        def define(typingctx: Any, *arguments: Any) -> Any:
            scalar = next(_scalar_of(argument) for argument in arguments if _scalar_of(argument) is not None)

            def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
                pairs = zip(signature.args, values, strict=True)
                result = function(*(_wrap(context, builder, kind, value) for kind, value in pairs))
                if not outputs:
                    return context.get_dummy_value()
                packed = ir.Constant(context.get_value_type(signature.return_type), ir.Undefined)
                for place, lane in enumerate(result):
                    packed = builder.insert_value(packed, lane.value, place)
                return packed

            return (Vectors(scalar, outputs) if outputs else types.void)(*arguments), codegen

        define.__name__, define.__doc__ = function.__name__, function.__doc__
        # Numba takes the number of arguments from the signature.
        own = inspect.signature(function)
        context = inspect.Parameter("typingctx", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        define.__signature__ = own.replace(parameters=[context, *own.parameters.values()])  # type: ignore[attr-defined]
        return intrinsic(define)

    return decorate


def _vector_type(scalar: Any) -> Any:
    return ir.VectorType(ir.FloatType() if scalar == types.float32 else ir.DoubleType(), LANES)


def _scalar_of(kind: Any) -> Any:
    if isinstance(kind, types.Array):
        return kind.dtype if isinstance(kind.dtype, types.Float) else None
    return getattr(kind, "scalar", kind if isinstance(kind, types.Float) else None)


def _wrap(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    if isinstance(kind, types.Array):
        return Memory(builder, context.make_array(kind)(context, builder, value).data)
    if isinstance(kind, Vectors):
        return [Lane(builder, builder.extract_value(value, place)) for place in range(kind.count)]
    if isinstance(kind, types.Float):
        return _spread(builder, value)
    return Index(builder, context.cast(builder, value, kind, types.intp))


def _spread(builder: Any, number: Any) -> Lane:
    undefined = ir.Constant(ir.VectorType(number.type, LANES), ir.Undefined)
    single = builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return Lane(builder, builder.shuffle_vector(single, undefined, mask))


def _times(index: Any, factor: int, offset: int = 0) -> Index:
    word = index.value.type
    value = index.value if factor == 1 else index.builder.mul(index.value, ir.Constant(word, factor))
    return Index(index.builder, index.builder.add(value, ir.Constant(word, offset)) if offset else value)


@staged(outputs=1)
def load_lane(array: Any, index: Any) -> Any:
    """One vector."""
    return (array.lane(index),)


@staged()
def store_lane(array: Any, index: Any, value: Any) -> None:
    """Write one vector."""
    array.set_lane(index, value[0])


@staged()
def add_lane(array: Any, index: Any, value: Any) -> None:
    """Add to one vector in memory."""
    array.set_lane(index, array.lane(index) + value[0])


@staged(outputs=1)
def zero_lane(array: Any) -> Any:
    """Zeros of the array's precision."""
    return (array.constant(0.0),)


@staged(outputs=1)
def add_lanes(a: Any, b: Any) -> Any:
    """The sum of two vectors."""
    return (a[0] + b[0],)
