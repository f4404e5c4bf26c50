"""Arrays and other values, in and out."""

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper
from small_models import identity, model

import mezzo

TYPES = {
    TensorProto.FLOAT: np.float32,
    TensorProto.DOUBLE: np.float64,
    TensorProto.FLOAT16: np.float16,
    TensorProto.INT8: np.int8,
    TensorProto.INT16: np.int16,
    TensorProto.INT32: np.int32,
    TensorProto.INT64: np.int64,
    TensorProto.UINT8: np.uint8,
    TensorProto.UINT16: np.uint16,
    TensorProto.UINT32: np.uint32,
    TensorProto.UINT64: np.uint64,
    TensorProto.BOOL: np.bool_,
    TensorProto.COMPLEX64: np.complex64,
    TensorProto.COMPLEX128: np.complex128,
    TensorProto.BFLOAT16: ml_dtypes.bfloat16,
    TensorProto.FLOAT8E4M3FN: ml_dtypes.float8_e4m3fn,
    TensorProto.FLOAT8E4M3FNUZ: ml_dtypes.float8_e4m3fnuz,
    TensorProto.FLOAT8E5M2: ml_dtypes.float8_e5m2,
    TensorProto.FLOAT8E5M2FNUZ: ml_dtypes.float8_e5m2fnuz,
    TensorProto.FLOAT8E8M0: ml_dtypes.float8_e8m0fnu,
    TensorProto.FLOAT4E2M1: ml_dtypes.float4_e2m1fn,
    TensorProto.INT4: ml_dtypes.int4,
    TensorProto.UINT4: ml_dtypes.uint4,
}
if hasattr(TensorProto, "INT2"):  # onnx 1.20, for Python 3.10 and later
    TYPES |= {TensorProto.INT2: ml_dtypes.int2, TensorProto.UINT2: ml_dtypes.uint2}


@pytest.mark.parametrize("onnx_type", TYPES)
@pytest.mark.parametrize("count", [0, 1, 3, 5000])
def test_every_type_goes_through(onnx_type, count):
    session = mezzo.InferenceSession(identity(onnx_type))
    values = (np.arange(count) % 3 % (2 if TYPES[onnx_type] == ml_dtypes.int2 else 3)).astype(TYPES[onnx_type])
    (out,) = session.run(None, {"x": values})
    assert out.dtype == values.dtype
    np.testing.assert_array_equal(out.astype(np.complex128), values.astype(np.complex128))
    assert session.get_inputs()[0].type == f"tensor({NAMES.get(onnx_type, TensorProto.DataType.Name(onnx_type).lower())})"


NAMES = {TensorProto.FLOAT8E4M3FNUZ: "float8e4m3fnuz", TensorProto.FLOAT8E5M2FNUZ: "float8e5m2fnuz"}


def test_negative_small_integers_keep_their_sign():
    session = mezzo.InferenceSession(identity(TensorProto.INT4))
    values = np.array([-8, -1, 7], ml_dtypes.int4)
    np.testing.assert_array_equal(session.run(None, {"x": values})[0].astype(int), [-8, -1, 7])


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.float32).reshape(4, 6).T,
        np.arange(24, dtype=np.float32).reshape(4, 6)[::-1, ::2],
        np.arange(24, dtype=">f4").reshape(4, 6),
        np.frombuffer(b"\0" + np.arange(24, dtype=np.float32).tobytes(), np.float32, offset=1).reshape(4, 6),
        np.broadcast_to(np.float32(3), (4, 6)),
        np.asfortranarray(np.arange(24, dtype=np.float32).reshape(4, 6)),
        np.float32(1.5) * np.ones((0, 6), np.float32),
    ],
    ids=["transposed", "strided", "big-endian", "misaligned", "broadcast", "fortran", "empty"],
)
def test_arrays_of_any_layout(array):
    session = mezzo.InferenceSession(identity(TensorProto.FLOAT, ("a", "b")))
    np.testing.assert_array_equal(session.run(None, {"x": array})[0], array)


def test_lists_numbers_and_what_has_an_array():
    session = mezzo.InferenceSession(identity(TensorProto.INT32, None))

    class Wrapped:
        def __array__(self, dtype=None, copy=None):
            return np.array([7], np.int32)

    for value, expected in ((3, 3), ([1, 2], [1, 2]), ([[1], [2]], [[1], [2]]), (Wrapped(), [7]), (True, 1), ((4, 5), [4, 5])):
        (out,) = session.run(None, {"x": value})
        assert out.dtype == np.int32
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("value", ["text", object(), {"a": 1}, [1, "a"], [[1], [2, 3]], None, np.array(["a"]), np.datetime64("2020")])
def test_what_is_no_number_is_refused(value):
    session = mezzo.InferenceSession(identity(TensorProto.FLOAT, None))
    with pytest.raises(mezzo.InvalidArgument, match="'x'"):
        session.run(None, {"x": value})


