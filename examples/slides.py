"""The slides on RNN and LSTM that this project implements: `python -m examples.slides`.

For each slide: its equation, the line of this project that is that equation (found in the source as it is now), and a
picture from networks that run: a plain RNN and an LSTM, trained for some seconds to spell sentences such as "I am
Greek, I love Greece." The pictures go to the folder `slides`.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import nn
import nn.functional as F
import tinygrad_seq as tg
from nn.cells import LSTMCell, RNNCell
from nn.recurrent import Recurrent
from tinygrad_seq.terminal import escape_unprintable

from .long_memory import LANDS, PEOPLE

SENTENCES = [f"I am {people}, I love {land}.\n" for people, land in zip(PEOPLE, LANDS, strict=True)]
CHARACTERS = sorted(set("".join(SENTENCES)))


class Speller(nn.Module):
    """The network of the slides: characters (T, B) -> o (T, B, V), the distribution of the next one."""

    def __init__(self, kind: str, hidden: int = 32, **settings: Any) -> None:
        self.memory = getattr(nn, kind)(len(CHARACTERS), hidden, **settings)
        self.V = nn.Linear(hidden, len(CHARACTERS))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        s, _ = self.memory(F.one_hot(x, len(CHARACTERS)).float())
        return F.softmax(self.V(s), dim=-1)


def encode(text: str) -> tg.Tensor:
    """Characters as numbers (T, 1)."""
    return tg.tensor([CHARACTERS.index(c) for c in text]).unsqueeze(1)


def trained(kind: str, steps: int, **settings: Any) -> Speller:
    """A network that has read pairs of sentences, the loss being -log o_t[x_{t+1}]."""
    tg.manual_seed(0)
    model = Speller(kind, **settings)
    optimizer = nn.optim.Adam(model.parameters(), lr=0.01)
    generator = tg.Generator(1)
    for _ in range(steps):
        chosen = tg.randint(len(SENTENCES), (12,), generator=generator).tolist()
        x = nn.utils.rnn.pad_sequence([encode(SENTENCES[n]).squeeze(1) for n in chosen], padding_value=-1)
        there = x[1:] >= 0
        o = model(x[:-1].clamp(min=0))
        loss = -o.gather(2, x[1:].clamp(min=0).unsqueeze(2)).squeeze(2)[there].log().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model


# --- pictures ---


class Networks(NamedTuple):
    """What the pictures are taken of: both networks, and what a lens saw while they read `text`."""

    text: str
    rnn: Speller
    lstm: Speller
    seen_rnn: Any
    seen_lstm: Any

    @classmethod
    def made(cls, steps: int) -> Networks:
        text = SENTENCES[0]
        models = [trained("RNN", steps), trained("LSTM", steps, forget_bias=1.0)]
        layers = []
        for model in models:
            with nn.lens(model) as seen:
                land = text.index(" love ") + len(" love ")
                x = encode(text)
                (-model(x[:land])[-1, 0, x[land, 0]].log()).backward()
            layers.append(seen["memory.l0"])
        return cls(text[:land], *models, *layers)


def _map(values: Any, labels: str, title: str) -> Any:
    """Values (T, H) as a heat map over the characters."""
    figure = nn.figures.figure(0.22 * len(labels) + 1, 2.6)
    axes = figure.subplots()
    figure.colorbar(axes.imshow(values.T, aspect="auto", cmap="RdBu_r", vmin=-1, vmax=1), ax=axes)
    axes.set_xticks(range(len(labels)), [c.replace(" ", "␣") for c in labels], size=7)
    axes.set_yticks([])
    axes.set_title(title, size=9)
    return figure


def states(n: Networks) -> Any:
    return _map(n.seen_rnn.state("h")[:, 0], n.text, "RNN: the state s_t, a row for a unit")


def cell_state(n: Networks) -> Any:
    return _map(n.seen_lstm.state("c")[:, 0], n.text, "LSTM: the cell state C_t, a row for a unit")


def gates(n: Networks) -> Any:
    return nn.figures.gates(n.seen_lstm, n.text)


def output(n: Networks) -> Any:
    with tg.no_grad():
        o = n.lstm(encode(n.text))[:, 0]
    figure = _map(o.numpy(), n.text, "o_t = softmax(V s_t): the next character")
    figure.axes[0].set_yticks(
        range(len(CHARACTERS)), [c.replace("\n", "⏎").replace(" ", "␣") for c in CHARACTERS], size=5
    )
    return figure


def gradients(n: Networks) -> Any:
    return nn.figures.gradients({"RNN": n.seen_rnn, "LSTM": n.seen_lstm})


# --- slides ---


class Slide(NamedTuple):
    """One slide.

    Attributes:
        name: what it is about.
        equation: what it says.
        where: the class or function whose source has the line.
        line: a part of that line, by which it is found.
        picture: draws it.
    """

    name: str
    equation: str
    where: Any
    line: str
    picture: Callable[[Networks], Any]


SLIDES = [
    Slide("RNN, layers", "input → hidden → output; the hidden layer feeds itself", Speller, "self.memory(", states),
    Slide("RNN, input", "x_t, the input at step t = 1, 2, 3, …", Recurrent._scan, "= project(data)", states),
    Slide("RNN, state", "s_t, the memory: the hidden state at step t", Recurrent._scan, "= step(xW", states),
    Slide("RNN, update", "s_t = f(U x_t + W s_{t-1})", RNNCell.step, "self._f(", states),
    Slide("RNN, output", "o_t = softmax(V s_t)", Speller, "F.softmax(self.V(s)", output),
    Slide("RNN, example", "I am Chinese, I love China", Networks.made, ".log()).backward()", gradients),
    Slide("LSTM, C", "C decides what is kept and what is forgotten", LSTMCell, 'states = ("h", "c")', cell_state),
    Slide("LSTM, gate", "σ(·) ∗ ·: 0 lets nothing through, 1 everything", LSTMCell.compute_gates, "sigmoid(f)", gates),
    Slide("LSTM, forget", "f_t = σ(W_f·[h_{t-1}, x_t] + b_f)", LSTMCell.compute_gates, "i, f, g, o = ", gates),
    Slide("LSTM, input", "i_t = σ(W_i·[h_{t-1}, x_t] + b_i), C̃_t = tanh(…)", LSTMCell.compute_gates, "tanh(g)", gates),
    Slide("LSTM, update", "C_t = f_t ∗ C_{t-1} + i_t ∗ C̃_t", LSTMCell.step, "c = f * ", cell_state),
    Slide("LSTM, output", "o_t = σ(…), h_t = o_t ∗ tanh(C_t)", LSTMCell.step, "h = o * tanh(c)", gates),
]  # fmt: skip


def code(slide: Slide) -> tuple[str, str]:
    """The line that is the slide's equation, and where it stands."""
    lines, first = inspect.getsourcelines(slide.where)
    number, found = next((k, text) for k, text in enumerate(lines) if slide.line in text)
    path = Path(inspect.getsourcefile(slide.where) or "").resolve().relative_to(Path(__file__).resolve().parent.parent)
    return found.strip(), f"{path}:{first + number}"


def main(arguments: list[str] | None = None) -> None:
    escape_unprintable()
    parser = argparse.ArgumentParser(prog="python -m examples.slides", description="Slides on RNN and LSTM, in code.")
    parser.add_argument("--steps", type=int, default=600, help="training steps of each network (600)")
    parser.add_argument("--out", type=Path, default=Path("slides"), help="the folder for the pictures (slides)")
    given = parser.parse_args(arguments)
    networks = Networks.made(given.steps)
    given.out.mkdir(parents=True, exist_ok=True)
    for function in dict.fromkeys([slide.picture for slide in SLIDES]):
        function(networks).savefig(given.out / f"{function.__name__}.png", dpi=110)
    for slide in SLIDES:
        text, place = code(slide)
        print(f"{slide.name}: {slide.equation}\n    {text}\n    {place}, {given.out / slide.picture.__name__}.png\n")


if __name__ == "__main__":
    main()
