"""ONNX Runtime's interface: OrtValue, IOBinding and SparseTensor. The same tests pass with onnxruntime itself (MEZZO_PEER)."""

import importlib
import os

import interface_models as models
import numpy as np
import pytest
from onnx import TensorProto

ort = importlib.import_module(os.environ.get("MEZZO_PEER", "mezzo"))
state = ort.capi.onnxruntime_pybind11_state
OrtValue = ort.OrtValue

X = np.array([[1, -2]], np.float32)
Y = np.array([[10, 20]], np.float32)
CPU = ["CPUExecutionProvider"]


@pytest.fixture
def sums():
    return ort.InferenceSession(models.sums(), providers=CPU)


@pytest.fixture
def binding(sums):
    """Of both inputs to fresh arrays."""
    made = sums.io_binding()
    made.bind_cpu_input("x", X)
    made.bind_cpu_input("y", Y)
    return made


# ---- OrtValue


def test_a_value_of_an_array_is_that_array():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    value = OrtValue.ortvalue_from_numpy(array)
    assert value.data_ptr() == array.ctypes.data
    assert np.shares_memory(value.numpy(), array)
    assert value.numpy().flags.writeable
    array[0, 0] = 9
    assert value.numpy()[0, 0] == 9


def test_what_a_value_tells():
    value = OrtValue.ortvalue_from_numpy(np.zeros((2, 3), np.float32))
    assert (value.shape(), value.data_type(), value.element_type()) == ([2, 3], "tensor(float)", TensorProto.FLOAT)
    assert (value.device_name(), value.tensor_size_in_bytes()) == ("cpu", 24)
    assert (value.is_tensor(), value.is_tensor_sequence(), value.is_sparse_tensor(), value.has_value()) == (
        True,
        False,
        False,
        True,
    )


@pytest.mark.parametrize(
    ("name", "onnx_name", "number"),
    [
        ("float16", "float16", TensorProto.FLOAT16),
        ("float64", "double", TensorProto.DOUBLE),
        ("int8", "int8", TensorProto.INT8),
        ("uint8", "uint8", TensorProto.UINT8),
        ("int16", "int16", TensorProto.INT16),
        ("uint16", "uint16", TensorProto.UINT16),
        ("int32", "int32", TensorProto.INT32),
        ("uint32", "uint32", TensorProto.UINT32),
        ("int64", "int64", TensorProto.INT64),
        ("uint64", "uint64", TensorProto.UINT64),
        ("bool", "bool", TensorProto.BOOL),
    ],
)
def test_types_of_values(name, onnx_name, number):
    for value in (
        OrtValue.ortvalue_from_numpy(np.zeros(3, name)),
        OrtValue.ortvalue_from_shape_and_type([3], np.dtype(name)),
        OrtValue.ortvalue_from_shape_and_type([3], number),
    ):
        assert (value.data_type(), value.element_type()) == (f"tensor({onnx_name})", number)
        assert value.numpy().dtype == name
        assert value.tensor_size_in_bytes() == 3 * np.dtype(name).itemsize


def test_arrays_that_are_not_contiguous_are_copied():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    value = OrtValue.ortvalue_from_numpy(array.T)
    np.testing.assert_array_equal(value.numpy(), array.T)
    assert value.shape() == [3, 2]


def test_scalars_keep_their_rank():
    assert OrtValue.ortvalue_from_numpy(np.array(2.0)).shape() == []


@pytest.mark.parametrize("wrong", [[1.0], np.float32(1), np.array(["2020-01-01"], "M8[D]")])
def test_what_is_no_array_of_numbers(wrong):
    with pytest.raises(RuntimeError):
        OrtValue.ortvalue_from_numpy(wrong)


def test_new_memory():
    value = OrtValue.ortvalue_from_shape_and_type((3, 2), np.int64, "cpu", 0)
    value.numpy()[:] = 7
    assert value.numpy().tolist() == [[7, 7]] * 3
    assert OrtValue.ortvalue_from_shape_and_type([1], TensorProto.BFLOAT16).data_type() == "tensor(bfloat16)"


def test_memory_that_cannot_be():
    with pytest.raises(RuntimeError):
        OrtValue.ortvalue_from_shape_and_type([-1, 2], np.float32)
    with pytest.raises(RuntimeError):
        OrtValue.ortvalue_from_shape_and_type([2**40, 2**40], np.float32)
    with pytest.raises(TypeError):
        OrtValue.ortvalue_from_shape_and_type(3, np.float32)
    for element_type in (0, 99, TensorProto.STRING, np.str_):
        with pytest.raises(RuntimeError):
            OrtValue.ortvalue_from_shape_and_type([2], element_type)


