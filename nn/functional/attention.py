"""Attention."""

from __future__ import annotations

import math

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

    Args:
        attn_mask: broadcasts to (..., T, S): booleans, True where a query may look; or numbers, which are added.
        dropout_p: probability of dropping a weight.
        is_causal: let query t look at keys 0 to t alone.
        scale: 1/√E unless given.
    """
    if is_causal:
        if attn_mask is not None:
            raise ValueError("scaled_dot_product_attention: takes attn_mask or is_causal, got both")
        attn_mask = tg.ones(query.shape[-2], key.shape[-2], dtype=tg.bool, device=query.device).tril()
    weights = attention_weights(query, key, attn_mask, scale)
    return dropout(weights, dropout_p, batch_dim=0 if weights.ndim > 2 else None) @ value


def attention_weights(query: Tensor, key: Tensor, mask: Tensor | None, scale: float | None = None) -> Tensor:
    """softmax(Q Kᵀ · scale): how much each query looks at each key; nothing where the mask says so."""
    scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if mask is None:
        return tg.softmax(scores, -1)
    if mask.dtype == tg.bool:
        return tg.softmax(tg.where(mask, scores, -math.inf), -1)
    return tg.softmax(scores + mask, -1)
