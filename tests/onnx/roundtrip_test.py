"""Models that the onnx package made, read and written by mezzo, and read by the onnx package again: they must be equal.

Needs roundtrip_main, the program built from roundtrip_main.cc, in the folder $MEZZO_TEST_PROGRAMS.

Equal is: the same fields with the same values, but that tensors may be stored in another encoding (they are compared as arrays), and that
an empty string, zero or type which the format gives no meaning may be left out or written.
"""

import os
import pathlib
import subprocess

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("MEZZO_SHARED", ROOT.parent / "shared")) / "models"
PROGRAM = pathlib.Path(os.environ.get("MEZZO_TEST_PROGRAMS", "")) / "roundtrip_main"

pytestmark = pytest.mark.skipif(not PROGRAM.is_file(), reason="no roundtrip_main in $MEZZO_TEST_PROGRAMS")


def plain(message):
    """A message as nested tuples and lists that compare as the docstring above says."""
    if isinstance(message, TensorProto):
        return plain_tensor(message)
    fields = {}
    for field, value in message.ListFields():
        if field.is_repeated:
            fields[field.name] = [plain(item) if field.message_type else item for item in value]
        elif field.message_type:
            content = plain(value)
            if content or not isinstance(value, onnx.TypeProto):
                fields[field.name] = content
        elif field.type == field.TYPE_FLOAT:
            fields[field.name] = np.float32(value).tobytes()
        elif value or not isinstance(value, (str, int)) or (isinstance(message, AttributeProto) and field.name in "fis"):
            fields[field.name] = value
    # A oneof's 0 has a meaning: no extent, and an extent of 0, are not the same.
    if isinstance(message, onnx.TensorShapeProto.Dimension):
        fields["which"] = message.WhichOneof("value") if message.dim_param or message.HasField("dim_value") else None
    return fields


def plain_tensor(tensor):
    array = numpy_helper.to_array(tensor)
    if tensor.data_type == TensorProto.STRING:
        content = [bytes(item) for item in tensor.string_data]
    else:
        content = np.ascontiguousarray(array).tobytes()
    return {
        "name": tensor.name,
        "data_type": tensor.data_type,
        "dims": list(tensor.dims),
        "content": content,
        "doc_string": tensor.doc_string,
        "metadata_props": [plain(entry) for entry in tensor.metadata_props],
    }


def written(path, tmp_path, limit=None):
    """The model at `path` as mezzo writes it."""
    out = tmp_path / "written.onnx"
    arguments = [str(PROGRAM), str(path), str(out)] + ([str(limit)] if limit is not None else [])
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return onnx.load(out)


def check(model, tmp_path):
    path = tmp_path / "original.onnx"
    onnx.save(model, path)
    assert plain(written(path, tmp_path)) == plain(model)


def model_of(graph, **fields):
    return helper.make_model(graph, **{"opset_imports": [helper.make_opsetid("", 23)], **fields})


def model_with(initializers=(), nodes=(), **fields):
    return model_of(helper.make_graph(list(nodes), "g", [], [], list(initializers)), **fields)


NUMBERS = {
    TensorProto.FLOAT: np.float32,
    TensorProto.UINT8: np.uint8,
    TensorProto.INT8: np.int8,
    TensorProto.UINT16: np.uint16,
    TensorProto.INT16: np.int16,
    TensorProto.INT32: np.int32,
    TensorProto.INT64: np.int64,
    TensorProto.BOOL: np.bool_,
    TensorProto.FLOAT16: np.float16,
    TensorProto.DOUBLE: np.float64,
    TensorProto.UINT32: np.uint32,
    TensorProto.UINT64: np.uint64,
    TensorProto.COMPLEX64: np.complex64,
    TensorProto.COMPLEX128: np.complex128,
    TensorProto.BFLOAT16: ml_dtypes.bfloat16,
    TensorProto.FLOAT8E4M3FN: ml_dtypes.float8_e4m3fn,
    TensorProto.FLOAT8E4M3FNUZ: ml_dtypes.float8_e4m3fnuz,
    TensorProto.FLOAT8E5M2: ml_dtypes.float8_e5m2,
    TensorProto.FLOAT8E5M2FNUZ: ml_dtypes.float8_e5m2fnuz,
    TensorProto.FLOAT8E8M0: ml_dtypes.float8_e8m0fnu,
    TensorProto.UINT4: ml_dtypes.uint4,
    TensorProto.INT4: ml_dtypes.int4,
    TensorProto.UINT2: ml_dtypes.uint2,
    TensorProto.INT2: ml_dtypes.int2,
    TensorProto.FLOAT4E2M1: ml_dtypes.float4_e2m1fn,
    TensorProto.FLOAT6E2M3: ml_dtypes.float6_e2m3fn,
    TensorProto.FLOAT6E3M2: ml_dtypes.float6_e3m2fn,
}