@pytest.mark.parametrize(("device", "error"), [("cuda", RuntimeError), ("none_such", Exception)])
def test_other_devices(device, error):
    with pytest.raises(error):
        OrtValue.ortvalue_from_numpy(X, device, 0)
    with pytest.raises(error):
        OrtValue.ortvalue_from_shape_and_type([2], np.float32, device, 0)


def test_memory_read_as_another_type():
    value = OrtValue.ortvalue_from_numpy_with_onnx_type(np.array([0x3F80, 0x4000], np.uint16), TensorProto.BFLOAT16)
    assert (value.data_type(), value.element_type(), value.shape()) == ("tensor(bfloat16)", TensorProto.BFLOAT16, [2])
    with pytest.raises(RuntimeError, match="Items size"):
        OrtValue.ortvalue_from_numpy_with_onnx_type(np.zeros(2, np.uint8), TensorProto.BFLOAT16)
    with pytest.raises(RuntimeError):
        OrtValue.ortvalue_from_numpy_with_onnx_type(np.zeros(2, np.uint8), 999)


def test_values_are_made_by_methods():
    with pytest.raises(ValueError, match="Provided ortvalue"):
        OrtValue(3)


def test_update_inplace():
    value = OrtValue.ortvalue_from_shape_and_type([2, 3], np.float32)
    address, array = value.data_ptr(), np.arange(6, dtype=np.float32).reshape(2, 3)
    value.update_inplace(array)
    np.testing.assert_array_equal(value.numpy(), array)
    value.update_inplace(array.reshape(3, 2).T.copy().T.reshape(2, 3))
    value.update_inplace(OrtValue.ortvalue_from_numpy(array + 5))
    np.testing.assert_array_equal(value.numpy(), array + 5)
    assert value.data_ptr() == address


def test_update_inplace_writes_the_array_that_was_given():
    array = np.zeros(3, np.float32)
    OrtValue.ortvalue_from_numpy(array).update_inplace(np.ones(3, np.float32))
    assert array.tolist() == [1, 1, 1]


def test_update_inplace_of_another_size():
    value = OrtValue.ortvalue_from_shape_and_type([2, 3], np.float32)
    for wrong in (np.zeros((3, 3), np.float32), np.zeros((1, 3), np.float32), OrtValue.ortvalue_from_numpy(X)):
        with pytest.raises(RuntimeError):
            value.update_inplace(wrong)
    with pytest.raises(RuntimeError, match="same data type"):
        value.update_inplace(OrtValue.ortvalue_from_numpy(np.zeros((2, 3), np.int32)))
    with pytest.raises(TypeError):
        value.update_inplace([1])


def test_numpy_takes_values():
    array = np.arange(3, dtype=np.float32)
    value = OrtValue.ortvalue_from_numpy(array)
    assert np.shares_memory(np.asarray(value), array)
    assert not np.shares_memory(np.array(value), array)
    assert np.asarray(value, dtype=np.float64).dtype == np.float64
    np.testing.assert_array_equal(np.add(value, 1), array + 1)


def test_dlpack_out():
    array = np.arange(3, dtype=np.float32)
    value = OrtValue.ortvalue_from_numpy(array)
    assert value.__dlpack_device__() == (1, 0)
    assert np.shares_memory(np.from_dlpack(value), array)


def test_dlpack_in():
    array = np.arange(3, dtype=np.float32)
    for source in (array, array.__dlpack__(), OrtValue.ortvalue_from_numpy(array)):
        value = OrtValue.from_dlpack(source)
        assert value.data_ptr() == array.ctypes.data
        np.testing.assert_array_equal(value.numpy(), array)
    assert OrtValue.from_dlpack(np.array([True])).data_type() == "tensor(bool)"
    with pytest.raises(TypeError, match="DLPack capsule"):
        OrtValue.from_dlpack(3)
    with pytest.raises(RuntimeError):
        OrtValue.from_dlpack(array.reshape(1, 3).repeat(2, 0).T)


def test_dlpack_of_bfloat16():
    value = OrtValue.ortvalue_from_numpy_with_onnx_type(np.array([0x3F80], np.uint16), TensorProto.BFLOAT16)
    assert OrtValue.from_dlpack(value).data_type() == "tensor(bfloat16)"


