"""Machine code from LLVM text: made once, and kept in a file for the next process."""

from __future__ import annotations

import ctypes
import hashlib
import sys
from collections.abc import Iterable
from typing import Any
from weakref import WeakValueDictionary

import llvmlite
import llvmlite.binding as llvm

from ..backend import numpy_backend
from . import code_cache
from .kernels import declarations

function_of_table = ctypes.CFUNCTYPE(None, ctypes.c_void_p)  # what native functions are to Python


class _Module:
    """Functions that were compiled together. Their memory goes when nobody holds this any more."""

    def __init__(self, engine: Any, names: Iterable[str]) -> None:
        self._engine = engine
        self.addresses: dict[str, int] = {name: engine.get_function_address(name) for name in names}

    def __del__(self) -> None:
        """Give the memory back to the system, too: the next program's lies elsewhere."""
        if not sys.is_finalizing():
            self._engine = None
            numpy_backend.empty_cache()


_known: WeakValueDictionary[str, _Module] = WeakValueDictionary()  # by name: the texts are long


class Functions(dict[str, int]):
    """The addresses of native functions, by their texts; they are there as long as this is."""

    modules: list[_Module]


def compiled(texts: list[str]) -> Functions:
    """Functions, each defined as @NAME; those that were compiled once come from a file."""
    names = {text: f"k{hashlib.sha256(text.encode()).hexdigest()[:20]}" for text in texts}
    modules = {name: _known.get(name) for name in names.values()}
    missing = {text: name for text, name in names.items() if modules[name] is None}
    if missing:
        lines = dict.fromkeys(declarations())
        bodies = []
        for text, name in missing.items():
            head, _, rest = text.partition("define void")
            lines.update(dict.fromkeys([line for line in head.splitlines() if line]))
            bodies.append("define void" + rest.replace("@NAME(", f"@{name}("))
        module = _Module(_engine("\n".join([*lines, *bodies])), missing.values())
        for name in missing.values():
            _known[name] = modules[name] = module
    found = [module for module in modules.values() if module is not None]
    functions = Functions({text: m.addresses[name] for (text, name), m in zip(names.items(), found, strict=True)})
    functions.modules = found
    return functions


def _engine(source: str) -> Any:
    """Machine code of a module, from the cache where it is there."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=3)
    name = hashlib.sha256(
        "\n".join([source, cpu, features, llvmlite.__version__]).encode() + code_cache.FORMAT
    ).hexdigest()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    code = code_cache.read(name)
    if code is None:
        module = llvm.parse_assembly(source)
        module.verify()
        code = machine.emit_object(module)
        code_cache.write(name, code)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine
