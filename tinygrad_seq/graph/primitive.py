"""The graph: what a primitive is, and how applying one to tensors is recorded.

A `Primitive` is a function on arrays with its vector-Jacobian products. Applied to bare arrays it just computes.
Applied to a `Value` (of which `Tensor` is the public face) it computes, and leaves a `Node` behind: which primitive,
from which nodes its inputs came, and the arrays that its rules will ask for. Shape of the idea: Griewank & Walther,
"Evaluating Derivatives", ch. 3 (the tape), with one node an application instead of one an elementary assignment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, overload

from ..backend import (
    SCALAR,
    Array,
    backend_of,
    bool_,
    complex64,
    complex128,
    float16,
    float32,
    float64,
    is_array,
    is_plain,
)
from ..backend.dispatch import at, on_gpu, on_operand_device
from .errors import MISTAKES, explained, require_numbers
from .grad_mode import grad_enabled
from .node import FunctionNode, Node, Output, Value
from .operands import beside_arrays, frozen, halves, in_one_dtype, plain, used_arguments
from .saved_tensors import mark_view, next_number, share_storage, shares_memory, version_counter
from .tracing_hook import tracers

if TYPE_CHECKING:
    from ..tensor import Tensor

Rule = Callable[..., Any]
P = ParamSpec("P")  # what a primitive takes after its first operand


_new: Callable[[type[Any]], Any] = object.__new__

_NUMBERS = (float, int)
_VARIABLE, _CONSTANT = (True,), (False,)  # one operand that wants a gradient, one that does not

_NO_PARAMS: dict[str, Any] = {}  # one for all nodes: a graph of a million has fewer objects for Python to watch

# Told of each application, as (primitive, operands, result, node or None, whether it is a rule of the backward pass).
observers: list[Callable[[Primitive[...], Sequence[Any], Any, Any, bool], None]] = []


class Primitive(Generic[P]):
    """A function on arrays, and one rule per array argument saying how a gradient passes back through it.

    Arrays are positional, settings keyword-only. The function returns an array or a tuple of arrays, and works for any
    array library: it asks `array_module` for the functions it calls.

    Attributes:
        promotes: the place from which on its operands are brought to one dtype as PyTorch does it (see `promoted`);
            None where they are not.
        is_view: whether its result aliases its first operand where the array library need not copy. Which tensors do
            is noted: a recorded change in place would not reach the others.
        internal: settings that no user gives, which messages leave out.
    """

    promotes: int | None = None
    internal: frozenset[str] = frozenset()
    name: str
    __name__: str

    def __init__(
        self, forward: Callable[Concatenate[Any, P], Any], name: str | None = None, is_view: bool = False
    ) -> None:
        if not callable(forward):
            raise TypeError(f"primitive: takes a function, got {forward!r}")
        self.forward: Callable[..., Any] = forward
        self.name = self.__name__ = name or forward.__name__.strip("_")
        self.__doc__ = forward.__doc__
        self.__module__ = forward.__module__
        self.__wrapped__ = forward
        self.is_view = is_view
        self.rules: Sequence[Any] = ()  # Rules; None where there is none, until one is asked for
        self.joint_rule: Rule | None = None
        self._keeps: Callable[[bool], bool] | None = None
        self._plans: dict[tuple[bool, ...], tuple[tuple[int, ...] | None, bool | None]] = {}

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def vjp(self, *rules: Rule | None) -> None:
        """Give one rule per array argument: `rule(g, y, *inputs, **params)` -> gradient of that argument.

        `g` is the gradient of the output `y` (for several outputs, both are tuples). Write rules with operators and
        primitives: given arrays they compute, given Tensors they are recorded, which gives higher derivatives. None
        stands for an argument without a derivative, such as an index. Broadcasting is undone afterwards, not in rules.

        A rule's parameter whose name starts with an underscore is not kept for the backward pass: it arrives as
        something that has `shape`, `dtype` and `ndim` alone (`_y` as None).

        Raises:
            TypeError: if a rule is no function, or there are more of them than arguments.
        """
        code = getattr(self.forward, "__code__", None)
        if code is not None and not code.co_flags & 0x04 and len(rules) > code.co_argcount:  # 0x04: has *args
            raise TypeError(f"vjp: got {len(rules)} rules for the {code.co_argcount} array arguments of '{self.name}'")
        for rule in rules:
            if rule is not None and not callable(rule):
                raise TypeError(f"vjp: a rule of '{self.name}' must be a function or None, got {rule!r}")
        self.rules = rules
        self._plans.clear()

    def vjp_joint(self, rule: Rule, *, keeps: Callable[[bool], bool] | None = None) -> None:
        """Give one rule for all arguments at once; it returns a sequence of gradients, one (or None) for each.

        For primitives that take any number of arrays. Underscores mean what they mean in `vjp`.

        Args:
            keeps: which of the arguments after the output are kept, by whether a gradient is wanted for one.
        """
        self.joint_rule, self._keeps = rule, keeps
        self._plans.clear()

    @overload
    def __call__(self, x: Tensor, /, *inputs: P.args, **params: P.kwargs) -> Tensor: ...
    @overload
    def __call__(self, x: Any, /, *inputs: P.args, **params: P.kwargs) -> Any: ...
    def __call__(self, *inputs: Any, **params: Any) -> Any:  # type: ignore[misc]  # takes all that a P may be
        """Apply to arrays: an array. Apply to tensors: a tensor, recorded if grad mode is on and one requires it.

        The usual case is in one piece: each call of a function in Python costs a tenth of what NumPy takes.
        """
        if tracers:
            inputs = tracers[-1].captured(inputs)
        arrays: Any
        parents: Any
        wanted: tuple[bool, ...]  # whether each requires a gradient
        has_plain_array = False  # whether one is an array that is no tensor's
        if len(inputs) == 1 and isinstance(x := inputs[0], Value):  # the usual operands: 0.4 µs less
            node = x.node
            arrays, parents, wanted = (x.array,), (node,), _CONSTANT if node is None else _VARIABLE
        elif len(inputs) == 2 and isinstance(x := inputs[0], Value) and isinstance(z := inputs[1], Value):
            arrays, parents = [x.array, z.array], (x.node, z.node)
            wanted = (x.node is not None, z.node is not None)
        elif len(inputs) == 2 and isinstance(x := inputs[0], Value) and type(z := inputs[1]) in _NUMBERS:
            arrays, parents, wanted = [x.array, z], (x.node, None), (x.node is not None, False)
        else:
            if not inputs and "input" in params:  # PyTorch's name for the first
                inputs = (params.pop("input"),)
            arrays, parents, wanted, has_plain_array = self._operands(inputs, params)
            if not parents:
                return self._call_on_arrays(inputs, params, has_plain_array)
        try:
            forward = on_operand_device(self.forward) if on_gpu else self.forward
            if len(arrays) == 1 and not params:
                y = forward(arrays[0])  # a star costs 0.04 µs, and so do settings, though there are none
            else:
                y = forward(*arrays, **params) if params else forward(*arrays)
        except MISTAKES as error:
            raise self._explain(error, arrays, params) from error
        several = type(y) is tuple
        if several:
            y = tuple([backend_of(part).asarray(part) if isinstance(part, SCALAR) else part for part in y])
            shape, dtype = tuple([part.shape for part in y]), y[0].dtype if y else None
        else:
            try:
                shape, dtype = y.shape, y.dtype
            except AttributeError:
                raise TypeError(
                    f"{self.name}: a primitive returns an array or a tuple of arrays, this one a {type(y).__name__}"
                ) from None
            if not shape and isinstance(y, SCALAR):
                y = backend_of(y).asarray(y)
            if dtype is not float32 or halves or has_plain_array:
                y = self._converted(y, arrays, params)
                dtype = y.dtype
        drop, keep_output = self._plans.get(wanted) or self._plan(wanted)
        node = None
        if (
            keep_output is not None
            and (dtype is float32 or (dtype is not None and dtype.kind in "fc"))
            and grad_enabled.get()
        ):
            node = FunctionNode()
            node.primitive = self
            node.parents = parents
            if drop is None:  # one for both: 0.15 µs less for Python's collector
                node.inputs = parents
            else:
                for i in drop:
                    arrays[i] = parents[i] or _meta(arrays[i])
                node.inputs = arrays
            node.output = y if keep_output else None
            node.params = params or _NO_PARAMS
            node.number = next_number()
            node.shape = shape
            node.dtype = dtype
            if has_plain_array or version_counter.lent:
                version_counter.copy_lent_inputs(node)
        if observers:
            for observe in observers:
                observe(self, [getattr(x, "array", x) for x in inputs], y, node, False)
        if several:
            return self._outputs(inputs[0], y, node)
        value = _new(Value.result_class)
        value.array = y
        value.node = node
        if self.is_view and shares_memory(y, arrays[0]):
            mark_view(inputs[0], value, self, params)
        return value

    def _operands(self, inputs: tuple[Any, ...], params: dict[str, Any]) -> tuple[Any, Any, tuple[bool, ...], bool]:
        """Of any operands: arrays and numbers, nodes, which want a gradient, and whether one is a plain array."""
        if not any(isinstance(x, Value) for x in inputs):  # as in a gradient's rule: nothing to record
            plain_arrays = [x if is_plain(x) else plain(x, self.name) for x in inputs if hasattr(x, "dtype")]
            return (), (), (), bool(plain_arrays)
        arrays: list[Any] = []
        parents: list[Any] = []
        wanted, lists, has_plain_array = [], False, False
        for x in inputs:
            if isinstance(x, Value):
                arrays.append(x.array)
                parents.append(x.node)
                wanted.append(x.node is not None)
            else:
                if hasattr(x, "dtype"):
                    x = x if is_plain(x) else plain(x, self.name)
                    has_plain_array = True
                elif isinstance(x, (list, tuple)):
                    x, lists = frozen(x), True
                arrays.append(x)
                parents.append(None)
                wanted.append(False)
        if lists:
            try:
                arrays = beside_arrays(arrays, self.promotes is not None)
            except MISTAKES as error:
                raise self._explain(error, arrays, params) from error
        return arrays, parents, tuple(wanted), has_plain_array

    def _converted(self, y: Array, arrays: Sequence[Any], params: dict[str, Any]) -> Array:
        """A result in the dtype that it has here, where it may be another one, or that of no numbers."""
        dtype = y.dtype
        if dtype.kind not in "biufc":
            raise TypeError(f"{self.name}: takes tensors, arrays and numbers; the result would be of {dtype}")
        if (self.promotes is not None or dtype is float64 or dtype is float16) and "dtype" not in params:
            return self._promote(y, list(arrays), params)
        return y

    def _outputs(self, x: Any, y: tuple[Array, ...], node: FunctionNode | None) -> tuple[Any, ...]:
        """Several results as tensors, and views of x if they are."""
        wrap = Value.result_class.wrap
        parts = tuple([wrap(part, node and _output(part, node, i)) for i, part in enumerate(y)])
        if self.is_view:
            share_storage(x, *parts)
        return parts

    def _call_on_arrays(self, inputs: tuple[Any, ...], params: dict[str, Any], has_plain_array: bool) -> Any:
        """The function itself, of arrays and numbers alone."""
        try:
            if not has_plain_array:
                require_numbers(inputs)
            return (on_operand_device(self.forward) if on_gpu else self.forward)(*inputs, **params)
        except MISTAKES as error:
            raise self._explain(error, inputs, params) from error

    def _plan(self, wanted: tuple[bool, ...]) -> tuple[tuple[int, ...] | None, bool | None]:
        """Which inputs need not be kept for the rules that will run, and whether the output must. Worked out once."""
        count = len(wanted)
        plan: tuple[tuple[int, ...] | None, bool | None] = (None, None)  # nothing to record
        if any(wanted):
            if self.joint_rule is not None:
                used = [used_arguments(self.joint_rule, count)]
                if self._keeps is not None:
                    used[0][1:] = [self._keeps(flag) for flag in wanted]
            else:
                given = zip_longest(self.rules, wanted)
                self.rules = tuple([rule or self._no_rule(i) for i, (rule, _) in enumerate(given)])
                used = [used_arguments(r, count) for r, flag in zip(self.rules, wanted, strict=False) if flag]
            drop: tuple[int, ...] | None = tuple([i for i in range(count) if not any(u[1 + i] for u in used)])
            if drop == tuple(range(count)) and all(wanted):
                drop = None  # their nodes stand for all inputs
            plan = (drop, any(u[0] for u in used))
        self._plans[wanted] = plan
        return plan

    def _no_rule(self, place: int) -> Rule:
        def refuse(*_: Any, **__: Any) -> Any:
            raise NotImplementedError(
                f"backward: no gradient rule for '{self.name}' with respect to argument {place}; detach() that "
                "argument if it is meant to be a constant"
            )

        return refuse

    def _promote(self, y: Array, arrays: list[Any], params: dict[str, Any]) -> Array:
        """The result in the dtype that it has here, if NumPy may have given it another one.

        Operands are promoted as in PyTorch; what NumPy makes float64 or float16 of integers and numbers is float32.
        """
        dtype, first = y.dtype, self.promotes
        dtypes = [a.dtype for a in (arrays[first:] if first else arrays) if hasattr(a, "dtype")]
        if dtypes and dtypes.count(dtypes[0]) == len(dtypes) and (dtypes[0] is dtype or dtype is bool_):
            return y  # the usual case: all of one dtype
        with at(y):
            try:
                given = None if first is None else in_one_dtype(arrays[first:], dtype)
            except MISTAKES as error:
                raise self._explain(error, arrays, params) from error
            if given is not None:
                return backend_of(y).asarray(self.forward(*arrays[:first], *given, **params))
            wide = float64 in dtypes or complex128 in dtypes
            if dtype.kind in "bui" or dtype is float32 or (dtype is float16 and float16 in dtypes) or wide:
                return y
            if dtype is not float16:
                return y.astype(float32 if dtype.kind == "f" else complex64)
            exact = [a.astype(float32) if is_array(a) and a.dtype.kind in "biu" else a for a in arrays]
            return backend_of(y).asarray(self.forward(*exact, **params))

    def _explain(self, error: Exception, arrays: Sequence[Any], params: dict[str, Any]) -> Exception:
        """The same error with our name and the operands in front; on mixed devices, the way out."""
        devices = sorted({backend_of(a).device_name(a) for a in arrays if is_array(a)})
        if len(devices) > 1:
            return RuntimeError(
                f"{self.name}: operands are on {' and '.join(devices)}; move one with .to({devices[-1]!r})"
            )
        given = {name: value for name, value in params.items() if name not in self.internal}
        return explained(self.name, error, arrays, given)


def _output(array: Array, application: FunctionNode, index: int) -> Output | None:
    """The node of one of several outputs; None for integers, which carry no gradient."""
    return Output(array, application, index) if array.dtype.kind in "fc" else None


def _meta(array: Array) -> Any:
    """The shape and dtype of an array whose values nobody will ask for; a number as it is."""
    if not hasattr(array, "shape"):
        return array
    meta = _new(Node)
    meta.shape, meta.dtype = array.shape, array.dtype
    return meta


@overload
def primitive(forward: Callable[Concatenate[Any, P], Any]) -> Primitive[P]: ...
@overload
def primitive(
    *, name: str | None = None, is_view: bool = False
) -> Callable[[Callable[Concatenate[Any, P], Any]], Primitive[P]]: ...
def primitive(forward: Callable[..., Any] | None = None, *, name: str | None = None, is_view: bool = False) -> Any:
    """Decorator: make a function on arrays a primitive. Give it its rules with `vjp`.

    >>> @primitive
    ... def square(x):
    ...     return x * x
    >>> square.vjp(lambda g, _y, x: g * 2 * x)

    Args:
        name: what messages and drawings call it, if not by the function's name: `@primitive(name="sum")`.
        is_view: whether its result can be a view of its first operand.
    """
    if forward is None:
        return lambda function: Primitive(function, name, is_view)
    return Primitive(forward, name, is_view)
