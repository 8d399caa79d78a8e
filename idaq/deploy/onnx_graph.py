"""A policy as an ONNX graph, built node by node: `observation` (N, D) -> `action` (N, A), float32."""

from collections.abc import Iterator
from pathlib import Path

from onnx import NodeProto, TensorProto, checker, helper, numpy_helper, save_model

from idaq.learn.dense import DensePolicy

OPSET, IR = 17, 8
"""of ONNX 1.12, 2022: older runtimes on robots read it too, and nothing here needs more"""
_OPERATORS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "elu": "Elu"}


def write_onnx(policy: DensePolicy, path: Path) -> None:
    """Write and check the graph; any number N of observations at once."""
    sizes = {"observation": len(policy.observation_mean), "action": len(policy.action_centre)}
    ends = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size]) for name, size in sizes.items()}
    graph = helper.make_graph(
        list(_nodes(policy)),
        "policy",
        [ends["observation"]],
        [ends["action"]],
        [numpy_helper.from_array(array, name) for name, array in policy.arrays().items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="idaq"
    )
    checker.check_model(model, full_check=True)
    save_model(model, path)


def _nodes(policy: DensePolicy) -> Iterator[NodeProto]:
    yield helper.make_node("Sub", ["observation", "observation_mean"], ["centred"])
    yield helper.make_node("Div", ["centred", "observation_std"], ["x"])
    x = "x"
    for number, activation in enumerate(policy.activations):
        layer = f"layers.{number}"
        yield helper.make_node("Gemm", [x, f"{layer}.weight", f"{layer}.bias"], [f"{layer}.sum"])
        x = f"{layer}.sum"
        if activation != "identity":
            yield helper.make_node(_OPERATORS[activation], [x], [layer])
            x = layer
    yield helper.make_node("Mul", [x, "action_scale"], ["scaled"])
    yield helper.make_node("Add", ["scaled", "action_centre"], ["unbounded"])
    yield helper.make_node("Max", ["unbounded", "action_low"], ["above"])
    yield helper.make_node("Min", ["above", "action_high"], ["action"])
