"""What PyTorch has and this project has not: the way out, which the AttributeError of its name says."""

from __future__ import annotations

from collections.abc import Iterable

_IMAGES = "this project is about sequences, and has no layers for images; nn.Conv1d and nn.BatchNorm1d are there"
_BLOCKS = (
    "Transformer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
)
_OF_IMAGES = ("Conv2d", "Conv3d", "ConvTranspose2d", "MaxPool2d", "AvgPool2d", "BatchNorm2d", "Dropout2d", "Upsample")
_WAYS_OUT: dict[str, dict[Iterable[str], str]] = {
    "tinygrad_seq": {
        ("jit", "_dynamo", "fx", "export"): "tg.compile(function) records and compiles a function",
        ("func",): "tg.grad, tg.vjp, tg.jvp, tg.jacobian, tg.hessian, tg.vmap and nn.functional_call are its functions",
        ("amp", "autocast"): "there is no automatic mixed precision; tensors and modules have .half() and .to(dtype)",
        ("onnx",): "nn.interchange writes weights in the layouts of other frameworks",
        ("multiprocessing",): "use Python's multiprocessing, or tinygrad_seq.distributed under a launcher",
        ("linalg",): "tg.norm, tg.einsum and matrix products are there; for the rest use numpy.linalg and tg.primitive",
        ("fft", "sparse", "hub", "quantization"): "it is no part of this project; tg.primitive makes a NumPy function "
        "differentiable",
    },
    "nn": {
        ("DataParallel",): "start a process for each device, and use nn.parallel.DistributedDataParallel",
        _BLOCKS: "compose it of nn.MultiheadAttention, nn.LayerNorm and nn.Linear",
        _OF_IMAGES: _IMAGES,
        ("SyncBatchNorm",): "compose it of tinygrad_seq.distributed.all_reduce, which can be differentiated",
    },
    "nn.optim": {
        ("Rprop", "RAdam", "Adafactor", "SparseAdam"): "nn.optim has Adam, AdamW, NAdam, RMSprop, SGD and others; to "
        "write one, see docs/how-to/optimizer.md",
    },
}  # fmt: skip


def attribute_error(module: str, name: str) -> AttributeError:
    """The error of a module that has no such attribute."""
    ways_out = (way for names, way in _WAYS_OUT[module].items() if name in names)
    way_out = next(ways_out, None)
    what = f"module {module!r} has no attribute {name!r}"
    return AttributeError(what if way_out is None else f"{what}: {way_out}")
