"""Small PyTorch programs run here with nothing but their imports changed, and compute the same numbers."""

from __future__ import annotations

import copy
import re
import types
from pathlib import Path
from typing import Any

import pytest

import tinygrad_seq as tg

FOLDER = Path(__file__).parent
PROGRAMS = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith(("test_", "__")))
BACK = [  # these imports, and no other line, are what was changed
    (r"^import tinygrad_seq as torch$", "import torch"),
    (r"^import nn$", "import torch.nn as nn"),
    (r"^import nn\.functional as F$", "import torch.nn.functional as F"),
    (r"^from nn import optim$", "from torch import optim"),
    (r"^from nn\.utils\.rnn import ", "from torch.nn.utils.rnn import "),
    (r"\btinygrad_seq\b", "torch"),
]


def load(name: str, *, back: bool) -> Any:
    """The program as it is, or with its imports changed back to PyTorch's."""
    source = (FOLDER / f"{name}.py").read_text("utf-8")
    for ours, theirs in BACK if back else []:
        source = re.sub(ours, theirs, source, flags=re.MULTILINE)
    assert not back or "tinygrad" not in source
    module = types.ModuleType(name)
    exec(compile(source, f"{name}.py", "exec"), vars(module))
    return module


@pytest.mark.filterwarnings("ignore:.*(old names|deprecated|scalar)")
@pytest.mark.parametrize("name", PROGRAMS)
def test_it_runs_and_learns(name: str) -> None:
    tg.manual_seed(0)
    program = load(name, back=False)
    numbers = program.run(program.build())
    assert all(value == value for value in numbers)
    assert min(numbers[3:20]) < numbers[0]  # whatever else they record, the first is a loss, and it falls


@pytest.mark.filterwarnings("ignore:.*(old names|deprecated|scalar)")
@pytest.mark.parametrize("name", PROGRAMS)
def test_it_computes_what_pytorch_does(name: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    tg.manual_seed(0)
    ours, theirs = load(name, back=False), load(name, back=True)
    model, oracle = ours.build(), theirs.build()
    weights = {k: torch.from_numpy(v.cpu().numpy().copy()) for k, v in copy.deepcopy(model.state_dict()).items()}
    oracle.load_state_dict(weights)
    assert ours.run(model) == pytest.approx(theirs.run(oracle), rel=2e-3, abs=2e-4)