def test_what_lies_at_an_address_lives_as_long_as_the_value():
    value = OrtValue.from_dlpack(np.full(10000, 3.0))
    assert value.numpy().sum() == 30000


# ---- running with values


def test_run_with_ort_values(sums):
    feed = {"x": OrtValue.ortvalue_from_numpy(X), "y": OrtValue.ortvalue_from_numpy(Y)}
    (z,) = sums.run_with_ort_values(["z"], feed)
    assert isinstance(z, OrtValue)
    np.testing.assert_array_equal(z.numpy(), [[11, 20]])
    assert [value.shape() for value in sums.run_with_ort_values(None, feed)] == [[1, 2]] * 2
    assert len(sums.run_with_ort_values([], feed, ort.RunOptions())) == 2


def test_run_with_ort_values_takes_its_arguments_by_name(sums):
    feed = {"x": OrtValue.ortvalue_from_numpy(X), "y": OrtValue.ortvalue_from_numpy(Y)}
    assert len(sums.run_with_ort_values(output_names=["f"], input_dict_ort_values=feed, run_options=None)) == 1


def test_errors_of_run_with_ort_values(sums):
    x, y = OrtValue.ortvalue_from_numpy(X), OrtValue.ortvalue_from_numpy(Y)
    with pytest.raises(ValueError, match="y"):
        sums.run_with_ort_values(["z"], {"x": x})
    with pytest.raises(state.InvalidArgument, match="none_such"):
        sums.run_with_ort_values(["none_such"], {"x": x, "y": y})
    with pytest.raises(state.InvalidArgument, match="double|float64"):
        sums.run_with_ort_values(["z"], {"x": OrtValue.ortvalue_from_numpy(X.astype(np.float64)), "y": y})
    with pytest.raises(AttributeError):
        sums.run_with_ort_values(["z"], {"x": X, "y": Y})


def test_run_takes_values_among_arrays(sums):
    np.testing.assert_array_equal(sums.run(["z"], {"x": OrtValue.ortvalue_from_numpy(X), "y": Y})[0], [[11, 20]])


def test_values_of_sequences():
    x = np.array([1, 2], np.float32)
    (value,) = ort.InferenceSession(models.pair(), providers=CPU).run_with_ort_values(
        None, {"x": OrtValue.ortvalue_from_numpy(x)}
    )
    assert (value.is_tensor(), value.is_tensor_sequence(), value.has_value()) == (False, True, True)
    assert (value.data_type(), value.element_type()) == ("seq(tensor(float))", TensorProto.FLOAT)
    for method in (value.numpy, value.shape, value.data_ptr, value.tensor_size_in_bytes, value.device_name, value.__dlpack__):
        with pytest.raises(RuntimeError):
            method()
    index = OrtValue.ortvalue_from_numpy(np.array(1))
    element = ort.InferenceSession(models.element(), providers=CPU)
    np.testing.assert_array_equal(element.run_with_ort_values(None, {"s": value, "i": index})[0].numpy(), x)
    np.testing.assert_array_equal(element.run(None, {"s": value, "i": np.array(0)})[0], x)


def test_values_of_maps():
    x = OrtValue.ortvalue_from_numpy(np.ones((1, 2), np.float32))
    (value,) = ort.InferenceSession(models.zipped(), providers=CPU).run_with_ort_values(None, {"x": x})
    assert value.data_type() == "seq(map(string,tensor(float)))"
    assert (value.is_tensor(), value.is_tensor_sequence(), value.has_value()) == (False, False, True)
    with pytest.raises(RuntimeError):
        value.element_type()


def test_ortvalue_vectors(sums):
    feeds, fetches = state.OrtValueVector(), state.OrtValueVector()
    for array in (X, Y):
        feeds.push_back(OrtValue.ortvalue_from_numpy(array)._ortvalue)
    device = ort.OrtDevice.make("cpu", 0)._get_c_device()
    assert sums.run_with_ortvaluevector(ort.RunOptions(), ["x", "y"], feeds, ["z"], fetches, [device]) is None
    assert len(fetches) == 1
    np.testing.assert_array_equal(fetches[0].numpy(), [[11, 20]])
    assert fetches.element_type_at(0) == TensorProto.FLOAT
    assert [value.shape() for value in feeds] == [[1, 2], [1, 2]]
    with pytest.raises(IndexError):
        fetches[1]
    with pytest.raises(state.InvalidArgument, match="feed names has 1 elements, but feed has 2"):
        sums.run_with_ortvaluevector(ort.RunOptions(), ["x"], feeds, ["z"], fetches, [device])