def test_wrong_types_and_shapes_say_so():
    session = mezzo.InferenceSession(identity(TensorProto.FLOAT, (2, 3)))
    with pytest.raises(mezzo.InvalidArgument, match=r"float32\[2, 3\].*float64\[2, 3\]") as caught:
        session.run(None, {"x": np.zeros((2, 3))})
    assert (caught.value.place, caught.value.got) == ("feed 'x'", "float64[2, 3]")
    with pytest.raises(mezzo.InvalidArgument, match=r"float32\[2, 3\].*float32\[2, 4\]"):
        session.run(None, {"x": np.zeros((2, 4), np.float32)})
    with pytest.raises(mezzo.InvalidArgument, match="strings"):
        session.run(None, {3: np.zeros((2, 3), np.float32)})
    assert mezzo.InvalidArgument.__bases__ == (Exception,)


@pytest.mark.parametrize(
    "array",
    [np.array(["a", "häß", ""]), np.array(["a", "häß", ""], object), np.array([b"a", "häß".encode(), b""], object)],
    ids=["U", "str", "bytes"],
)
def test_strings(array):
    session = mezzo.InferenceSession(identity(TensorProto.STRING))
    (out,) = session.run(None, {"x": array})
    assert out.dtype == object
    assert out.tolist() == ["a", "häß", ""]
    assert session.run(None, {"x": ["p", "q"]})[0].tolist() == ["p", "q"]
    with pytest.raises(mezzo.InvalidArgument, match="float"):
        session.run(None, {"x": np.array(["a", 1.5], object)})


def sequence_type(elem=TensorProto.FLOAT):
    return helper.make_sequence_type_proto(helper.make_tensor_type_proto(elem, None))


def test_sequences_are_lists():
    info = helper.make_value_info("s", sequence_type())
    data = model(
        [
            helper.make_node("SequenceInsert", ["s", "x"], ["longer"]),
            helper.make_node("SequenceLength", ["longer"], ["count"]),
            helper.make_node("SequenceAt", ["longer", "count0"], ["first"]),
        ],
        [info, ("x", TensorProto.FLOAT, None)],
        [helper.make_value_info("longer", sequence_type()), ("count", TensorProto.INT64, []), ("first", TensorProto.FLOAT, None)],
        [("count0", np.array(0, np.int64))],
    )
    session = mezzo.InferenceSession(data)
    assert [arg.type for arg in session.get_inputs()] == ["seq(tensor(float))", "tensor(float)"]
    parts = [np.arange(3, dtype=np.float32), np.ones((2, 2), np.float32)]
    longer, count, first = session.run(None, {"s": parts, "x": np.float32(5)})
    assert isinstance(longer, list) and count == 3
    np.testing.assert_equal(longer, [*parts, np.float32(5)])
    np.testing.assert_array_equal(first, parts[0])
    parts[0][:] = 9
    np.testing.assert_array_equal(longer[0], [0, 1, 2])
    np.testing.assert_array_equal(session.run(["count"], {"longer": [np.zeros(1, np.float32)]})[0], 1)
    with pytest.raises(mezzo.InvalidArgument, match="list"):
        session.run(None, {"s": np.zeros(3, np.float32), "x": np.float32(5)})


def test_optionals_are_values_or_none():
    optional = helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    data = model(
        [helper.make_node("OptionalHasElement", ["o"], ["has"]), helper.make_node("Identity", ["o"], ["same"])],
        [helper.make_value_info("o", optional)],
        [("has", TensorProto.BOOL, []), helper.make_value_info("same", optional)],
    )
    session = mezzo.InferenceSession(data)
    assert session.get_inputs()[0].type == "optional(tensor(float))"
    assert session.run(None, {"o": None}) == [np.False_, None]
    has, same = session.run(None, {"o": np.ones(2, np.float32)})
    assert has
    np.testing.assert_array_equal(same, [1, 1])


def test_pictures(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (10, 12, 3), np.uint8)
    pillow.fromarray(pixels).save(tmp_path / "picture.png")
    got = mezzo.image.load(tmp_path / "picture.png")
    np.testing.assert_array_equal(got, pixels.transpose(2, 0, 1)[None].astype(np.float32))
    settings = mezzo.image.Preprocess()
    settings.layout, settings.dtype, settings.color = mezzo.image.Layout.NHWC, np.uint8, mezzo.image.Color.BGR
    got = mezzo.image.load((tmp_path / "picture.png").read_bytes(), settings)
    np.testing.assert_array_equal(got, pixels[None, :, :, ::-1])
    with pytest.raises(mezzo.NoSuchFile, match="nowhere"):
        mezzo.image.load("nowhere.png")