def numbers(data_type, shape):
    """Every sign, size and parity that the type has, in some order."""
    dtype = np.dtype(NUMBERS[data_type])
    rng = np.random.default_rng(data_type)
    if data_type == TensorProto.BOOL:
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind == "c":
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
    return (rng.normal(size=shape) * 4).astype(dtype)


@pytest.mark.parametrize("data_type", NUMBERS, ids=TensorProto.DataType.Name)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (3, 5), (2, 0, 3), (40, 33)], ids=str)
def test_numbers(data_type, shape, tmp_path):
    array = numbers(data_type, shape)
    tensors = [
        numpy_helper.from_array(array, "raw"),
        helper.make_tensor("typed", data_type, shape, array.flatten()),
        helper.make_tensor("raw_made", data_type, shape, packed_bytes(array, data_type), raw=True),
    ]
    check(model_with(tensors), tmp_path)


def packed_bytes(array, data_type):
    return numpy_helper.from_array(array).raw_data if array.size else b""


def test_every_type_is_covered():
    assert {*NUMBERS, TensorProto.STRING, TensorProto.UNDEFINED} == set(TensorProto.DataType.values())


def test_strings(tmp_path):
    texts = ["", "a", "größer", "x" * 2000, "\0"]
    check(model_with([helper.make_tensor("s", TensorProto.STRING, [5], [text.encode() for text in texts])]), tmp_path)


def test_unpacked_numbers(tmp_path):
    """Repeated numbers may stand one by one although onnx.proto says packed."""
    body = b"".join(b"\x25" + np.float32(value).tobytes() for value in (1.5, -2))
    header = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.5, -2])
    want = model_with([header])
    header.ClearField("float_data")
    tensor = header.SerializeToString() + body
    graph = b"\x12\x01g" + b"\x2a" + bytes([len(tensor)]) + tensor
    del want.graph.initializer[:]
    want.ClearField("graph")
    path = tmp_path / "unpacked.onnx"
    path.write_bytes(want.SerializeToString() + b"\x3a" + bytes([len(graph)]) + graph)
    model = onnx.load(path)
    assert list(model.graph.initializer[0].float_data) == [1.5, -2]
    assert plain(written(path, tmp_path)) == plain(model)


def body_graph(name, *nodes):
    return helper.make_graph(
        list(nodes) or [helper.make_node("Identity", ["outer"], ["y"])],
        name,
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.arange(5, dtype=np.float32), "inner")],
    )


def sparse(name, dims=(3, 4)):
    return helper.make_sparse_tensor(
        numpy_helper.from_array(np.array([1.5, -2], np.float32), name),
        numpy_helper.from_array(np.array([1, 7], np.int64), ""),
        list(dims),
    )


