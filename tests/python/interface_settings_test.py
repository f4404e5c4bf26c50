"""ONNX Runtime's interface: options, profiling and the module. The same tests pass with onnxruntime itself (MEZZO_PEER)."""

import importlib
import json
import os
import pathlib

import interface_models as models
import numpy as np
import onnx
import pytest

ort = importlib.import_module(os.environ.get("MEZZO_PEER", "mezzo"))
state = ort.capi.onnxruntime_pybind11_state

X = np.array([[1, -2]], np.float32)
Y = np.array([[10, 20]], np.float32)


def session(model, options=None, **kwargs):
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"], **kwargs)


@pytest.fixture
def sums():
    return session(models.sums())


# ---- options


def test_defaults_of_session_options():
    options = ort.SessionOptions()
    assert options.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    assert options.execution_mode == ort.ExecutionMode.ORT_SEQUENTIAL
    assert options.execution_order == ort.ExecutionOrder.DEFAULT
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (0, 0)
    assert (options.enable_profiling, options.profile_file_prefix) == (False, "onnxruntime_profile_")
    assert (options.enable_cpu_mem_arena, options.enable_mem_pattern, options.enable_mem_reuse) == (True, True, True)
    assert (options.log_severity_level, options.log_verbosity_level, options.logid) == (-1, 0, "")
    assert (options.use_deterministic_compute, options.use_per_session_threads) == (False, True)
    assert options.optimized_model_filepath == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("intra_op_num_threads", 2),
        ("inter_op_num_threads", 2),
        ("enable_profiling", True),
        ("profile_file_prefix", "mine"),
        ("optimized_model_filepath", "to.onnx"),
        ("enable_cpu_mem_arena", False),
        ("enable_mem_pattern", False),
        ("enable_mem_reuse", False),
        ("log_severity_level", 3),
        ("log_verbosity_level", 1),
        ("logid", "mine"),
        ("use_deterministic_compute", True),
        ("use_per_session_threads", False),
    ],
)
def test_session_options_are_set(name, value):
    options = ort.SessionOptions()
    setattr(options, name, value)
    assert getattr(options, name) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [("intra_op_num_threads", "a"), ("graph_optimization_level", 99), ("execution_mode", 1), ("profile_file_prefix", 3)],
)
def test_values_of_another_type_are_type_errors(name, value):
    with pytest.raises(TypeError):
        setattr(ort.SessionOptions(), name, value)


def test_misspelled_options_are_attribute_errors():
    with pytest.raises(AttributeError):
        ort.SessionOptions().intra_op_threads = 1
    with pytest.raises(AttributeError):
        ort.RunOptions().log_level = 1


@pytest.mark.parametrize(
    "level", ["ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_LAYOUT", "ORT_ENABLE_ALL"]
)
def test_every_level_computes_the_same(level):
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    np.testing.assert_array_equal(session(models.sums(), options).run(["z"], {"x": X, "y": Y})[0], [[11, 20]])


def test_config_entries():
    options, run_options = ort.SessionOptions(), ort.RunOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    assert run_options.get_run_config_entry("memory.enable_memory_arena_shrinkage") == "cpu:0"
    for read in (options.get_session_config_entry, run_options.get_run_config_entry):
        with pytest.raises(RuntimeError, match="does not have configuration with key: none"):
            read("none")
    with pytest.raises(TypeError):
        options.add_session_config_entry("session.intra_op.allow_spinning", 0)


def test_defaults_of_run_options():
    options = ort.RunOptions()
    assert (options.log_severity_level, options.log_verbosity_level, options.logid) == (-1, 0, "")
    assert (options.terminate, options.only_execute_path_to_fetches) == (False, False)


def test_free_dimensions_are_fixed_by_name():
    options = ort.SessionOptions()
    options.add_free_dimension_override_by_name("N", 3)
    made = session(models.sums(), options)
    assert made.get_inputs()[0].shape == [3, 2]
    ones = np.ones((3, 2), np.float32)
    assert made.run(["z"], {"x": ones, "y": ones})[0].shape == (3, 2)
    with pytest.raises(state.InvalidArgument, match="Got: 1"):
        made.run(None, {"x": X, "y": Y})


