"""Machine code from LLVM text: made once, and kept in a file for the next process."""

from __future__ import annotations

import ctypes
import hashlib
from functools import cache
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from . import code_cache

_engines: list[Any] = []  # what was compiled, which lives as long as the process
_known: dict[str, int] = {}  # by name: the texts are long
function_of_table = ctypes.CFUNCTYPE(None, ctypes.c_void_p)  # what native functions are to Python


def compiled(texts: list[str]) -> dict[str, int]:
    """The addresses of functions, each defined as @"NAME"; those that were compiled once come from a file."""
    names = {text: f"k{hashlib.sha256(text.encode()).hexdigest()[:20]}" for text in texts}
    missing = {text: name for text, name in names.items() if name not in _known}
    if missing:
        lines: dict[str, None] = {}
        bodies = []
        for text, name in missing.items():
            head, _, rest = text.partition("define void")
            lines.update(dict.fromkeys([line for line in head.splitlines() if line]))
            bodies.append("define void" + rest.replace('@"NAME"(', f'@"{name}"('))
        engine = _engine("\n".join([*lines, *bodies]))
        for name in missing.values():
            _known[name] = engine.get_function_address(name)
    return {text: _known[name] for text, name in names.items()}


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
    _engines.append(engine)
    return engine
