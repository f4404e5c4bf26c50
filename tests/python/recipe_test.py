"""The well-known recipe for intermediate outputs, as it is found in forums, with either runtime."""

import importlib
import os

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from small_models import convolutions

PICTURE = np.random.default_rng(1).standard_normal((1, 3, 224, 224)).astype(np.float32)


def by_session(runtime, path):
    model = onnx.load(path)
    intermediate_layer_value_info = onnx.helper.ValueInfoProto()
    intermediate_layer_value_info.name = model.graph.node[-2].output[0]
    model.graph.output.extend([intermediate_layer_value_info])
    onnx.save(model, path + ".changed")
    session = runtime.InferenceSession(path + ".changed", providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: PICTURE})[1]


def by_backend(runtime, path):
    backend = importlib.import_module(f"{runtime.__name__}.backend")
    model = onnx.load(path)
    name = model.graph.node[-2].output[0]
    model.graph.output.extend([onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, None])])
    rep = backend.prepare(model, "CPU")
    return rep.run(PICTURE)[1]


def by_backend_run(runtime, path):
    backend = importlib.import_module(f"{runtime.__name__}.backend")
    model = onnx.load(path)
    model.graph.output.extend(onnx.shape_inference.infer_shapes(model).graph.value_info)
    names = [output.name for output in model.graph.output]
    return backend.run(model, [PICTURE], "CPU")[names.index(model.graph.node[-2].output[0])]


@pytest.mark.parametrize("recipe", [by_session, by_backend, by_backend_run])
def test_the_recipe_runs_unchanged(recipe, tmp_path):
    path = str(tmp_path / "model.onnx")
    with open(path, "wb") as file:
        file.write(convolutions())
    got = recipe(importlib.import_module("mezzo"), path)
    # onnxruntime's backend refuses outputs without a shape.
    expected = by_session(pytest.importorskip("onnxruntime"), path)
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype) == ((1, 16), np.float32)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    # And what there is instead.
    session = importlib.import_module("mezzo").InferenceSession(path)
    np.testing.assert_allclose(session.run(["[-2]"], {"data": PICTURE})[0], expected, rtol=1e-5, atol=1e-6)


def test_exposing_and_extracting_make_plain_onnx(tmp_path):
    mezzo, ort = importlib.import_module("mezzo"), pytest.importorskip("onnxruntime")
    model = mezzo.load(convolutions())
    model.expose(["r1", -2]).save(tmp_path / "exposed.onnx")
    exposed = ort.InferenceSession(os.fspath(tmp_path / "exposed.onnx"))
    assert [output.name for output in exposed.get_outputs()] == ["scores", "r1", "features"]
    scores, r1, features = exposed.run(None, {"data": PICTURE})
    model.extract(["r1"], ["features"]).save(tmp_path / "part.onnx")
    part = onnx.load(tmp_path / "part.onnx")
    onnx.checker.check_model(part)
    assert [numpy_helper.to_array(item).shape for item in part.graph.initializer] == [(16, 8, 4, 4)]
    session = ort.InferenceSession(os.fspath(tmp_path / "part.onnx"))
    np.testing.assert_allclose(session.run(None, {"r1": r1})[0], features, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        mezzo.InferenceSession(model.extract(["features"], ["scores"])).run(None, {"features": features})[0], scores, rtol=1e-5
    )
