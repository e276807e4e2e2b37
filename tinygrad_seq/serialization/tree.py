"""Trees of tensors and plain values as named arrays: the numbers as they are, all else as JSON in one more array."""

from __future__ import annotations

import json
import warnings
from base64 import b64decode, b64encode
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ..backend import Array, backend_of, is_array, npz, numpy_module
from ..graph.conversion import as_dtype, is_numeric, is_scalar
from ..graph.device import device as Device
from ..tensor import Tensor
from .refused import Refused

_TREE = "__tree__"  # the entry that holds everything but the numbers, as JSON
_DEEPEST = 100  # containers in each other: Python's JSON takes a few times as many
_FACTORIES: dict[str, Any] = {kind.__name__: kind for kind in (int, float, complex, str, list, dict, set, tuple, bool)}


class SavedState(dict[Any, Any]):
    """The `state_dict` of something that was saved whole, whose class a file does not hold."""

    def _build_it(self) -> str:
        kind = vars(self).get("kind", "module")
        return (
            f"load: this is the state_dict of a {kind}, a dictionary, as files hold no code. Build the {kind}, then "
            "call its load_state_dict(tg.load(path))"
        )

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self._build_it()} (asked for {name!r})")

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise TypeError(self._build_it())


class Saved:
    """What a file has of an object: its attributes, or, as `text`, its repr."""

    __slots__ = ("__dict__", "_kind")

    def __init__(self, kind: str, attributes: dict[str, Any]) -> None:
        self._kind = kind
        vars(self).update(attributes)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # what copy and pickle ask for
            raise AttributeError(name)
        raise AttributeError(f"load: of this {self._kind} the file has {sorted(vars(self))}, not {name!r}")

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"Saved {self._kind}({inside})"


def encode(obj: Any) -> dict[str, Array]:
    """The arrays of a tree by name, with the entry for the rest where their names do not say it all."""
    encoder = _Encoder()
    tree = encoder.encode(obj, "")
    if encoder.lost:
        warnings.warn(
            f"save: stored the attributes or the text alone of {', '.join(encoder.lost)}: a file holds no code, and "
            "load gives a plain object in its place",
            stacklevel=3,
        )
    if tree == {"dict": [[name, {"tensor": name}] for name in encoder.arrays]}:
        return encoder.arrays
    # it stands first: a directory cut short loses what it names, which is noticed
    return {_TREE: npz.bytes_to_array(json.dumps(tree).encode()), **encoder.arrays}


