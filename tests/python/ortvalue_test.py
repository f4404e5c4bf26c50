"""OrtValue, bindings and the backend: what onnxruntime has not."""

import gc

import interface_models as models
import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from small_models import identity, two_layers

import mezzo
from mezzo import OrtValue, backend

X = np.array([[1.0, -2.0]], np.float32)


def test_strings():
    for array in (np.array(["a", "bc"]), np.array(["a", "bc"], object), np.array([b"a", b"bc"])):
        value = OrtValue.ortvalue_from_numpy(array)
        assert (value.data_type(), value.element_type(), value.shape()) == ("tensor(string)", TensorProto.STRING, [2])
        assert value.numpy().tolist() == ["a", "bc"]
        assert mezzo.InferenceSession(models.strings()).run(None, {"x": value})[0].tolist() == ["a", "bc"]
        for method in (value.data_ptr, value.tensor_size_in_bytes, value.__dlpack__):
            with pytest.raises(RuntimeError, match="strings"):
                method()


def test_update_inplace_of_strings():
    value = OrtValue.ortvalue_from_numpy(np.array(["a", "bc"]))
    value.update_inplace(np.array(["x", "long"]))
    assert value.numpy().tolist() == ["x", "long"]


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "int4", "uint4"])
def test_types_that_numpy_lacks(name):
    array = np.array([0, 1, 3], dtype=getattr(ml_dtypes, name))
    value = OrtValue.ortvalue_from_numpy(array)
    assert value.numpy().dtype == array.dtype
    (got,) = mezzo.InferenceSession(identity(value.element_type())).run_with_ort_values(None, {"x": value})
    assert got.element_type() == value.element_type()
    assert got.numpy().tolist() == array.tolist()


def test_bytes_are_no_packed_elements():
    with pytest.raises(mezzo.NotImplemented, match="ml_dtypes.int4"):
        OrtValue.ortvalue_from_numpy_with_onnx_type(np.zeros(2, np.uint8), TensorProto.INT4)


def test_the_other_byte_order():
    value = OrtValue.ortvalue_from_numpy(np.array([1, 2], ">f4"))
    assert value.numpy().tolist() == [1, 2]
    assert value.data_type() == "tensor(float)"


def test_memory_that_is_read_only_stays_so():
    array = np.arange(3.0)
    array.setflags(write=False)
    value = OrtValue.ortvalue_from_numpy(array)
    with pytest.raises(RuntimeError, match="cannot be written"):
        value.update_inplace(np.zeros(3))
    assert array.tolist() == [0, 1, 2]


def test_update_inplace_reads_the_type():
    with pytest.raises(RuntimeError, match="float64 and float32"):
        OrtValue.ortvalue_from_numpy(np.zeros(2, np.float32)).update_inplace(np.zeros(2))


def test_dlpack_keeps_its_owner_alive():
    value = OrtValue.from_dlpack(np.full(100_000, 2.0))
    array = np.from_dlpack(value)
    del value
    gc.collect()
    assert array.sum() == 200_000


def test_dlpack_of_bfloat16_shares_memory():
    array = np.array([1, 2], ml_dtypes.bfloat16)
    value = OrtValue.from_dlpack(OrtValue.ortvalue_from_numpy(array))
    value.numpy()[0] = 7
    assert array.tolist() == [7, 2]


def test_dlpack_of_other_devices():
    class OnGpu:
        def __dlpack__(self):
            capsule = np.zeros(2).__dlpack__()
            mezzo.ortvalue.memory._tensor_in(capsule).device_kind = 2
            return capsule

    with pytest.raises(RuntimeError, match="device kind 2"):
        OrtValue.from_dlpack(OnGpu())


def test_copy_tensors():
    source, target = OrtValue.ortvalue_from_numpy(X), OrtValue.ortvalue_from_shape_and_type([1, 2], np.float32)
    address = target.data_ptr()
    mezzo.copy_tensors([source], [target])
    assert target.numpy().tolist() == X.tolist()
    assert target.data_ptr() == address
    with pytest.raises(RuntimeError, match="1 sources, 0 destinations"):
        mezzo.copy_tensors([source], [])


def test_another_handle():
    value = OrtValue.ortvalue_from_numpy(X)
    assert OrtValue(value).data_ptr() == value.data_ptr()
    assert repr(value) == "<mezzo.OrtValue tensor(float)[1, 2]>"


def test_optionals_without_value():
    value = OrtValue._of(None, "optional(tensor(float))")
    assert (value.has_value(), value.is_tensor(), value.element_type()) == (False, False, TensorProto.FLOAT)
    with pytest.raises(RuntimeError, match="holds nothing"):
        value.numpy()


def test_sparse_tensors_are_not_run():
    sparse = mezzo.SparseTensor.sparse_coo_from_numpy(
        [1, 2], np.ones(1, np.float32), np.array([0]), mezzo.OrtDevice.make("cpu", 0)
    )
    with pytest.raises(mezzo.NotImplemented, match="feed the dense tensor"):
        mezzo.InferenceSession(two_layers()).run(None, {"x": OrtValue.ort_value_from_sparse_tensor(sparse)})


