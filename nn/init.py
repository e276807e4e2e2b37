"""Ways to fill a parameter with numbers, in place, by PyTorch's names. Each returns the tensor that it filled.

A `generator` draws the numbers; without one, the default stream that `tg.manual_seed` starts. Fan-in and fan-out are
how many inputs an output has and how many outputs an input: of W (O, F) they are F and O, of W (O, F, ...) these times
the lengths of the other dimensions.
"""

from __future__ import annotations

import math

import tinygrad_seq as tg
from tinygrad_seq import Generator, Tensor


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which weights must be larger because of the function that follows: √2 for "relu", which halves.

    Args:
        nonlinearity: "linear", "conv1d" and its kin, "sigmoid", "tanh", "relu", "leaky_relu" or "selu".
        param: the negative slope of "leaky_relu", 0.01 unless given.

    Raises:
        ValueError: if it is none of these.
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"calculate_gain: param is the negative slope of leaky_relu, a number, got {param!r}")
        return math.sqrt(2.0 / (1.0 + slope**2))
    convolutions = [f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3)]
    gains = {"linear": 1.0, **dict.fromkeys(convolutions, 1.0), "sigmoid": 1.0, "tanh": 5.0 / 3.0}
    gains |= {"relu": math.sqrt(2.0), "selu": 0.75}
    if nonlinearity not in gains:
        raise ValueError(f"calculate_gain: takes 'leaky_relu' or one of {[*gains]}, got {nonlinearity!r}")
    return gains[nonlinearity]


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform in [a, b)."""
    with tg.no_grad():
        drawn = tg.rand(tensor.shape, dtype=tensor.dtype, device=tensor.device, generator=generator)
        return tensor.copy_(drawn * (b - a) + a)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with this mean and standard deviation."""
    if not std >= 0:
        raise ValueError(f"normal_: std must not be negative, got {std}")
    with tg.no_grad():
        return tensor.copy_(_normal(tensor, tensor.shape, mean, std, generator))