def test_free_dimensions_are_fixed_by_denotation():
    model = onnx.load_model_from_string(models.sums())
    for graph_input in model.graph.input:
        graph_input.type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    options = ort.SessionOptions()
    options.add_free_dimension_override_by_denotation("DATA_BATCH", 3)
    made = session(model.SerializeToString(), options)
    assert [arg.shape for arg in made.get_inputs()] == [[3, 2], [3, 2]]
    ones = np.ones((3, 2), np.float32)
    assert made.run(["z"], {"x": ones, "y": ones})[0].shape == (3, 2)
    with pytest.raises(state.InvalidArgument, match="Got: 1"):
        made.run(None, {"x": X, "y": Y})


def test_initializers_from_outside():
    value = ort.OrtValue.ortvalue_from_numpy(np.array([5, 6], np.float32))
    options = ort.SessionOptions()
    options.add_initializer("w", value)
    inner = onnx.load_model_from_string(models.with_default())
    del inner.graph.input[1]
    got = session(inner.SerializeToString(), options).run(None, {"x": np.zeros(2, np.float32)})[0]
    np.testing.assert_array_equal(got, [5, 6])


def test_profiling(tmp_path):
    options = ort.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "trace")
    made = session(models.sums(), options, disabled_optimizers=["pointwise"])
    assert made.get_profiling_start_time_ns() > 0
    made.run(None, {"x": X, "y": Y})
    path = made.end_profiling()
    assert pathlib.Path(path).parent == tmp_path
    events = json.loads(pathlib.Path(path).read_text())
    ops = {event["args"].get("op_name") for event in events if event["cat"] == "Node"}
    assert {"Relu", "Add"} <= ops
    assert {"pid", "tid", "ts", "dur", "ph", "name", "args"} <= set(events[-1])


def test_without_profiling(sums):
    assert sums.end_profiling() == ""
    assert sums.get_profiling_start_time_ns() == 0


def test_optimized_model_is_saved(tmp_path):
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "saved.onnx")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session(models.sums(), options)
    np.testing.assert_array_equal(session(tmp_path / "saved.onnx").run(["z"], {"x": X, "y": Y})[0], [[11, 20]])


# ---- the module


def test_enumerations():
    level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    assert (int(level), level.name, level.value, str(level)) == (
        99,
        "ORT_ENABLE_ALL",
        99,
        "GraphOptimizationLevel.ORT_ENABLE_ALL",
    )
    assert [int(item) for item in ort.GraphOptimizationLevel.__members__.values()] == [0, 1, 2, 3, 99]
    assert [int(item) for item in ort.ExecutionMode.__members__.values()] == [0, 1]
    assert ort.OrtMemType.CPU == ort.OrtMemType.CPU_OUTPUT
    assert int(ort.OrtDeviceVendorId.NVIDIA) == 0x10DE


def test_what_the_package_says_of_itself():
    assert ort.get_device() == "CPU"
    assert "CPUExecutionProvider" in ort.get_available_providers()
    assert "CPUExecutionProvider" in ort.get_all_providers()
    assert ort.get_version_string() == ort.__version__
    assert isinstance(ort.get_build_info(), str)
    assert ort.has_collective_ops() is False
    assert [device.ep_name for device in ort.get_ep_devices()] == ["CPUExecutionProvider"]


def test_logging_settings():
    ort.set_default_logger_severity(4)
    ort.set_default_logger_verbosity(0)
    for wrong in (-1, 5):
        with pytest.raises(RuntimeError, match="Invalid logging severity"):
            ort.set_default_logger_severity(wrong)
    for function in (ort.set_default_logger_severity, ort.set_seed):
        with pytest.raises(TypeError):
            function("a")


def test_telemetry_can_be_switched():
    assert ort.disable_telemetry_events() is None
    assert ort.enable_telemetry_events() is None


def test_custom_operators_raise():
    with pytest.raises((state.Fail, state.NotImplemented)):
        ort.SessionOptions().register_custom_ops_library("/no/such/library.so")
    with pytest.raises((state.Fail, state.NotImplemented)):
        ort.register_execution_provider_library("mine", "/no/such/library.so")


@pytest.mark.parametrize(
    "name",
    "Fail InvalidArgument NoSuchFile NoModel EngineError RuntimeException InvalidProtobuf ModelLoaded NotImplemented "
    "InvalidGraph EPFail".split(),
)
def test_exceptions_are_directly_exceptions(name):
    assert getattr(state, name).__bases__ == (Exception,)
