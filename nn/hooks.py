"""Hooks around a module's `forward`: what to call before and after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

from tinygrad_seq.graph import recomputation
from tinygrad_seq.graph.tracing_hook import watch


class Hook:
    """A function that is called before or after `forward`.

    Args:
        with_kwargs: give it the keyword arguments as well.
    """

    call: Callable[..., Any]
    with_kwargs: bool

    def __init__(self, name: str, call: Callable[..., Any], with_kwargs: bool) -> None:
        if not callable(call):
            raise TypeError(f"{name}: takes a function, got a {type(call).__name__}")
        self.call, self.with_kwargs = call, with_kwargs

    def before(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The arguments for `forward`: as they are, or as the hook returned them."""
        found = self._called(module, args, kwargs)
        if found is None:
            return args, kwargs
        if self.with_kwargs:
            if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], dict)):
                raise TypeError("register_forward_pre_hook: with_kwargs=True, a hook returns None or (args, kwargs)")
            args, kwargs = found
            return args, kwargs
        return found if isinstance(found, tuple) else (found,), kwargs

    def after(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        """The output: as it is, or as the hook returned it."""
        found = self._called(module, args, kwargs, output)
        return output if found is None else found

    def _called(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *output: Any) -> Any:
        """What the hook returns. Where a checkpoint runs a module again, hooks that returned None only looked on."""
        given = (module, args, kwargs, *output) if self.with_kwargs else (module, args, *output)
        answer = None

        def changes() -> bool:
            nonlocal answer
            answer = self.call(*given)
            return answer is not None

        if recomputation.once(self, changes, otherwise=False) and answer is None:
            answer = self.call(*given)
        return answer


class RemovableHandle:
    """Takes a hook away again: with `remove()`, or at the end of a `with` block."""

    def __init__(self, hooks: list[Hook], hook: Hook) -> None:
        self._hooks, self._hook = hooks, hook

    def remove(self) -> None:
        """End the hook. A second time it does nothing."""
        if self._hook in self._hooks:
            self._hooks.remove(self._hook)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class Hooked:
    """Something that is called, and calls hooks before and after its `forward`.

    A recurrent layer does not call its cells so, step by step: `nn.lens` looks into them.
    """

    _forward_pre_hooks: list[Hook]
    _forward_hooks: list[Hook]
    forward: Callable[..., Any]

    _their_names: ClassVar[dict[str, str]] = {}  # PyTorch's names for arguments of forward, and ours

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs and self._their_names:
            both = [theirs for theirs, ours in self._their_names.items() if theirs in kwargs and ours in kwargs]
            if both:
                raise TypeError(
                    f"{type(self).__name__}: got {both[0]}= and {self._their_names[both[0]]}=, which are one"
                )
            kwargs = {self._their_names.get(name, name): value for name, value in kwargs.items()}
        if "_forward_pre_hooks" in self.__dict__:
            for hook in tuple(self._forward_pre_hooks):
                args, kwargs = hook.before(self, args, kwargs)
        output = self.forward(*args, **kwargs)
        if "_forward_hooks" in self.__dict__:
            for hook in tuple(self._forward_hooks):
                output = hook.after(self, args, kwargs, output)
        return output

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)` before every `forward`, which gets what it returns unless that is None.

        Args:
            prepend: before the hooks that are there already, not after them.
            with_kwargs: call `hook(module, args, kwargs)`, which returns None or the pair (args, kwargs).

        Returns:
            what `remove()`s the hook.
        """
        hook_object = Hook("register_forward_pre_hook", hook, with_kwargs)
        return _added(self.__dict__.setdefault("_forward_pre_hooks", []), hook_object, prepend)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args, output)` after every `forward`. What it returns, unless None, is the output instead.

        Args:
            prepend: before the hooks that are there already, not after them.
            with_kwargs: call `hook(module, args, kwargs, output)`.

        Returns:
            what `remove()`s the hook.
        """
        hook_object = Hook("register_forward_hook", hook, with_kwargs)
        return _added(self.__dict__.setdefault("_forward_hooks", []), hook_object, prepend)


watch(Hooked, "reads")


def _added(hooks: list[Hook], hook: Hook, prepend: bool) -> RemovableHandle:
    hooks.insert(0 if prepend else len(hooks), hook)
    return RemovableHandle(hooks, hook)
