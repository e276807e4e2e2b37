"""The same steps on other engines, from the same weights. Each function raises ImportError if its engine is missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .workloads import Workload

BETAS, RATE, EPSILON, MAX_NORM = (0.9, 0.999), 2e-3, 1e-8, 5.0


def torch_model(w: Workload, device: str = "cpu") -> Any:
    """Embedding, recurrent layers, linear layer."""
    import torch

    parts = {"embedding": torch.nn.Embedding(w.V, w.H), "lstm": getattr(torch.nn, w.kind)(w.H, w.H, w.L)}
    model = torch.nn.ModuleDict(parts | {"head": torch.nn.Linear(w.H, w.V)})
    model.load_state_dict({name: torch.from_numpy(weight) for name, weight in w.weights().items()})
    return model.to(device)


def torch_step(w: Workload, threads: int | None = None, fused: bool = True, device: str = "cpu") -> Callable[[], float]:
    """PyTorch: with its fused layer, or with the composition that our LSTM is, in eager operations."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    model = torch_model(w, device)
    lstm, parameters = model["lstm"], list(model.parameters())
    optimizer = torch.optim.Adam(parameters, lr=RATE)
    x, y = (torch.from_numpy(tokens).to(device) for tokens in w.batch())

    def composition(xs: torch.Tensor) -> torch.Tensor:
        for k in range(w.L):
            W_hh = getattr(lstm, f"weight_hh_l{k}").T
            bias = getattr(lstm, f"bias_ih_l{k}") + getattr(lstm, f"bias_hh_l{k}")
            xW = xs @ getattr(lstm, f"weight_ih_l{k}").T + bias
            h = c = torch.zeros(w.B, w.H, device=device)
            outputs = []
            for xW_t in xW.unbind(0):
                i, f, g, o = (xW_t + h @ W_hh).chunk(4, dim=-1)
                i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
                c = f * c + i * g
                h = o * torch.tanh(c)
                outputs.append(h)
            xs = torch.stack(outputs)
        return xs

    def step() -> float:
        features = model["embedding"](x)
        hidden = lstm(features)[0] if fused else composition(features)
        loss = torch.nn.functional.cross_entropy(model["head"](hidden).reshape(-1, w.V), y.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, MAX_NORM)
        optimizer.step()
        return loss.item()

    return step


