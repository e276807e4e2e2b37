"""PyTorch's files since 1.6: an archive of a pickle and of the bytes of its tensors, read without running a pickle.

A pickle is a program for a stack machine that may call anything. Here it is only parsed, by `pickletools`; the machine
below knows the instructions that build containers and numbers, and calls nothing but the few functions in `_BUILDERS`.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from ..backend import Array, numpy_module
from ..graph.device import device as Device
from ..graph.saved_tensors import share_storage
from ..tensor import Tensor
from .bfloat16 import widened
from .refused import Refused


class _Global(NamedTuple):
    """A name of Python's in the file. It is looked up nowhere."""

    module: str
    name: str


class _Storage(NamedTuple):
    """The bytes of one or several tensors."""

    kind: str
    key: str
    location: str
    size: int


def recognises(data: bytes) -> bool:
    """Whether this is, to judge by its beginning, a file that PyTorch wrote."""
    if data[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05") or data[257:262] == b"ustar":
        raise Refused(
            "is a bare pickle, or of a PyTorch before 1.6, which is not read, as reading it could run anything; in "
            "PyTorch: torch.save(torch.load(path), path)"
        )
    if data[:4] != b"PK\x03\x04":
        return False
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return any(name.endswith("/data.pkl") for name in archive.namelist())


def read(data: bytes, located: list[tuple[Tensor, str]]) -> Any:
    """What the file holds. Notes each tensor in `located`, with the name of the device that it was on."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        if any(name.endswith("/constants.pkl") for name in names):
            raise Refused("is a TorchScript program, not a file of torch.save; save the model's state_dict() instead")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise Refused("has compressed entries, which PyTorch does not write")
        (pickle,) = [name for name in names if name.endswith("/data.pkl")]
        return _Machine(archive, pickle.removesuffix("data.pkl"), located).run(archive.read(pickle))


class _Machine:
    """Runs the instructions of a pickle that build values, and refuses all others by name."""

    def __init__(self, archive: zipfile.ZipFile, folder: str, located: list[tuple[Tensor, str]]) -> None:
        self.archive, self.folder, self.located = archive, folder, located
        swapped = f"{folder}byteorder"
        self.order = ">" if swapped in archive.namelist() and archive.read(swapped) == b"big" else "<"
        self.memories: dict[tuple[str, str], Array] = {}
        self.first: dict[str, Tensor] = {}  # of those with one storage

    def run(self, pickle: bytes) -> Any:
        stack: list[Any] = []
        marks: list[int] = []
        memo: dict[int, Any] = {}

        def since_mark() -> list[Any]:
            start = marks.pop()
            items = stack[start:]
            del stack[start:]
            return items

        argument: Any
        for instruction, argument, _ in pickletools.genops(pickle):
            name = instruction.name
            if name in _CONSTANTS:
                stack.append(_CONSTANTS[name]())
            elif name in _LITERALS:
                stack.append(argument)
            elif name in ("BINGET", "LONG_BINGET"):
                stack.append(memo[argument])
            elif name in ("BINPUT", "LONG_BINPUT"):
                memo[argument] = stack[-1]
            elif name == "MEMOIZE":
                memo[len(memo)] = stack[-1]
            elif name == "MARK":
                marks.append(len(stack))
            elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
                length = int(name[-1])
                stack[-length:] = [tuple(stack[-length:])]
            elif name in _COLLECTED:
                items = since_mark()
                stack.append(_COLLECTED[name](items))
            elif name in _ADDED:
                items = (
                    since_mark() if name.endswith("S") else [stack.pop() for _ in range(1 + (name == "SETITEM"))][::-1]
                )
                _ADDED[name](stack[-1], items)
            elif name == "GLOBAL":
                stack.append(_known(*argument.split(" ", 1)))
            elif name == "STACK_GLOBAL":
                module, attribute = stack[-2:]
                stack[-2:] = [_known(module, attribute)]
            elif name in ("REDUCE", "NEWOBJ"):
                arguments = stack.pop()
                stack[-1] = self.build(stack[-1], arguments)
            elif name == "BUILD":
                _require_idle(stack[-2], stack.pop())
            elif name == "BINPERSID":
                stack[-1] = self.storage(stack[-1])
            elif name == "STOP":
                (result,) = stack
                _require_values(result)
                return result
            elif name not in ("PROTO", "FRAME"):
                raise Refused(f"has the instruction {name} in its pickle, which PyTorch's files do not need")
        raise ValueError("its pickle has no end")

    def build(self, function: Any, arguments: Any) -> Any:
        """What a known function makes of its arguments."""
        if not isinstance(function, _Global):
            raise ValueError("its pickle calls what is no function")
        if function in (("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor")):
            storage, offset, size, stride, *rest = arguments
            return self.tensor(storage, storage.kind, offset, size, stride, bool(rest and rest[0]), *rest[2:])
        if function == ("torch._utils", "_rebuild_tensor_v3"):
            storage, offset, size, stride, requires_grad, _hooks, kind, *rest = arguments
            return self.tensor(storage, kind.name, offset, size, stride, requires_grad, *rest)
        if function[1] == "_rebuild_from_type_v2":  # a tensor with attributes
            return self.build(arguments[0], arguments[2])
        if function[1] in ("_rebuild_parameter", "_rebuild_parameter_with_state"):
            return arguments[0].requires_grad_(arguments[1])
        if function not in _BUILDERS:
            raise Refused(f"calls {function.module}.{function.name}, which is not read")
        return _BUILDERS[function](*arguments)

    def storage(self, identity: Any) -> _Storage:
        kind, storage_class, key, location, size = identity
        if kind != "storage":
            raise ValueError(f"it refers to a {kind!r}")
        if not isinstance(key, str) or not isinstance(location, str):
            raise ValueError("a storage's name or device is no string")
        return _Storage(storage_class.name.removesuffix("Storage").lower(), key, location, size)

    def tensor(
        self, storage: _Storage, kind: str, offset: int, size: Any, stride: Any, requires_grad: bool, marks: Any = None
    ) -> Tensor:
        """A view of a storage's memory. NumPy refuses one that would reach beyond it.

        What PyTorch only marks as conjugate or negative, to compute it when it is read, is a copy with it computed.
        """
        marks = {name for name, is_set in (marks or {}).items() if is_set}
        if marks - {"conj", "neg"}:
            raise Refused(f"holds a tensor marked {sorted(marks)}, which is not read; in PyTorch, save tensor.clone()")
        memory = self.memory(storage, kind)
        steps = [step * memory.itemsize for step in stride]
        view = numpy_module.ndarray(tuple(size), memory.dtype, memory, offset * memory.itemsize, steps)
        view = view.conj() if "conj" in marks else view
        tensor: Tensor = Tensor.wrap(-view if "neg" in marks else view)
        if not marks:
            share_storage(self.first.setdefault(storage.key, tensor), tensor)
        self.located.append((tensor, storage.location))
        return tensor.requires_grad_(requires_grad)

    def memory(self, storage: _Storage, kind: str) -> Array:
        """The numbers of a storage; those with the same storage get the same."""
        key = (storage.key, kind)
        if key not in self.memories:
            if kind not in _DTYPES:
                raise Refused(
                    f"holds a tensor of {kind}, a dtype that is not read; convert it in PyTorch, as in .float()"
                )
            stored = numpy_module.dtype(_DTYPES[kind]).newbyteorder(self.order)
            data = self.archive.read(f"{self.folder}data/{storage.key}")
            count = storage.size if storage.kind != "untyped" else len(data) // stored.itemsize
            numbers = numpy_module.frombuffer(data, stored, count)
            if kind == "bfloat16":
                numbers = widened(numbers)
            self.memories[key] = numbers != 0 if kind == "bool" else numbers.astype(numbers.dtype.newbyteorder("="))
        return self.memories[key]


def _key(x: Any) -> Any:
    """`x`, to look things up by. Hashes of tuples are computed by recursion, which crashes on deep ones."""
    todo, parts = [x], 0
    while todo:
        part = todo.pop()
        if isinstance(part, tuple):
            parts += len(part)
            if parts > 1000:
                raise Refused("has a key of more than 1000 parts")
            todo += part
        elif not isinstance(part, _KEYS):
            raise ValueError(f"its pickle looks things up by a {type(part).__name__}")
    return x


def _counter(counts: Any) -> Counter[Any]:
    if not isinstance(counts, dict):
        raise ValueError("its pickle counts what is no dictionary")
    return Counter(counts)


def _set(items: Any = ()) -> set[Any]:
    return set(map(_key, items))


def _frozenset(items: Any = ()) -> frozenset[Any]:
    return frozenset(map(_key, items))


def _device(kind: str, index: int = 0) -> Device:
    try:
        return Device(f"{kind}:{index}")
    except ValueError:
        raise Refused(f"holds the device {kind!r}; here are 'cpu' and 'cuda' alone") from None


_KEYS = (
    str, bytes, int, float, complex, type(None), frozenset, Tensor, Device, numpy_module.dtype, numpy_module.number,
    numpy_module.bool_,
)  # fmt: skip
_DTYPES = {
    "half": "f2", "float": "f4", "double": "f8", "char": "i1", "short": "i2", "int": "i4", "long": "i8", "byte": "u1",
    "bool": "u1", "bfloat16": "u2", "complexfloat": "c8", "complexdouble": "c16", "uint16": "u2", "uint32": "u4",
    "uint64": "u8",
}  # fmt: skip
_NUMBERS = (
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "bool",
    "complex64",
    "complex128",
)
_TORCH_DTYPES = {**{name: numpy_module.dtype(name) for name in _NUMBERS}, "bfloat16": numpy_module.dtype("float32")}
_BUILDERS: dict[Any, Callable[..., Any]] = {
    ("numpy", "dtype"): lambda code, *_: numpy_module.dtype(code),
    **{
        (f"numpy.{core}.multiarray", "scalar"): lambda kind, data: numpy_module.frombuffer(data, kind, 1)[0]
        for core in ("core", "_core")
    },
    ("collections", "OrderedDict"): lambda pairs=(): OrderedDict((_key(key), value) for key, value in pairs),
    ("collections", "Counter"): _counter,
    ("torch", "Size"): tuple,
    ("torch", "device"): _device,
    ("_codecs", "encode"): lambda text, encoding: text.encode("latin1" if encoding == "latin1" else "ascii"),
    **{
        (module, kind.__name__): build
        for kind, build in ((set, _set), (frozenset, _frozenset), (complex, complex))
        for module in ("builtins", "__builtin__")
    },
}
_UTILS = (
    "_rebuild_tensor",
    "_rebuild_tensor_v2",
    "_rebuild_tensor_v3",
    "_rebuild_parameter",
    "_rebuild_parameter_with_state",
)
_OTHERS = {
    *[("torch._utils", name) for name in _UTILS], ("torch._tensor", "_rebuild_from_type_v2"), ("torch", "Tensor"),
    ("torch.nn.parameter", "Parameter"), ("torch.storage", "UntypedStorage"), ("torch.storage", "TypedStorage"),
}  # fmt: skip


def _known(module: str, name: str) -> Any:
    """What a name in the file stands for: a dtype, or the name of something that is known; all others are refused."""
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError("its pickle has a name that is no string")
    if module == "torch" and name in _TORCH_DTYPES:
        return _TORCH_DTYPES[name]
    found = _Global(module, name)
    if found in _BUILDERS or found in _OTHERS or (module == "torch" and name.endswith("Storage")):
        return found
    if module == "torch" and name in ("uint16", "uint32", "uint64"):
        return numpy_module.dtype(name)
    raise Refused(
        f"holds {module}.{name}; load takes tensors, dictionaries, lists, tuples, sets, numbers and strings alone, and "
        "runs no code of a file. In PyTorch, save a model's state_dict() in its place"
    )


def _require_values(result: Any) -> None:
    """Raise unless all in it are values: the machine's names and storages are there to be called, and to be shown."""
    todo, seen = [result], set()
    while todo:
        x = todo.pop()
        if isinstance(x, _Global):
            raise Refused(f"holds the class {x.module}.{x.name}, which is not read")
        if isinstance(x, _Storage):
            raise Refused("holds a storage, which is not read alone; in PyTorch, save the tensor in its place")
        if isinstance(x, (dict, list, tuple, set, frozenset)) and id(x) not in seen:
            seen.add(id(x))
            todo += [*x, *x.values()] if isinstance(x, dict) else x


def _require_idle(target: Any, state: Any) -> None:
    """Raise unless this state leaves a value as it is: the versions that state_dict() notes, hooks, the byte order."""
    if isinstance(target, numpy_module.dtype):
        if state[1] not in "<|=":
            raise Refused("holds NumPy's numbers with their bytes in the other order, which are not read")
        if target.kind in "mM" or any(part is not None for part in state[2:5]):  # a unit, or fields
            raise Refused("holds a dtype of NumPy's that is not one of numbers or text, which is not read")
    elif not isinstance(target, (OrderedDict, Tensor)):
        raise Refused(f"sets the state of a {type(target).__name__}, which is not read")


def _set_items(target: Any, items: list[Any]) -> None:
    if not isinstance(target, dict):
        raise ValueError("its pickle puts items into what is no dictionary")
    for key, value in zip(items[::2], items[1::2], strict=True):
        target[_key(key)] = value


def _extend(target: Any, items: list[Any]) -> None:
    if not isinstance(target, list):
        raise ValueError("its pickle appends to what is no list")
    target.extend(items)


def _update(target: Any, items: list[Any]) -> None:
    if not isinstance(target, set):
        raise ValueError("its pickle adds to what is no set")
    target.update(map(_key, items))


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_LITERALS = {
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
_COLLECTED: dict[str, Callable[[list[Any]], Any]] = {"TUPLE": tuple, "FROZENSET": _frozenset}
_ADDED: dict[str, Callable[[Any, list[Any]], None]] = {
    "SETITEM": _set_items,
    "SETITEMS": _set_items,
    "APPEND": _extend,
    "APPENDS": _extend,
    "ADDITEMS": _update,
}
