"""MultiheadAttention."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import tinygrad_seq as tg
from tinygrad_seq import Tensor

from . import functional as F
from . import init
from .functional.attention import as_mask, attention_weights
from .layers import Linear
from .module import Module, Parameter, require_sizes


class MultiheadAttention(Module):
    """Attention in several heads (Vaswani et al., 2017). query (T, B, E), key (S, B, kdim), value (S, B, vdim).

    -> output (T, B, E), and the weights (B, T, S), the mean over the heads unless `average_attn_weights=False`:
    (B, N, T, S). `batch_first` makes them (B, T, ·); without a batch they have no B. While training they are those that
    dropout left. A query that may look nowhere has weights of 0, with `need_weights=False` and without.

    Parameters, as in PyTorch: in_proj_weight (3E, E) of query, key and value, one below the other, or q_proj_weight,
    k_proj_weight and v_proj_weight where kdim or vdim differ from E; in_proj_bias (3E,); out_proj; bias_k and bias_v
    (1, 1, E) with add_bias_kv.

    Args:
        add_bias_kv: put a learned key and value behind the given ones, at which all queries may look.
        add_zero_attn: put a key and a value of zeros there.
    """

    embed_dim: int
    num_heads: int
    dropout: float
    batch_first: bool
    kdim: int
    vdim: int
    q_proj_weight: Parameter
    k_proj_weight: Parameter
    v_proj_weight: Parameter
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None
    out_proj: Linear

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        require_sizes("MultiheadAttention", embed_dim=embed_dim, num_heads=num_heads)
        if embed_dim % num_heads:
            raise ValueError(f"MultiheadAttention: num_heads={num_heads} must divide embed_dim={embed_dim}")
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        self.kdim, self.vdim, self.add_zero_attn = kdim or embed_dim, vdim or embed_dim, add_zero_attn
        made = {"device": device, "dtype": dtype or tg.float32}
        if self.kdim == self.vdim == embed_dim:
            self.in_proj_weight: Any = Parameter(tg.zeros(3 * embed_dim, embed_dim, **made))
        else:
            self.in_proj_weight = None
            self.q_proj_weight = Parameter(tg.zeros(embed_dim, embed_dim, **made))
            self.k_proj_weight = Parameter(tg.zeros(embed_dim, self.kdim, **made))
            self.v_proj_weight = Parameter(tg.zeros(embed_dim, self.vdim, **made))
        self.in_proj_bias = Parameter(tg.zeros(3 * embed_dim, **made)) if bias else None
        self.bias_k = Parameter(tg.zeros(1, 1, embed_dim, **made)) if add_bias_kv else None
        self.bias_v = Parameter(tg.zeros(1, 1, embed_dim, **made)) if add_bias_kv else None
        self.out_proj = Linear(embed_dim, embed_dim, bias, **made)
        self.reset_parameters()

    def _weights(self) -> list[Tensor]:
        if self.in_proj_weight is not None:
            return list(self.in_proj_weight.chunk(3))
        return [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]

    def reset_parameters(self) -> None:
        """Draw the projections of query, key and value anew, and what is put behind keys and values; biases are 0."""
        for weight in self._weights() if self.in_proj_weight is None else [self.in_proj_weight]:
            init.xavier_uniform_(weight)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)
        for more in (self.bias_k, self.bias_v):
            if more is not None:
                init.xavier_normal_(more)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Look at the values.

        Args:
            key_padding_mask: (B, S): True where a key must not be looked at, or numbers that are added to the scores.
            attn_mask: (T, S) or (B · N, T, S), likewise for each query. (Of `functional`'s function True means the
                opposite, as in PyTorch.)
            is_causal: for PyTorch's programs: says what attn_mask is, which has to be given.

        Raises:
            TypeError: if a mask is neither boolean nor floating-point.
            ValueError: if a mask has another shape, or is_causal comes without attn_mask.
        """
        if is_causal and attn_mask is None:
            raise ValueError("MultiheadAttention: is_causal=True needs attn_mask, which says it")
        batched = query.ndim == 3
        if not batched:
            query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
        elif self.batch_first:
            query, key, value = query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1)
        biases: Any = [None] * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        given = zip((query, key, value), self._weights(), biases, strict=True)
        q, k, v = (self._heads(F.linear(x, weight, bias)) for x, weight, bias in given)  # (B, N, T or S, E / N)
        mask = self._mask(attn_mask, key_padding_mask, q, k, batched)
        for more_k, more_v in self._behind(q):
            k, v = (tg.cat([x, more.expand(x.shape[0], -1, -1, -1)], 2) for x, more in ((k, more_k), (v, more_v)))
            mask = None if mask is None else tg.pad(mask, (0, 1))
        weights = F.dropout(attention_weights(q, k, mask), self.dropout, self.training, batch_dim=0)
        output = self.out_proj((weights @ v).permute(2, 0, 1, 3).flatten(2))
        shown = (weights.mean(1) if average_attn_weights else weights) if need_weights else None
        if not batched:
            return output.squeeze(1), None if shown is None else shown.squeeze(0)
        return (output.transpose(0, 1) if self.batch_first else output), shown

    if TYPE_CHECKING:

        def __call__(
            self,
            query: Tensor,
            key: Tensor,
            value: Tensor,
            key_padding_mask: Tensor | None = None,
            need_weights: bool = True,
            attn_mask: Tensor | None = None,
            average_attn_weights: bool = True,
            is_causal: bool = False,
        ) -> tuple[Tensor, Tensor | None]: ...

    def _behind(self, q: Tensor) -> list[tuple[Tensor, Tensor]]:
        """What comes behind keys and values, each (1, N, 1, E / N)."""
        learned = [] if self.bias_k is None or self.bias_v is None else [(self.bias_k, self.bias_v)]
        zeros = tg.zeros(1, self.num_heads, 1, q.shape[-1], dtype=q.dtype, device=q.device)
        return [(self._heads(k), self._heads(v)) for k, v in learned] + [(zeros, zeros)] * self.add_zero_attn

    def _heads(self, x: Tensor) -> Tensor:
        """(T, B, E) -> (B, N, T, E / N)."""
        return x.unflatten(-1, (self.num_heads, -1)).permute(1, 2, 0, 3)

    def _mask(self, attn_mask: Any, key_padding_mask: Any, q: Tensor, k: Tensor, batched: bool) -> Tensor | None:
        """Both masks as numbers that are added to the scores (B, N, T, S); None if there is none."""
        (B, N, T, _), S = q.shape, k.shape[-2]
        mask = self._scores("attn_mask", attn_mask, q, (T, S), (B * N, T, S))
        if mask is not None and mask.ndim == 3:
            mask = mask.reshape(B, N, T, S)
        padding = self._scores("key_padding_mask", key_padding_mask, q, (B, S) if batched else (S,))
        if padding is None:
            return mask
        padding = padding.reshape(B, 1, 1, S)
        return padding if mask is None else mask + padding

    @staticmethod
    def _scores(name: str, mask: Any, q: Tensor, *shapes: tuple[int, ...]) -> Tensor | None:
        """A mask of one of the shapes as numbers: minus infinity where it is True."""
        mask = as_mask(f"MultiheadAttention: {name}", mask, q)
        if mask is None:
            return None
        if mask.shape not in shapes:
            raise ValueError(
                f"MultiheadAttention: {name} must have shape {' or '.join(map(str, shapes))}, got {mask.shape}"
            )
        return tg.where(mask, -math.inf, tg.zeros_like(mask, dtype=q.dtype)) if mask.dtype == tg.bool else mask
