"""Functions of models: what inlining them must not change, against ONNX Runtime."""

import os
import subprocess

import numpy as np
import onnx.parser
import onnxruntime
import pytest

# A function's body is a scope of its own: a value of the caller may have the name of one inside a branch.
CALL = """
<ir_version: 10, opset_import: ["": 18, "d": 1]>
main (float[1] {argument}, bool c) => (float[1] Y) {{ Y = d.f ({argument}, c) }}
<opset_import: ["": 18], domain: "d">
f (x, c) => (y) {{
  one = Constant <value_floats = [10.0]> ()
  y = If (c) <then_branch = t () => (float[1] {output}) {{ {nodes} }}, else_branch = e () => (float[1] B) {{ B = Identity (x) }}>
}}
"""
BODIES = {
    "its own": ("X", "A", "A = Neg (x)"),
    "the branch's output": ("A", "A", "A = Neg (x)"),
    "a value inside the branch": ("A", "R", "A = Mul (one, one) R = Add (x, A)"),
    "a value of the function": ("one", "R", "R = Add (x, one)"),
    "the function's output": ("y", "R", "R = Add (x, one)"),
    "a constant of the branch": ("A", "R", "A = Constant <value_floats = [100.0]> () K = Identity (A) R = Add (x, K)"),
}


@pytest.mark.parametrize("argument", BODIES)
@pytest.mark.parametrize("condition", [True, False])
def test_the_callers_names_are_not_the_functions(argument, condition, tmp_path):
    name, output, nodes = BODIES[argument]
    model = onnx.parser.parse_model(CALL.format(argument=name, output=output, nodes=nodes))
    onnx.checker.check_model(model)
    feed = {name: np.array([3.0], np.float32), "c": np.array(condition)}
    (expected,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, feed)
    onnx.save(model, tmp_path / "model.onnx")
    inputs = []
    for key, value in feed.items():
        np.save(tmp_path / f"{key}.npy", value)
        inputs += ["--input", f"{key}={tmp_path / key}.npy"]
    subprocess.run(
        [os.environ["MEZZO_CLI"], "run", tmp_path / "model.onnx", *inputs, "--out", tmp_path / "out.npz"], check=True
    )
    np.testing.assert_array_equal(np.load(tmp_path / "out.npz")["Y"], expected)