class _Encoder:
    """The tree as JSON values; containers and all that JSON has no word for are marked by their kind.

    A dictionary becomes a list of pairs, because JSON would turn its integer keys into strings.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}
        self.lost: list[str] = []
        self.inside: list[int] = []  # the containers that are being encoded

    def encode(self, obj: Any, name: str) -> Any:
        if isinstance(obj, Tensor):
            kind = "leaf" if obj.requires_grad and obj.is_leaf else "tensor"
            return {kind: self._entry(backend_of(obj.array).to_host(obj.array), name)}
        if obj is None or isinstance(obj, (bool, int, float, str)):
            return obj
        if isinstance(obj, complex):
            return {"complex": [obj.real, obj.imag]}
        if isinstance(obj, (bytes, bytearray)):
            return {"bytes": b64encode(obj).decode()}
        if isinstance(obj, Device):
            return {"device": str(obj)}
        if isinstance(obj, numpy_module.dtype) and is_numeric(obj):
            return {"dtype": str(obj)}
        if is_scalar(obj) and is_numeric(obj.dtype):
            return {"scalar": self._entry(backend_of(obj).asarray(obj), name)}
        if is_array(obj) and obj.dtype.kind != "O" and not hasattr(obj, "mask"):
            return {"array": self._entry(backend_of(obj).to_host(obj), name)}
        if id(obj) in self.inside or len(self.inside) >= _DEEPEST:
            return self._text(obj, name)
        self.inside.append(id(obj))
        try:
            return self._container(obj, name)
        except Exception:  # of the user's classes: what surrounds it is to be stored all the same
            return self._text(obj, name)
        finally:
            self.inside.pop()

    def _container(self, obj: Any, name: str) -> Any:
        if isinstance(obj, dict):
            return self._dictionary(obj, name)
        if isinstance(obj, deque):
            return {"deque": [obj.maxlen, self._items(obj, name)]}
        if isinstance(obj, range):
            return {"range": [obj.start, obj.stop, obj.step]}
        if isinstance(obj, tuple) and hasattr(obj, "_fields"):
            return {"named": [type(obj).__name__, list(obj._fields), self._items(obj, name)]}
        for kind, known in _SEQUENCES.items():
            if isinstance(obj, known):
                if type(obj) is not known and type(obj).__module__.partition(".")[0] not in ("nn", "tinygrad_seq"):
                    self._lose(obj, name)
                return {kind: self._items(obj, name)}
        if is_array(obj) and obj.dtype.kind == "O" and not hasattr(obj, "mask"):
            return {"objects": [list(obj.shape), self._items(obj.reshape(-1), name)]}
        if not isinstance(obj, type) and callable(getattr(obj.__class__, "state_dict", None)):
            return {"state": [type(obj).__name__, self.encode(obj.state_dict(), name)]}
        attributes = None if isinstance(obj, type | ModuleType) or callable(obj) else _attributes(obj)
        if attributes is None:
            return self._text(obj, name)
        self._lose(obj, name)
        return {"object": [type(obj).__name__, {"dict": self._pairs(attributes, name)}]}

    def _dictionary(self, obj: dict[Any, Any], name: str) -> Any:
        pairs = self._pairs(obj, name)
        if type(obj) in (OrderedDict, Counter):
            return {type(obj).__name__: pairs}
        if type(obj) is defaultdict and (obj.default_factory is None or obj.default_factory in _FACTORIES.values()):
            return {"defaultdict": [getattr(obj.default_factory, "__name__", None), pairs]}
        if type(obj) is not dict and not isinstance(obj, SavedState | OrderedDict):
            self._lose(obj, name)
        return {"dict": pairs}

    def _items(self, obj: Any, name: str) -> list[Any]:
        return [self.encode(v, f"{name}.{i}" if name else str(i)) for i, v in enumerate(obj)]

    def _pairs(self, obj: dict[Any, Any], name: str) -> list[Any]:
        return [
            [self.encode(key, f"{name}.key"), self.encode(value, f"{name}.{key}" if name else str(key))]
            for key, value in obj.items()
        ]

    def _text(self, obj: Any, name: str) -> Any:
        self._lose(obj, name)
        try:
            text = repr(obj)
        except Exception:  # of a class of the user's, or too deep
            text = f"<{type(obj).__name__}>"
        return {"object": [type(obj).__name__, {"dict": [["text", text]]}]}

    def _lose(self, obj: Any, name: str) -> None:
        where = name or "the top"
        self.lost.append(f"the {type(obj).__name__} at {where if len(where) < 60 else where[:60] + '...'}")

    def _entry(self, array: Array, name: str) -> str:
        """Keep an array under a name that an archive can have, and none has yet: {"a": {"b": x}, "a.b": y} has two."""
        name = name.encode("utf-8", "replace").decode().replace("\0", "") or "tensor"
        while name in self.arrays or name == _TREE:
            name += "_"
        self.arrays[name] = array
        return name


def _attributes(obj: Any) -> dict[str, Any] | None:
    """What an object has in its slots and its `__dict__`; None if it is of a class without either."""
    names = [name for kind in type(obj).__mro__ for name in _slots(kind)]
    held = getattr(obj, "__dict__", None)
    if not names and not isinstance(held, dict):
        return None
    return {name: getattr(obj, name) for name in names if hasattr(obj, name)} | (held or {})


def _slots(kind: type[Any]) -> list[str]:
    slots = kind.__dict__.get("__slots__", ())
    return [name for name in ([slots] if isinstance(slots, str) else slots) if not name.startswith("__")]


def decode(arrays: dict[str, Array], located: list[tuple[Tensor, str]]) -> Any:
    """What `encode` was given; of arrays without a tree, a dictionary of tensors. Notes each tensor in `located`."""

    def tensor(name: str) -> Tensor:
        if not is_numeric(arrays[name].dtype):
            raise Refused(f"holds {name!r}, an array of {arrays[name].dtype}; load takes arrays of numbers")
        made: Tensor = Tensor.wrap(arrays[name])
        located.append((made, "cpu"))
        return made

    def build(tree: Any) -> Any:
        if not isinstance(tree, dict):
            return tree
        ((kind, content),) = tree.items()
        return builders[kind](content)

    def items(pairs: Any) -> list[tuple[Any, Any]]:
        return [(build(key), build(value)) for key, value in pairs]

    def objects(content: Any) -> Array:
        found = numpy_module.empty(len(content[1]), object)
        for i, item in enumerate(content[1]):
            found[i] = build(item)
        return found.reshape(content[0])

    def state(content: Any) -> SavedState:
        saved = SavedState(build(content[1]))
        vars(saved)["kind"] = content[0]
        return saved

    builders: dict[str, Callable[[Any], Any]] = {
        "tensor": tensor,
        "leaf": lambda name: tensor(name).requires_grad_(),
        "array": lambda name: arrays[name],
        "scalar": lambda name: arrays[name][()],
        "complex": lambda parts: complex(*parts),
        "bytes": b64decode,
        "device": Device,
        "dtype": as_dtype,
        "dict": lambda pairs: dict(items(pairs)),
        "OrderedDict": lambda pairs: OrderedDict(items(pairs)),
        "Counter": lambda pairs: Counter(dict(items(pairs))),
        "defaultdict": lambda content: defaultdict(_FACTORIES.get(content[0]), items(content[1])),
        "deque": lambda content: deque(map(build, content[1]), content[0]),
        "range": lambda content: range(*content),
        "named": lambda content: namedtuple(content[0], content[1])(*map(build, content[2])),
        "objects": objects,
        "state": state,
        "object": lambda content: Saved(content[0], build(content[1])),
        **{kind: _sequence(kind, build) for kind in _SEQUENCES},
    }
    if _TREE in arrays:
        return build(json.loads(arrays[_TREE].tobytes()))
    return {name: tensor(name) for name in arrays}


_SEQUENCES: dict[str, type[Any]] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


def _sequence(kind: str, build: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda items: _SEQUENCES[kind](build(item) for item in items)