ATTRIBUTES = {
    "float": (AttributeProto.FLOAT, -0.1),
    "float_zero": (AttributeProto.FLOAT, 0.0),
    "float_negative_zero": (AttributeProto.FLOAT, -0.0),
    "float_infinity": (AttributeProto.FLOAT, float("-inf")),
    "int": (AttributeProto.INT, -(2**62)),
    "int_zero": (AttributeProto.INT, 0),
    "string": (AttributeProto.STRING, "größer"),
    "string_empty": (AttributeProto.STRING, ""),
    "string_bytes": (AttributeProto.STRING, b"\xff\x00\x80"),
    "string_long": (AttributeProto.STRING, "y" * 3000),
    "tensor": (AttributeProto.TENSOR, helper.make_tensor("t", TensorProto.INT32, [2], [1, -1])),
    "graph": (AttributeProto.GRAPH, body_graph("body")),
    "floats": (AttributeProto.FLOATS, [1.0, -2.5, float("inf")]),
    "floats_none": (AttributeProto.FLOATS, []),
    "ints": (AttributeProto.INTS, [0, -1, 2**63 - 1]),
    "ints_none": (AttributeProto.INTS, []),
    "strings": (AttributeProto.STRINGS, ["", "b", b"\xfe"]),
    "tensors": (AttributeProto.TENSORS, [numpy_helper.from_array(np.eye(n, dtype=np.float16)) for n in (1, 40)]),
    "graphs": (AttributeProto.GRAPHS, [body_graph("one"), body_graph("two")]),
    "sparse_tensor": (AttributeProto.SPARSE_TENSOR, sparse("v")),
    "sparse_tensors": (AttributeProto.SPARSE_TENSORS, [sparse("v"), sparse("w", (20,))]),
    "type_proto": (AttributeProto.TYPE_PROTO, helper.make_tensor_type_proto(TensorProto.FLOAT, ["n", 2])),
    "type_protos": (AttributeProto.TYPE_PROTOS, [helper.make_tensor_type_proto(n, None) for n in range(1, 29)]),
}


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes(name, tmp_path):
    kind, value = ATTRIBUTES[name]
    node = helper.make_node("Op", ["x", "", "z"], ["y", ""], name="n", domain="org.example", doc_string="why", overload="o")
    node.attribute.append(helper.make_attribute(name, value, doc_string="doc", attr_type=kind))
    assert node.attribute[0].type == kind
    check(model_with(nodes=[node]), tmp_path)


def test_every_attribute_kind_is_covered():
    kinds = {kind for kind, _ in ATTRIBUTES.values()} | {AttributeProto.UNDEFINED}
    assert kinds == set(AttributeProto.AttributeType.values())


def test_nested_bodies(tmp_path):
    graph = body_graph("0")
    for depth in range(1, 25):
        node = helper.make_node("If", ["c"], ["y"], name=str(depth), then_branch=graph, else_branch=body_graph("leaf"))
        if depth < 8:  # both branches, so that the size stays small
            node.attribute[1].g.CopyFrom(graph)
        graph = body_graph(str(depth), node)
    check(model_of(graph), tmp_path)


def test_types(tmp_path):
    tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, ["batch", 3, 0, None], ["N", "", "", "x"])
    sparse_type = helper.make_sparse_tensor_type_proto(TensorProto.INT64, [2, "k"])
    no_rank = helper.make_tensor_type_proto(TensorProto.BOOL, None)
    scalar = helper.make_tensor_type_proto(TensorProto.STRING, [])
    sequence = helper.make_sequence_type_proto(tensor)
    optional = helper.make_optional_type_proto(sequence)
    mapping = helper.make_map_type_proto(TensorProto.INT64, sequence)
    opaque = onnx.TypeProto()
    opaque.opaque_type.domain = "org.example"
    opaque.opaque_type.name = "Thing"
    types = [tensor, sparse_type, no_rank, scalar, sequence, optional, mapping, opaque]
    for number, each in enumerate(types):
        each.denotation = f"denotation {number}"
    values = [helper.make_value_info(f"v{number}", each, "doc") for number, each in enumerate(types)]
    helper.set_metadata_props(values[0], {"k": "v", "": ""})
    untyped = onnx.ValueInfoProto(name="untyped")
    check(model_of(helper.make_graph([], "g", [*values, untyped], values, value_info=values)), tmp_path)


