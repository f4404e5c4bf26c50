"""ONNX Runtime's interface: OrtValue and SparseTensor. The same tests pass with onnxruntime itself (MEZZO_PEER)."""

import interface_models as models
import numpy as np
import pytest
from interface_peer import CPU, OrtValue, X, Y, ort, state, sums
from onnx import TensorProto

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
