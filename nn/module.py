"""`Module`: a walk over attributes, in PyTorch's names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, TypeVar

import tinygrad_seq as tg
from tinygrad_seq import Tensor
from tinygrad_seq.graph import recomputation
from tinygrad_seq.graph.tracing_hook import tracers

from .attributes import Attributes
from .hooks import Hooked
from .parameter import Parameter as Parameter
from .parameter import forget_gradient
from .state_dict import IncompatibleKeys, load_state

T = TypeVar("T", bound=Tensor)


def require_sizes(name: str, **sizes: Any) -> None:
    """Raise a ValueError unless all sizes are whole numbers from 1 on; the message names the module and the setting."""
    for setting, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}: {setting} must be a whole number from 1 on, got {value!r}")


class Module(Hooked):
    """A piece of a network. Assign parameters, buffers and other modules to attributes, and write `forward`.

    Names come from the attributes: `layers.0.weight` is what `named_parameters`, `state_dict` and the checkpoints say.
    """

    training: bool = True

    def __new__(cls, *_args: Any, **_settings: Any) -> Self:
        self = super().__new__(cls)
        if tracers:
            tracers[-1].makes(self)
        return self

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward method: write one")

    # --- parts ---

    def _role(self, name: str) -> type[Any] | None:
        """What an attribute is registered as, and stays while it is None: a Parameter, a Module, a Tensor (buffer)."""
        own = self.__dict__
        value = own.get(name)
        if isinstance(value, Parameter):
            return Parameter
        if isinstance(value, Module):
            return Module
        return Tensor if name in own.get("_buffers", ()) else own.get("_vacated", {}).get(name)

    def __setattr__(self, name: str, value: Any) -> None:
        recomputation.assigns(self, name)
        if tracers:
            tracers[-1].assigns(self, name)
        role = self._role(name)
        if role is not None:
            self._reassign(role, name, value)
        object.__setattr__(self, name, value)

    def _reassign(self, role: type[Any], name: str, value: Any) -> None:
        """Raise a TypeError unless the value may stand under a registered name, and take note of what that makes it."""
        if isinstance(value, Parameter) or (isinstance(value, Module) and role is not Parameter):
            self.__dict__.get("_buffers", {}).pop(name, None)
            self.__dict__.get("_vacated", {}).pop(name, None)
        elif value is None and role is not Tensor:
            self.__dict__.setdefault("_vacated", {})[name] = role
        elif value is not None and not (role is Tensor and isinstance(value, Tensor)):
            kind, takes, instead = _ROLES[role]
            raise TypeError(
                f"{type(self).__name__}.{name} is a {kind}: takes {takes} or None, got a {type(value).__name__}; "
                f"{instead}, or del the attribute first to have something else under its name"
            )

    def __delattr__(self, name: str) -> None:
        recomputation.assigns(self, name)
        if tracers:
            tracers[-1].assigns(self, name)
        object.__delattr__(self, name)
        for registered in ("_buffers", "_vacated"):
            self.__dict__.get(registered, {}).pop(name, None)

    def _vacant(self, function: str, name: str, *roles: type[Any]) -> None:
        """Raise unless something can be registered under this name: it is one, and only such a thing has it already."""
        if not isinstance(name, str):
            raise TypeError(f"{function}: takes a name, got a {type(name).__name__}")
        if not name or "." in name:
            raise KeyError(f"{function}: a name is not empty and has no dots, which separate names; got {name!r}")
        role = self._role(name)
        taken = role not in roles if role else hasattr(self, name) and vars(self).get(name, self) is not None
        if taken:
            raise KeyError(f"{function}: {type(self).__name__} has an attribute {name!r} already; take another name")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """As assigning the parameter to the attribute `name`; for names that are computed."""
        self._vacant("register_parameter", name, Parameter)
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"register_parameter: takes a Parameter or None, got a {type(param).__name__}; wrap a tensor: "
                "nn.Parameter(tensor)"
            )
        self.__dict__.setdefault("_vacated", {})[name] = Parameter
        setattr(self, name, param)

    def add_module(self, name: str, module: Module | None) -> None:
        """As assigning the module to the attribute `name`; for names that are computed."""
        self._vacant("add_module", name, Module)
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"add_module: takes a Module or None, got a {type(module).__name__}")
        self.__dict__.setdefault("_vacated", {})[name] = Module
        setattr(self, name, module)

    def register_module(self, name: str, module: Module | None) -> None:
        """As `add_module`."""
        self.add_module(name, module)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Keep a tensor that is part of the state but not trained; if `persistent`, part of `state_dict` too."""
        self._vacant("register_buffer", name, Tensor)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"register_buffer: takes a tensor or None, got a {type(tensor).__name__}")
        self.__dict__.setdefault("_buffers", {})[name] = persistent
        setattr(self, name, tensor)

    def get_submodule(self, target: str) -> Module:
        """The module of this dotted name, such as "layers.0"; this one for "".

        Raises:
            AttributeError: if there is none.
        """
        module = self
        for name in target.split(".") if target else ():
            found = vars(module).get(name)
            if not isinstance(found, Module):
                raise AttributeError(
                    f"get_submodule: {type(self).__name__} has no module {target!r}: {type(module).__name__} has "
                    f"{[name for name, _ in module._own_modules()]}, not {name!r}"
                )
            module = found
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter of this dotted name, such as "layers.0.weight"; an AttributeError if there is none."""
        return _entry("get_parameter", self, dict(self.named_parameters(remove_duplicate=False)), target)

    def get_buffer(self, target: str) -> Tensor:
        """The buffer of this dotted name; an AttributeError if there is none."""
        return _entry("get_buffer", self, dict(self.named_buffers(remove_duplicate=False)), target)

    @property
    def _parameters(self) -> Attributes:
        """The parameters that are attributes of this module, as a dictionary that may be changed, as in PyTorch."""
        return Attributes(self, Parameter)

    @property
    def _modules(self) -> Attributes:
        """The modules that are attributes of this one, as a dictionary that may be changed, as in PyTorch."""
        return Attributes(self, Module)

    # --- walks ---

    def _own_modules(self) -> Iterator[tuple[str, Module]]:
        """The modules that are attributes of this one; one that is several, several times."""
        return ((name, value) for name, value in vars(self).items() if isinstance(value, Module))

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules that are attributes of this one, by name; each once."""
        seen: set[int] = set()
        for name, child in self._own_modules():
            if id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> Iterator[Module]:
        return (child for _, child in self.named_children())

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it, by dotted name.

        Args:
            memo: the ids of modules to leave out; those that are found are added.
            prefix: what the names begin with.
            remove_duplicate: name a module that is used in several places once.
        """
        memo = set() if memo is None else memo
        if id(self) not in memo:
            if remove_duplicate:
                memo.add(id(self))
            yield prefix, self
            for name, child in self._own_modules():
                yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def _named_tensors(
        self, keep: Callable[[Module, str, Tensor], bool], prefix: str = "", recurse: bool = True, once: bool = False
    ) -> Iterator[tuple[str, Tensor]]:
        seen: set[int] = set()
        walk = self.named_modules(prefix=prefix, remove_duplicate=False) if recurse else iter([(prefix, self)])
        for place, module in walk:
            for name, value in vars(module).items():
                if isinstance(value, Tensor) and keep(module, name, value) and not (once and id(value) in seen):
                    seen.add(id(value))
                    yield (f"{place}.{name}" if place else name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters here and below, by dotted name.

        Args:
            prefix: what the names begin with.
            recurse: those below, too.
            remove_duplicate: name one that is used in several places once.
        """
        return self._named_tensors(  # type: ignore[return-value]
            lambda *entry: isinstance(entry[2], Parameter), prefix, recurse, remove_duplicate
        )

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers here and below, by dotted name. Arguments as of `named_parameters`."""
        return self._named_tensors(
            lambda module, name, _: name in vars(module).get("_buffers", ()), prefix, recurse, remove_duplicate
        )

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    # --- state ---

    def _state(self) -> dict[str, Tensor]:
        def persists(module: Module, name: str, value: Tensor) -> bool:
            return isinstance(value, Parameter) or vars(module).get("_buffers", {}).get(name, False)

        entries: list[tuple[str, Tensor]] = []
        for place, module in self.named_modules(remove_duplicate=False):  # of each, the parameters first
            own = module._named_tensors(persists, place, recurse=False)
            entries += sorted(own, key=lambda entry: not isinstance(entry[1], Parameter))
        return dict(entries)

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> dict[str, Tensor]:
        """Parameters and persistent buffers by dotted name: the tensors' own memory, without the graph.

        Args:
            prefix: what the names begin with: "encoder." gives "encoder.weight".
            keep_vars: give the parameters and buffers themselves.
        """
        return {f"{prefix}{name}": value if keep_vars else value.detach() for name, value in self._state().items()}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Take over numbers from a mapping of names to tensors or arrays (also PyTorch's own, on the CPU).

        Args:
            strict: whether all names must be the same.
            assign: put the tensors that are given in place of the module's, with their dtype, device and memory. An
                optimizer made before goes on with the old parameters.

        Raises:
            RuntimeError: if shapes differ, numbers do not fit, or (when `strict`) names differ; it lists all of them,
                and nothing is changed.
        """
        return load_state(self, state_dict, strict, assign)

    # --- switches ---

    def train(self, mode: bool = True) -> Self:
        """Training mode, here and below: dropout drops."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Evaluation mode, here and below: dropout passes everything."""
        return self.train(False)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or make them zeros."""
        for p in self.parameters():
            forget_gradient(p, set_to_none)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Ask for gradients of all parameters, or no longer."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def to(self, *targets: Any, dtype: Any = None, device: Any = None, non_blocking: bool = False) -> Self:
        """Move parameters and buffers to a device, and those that are floating-point to a dtype, in place.

        Args:
            non_blocking: no difference here.
        """
        with tg.no_grad():
            moved = []
            for tensor in {id(t): t for t in (*self.parameters(), *self.buffers())}.values():
                new = tensor.detach().to(*targets, dtype=dtype, device=device)
                moved.append((tensor, new if tensor.dtype.kind in "fc" else tensor.detach().to(device=new.device)))
            for tensor, new in moved:  # all of them, or after an error none
                tensor.data = new
        return self

    def type(self, dtype: Any) -> Self:
        return self.to(dtype=dtype)

    def half(self) -> Self:
        return self.to(tg.float16)

    def float(self) -> Self:
        return self.to(tg.float32)

    def double(self) -> Self:
        return self.to(tg.float64)

    def cpu(self) -> Self:
        return self.to("cpu")

    def cuda(self) -> Self:
        return self.to("cuda")

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call `function` with every module, the innermost first."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def extra_repr(self) -> str:
        """The settings that `repr` shows."""
        return ""

    def _get_name(self) -> str:
        """The name of the class."""
        return type(self).__name__

    def __repr__(self) -> str:
        lines = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self._own_modules()]
        extra = self.extra_repr()
        body = "".join(f"\n  {line}" for line in ([extra] if extra else []) + lines) + "\n" if lines else extra
        return f"{type(self).__name__}({body})"


_ROLES: dict[type[Any], tuple[str, str, str]] = {  # what each is called, what it takes, and how to give it that
    Parameter: (
        "parameter",
        "a Parameter",
        "wrap a tensor in nn.Parameter(tensor), write its numbers with copy_(), replace it for one call with "
        "nn.functional_call",
    ),
    Module: ("module", "a Module", "give a function a Module of its own"),
    Tensor: ("buffer", "a tensor", "convert it with tg.tensor()"),
}


def _entry(name: str, module: Module, entries: Mapping[str, T], target: str) -> T:
    if target not in entries:
        raise AttributeError(f"{name}: {type(module).__name__} has no {target!r}; it has {list(entries)}")
    return entries[target]
