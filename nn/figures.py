"""Pictures of what `nn.lens` saw. They need Matplotlib, the extra `figures`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .lens import Layer, Seen


def figure(width: float, height: float) -> Any:
    """An empty Matplotlib figure of this size in inches, which no window shows.

    Raises:
        ImportError: without Matplotlib; the message names the extra.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(
            "nn.figures: drawing needs Matplotlib, which is not installed: pip install tinygrad-seq[figures]"
        ) from None
    return Figure(figsize=(width, height), layout="constrained")


def gates(layer: Layer, labels: Sequence[str], sequence: int = 0, units: int = 12) -> Any:
    """The gates of a layer over the steps of one sequence, as heat maps: a row for a unit, a column for a step.

    Args:
        layer: `seen["lstm.l0"]`.
        labels: what was read at each step, such as the characters of a text (T,).
        sequence: which of the batch.
        units: how many to show, the most changeable first.

    Returns:
        A Matplotlib figure; `figure.savefig(path)` writes it.

    Raises:
        ImportError: without Matplotlib.
        ValueError: if the layer has no gates, or there are not as many labels as steps.
    """
    if not layer.gates:
        raise ValueError(f"gates: layer {layer.name!r} has no gates")
    if len(labels) != len(layer):
        raise ValueError(f"gates: got {len(labels)} labels for {len(layer)} steps")
    drawn = figure(max(4.0, 0.16 * len(labels) + 1.5), 0.6 + 1.6 * len(layer.gates))
    rows = drawn.subplots(len(layer.gates), 1, sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(rows, layer.gates, strict=True):
        opened = layer.gate(name)[:, sequence]  # (T, H)
        shown = (-opened.std(axis=0)).argsort()[:units]
        low = -1.0 if (opened < 0).any() else 0.0
        image = axes.imshow(
            opened[:, shown].T, aspect="auto", vmin=low, vmax=1.0, cmap="RdBu_r", interpolation="nearest"
        )
        axes.set_ylabel(name, rotation=0, labelpad=10)
        axes.set_yticks([])
        drawn.colorbar(image, ax=axes, pad=0.01)
    rows[-1].set_xticks(range(len(labels)), [label.replace("\n", "⏎").replace(" ", "␣") for label in labels], size=7)
    drawn.suptitle(f"Gates of {layer.name}", size=10)
    return drawn


def gradients(seen: Seen | dict[str, Layer], state: str = "h") -> Any:
    """How strongly the loss depends on the state so many steps before the end: ‖∂L/∂h_t‖ against the distance.

    Args:
        seen: what a lens saw, or layers under the names that the legend is to give them.
        state: which tensor of the state, "h" or "c".

    Returns:
        A Matplotlib figure.

    Raises:
        ImportError: without Matplotlib.
        ValueError: if no gradient has come to any layer.
    """
    layers = seen.layers if isinstance(seen, Seen) else seen
    drawn = figure(5.0, 3.2)
    axes = drawn.subplots()
    lines = 0
    for name, layer in layers.items():
        if state in layer.states:
            norms = layer.gradient_norm(state).mean(axis=1)[::-1]
            if (norms > 0).any():
                lines += 1
                axes.semilogy(range(len(norms)), norms, label=name)
    if not lines:
        raise ValueError(f"gradients: no gradient of {state!r} was seen; call backward() while the lens is there")
    axes.set_xlabel("steps back from the end")
    axes.set_ylabel(f"‖∂L/∂{state}‖")
    axes.legend(fontsize=8)
    return drawn
