"""Derivatives of functions, of any order, nested at will. Arguments and results may be containers of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..autodiff import recorded_sweep, sweep, topological_order
from ..backend import array_module
from ..backend.dispatch import at
from ..backend.pytree import leaves, rebuild, tree_map
from ..graph import FunctionNode, Leaf, Node
from ..graph.grad_mode import double_backward, enable_grad, is_grad_enabled
from ..graph.tracing_hook import tracers
from ..ops.elementwise import cast
from ..ops.shape import reshape, stack
from ..tensor import Tensor, as_tensor
from ..tensor.autograd_methods import wrapped

Function = Callable[..., Any]


class _Evaluation(NamedTuple):
    """One call of a function on variables of its own, recorded.

    Attributes:
        result: what the function returned.
        variables: the tensors that stand for the leaves of the arguments to differentiate by.
        outer: whether something outside could ask for a derivative of the gradients, too.
    """

    result: Any
    variables: list[Tensor]
    outer: bool

    def value(self) -> Any:
        """The result, without the graph unless somebody outside could ask for its derivative."""
        return self.result if self.outer else tree_map(Tensor.detach, self.result)

    def pull(self, roots: Sequence[tuple[Node, Tensor]], recorded: bool = False) -> list[Tensor]:
        """The gradients of the variables, from those that arrive at the roots. May be called again and again."""
        return _pull(roots, self.variables, recorded or self.outer or (is_grad_enabled() and _any_tracked(roots)))

    def seeded(self) -> tuple[list[Tensor], list[Tensor]]:
        """The gradients of the variables as functions of the gradients ȳ that arrive at the results, and these ȳ."""
        ys = [y for y in leaves(self.result) if y.node is not None]
        with enable_grad():
            seeds = [_zeros(y).requires_grad_() for y in ys]
            return self.pull([(y.node, seed) for y, seed in zip(ys, seeds, strict=True)], recorded=True), seeds


def _require_function(name: str, f: Any) -> None:
    if not callable(f):
        raise TypeError(f"{name}: takes a function first, got a {type(f).__name__}")


def _require_sequences(name: str, primals: Any, tangents: Any) -> None:
    for given, what in ((primals, "primals"), (tangents, "tangents")):
        if not isinstance(given, (tuple, list)):
            raise TypeError(f"{name}: {what} must be a tuple with one entry per argument, got a {type(given).__name__}")


def _any_tracked(roots: Sequence[tuple[Node, Tensor]]) -> bool:
    return any(g.requires_grad for _, g in roots)


def _zeros(like: Tensor) -> Tensor:
    with at(like.array):
        return Tensor.wrap(array_module(like.array).zeros_like(like.array))


def _close(variables: Sequence[Tensor]) -> None:
    """The derivative is done: from now on nobody can ask for one by these variables."""
    for variable in variables:
        if isinstance(variable.node, Leaf):
            variable.node.closed = True


def _tensor(gradient: Any) -> Tensor:
    return gradient if isinstance(gradient, Tensor) else wrapped(gradient)


def _pull(roots: Sequence[tuple[Node, Tensor]], variables: Sequence[Tensor], recorded: bool) -> list[Tensor]:
    targets = [v.node for v in variables if v.node is not None]
    if tracers:
        tracers[-1].captured(tuple([g for _, g in roots]))
    if recorded:
        found = recorded_sweep(roots, targets, retain_graph=True, value_class=Tensor)
    else:
        found = sweep([(node, g.array) for node, g in roots], targets, retain_graph=True)
    return [_tensor(found[v.node]) if v.node in found else _zeros(v) for v in variables]


def _evaluate(
    name: str, f: Function, args: Sequence[Any], kwargs: dict[str, Any], positions: Sequence[int]
) -> _Evaluation:
    """Call f(*args, **kwargs), with fresh variables in the place of the tensors in the arguments at `positions`."""
    variables: list[Tensor] = []

    def fresh(x: Any) -> Tensor:
        x = as_tensor(x)
        if x.dtype.kind not in "fc":
            raise TypeError(
                f"{name}: an argument of {x.dtype} has no gradient, only floating-point ones do; use .float()"
            )
        # a leaf, or if something outside wants a gradient through x, a node of our own that leads there
        variables.append(x.detach().requires_grad_() if x.node is None else cast(x, dtype=x.dtype))
        return variables[-1]

    nested = is_grad_enabled()
    with enable_grad():
        given = [tree_map(fresh, arg) if n in positions else arg for n, arg in enumerate(args)]
        inner = nested and any(isinstance(v.node, FunctionNode) for v in variables)
        token = double_backward.set(double_backward.get() or inner or name in ("jvp", "hvp"))
        try:
            result = f(*given, **kwargs)
        finally:
            double_backward.reset(token)
    strange = [y for y in leaves(result) if not isinstance(y, Tensor)]
    if strange and name in ("vjp", "jvp"):
        raise TypeError(f"{name}: the function must return tensors, it returned a {type(strange[0]).__name__}")
    stops: set[Node] = {v.node for v in variables if v.node is not None}
    roots = [y.node for y in leaves(result) if isinstance(y, Tensor) and y.node is not None]
    outer = nested and any(
        (node in stops and node.parents) or (isinstance(node, Leaf) and not node.closed and node not in stops)
        for node in topological_order(roots, stops)
    )
    return _Evaluation(result, variables, outer)


def _positions(name: str, argnums: int | Sequence[int], count: int) -> list[int]:
    chosen: list[Any] = list(argnums) if isinstance(argnums, (tuple, list)) else [argnums]
    if not all(isinstance(n, int) for n in chosen):
        raise TypeError(f"{name}: argnums must be an integer or several, got {argnums!r}")
    if any(not -count <= n < count for n in chosen):
        raise TypeError(f"{name}: argnums={argnums}, but the function was called with {count} positional arguments")
    return [n % count for n in chosen]


def _scalar(name: str, y: Any) -> Tensor:
    if not isinstance(y, Tensor) or y.numel() != 1 or y.dtype.kind not in "fc":
        what = f"a tensor of shape {y.shape}, {y.dtype}" if isinstance(y, Tensor) else f"a {type(y).__name__}"
        raise TypeError(f"{name}: the function must return a scalar floating-point tensor, it returned {what}")
    return y


def _ones(y: Tensor) -> Tensor:
    with at(y.array):
        return Tensor.wrap(array_module(y.array).ones_like(y.array))


def _sorted_out(gradients: list[Tensor], args: Sequence[Any], positions: list[int], argnums: Any) -> Any:
    """Gradients in the containers of the arguments that they belong to, and in a tuple if argnums was one."""
    rest = iter(gradients)
    built = {n: rebuild(args[n], rest) for n in sorted(set(positions))}
    return built[positions[0]] if isinstance(argnums, int) else tuple(built[n] for n in positions)


def value_and_grad(
    f: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., tuple[Any, Any]]:
    """The function that returns both f(*args) and its gradient with respect to the arguments `argnums`.

    Args:
        f: takes tensors, or containers of them, and returns a scalar tensor.
        argnums: the position of the argument to differentiate by, or several of them.
        has_aux: f returns (scalar, anything); the function then returns ((scalar, anything), gradient).

    Returns:
        A function with f's arguments. Where an argument, or anything else that f uses, requires a gradient itself,
        so does the result: this is how derivatives nest. Under `no_grad` the result is a constant.

    Raises:
        TypeError: if f returns something other than a scalar floating-point tensor, or an argument is of integers.
    """
    _require_function("grad", f)

    def wrapped(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        positions = _positions("grad", argnums, len(args))
        evaluation = _evaluate("grad", f, args, kwargs, positions)
        if has_aux and not (isinstance(evaluation.result, tuple) and len(evaluation.result) == 2):
            raise TypeError(
                "grad: with has_aux=True the function must return (scalar, anything), it returned a "
                f"{type(evaluation.result).__name__}"
            )
        result, aux = evaluation.result if has_aux else (evaluation.result, None)
        y = _scalar("grad", result)
        found = evaluation.pull([(y.node, _ones(y))] if y.node is not None else [])
        _close(evaluation.variables)
        value = y if evaluation.outer else y.detach()
        return ((value, aux) if has_aux else value), _sorted_out(found, args, positions, argnums)

    return wrapped


def grad(f: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Function:
    """The function that returns the gradient of f with respect to the arguments `argnums`. See `value_and_grad`.

    >>> tg.grad(lambda x: x**3)(2.0)
    tensor(12.)
    >>> tg.grad(tg.grad(lambda x: x**3))(2.0)
    tensor(12.)
    """
    _require_function("grad", f)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        value, gradient = value_and_grad(f, argnums, has_aux)(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapped


def vjp(f: Function, *primals: Any) -> tuple[Any, Callable[..., tuple[Any, ...]]]:
    """The value of f, and the function that multiplies its transposed Jacobian by a vector: ȳ -> (x̄₁, x̄₂, ...).

    That function takes what f returns (a tensor, or a container of them), and may be called many times.

    Raises:
        ValueError: from that function, if a shape is not that of f's result.
    """
    _require_function("vjp", f)
    evaluation = _evaluate("vjp", f, primals, {}, range(len(primals)))
    ys = leaves(evaluation.result)

    def pull_back(cotangents: Any) -> tuple[Any, ...]:
        vectors = leaves(cotangents)
        if len(vectors) != len(ys):
            raise ValueError(f"vjp: the function returned {len(ys)} tensors, but there are {len(vectors)} vectors")
        given = [as_tensor(g, like=y) for g, y in zip(vectors, ys, strict=True)]
        for g, y in zip(given, ys, strict=True):
            if g.shape != y.shape:
                raise ValueError(f"vjp: the function returned shape {y.shape}, but the vector has shape {g.shape}")
        roots = [(y.node, g.to(y.dtype)) for y, g in zip(ys, given, strict=True) if y.node is not None]
        rest = iter(evaluation.pull(roots))
        return tuple([rebuild(primal, rest) for primal in primals])

    return evaluation.value(), pull_back


def jvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """The value of f at `primals`, and its Jacobian times `tangents`: the directional derivative.

    x̄ = Jᵀ ȳ is linear in ȳ, so its own vector-Jacobian product is J: no rule but the reverse ones is needed.

    Raises:
        ValueError: if the tangents do not have the shapes of the primals.
    """
    _require_function("jvp", f)
    _require_sequences("jvp", primals, tangents)
    evaluation = _evaluate("jvp", f, primals, {}, range(len(primals)))
    gradients, seeds = evaluation.seeded()
    pairs = zip(gradients, leaves(_like("jvp", primals, tangents)), strict=True)
    roots = [(g.node, t) for g, t in pairs if g.node is not None]
    products = iter(_pull(roots, seeds, evaluation.outer or (is_grad_enabled() and _any_tracked(roots))))
    _close([*evaluation.variables, *seeds])
    value = evaluation.value()
    return value, tree_map(lambda y: next(products) if y.node is not None else _zeros(y), evaluation.result)


def _like(name: str, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, ...]:
    """The tangents, checked to fit the primals."""
    xs, ts = [as_tensor(x) for x in leaves(list(primals))], leaves(list(tangents))
    given = [as_tensor(t, like=x) for x, t in zip(xs, ts, strict=False)]
    if [x.shape for x in xs] != [t.shape for t in given] or len(xs) != len(ts):
        shapes = [as_tensor(t).shape for t in ts]
        raise ValueError(f"{name}: the primals have shapes {[x.shape for x in xs]}, but the tangents {shapes}")
    return tuple(rebuild(list(primals), iter([t.to(x.dtype) for x, t in zip(xs, given, strict=True)])))


def hvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, tuple[Any, ...]]:
    """The value of the scalar function f, and its Hessian times `tangents`, at a small multiple of the cost of f.

    It is the gradient of gradient · tangents (Pearlmutter, "Fast exact multiplication by the Hessian", 1994).
    """
    _require_function("hvp", f)
    _require_sequences("hvp", primals, tangents)
    evaluation = _evaluate("hvp", f, primals, {}, range(len(primals)))
    y = _scalar("hvp", evaluation.result)
    gradients = evaluation.pull([(y.node, _ones(y))] if y.node is not None else [], recorded=True)
    pairs = zip(gradients, leaves(_like("hvp", primals, tangents)), strict=True)
    products = iter(evaluation.pull([(g.node, t) for g, t in pairs if g.node is not None]))
    _close(evaluation.variables)
    return evaluation.value(), tuple([rebuild(primal, products) for primal in primals])


def jacobian(f: Function, argnums: int | tuple[int, ...] = 0) -> Function:
    """The function that returns the Jacobian of f, of shape (*shape of f's result, *shape of the argument).

    One backward sweep for each element of the result. f takes and returns tensors.
    """
    _require_function("jacobian", f)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        positions = _positions("jacobian", argnums, len(args))
        evaluation = _evaluate("jacobian", f, args, kwargs, positions)
        y = evaluation.result
        if not isinstance(y, Tensor):
            raise TypeError(f"jacobian: the function must return a tensor, it returned a {type(y).__name__}")
        if y.dtype.kind not in "fc":
            raise TypeError(f"jacobian: the function returned {y.dtype}, which has no derivative")
        rows = []
        for flat in range(y.numel()):
            with at(y.array):
                one = array_module(y.array).zeros(y.numel(), y.dtype)
            one[flat] = 1
            rows.append(evaluation.pull([(y.node, Tensor.wrap(one.reshape(y.shape)))] if y.node is not None else []))
        _close(evaluation.variables)
        built = []
        for k, x in enumerate(evaluation.variables):
            stacked = stack([row[k] for row in rows]) if rows else Tensor.wrap(x.array.reshape(-1)[:0])
            built.append(reshape(stacked, shape=(*y.shape, *x.shape)))
        return _sorted_out(built, args, positions, argnums)

    return wrapped


def hessian(f: Function, argnums: int = 0) -> Function:
    """The function that returns the second derivatives of the scalar function f, (*shape of x, *shape of x)."""
    return jacobian(grad(f, argnums), argnums)


def vmap(f: Function, in_dims: Any = 0, out_dims: int = 0) -> Function:
    """The function that calls f once per sample, and stacks what it returns. `vmap(grad(f))`: gradients per sample.

    A loop, not a transformation: it takes whatever f does (recurrence, control flow on values, random numbers, drawn
    afresh for each sample), at the cost of one call per sample.

    Args:
        f: takes and returns tensors, or containers of them.
        in_dims: the dimension along which the samples of an argument stand; None for an argument that all samples
            share. One for all arguments, or a tuple with one for each.
        out_dims: the new dimension of the results along which the samples stand.

    Raises:
        ValueError: from that function, if no argument has samples, or not all have the same number.

    >>> loss = lambda w, x: ((x @ w) ** 2).sum()
    >>> tg.vmap(tg.grad(loss), in_dims=(None, 0))(tg.ones(2), tg.eye(2))
    tensor([[2., 0.],
            [0., 2.]])
    """
    _require_function("vmap", f)

    def mapped(*args: Any, **kwargs: Any) -> Any:
        dims = in_dims if isinstance(in_dims, tuple) else (in_dims,) * len(args)
        if len(dims) != len(args):
            raise ValueError(f"vmap: in_dims={in_dims} has {len(dims)} entries for {len(args)} arguments")
        pieces = {
            i: [as_tensor(x).unbind(dim) for x in leaves(args[i])] for i, dim in enumerate(dims) if dim is not None
        }
        counts = sorted({len(samples) for of_argument in pieces.values() for samples in of_argument})
        if len(counts) != 1:
            raise ValueError(
                f"vmap: all arguments must have as many samples, along in_dims={in_dims} they have {counts}"
            )

        def sample(n: int) -> list[Any]:
            return [
                rebuild(arg, iter([samples[n] for samples in pieces[i]])) if i in pieces else arg
                for i, arg in enumerate(args)
            ]

        results = [f(*sample(n), **kwargs) for n in range(counts[0])]
        if not results:
            raise ValueError("vmap: there are no samples, so the shape of the result is unknown")
        columns = zip(*[leaves(result) for result in results], strict=True)
        return rebuild(results[0], iter([stack([as_tensor(y) for y in column], out_dims) for column in columns]))

    return mapped