def test_memory_of_a_session(sums):
    assert sums.create_ortvalue_from_shape_and_type([2], np.float32, "cpu").shape() == [2]
    assert sums.create_ortvalue_from_shape_and_type([2], TensorProto.INT64, "cpu").data_type() == "tensor(int64)"
    with pytest.raises(RuntimeError):
        sums.create_ortvalue_from_shape_and_type([2], np.float32, "cuda")


# ---- binding


def test_bound_arrays(sums, binding):
    binding.bind_output("f")
    binding.bind_output("z")
    assert sums.run_with_iobinding(binding) is None
    f, z = binding.copy_outputs_to_cpu()
    np.testing.assert_array_equal(f, [[1, 0]])
    np.testing.assert_array_equal(z, [[11, 20]])
    assert [value.data_type() for value in binding.get_outputs()] == ["tensor(float)"] * 2
    assert len(binding.get_outputs_as_ortvaluevector()) == 2


def test_contents_of_bound_arrays_may_change(sums):
    y = Y.copy()
    binding = sums.io_binding()
    binding.bind_cpu_input("x", X)
    binding.bind_cpu_input("y", y)
    binding.bind_output("z")
    sums.run_with_iobinding(binding)
    before = binding.copy_outputs_to_cpu()[0]
    y[:] = 100
    sums.run_with_iobinding(binding, ort.RunOptions())
    np.testing.assert_array_equal(binding.copy_outputs_to_cpu()[0], [[101, 100]])
    np.testing.assert_array_equal(before, [[11, 20]])


def test_bound_addresses(sums):
    x, y, out = X.copy(), Y.copy(), np.zeros((1, 2), np.float32)
    binding = sums.io_binding()
    binding.bind_input("x", "cpu", 0, np.float32, x.shape, x.ctypes.data)
    binding.bind_input(
        name="y", device_type="cpu", device_id=0, element_type=TensorProto.FLOAT, shape=[1, 2], buffer_ptr=y.ctypes.data
    )
    binding.bind_output("z", "cpu", 0, np.float32, out.shape, out.ctypes.data)
    sums.run_with_iobinding(binding)
    np.testing.assert_array_equal(out, [[11, 20]])
    x[:] = 5
    sums.run_with_iobinding(binding)
    np.testing.assert_array_equal(out, [[15, 25]])
    assert binding.get_outputs()[0].data_ptr() == out.ctypes.data


def test_bound_values(sums, binding):
    out = OrtValue.ortvalue_from_shape_and_type([1, 2], np.float32)
    binding.bind_ortvalue_input("x", OrtValue.ortvalue_from_numpy(X + 1))
    binding.bind_ortvalue_output("z", out)
    sums.run_with_iobinding(binding)
    np.testing.assert_array_equal(out.numpy(), [[12, 20]])
    assert binding.get_outputs()[0].data_ptr() == out.data_ptr()


def test_an_output_may_be_the_next_input(sums):
    cell = OrtValue.ortvalue_from_numpy(np.zeros((1, 2), np.float32))
    binding = sums.io_binding()
    binding.bind_cpu_input("x", np.ones((1, 2), np.float32))
    binding.bind_ortvalue_input("y", cell)
    binding.bind_ortvalue_output("z", cell)
    for _ in range(3):
        sums.run_with_iobinding(binding)
    np.testing.assert_array_equal(cell.numpy(), [[3, 3]])


def test_binding_an_output_again_keeps_its_place(sums, binding):
    binding.bind_output("f")
    binding.bind_output("z")
    binding.bind_output("f")
    sums.run_with_iobinding(binding)
    np.testing.assert_array_equal(binding.copy_outputs_to_cpu()[0], [[1, 0]])


def test_clearing(sums, binding):
    binding.bind_output("z")
    sums.run_with_iobinding(binding)
    binding.clear_binding_outputs()
    assert binding.get_outputs() == []
    with pytest.raises(RuntimeError, match="At least one output should be requested"):
        sums.run_with_iobinding(binding)
    binding.bind_output("z")
    binding.clear_binding_inputs()
    with pytest.raises(RuntimeError, match="Error in execution"):
        sums.run_with_iobinding(binding)


