"""What the tests share that compare single nodes with other implementations: random sources, and running cases.

A case is a model of one node with inputs and the outputs that another implementation gives. conformance_main runs a folder of
them.
"""

import json
import os
import pathlib
import random
import subprocess

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PROGRAM = pathlib.Path(os.environ["MEZZO_TEST_PROGRAMS"], "conformance_main")


class Draw:
    """A random source."""

    def __init__(self, seed: int):
        self.pick = random.Random(seed)
        self.numbers = np.random.default_rng(seed)

    def chance(self, probability: float = 0.5) -> bool:
        return self.pick.random() < probability

    def integers(self, dtype: type, *shape: int) -> np.ndarray:
        limits = np.iinfo(dtype)
        return self.numbers.integers(limits.min, limits.max, shape, dtype, endpoint=True)

    def weights(self, dtype: type, *shape: int) -> np.ndarray:
        """The middle half of an 8-bit type: without VNNI (AVX2) ONNX Runtime adds products in 16 bits, where more would saturate."""
        limits = np.iinfo(dtype)
        return self.numbers.integers(limits.min + 64, limits.max - 63, shape, dtype, endpoint=True)


def tensor_type(value: np.ndarray) -> int:
    """The TensorProto.DataType of an array; objects are strings."""
    return TensorProto.STRING if value.dtype == object else helper.np_dtype_to_tensor_dtype(value.dtype)


def value_info(name: str, value: np.ndarray) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, tensor_type(value), value.shape)


def onnxruntime_outputs(model: onnx.ModelProto, feeds: dict, optimised: bool = False) -> list[np.ndarray]:
    """What ONNX Runtime gives, on one thread."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


class Cases:
    """Cases written to a folder, to be run together."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._manifest = folder / "manifest.jsonl"
        self._lines: list[str] = []

    def add(self, name: str, model: onnx.ModelProto, feeds: dict, expected: list, rtol: float, atol: float) -> None:
        """A case; `feeds` in the order of the model's inputs. One that expects nothing fails whatever it gives."""
        data = self._folder / name / "test_data_set_0"
        data.mkdir(parents=True)
        (data.parent / "model.onnx").write_bytes(model.SerializeToString())
        for prefix, values in (("input", feeds.values()), ("output", expected)):
            for i, value in enumerate(values):
                array = np.asarray(value)
                proto = numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape))
                (data / f"{prefix}_{i}.pb").write_bytes(proto.SerializeToString())
        line = {"name": name, "rtol": rtol, "atol": atol, "inputs": list(feeds), "tensors": True, "random": False}
        self._lines.append(json.dumps(line) + "\n")

    def failures(self, target: str = "") -> dict[str, str]:
        """Why cases fail, by name; with the kernels of `target` ('': the best that there are)."""
        self._manifest.write_text("".join(self._lines))
        failed = self._folder / "failed.txt"
        environment = {**os.environ, "MEZZO_TARGET": target} if target else dict(os.environ)
        command = [PROGRAM, self._manifest, "--list-failed", failed]
        report = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        reasons = dict(line.split(": ", 1) for line in report.splitlines() if ": " in line)
        return {name: reasons[name] for name in failed.read_text().split()}
