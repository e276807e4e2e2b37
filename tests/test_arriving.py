"""PyTorch's paths: `tg.nn`, `tg.optim`, deep imports, all of the same objects; and whose package `nn` is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import nn
import tinygrad_seq as tg

ROOT = Path(__file__).parent.parent


def run(code: str, *path: Path) -> subprocess.CompletedProcess[str]:
    """Python in another process, which finds packages in these folders first."""
    insert = f"import sys; sys.path[:0] = {[str(p) for p in [*path, ROOT]]!r}\n"
    return subprocess.run([sys.executable, "-P", "-c", insert + code], capture_output=True, text=True, cwd="/")


def test_attributes_and_deep_imports_give_the_same_objects() -> None:
    code = """
import tinygrad_seq as tg
model = tg.nn.LSTM(2, 3)
optimizer = tg.optim.Adam(model.parameters())
tg.optim.lr_scheduler.StepLR(optimizer, 1)
tg.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
tg.nn.functional.relu(tg.ones(1)), tg.nn.init.zeros_(tg.ones(1)), tg.utils.data.DataLoader([1])
tg.autograd.Variable(tg.ones(1)), tg.nn.interchange.read, tg.nn.utils.data.Dataset, tg.nn.utils.rnn.pad_sequence
import nn, nn.functional, nn.utils.data
import tinygrad_seq.nn as theirs
import tinygrad_seq.nn.functional as F
import tinygrad_seq.nn.init as init
import tinygrad_seq.optim as optim
import tinygrad_seq.utils.data
import tinygrad_seq.autograd as autograd
from tinygrad_seq.autograd import Function, Variable
from tinygrad_seq.nn import Module, Parameter, functional, utils
from tinygrad_seq.nn.parameter import Parameter as P
from tinygrad_seq.nn.utils import clip_grad_norm_
from tinygrad_seq.nn.utils.clip_grad import clip_grad_value_
from tinygrad_seq.nn.utils.rnn import pack_padded_sequence, pad_sequence
from tinygrad_seq.optim.lr_scheduler import StepLR
from tinygrad_seq.optim.optimizer import Optimizer
from tinygrad_seq.utils.checkpoint import checkpoint
from tinygrad_seq.utils.data import DataLoader, Dataset
from tinygrad_seq.utils.data.dataset import TensorDataset
from tinygrad_seq.utils.data.dataloader import default_collate
from tinygrad_seq.utils.data.sampler import SubsetRandomSampler
assert theirs.LSTM is nn.LSTM and Module is nn.Module and P is Parameter is nn.Parameter
assert all(getattr(theirs, name) is getattr(nn, name) or name in ('functional', 'init', 'utils') for name in nn.__all__)
assert all(getattr(F, name) is getattr(nn.functional, name) for name in nn.functional.__all__)
assert F.relu is functional.relu is tg.nn.functional.relu
assert init.xavier_uniform_ is nn.init.xavier_uniform_
assert all(getattr(optim, name) is getattr(nn.optim, name) or name == 'lr_scheduler' for name in nn.optim.__all__)
assert StepLR is nn.optim.lr_scheduler.StepLR and Optimizer is nn.optim.Optimizer
assert pad_sequence is nn.utils.rnn.pad_sequence and clip_grad_norm_ is nn.utils.clip_grad_norm_
assert DataLoader is nn.utils.data.DataLoader is tg.utils.data.DataLoader
assert checkpoint is tg.checkpoint is tg.utils.checkpoint.checkpoint
assert len({m for m in sys.modules if m.endswith('.recurrent')}) == 1
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_modules_are_loaded_when_they_are_used() -> None:
    code = """
import tinygrad_seq as tg
assert not {'nn', 'tinygrad_seq.autograd', 'tinygrad_seq.nn', 'multiprocessing'} & set(sys.modules)
tg.autograd
assert 'nn' not in sys.modules
tg.nn
assert not {'nn.interchange', 'nn.utils.data'} & set(sys.modules)
"""
    done = run(code)
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="no attribute 'interchang'"):
        getattr(tg.nn, "interchang")  # noqa: B009
    with pytest.raises(AttributeError, match="no attribute 'dat'"):
        getattr(tg.utils, "dat")  # noqa: B009
    assert tg.nn.LSTM is nn.LSTM


def test_another_package_named_nn_is_named(tmp_path: Path) -> None:
    (tmp_path / "nn").mkdir()
    (tmp_path / "nn" / "__init__.py").write_text("def train(): pass\n")
    (tmp_path / "somebodys_nn-1.0.dist-info").mkdir()
    (tmp_path / "somebodys_nn-1.0.dist-info" / "METADATA").write_text("Name: somebodys-nn\nVersion: 1.0\n")
    (tmp_path / "somebodys_nn-1.0.dist-info" / "RECORD").write_text("nn/__init__.py,,\n")
    for code in ("import tinygrad_seq as tg; tg.nn", "import tinygrad_seq.optim", "import tinygrad_seq.utils.data"):
        done = run(code, tmp_path)
        assert "ImportError: tinygrad_seq.nn: the package nn that Python finds is not" in done.stderr
        assert "belongs to the distribution somebodys-nn; pip uninstall somebodys-nn, then pip install" in done.stderr
    (tmp_path / "somebodys_nn-1.0.dist-info" / "RECORD").write_text("")
    (tmp_path / "nn" / "__init__.py").write_text("raise ImportError('no torch')\n")
    done = run("import tinygrad_seq.nn", tmp_path)
    assert "cannot import the package nn that belongs to it (no torch); pip install --force-reinstall" in done.stderr
    (tmp_path / "nn" / "__init__.py").unlink()
    (tmp_path / "nn" / "__init__.py").mkdir()  # a folder of somebody's
    done = run("import tinygrad_seq as tg; tg.ones(1); tg.nn.LSTM(2, 3)", tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
@pytest.mark.parametrize(
    "words", ["-m tinygrad_seq gradcheck EXAMPLE --shape 3", "-m examples.slides --steps 2 --out OUT"]
)
def test_what_a_terminal_cannot_show_is_escaped(words: str, encoding: str, tmp_path: Path) -> None:
    example = tmp_path / "example.py"
    example.write_text("def f(x):\n    return x.sin()\n")
    given = words.replace("EXAMPLE", f"{example}:f").replace("OUT", str(tmp_path / "out")).split()
    found = subprocess.run(
        [sys.executable, *given], cwd=ROOT, env=os.environ | {"PYTHONIOENCODING": encoding}, capture_output=True
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout
