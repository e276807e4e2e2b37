"""The word to predict depends on one far back: `python -m examples.long_memory`.

"I am Chinese, ..., I love" is to go on with "China", however many words stand between. The program trains a plain RNN,
and LSTMs whose forget gates begin with a bias of 0, 1 and 2, on such sentences. With `nn.lens` it looks at how strongly
the loss depends on the state so many steps back, before training and after. It prints what it finds and draws
`long_memory.svg`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import nn
import nn.functional as F
import tinygrad_seq as tg

PEOPLE = ["Chinese", "French", "Italian", "Kenyan", "Mexican", "Indian", "Greek", "Turkish"]
LANDS = ["China", "France", "Italy", "Kenya", "Mexico", "India", "Greece", "Turkey"]
FILLERS = [
    "and",
    "so",
    "today",
    "we",
    "walked",
    "along",
    "a",
    "river",
    "then",
    "sat",
    "under",
    "old",
    "trees",
    "talking",
]
WORDS = ["I", "am", "love", *PEOPLE, *FILLERS]
NETWORKS: dict[str, dict[str, Any]] = {
    "RNN": {},
    "LSTM, forget bias 0": {"forget_bias": 0.0},
    "LSTM, forget bias 1": {"forget_bias": 1.0},
    "LSTM, forget bias 2": {"forget_bias": 2.0},
}


def sentences(gap: int, batch: int, generator: tg.Generator) -> tuple[tg.Tensor, tg.Tensor]:
    """Sentences "I am <people> <gap fillers> I love" as words (T, B), and the lands that they love (B,)."""
    first = WORDS.index(FILLERS[0])
    people = tg.randint(len(PEOPLE), (batch,), generator=generator)
    fillers = tg.randint(first, first + len(FILLERS), (gap, batch), generator=generator)
    opening = [tg.full((batch,), WORDS.index(word)) for word in ("I", "am")]
    closing = [tg.full((batch,), WORDS.index(word)) for word in ("I", "love")]
    rows = [*opening, people + WORDS.index(PEOPLE[0]), *fillers.unbind(0), *closing]
    return tg.stack(rows), people


class Reader(nn.Module):
    """Reads words (T, B) and scores the lands (B, 8) by its last state: o_T = softmax(V s_T)."""

    def __init__(self, kind: str, hidden: int, **settings: Any) -> None:
        self.embedding = nn.Embedding(len(WORDS), 16)
        self.memory = getattr(nn, kind)(16, hidden, **settings)
        self.V = nn.Linear(hidden, len(LANDS))

    def forward(self, words: tg.Tensor) -> tg.Tensor:
        output, _ = self.memory(self.embedding(words))
        scores: tg.Tensor = self.V(output[-1])
        return scores


class Result(NamedTuple):
    """What became of one network.

    Attributes:
        before: ‖∂L/∂h_t‖ as it was made, by the distance from the end (T,).
        after: the same after training.
        accuracy: the share of sentences that it finishes rightly.
    """

    before: Any
    after: Any
    accuracy: float


def looked_into(model: Reader, words: tg.Tensor, lands: tg.Tensor) -> Any:
    """The layer of the model as a lens sees it in one forward and backward pass."""
    with nn.lens(model) as seen:
        F.cross_entropy(model(words), lands).backward()
    model.zero_grad()
    return seen["memory.l0"]


def reach(layer: Any) -> float:
    """How much of the last step's gradient arrives at the step that names the people: ‖∂L/∂h_3‖ / ‖∂L/∂h_T‖."""
    norms = layer.gradient_norm("h").mean(axis=1)
    return float(norms[2] / norms[-1])


def run(name: str, gap: int, steps: int, hidden: int = 32, seed: int = 2) -> Result:
    """Train one network on sentences with this gap."""
    tg.manual_seed(seed)
    generator = tg.Generator(seed)
    model = Reader(name.partition(",")[0], hidden, **NETWORKS[name])
    optimizer = nn.optim.Adam(model.parameters(), lr=0.01)
    held_out = sentences(gap, 200, tg.Generator(seed + 1))
    before = looked_into(model, *held_out)

    @tg.compile
    def step() -> None:
        words, lands = sentences(gap, 32, generator)
        loss = F.cross_entropy(model(words), lands)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    for _ in range(steps):
        step()
    after = looked_into(model, *held_out)
    with tg.no_grad():
        accuracy = (model(held_out[0]).argmax(1) == held_out[1]).float().mean().item()
    return Result(before, after, accuracy)


def draw(results: dict[str, Result], gap: int, path: Path) -> None:
    """Both sets of gradients against distance, side by side."""
    figure = nn.figures.figure(8.0, 3.2)
    for axes, when in zip(figure.subplots(1, 2, sharey=True), ("before", "after"), strict=True):
        for name, result in results.items():
            norms = getattr(result, when).gradient_norm("h").mean(axis=1)[::-1]
            axes.semilogy(range(len(norms)), norms + 1e-12, label=f"{name}: {result.accuracy:.0%}")
        axes.set_title(f"{when} training, {gap} words between", size=9)
        axes.set_xlabel("steps back from the end")
    figure.axes[0].set_ylabel("‖∂L/∂h‖")
    figure.axes[1].legend(fontsize=7)
    figure.savefig(path)


def main(arguments: list[str] | None = None) -> dict[str, Result]:
    parser = argparse.ArgumentParser(prog="python -m examples.long_memory", description=__doc__.splitlines()[0])
    parser.add_argument("--gap", type=int, default=20, help="words between (20)")
    parser.add_argument("--steps", type=int, default=800, help="training steps (800)")
    parser.add_argument("--out", type=Path, default=Path("long_memory.svg"), help="the picture (long_memory.svg)")
    given = parser.parse_args(arguments)
    words, lands = sentences(given.gap, 1, tg.Generator(0))
    print(" ".join([WORDS[n] for n in words[:, 0].tolist()]), f"-> {LANDS[lands.item()]}\n")
    print(f"{'':20}  right   gradient that reaches back before training, after")
    results = {}
    for name in NETWORKS:
        results[name] = result = run(name, given.gap, given.steps)
        print(f"{name:20}  {result.accuracy:5.0%}   {reach(result.before):.1e}, {reach(result.after):.1e}", flush=True)
    draw(results, given.gap, given.out)
    print(f"\nDrawn: {given.out}")
    return results


if __name__ == "__main__":
    main()
