"""Single nodes of ai.onnx.ml as cases for conformance_main."""

import pathlib
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper, numpy_helper
from peer_cases import Cases, value_info

DOMAIN = "ai.onnx.ml"


@dataclass
class Case:
    """A node; arrays among its attributes are tensors, and empty lists are left out."""

    op: str
    version: int
    attributes: dict
    inputs: list[np.ndarray]
    outputs: int = 1
    expected: list[np.ndarray] = field(default_factory=list)

    def model(self) -> onnx.ModelProto:
        names = [f"x{i}" for i in range(len(self.inputs))]
        node = helper.make_node(self.op, names, [f"y{i}" for i in range(self.outputs)], domain=DOMAIN)
        for name, value in self.attributes.items():
            if isinstance(value, list) and not value:
                continue
            tensor = isinstance(value, np.ndarray)
            node.attribute.append(helper.make_attribute(name, numpy_helper.from_array(value) if tensor else value))
        graph = helper.make_graph(
            [node],
            "case",
            [value_info(name, x) for name, x in zip(names, self.inputs)],
            [onnx.ValueInfoProto(name=name) for name in node.output],
        )
        opsets = [helper.make_opsetid(DOMAIN, self.version), helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def failures(cases: list[Case], folder: pathlib.Path, target: str = "") -> dict[int, str]:
    """The cases (by number) whose outputs are not what is expected, and why. One that expects nothing must fail."""
    written = Cases(folder)
    for number, case in enumerate(cases):
        feeds = {f"x{i}": value for i, value in enumerate(case.inputs)}
        written.add(str(number), case.model(), feeds, case.expected, 1e-4, 1e-5)
    return {int(name): why for name, why in written.failures(target).items()}