def test_synchronizing(binding):
    assert binding.synchronize_inputs() is None
    assert binding.synchronize_outputs() is None


def test_sequences_in_bindings():
    pair = ort.InferenceSession(models.pair(), providers=CPU)
    binding = pair.io_binding()
    binding.bind_cpu_input("x", np.ones(2, np.float32))
    binding.bind_output("s")
    pair.run_with_iobinding(binding)
    assert [array.tolist() for array in binding.copy_outputs_to_cpu()[0]] == [[1, 1], [1, 1]]
    element = ort.InferenceSession(models.element(), providers=CPU)
    with pytest.raises(RuntimeError):
        element.io_binding().bind_cpu_input("s", [np.ones(2, np.float32)])
    bound = element.io_binding()
    bound.bind_ortvalue_input("s", binding.get_outputs()[0])
    bound.bind_cpu_input("i", np.array(0))
    bound.bind_output("y")
    element.run_with_iobinding(bound)
    assert bound.copy_outputs_to_cpu()[0].tolist() == [1, 1]


def test_names_that_bindings_do_not_know(sums, binding):
    with pytest.raises(RuntimeError, match="Failed to find NodeArg with name: none_such"):
        binding.bind_cpu_input("none_such", X)
    with pytest.raises(RuntimeError, match="none_such"):
        binding.bind_input("none_such", "cpu", 0, np.float32, X.shape, X.ctypes.data)
    with pytest.raises(RuntimeError, match="none_such"):
        binding.bind_ortvalue_input("none_such", OrtValue.ortvalue_from_numpy(X))
    binding.bind_output("none_such")
    with pytest.raises(RuntimeError, match="Error in execution: .*none_such"):
        sums.run_with_iobinding(binding)


def test_what_cannot_be_bound(binding):
    with pytest.raises(RuntimeError, match="Unable to create OrtValue"):
        binding.bind_cpu_input("x", [[1.0, 2.0]])
    with pytest.raises(AttributeError):
        binding.bind_ortvalue_input("x", X)
    with pytest.raises(AttributeError):
        binding.bind_ortvalue_output("z", X)
    with pytest.raises(ValueError, match="`element_type` and `shape` are to be provided"):
        binding.bind_output("z", "cpu", 0, buffer_ptr=X.ctypes.data)
    with pytest.raises(Exception, match="Unsupported device type: none_such"):
        binding.bind_output("z", "none_such")


def test_an_output_of_another_shape_or_type(sums, binding):
    for wrong in (np.zeros((4, 2), np.float32), np.zeros((1, 2), np.float64)):
        binding.clear_binding_outputs()
        binding.bind_ortvalue_output("z", OrtValue.ortvalue_from_numpy(wrong))
        with pytest.raises(RuntimeError, match="Error in execution: .*(shape|type)"):
            sums.run_with_iobinding(binding)
        assert not wrong.any()


def test_a_bound_input_of_another_type(sums, binding):
    binding.bind_cpu_input("x", X.astype(np.float64))
    binding.bind_output("z")
    with pytest.raises(RuntimeError, match="Error in execution: .*(double|float64)"):
        sums.run_with_iobinding(binding)


def test_terminate_ends_bound_runs(sums, binding):
    binding.bind_output("z")
    options = ort.RunOptions()
    options.terminate = True
    with pytest.raises(RuntimeError, match="Error in execution: .*terminate"):
        sums.run_with_iobinding(binding, options)


def test_bindings_belong_to_their_session(binding):
    other = ort.InferenceSession(models.sums(), providers=CPU)
    with pytest.raises(ValueError, match="IOBinding must be used with the session that created it"):
        other.run_with_iobinding(binding)
    assert isinstance(ort.IOBinding(other), ort.IOBinding)


# ---- devices and memory


@pytest.mark.parametrize(
    ("name", "kind", "vendor"), [("cpu", 0, 0), ("cuda", 1, 0x10DE), ("dml", 1, 0x1414), ("npu", 3, 0), ("gpu", 1, 0)]
)
def test_devices(name, kind, vendor):
    device = ort.OrtDevice.make(name, 1)
    assert (device.device_type(), device.device_id(), device.device_vendor_id(), device.device_mem_type()) == (
        kind,
        1,
        vendor,
        0,
    )


