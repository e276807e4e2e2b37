"""Operations, each as a smooth map of an input (B, T, F) to one of the same shape, sample by sample."""

from __future__ import annotations

from collections.abc import Callable

import nn
import nn.functional as F
import tinygrad_seq as tg

from .feature import Feature
from .world import Function, World
from .zoo import Batch

Tensor = tg.Tensor


def _positive(x: Tensor) -> Tensor:
    return tg.square(x) + 0.5


def _pairs(like: Tensor) -> Tensor:
    """A constant matrix (F, F)."""
    return tg.sin(tg.arange(1.0, like.shape[-1] ** 2 + 1, dtype=like.dtype)).reshape(like.shape[-1], like.shape[-1])


def _first(x: Tensor) -> Tensor:
    """Which steps (1, T, 1) are the first."""
    return (tg.arange(x.shape[1]) == 0).reshape(1, -1, 1)


def _index(x: Tensor) -> Tensor:
    """Whole numbers of the shape of x that turn the steps around."""
    return tg.broadcast_to(tg.arange(x.shape[1] - 1, -1, -1).reshape(1, -1, 1), x.shape)


def _both(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Of two steps h ← a h + b in a row, the one that does both."""
    return second[0] * first[0], second[0] * first[1] + second[1]


def _step_by_step(x: Tensor) -> Tensor:
    """Results written into a tensor of zeros, each of the one before."""
    out = tg.zeros(x.shape, dtype=x.dtype)
    out[:, 0] = x[:, 0]
    for t in range(1, x.shape[1]):
        out[:, t] = tg.tanh(out[:, t - 1]) + x[:, t]
    return out


def _changed_in_parts(x: Tensor) -> Tensor:
    """Views changed in place, and places named by numbers."""
    out = x * 1.0
    out[:, 0] += x[:, 1] * 0.5
    out[:, 1:].transpose(0, 1)[0].mul_(2.0)
    out[:, tg.tensor([2, 0])] = x[:, :2] * out[:, :1]
    out[..., :1] = 0.25
    return out


OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "absolute": lambda x: tg.sqrt(tg.abs(x * x)) * 0.1 + tg.mul(x, 0.5),
    "exponentials": lambda x: tg.add(tg.expm1(x * 0.3), tg.exp(tg.neg(x) * 0.2)),
    "logarithms": lambda x: tg.log(_positive(x)) + tg.log2(_positive(x)) + tg.log10(_positive(x)) + tg.log1p(x * x),
    "waves": lambda x: tg.sin(x) * tg.cos(x) + tg.tan(x * 0.1),
    "powers": lambda x: tg.pow(_positive(x), 1.5) * 0.1 + tg.reciprocal(_positive(x)) + tg.rsqrt(_positive(x)),
    "quotients": lambda x: tg.div(x, _positive(x)) + tg.sub(x, 1.0) / 3,
    "sigmoids": lambda x: tg.sigmoid(x) + tg.erf(x) + tg.silu(x) + tg.gelu(x) + F.silu(x) * F.sigmoid(x),
    "soft steps": lambda x: tg.softplus(x) - F.softplus(x, 2.0) + F.logsigmoid(x) + tg.tanh(x) + F.tanh(x) + F.gelu(x),
    "away from kinks": lambda x: (
        tg.relu(_positive(x)) + tg.clamp(x, -50, 50) + tg.leaky_relu(_positive(x)) + tg.elu(_positive(x))
    ),
    "larger and smaller": lambda x: tg.maximum(x, x - 1.0) - tg.minimum(_positive(x), -1.0),
    "mixed": lambda x: tg.addcmul(x, x, x, value=0.1) + tg.addcdiv(x, x, _positive(x)) + tg.lerp(x, x * x, 0.2),
    "log-add-exp": lambda x: tg.logaddexp(x, x * 0.5) + tg.logsumexp(x, -1, keepdim=True),
    "normalised": lambda x: tg.softmax(x, -1) + F.softmax(x, 1) + F.normalize(_positive(x), dim=-1),
    "layer norm": lambda x: F.layer_norm(x, x.shape[-1:], eps=0.5),
    "sums": lambda x: x * 0.1 + tg.sum(x, 1, keepdim=True) * 0.2 + tg.mean(x, -1, keepdim=True),
    "running means": lambda x: tg.associative_scan(_both, (tg.sigmoid(x), x), dim=1)[1],
    "products": lambda x: tg.prod(_positive(x), -1, keepdim=True) * 0.1 + x + tg.cumprod(x * 0.5, 1),
    "running sums": lambda x: tg.cumsum(x, 1) * 0.3,
    "spread": lambda x: x + tg.var(x, 1, keepdim=True) * 0.1 + tg.std(_positive(x), 1, keepdim=True) * 0.1,
    "lengths": lambda x: x / (1 + tg.norm(_positive(x), dim=-1, keepdim=True)),
    "matrix products": lambda x: tg.matmul(x, _pairs(x)) + tg.linear(x, _pairs(x)) + F.linear(x, _pairs(x)),
    "batched products": lambda x: tg.bmm(x, tg.bmm(x.mT, x) * 0.1),
    "einsum": lambda x: tg.einsum("btf,fg->btg", x, _pairs(x)),
    "samples": lambda x: tg.stack([tg.mm(s, _pairs(s)) + tg.addmm(s, s, _pairs(s)) for s in tg.unbind(x)]),
    "rows": lambda x: tg.stack([tg.stack([tg.mv(_pairs(s), row) for row in s]) for s in x]),
    "outer": lambda x: tg.stack([s + tg.outer(s[:, 0], s[0]) * tg.dot(s[0], s[1]) * 0.1 for s in x]),
    "reshaped": lambda x: tg.reshape(tg.flatten(tg.permute(x, (0, 2, 1)), 1), x.shape) + tg.ravel(x).view(x.shape),
    "turned": lambda x: tg.transpose(tg.movedim(x, 1, 2), 1, 2) + tg.swapaxes(tg.swapaxes(x, 1, 2), 1, 2),
    "flipped": lambda x: tg.flip(x, 1) + tg.roll(x, 1, 1) * 0.5,
    "cut": lambda x: tg.cat([tg.narrow(x, 1, 1, x.shape[1] - 1), tg.select(x, 1, 0).unsqueeze(1)], 1),
    "split": lambda x: tg.concat(tg.chunk(x, 2, -1)[::-1], -1) + tg.concatenate(tg.split(x, 1, -1), -1),
    "stacked": lambda x: tg.hstack([x[:, 1:], x[:, :1]]) + tg.vstack([s.unsqueeze(0) for s in x]),
    "repeated": lambda x: tg.repeat(x, (1, 2, 1))[:, ::2] + tg.tile(x, (1, 1, 2))[..., ::2],
    "interleaved": lambda x: tg.repeat_interleave(x, 2, 1)[:, : x.shape[1]] * 0.5,
    "squeezed": lambda x: tg.squeeze(tg.unsqueeze(x, 1), 1) * 2,
    "unflattened": lambda x: tg.unflatten(x, -1, (x.shape[-1], 1)).squeeze(-1) * tg.expand(x[:, :1], x.shape),
    "padded": lambda x: tg.pad(x, (0, 0, 1, 0))[:, :-1] + F.pad(x, (1, 0))[..., :-1],
    "triangles": lambda x: tg.tril(x) + tg.triu(x) * 0.5,
    "diagonals": lambda x: x + tg.stack([tg.diag(tg.diagonal(s @ s.T)) @ s + tg.trace(s @ s.T) for s in x]) * 0.1,
    "gathered": lambda x: tg.gather(x, 1, _index(x)) + tg.take_along_dim(x, _index(x), 1) * 0.5,
    "rows by number": lambda x: tg.index_select(x, 1, tg.tensor([1, 0, 0])) + x[:, tg.tensor([2, 1, 2])],
    "looked up": lambda x: tg.stack(
        [tg.embedding(s, tg.tensor([1, 0, 2])) + F.embedding(_index(x)[0, :, 0], s) for s in x]
    ),
    "scattered": lambda x: tg.scatter(x, 1, _index(x), x * 2) + tg.scatter_add(x, 1, _index(x), x),
    "added by number": lambda x: tg.index_add(x, 1, tg.tensor([0, 0, 1]), x) + tg.index_fill(x, 1, tg.tensor([1]), 0.5),
    "masked": lambda x: tg.masked_fill(x, _first(x), 0.5) + tg.where(_first(x), x * x, x),
    "selected": lambda x: x + tg.masked_select(x, tg.broadcast_to(_first(x), x.shape)).reshape(x.shape[0], 1, -1),
    "assigned": lambda x: _step_by_step(x) + _changed_in_parts(x),
    "cloned": lambda x: tg.clone(x) * tg.as_tensor(x),
    "modules": lambda x: nn.Flatten(-2, -1)(nn.Sigmoid()(x)).reshape(x.shape) + nn.SiLU()(x),
}


class Operations(Feature):
    """The input through two operations of the library."""

    name = "operations"

    def prepare(self, world: World) -> None:
        self.chosen = [OPERATIONS[name] for name in self.rng.choices([*OPERATIONS], k=2)]

    plain_prepare = prepare

    def function(self, world: World, f: Function) -> Function:
        first, second = self.chosen

        def through(x: Tensor, batch: Batch) -> Tensor:
            return f(tg.tanh(second(tg.tanh(first(x)))) + x, batch)

        return through

    plain_function = function
