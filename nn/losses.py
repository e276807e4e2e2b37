"""Losses as modules, for those who like them so; the functions in `functional` do the work, and say what they take."""

from __future__ import annotations

from typing import Any, ClassVar

import tinygrad_seq as tg

from . import functional as F
from .function_modules import Function, FunctionModule
from .functional.checks import reduction_of


def _tensor(weight: Any) -> Any:
    return None if weight is None else tg.as_tensor(weight)


class _Loss(FunctionModule):
    """What the losses have in common: PyTorch's old switches are its reduction."""

    reduction: str

    def __init__(self, *, size_average: bool | None = None, reduce: bool | None = None, **settings: Any) -> None:
        more = ("batchmean",) if isinstance(self, KLDivLoss) else ()
        settings["reduction"] = reduction_of(type(self).__name__, settings["reduction"], size_average, reduce, *more)
        super().__init__(**settings)


class CrossEntropyLoss(_Loss):
    """-log softmax(input)[target], in nats. See `functional.cross_entropy`."""

    function: ClassVar[Function] = F.cross_entropy

    def __init__(
        self,
        weight: Any = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(
            weight=_tensor(weight),
            ignore_index=ignore_index,
            reduction=reduction,
            size_average=size_average,
            reduce=reduce,
            label_smoothing=label_smoothing,
        )


class NLLLoss(_Loss):
    """Minus the log-probability of the target. See `functional.nll_loss`."""

    function: ClassVar[Function] = F.nll_loss

    def __init__(
        self,
        weight: Any = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            weight=_tensor(weight),
            ignore_index=ignore_index,
            reduction=reduction,
            size_average=size_average,
            reduce=reduce,
        )


class BCELoss(_Loss):
    """-(t log x + (1 - t) log(1 - x)). See `functional.binary_cross_entropy`."""

    function: ClassVar[Function] = F.binary_cross_entropy

    def __init__(
        self, weight: Any = None, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
    ) -> None:
        super().__init__(weight=_tensor(weight), reduction=reduction, size_average=size_average, reduce=reduce)


class BCEWithLogitsLoss(_Loss):
    """The same of sigmoid(x), accurate. See `functional.binary_cross_entropy_with_logits`."""

    function: ClassVar[Function] = F.binary_cross_entropy_with_logits

    def __init__(
        self,
        weight: Any = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Any = None,
    ) -> None:
        super().__init__(
            weight=_tensor(weight),
            reduction=reduction,
            size_average=size_average,
            reduce=reduce,
            pos_weight=_tensor(pos_weight),
        )


class MSELoss(_Loss):
    """(x - t)². See `functional.mse_loss`."""

    function: ClassVar[Function] = F.mse_loss

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction, size_average=size_average, reduce=reduce)


class L1Loss(_Loss):
    """|x - t|. See `functional.l1_loss`."""

    function: ClassVar[Function] = F.l1_loss

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction, size_average=size_average, reduce=reduce)


class SmoothL1Loss(_Loss):
    """A parabola up to beta, beyond that straight. See `functional.smooth_l1_loss`."""

    function: ClassVar[Function] = F.smooth_l1_loss

    def __init__(
        self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean", beta: float = 1.0
    ) -> None:
        super().__init__(reduction=reduction, size_average=size_average, reduce=reduce, beta=beta)


class HuberLoss(_Loss):
    """A parabola up to delta, beyond that straight. See `functional.huber_loss`."""

    function: ClassVar[Function] = F.huber_loss

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction, delta=delta)


class KLDivLoss(_Loss):
    """t (log t - x). See `functional.kl_div`."""

    function: ClassVar[Function] = F.kl_div

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(reduction=reduction, size_average=size_average, reduce=reduce, log_target=log_target)


class CTCLoss(_Loss):
    """-log of the probability of all alignments of the target. See `functional.ctc_loss`."""

    function: ClassVar[Function] = F.ctc_loss

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(blank=blank, reduction=reduction, zero_infinity=zero_infinity)
