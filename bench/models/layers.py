"""What the generators share: a graph under construction, with weights drawn from a seed.

Weights are scaled so that activations keep their size (He et al., "Delving Deep into Rectifiers", 2015).
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Network:
    """Nodes and weights; every method adds a layer and returns the name of its output."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self._random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, shape: list[int], dtype: int = TensorProto.FLOAT) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def constant(self, value: np.ndarray) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(value, name))
        return name

    def weight(self, *shape: int, fan_in: int) -> str:
        return self.constant((self._random.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32))

    def uniform(self, low: float, high: float, *shape: int) -> str:
        return self.constant(self._random.uniform(low, high, shape).astype(np.float32))

    def bytes(self, *shape: int) -> str:
        return self.constant(self._random.integers(0, 256, shape, np.uint8))

    def node(self, op: str, inputs: list[str], name: str = "", outputs: int = 1, **attributes) -> str | list[str]:
        label = name or f"{op}_{len(self._nodes)}"
        names = [label + (f":{i}" if i else "") for i in range(outputs)]
        self._nodes.append(helper.make_node(op, inputs, names, label, **attributes))
        return names[0] if outputs == 1 else names

    def conv(self, x: str, channels: tuple[int, int], kernel: int, stride: int = 1, groups: int = 1, bias: bool = False) -> str:
        """'Same' padding, [out, in / groups, kernel, kernel] weights."""
        before, after = channels
        fan_in = before // groups * kernel * kernel
        inputs = [x, self.weight(after, before // groups, kernel, kernel, fan_in=fan_in)]
        if bias:
            inputs.append(self.uniform(-0.1, 0.1, after))
        pads = [kernel // 2] * 4
        return self.node("Conv", inputs, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads, group=groups)

    def batch_norm(self, x: str, channels: int) -> str:
        scale, bias = self.uniform(0.8, 1.2, channels), self.uniform(-0.1, 0.1, channels)
        mean, variance = self.uniform(-0.1, 0.1, channels), self.uniform(0.8, 1.2, channels)
        return self.node("BatchNormalization", [x, scale, bias, mean, variance], epsilon=1e-5)

    def model(self, outputs: dict[str, list[int]], opset: int = 17) -> onnx.ModelProto:
        infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
        graph = helper.make_graph(self._nodes, self.name, self._inputs, infos, self._weights)
        others = {node.domain for node in self._nodes if node.domain}
        imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in others)]
        made = helper.make_model(graph, opset_imports=imports, ir_version=8)
        onnx.checker.check_model(made)
        return made
