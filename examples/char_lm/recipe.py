"""The rules that choose how a run learns, from the text's length, the budget and the machine's speed.

They are followed once, when a run begins; what they chose stands in its checkpoint. What is given on the command line
is kept, and the rest is chosen around it. Runs by --steps do not look at the machine, so that two of them are the same.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import numpy as np

from .cells import LINEAR
from .errors import UserError
from .model import size
from .settings import Settings

HIDDEN = (128, 256, 384, 512, 768, 1024)
BATCH, CHUNK = 64, 64  # products of this width are what processors do best; 64 characters is where gradients end
MOST_SCORES = 1 << 22  # numbers in a step's largest array, so that it takes some ten megabytes
WARM_UP = 50  # steps over which the learning rate rises
LAST_RATE = 0.01  # of the highest, where the cosine ends
EFFICIENCY = 0.5  # of the speed of a bare product, that a step reaches
PASSES = 4.0  # over the text that a model should see: a larger one would see fewer
JUDGING = 0.05  # of the training, spent on judging
FORWARD = 1 / 3  # of a token's cost in training, that judging it costs
FEWEST_JUDGED, FEWEST_JUDGEMENTS, MOST_JUDGEMENTS = 10_000, 10, 100
STEPS_BETWEEN = 20  # judgements, at least
BYTES_PER_PARAMETER = 5 * 4  # itself, its gradient, two moments, and one copy while saving
BYTES_PER_ACTIVATION = 4 * 12  # of each unit at each step: gates, states, and the way back


def choose(given: dict[str, Any], tokens: int, vocabulary: int, processes: int = 1) -> Settings:
    """All settings of a run.

    Args:
        given: the settings from the command line.
        tokens: how many there are to learn from.
        vocabulary: how many different ones.
        processes: how many train together.
    """
    chosen = dict(given)
    if not chosen.keys() & {"steps", "minutes"}:
        chosen["minutes"] = 2.0
    # short texts make short streams: leave each a few pieces; and a large vocabulary many scores
    widest = min(BATCH, tokens // (4 * CHUNK), MOST_SCORES // (CHUNK * vocabulary))
    chosen.setdefault("batch", max(widest, 1))
    chosen.setdefault("chunk", max(min(CHUNK, (tokens // chosen["batch"] - 1) // 2), 1))
    chosen.setdefault("cell", Settings.cell)
    # gates that do not see the state know of the past what the layers below say
    chosen.setdefault("layers", 3 if chosen["cell"] in LINEAR else 1)
    chosen.setdefault("embedding", 64)
    speed = None if "steps" in chosen else multiplications_per_second() * processes

    def planned(hidden: int) -> float:
        """Tokens that a model of this size is trained on."""
        if speed is None:
            return float(chosen["steps"] * chosen["batch"] * chosen["chunk"])
        per_token = 3 * size(
            chosen["cell"], vocabulary, chosen["embedding"], hidden, chosen["layers"]
        )  # forward, and twice back
        return speed * EFFICIENCY / per_token * 60 * chosen["minutes"]

    # the largest model that sees the text a few times; of a long text, as much as three times its parameters
    enough = min(PASSES * tokens, 10e6)
    fitting = [hidden for hidden in HIDDEN[:4] if planned(hidden) >= enough]
    chosen.setdefault("hidden", max(fitting, default=HIDDEN[1]))
    passes = planned(chosen["hidden"]) / max(tokens, 1)
    # what is read once cannot be learned by heart; what is read ten times is, without dropout
    chosen.setdefault("dropout", 0.5 if passes > 5 else 0.25 if passes > 2 else 0.0)
    chosen.setdefault("embedding_dropout", 0.1 if passes > 10 else 0.0)
    chosen.setdefault("weight_decay", 0.01 if passes > 2 else 0.0)
    chosen.setdefault("lr", 5e-3 if chosen["hidden"] <= 512 else 3e-3)
    budget = JUDGING / FORWARD * planned(chosen["hidden"])  # tokens that may be judged
    held_out = tokens / 9
    judgements = int(np.clip(budget / max(held_out, FEWEST_JUDGED), FEWEST_JUDGEMENTS, MOST_JUDGEMENTS))
    chosen["judgements"] = max(min(judgements, chosen.get("steps", judgements * STEPS_BETWEEN) // STEPS_BETWEEN), 1)
    chosen["judged_tokens"] = int(max(min(budget / chosen["judgements"], held_out), FEWEST_JUDGED))
    return Settings(**chosen)


def multiplications_per_second() -> float:
    """How fast this machine multiplies matrices of the size that a step has."""
    a, b = np.ones((512, 512), np.float32), np.ones((512, 64), np.float32)
    times = []
    for _ in range(20):
        began = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - began)
    return a.size * b.shape[1] / sorted(times)[len(times) // 2]


def require_room(s: Settings, vocabulary: int) -> None:
    """Refuse a model that this machine cannot hold, before the system ends the process for it."""
    parameters = size(s.cell, vocabulary, s.embedding, s.hidden, s.layers)
    activations = s.batch * s.chunk * (s.layers * s.hidden + vocabulary)
    needed, there = parameters * BYTES_PER_PARAMETER + activations * BYTES_PER_ACTIVATION, memory()
    if there is not None and needed > there:
        raise UserError(
            f"a model of {parameters:,} parameters needs about {needed / 1e9:,.1f} GB to train, and there are "
            f"{there / 1e9:.1f}: take a smaller --hidden, --layers, --batch or --chunk"
        )


def memory() -> int | None:
    """Bytes that this process may use, where the system says so."""
    try:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
    if sys.platform != "win32":
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        there = there if limit == resource.RLIM_INFINITY else min(there, limit)
    return there
