"""What type checkers see of a user's program: everyday lines pass and have types, mistakes are found."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import nn
import tinygrad_seq as tg
from nn import optim

ROOT = Path(__file__).parent.parent

# a line that ends in "# wrong" must be an error; all others must not be
EVERYDAY = """
from typing import Any, assert_type
import nn
import nn.functional as F
import numpy as np
import tinygrad_seq as tg
from nn import optim
from nn.utils.rnn import PackedSequence, pack_padded_sequence
from tinygrad_seq import Tensor

class Tagger(nn.Module):
    def __init__(self, vocabulary: int, hidden: int) -> None:
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.lstm = nn.LSTM(hidden, hidden, num_layers=2, batch_first=True, zoneout=0.1)
        self.output = nn.Linear(hidden, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        out, (h, c) = self.lstm(self.embedding(tokens))
        assert_type(out, Tensor)
        assert_type(h, Tensor)
        h = h[-1] + c.mean(0)
        h = F.dropout(tg.tanh(h), 0.1)
        return self.output(out + h.unsqueeze(1))

model = Tagger(10, 4).train()
optimizer = optim.Adam(model.parameters(), lr=1e-3)
scheduler = optim.lr_scheduler.StepLR(optimizer, 10)
criterion = nn.CrossEntropyLoss()
x, y = tg.randint(0, 10, (2, 5)), tg.randint(0, 3, (2, 5))

@tg.compile
def step(x: Tensor, y: Tensor) -> Tensor:
    loss = criterion(model(x).reshape(-1, 3), y.reshape(-1))
    assert_type(loss, Tensor)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss

total = 0.0
for epoch in range(3):
    loss = step(x, y)
    assert_type(loss, Tensor)
    total += loss.item()
    scheduler.step()
names = ["a", "b", "c"]
with tg.no_grad():
    probabilities = model(x).softmax(-1)
    values, indices = tg.randn(2, 3).max(1)
    assert_type(values, Tensor)
    print(names[indices[0].item()], f"{total:.3f}", len(step.programs))
assert_type(x.max(), Tensor)
assert_type(tg.max(x, 0).values, Tensor)
assert_type(tg.exp(values), Tensor)
assert_type(tg.maximum(values, 0.0), Tensor)
assert_type(tg.cat([values, values]).sum(), Tensor)
assert_type(tg.where(values > 0, values, 0.0) @ values.T, Tensor)
assert_type(x.size(0), int)
assert_type(x.shape, tuple[int, ...])
assert_type(optimizer.step(), None)
assert_type(optimizer.step(lambda: tg.zeros(1)), Tensor)
first, second = values.chunk(2)
state = nn.LSTM(3, 4)(tg.ones(2, 1, 3))[1]
state = state.detach()
hidden: tuple[Tensor, Tensor] = (tg.zeros(1, 1, 4), tg.zeros(1, 1, 4))
_, hidden = nn.LSTM(3, 4)(tg.ones(2, 1, 3), hidden)
_, last = nn.GRU(3, 4)(tg.ones(2, 1, 3))
last = last.squeeze(0)
packed = pack_padded_sequence(tg.ones(2, 1, 3), [2])
assert_type(nn.GRU(3, 4)(packed)[0], PackedSequence)
h1, c1 = nn.LSTMCell(3, 4)(tg.ones(1, 3))
loss = nn.Sequential(nn.Linear(3, 4), nn.Tanh())(tg.ones(2, 3)).sum()
compiled = tg.compile(model, mode="explain")
assert_type(compiled, Tagger)
array: Any = np.asarray(tg.softmax(values, dim=0))
w = tg.tensor([1.0, 2.0], dtype=tg.float32, requires_grad=True)
assert w.grad is None or w.grad.shape == w.shape

@tg.primitive
def cube(x, *, scale):  # type: ignore[no-untyped-def]
    return scale * x * x * x

cube.vjp(lambda g, _y, x, *, scale: 3 * scale * g * x * x)
assert_type(cube(w, scale=2.0), Tensor)
assert_type(tg.nn.Linear(2, 3)(w), Tensor)

def added(total: Tensor, x: Tensor) -> tuple[Tensor, tuple[Tensor, None]]:
    return total + x, (x, None)

assert_type(tg.scan(added, 0.0, w, reverse=True), tuple[Tensor, tuple[Tensor, None]])
tg.tahn(w)  # wrong
w.sofmax(0)  # wrong
tg.exp(w).foo  # wrong
tg.exp(w, w)  # wrong
tg.softmax(w, dims=0)  # wrong
nn.LSTM(3, 4, num_layer=2)  # wrong
nn.GRUCell(3, 4, biass=False)  # wrong
nn.PeepholeLSTMCell(3, 4, biass=False)  # wrong
nn.LRUCell(3, 4, r_mix=0.5)  # wrong
tg.associative_scan(tg.add)  # wrong
nn.Tanh(inplace=True)  # wrong
nn.LSTMM(3, 4)  # wrong
optim.Adam(model.parameters(), learning_rate=1e-3)  # wrong
optimizer.step(3)  # wrong
step(x)  # wrong
step(x, y).bar  # wrong
x.max(0).value  # wrong
x.item().upper()  # wrong
cube(w, scales=2.0)  # wrong
model.lstm(3)  # wrong
tg.scan(added, w, lenght=3)  # wrong
tg.scan(tg.add(w, w), w, w)  # wrong
tg.optimm  # wrong
""".strip().splitlines()  # fmt: skip


def found_by_mypy(program: Path) -> dict[int, str]:
    """The lines with errors, and the errors."""
    cache = ["--cache-dir", str(ROOT / ".mypy_cache" / "everyday")]
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--follow-imports=silent", *cache]
    environment = os.environ | {"MYPYPATH": str(ROOT)}
    run = subprocess.run([*command, str(program)], cwd=program.parent, env=environment, capture_output=True, text=True)
    assert run.returncode in (0, 1), run.stdout + run.stderr
    return {int(line): what for line, what in re.findall(r"^program\.py:(\d+): error: (.*)$", run.stdout, re.MULTILINE)}


def found_by_pyright(program: Path) -> dict[int, str]:
    """The same."""
    settings = {"extraPaths": [str(ROOT)], "reportUnusedExpression": False}
    (program.parent / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    run = subprocess.run([*command, "-p", str(program.parent)], cwd=program.parent, capture_output=True, text=True)
    found = json.loads(run.stdout)
    assert found["summary"]["filesAnalyzed"] == 1, run.stdout
    return {d["range"]["start"]["line"] + 1: d["message"] for d in found["generalDiagnostics"]}


def test_every_method_of_a_tensor_says_what_it_does() -> None:
    found = {name: getattr(tg.Tensor, name) for name in dir(tg.Tensor) if not name.startswith("_")}
    methods = {name: x for name, x in found.items() if callable(x) or isinstance(x, property)}
    assert len(methods) > 200
    assert [name for name, x in methods.items() if not x.__doc__] == []


CLASSES = {
    f"{module.__name__}.{name}": kind
    for module in (nn, optim, optim.lr_scheduler)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and name in module.__all__
}
ANYTHING = {"nn.Identity", "nn.Module"}
OF_A_BASE = {"nn.ModuleDict", "nn.ModuleList", "nn.ParameterDict", "nn.ParameterList", "nn.RNNBase"}  # which is named


@pytest.mark.parametrize("name", sorted(CLASSES.keys() - ANYTHING))
def test_a_keyword_that_does_not_exist_is_refused_by_the_class_that_was_called(name: str) -> None:
    kind = CLASSES[name]
    with pytest.raises(TypeError, match=None if name in OF_A_BASE else rf"^{kind.__name__}(\.__init__)?\("):
        kind(num_layer=2)


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_everyday_lines(checker: str, tmp_path: Path) -> None:
    if find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed: pip install --group dev")
    program = tmp_path / "program.py"
    program.write_text("\n".join(EVERYDAY))
    found = {"mypy": found_by_mypy, "pyright": found_by_pyright}[checker](program)
    wrong = {number for number, line in enumerate(EVERYDAY, 1) if line.endswith("# wrong")}
    assert {EVERYDAY[n - 1]: what for n, what in found.items() if n not in wrong} == {}
    assert [EVERYDAY[n - 1] for n in sorted(wrong - found.keys())] == []
