"""A few mistakes of each size on every route: what reaches the checker of a rule must not depend on who carries it."""

from __future__ import annotations

import numpy as np

from . import arrays, elementwise  # noqa: F401 # whose entries are changed here
from .case import CORRECT, WRONG, Case, Draw, draws, enter, normal
from .changes import Change, one_element, scaled, where, with_change, zeroed

OTHERS = ("primitive", "function", "module", "compiled", "PyTorch")

BASES: dict[str, tuple[Case, Draw]] = {  # with large inputs for each
    "sin": (CORRECT["sin"], normal(200, 250)),
    "product": (CORRECT["product"], draws(normal(200, 250), normal(200, 250))),
    "tanh": (CORRECT["tanh"], normal(200, 250)),
    "matmul": (CORRECT["matmul"], draws(normal(250, 200), normal(200, 5))),
    "softmax": (CORRECT["softmax"], normal(500, 100)),
    "log softmax": (CORRECT["log softmax"], normal(500, 100)),
}
MISTAKES: dict[str, tuple[str, Change]] = {
    "wrong sign": ("sin", scaled(-1.0)),
    "the second input's 1 % too large": ("product", scaled(1.01, which=1)),
    "one element off by 1e-6": ("tanh", one_element(1e-6)),
    "last row dropped": ("matmul", zeroed(np.s_[-1])),
    "only the diagonal": ("softmax", lambda d, g, xs, y: [g * y * (1 - y)]),
    "cotangent left out": ("tanh", lambda d, g, xs, y: [1 - y * y]),
    "wrong for negative inputs": ("log softmax", where(lambda x: x < 0, 0.9)),
}

for _name, (_case, _draw) in BASES.items():
    enter(CORRECT, f"{_name} on every route", _case, OTHERS)
    enter(CORRECT, _name, _case._replace(draw=_draw, large=True), ("pair", "module", "PyTorch"))
for _name, (_of, _change) in MISTAKES.items():
    _case = with_change(BASES[_of][0], _change)
    enter(WRONG, f"{_of}: {_name}", _case, OTHERS)
    enter(WRONG, f"{_of}: {_name}", _case._replace(draw=BASES[_of][1], large=True), ("pair", *OTHERS))
