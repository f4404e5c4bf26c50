"""Single nodes of ai.onnx.ml as cases for conformance_main."""

import json
import os
import pathlib
import subprocess
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper, numpy_helper

PROGRAM = pathlib.Path(os.environ["MEZZO_TEST_PROGRAMS"], "conformance_main")
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
            [helper.make_tensor_value_info(name, tensor_type(x), x.shape) for name, x in zip(names, self.inputs)],
            [onnx.ValueInfoProto(name=name) for name in node.output],
        )
        opsets = [helper.make_opsetid(DOMAIN, self.version), helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def tensor_type(value: np.ndarray) -> int:
    return onnx.TensorProto.STRING if value.dtype == object else helper.np_dtype_to_tensor_dtype(value.dtype)


def failures(cases: list[Case], folder: pathlib.Path, target: str = "") -> dict[int, str]:
    """The cases (by number) whose outputs are not what is expected, and why. One that expects nothing must fail."""
    with (folder / "manifest.jsonl").open("w") as lines:
        for number, case in enumerate(cases):
            data = folder / str(number) / "test_data_set_0"
            data.mkdir(parents=True)
            (data.parent / "model.onnx").write_bytes(case.model().SerializeToString())
            for prefix, values in (("input", case.inputs), ("output", case.expected)):
                for i, value in enumerate(values):
                    (data / f"{prefix}_{i}.pb").write_bytes(numpy_helper.from_array(value).SerializeToString())
            inputs = [f"x{i}" for i in range(len(case.inputs))]
            line = {"name": str(number), "rtol": 1e-4, "atol": 1e-5, "inputs": inputs, "tensors": True, "random": False}
            lines.write(json.dumps(line) + "\n")
    environment = {**os.environ, "MEZZO_TARGET": target} if target else dict(os.environ)
    command = [PROGRAM, folder / "manifest.jsonl", "--list-failed", folder / "failed.txt"]
    report = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.splitlines()
    reasons = dict(line.split(": ", 1) for line in report if ": " in line)
    return {int(name): reasons[name] for name in (folder / "failed.txt").read_text().split()}
