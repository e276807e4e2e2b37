"""What is learned in a few minutes: `python -m benchmarks learning --text FILE --minutes 3`.

The character-level program with its own recipe, then PyTorch's `nn.LSTM` of 384 units with a plain one: Adam, a cosine
rate, dropout 0.5 before the scores. Each in a process of its own on all cores, one after the other; both are judged on
the whole held-out tenth by the same function. With `--cells` instead the program with each of its recurrent layers.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import nn
import tinygrad_seq as tg
from examples.char_lm.cells import CELLS
from examples.char_lm.checkpoint import Run
from examples.char_lm.judge import Judge
from examples.char_lm.model import CharLM
from examples.char_lm.text import Corpus, Text

from .processes import HERE, markdown

HIDDEN, EMBEDDING, BATCH, CHUNK, RATE, DROPOUT = 384, 64, 64, 64, 4e-3, 0.5


def corpus_of(text: Path | None, folder: Path) -> Corpus:
    """The text as tokens, its last tenth held out."""
    return Text(None if text is None else [text]).corpus(folder)


def ours(text: Path | None, minutes: float, folder: Path, cell: str = "lstm") -> Run:
    """What the program keeps: the best of the run."""
    given = ["--minutes", str(minutes), "--out", str(folder), "--quiet", *(["--text", str(text)] if text else [])]
    command = [sys.executable, "-m", "examples.char_lm", "train", "--cell", cell, *given]
    subprocess.run(command, cwd=HERE, check=True)
    return Run.load(folder / "best.npz", "cpu")


def theirs(text: str | None, minutes: float, folder: str) -> None:
    """Train PyTorch's layer for so many minutes, and leave its weights in the folder."""
    import torch

    corpus = corpus_of(None if text is None else Path(text), Path(folder))
    torch.manual_seed(0)
    V = len(corpus.vocabulary)
    model = torch.nn.ModuleDict(
        {
            "embedding": torch.nn.Embedding(V, EMBEDDING),
            "recurrent": torch.nn.LSTM(EMBEDDING, HIDDEN),
            "head": torch.nn.Linear(HIDDEN, V),
        }
    )
    drop = torch.nn.Dropout(DROPOUT)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    streams = nn.utils.stream(corpus.train, BATCH, CHUNK)
    began = time.monotonic()
    while (done := (time.monotonic() - began) / (60 * minutes)) < 1:
        state = None
        for inputs, targets in streams:
            done = (time.monotonic() - began) / (60 * minutes)
            if done >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = RATE * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))
            x, y = (torch.tensor(t.numpy()) for t in (inputs, targets))
            hidden, state = model["recurrent"](model["embedding"](x), state)
            state = tuple(s.detach() for s in state)
            loss = torch.nn.functional.cross_entropy(model["head"](drop(hidden)).reshape(-1, V), y.reshape(-1))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    np.savez(Path(folder) / "theirs.npz", **{name: p.detach().numpy() for name, p in model.state_dict().items()})


def their_model(folder: Path, vocabulary: int) -> CharLM:
    """Its weights in a model of ours, which judges and writes."""
    model, weights = CharLM(vocabulary, EMBEDDING, HIDDEN, 1), np.load(folder / "theirs.npz")
    model.load_state_dict({name: tg.tensor(weights[name]) for name in weights.files})
    return model


def judged(model: CharLM, corpus: Corpus) -> float:
    """Nats per character of the whole held-out tenth."""
    found = Judge(model, corpus.tokens, corpus.cut)()
    assert found is not None
    return found[0]


def main(text: Path | None = None, minutes: float = 3.0) -> None:
    rows: list[tuple[str, ...]] = [("", "nats", "minutes")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = corpus_of(text, folder)
        rows.append(
            ("tinygrad_seq", f"{judged(ours(text, minutes, folder / 'ours').model, corpus):.4f}", f"{minutes:g}")
        )
        call = f"from benchmarks.learning import theirs; theirs({text and str(text)!r}, {minutes}, {str(folder)!r})"
        subprocess.run([sys.executable, "-c", call], cwd=HERE, check=True)
        peer = their_model(folder, len(corpus.vocabulary))
        rows.append((f"PyTorch, nn.LSTM({HIDDEN})", f"{judged(peer, corpus):.4f}", f"{minutes:g}"))
    print(markdown(rows))


def each_cell(text: Path | None = None, minutes: float = 3.0) -> None:
    """The table of cells in examples/char_lm/README.md."""
    rows: list[tuple[str, ...]] = [("`--cell`", "layers", "nats")]
    with tempfile.TemporaryDirectory() as name:
        corpus = corpus_of(text, Path(name))
        for cell in CELLS:
            run = ours(text, minutes, Path(name) / cell, cell)
            rows.append((cell, f"{run.settings.layers} × {run.settings.hidden}", f"{judged(run.model, corpus):.3f}"))
    print(markdown(rows))
