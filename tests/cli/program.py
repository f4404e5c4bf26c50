"""The program mezzo as the tests run it, small models for it, and what they must give."""

import os
import pathlib
import subprocess

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

ROOT = pathlib.Path(__file__).resolve().parents[2]
MEZZO = os.environ.get("MEZZO_CLI", str(ROOT / "build" / "mezzo"))
DONE, NOT_POSSIBLE, WRONG_USAGE, BAD_FILE = 0, 1, 2, 3


def mezzo(*arguments, status=DONE):
    """Runs the program; (stdout, stderr)."""
    done = subprocess.run([MEZZO, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == status, (arguments, done.stdout, done.stderr)
    if status == DONE:
        assert done.stderr == ""
    else:
        assert done.stdout == ""
        assert done.stderr.startswith("mezzo: ")
        assert len(done.stderr.splitlines()) == 1
    return done.stdout, done.stderr


def save(path, nodes, inputs, outputs, initializers=(), check=True):
    graph = helper.make_graph(
        nodes, "small",
        [helper.make_tensor_value_info(*info) for info in inputs],
        [helper.make_tensor_value_info(*info) for info in outputs],
        [numpy_helper.from_array(array, name) for name, array in initializers])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
                              producer_name="cli_test", producer_version="7")
    if check:
        onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def save_classifier(path, batch="N", size=16):
    """Conv-Relu-GlobalAveragePool-Flatten-Gemm on pictures of `size` x `size`."""
    random = np.random.default_rng(5)
    return save(
        path,
        [helper.make_node("Conv", ["x", "w"], ["block/conv"], name="conv", pads=[1, 1, 1, 1]),
         helper.make_node("Relu", ["block/conv"], ["block/relu"], name="relu"),
         helper.make_node("GlobalAveragePool", ["block/relu"], ["pool"]),
         helper.make_node("Flatten", ["pool"], ["flat"]),
         helper.make_node("Gemm", ["flat", "g", "b"], ["scores"], name="gemm", transB=1)],
        [("x", TensorProto.FLOAT, [batch, 3, size, size])],
        [("scores", TensorProto.FLOAT, [batch, 5])],
        [("w", random.normal(size=(4, 3, 3, 3)).astype(np.float32)),
         ("g", random.normal(size=(5, 4)).astype(np.float32)),
         ("b", random.normal(size=5).astype(np.float32))])


def reference(path, feeds, names):
    """The values by ONNX Runtime, of a copy of the model whose outputs they are."""
    model = onnx.load(path)
    del model.graph.output[:]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(model.SerializeToString(),
                                           providers=["CPUExecutionProvider"])
    return session.run(names, feeds)


def assert_close(actual, expected):
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