def _normal(like: Tensor, shape: tuple[int, ...], mean: float, std: float, generator: Generator | None) -> Tensor:
    return tg.randn(shape, dtype=like.dtype, device=like.device, generator=generator) * std + mean


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Normal with this mean and standard deviation, what is not from a to b drawn again.

    Raises:
        ValueError: if std is not positive, or a is not below b.
    """
    if not (std > 0 and a < b):
        raise ValueError(f"trunc_normal_: takes std > 0 and a < b, got std={std}, a={a}, b={b}")
    share = 0.5 * (math.erf((b - mean) / std / math.sqrt(2)) - math.erf((a - mean) / std / math.sqrt(2)))
    peak = min(max(mean, a), b)  # where from a to b the density is highest

    def draw(count: int) -> tuple[Tensor, Tensor]:
        """Candidates, and whether each is taken: normal ones if enough fit, else uniform ones by their density."""
        if share > 0.25:
            x = _normal(tensor, (count,), mean, std, generator)
            return x, (x >= a) & (x <= b)
        x, u = tg.rand(2, count, dtype=tensor.dtype, device=tensor.device, generator=generator).unbind(0)
        x = x * (b - a) + a
        density = ((peak - mean) / std) ** 2 - ((x - mean) / std) ** 2
        return x, u < (0.5 * density).exp()

    with tg.no_grad():
        values, taken = draw(tensor.numel())
        while missing := int((~taken).sum()):
            more, fits = draw(missing)
            values[~taken], taken[~taken] = more, fits
        return tensor.copy_(values.reshape(tensor.shape))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """All of one value."""
    with tg.no_grad():
        return tensor.fill_(val)


def zeros_(tensor: Tensor) -> Tensor:
    """All zeros."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """All ones."""
    return constant_(tensor, 1.0)


def eye_(tensor: Tensor) -> Tensor:
    """Ones on the diagonal of a matrix, zeros elsewhere."""
    rows, columns = _matrix("eye_", tensor)
    with tg.no_grad():
        return tensor.copy_(tg.eye(rows, columns, dtype=tensor.dtype, device=tensor.device))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform with variance gain² · 2 / (fan_in + fan_out). Glorot & Bengio, 2010."""
    bound = math.sqrt(3.0) * _xavier("xavier_uniform_", tensor, gain)
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with variance gain² · 2 / (fan_in + fan_out). Glorot & Bengio, 2010."""
    return normal_(tensor, 0.0, _xavier("xavier_normal_", tensor, gain), generator)


def _xavier(name: str, tensor: Tensor, gain: float) -> float:
    return gain * math.sqrt(2.0 / max(sum(_fans(name, tensor)), 1))


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Uniform with variance gain² / fan: what a layer gets and what it returns vary alike. He et al., 2015.

    Args:
        a: the negative slope of the leaky ReLU that follows.
        mode: "fan_in" keeps the variance on the way forward, "fan_out" that of the gradient on the way back.
        nonlinearity: the function that follows, for `calculate_gain`.
    """
    bound = math.sqrt(3.0) * _kaiming("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Normal with variance gain² / fan; see `kaiming_uniform_`."""
    return normal_(tensor, 0.0, _kaiming("kaiming_normal_", tensor, a, mode, nonlinearity), generator)


def _kaiming(name: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{name}: mode is 'fan_in' or 'fan_out', got {mode!r}")
    fan_in, fan_out = _fans(name, tensor)
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan_in if mode == "fan_in" else fan_out, 1))


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """A random matrix whose rows (or columns, whichever are fewer) are orthogonal and of length `gain`.

    Uniform among all such (Mezzadri, "How to generate random matrices from the classical compact groups", 2007). Of
    more than two dimensions all but the first count as one. Saxe et al., 2013.
    """
    _fans("orthogonal_", tensor)
    if not tensor.numel():
        return tensor
    rows, columns = tensor.shape[0], tensor.numel() // tensor.shape[0]
    with tg.no_grad():
        shape = (max(rows, columns), min(rows, columns))
        kind = tg.float32 if tensor.dtype == tg.float16 else tensor.dtype  # LAPACK has no half precision
        drawn = tg.randn(shape, dtype=kind, device=tensor.device, generator=generator)
        q, r = (tg.as_tensor(part) for part in tg.array_module(drawn.array).linalg.qr(drawn.array))
        signs = (r * tg.eye(shape[1], dtype=kind, device=tensor.device)).sum(1).sign()
        q = q * signs  # with all of R's diagonal positive there is one Q for each matrix drawn
        return tensor.copy_(((q if rows >= columns else q.T) * gain).reshape(tensor.shape))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Normal with mean 0, but in each column of the matrix a share `sparsity` (rounded up) zero. Martens, 2010."""
    rows, columns = _matrix("sparse_", tensor)
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparse_: sparsity is a share from 0 to 1, got {sparsity}")
    normal_(tensor, 0.0, std, generator)
    with tg.no_grad():
        order = tg.rand(rows, columns, device=tensor.device, generator=generator).argsort(0)
        zero = order.argsort(0) < math.ceil(sparsity * rows)
        return tensor.copy_(tg.where(zero, 0.0, tensor))


def _fans(name: str, tensor: Tensor) -> tuple[int, int]:
    if tensor.ndim < 2:
        raise ValueError(
            f"{name}: takes a tensor of 2 dimensions or more, (fan_out, fan_in, ...), got shape {tensor.shape}; for "
            "a bias there are zeros_ and uniform_"
        )
    others = math.prod(tensor.shape[2:])
    return tensor.shape[1] * others, tensor.shape[0] * others


def _matrix(name: str, tensor: Tensor) -> tuple[int, int]:
    if tensor.ndim != 2:
        raise ValueError(f"{name}: takes a matrix, a tensor of 2 dimensions, got shape {tensor.shape}")
    return tensor.shape[0], tensor.shape[1]


# as PyTorch called them before version 0.4
uniform = uniform_
normal = normal_
constant = constant_
eye = eye_
sparse = sparse_
orthogonal = orthogonal_
xavier_uniform = xavier_uniform_
xavier_normal = xavier_normal_
kaiming_uniform = kaiming_uniform_
kaiming_normal = kaiming_normal_
