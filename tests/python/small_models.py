"""Models that the tests of the Python package share, as bytes."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def model(nodes, inputs, outputs, initializers=(), opset=21, **kwargs) -> bytes:
    """A model of nodes; `inputs` and `outputs` are (name, type, shape)."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(*item) if isinstance(item, tuple) else item for item in inputs],
        [helper.make_tensor_value_info(*item) if isinstance(item, tuple) else item for item in outputs],
        [numpy_helper.from_array(array, name) for name, array in initializers],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10, **kwargs)
    return made.SerializeToString()


def two_layers() -> bytes:
    """features = Relu(x), scores = features @ weights: [1, 2] in, [1, 2] out. What the doctests call `example`."""
    return model(
        [
            helper.make_node("Relu", ["x"], ["features"], "first"),
            helper.make_node("MatMul", ["features", "weights"], ["scores"], "second"),
        ],
        [("x", TensorProto.FLOAT, [1, 2])],
        [("scores", TensorProto.FLOAT, [1, 2])],
        [("weights", np.ones((2, 2), np.float32))],
    )


def identity(onnx_type: int, shape=("n",)) -> bytes:
    """y = Identity(x) of a tensor type."""
    return model([helper.make_node("Identity", ["x"], ["y"])], [("x", onnx_type, shape)], [("y", onnx_type, shape)], opset=25)


def counting_loop(iterations: int) -> bytes:
    """total = 0 + 1 + ... in a loop, one addition an iteration."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["condition"], ["go_on"]),
            helper.make_node("Add", ["sum", "step"], ["next_sum"], "add"),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next_sum", TensorProto.FLOAT, []),
        ],
    )
    return model(
        [helper.make_node("Loop", ["trips", "", "start"], ["total"], "loop", body=body)],
        [("start", TensorProto.FLOAT, []), ("step", TensorProto.FLOAT, [])],
        [("total", TensorProto.FLOAT, [])],
        [("trips", np.array(iterations, np.int64))],
    )


def convolutions(seed: int = 0) -> bytes:
    """A small classifier of pictures [1, 3, 224, 224] with weights drawn from a seed."""
    random = np.random.default_rng(seed)
    return model(
        [
            helper.make_node("Conv", ["data", "w1"], ["c1"], "conv1", strides=[8, 8]),
            helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
            helper.make_node("Conv", ["r1", "w2"], ["c2"], "conv2", strides=[4, 4]),
            helper.make_node("Relu", ["c2"], ["r2"], "relu2"),
            helper.make_node("GlobalAveragePool", ["r2"], ["pooled"], "pool"),
            helper.make_node("Flatten", ["pooled"], ["features"], "flatten"),
            helper.make_node("MatMul", ["features", "w3"], ["scores"], "head"),
        ],
        [("data", TensorProto.FLOAT, ["batch", 3, 224, 224])],
        [("scores", TensorProto.FLOAT, ["batch", 5])],
        [
            ("w1", random.standard_normal((8, 3, 8, 8)).astype(np.float32) / 14),
            ("w2", random.standard_normal((16, 8, 4, 4)).astype(np.float32) / 11),
            ("w3", random.standard_normal((16, 5)).astype(np.float32)),
        ],
    )
