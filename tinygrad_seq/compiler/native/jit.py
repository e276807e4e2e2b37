"""Machine code from LLVM text: made once, and kept in a file for the next process."""

from __future__ import annotations

import ctypes
import hashlib
from collections import deque
from collections.abc import Callable, MutableMapping
from functools import cache
from itertools import count
from typing import Any
from weakref import WeakValueDictionary, finalize

import llvmlite
import llvmlite.binding as llvm

from ...backend import numpy_backend
from . import code_cache


class Code:
    """Functions that were compiled together. They are there as long as this is."""

    def __init__(self, engine: Any, names: list[str]) -> None:
        self._engine = engine
        self.addresses = {name: engine.get_function_address(name) for name in names}
        finalize(self, _gone).atexit = False


def _gone() -> None:
    """Code was dropped: now and then what LLVM had taken for it goes back to the system, too."""
    if next(_dropped) % 16 == 0:
        numpy_backend.empty_cache()


class Address(int):
    """Where a function is, with the code that it is in."""

    code: Code


_known: MutableMapping[str, Code] = WeakValueDictionary()  # by name: the texts are long
_recent: deque[Code] = deque(maxlen=8)  # what is dropped and made again need not be loaded again
_dropped = count(1)
_CALLED = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def function_of_table(address: Address) -> Callable[[int], None]:
    """What a native function is to Python: it takes the address of its table."""
    function: Any = _CALLED(address)
    function.code = address.code
    called: Callable[[int], None] = function
    return called


def compiled(texts: list[str]) -> dict[str, Address]:
    """The addresses of functions, each defined as @"NAME"; those that were compiled once come from a file."""
    names = {text: f"k{hashlib.sha256(text.encode()).hexdigest()[:20]}" for text in texts}
    found = {name: code for name in names.values() if (code := _known.get(name)) is not None}
    missing = {text: name for text, name in names.items() if name not in found}
    if missing:
        lines: dict[str, None] = {}
        bodies = []
        for text, name in missing.items():
            head, _, rest = text.partition("define void")
            lines.update(dict.fromkeys([line for line in head.splitlines() if line]))
            bodies.append("define void" + rest.replace('@"NAME"(', f'@"{name}"('))
        new = Code(_engine("\n".join([*lines, *bodies])), [*missing.values()])
        _recent.append(new)
        for name in missing.values():
            found[name] = _known[name] = new
    addresses = {}
    for text, name in names.items():
        addresses[text] = Address(found[name].addresses[name])
        addresses[text].code = found[name]
    return addresses


def _machine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    return llvm.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=3)


_compiling_machine = cache(_machine)  # one for all: what it has compiled with takes it most of a MiB


def _engine(source: str) -> Any:
    """Machine code of a module, from the cache where it is there."""
    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    name = hashlib.sha256(
        "\n".join([source, cpu, features, llvmlite.__version__]).encode() + code_cache.FORMAT
    ).hexdigest()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly("", llvm.create_context()), _machine())
    code = code_cache.read(name)
    if code is None:
        module = llvm.parse_assembly(source, llvm.create_context())  # whose types and constants go with it
        module.verify()
        code = _compiling_machine().emit_object(module)
        code_cache.write(name, code)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine
