"""The page to look into a model: one file of HTML that asks the network for nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoint import Run
from .errors import UserError
from .look import Array, features, look, ranked
from .output import escaped
from .vocabulary import Tokens, Vocabulary

HERE = Path(__file__).parent
POINTS = 400  # of the training curve, at most
DECADES = 4  # of a gradient's norm that can be told apart


def write_page(
    path: Path,
    run: Run,
    tokens: Tokens,
    what: str,
    device: str = "cpu",
    compiled: bool = True,
    curve: Run | None = None,
    units: Sequence[int] = (),
) -> int:
    """Write the page; its size in bytes.

    Args:
        tokens: the text to look at.
        what: says which text that is.
        curve: the run whose learning curve is shown, if it went on after this model.
        units: shown, too, beside those that rank highest.

    Raises:
        OSError: if the file cannot be written.
        UserError: if the model is no LSTM.
    """
    if run.settings.cell != "lstm":
        raise UserError(
            f"the page shows the gates and the cell state of an LSTM, and this model was trained with --cell "
            f"{run.settings.cell}; `score --each token` says how surprising each token is to it"
        )
    page = html(contents(run, tokens, what, device, compiled, curve or run, units))
    return path.write_bytes(page)


def html(data: dict[str, Any]) -> bytes:
    """The page with these contents. Whatever these are, they stay data."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)  # ASCII: no encoding can spoil it
    page = (HERE / "page.html").read_text("utf-8")
    parts = {
        "page.css": (HERE / "page.css").read_text("utf-8"),
        "page.js": (HERE / "page.js").read_text("utf-8"),
        "data": text.replace("<", "\\u003c"),  # so that no </script> can end it
    }
    before, *rest = page.split("{{")
    for piece in rest:
        name, after = piece.split("}}", 1)
        before += parts[name] + after
    return before.encode("utf-8")


def contents(
    run: Run, tokens: Tokens, what: str, device: str, compiled: bool, curve: Run, units: Sequence[int]
) -> dict[str, Any]:
    """What the page shows, as JSON can say it."""
    vocabulary = run.vocabulary
    start = vocabulary.encode(vocabulary.line_break, "the beginning")
    seen = look(run.model, np.concatenate([start, tokens]), device, compiled)
    pieces = texts(vocabulary, tokens)
    ranking = ranked(seen.states, features(pieces))
    chosen = list(dict.fromkeys([*units, *(unit for best in ranking.values() for unit, _ in best)]))
    numbers = np.uint8 if len(vocabulary) <= 256 else np.uint16 if len(vocabulary) <= 1 << 16 else np.uint32
    i, f, g, o = (seen.gates[name] for name in "ifgo")
    highest = np.maximum(seen.reach.max(axis=1, keepdims=True), 1e-30)
    lasting = 1 + np.log10(np.maximum(seen.reach / highest, 1e-30)) / DECADES
    return {
        "what": what,
        "unit": vocabulary.unit,
        "kind": vocabulary.kind,
        "pieces": [escaped(piece) for piece in pieces],
        "names": [escaped(token) for token in vocabulary.tokens],
        "bytes_per_number": np.dtype(numbers).itemsize,
        "tokens": packed(tokens, numbers),
        "nats": packed(seen.nats, np.float32),
        "likeliest": packed(seen.likeliest, numbers),
        "expected": seen.likeliest.shape[1],
        "roots_of_shares": packed(np.rint(255 * np.sqrt(seen.shares)), np.uint8),  # small ones are told apart, too
        "units": [
            {
                "name": unit_name(unit, run),
                "states": packed(seen.states[:, unit], np.int8),
                "gates": packed(np.stack([i[:, unit] << 4 | f[:, unit], g[:, unit] << 4 | o[:, unit]], -1), np.uint8),
            }
            for unit in chosen
        ],
        "ranking": [
            {"feature": name, "units": [[chosen.index(unit), round(r, 3)] for unit, r in best]}
            for name, best in ranking.items()
        ]
        + ([{"feature": "asked for", "units": [[chosen.index(unit), None] for unit in units]}] if units else []),
        "reach": {
            "steps": seen.reach.shape[1],
            "decades": DECADES,
            "positions": seen.positions.tolist(),
            "highest": [float(f"{x:.3g}") for x in highest[:, 0]],
            "lasting": packed(np.rint(255 * np.clip(lasting, 0, 1)), np.uint8),
        },
        "curve": learning_curve(curve),
        "settings": settings(run, seen.nats),
    }


def texts(vocabulary: Vocabulary, tokens: Tokens) -> list[str]:
    """The text of each token; that of a character's last byte is the character, and that of its others is empty."""
    pieces = vocabulary.pieces(tokens.tolist())
    found = list(islice(pieces, len(tokens)))
    found[-1] += "".join(pieces)  # bytes that nothing completed
    return found


def packed(values: Array, dtype: Any) -> str:
    """An array as base64, little-endian."""
    return base64.b64encode(np.ascontiguousarray(values, np.dtype(dtype).newbyteorder("<")).tobytes()).decode()


def unit_name(unit: int, run: Run) -> str:
    """The number of a unit in its layer, and the layer if there are several."""
    layer, number = divmod(unit, run.settings.hidden)
    return f"{number}" if run.settings.layers == 1 else f"{layer}.{number}"


def learning_curve(run: Run) -> dict[str, Any]:
    """Steps and nats, of the training and of the judgements."""
    thinned = run.losses[:: -(-len(run.losses) // POINTS) or 1]
    return {
        "training": [[step, round(nats, 4)] for step, nats in thinned if np.isfinite(nats)],
        "held_out": [[j.step, round(j.nats, 4)] for j in run.judged if np.isfinite(j.nats)],
        "dropout": run.settings.has_dropout,
    }


def text_name(run: Run) -> str:
    """What a run learned, in a few words."""
    paths = run.settings.text
    return "Python's own documentation" if paths is None else ", ".join(Path(path).name for path in paths)


def settings(run: Run, nats: Array) -> dict[str, str]:
    """What one wants to know about a run."""
    s = run.settings
    said = {
        "this text": f"{nats.mean():.4f} nats per {run.vocabulary.unit}",
        "held-out part": f"{run.best.nats:.4f} nats, at best" if run.best else "never judged",
        "step": f"{run.step:,}, after {run.seconds:.0f} s",
        "parameters": f"{sum(p.numel() for p in run.model.parameters()):,}",
        "vocabulary": f"{len(run.vocabulary):,} {run.vocabulary.kind}",
    }
    hidden = {"digest", "judgements", "judged_tokens", "tokens"}
    given = {k.replace("_", " "): v for k, v in asdict(s).items() if k not in hidden and v is not None}
    given["text"] = text_name(run)
    return said | {k: f"{v:g}" if isinstance(v, float) else escaped(str(v)) for k, v in given.items()}
