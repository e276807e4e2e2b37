"""Habits of PyTorch programs, one small test each: a name, a keyword, a way to say it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nn
import nn.functional as F
import tinygrad_seq as tg
from nn import optim


def like(found: Any, expected: Any) -> bool:
    """Whether a tensor has these numbers; anything else, whether it is equal."""
    if isinstance(found, tg.Tensor):
        return found.shape == np.shape(expected) and np.allclose(found.detach().numpy(), expected)
    return bool(found == expected)


ONES, TWO = tg.ones(2), tg.tensor([1.0, 2.0])
THEIRS: Any = tg  # for keywords that are PyTorch's alone, which type checkers are not told of
LSTM: Any = nn.LSTM
GRU: Any = nn.GRU
LSTMCell: Any = nn.LSTMCell


def gradient(change: Callable[[tg.Tensor, tg.Tensor], None]) -> Any:
    """The gradient of out[0] + 8 out[1], where out is what a change made of a copy of x = (1, 2)."""
    x = TWO.clone().requires_grad_()
    out = x * 1
    change(out, x)
    return tg.autograd.grad((out * tg.tensor([1.0, 8.0])).sum(), x)[0]


def add_to_first(out: tg.Tensor, x: tg.Tensor) -> None:
    out[0] += out[1] * 6


# what is written -> what it gives: numbers, shapes, dtypes
GIVES: dict[str, tuple[Callable[[], Any], Any]] = {
    "Tensor of lengths": (lambda: tg.Tensor(2, 3).shape, (2, 3)),
    "Tensor of one length": (lambda: tg.Tensor(3).shape, (3,)),
    "Tensor of nothing": (lambda: tg.Tensor().shape, (0,)),
    "Tensor of a size": (lambda: tg.Tensor(tg.ones(2, 3).size()).shape, (2, 3)),
    "Tensor of a tuple": (lambda: tg.Tensor((2, 3)), [2, 3]),
    "Tensor of lengths is float32": (lambda: tg.Tensor(2).dtype, tg.float32),
    "Tensor of an array": (lambda: tg.Tensor(np.array([1.5, 2.0])).dtype, tg.float32),
    "tensor of NumPy's numbers": (lambda: tg.tensor([np.float64(1.5), 2.0]).dtype, tg.float64),
    "range as an index": (lambda: tg.tensor([[1, 2], [3, 4]])[range(2), tg.tensor([1, 0])], [2, 3]),
    "var(dim, unbiased)": (lambda: tg.tensor([[1.0, 3.0]]).var(1, False), [1.0]),
    "var(dim, unbiased, keepdim)": (lambda: tg.tensor([[1.0, 3.0]]).var(1, True, True), [[2.0]]),
    "std(unbiased)": (lambda: tg.tensor([1.0, 3.0]).std(False).item(), 1.0),
    "scatter of a value": (lambda: tg.zeros(1, 2).scatter_(1, tg.tensor([[1]]), value=2.0), [[0.0, 2.0]]),
    "broadcast_to(2, 2)": (lambda: tg.ones(2).broadcast_to(2, 2), [[1.0, 1.0], [1.0, 1.0]]),
    "addcmul of booleans": (lambda: tg.ones(1).byte().addcmul(tg.tensor([True]), tg.tensor([True])).dtype, tg.uint8),
    "targets of uint8": (
        lambda: F.nll_loss(tg.ones(2, 2), tg.tensor([0, 1]).byte(), tg.tensor([2.0, 2.0]), reduction="none").shape,
        (2,),
    ),
    "to(copy=True)": (lambda: ONES.to(tg.float32, copy=True) is ONES, False),
    "ByteTensor": (lambda: tg.ByteTensor([1, 0]).dtype, tg.uint8),
    "CharTensor": (lambda: tg.CharTensor([1, 0]).dtype, tg.int8),
    "DoubleTensor": (lambda: tg.DoubleTensor([1]).dtype, tg.float64),
    "HalfTensor": (lambda: tg.HalfTensor([1]).dtype, tg.float16),
    "IntTensor": (lambda: tg.IntTensor([1]).dtype, tg.int32),
    "ShortTensor": (lambda: tg.ShortTensor([1]).dtype, tg.int16),
    "LongTensor of lengths": (lambda: tg.LongTensor(2, 3).shape, (2, 3)),
    "isinstance of a typed tensor": (lambda: isinstance(ONES, tg.FloatTensor), True),
    "isinstance of another type": (lambda: isinstance(ONES, tg.LongTensor), False),
    "type(class)": (lambda: ONES.type(tg.LongTensor).dtype, tg.int64),
    "type(name)": (lambda: ONES.type("torch.DoubleTensor").dtype, tg.float64),
    "type(dtype)": (lambda: ONES.type(tg.int32).dtype, tg.int32),
    "type()": (lambda: ONES.long().type(), "torch.LongTensor"),
    "new of lengths": (lambda: ONES.new(3, 4).shape, (3, 4)),
    "new of numbers": (lambda: ONES.new([1, 2]).dtype, tg.float32),
    "Size": (lambda: isinstance(ONES.size(), tg.Size), True),
    "Size.numel": (lambda: tg.ones(2, 3).size().numel(), 6),
    "Size is a tuple": (lambda: tg.Size([2, 3]), (2, 3)),
    "Size[1:]": (lambda: tg.ones(2, 3, 4).size()[1:].numel(), 12),
    "Tensor(Size[1:])": (lambda: tg.Tensor(tg.ones(2, 3, 4).size()[1:]).shape, (3, 4)),
    "Size + Size": (lambda: ((5,) + tg.Size([2, 3]) + (1,) + tg.Size([4])).numel(), 120),
    "+x": (lambda: +TWO, [1, 2]),
    "grad == None": (lambda: tg.ones(1, requires_grad=True).grad == None, True),  # noqa: E711
    "tensor == None": (lambda: ONES == None, False),  # noqa: E711
    "tensor != None": (lambda: ONES != None, True),  # noqa: E711
    "add(alpha=)": (lambda: tg.add(ONES, TWO, alpha=3), [4, 7]),
    "sub(alpha=)": (lambda: tg.sub(ONES, TWO, alpha=3), [-2, -5]),
    "x.add(alpha=)": (lambda: ONES.add(TWO, alpha=3), [4, 7]),
    "x.sub(alpha=)": (lambda: ONES.sub(TWO, alpha=3), [-2, -5]),
    "addmm(beta=, alpha=)": (lambda: tg.addmm(ONES, tg.ones(2, 2), tg.ones(2, 2), beta=2, alpha=3), [[8, 8], [8, 8]]),
    "addmm(beta=0) does not look": (
        lambda: tg.addmm(tg.tensor([tg.nan, 1]), tg.ones(2, 2), tg.ones(2, 2), beta=0), [[2, 2], [2, 2]],
    ),
    "x.addmm": (lambda: ONES.addmm(tg.ones(2, 2), tg.ones(2, 2), alpha=2), [[5, 5], [5, 5]]),
    "baddbmm": (lambda: tg.baddbmm(tg.ones(1, 1, 1), tg.ones(1, 1, 2), tg.ones(1, 2, 1), beta=2, alpha=3), [[[8]]]),
    "addmv": (lambda: tg.addmv(ONES, tg.ones(2, 2), TWO, alpha=2), [7, 7]),
    "randn(size=)": (lambda: THEIRS.randn(size=(2, 3)).shape, (2, 3)),
    "rand(size=)": (lambda: THEIRS.rand(size=(2, 3)).shape, (2, 3)),
    "zeros(size=)": (lambda: THEIRS.zeros(size=(2,)), [0, 0]),
    "ones(size=)": (lambda: THEIRS.ones(size=(2,)), [1, 1]),
    "empty(size=)": (lambda: THEIRS.empty(size=(2,)).shape, (2,)),
    "cat with an empty one": (lambda: tg.cat([tg.Tensor(), tg.ones(2, 3)]).shape, (2, 3)),
    "cat with an empty one, dim=1": (lambda: tg.cat([tg.ones(2, 3), tg.tensor([])], 1).shape, (2, 3)),
    "cat of empty ones": (lambda: tg.cat([tg.Tensor(), tg.Tensor()]).shape, (0,)),
    "cat with an empty one promotes": (lambda: tg.cat([tg.Tensor(), tg.ones(2, 3).long()]).dtype, tg.float32),
    "0-d max(0)": (lambda: tg.tensor(2.0).max(0)[0], 2),
    "0-d min(-1)": (lambda: tg.tensor(2.0).min(-1)[1], 0),
    "0-d argmax(0)": (lambda: tg.tensor(2.0).argmax(0), 0),
    "0-d sort": (lambda: tg.tensor(2.0).sort(0).values, 2),
    "0-d argsort": (lambda: tg.tensor(2.0).argsort(), 0),
    "0-d topk": (lambda: tg.tensor(2.0).topk(1)[0], 2),
    "0-d median": (lambda: tg.tensor(2.0).median(0)[0], 2),
    "0-d transpose": (lambda: tg.tensor(2.0).transpose(0, -1), 2),
    "0-d gather": (lambda: tg.tensor(2.0).gather(0, tg.tensor(0)), 2),
    "0-d index_select": (lambda: tg.tensor(2.0).index_select(0, tg.tensor([0])), 2),
    "0-d softmax": (lambda: tg.tensor(2.0).softmax(0), 1),
    "Linear(device=)": (lambda: nn.Linear(2, 3, device="cpu", dtype=tg.float64).weight.dtype, tg.float64),
    "Embedding(device=)": (lambda: nn.Embedding(2, 3, device="cpu").weight.dtype, tg.float32),
    "LayerNorm(device=)": (lambda: nn.LayerNorm(3, device="cpu").weight, [1, 1, 1]),
    "ReLU(inplace=)": (lambda: nn.ReLU(inplace=True)(-ONES), [0, 0]),
    "ELU(inplace=)": (lambda: nn.ELU(inplace=True)(ONES), [1, 1]),
    "LeakyReLU(inplace=)": (lambda: nn.LeakyReLU(0.5, inplace=True)(-ONES), [-0.5, -0.5]),
    "SiLU(inplace=)": (lambda: nn.SiLU(inplace=True)(ONES * 0), [0, 0]),
    "Hardtanh(inplace=)": (lambda: nn.Hardtanh(inplace=True)(ONES * 2), [1, 1]),
    "glu": (lambda: F.glu(tg.tensor([2.0, 0.0])), [1]),
    "GLU": (lambda: nn.GLU(0)(tg.tensor([2.0, 0.0])), [1]),
    "softmin": (lambda: F.softmin(ONES, 0), [0.5, 0.5]),
    "pairwise_distance": (lambda: F.pairwise_distance(ONES, TWO, eps=0.0), 1),
    "PairwiseDistance": (lambda: nn.PairwiseDistance(p=1, eps=0.5, keepdim=True)(TWO, ONES), [2]),
    "x[i] = y, recorded": (lambda: gradient(lambda out, x: out.__setitem__(0, x[1] * 3)), [0, 11]),
    "x[i] += y, recorded": (lambda: gradient(add_to_first), [1, 14]),
    "all_weights": (lambda: [len(w) for w in nn.LSTM(2, 3, 2, bidirectional=True).all_weights], [4] * 4),
    "flatten_parameters": (lambda: nn.GRU(2, 3).flatten_parameters(), None),
    "RNNBase": (lambda: [isinstance(m(2, 3), nn.RNNBase) for m in (nn.RNN, nn.LSTM, nn.GRU)], [True] * 3),
    "LSTM(input=, hx=)": (lambda: LSTM(2, 3)(input=tg.ones(4, 1, 2), hx=None)[0].shape, (4, 1, 3)),
    "LSTMCell(input=, hx=)": (lambda: LSTMCell(2, 3)(input=tg.ones(1, 2), hx=None)[0].shape, (1, 3)),
    "GRU(x, hx=)": (lambda: GRU(2, 3)(tg.ones(4, 1, 2), hx=tg.zeros(1, 1, 3))[0].shape, (4, 1, 3)),
    "_parameters": (lambda: list(nn.Linear(2, 3)._parameters), ["weight", "bias"]),
    "_modules": (lambda: list(nn.Sequential(nn.Linear(2, 3), nn.Tanh())._modules), ["0", "1"]),
    "init.xavier_uniform": (lambda: nn.init.xavier_uniform is nn.init.xavier_uniform_, True),
    "_get_name": (lambda: nn.Linear(1, 1)._get_name(), "Linear"),
    "init.constant": (lambda: nn.init.constant(tg.ones(2), 3.0), [3, 3]),
    "clip_grad_norm": (lambda: nn.utils.clip_grad_norm is nn.utils.clip_grad_norm_, True),
    "_LRScheduler": (lambda: optim.lr_scheduler._LRScheduler is optim.lr_scheduler.LRScheduler, True),
    "reduction='elementwise_mean'": (lambda: F.mse_loss(ONES, TWO, reduction="elementwise_mean").item(), 0.5),
    "get_default_dtype": (lambda: tg.get_default_dtype(), tg.float32),
    "set_default_dtype": (lambda: tg.set_default_dtype(tg.float32), None),
    "set_default_tensor_type": (lambda: tg.set_default_tensor_type("torch.FloatTensor"), None),
    "use_deterministic_algorithms": (lambda: tg.use_deterministic_algorithms(True), None),
    "cudnn.deterministic": (lambda: setattr(tg.backends.cudnn, "deterministic", True), None),
    "cudnn.is_available": (lambda: tg.backends.cudnn.is_available(), False),
    "mps.is_available": (lambda: tg.backends.mps.is_available(), False),
}  # fmt: skip


@pytest.mark.parametrize("habit", GIVES)
def test_what_a_habit_gives(habit: str) -> None:
    given, expected = GIVES[habit]
    assert like(given(), expected)


def test_gradients_pass_numbers_and_empty_ones() -> None:
    x = tg.tensor(2.0, requires_grad=True)
    (x.max(0)[0] * 3 + x.sort(0)[0]).backward()
    assert x.grad is not None
    assert x.grad.item() == 4
    empty, full = tg.zeros(0, requires_grad=True), tg.ones(2, 2, requires_grad=True)
    (tg.cat([empty, full]) * 2).sum().backward()
    assert full.grad is not None
    assert full.grad.tolist() == [[2, 2]] * 2
    assert empty.grad is not None
    assert empty.grad.shape == (0,)


def test_switches_without_effect_say_so_once() -> None:
    from tinygrad_seq import backends

    library: Any = backends._Library("cudnn", enabled=True, benchmark=False)
    library.enabled = True
    with pytest.warns(UserWarning, match=r"backends\.cudnn: benchmark has no effect"):
        library.benchmark = True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        library.benchmark = False
        library.enabled = False
    assert library.enabled is False
    assert tg.backends.cuda.matmul.allow_tf32 is False
    tg.backends.cuda.matmul.allow_tf32 = True
    assert tg.get_float32_matmul_precision() == "high"
    tg.backends.cuda.matmul.allow_tf32 = False


def test_threads() -> None:
    before = tg.get_num_threads()
    try:
        tg.set_num_threads(1)
        assert tg.get_num_threads() == 1
    finally:
        tg.set_num_threads(before)
    with pytest.raises(ValueError, match="a whole number from 1 on"):
        tg.set_num_threads(0)


def test_what_is_refused_says_the_way_out() -> None:
    for make, kind, message in (
        (lambda: tg.set_default_dtype(tg.float64), NotImplementedError, r"tg\.zeros\(3, dtype=tg\.float64\)"),
        (lambda: tg.set_default_tensor_type("torch.DoubleTensor"), NotImplementedError, "the default is float32"),
        (lambda: tg.set_default_tensor_type("Tensor"), TypeError, "takes an old name"),
        (lambda: tg.Tensor([1], 2), TypeError, "takes numbers in one list, or lengths"),
        (lambda: tg.Tensor(1.5, 2), TypeError, "takes numbers in one list, or lengths"),
        (lambda: tg.Tensor(-1), ValueError, "negative"),
    ):
        with pytest.raises(kind, match=message):
            make()


@pytest.mark.parametrize(
    ("module", "name", "way_out"),
    [
        (tg, "jit", r"tg\.compile"), (tg, "amp", "half"), (tg, "linalg", "numpy.linalg"), (tg, "fft", "primitive"),
        (nn, "DataParallel", "DistributedDataParallel"), (nn, "Conv2d", "Conv1d"),
        (nn, "TransformerEncoderLayer", "MultiheadAttention"), (nn.optim, "Rprop", "Adam"), (tg.nn, "Conv3d", "Conv1d"),
    ],
)  # fmt: skip
def test_what_is_not_here_says_the_way_out(module: Any, name: str, way_out: str) -> None:
    assert not hasattr(module, name)
    with pytest.raises(AttributeError, match=f"has no attribute '{name}': .*{way_out}"):
        getattr(module, name)


@pytest.mark.parametrize(
    "function",
    [F.relu, F.silu, F.elu, F.leaky_relu, F.hardtanh, lambda x, inplace=False: F.dropout(x, 1.0, True, inplace)],
)
def test_functions_in_place_change_what_they_are_given(function: Any) -> None:
    x = tg.tensor([-2.0, 0.5, 3.0])
    expected = function(x)
    assert x.tolist() == [-2, 0.5, 3]
    assert function(x, inplace=True) is x
    assert x.tolist() == expected.tolist()
    leaf = tg.tensor([-2.0, 0.5, 3.0], requires_grad=True)
    h = leaf * 2
    g, k = h * 1.0, leaf * 2
    function(h, inplace=True).sum().backward()
    (before,) = tg.autograd.grad(function(k).sum(), leaf)
    assert leaf.grad is not None
    assert leaf.grad.tolist() == before.tolist()
    assert g.tolist() == [-4, 1, 6]


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4), (2, 3, 4, 5)])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
def test_softmax_without_dim_warns_and_takes_pytorchs(name: str, shape: tuple[int, ...]) -> None:
    x, dim = tg.randn(shape), 0 if len(shape) in (0, 1, 3) else 1
    with pytest.warns(UserWarning, match=f"{name}: takes dim={dim} of shape"):
        found = getattr(F, name)(x)
    assert found.tolist() == getattr(F, name)(x, dim).tolist()
    if name != "softmin":
        module = nn.Softmax() if name == "softmax" else nn.LogSoftmax()
        with pytest.warns(UserWarning, match=f"takes dim={dim}"):
            assert module(x).tolist() == found.tolist()


PAIRS: dict[str, tuple[Any, Any, Any, Any]] = {
    "mse_loss": (F.mse_loss, nn.MSELoss, tg.ones(2, 3), tg.zeros(2, 3)),
    "l1_loss": (F.l1_loss, nn.L1Loss, tg.ones(2, 3), tg.zeros(2, 3)),
    "smooth_l1_loss": (F.smooth_l1_loss, nn.SmoothL1Loss, tg.ones(2, 3), tg.zeros(2, 3)),
    "kl_div": (F.kl_div, nn.KLDivLoss, -tg.ones(2, 3), tg.ones(2, 3)),
    "cross_entropy": (F.cross_entropy, nn.CrossEntropyLoss, tg.ones(2, 3), tg.tensor([0, 1])),
    "nll_loss": (F.nll_loss, nn.NLLLoss, -tg.ones(2, 3), tg.tensor([0, 1])),
    "binary_cross_entropy": (F.binary_cross_entropy, nn.BCELoss, tg.ones(2, 3) * 0.5, tg.ones(2, 3)),
    "bce_with_logits": (F.binary_cross_entropy_with_logits, nn.BCEWithLogitsLoss, tg.ones(2, 3), tg.ones(2, 3)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_old_switches_of_losses(name: str) -> None:
    function, module, x, t = PAIRS[name]
    for switches, reduction in (
        ({"size_average": False}, "sum"),
        ({"size_average": True}, "mean"),
        ({"reduce": False}, "none"),
        ({"reduce": False, "size_average": False}, "none"),
        ({"reduce": True, "size_average": False}, "sum"),
    ):
        expected = function(x, t, reduction=reduction).tolist()
        with pytest.warns(UserWarning, match="old names"):
            assert function(x, t, **switches).tolist() == expected
        with pytest.warns(UserWarning, match="old names"):
            assert module(**switches)(x, t).tolist() == expected
    position = (None, False) if "weight" in module.__init__.__code__.co_varnames else (False,)
    with pytest.warns(UserWarning, match="old names"):
        assert module(*position).reduction == "sum"
    with pytest.raises(TypeError, match="size_average takes True or False, got 'sum'; write reduction='sum'"):
        function(x, t, size_average="sum")


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "SGD": {"lr": 0.1}, "Adam": {}, "AdamW": {}, "NAdam": {}, "RMSprop": {}, "Adagrad": {}, "Adadelta": {},
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_take_pytorchs_switches(name: str) -> None:
    steps = []
    for switches in ({}, {"foreach": None, "fused": None, "capturable": False}, {"foreach": True, "fused": False}):
        p = nn.Parameter(tg.ones(2))
        optimizer = getattr(optim, name)([p], **OPTIMIZERS[name], **switches)
        (p * TWO).sum().backward()
        optimizer.step()
        steps.append(p.tolist())
    assert steps[0] == steps[1] == steps[2]


def test_optimizers_leave_frozen_parameters_alone() -> None:
    frozen, p = nn.Parameter(tg.ones(1), requires_grad=False), nn.Parameter(tg.ones(1))
    optimizer = optim.SGD([frozen, p], lr=0.5, weight_decay=0.1)
    (p * frozen).sum().backward()
    optimizer.step()
    assert frozen.item() == 1
    assert p.item() < 1
    frozen.requires_grad_()
    (p * frozen).sum().backward()
    optimizer.step()
    assert frozen.item() < 1
    with pytest.raises(TypeError, match="got a constant"):
        optim.SGD([tg.ones(1)], lr=0.1)


@pytest.mark.parametrize("make", [lambda cls: cls(2, 3), lambda cls: cls(2, 3, dtype=tg.float64)])
@pytest.mark.parametrize("name", ["Linear", "Embedding", "LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell"])
def test_reset_parameters(name: str, make: Any) -> None:
    base: Any = getattr(nn, name)
    tg.manual_seed(0)
    module = make(base)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    module.reset_parameters()
    assert all((module.state_dict()[key] != value).any() for key, value in before.items())
    tg.manual_seed(0)
    assert all((make(base).state_dict()[key] == value).all() for key, value in list(before.items())[:1])

    class Zeros(base):  # type: ignore[misc]
        def reset_parameters(self) -> None:
            for p in self.parameters():
                nn.init.zeros_(p)

    assert all(not value.any() for value in make(Zeros).state_dict().values())


def test_reset_parameters_keeps_what_begins_otherwise() -> None:
    lstm = nn.LSTM(2, 3, forget_bias=1.0, recurrent_init=nn.init.eye_)
    lstm.reset_parameters()
    parameters: Any = lstm
    assert parameters.bias_ih_l0.chunk(4)[1].tolist() == [1] * 3
    assert parameters.weight_hh_l0.chunk(4)[2].tolist() == tg.eye(3).tolist()
    embedding = nn.Embedding(3, 2, padding_idx=1)
    embedding.reset_parameters()
    assert embedding.weight[1].tolist() == [0, 0]


def test_parameters_as_a_dictionary_that_may_be_changed() -> None:
    layer = nn.Linear(2, 3)
    weight = layer._parameters.pop("weight")
    assert "weight" not in dict(layer.named_parameters())
    layer.register_parameter("weight_raw", weight)
    assert list(layer._parameters) == ["bias", "weight_raw"]
    layer._parameters["weight_raw"] = nn.Parameter(tg.zeros(3, 2))
    assert not layer.get_parameter("weight_raw").any()
    with pytest.raises(KeyError):
        del layer._parameters["weight"]


def test_both_names_of_one_argument_are_refused() -> None:
    with pytest.raises(TypeError, match="LSTM: got input= and x=, which are one"):
        LSTM(2, 3)(x=tg.ones(4, 1, 2), input=tg.ones(4, 1, 2))


def test_a_verbose_plateau_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    optimizer = optim.SGD([nn.Parameter(tg.ones(1))], lr=0.5)
    scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, "min", patience=0, verbose=True)
    for loss in (1.0, 2.0, 0.5):
        scheduler.step(loss)
    assert capsys.readouterr().out == "epoch 2: learning rates 0.05\n"
