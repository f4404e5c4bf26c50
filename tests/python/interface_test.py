"""ONNX Runtime's interface: running. The same tests pass with onnxruntime itself (MEZZO_PEER=onnxruntime)."""

import importlib
import os
import pathlib
import threading

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


# ---- making sessions


def test_from_a_path_as_str_and_as_pathlib(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(models.sums())
    for source in (str(path), path, pathlib.PurePath(path)):
        made = session(source)
        assert [arg.name for arg in made.get_inputs()] == ["x", "y"]
        assert made._model_path == str(path)  # not public, but read by optimum and others


@pytest.mark.parametrize("source", [None, 3, ["a"], {}])
def test_other_sources_are_type_errors(source):
    with pytest.raises(TypeError, match="Unable to load from type"):
        ort.InferenceSession(source)


def test_a_missing_file():
    with pytest.raises(state.NoSuchFile, match=r"^\[ONNXRuntimeError\] : 3 : NO_SUCHFILE : ") as caught:
        ort.InferenceSession("/no/such/file.onnx")
    assert caught.type.__mro__ == (state.NoSuchFile, Exception, BaseException, object)


def test_bytes_that_are_no_model():
    with pytest.raises(state.InvalidProtobuf, match=r"^\[ONNXRuntimeError\] : 7 : INVALID_PROTOBUF : "):
        ort.InferenceSession(b"abc")


def test_a_graph_that_reads_what_nobody_computes():
    node = onnx.helper.make_node("Relu", ["nothing"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [], [models.info("y", models.FLOAT, [1])])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises((state.InvalidGraph, state.InvalidArgument), match="nothing"):
        ort.InferenceSession(model.SerializeToString())


def test_options_of_another_type():
    with pytest.raises(TypeError):
        ort.InferenceSession(models.sums(), 3)


def test_unknown_keyword_arguments_are_ignored():
    assert session(models.sums(), something=3).get_providers() == ["CPUExecutionProvider"]


def test_arguments_have_the_names_there():
    made = ort.InferenceSession(
        path_or_bytes=models.sums(),
        sess_options=ort.SessionOptions(),
        providers=["CPUExecutionProvider"],
        provider_options=[{}],
    )
    assert made.get_provider_options() == {"CPUExecutionProvider": {}}


@pytest.mark.parametrize("providers", [None, [], ["CPUExecutionProvider"], [("CPUExecutionProvider", {})]])
def test_providers(providers):
    made = ort.InferenceSession(models.sums(), providers=providers)
    assert made.get_providers() == ["CPUExecutionProvider"]
    assert isinstance(made.get_provider_options()["CPUExecutionProvider"], dict)


def test_an_unknown_provider_warns():
    with pytest.warns(UserWarning, match="NoneSuchProvider"):
        made = ort.InferenceSession(models.sums(), providers=["NoneSuchProvider", "CPUExecutionProvider"])
    assert made.get_providers() == ["CPUExecutionProvider"]


def test_set_providers(sums):
    sums.set_providers(["CPUExecutionProvider"])
    assert sums.get_providers() == ["CPUExecutionProvider"]
    np.testing.assert_array_equal(sums.run(["f"], {"x": X, "y": Y})[0], [[1, 0]])


def test_fallback_can_be_switched(sums):
    assert sums.enable_fallback() is None
    assert sums.disable_fallback() is None


# ---- what a session tells


def test_inputs_and_outputs(sums):
    assert [(arg.name, arg.type, arg.shape) for arg in sums.get_inputs()] == [
        ("x", "tensor(float)", ["N", 2]),
        ("y", "tensor(float)", ["N", 2]),
    ]
    assert [arg.name for arg in sums.get_outputs()] == ["z", "f"]


def test_node_args_print_themselves(sums):
    assert str(sums.get_inputs()[0]) == "NodeArg(name='x', type='tensor(float)', shape=['N', 2])"


def test_an_unnamed_extent_is_none():
    value = models.info("x", models.FLOAT, [None, 3])
    model = models.model([onnx.helper.make_node("Relu", ["x"], ["y"])], [value], [models.info("y", models.FLOAT, [None, 3])])
    assert session(model).get_inputs()[0].shape == [None, 3]


def test_types_of_sequences_maps_and_optionals():
    assert [(arg.type, arg.shape) for arg in session(models.pair()).get_outputs()] == [("seq(tensor(float))", [])]
    assert session(models.zipped()).get_outputs()[0].type == "seq(map(string,tensor(float)))"
    assert session(models.has_element()).get_inputs()[0].type == "optional(tensor(float))"


def test_overridable_initializers():
    made = session(models.with_default())
    assert [arg.name for arg in made.get_inputs()] == ["x"]
    assert [(arg.name, arg.type, arg.shape) for arg in made.get_overridable_initializers()] == [("w", "tensor(float)", [2])]
    x = np.zeros(2, np.float32)
    np.testing.assert_array_equal(made.run(None, {"x": x})[0], [1, 2])
    np.testing.assert_array_equal(made.run(None, {"x": x, "w": np.array([5, 6], np.float32)})[0], [5, 6])


def test_model_metadata(sums):
    meta = sums.get_modelmeta()
    assert (meta.producer_name, meta.graph_name, meta.domain, meta.version) == ("tests", "graph", "", 7)
    assert (meta.description, meta.graph_description, meta.custom_metadata_map) == ("about sums", "", {})


def test_metadata_of_ones_own():
    proto = onnx.load_model_from_string(models.sums())
    entry = proto.metadata_props.add()
    entry.key, entry.value = "names", "{0: 'cat'}"
    assert session(proto.SerializeToString()).get_modelmeta().custom_metadata_map == {"names": "{0: 'cat'}"}


def test_a_model_without_a_version():
    assert session(models.with_default()).get_modelmeta().version == 2**63 - 1


def test_session_options_are_kept():
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    assert session(models.sums(), options).get_session_options().intra_op_num_threads == 1


def test_memory_infos(sums):
    infos = sums.get_input_memory_infos()
    assert [(info.name, info.device_id) for info in infos] == [("Cpu", 0), ("Cpu", 0)]
    assert infos[0].mem_type == ort.OrtMemType.DEFAULT
    assert [info.name for info in sums.get_output_memory_infos()] == ["Cpu", "Cpu"]


def test_devices_of_inputs(sums):
    assert [device.ep_name for device in sums.get_input_epdevices()] == ["CPUExecutionProvider"] * 2


def test_assignment_of_nodes_is_told_where_asked_for(sums):
    with pytest.raises(state.Fail, match="session.record_ep_graph_assignment_info"):
        sums.get_provider_graph_assignment_info()
    options = ort.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    parts = session(models.sums(), options).get_provider_graph_assignment_info()
    nodes = [node for part in parts for node in part.get_nodes()]
    assert [(node.name, node.domain, node.op_type) for node in nodes] == [("relu", "", "Relu"), ("add", "", "Add")]
    assert {part.ep_name for part in parts} == {"CPUExecutionProvider"}


def test_tuning_has_no_results(sums):
    assert sums.get_tuning_results() == []
    assert sums.set_tuning_results([]) is None


# ---- running


def test_outputs_in_the_order_asked_for(sums):
    feed = {"x": X, "y": Y}
    z, f = sums.run(None, feed)
    np.testing.assert_array_equal(z, [[11, 20]])
    np.testing.assert_array_equal(f, [[1, 0]])
    for names in (["f", "z"], ("f", "z")):
        got = sums.run(names, feed)
        assert isinstance(got, list)
        np.testing.assert_array_equal(got[0], f)
        np.testing.assert_array_equal(got[1], z)
    assert len(sums.run([], feed)) == 2
    assert len(sums.run(["z", "z"], feed)) == 2


def test_run_takes_its_arguments_by_name(sums):
    got = sums.run(output_names=["f"], input_feed={"x": X, "y": Y}, run_options=ort.RunOptions())
    np.testing.assert_array_equal(got[0], [[1, 0]])


def test_a_missing_input_is_a_value_error(sums):
    with pytest.raises(ValueError, match="y"):
        sums.run(["z"], {"x": X})


def test_a_wrong_type_is_an_invalid_argument(sums):
    with pytest.raises(state.InvalidArgument, match=r"^\[ONNXRuntimeError\] : 2 : INVALID_ARGUMENT : .*x"):
        sums.run(None, {"x": X.astype(np.int64), "y": Y})


def test_a_wrong_rank_is_an_invalid_argument(sums):
    with pytest.raises(state.InvalidArgument, match="x"):
        sums.run(None, {"x": X[0], "y": Y})


def test_a_wrong_extent_is_an_invalid_argument(sums):
    with pytest.raises(state.InvalidArgument, match="x"):
        sums.run(None, {"x": np.zeros((1, 3), np.float32), "y": Y})


def test_an_unknown_output_is_an_invalid_argument(sums):
    with pytest.raises(state.InvalidArgument, match="none_such"):
        sums.run(["none_such"], {"x": X, "y": Y})


def test_an_unknown_input_is_an_invalid_argument(sums):
    with pytest.raises(state.InvalidArgument, match="none_such"):
        sums.run(None, {"x": X, "y": Y, "none_such": X})


def test_a_string_of_output_names_is_a_type_error(sums):
    with pytest.raises(TypeError):
        sums.run("z", {"x": X, "y": Y})


def test_a_feed_that_is_no_dict(sums):
    with pytest.raises((AttributeError, TypeError)):
        sums.run(None, 3)


def test_run_options_of_another_type(sums):
    with pytest.raises(TypeError):
        sums.run(None, {"x": X, "y": Y}, 3)


def test_lists_take_the_models_type(sums):
    got = sums.run(["z"], {"x": [[1, -2]], "y": [[10.0, 20.0]]})[0]
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, [[11, 20]])


def test_arrays_that_are_not_contiguous(sums):
    wide = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.testing.assert_array_equal(sums.run(["f"], {"x": wide[:, ::2], "y": wide[::-1, :2]})[0], [[0, 2], [4, 6]])
    np.testing.assert_array_equal(sums.run(["f"], {"x": wide[:, :2].T, "y": wide[:, :2]})[0], [[0, 4], [1, 5]])


def test_inputs_are_not_changed(sums):
    x = X.copy()
    sums.run(None, {"x": x, "y": Y})
    np.testing.assert_array_equal(x, X)


def test_outputs_are_the_callers(sums):
    first = sums.run(["z"], {"x": X, "y": Y})[0]
    first[:] = 0
    np.testing.assert_array_equal(sums.run(["z"], {"x": X, "y": Y})[0], [[11, 20]])


def test_no_elements(sums):
    empty = np.zeros((0, 2), np.float32)
    assert sums.run(["z"], {"x": empty, "y": empty})[0].shape == (0, 2)


def test_another_shape_each_run(sums):
    for rows in (1, 5, 2):
        ones = np.ones((rows, 2), np.float32)
        np.testing.assert_array_equal(sums.run(["z"], {"x": ones, "y": ones})[0], 2 * ones)


@pytest.mark.parametrize("array", [np.array(["a", "bc"]), np.array(["a", "bc"], object), ["a", "bc"]])
def test_strings(array):
    got = session(models.strings()).run(None, {"x": array})[0]
    assert got.dtype == object
    assert got.tolist() == ["a", "bc"]


@pytest.mark.parametrize(
    "name", ["float16", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"]
)
def test_types_of_arrays(name):
    onnx_type = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(name))
    got = session(models.cast_to(onnx_type)).run(None, {"x": np.array([0, 1, 3], np.float32)})[0]
    np.testing.assert_array_equal(got, np.array([0, 1, 3]).astype(name))
    assert got.dtype == name


def test_sequences_are_lists():
    x = np.array([1, 2], np.float32)
    got = session(models.pair()).run(None, {"x": x})[0]
    assert isinstance(got, list)
    np.testing.assert_array_equal(got, [x, x])
    feed = {"s": [x, x + 1], "i": np.array(1)}
    np.testing.assert_array_equal(session(models.element()).run(None, feed)[0], x + 1)


def test_maps_are_dicts():
    got = session(models.zipped()).run(None, {"x": np.array([[1, 2], [3, 4]], np.float32)})[0]
    assert got == [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}]