def test_sparse_indices_outside():
    with pytest.raises(RuntimeError, match="outside"):
        mezzo.SparseTensor.sparse_coo_from_numpy([2, 2], np.ones(1), np.array([4]), mezzo.OrtDevice.make("cpu", 0))


def test_vectors_of_other_libraries_tensors():
    array = np.arange(3, dtype=np.float32)
    vector = mezzo.OrtValueVector()
    vector.push_back_batch([array], [array.ctypes.data], [np.float32], [[3]], [mezzo.OrtDevice.make("cpu", 0)])
    vector.push_back(array.__dlpack__())
    assert [value.data_ptr() for value in vector] == [array.ctypes.data] * 2
    assert np.shares_memory(vector.to_dlpacks(OrtValue.from_dlpack)[0].numpy(), array)
    assert OrtValue.from_dlpack(vector.dlpack_at(1)).shape() == [3]


# ---- binding


def test_any_value_may_be_bound():
    session = mezzo.InferenceSession(two_layers())
    binding = session.io_binding()
    binding.bind_cpu_input("features", np.array([[3, 4]], np.float32))
    binding.bind_output("scores")
    session.run_with_iobinding(binding)
    assert binding.copy_outputs_to_cpu()[0].tolist() == [[7, 7]]
    taps = session.io_binding()
    taps.bind_cpu_input("x", X)
    taps.bind_output("features")
    session.run_with_iobinding(taps)
    assert taps.copy_outputs_to_cpu()[0].tolist() == [[1, 0]]


def test_results_of_earlier_runs_are_not_overwritten():
    session = mezzo.InferenceSession(models.sums())
    binding = session.io_binding()
    binding.bind_output("z")
    kept = []
    for rows in (1, 3):
        binding.bind_cpu_input("x", np.ones((rows, 2), np.float32))
        binding.bind_cpu_input("y", np.ones((rows, 2), np.float32))
        session.run_with_iobinding(binding)
        kept += binding.get_outputs()
    assert [value.shape() for value in kept] == [[1, 2], [3, 2]]


def test_outputs_before_a_run_are_empty():
    binding = mezzo.InferenceSession(two_layers()).io_binding()
    binding.bind_output("scores")
    assert not binding.get_outputs()[0].has_value()
    assert binding.copy_outputs_to_cpu() == [None]


def test_a_name_that_stands_for_several_values():
    session = mezzo.InferenceSession(two_layers())
    binding = session.io_binding()
    binding.bind_cpu_input("x", X)
    binding.bind_output("*")
    with pytest.raises(RuntimeError, match="several values"):
        session.run_with_iobinding(binding)


def test_addresses_that_cannot_be():
    binding = mezzo.InferenceSession(two_layers()).io_binding()
    with pytest.raises(ValueError, match="is 0"):
        binding.bind_input("x", "cpu", 0, np.float32, [1, 2], 0)
    with pytest.raises(ValueError, match="negative"):
        binding.bind_input("x", "cpu", 0, np.float32, [-1, 2], X.ctypes.data)
    with pytest.raises(RuntimeError, match="strings"):
        binding.bind_input("x", "cpu", 0, np.dtype(object), [1], X.ctypes.data)


def test_hooks_see_bound_runs():
    session, seen = mezzo.InferenceSession(two_layers()), []
    binding = session.io_binding()
    binding.bind_cpu_input("x", X)
    binding.bind_output("scores")
    with session.observe("features", lambda name, value: seen.append(value.tolist())):
        session.run_with_iobinding(binding)
    assert seen == [[[1, 0]]]


# ---- the backend


def test_inputs_by_name():
    rep = backend.prepare(models.sums())
    assert rep.run({"y": X, "x": X})[0].tolist() == [[2, -2]]


def test_run_node():
    node = helper.make_node("Clip", ["x", "", "high"], ["y"])
    for inputs in ([X, np.float32(0.5)], {"x": X, "high": np.float32(0.5)}):
        (got,) = backend.run_node(node, inputs)
        assert got.tolist() == [[0.5, -2.0]]


def test_run_node_of_an_older_version():
    node = helper.make_node("Squeeze", ["x"], ["y"], axes=[0])
    (got,) = backend.run_node(node, [X], opset_version=11)
    assert got.tolist() == [1.0, -2.0]
    with pytest.raises(mezzo.InvalidGraph, match="axes"):
        backend.run_node(node, [X], opset_version=13)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of making its cases
def test_onnx_own_tests_drive_it():
    runner = pytest.importorskip("onnx.backend.test")
    tests = runner.BackendTest(backend, __name__).include("^test_(relu|clip_default_min|squeeze|sequence_insert_at_back)_cpu$")
    case = tests.test_cases["OnnxBackendNodeModelTest"]
    names = [
        name for name in dir(case) if name.startswith("test_") and not getattr(getattr(case, name), "__unittest_skip__", False)
    ]
    assert len(names) == 4
    for name in names:
        getattr(case(name), name)()


def test_a_model_object_as_source():
    assert backend.prepare(mezzo.load(two_layers())).run([X])[0].tolist() == [[1, 1]]
    assert backend.prepare(onnx.load_model_from_string(two_layers()), "CPU").run([X])[0].tolist() == [[1, 1]]
