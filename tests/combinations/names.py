"""Which public names the matrix has not, each with its reason. Those that it has are found in its source."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

import nn
import nn.functional as F
import tinygrad_seq as tg
from nn import optim, utils

PUBLIC: dict[str, ModuleType] = {
    "tg": tg, "nn": nn, "F": F, "optim": optim, "utils": utils, "optim.lr_scheduler": optim.lr_scheduler
}  # fmt: skip

NOT_HERE: dict[str, str] = {
    "a constant, a type or a setting": """
        tg.__version__ tg.bool tg.complex64 tg.complex128 tg.double tg.dtype tg.e tg.finfo tg.float tg.float16
        tg.float32 tg.half tg.iinfo tg.inf tg.int tg.int8 tg.int16 tg.int32 tg.int64 tg.long tg.nan tg.pi tg.short
        tg.uint8 tg.array_module tg.cuda tg.device tg.set_default_device tg.get_float32_matmul_precision
        tg.set_float32_matmul_precision tg.show_config tg.Size tg.get_default_dtype tg.get_num_threads
        tg.set_default_dtype tg.set_default_tensor_type tg.set_num_threads tg.use_deterministic_algorithms
        tg.channels_last tg.channels_last_3d tg.contiguous_format tg.memory_format tg.preserve_format""",
    "makes a tensor that is a constant: tests/engine/test_tensor.py": """
        tg.BoolTensor tg.ByteTensor tg.CharTensor tg.DoubleTensor tg.FloatTensor tg.HalfTensor tg.IntTensor
        tg.LongTensor tg.ShortTensor tg.empty tg.empty_like tg.eye tg.from_dlpack tg.from_numpy tg.full
        tg.linspace tg.meshgrid tg.one_hot tg.ones F.one_hot""",
    "draws as rand and randn do, from the same streams: tests/engine/test_random.py": """
        tg.bernoulli tg.multinomial tg.normal tg.rand_like tg.randn_like tg.randperm utils.batches""",
    "has no derivative": """
        tg.all tg.allclose tg.any tg.argmax tg.argmin tg.argsort tg.argwhere tg.bincount tg.count_nonzero tg.eq tg.equal
        tg.ge tg.gt tg.isclose tg.isfinite tg.isin tg.isinf tg.isnan tg.le tg.logical_and tg.logical_not tg.logical_or
        tg.logical_xor tg.lt tg.ne tg.nonzero tg.is_floating_point tg.is_tensor tg.numel tg.unique""",
    "has steps or kinks, where differences are no derivatives; rules: tests/engine/op_cases.py, tests/nn": """
        tg.amax tg.amin tg.ceil tg.floor tg.floor_divide tg.max tg.median tg.min tg.nan_to_num tg.remainder tg.round
        tg.sign tg.sort tg.topk tg.trunc F.elu F.hardtanh F.huber_loss F.l1_loss F.leaky_relu F.relu F.smooth_l1_loss
        nn.ELU nn.Hardtanh nn.HuberLoss nn.L1Loss nn.LeakyReLU nn.ReLU nn.SmoothL1Loss""",
    "another name of what is here, or a sum with factors": """
        tg.addmv tg.baddbmm F.glu F.softmin nn.GLU nn.RNNBase utils.clip_grad_norm
        tg.clip tg.divide tg.multiply tg.negative tg.subtract tg.true_divide tg.t""",
    "what a module that is here calls": """
        F.binary_cross_entropy F.binary_cross_entropy_with_logits F.cosine_similarity F.cross_entropy F.ctc_loss
        F.dropout F.kl_div F.mse_loss F.nll_loss nn.State""",
    "grad of one that is here, or the value of one": "tg.grad tg.hessian",
    "grad mode as no_grad sets it: tests/engine/test_backward.py": """
        tg.enable_grad tg.inference_mode tg.set_grad_enabled""",
    "looks at a program from outside": """
        tg.GradcheckError tg.NotTestedWarning tg.detect_anomaly tg.draw_graph tg.gradcheck tg.gradgradcheck
        nn.figures""",
    "a user's own primitive: tests/test_custom_op.py": "tg.Primitive tg.primitive",
    "what compiled functions refuse, or warn of: tests/compiler": "tg.CompileError tg.RecompileWarning",
    "to files and back, as state_dict and pickle here: tests/test_serialization.py, tests/nn/test_interchange.py": """
        tg.load tg.save""",
    "what cells that are here are made of: tests/nn/test_linear_cell.py": "nn.LinearCell",
    "as the layers that are here: tests/nn/test_more_layers.py": """
        F.batch_norm F.conv1d F.scaled_dot_product_attention nn.BatchNorm1d nn.Conv1d nn.LazyLinear
        nn.MultiheadAttention utils.weight_norm utils.remove_weight_norm""",
    "holds modules or parameters as Sequential does: tests/nn/test_containers.py": """
        nn.ModuleDict nn.ModuleList nn.ParameterDict nn.ParameterList""",
    "numbers for parameters, before there is a program": """
        nn.init utils.parameters_to_vector utils.vector_to_parameters""",
    "a package, whose names are in this list": "nn.functional nn.optim nn.utils",
    "another formula in the place of SGD's and Adam's: tests/nn/test_optim.py, test_lbfgs.py": """
        optim.ASGD optim.Adadelta optim.Adagrad optim.Adamax optim.AdamW optim.LBFGS optim.NAdam optim.RMSprop""",
    "another formula of rates: tests/nn/test_schedulers.py": """
        optim.lr_scheduler.ConstantLR optim.lr_scheduler.CosineAnnealingLR optim.lr_scheduler.LambdaLR
        optim.lr_scheduler.CosineAnnealingWarmRestarts optim.lr_scheduler.CyclicLR
        optim.lr_scheduler.LRScheduler optim.lr_scheduler.LinearLR
        optim.lr_scheduler.OneCycleLR optim.lr_scheduler.ReduceLROnPlateau optim.lr_scheduler.SequentialLR""",
    "cuts one long sequence, with detach(): tests/nn/test_stream.py": "utils.Stream utils.stream utils.tbptt",
}


def public() -> set[str]:
    """All public names, dotted."""
    return {f"{prefix}.{name}" for prefix, module in PUBLIC.items() for name in module.__all__}


def used() -> set[str]:
    """Those that the matrix uses."""
    files = [path for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith(("test_", "names", "__"))]
    walks = (ast.walk(ast.parse(path.read_text("utf-8"))) for path in files)
    return {ast.unparse(node) for walk in walks for node in walk if isinstance(node, ast.Attribute)} & public()


def excused() -> list[str]:
    """Those that it does not, for a reason."""
    return [name for names in NOT_HERE.values() for name in names.split()]
