"""Attention."""

from __future__ import annotations

import math
from typing import Any

import tinygrad_seq as tg
from tinygrad_seq import Tensor

from .layers import dropout


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """softmax(Q Kᵀ · scale) V. Q (..., T, E), K (..., S, E), V (..., S, F) -> (..., T, F). Vaswani et al., 2017.

    Of a query that may look nowhere the result and the gradients are 0.

    Args:
        attn_mask: broadcasts to (..., T, S): booleans, True where a query may look; or numbers, which are added.
        dropout_p: probability of dropping a weight.
        is_causal: let query t look at keys 0 to t alone.
        scale: 1/√E unless given.

    Raises:
        TypeError: if attn_mask is neither boolean nor floating-point.
    """
    attn_mask = as_mask("scaled_dot_product_attention: attn_mask", attn_mask, query)
    if is_causal:
        if attn_mask is not None:
            raise ValueError("scaled_dot_product_attention: takes attn_mask or is_causal, got both")
        attn_mask = tg.ones(query.shape[-2], key.shape[-2], dtype=tg.bool, device=query.device).tril()
    weights = attention_weights(query, key, attn_mask, scale)
    return dropout(weights, dropout_p, batch_dim=0 if weights.ndim > 2 else "auto") @ value


def as_mask(what: str, mask: Any, query: Tensor) -> Tensor | None:
    """A mask as a tensor; what was none comes to the device of the query.

    Raises:
        TypeError: unless it is boolean or floating-point.
    """
    if mask is None:
        return None
    mask = mask if isinstance(mask, Tensor) else tg.as_tensor(mask).to(device=query.device)
    if mask.dtype.kind not in "bfc":  # complex numbers are gradcheck's
        raise TypeError(
            f"{what} must be boolean, or floating-point numbers that are added to the scores, got {mask.dtype}; "
            "convert it with .bool() or .float()"
        )
    return mask


def attention_weights(query: Tensor, key: Tensor, mask: Tensor | None, scale: float | None = None) -> Tensor:
    """softmax(Q Kᵀ · scale): how much each query looks at each key; nothing where the mask says so, or everywhere."""
    scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if mask is None:
        return tg.softmax(scores, -1)
    mask = mask.to(scores.dtype) if mask.dtype.kind == "f" else mask
    may_look = mask if mask.dtype == tg.bool else mask != -math.inf
    nowhere = ~may_look.any(-1, keepdim=True)  # the softmax of such a row is 0 / 0: it looks everywhere, and is dropped
    if mask.dtype == tg.bool:
        scores = tg.where(may_look | nowhere, scores, -math.inf)
    else:
        scores = scores + tg.where(nowhere, 0.0, mask)
    return tg.where(nowhere, 0.0, tg.softmax(scores, -1))
