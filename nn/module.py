"""`Module` and `Parameter`: a walk over attributes, in PyTorch's names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Self

import tinygrad_seq as tg
from tinygrad_seq import Tensor
from tinygrad_seq.recording import active as recording


class Parameter(Tensor):
    """A tensor that its module owns and an optimizer changes: a leaf that requires a gradient.

    Args:
        data: a tensor, whose memory it shares, or anything that `tg.tensor` takes.
    """

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        self.array = tg.as_tensor(data).array
        self.node = None
        self.requires_grad_(requires_grad)


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` found missing and unexpected."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def require_sizes(name: str, **sizes: Any) -> None:
    """Raise a ValueError unless all sizes are whole numbers from 1 on; the message names the module and the setting."""
    for setting, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}: {setting} must be a whole number from 1 on, got {value!r}")


class Module:
    """A piece of a network. Assign parameters, buffers and other modules to attributes, and write `forward`.

    Names come from the attributes: `layers.0.weight` is what `named_parameters`, `state_dict` and the checkpoints say.
    """

    training: bool = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward method: write one")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if recording:
            recording[-1].module(self)
        return self.forward(*args, **kwargs)

    # --- walks ---

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules that are attributes of this one, by name."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

    def children(self) -> Iterator[Module]:
        return (child for _, child in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below it, by dotted name."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def _named_tensors(self, keep: Callable[[Module, str, Tensor], bool]) -> Iterator[tuple[str, Tensor]]:
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Tensor) and keep(module, name, value):
                    yield (f"{prefix}.{name}" if prefix else name), value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """The parameters here and below, by dotted name; one that is used in several places once."""
        seen: set[int] = set()
        for name, value in self._named_tensors(lambda *entry: isinstance(entry[2], Parameter)):
            if id(value) not in seen and isinstance(value, Parameter):
                seen.add(id(value))
                yield name, value

    def parameters(self) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters())

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Keep a tensor that is part of the state but not trained; if `persistent`, part of `state_dict` too."""
        self.__dict__.setdefault("_buffers", {})[name] = persistent
        setattr(self, name, tensor)

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        return self._named_tensors(lambda module, name, _: name in vars(module).get("_buffers", ()))

    def buffers(self) -> Iterator[Tensor]:
        return (buffer for _, buffer in self.named_buffers())

    # --- state ---

    def _state(self) -> dict[str, Tensor]:
        def persists(module: Module, name: str, value: Tensor) -> bool:
            return isinstance(value, Parameter) or vars(module).get("_buffers", {}).get(name, False)

        return dict(self._named_tensors(persists))

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and persistent buffers by dotted name: the tensors' own memory, without the graph."""
        return {name: value.detach() for name, value in self._state().items()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Take over numbers from a mapping of names to tensors or arrays (also PyTorch's own, on the CPU).

        Raises:
            RuntimeError: if shapes differ, or (when `strict`) names do; it lists all of them, and nothing is changed.
        """
        own = self._state()
        missing = [name for name in own if name not in state_dict]
        unexpected = [name for name in state_dict if name not in own]
        new = {name: tg.as_tensor(state_dict[name], like=own[name]) for name in own if name in state_dict}
        problems = [
            f"{name}: has shape {tuple(value.shape)} there, {own[name].shape} here"
            for name, value in new.items()
            if tuple(value.shape) != own[name].shape
        ]
        if strict:
            problems += [f"{name}: is missing there" for name in missing]
            problems += [f"{name}: is not known here" for name in unexpected]
        if problems:
            raise RuntimeError(
                f"load_state_dict: {type(self).__name__} cannot take this state:\n  " + "\n  ".join(problems)
            )
        with tg.no_grad():
            for name, value in new.items():
                own[name].copy_(value.to(device=own[name].device))
        return IncompatibleKeys(missing, unexpected)

    # --- switches ---

    def train(self, mode: bool = True) -> Self:
        """Training mode, here and below: dropout drops."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Evaluation mode, here and below: dropout passes everything."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Ask for gradients of all parameters, or no longer."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def to(self, *targets: Any, dtype: Any = None, device: Any = None) -> Self:
        """Move parameters and buffers to a device, and those that are floating-point to a dtype, in place."""
        with tg.no_grad():
            moved = []
            for tensor in {id(t): t for t in (*self.parameters(), *self.buffers())}.values():
                new = tensor.detach().to(*targets, dtype=dtype, device=device)
                moved.append((tensor, new if tensor.dtype.kind in "fc" else tensor.detach().to(device=new.device)))
            for tensor, new in moved:  # all of them, or after an error none
                tensor.data = new
        return self

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

    def __repr__(self) -> str:
        lines = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        extra = self.extra_repr()
        body = "".join(f"\n  {line}" for line in ([extra] if extra else []) + lines) + "\n" if lines else extra
        return f"{type(self).__name__}({body})"


class ModuleList(Module):
    """Modules by number. `ModuleList([a, b])` names their parameters `0.` and `1.`."""

    def __init__(self, modules: Any = ()) -> None:
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> Self:
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}: takes modules, got {type(module).__name__}")
        setattr(self, str(len(self)), module)
        return self

    def __len__(self) -> int:
        return len(list(self.children()))

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, i: int) -> Module:
        return list(self.children())[i]


class Sequential(ModuleList):
    """Modules one after another, each taking what the one before returned."""

    def __init__(self, *modules: Module) -> None:
        super().__init__(modules)

    def forward(self, x: Any) -> Any:
        for module in self:
            x = module(x)
        return x


def functional_call(
    module: Module, tensors: Mapping[str, Any], args: Any = (), kwargs: Mapping[str, Any] | None = None
) -> Any:
    """What the module returns for the arguments with some of its parameters and buffers replaced for this one call.

    With it, a module is a function of its parameters, which `tg.grad`, `tg.jvp`, `tg.vmap` and the others take:

    >>> def loss(parameters, x):
    ...     return nn.functional_call(module, parameters, x).sum()
    >>> parameters = {name: p.detach() for name, p in module.named_parameters()}
    >>> tg.grad(loss)(parameters, x)

    Args:
        tensors: what to put in the place of the parameters and buffers of these names. One that is used in several
            places is replaced in all of them.
        args: the positional arguments, as a tuple, or the only one.

    Raises:
        KeyError: if the module has no tensor of such a name.
    """
    known = dict(module._named_tensors(lambda *_: True))
    unknown = [name for name in tensors if name not in known]
    if unknown:
        raise KeyError(f"functional_call: {type(module).__name__} has no {unknown}; it has {sorted(known)}")
    replacements = {id(known[name]): tensor for name, tensor in tensors.items()}
    places = [
        (owner, name, value)
        for owner in module.modules()
        for name, value in vars(owner).items()
        if isinstance(value, Tensor) and id(value) in replacements
    ]
    try:
        for owner, name, value in places:
            setattr(owner, name, replacements[id(value)])
        return module(*(args if isinstance(args, tuple) else (args,)), **(kwargs or {}))
    finally:
        for owner, name, value in places:
            setattr(owner, name, value)
