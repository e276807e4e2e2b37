"""What the optimizers share: parameter groups, state, and saving both."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from numbers import Real
from typing import Any, TypeVar, overload

import tinygrad_seq as tg
from tinygrad_seq import Tensor
from tinygrad_seq.graph.tracing_hook import CompileError, tracers, watch

from ..parameter import Parameter, forget_gradient
from .state import State

Group = dict[str, Any]
R = TypeVar("R")

_FROM_ZERO = (
    "lr",
    "eps",
    "weight_decay",
    "momentum",
    "lr_decay",
    "momentum_decay",
    "initial_accumulator_value",
    "lambd",
    "t0",
)
_FROM_ZERO_TO_ONE = ("alpha", "rho")
_NUMBERS = ("step", "mu_product", "eta", "mu")  # what PyTorch keeps of a parameter as 0-d tensors


class Optimizer:
    """Changes parameters by their gradients. A subclass says in `update` how one parameter changes.

    `foreach`, `fused` and `capturable`, which the optimizers take, are PyTorch's ways to the same numbers, and make no
    difference here. A frozen parameter stays as it is.

    Args:
        params: parameters; or pairs of names and parameters, as `model.named_parameters()` gives them; or dictionaries
            {"params": [...], "lr": ...} of groups with settings of their own.
        defaults: the settings of groups that do not say otherwise.

    Attributes:
        param_groups: the groups; their settings may be changed between steps.
        state: what the optimizer remembers of each parameter, by its number; as a key, the parameter stands for it.

    Raises:
        TypeError: if something is not a leaf tensor that requires a gradient, or a setting is not a number.
        ValueError: if there are no parameters, one is listed twice, or a setting is out of range.
    """

    takes_complex = False
    _stepped = False
    _fusible = True  # on a GPU
    _fused: Any = None

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        name = type(self).__name__
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self.state = {}
        if not isinstance(params, Iterable):
            raise TypeError(f"{name}: takes parameters, such as model.parameters(), got a {type(params).__name__}")
        given: list[Any] = [params] if isinstance(params, Tensor) else list(params)
        if not given:
            raise ValueError(f"{name}: got no parameters; pass model.parameters()")
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    @property
    def state(self) -> dict[Any, dict[str, Any]]:
        """What is remembered of each parameter."""
        return self._state

    @state.setter
    def state(self, known: Mapping[Any, dict[str, Any]]) -> None:
        self._state = known if isinstance(known, State) else State(self.param_groups, known)  # one may be shared

    def _follow(self) -> None:
        """Let the state follow the groups: the plain ones, also while a program is recorded."""
        self._state.follow(vars(self).get("param_groups"))

    # --- groups ---

    def add_param_group(self, param_group: Group) -> None:
        """Train more parameters from now on, such as those of layers that were frozen until now.

        Args:
            param_group: {"params": [...]} and the settings that differ from the defaults.
        """
        name = type(self).__name__
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise TypeError(f'{name}: a group is a dictionary with an entry "params", got {param_group!r:.80}')
        given = param_group["params"]
        if isinstance(given, (set, frozenset)):
            raise TypeError(f"{name}: takes parameters in an order, got a set, which has none; use a list")
        entries = [given] if isinstance(given, Tensor) else list(given)
        group = self.defaults | param_group
        if entries and all(isinstance(entry, tuple) and len(entry) == 2 for entry in entries):
            group["param_names"] = [entry[0] for entry in entries]
            entries = [entry[1] for entry in entries]
        group["params"] = entries
        for p in entries:
            if not isinstance(p, Tensor) or not p.is_leaf or not (p.requires_grad or isinstance(p, Parameter)):
                what = type(p).__name__ if not isinstance(p, Tensor) else "a result" if not p.is_leaf else "a constant"
                raise TypeError(
                    f"{name}: takes leaf tensors that require a gradient, such as model.parameters(), got {what}"
                )
            if p.dtype.kind == "c" and not self.takes_complex:
                raise TypeError(f"{name}: takes real parameters, got {p.dtype}; keep the two parts in one of each")
        everything = [p for known in [*self.param_groups, group] for p in known["params"]]
        if len({id(p) for p in everything}) < len(everything):
            raise ValueError(f"{name}: a parameter is listed twice")
        self._check(group)
        self.param_groups.append(group)
        self._follow()

    def _check(self, group: Group) -> None:
        """Raise an error unless the settings make sense. They are assignable, so every step asks."""
        for setting in (*_FROM_ZERO, *_FROM_ZERO_TO_ONE):
            value = group.get(setting, 0)
            if type(value) is not float and not isinstance(value, Real):  # the second one takes ten times as long
                raise TypeError(f"{type(self).__name__}: {setting} must be a number, got a {type(value).__name__}")
            value = float(value)
            if not 0 <= value < math.inf:  # nan is not
                rule = "be finite" if value == math.inf else "not be negative"
                raise ValueError(f"{type(self).__name__}: {setting} must {rule}, got {value}")
            if value > 1 and setting in _FROM_ZERO_TO_ONE:
                raise ValueError(f"{type(self).__name__}: {setting} must be from 0 to 1, got {value}")

    def _parameters(self) -> Iterator[tuple[int, Tensor, Group]]:
        """The parameters with their numbers and groups."""
        pairs = ((p, group) for group in self.param_groups for p in group["params"])
        return ((number, p, group) for number, (p, group) in enumerate(pairs))

    def _label(self, number: int) -> str:
        """What messages call a parameter."""
        names = [name for g in self.param_groups for name in g.get("param_names", [None] * len(g["params"]))]
        return f"parameter {number}" if names[number] is None else f"parameter '{names[number]}'"

    # --- steps ---

    def update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: Group) -> Tensor:
        """The new value of parameter `p`, whose gradient is `g`.

        What is to be remembered goes into `state`, which is empty at the first call. Tensors in it are replaced, not
        changed in place: if something goes wrong with a later parameter, the old ones are still needed.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how a parameter is updated")

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], R]) -> R: ...
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient; all of them, or after an error none.

        Args:
            closure: computes the loss and its gradients first.

        Returns:
            What the closure returned.

        Raises:
            ValueError: if a gradient does not fit its parameter, or a setting has become one that makes no sense.
        """
        self._follow()
        loss = None
        if closure is not None:
            with tg.enable_grad():
                loss = closure()
        if not tracers:  # a program asks at each call
            for group in self.param_groups:
                self._check(group)
        first = next((p for _, p, _ in self._parameters()), None)
        if not tracers and self._fusible and first is not None and first.is_cuda:
            self._fused_change()
        else:
            self._change()
        self._stepped = True
        return loss

    def _fused_change(self) -> None:
        """The changes as a compiled program: all of a parameter's in one kernel, where eager ones take a dozen each."""
        if self._fused is None:
            self._fused = tg.compile(self._change)
        for number, p, _ in self._parameters():
            if number in self.state:
                self.state[number] = self._moved(number, p)  # from another device, which a program cannot do
        try:
            self._fused()
        except CompileError:  # an optimizer of one's own may do what cannot be replayed; nothing was changed
            self._fusible = False
            self._change()

    def __getstate__(self) -> dict[str, Any]:
        """What `copy` and `pickle` take: a program belongs to one optimizer."""
        return {name: value for name, value in vars(self).items() if name != "_fused"}

    def _change(self) -> None:
        """Change every parameter that has a gradient."""
        if tracers:
            tracers[-1].optimizer(self)
        with tg.no_grad():
            changes = []
            for number, p, group in self._parameters():
                if p.grad is not None:
                    state, g = self._moved(number, p), self._gradient(number, p, p.grad)
                    new = self.update(p.detach(), -g if group.get("maximize") else g, state, group)
                    if new.shape != p.shape:
                        what = f"{type(self).__name__}: update of {self._label(number)}"
                        raise ValueError(f"{what} gave shape {new.shape}, not {p.shape}")
                    changes.append((number, p, new, state))
            for number, p, new, state in changes:
                p.copy_(new)
                self.state[number] = state

    def _gradient(self, number: int, p: Tensor, g: Tensor) -> Tensor:
        if g.shape != p.shape or g.dtype != p.dtype:
            raise ValueError(
                f"{type(self).__name__}: {self._label(number)} has shape {p.shape} and {p.dtype}, but its gradient has "
                f"shape {g.shape} and {g.dtype}"
            )
        return g.contiguous()  # what is remembered of it, too, then lies as the parameter does

    def _moved(self, number: int, p: Tensor) -> dict[str, Any]:
        """A copy of what is remembered of a parameter, moved to where `Module.to` has moved the parameter since."""
        state = self.state.get(number, {})
        some = next((value for value in state.values() if isinstance(value, Tensor)), p)  # they move together
        if some is p or (some.dtype == p.dtype and some.device == p.device):
            return dict(state)
        return {name: like(p, value) for name, value in state.items()}

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or make them 0, which momentum and weight decay take for a gradient."""
        for _, p, _ in self._parameters():
            forget_gradient(p, set_to_none)

    # --- saving ---

    def state_dict(self) -> dict[str, Any]:
        """The state by parameter number, and the groups with numbers in the place of parameters. `tg.save` takes it.

        Its tensors are copies, since a compiled step writes to its own.
        """
        self._follow()
        count = sum(len(group["params"]) for group in self.param_groups)
        numbers = iter(range(count))
        groups = [group | {"params": [next(numbers) for _ in group["params"]]} for group in self.param_groups]
        state = {
            number: {k: _copied(v) for k, v in entries.items()}
            for number, entries in self.state.items()
            if not isinstance(number, int) or number < count  # not those that were taken out of the groups
        }
        return {"state": state, "param_groups": groups}

    def _state_shape(self, p: Tensor) -> tuple[int, ...]:
        """The shape of the tensors in the state of a parameter."""
        return p.shape

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` of an optimizer of this kind with the same groups returned; PyTorch's too.

        Learning rates and other settings are taken over as well. A scheduler sets them when it is made, so make it
        before this call.

        Raises:
            ValueError: if the groups do not have as many parameters, the state is that of another kind of optimizer,
                or has another shape than its parameter. Nothing is changed then.
        """
        name = f"{type(self).__name__}: load_state_dict"
        if not {"state", "param_groups"} <= state_dict.keys():
            raise ValueError(f'{name}: takes a dictionary with "state" and "param_groups", got {[*state_dict]}')
        theirs, ours = state_dict["param_groups"], self.param_groups
        sizes = [[len(group["params"]) for group in groups] for groups in (ours, theirs)]
        if sizes[0] != sizes[1]:
            raise ValueError(f"{name}: this optimizer has groups of {sizes[0]} parameters, the state {sizes[1]}")
        groups = []
        for mine, new in zip(ours, theirs, strict=True):
            # a switch may be younger than the state; it stays as it is
            missing = [k for k, v in self.defaults.items() if k not in new and not isinstance(v, bool)]
            if missing:
                raise ValueError(f"{name}: the state has no {missing}; is it another optimizer's?")
            groups.append(mine | {k: v for k, v in new.items() if k not in ("params", "param_names")})
            self._check(groups[-1])
        parameters = [p for _, p, _ in self._parameters()]
        state: dict[int, dict[str, Any]] = {}
        for key, entries in state_dict["state"].items():
            if not 0 <= int(key) < len(parameters):
                raise ValueError(f"{name}: there is a state of parameter {key}, but only {len(parameters)} parameters")
            p = parameters[int(key)]
            taken = state[int(key)] = {k: self._taken(k, v, p) for k, v in entries.items()}
            for entry, value in taken.items():
                for t in value if isinstance(value, list) else [value]:
                    if isinstance(t, Tensor) and t.shape != self._state_shape(p):
                        what = f"{entry} of {self._label(int(key))}"
                        raise ValueError(f"{name}: {what} has shape {t.shape}, not {self._state_shape(p)}")
        self.state = state
        for mine, changed in zip(ours, groups, strict=True):
            mine.update(changed)

    def _taken(self, entry: str, value: Any, p: Tensor) -> Any:
        """An entry of a loaded state as this optimizer keeps it: tensors of its own, and numbers."""
        if isinstance(value, list):
            return [self._taken(entry, v, p) for v in value]
        if not hasattr(value, "__array__") or isinstance(value, Real):
            return value
        if value.shape == () and (entry in _NUMBERS or self._state_shape(p) != ()):
            return value.item()
        return like(p, tg.as_tensor(value, like=p).detach().clone())

    def __repr__(self) -> str:
        lines = []
        for group in self.param_groups:
            settings = ", ".join(f"{k}={v!r}" for k, v in group.items() if k not in ("params", "param_names"))
            lines.append(f"\n  {len(group['params'])} parameters: {settings}")
        return f"{type(self).__name__}({''.join(lines)}\n)"


watch(Optimizer, "state")
watch(Optimizer, "param_groups")


def _copied(value: Any) -> Any:
    """An entry of the state with tensors of its own."""
    if isinstance(value, list):
        return [_copied(v) for v in value]
    return value.clone() if isinstance(value, Tensor) else value


def like(p: Tensor, value: Any) -> Any:
    """The tensors in an entry of the state with the dtype and on the device of the parameter."""
    if isinstance(value, list):
        return [like(p, v) for v in value]
    return value.to(dtype=p.dtype, device=p.device) if isinstance(value, Tensor) else value


def decayed(p: Tensor, g: Tensor, group: Group) -> tuple[Tensor, Tensor]:
    """A parameter and its gradient under the weight decay of the group.

    It adds weight_decay · p to the gradient; where the group says `decoupled_weight_decay`, it shrinks the parameter by
    lr · weight_decay · p instead (Loshchilov & Hutter, 2019).
    """
    decay = group["weight_decay"]
    if not decay:
        return p, g
    return (p * (1 - group["lr"] * decay), g) if group.get("decoupled_weight_decay") else (p, g + decay * p)
