"""Random nodes of the domain com.microsoft against ONNX Runtime, which defines it, each family drawn from a fixed seed.

elementwise_peers_test.py and peers_test.py have the operators that resemble one of ONNX's own. Quantised results must be equal.
"""

import json
import os
import pathlib
import random
import subprocess
from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

ort = pytest.importorskip("onnxruntime")

PROGRAM = pathlib.Path(os.environ["MEZZO_TEST_PROGRAMS"], "conformance_main")
CASES = 60
BYTES = [np.uint8, np.int8]


@dataclass
class Node:
    """Inputs that are None are left out; the first `outputs` outputs are asked for."""

    op: str
    attributes: dict
    inputs: list
    outputs: int = 1
    domain: str = "com.microsoft"
    tolerance: float = 1e-5


class Draw:
    """A random source, and what several families draw from it."""

    def __init__(self, seed: int):
        self.pick = random.Random(seed)
        self.numbers = np.random.default_rng(seed)

    def chance(self, probability: float = 0.5) -> bool:
        return self.pick.random() < probability

    def floats(self, *shape: int, scale: float = 1) -> np.ndarray:
        return (self.numbers.standard_normal(shape) * scale).astype(np.float32)

    def integers(self, dtype: type, *shape: int) -> np.ndarray:
        limits = np.iinfo(dtype)
        return self.numbers.integers(limits.min, limits.max, shape, dtype, endpoint=True)

    def below(self, limit: int, *shape: int) -> np.ndarray:
        return self.numbers.integers(0, limit, shape).astype(np.int32)

    def scale(self, *shape: int) -> np.ndarray:
        return self.numbers.uniform(0.003, 0.1, shape).astype(np.float32)

    def maybe(self, value: np.ndarray) -> np.ndarray | None:
        return value if self.chance() else None


def dynamic_lstm(d: Draw) -> Node:
    steps, batch, inputs, hidden = (d.pick.choice(extents) for extents in ([1, 3, 9], [1, 1, 2, 5], [1, 4, 19], [2, 5, 16, 33]))
    direction = d.pick.choice(["forward", "reverse", "bidirectional"])
    directions, dtype = 2 if direction == "bidirectional" else 1, d.pick.choice(BYTES)
    columns = 4 * hidden
    attributes = {"hidden_size": hidden, "direction": direction}
    if d.chance(0.2):
        attributes["clip"] = 0.5
    if d.chance(0.2):
        attributes["input_forget"] = 1
    per_column = d.chance()
    # By columns only a zero point of 0 is taken.
    parameters = [directions, columns] if per_column else [directions]
    zero = np.zeros(parameters, dtype) if per_column else None

    def matrix(k: int) -> list[np.ndarray]:
        zeros = zero if zero is not None else d.integers(dtype, directions)
        return [d.integers(dtype, directions, k, columns), d.scale(*parameters) / 5, zeros]

    (w, w_scale, w_zero), (r, r_scale, r_zero) = matrix(inputs), matrix(hidden)
    state = [directions, batch, hidden]
    lengths = d.maybe(d.pick.choices(range(1, steps + 1), k=batch))
    inputs_ = [
        d.floats(steps, batch, inputs), w, r, d.maybe(d.floats(directions, 2 * columns)),
        None if lengths is None else np.array(lengths, np.int32), d.maybe(d.floats(*state)), d.maybe(d.floats(*state)),
        d.maybe(d.floats(directions, 3 * hidden)), w_scale, w_zero, r_scale, r_zero,
    ]  # fmt: skip
    # Its activations are approximations; where a last bit of theirs decides a rounding, h is a small step apart.
    return Node("DynamicQuantizeLSTM", attributes, inputs_, 3, tolerance=2e-3)


def model_of(node: Node, constants: bool) -> onnx.ModelProto:
    """One node; all but its first input are initializers where `constants`."""
    names = [f"x{i}" if value is not None else "" for i, value in enumerate(node.inputs)]
    outputs = [f"y{i}" for i in range(node.outputs)]
    proto = helper.make_node(node.op, names, outputs, domain=node.domain, **node.attributes)
    present = [(name, np.asarray(value)) for name, value in zip(names, node.inputs) if name]
    split = 1 if constants else len(present)

    def info(name, value):
        dtype = TensorProto.STRING if value.dtype == object else helper.np_dtype_to_tensor_dtype(value.dtype)
        return helper.make_tensor_value_info(name, dtype, value.shape)

    graph = helper.make_graph(
        [proto],
        "peers",
        [info(name, value) for name, value in present[:split]],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in present[split:]],
    )
    opsets = [helper.make_opsetid(node.domain, 1)] if node.domain else []
    return helper.make_model(graph, opset_imports=[*opsets, helper.make_opsetid("", 17)], ir_version=10)


def reference(model: onnx.ModelProto, feeds: dict) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


FAMILIES = [dynamic_lstm]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_family(family, tmp_path):
    draw = Draw(1)
    manifest = tmp_path / "manifest.jsonl"
    with manifest.open("w") as lines:
        for number in range(CASES):
            node = family(draw)
            model = model_of(node, draw.chance())
            names = [info.name for info in model.graph.input]
            feeds = {name: np.asarray(node.inputs[int(name[1:])]) for name in names}
            expected = reference(model, feeds)
            folder = tmp_path / f"{number}_{node.op}" / "test_data_set_0"
            folder.mkdir(parents=True)
            (folder.parent / "model.onnx").write_bytes(model.SerializeToString())
            for i, name in enumerate(names):
                (folder / f"input_{i}.pb").write_bytes(numpy_helper.from_array(feeds[name], name).SerializeToString())
            for i, value in enumerate(expected):
                (folder / f"output_{i}.pb").write_bytes(numpy_helper.from_array(np.asarray(value), f"y{i}").SerializeToString())
            tolerance = node.tolerance if expected[0].dtype.kind == "f" else 0
            case = {"name": folder.parent.name, "rtol": tolerance, "atol": tolerance}
            case |= {"inputs": names, "tensors": True, "random": False}
            lines.write(json.dumps(case) + "\n")
    for target in ("", "scalar"):
        failed = tmp_path / "failed.txt"
        environment = {**os.environ, "MEZZO_TARGET": target} if target else dict(os.environ)
        report = subprocess.run(
            [PROGRAM, manifest, "--list-failed", failed], env=environment, check=True, capture_output=True, text=True
        ).stdout
        assert failed.read_text() == "", report