def torch_sampling(w: Workload, threads: int | None = None) -> Callable[[], int]:
    """PyTorch draws one character."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    model = torch_model(w)
    held: list[Any] = [torch.tensor([[1]]), None]

    def draw() -> int:
        with torch.no_grad():
            hidden, held[1] = model["lstm"](model["embedding"](held[0]), held[1])
            held[0] = torch.multinomial(model["head"](hidden)[-1].softmax(-1), 1)
        return int(held[0])

    return draw


def numpy_sampling(w: Workload) -> Callable[[], int]:
    """One character drawn in NumPy by hand."""
    p = w.weights()
    rng = np.random.default_rng(0)
    weights = [(p[f"lstm.weight_ih_l{k}"], p[f"lstm.weight_hh_l{k}"]) for k in range(w.L)]
    biases = [p[f"lstm.bias_ih_l{k}"] + p[f"lstm.bias_hh_l{k}"] for k in range(w.L)]
    hs, cs = ([np.zeros(w.H, np.float32) for _ in range(w.L)] for _ in range(2))
    token = 1

    def draw() -> int:
        nonlocal token
        x = p["embedding.weight"][token]
        for k, ((W_ih, W_hh), bias) in enumerate(zip(weights, biases, strict=True)):
            i, f, g, o = (W_ih @ x + W_hh @ hs[k] + bias).reshape(4, w.H)
            cs[k] = _sigmoid(np, f) * cs[k] + _sigmoid(np, i) * np.tanh(g)
            x = hs[k] = _sigmoid(np, o) * np.tanh(cs[k])
        scores = p["head.weight"] @ x + p["head.bias"]
        likely = np.exp(scores - scores.max()).cumsum()
        token = int(np.searchsorted(likely, rng.random() * likely[-1], side="right").clip(max=w.V - 1))
        return token

    return draw


def _sigmoid(xp: Any, x: Any) -> Any:
    return 0.5 * xp.tanh(0.5 * x) + 0.5


def _cell(xp: Any, w: Workload, xW: Any, h: Any, c: Any, W_hh: Any) -> tuple[Any, Any]:
    """One step of the network on JAX's or autograd's arrays."""
    if w.kind == "RNN":
        return xp.tanh(xW + h @ W_hh.T), c
    i, f, g, o = xp.split(xW + h @ W_hh.T, 4, axis=-1)
    c = _sigmoid(xp, f) * c + _sigmoid(xp, i) * xp.tanh(g)
    return _sigmoid(xp, o) * xp.tanh(c), c


def _update(xp: Any, p: Any, g: Any, m: Any, v: Any, t: Any) -> tuple[Any, Any, Any]:
    """Clipping and Adam, on dictionaries of arrays."""
    norm = xp.sqrt(sum([(grad**2).sum() for grad in g.values()]))
    g = {name: grad * xp.minimum(1.0, MAX_NORM / (norm + 1e-6)) for name, grad in g.items()}
    m = {name: BETAS[0] * m[name] + (1 - BETAS[0]) * g[name] for name in p}
    v = {name: BETAS[1] * v[name] + (1 - BETAS[1]) * g[name] ** 2 for name in p}
    rate, scale = RATE / (1 - BETAS[0] ** t), 1 / (1 - BETAS[1] ** t)
    return {name: p[name] - rate * m[name] / (xp.sqrt(v[name] * scale) + EPSILON) for name in p}, m, v


def jax_step(w: Workload) -> Callable[[], float]:
    """JAX: `jit` of `value_and_grad` through `lax.scan`, clipping and Adam as one program, its buffers donated."""
    import jax
    import jax.numpy as jnp

    x, y = map(jnp.asarray, w.batch())

    def loss(p: Any) -> Any:
        xs = p["embedding.weight"][x]
        zeros = jnp.zeros((w.B, w.H), jnp.float32)
        for k in range(w.L):
            W_hh = p[f"lstm.weight_hh_l{k}"]
            xW = xs @ p[f"lstm.weight_ih_l{k}"].T + (p[f"lstm.bias_ih_l{k}"] + p[f"lstm.bias_hh_l{k}"])

            def advance(carry: Any, xW_t: Any, W_hh: Any = W_hh) -> Any:
                h, c = _cell(jnp, w, xW_t, carry[0], carry[1], W_hh)
                return (h, c), h

            _, xs = jax.lax.scan(advance, (zeros, zeros), xW)
        scores = xs @ p["head.weight"].T + p["head.bias"]
        chosen = jnp.take_along_axis(jax.nn.log_softmax(scores), y[..., None], -1)
        return -chosen.mean()

    def train(p: Any, m: Any, v: Any, t: Any) -> Any:
        value, g = jax.value_and_grad(loss)(p)
        return value, *_update(jnp, p, g, m, v, t), t + 1

    step = jax.jit(train, donate_argnums=(0, 1, 2))
    p = {name: jnp.asarray(weight) for name, weight in w.weights().items()}
    held: list[Any] = [p, *[{name: jnp.zeros_like(a) for name, a in p.items()} for _ in range(2)], jnp.float32(1)]

    def run() -> float:
        value, *held[:] = step(*held)
        return float(jax.block_until_ready((value, held))[0])

    return run


def jax_sampling(w: Workload) -> Callable[[], int]:
    """JAX draws one character, `jit`."""
    import jax
    import jax.numpy as jnp

    p = {name: jnp.asarray(weight) for name, weight in w.weights().items()}

    def step(token: Any, hs: Any, cs: Any, key: Any) -> Any:
        x, hs, cs = p["embedding.weight"][token], list(hs), list(cs)
        for k in range(w.L):
            bias = p[f"lstm.bias_ih_l{k}"] + p[f"lstm.bias_hh_l{k}"]
            xW = x @ p[f"lstm.weight_ih_l{k}"].T + bias
            hs[k], cs[k] = _cell(jnp, w, xW, hs[k], cs[k], p[f"lstm.weight_hh_l{k}"])
            x = hs[k]
        key, used = jax.random.split(key)
        return jax.random.categorical(used, x @ p["head.weight"].T + p["head.bias"]), hs, cs, key

    zeros = [jnp.zeros((1, w.H), jnp.float32)] * w.L
    held: list[Any] = [jnp.array([1]), zeros, zeros, jax.random.key(0)]
    compiled = jax.jit(step)

    def draw() -> int:
        held[:] = compiled(*held)
        return int(held[0][0])

    return draw


def autograd_step(w: Workload) -> Callable[[], float]:
    """HIPS autograd: the steps of the sequence apart, so that none costs a gradient of the whole."""
    import autograd.numpy as anp
    from autograd import value_and_grad

    x, y = w.batch()
    rows = np.arange(w.B)

    def loss(p: Any) -> Any:
        xs = [p["embedding.weight"][tokens] for tokens in x]
        for k in range(w.L):
            bias = p[f"lstm.bias_ih_l{k}"] + p[f"lstm.bias_hh_l{k}"]
            h = c = np.zeros((w.B, w.H), np.float32)
            outputs = []
            for x_t in xs:
                h, c = _cell(anp, w, x_t @ p[f"lstm.weight_ih_l{k}"].T + bias, h, c, p[f"lstm.weight_hh_l{k}"])
                outputs.append(h)
            xs = outputs
        total = 0.0
        for h, target in zip(xs, y, strict=True):
            scores = h @ p["head.weight"].T + p["head.bias"]
            scores = scores - anp.max(scores, axis=-1, keepdims=True)
            total = total + anp.sum(anp.log(anp.sum(anp.exp(scores), axis=-1)) - scores[rows, target])
        return total / (w.T * w.B)

    step = value_and_grad(loss)
    p = w.weights()
    held: list[Any] = [p, *[{name: np.zeros_like(a) for name, a in p.items()} for _ in range(2)], 0]

    def run() -> float:
        held[3] += 1
        value, g = step(held[0])
        held[:3] = _update(np, held[0], g, *held[1:])
        return float(value)

    return run
