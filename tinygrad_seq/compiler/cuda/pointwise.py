"""Operations on elements that are launched together, as the text of one CUDA kernel."""

from __future__ import annotations

from typing import NamedTuple

from ...backend import Array
from ...backend import numpy_module as numpy
from ..operations import evaluate
from ..program import Instr, Var
from .codegen import PRELUDE, TYPES, expression, literal, loop_kind

NAME = "tg_elements"


class Kernel(NamedTuple):
    """Operations on elements that are launched together.

    Attributes:
        inputs: what it reads; these broadcast to one shape, which is that of all it makes. Of their shapes it counts
            alone how many dimensions there are, and along which their length is 1.
        outputs: what others need of what it makes.
    """

    instrs: list[Instr]
    inputs: list[Var]
    outputs: list[Var]

    def source(self, flat: bool) -> str:
        """CUDA C++ of arrays as `backend.cuda_sources.ARRAYS` has them, the inputs and then the outputs.

        Args:
            flat: whether all lie element after element, and have one shape.
        """
        whole = numpy.broadcast_shapes(*[v.shape for v in self.inputs])
        parameters = [f"{_array(v, flat, 'const ')} a{k}" for k, v in enumerate(self.inputs)]
        parameters += [f"{_array(v, flat)} b{k}" for k, v in enumerate(self.outputs)]
        lines = [
            "const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;",
            "if (i >= b0.size) return;",
        ]
        if not flat:
            lines += unravelled(whole, "b0")
        for k, v in enumerate(self.inputs):
            at = f"a{k}.at[i]" if flat else f"tg_at(a{k}, {byte_offset(v.shape, len(whole), f'a{k}')})"
            lines.append(f"const {TYPES[v.dtype.char]} x{k} = {at};")
        lines += self._statements()
        body = "\n".join([f"    {line}" for line in lines])
        return f'{PRELUDE}extern "C" __global__ void {NAME}({", ".join(parameters)}) {{\n{body}\n}}\n'

    def _statements(self) -> list[str]:
        names = {v: f"x{k}" for k, v in enumerate(self.inputs)}
        lines = []
        for n, instr in enumerate(self.instrs):
            kind = loop_kind(instr) or ""
            operands = []
            for at, a in enumerate(instr.args):
                truth = "?" if instr.op == "where" and at == 0 else kind
                operands.append((names[a], a.dtype.char) if type(a) is Var else (literal(a, truth), truth))
            names[instr.out] = f"v{n}"
            lines.append(f"const {TYPES[instr.out.dtype.char]} v{n} = {expression(instr, operands)};")
        return lines + [f"b{k}.at[i] = {names[v]};" for k, v in enumerate(self.outputs)]

    def on_arrays(self, *arrays: Array) -> list[Array]:
        """The same, one operation after the other."""
        found = dict(zip(self.inputs, arrays, strict=True))
        for instr in self.instrs:
            found[instr.out] = evaluate(instr.op, [found.get(a, a) for a in instr.args], instr.params)
        return [found[v] for v in self.outputs]


def _array(v: Var, flat: bool, access: str = "") -> str:
    """The type of a parameter; of flat ones nobody asks for the dimensions, so that one text serves all shapes."""
    return f"TgArray<{access}{TYPES[v.dtype.char]}, {1 if flat else max(len(v.shape), 1)}>"


def unravelled(shape: tuple[int, ...], array: str) -> list[str]:
    """Statements that take the flat index i apart, by the lengths of an array: d0, d1, ..."""
    lines, rest = [], "i"
    for d in range(len(shape) - 1, -1, -1):
        if shape[d] == 1:
            continue
        lines.append(f"const long long d{d} = {rest} % {array}.lengths[{d}], r{d} = {rest} / {array}.lengths[{d}];")
        rest = f"r{d}"
    return lines


def byte_offset(shape: tuple[int, ...], dims: int, array: str) -> str:
    """How many bytes behind its beginning an array of this shape has what belongs to d0, d1, ... of so many."""
    terms = [f"d{d + dims - len(shape)} * {array}.steps[{d}]" for d, n in enumerate(shape) if n != 1]
    return " + ".join(terms) or "0"
