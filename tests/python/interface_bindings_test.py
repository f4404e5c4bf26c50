"""ONNX Runtime's interface: IOBinding, devices and memory. The same tests pass with onnxruntime itself (MEZZO_PEER)."""

import interface_models as models
import numpy as np
import pytest
from interface_peer import CPU, OrtValue, X, Y, ort, state, sums
from onnx import TensorProto


@pytest.fixture
def binding(sums):
    """Of both inputs to fresh arrays."""
    made = sums.io_binding()
    made.bind_cpu_input("x", X)
    made.bind_cpu_input("y", Y)
    return made


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