def test_functions(tmp_path):
    node = helper.make_node("LeakyRelu", ["x"], ["y"])
    node.attribute.add(name="alpha", type=AttributeProto.FLOAT, ref_attr_name="slope")
    function = helper.make_function(
        "custom",
        "F",
        ["x"],
        ["y"],
        [node, helper.make_node("If", ["c"], ["z"], then_branch=body_graph("b"), else_branch=body_graph("c"))],
        [helper.make_opsetid("", 23), helper.make_opsetid("other", 2)],
        ["slope"],
        [helper.make_attribute("beta", [1, 2])],
        doc_string="doc",
        overload="second",
        value_info=[helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
    )
    helper.set_metadata_props(function, {"origin": "test"})
    other = helper.make_function("custom", "G", [], [], [], [])
    check(model_with(functions=[function, other], nodes=[helper.make_node("F", ["x"], ["y"], domain="custom", overload="second")]), tmp_path)


def test_graph_fields(tmp_path):
    tensor = numpy_helper.from_array(np.ones(3, np.float32), "w")
    tensor.doc_string = "weights"
    helper.set_metadata_props(tensor, {"a": "b"})
    graph = helper.make_graph([], "g", [], [], [tensor], doc_string="doc", sparse_initializer=[sparse("s")])
    annotation = graph.quantization_annotation.add()
    annotation.tensor_name = "w"
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scale")
    helper.set_metadata_props(graph, {"k": "v"})
    check(model_of(graph), tmp_path)


def test_model_fields(tmp_path):
    model = model_with(
        ir_version=14,
        producer_name="producer",
        producer_version="1.0",
        domain="org.example",
        model_version=-3,
        doc_string="doc",
        opset_imports=[helper.make_opsetid("", 23), helper.make_opsetid("ai.onnx.ml", 5)],
    )
    helper.set_model_props(model, {"author": "me", "license": ""})
    check(model, tmp_path)


def test_what_mezzo_does_not_read(tmp_path):
    """Training information, devices and deprecated fields come out as they went in."""
    model = model_with(nodes=[helper.make_node("Relu", ["x"], ["y"])])
    training = model.training_info.add()
    training.algorithm.CopyFrom(body_graph("training"))
    training.update_binding.add(key="w", value="w2")
    model.configuration.add(name="two", num_devices=2, device=["a", "b"])
    device = model.graph.node[0].device_configurations.add(configuration_id="two", pipeline_stage=0)
    device.sharding_spec.add(tensor_name="x", device=[0, 1])
    check(model, tmp_path)


@pytest.mark.parametrize("size_threshold", [0, 1000])
def test_external_data(size_threshold, tmp_path):
    tensors = [numpy_helper.from_array(numbers(kind, (37, 11)), str(kind)) for kind in NUMBERS]
    model = model_with(tensors)
    path = tmp_path / "external.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=size_threshold)
    assert (tmp_path / "weights.bin").stat().st_size > 0
    # The original is one whose tensors are raw again.
    assert plain(written(path, tmp_path)) == plain(onnx.load(path))


def test_weights_beside_a_model_above_the_limit(tmp_path):
    arrays = [np.arange(5000, dtype=np.float32), np.arange(10, dtype=np.int64), np.arange(9000, dtype=np.uint8)]
    model = model_with([numpy_helper.from_array(array, str(n)) for n, array in enumerate(arrays)])
    path = tmp_path / "original.onnx"
    onnx.save(model, path)
    got = written(path, tmp_path, limit=2000)
    assert (tmp_path / "written.onnx").stat().st_size < 2000
    for tensor, array in zip(got.graph.initializer, arrays, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), array)


def test_old_model(tmp_path):
    """IR version 3: initializers are graph inputs too, and nodes have no domain."""
    w = numpy_helper.from_array(np.ones((2, 2), np.float32), "w")
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in ("x", "w")]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", infos, [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 2])], [w])
    check(model_of(graph, ir_version=3, opset_imports=[helper.make_opsetid("", 7)]), tmp_path)


def test_attributes_without_a_type(tmp_path):
    """IR version 1 did not have the type; it is shown by the value, and written."""
    node = helper.make_node("Op", [], [], a=1.5, b=3, c="s", d=[1, 2], e=[0.5], f=["x", "y"], g=body_graph("g"))
    model = model_with(nodes=[node], ir_version=1)
    want = plain(model)
    for attribute in model.graph.node[0].attribute:
        attribute.ClearField("type")
    path = tmp_path / "original.onnx"
    onnx.save(model, path)
    assert plain(written(path, tmp_path)) == want


def test_test_data_of_the_onnx_package(tmp_path):
    models = sorted(pathlib.Path(onnx.__file__).parent.glob("backend/test/data/*/*/model.onnx"))
    if not models:
        pytest.skip("the onnx package has no test models")
    for path in models:
        assert plain(written(path, tmp_path)) == plain(onnx.load(path)), path


@pytest.mark.parametrize("path", sorted(SHARED.glob("*.onnx")) or [None], ids=lambda path: path and path.name)
def test_real_models(path, tmp_path):
    if path is None:
        pytest.skip("no models in $MEZZO_SHARED/models")
    got = written(path, tmp_path)
    onnx.checker.check_model(got)
    assert plain(got) == plain(onnx.load(path))
