"""ONNX Runtime's interface: the ONNX backend. The same tests pass with onnxruntime itself (MEZZO_PEER)."""

import importlib
import os

import interface_models as models
import numpy as np
import onnx
import pytest

ort = importlib.import_module(os.environ.get("MEZZO_PEER", "mezzo"))
backend = importlib.import_module(f"{ort.__name__}.backend")
state = ort.capi.onnxruntime_pybind11_state

X = np.array([[1, -2]], np.float32)
Y = np.array([[10, 20]], np.float32)


def check(results):
    assert isinstance(results, list)
    np.testing.assert_array_equal(results[0], [[11, 20]])
    np.testing.assert_array_equal(results[1], [[1, 0]])


def test_devices():
    assert backend.supports_device("CPU")
    assert not any(backend.supports_device(device) for device in ("CUDA", "GPU", "NPU"))
    model = onnx.load_model_from_string(models.sums())
    assert backend.is_compatible(model)
    assert backend.is_compatible(model, "CPU")
    assert not backend.is_compatible(model, "CUDA")


def test_sources(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(models.sums())
    session = ort.InferenceSession(models.sums(), providers=["CPUExecutionProvider"])
    for source in (models.sums(), onnx.load(path), str(path), session):
        check(backend.prepare(source, "CPU").run([X, Y]))
    rep = backend.prepare(models.sums())
    assert backend.prepare(rep) is rep


def test_run_model():
    check(backend.run(onnx.load_model_from_string(models.sums()), [X, Y], "CPU"))
    check(backend.run(models.sums(), [X, Y]))


def test_a_single_input_needs_no_list():
    rep = backend.prepare(models.with_default())
    np.testing.assert_array_equal(rep.run(np.zeros(2, np.float32))[0], [1, 2])
    np.testing.assert_array_equal(rep.run([np.zeros(2, np.float32)])[0], [1, 2])
    with pytest.raises(RuntimeError, match="Model expect 2 inputs"):
        backend.prepare(models.sums()).run(X)


def test_too_few_inputs():
    with pytest.raises(IndexError):
        backend.prepare(models.sums()).run([X])


def test_devices_that_models_do_not_run_on():
    with pytest.raises(RuntimeError, match="Incompatible device expected 'CUDA', got 'CPU'"):
        backend.prepare(models.sums(), "CUDA")


def test_options():
    rep = backend.prepare(models.sums(), "CPU", intra_op_num_threads=1, none_such=3)
    check(rep.run([X, Y], log_severity_level=3, none_such=3))
    with pytest.raises(RuntimeError, match="'enable_profiling' is not permitted"):
        backend.prepare(models.sums(), "CPU", enable_profiling=True)
    with pytest.raises(RuntimeError, match="'terminate' is not permitted"):
        rep.run([X, Y], terminate=True)


def test_missing_files():
    with pytest.raises(state.NoSuchFile):
        backend.prepare("/no/such/file.onnx")


def test_what_is_no_model():
    with pytest.raises(AttributeError):
        backend.prepare(3)