def test_optionals():
    made = session(models.has_element())
    assert not made.run(None, {"x": None})[0]
    assert made.run(None, {"x": np.zeros(2, np.float32)})[0]


def test_a_failing_node():
    made = session(models.failing())
    feed = {"x": np.zeros(6, np.float32), "s": np.array([2, 3])}
    assert made.run(None, feed)[0].shape == (2, 3)
    with pytest.raises((state.Fail, state.RuntimeException, state.InvalidGraph), match="Reshape"):
        made.run(None, {**feed, "s": np.array([4, 3])})
    assert made.run(None, feed)[0].shape == (2, 3)


def test_terminate(sums):
    options = ort.RunOptions()
    options.terminate = True
    with pytest.raises(state.Fail, match="terminate"):
        sums.run(None, {"x": X, "y": Y}, options)
    options.terminate = False
    assert len(sums.run(None, {"x": X, "y": Y}, options)) == 2


def test_one_session_in_many_threads(sums):
    def work(i, results):
        x = np.full((3, 2), i, np.float32)
        results[i] = all((sums.run(["z"], {"x": x, "y": x})[0] == 2 * i).all() for _ in range(20))

    results = [None] * 8
    threads = [threading.Thread(target=work, args=(i, results)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 8


def test_run_async(sums):
    done, got = threading.Event(), []

    def callback(results, user_data, error):
        got.append((results, user_data, error))
        done.set()

    sums.run_async(["f"], {"x": X, "y": Y}, callback, "mine")
    assert done.wait(10)
    results, user_data, error = got[0]
    np.testing.assert_array_equal(results[0], [[1, 0]])
    assert (user_data, error) == ("mine", "")


def test_seed_makes_random_numbers_repeat():
    def draw():
        ort.set_seed(7)
        made = session(models.random_numbers())
        return made.run(None, {})[0], made.run(None, {})[0]

    first, second = draw(), draw()
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert (first[0] != first[1]).any()
    ort.set_seed(8)
    assert (session(models.random_numbers()).run(None, {})[0] != first[0]).any()
