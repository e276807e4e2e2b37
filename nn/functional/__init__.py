"""Layers and losses as functions: compositions of the engine's operations, in PyTorch's names and argument order."""

from tinygrad_seq import (
    gelu,
    one_hot,
    sigmoid,
    tanh,
)

from .activations import elu, glu, hardtanh, leaky_relu, log_softmax, logsigmoid, relu, silu, softmax, softmin, softplus
from .attention import scaled_dot_product_attention
from .convolution import batch_norm, conv1d
from .ctc import ctc_loss
from .layers import cosine_similarity, dropout, embedding, layer_norm, linear, normalize, pad, pairwise_distance
from .losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)

__all__ = [
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "conv1d",
    "cosine_similarity",
    "cross_entropy",
    "ctc_loss",
    "dropout",
    "elu",
    "embedding",
    "gelu",
    "glu",
    "hardtanh",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsigmoid",
    "mse_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "pairwise_distance",
    "relu",
    "scaled_dot_product_attention",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softmin",
    "softplus",
    "tanh",
]