def test_devices_that_are_not():
    with pytest.raises(Exception, match="Unsupported device type: none_such"):
        ort.OrtDevice.make("none_such", 0)
    with pytest.raises(ValueError):
        ort.OrtDevice(3)
    assert ort.OrtDevice.make("gpu", 0, ort.OrtDeviceVendorId.NVIDIA).device_vendor_id() == 0x10DE
    assert [state.OrtDevice.cpu(), state.OrtDevice.cuda(), state.OrtDevice.dml(), state.OrtDevice.npu()] == [0, 1, 4, 3]


def test_memory_infos():
    info = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    assert (info.name, info.device_id, info.allocator_type) == ("Cpu", 0, ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR)
    with pytest.raises(RuntimeError, match="not supported"):
        ort.OrtMemoryInfo("none_such", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    settings = ort.OrtArenaCfg({"max_mem": 5})
    assert (settings.max_mem, settings.arena_extend_strategy) == (5, -1)
    assert ort.OrtArenaCfg(0, 1, 2, 3).max_dead_bytes_per_chunk == 3
    assert ort.create_and_register_allocator(info, settings) is None


# ---- sparse tensors


def test_coo():
    device = ort.OrtDevice.make("cpu", 0)
    values, indices = np.array([1, 2], np.float32), np.array([1, 5], np.int64)
    sparse = ort.SparseTensor.sparse_coo_from_numpy(np.array([3, 3], np.int64), values, indices, device)
    assert sparse.format() == ort.OrtSparseFormat.ORT_SPARSE_COO
    assert (list(sparse.dense_shape()), sparse.data_type(), sparse.device_name()) == ([3, 3], "sparse_tensor(float)", "cpu")
    np.testing.assert_array_equal(sparse.values(), values)
    np.testing.assert_array_equal(sparse.as_coo_view().indices(), indices)
    for wrong in (sparse.as_csrc_view, sparse.as_blocksparse_view):
        with pytest.raises(RuntimeError, match="does not contain"):
            wrong()
    with pytest.raises(RuntimeError):
        sparse.to_cuda(device)


def test_csr():
    device = ort.OrtDevice.make("cpu", 0)
    inner, outer = np.array([1, 1], np.int64), np.array([0, 1, 1, 2], np.int64)
    sparse = ort.SparseTensor.sparse_csr_from_numpy([3, 3], np.array([1, 2], np.float32), inner, outer, device)
    assert sparse.format() == ort.OrtSparseFormat.ORT_SPARSE_CSRC
    np.testing.assert_array_equal(sparse.as_csrc_view().inner(), inner)
    np.testing.assert_array_equal(sparse.as_csrc_view().outer(), outer)
    with pytest.raises(RuntimeError, match="COO"):
        sparse.as_coo_view()


def test_indices_that_do_not_fit():
    device, values = ort.OrtDevice.make("cpu", 0), np.array([1, 2], np.float32)
    for indices in ([1, 2, 3], [1]):
        with pytest.raises(RuntimeError):
            ort.SparseTensor.sparse_coo_from_numpy([3, 3], values, np.array(indices, np.int64), device)
    for shape, inner, outer in (([3, 3], [1, 1], [0, 1, 2]), ([3, 3], [1], [0, 1, 1, 2]), ([3], [1, 1], [0, 1, 1, 2])):
        with pytest.raises(RuntimeError):
            ort.SparseTensor.sparse_csr_from_numpy(shape, values, np.array(inner, np.int64), np.array(outer, np.int64), device)


def test_sparse_values():
    sparse = ort.SparseTensor.sparse_coo_from_numpy(
        [3, 3], np.array([1, 2], np.float32), np.array([1, 5], np.int64), ort.OrtDevice.make("cpu", 0)
    )
    value = OrtValue.ort_value_from_sparse_tensor(sparse)
    assert (value.is_tensor(), value.is_sparse_tensor(), value.data_type()) == (False, True, "sparse_tensor(float)")
    assert (value.shape(), value.element_type()) == ([3, 3], TensorProto.FLOAT)
    np.testing.assert_array_equal(value.as_sparse_tensor().values(), [1, 2])
    for method in (value.numpy, value.data_ptr, value.tensor_size_in_bytes):
        with pytest.raises(RuntimeError):
            method()
    with pytest.raises(RuntimeError, match="does not contain SparseTensor"):
        OrtValue.ortvalue_from_numpy(X).as_sparse_tensor()
