"""Other libraries' layers compute from the weights we write what ours do, and ours from theirs."""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from nn.interchange import read, write

from .interchange_reference import ALL, KINDS, SAID, SHAPES, B, F, H, T, data, in_numpy, ours, output, random_like


@pytest.mark.parametrize(("layout", "kind", "layers", "both"), [p for p in ALL if p.values[0] != "torch"])
def test_the_librarys_equations_give_the_same(layout: str, kind: str, layers: int, both: bool) -> None:
    module, x = ours(kind, layers, both), data()
    weights = write(module, layout)
    np.testing.assert_allclose(in_numpy(layout, kind, weights, both, x), output(module, x), rtol=0, atol=1e-10)
    theirs = random_like(weights)  # where we would write one bias for two, and where we would not
    read(module, theirs, layout, **SAID.get(layout, {}))
    np.testing.assert_allclose(output(module, x), in_numpy(layout, kind, theirs, both, x), rtol=0, atol=1e-10)


# --- the libraries themselves, where they are installed ---


@pytest.mark.parametrize(("layers", "both"), SHAPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", [*KINDS, "LSTM projected", "RNN relu"])
def test_pytorch(kind: str, bias: bool, layers: int, both: bool) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch runs its own layers on our weights")
    name, _, variant = kind.partition(" ")
    options: Any = {"projected": {"proj_size": 2}, "relu": {"nonlinearity": "relu"}}.get(variant, {})
    module = ours(name, layers, both, bias=bias, **options)
    set_to = {"num_layers": layers, "bias": bias, "bidirectional": both, "dtype": torch.float64, **options}
    theirs, other = (getattr(torch.nn, name)(F, H, **set_to) for _ in range(2))
    x = data()
    theirs.load_state_dict({name: torch.from_numpy(array) for name, array in write(module).items()})
    np.testing.assert_allclose(theirs(torch.from_numpy(x))[0].detach().numpy(), output(module, x), rtol=0, atol=1e-10)
    expected = other(torch.from_numpy(x))[0].detach().numpy()
    for weights in (other.state_dict(), dict(other.named_parameters())):
        target = ours(name, layers, both, bias=bias, **options)
        read(target, weights)
        np.testing.assert_allclose(output(target, x), expected, rtol=0, atol=1e-10)


def run_onnx(kind: str, units: Any, both: bool, x: Any, relu: bool = False) -> Any:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    make = onnx.helper
    D = 2 if both else 1
    nodes, constants = [], {"shape": np.array([T, B, D * H])}
    for u, unit in enumerate(units):
        constants |= {f"{name}{u}": array for name, array in unit.items()}
        inputs = [f"x{u}", f"W{u}", f"R{u}", f"B{u}" if "B" in unit else ""]
        options: Any = {"direction": "bidirectional" if both else "forward", "hidden_size": H}
        if kind == "GRU":
            options["linear_before_reset"] = 1
        if relu:
            options["activations"] = ["Relu"] * D
        nodes += [
            make.make_node(kind, inputs, [f"y{u}"], **options),
            make.make_node("Transpose", [f"y{u}"], [f"t{u}"], perm=[0, 2, 1, 3]),
            make.make_node("Reshape", [f"t{u}", "shape"], [f"x{u + 1}"]),
        ]
    graph = make.make_graph(
        nodes,
        "g",
        [make.make_tensor_value_info("x0", onnx.TensorProto.FLOAT, x.shape)],
        [make.make_tensor_value_info(f"x{len(units)}", onnx.TensorProto.FLOAT, [T, B, D * H])],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x0": x})[0]


@pytest.mark.parametrize(("layers", "both"), SHAPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", [*KINDS, "RNN relu"])
def test_onnxruntime(kind: str, bias: bool, layers: int, both: bool) -> None:
    name, _, relu = kind.partition(" ")
    options: Any = {"nonlinearity": "relu"} if relu else {}
    module, x = ours(name, layers, both, tg.float32, bias=bias, **options), data(np.float32)
    weights = write(module, "onnx")
    assert bias == ("B" in weights[0])
    np.testing.assert_allclose(run_onnx(name, weights, both, x, bool(relu)), output(module, x), rtol=0, atol=1e-5)
    theirs = random_like(weights)
    read(module, theirs, "onnx", reset_after=True)
    np.testing.assert_allclose(output(module, x), run_onnx(name, theirs, both, x, bool(relu)), rtol=0, atol=1e-5)


def run_flax(cell: str, cells: Any, both: bool, x: Any, options: Any) -> Any:
    jax = pytest.importorskip("jax", reason="flax is not installed")
    linen = pytest.importorskip("flax.linen", reason="flax is not installed")
    directions = 2 if both else 1
    for k in range(0, len(cells), directions):
        outputs = []
        for d in range(directions):
            made = getattr(linen, cell)(features=H, **options)
            layer = linen.RNN(made, time_major=True, reverse=bool(d), keep_order=True)
            with jax.default_device(jax.devices("cpu")[0]):  # on a GPU it rounds operands of products
                outputs.append(np.asarray(layer.apply({"params": {"cell": cells[k + d]}}, x)))
        x = np.concatenate(outputs, axis=-1)
    return x


@pytest.mark.parametrize(("layers", "both"), SHAPES)
@pytest.mark.parametrize("cell", ["LSTMCell", "OptimizedLSTMCell", "GRUCell", "SimpleCell", "SimpleCell relu"])
def test_flax(cell: str, layers: int, both: bool) -> None:
    name, _, relu = cell.partition(" ")
    linen = pytest.importorskip("flax.linen", reason="flax is not installed")
    kind = {"GRUCell": "GRU", "SimpleCell": "RNN"}.get(name, "LSTM")
    module = ours(kind, layers, both, tg.float32, **({"nonlinearity": "relu"} if relu else {}))
    options, x = ({"activation_fn": linen.relu} if relu else {}), data(np.float32)
    weights = write(module, "flax")
    np.testing.assert_allclose(run_flax(name, weights, both, x, options), output(module, x), rtol=0, atol=1e-5)
    theirs = random_like(weights)
    read(module, theirs, "flax")
    np.testing.assert_allclose(output(module, x), run_flax(name, theirs, both, x, options), rtol=0, atol=1e-5)


def test_flax_makes_the_same_names() -> None:
    linen = pytest.importorskip("flax.linen", reason="flax is not installed")
    jax = pytest.importorskip("jax")
    for cell, kind in (("LSTMCell", "LSTM"), ("OptimizedLSTMCell", "LSTM"), ("GRUCell", "GRU"), ("SimpleCell", "RNN")):
        made = getattr(linen, cell)(features=H)
        x = np.zeros((B, F), np.float32)
        carry = made.initialize_carry(jax.random.key(0), x.shape)
        theirs = made.init(jax.random.key(1), carry, x)
        (mine,) = write(ours(kind), "flax")
        assert jax.tree.map(np.shape, theirs["params"]) == jax.tree.map(np.shape, mine)
        module = getattr(nn, f"{kind}Cell")(F, H)
        read(module, theirs, "flax", prefix="params/")  # what init returned, as it is
        given = tg.randn(B, F)
        state = made.apply(theirs, carry, given.numpy())[1]
        new = module(given)
        np.testing.assert_allclose((new[0] if kind == "LSTM" else new).detach().numpy(), state, rtol=0, atol=1e-5)


KERASS_OWN = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@KERASS_OWN
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", [*KINDS, "RNN relu"])
def test_keras(kind: str, bias: bool, both: bool) -> None:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras", reason="keras is not installed", exc_type=ImportError)
    name, _, relu = kind.partition(" ")
    module = ours(name, 2, both, tg.float32, bias=bias, **({"nonlinearity": "relu"} if relu else {}))
    x = data(np.float32)

    def layer() -> Any:
        kept = getattr(keras.layers, "SimpleRNN" if name == "RNN" else name)
        made = kept(H, return_sequences=True, use_bias=bias, **({"activation": "relu"} if relu else {}))
        return keras.layers.Bidirectional(made) if both else made

    layers = [layer(), layer()]

    def run() -> Any:
        y = x.swapaxes(0, 1)
        for made in layers:
            y = made(y)
        return np.asarray(y).swapaxes(0, 1)

    run()
    weights = write(module, "keras")
    for made, unit in zip(layers, weights, strict=True):
        assert [w.path.split("/")[-1] for w in made.weights] == [re.sub("forward_|backward_", "", n) for n in unit]
        made.set_weights(list(unit.values()))
    np.testing.assert_allclose(run(), output(module, x), rtol=0, atol=1e-5)
    for made in layers:
        made.set_weights(random_like(made.get_weights()))
    for theirs in ([made.get_weights() for made in layers], [made.weights for made in layers]):
        target = ours(name, 2, both, tg.float32, bias=bias, **({"nonlinearity": "relu"} if relu else {}))
        read(target, theirs, "keras")
        np.testing.assert_allclose(output(target, x), run(), rtol=0, atol=1e-5)
        biased = ours(name, 2, both, tg.float32, **({"nonlinearity": "relu"} if relu else {}))
        read(biased, theirs, "keras")  # without biases there: zeros here
        np.testing.assert_allclose(output(biased, x), run(), rtol=0, atol=1e-5)


@KERASS_OWN
def test_kerass_gru_that_resets_before_is_refused() -> None:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras", reason="keras is not installed", exc_type=ImportError)
    layer = keras.layers.GRU(H, reset_after=False)
    layer.build((B, T, F))
    with pytest.raises(ValueError, match="reset_after=False, with which a GRU computes"):
        read(ours("GRU"), layer.get_weights(), "keras")
