"""mezzo's .npy and .npz files against NumPy's: each reads what the other writes, and damaged files are refused.

Runs tests/store/store_main.cc, found in the folder $MEZZO_TEST_PROGRAMS.
"""

import io
import os
import pathlib
import random
import struct
import subprocess
import zipfile

import ml_dtypes
import numpy as np
import pytest

PROGRAM = pathlib.Path(os.environ["MEZZO_TEST_PROGRAMS"]) / "store_main"


def run(source, target, dtype=None):
    command = [PROGRAM, source, target] + ([dtype] if dtype else [])
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def through_mezzo(tmp_path, array, dtype=None, save=np.save):
    """What np.load makes of what mezzo wrote after it read what np.save wrote; and what mezzo said of it."""
    source, target = tmp_path / "in.npy", tmp_path / "out.npy"
    save(source, array)
    done = run(source, target, dtype)
    assert done.returncode == 0, done.stderr
    return np.load(target), done.stdout.strip()


PLAIN = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
         "float16", "float32", "float64", "complex64", "complex128"]


def sample(dtype, shape):
    raw = np.random.default_rng(5).integers(-100, 100, shape)
    return (raw > 0) if dtype == "bool" else raw.astype(dtype)


@pytest.mark.parametrize("dtype", PLAIN)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3, 5), (3, 0, 2)])
def test_plain_types(tmp_path, dtype, shape):
    array = sample(dtype, shape)
    result, said = through_mezzo(tmp_path, array)
    assert result.dtype == array.dtype and result.shape == array.shape
    np.testing.assert_array_equal(result, array)
    assert said == f"{dtype} {list(shape)}"


@pytest.mark.parametrize("dtype", PLAIN)
def test_the_bytes_are_those_that_numpy_writes(tmp_path, dtype):
    through_mezzo(tmp_path, sample(dtype, (2, 3)))
    header = (tmp_path / "out.npy").read_bytes()
    ours, theirs = np.load(tmp_path / "out.npy"), np.load(tmp_path / "in.npy")
    assert ours.tobytes() == theirs.tobytes()
    with open(tmp_path / "out.npy", "rb") as file:
        assert np.lib.format.read_magic(file) == (1, 0)
        shape, fortran, descr = np.lib.format.read_array_header_1_0(file)
        assert (shape, fortran, descr) == ((2, 3), False, theirs.dtype)
        assert file.tell() % 64 == 0 and header[file.tell() - 1:file.tell()] == b"\n"


def test_special_values_keep_their_bits(tmp_path):
    array = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 5e-324, np.finfo("f8").max])
    result, _ = through_mezzo(tmp_path, array)
    assert result.tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", [">f2", ">f4", ">i8", ">u2", ">c8", ">c16", ">U5"])
def test_big_endian(tmp_path, dtype):
    array = np.arange(12).reshape(3, 4).astype(dtype)
    result, _ = through_mezzo(tmp_path, array)
    assert result.dtype.kind == array.dtype.kind and result.dtype.byteorder != ">"
    assert "U" in dtype or result.dtype.itemsize == array.dtype.itemsize
    np.testing.assert_array_equal(result, array)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "complex128", "U3", "S2"])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 4, 5), (2, 0, 3), (1, 6, 1)])
def test_fortran_order(tmp_path, dtype, shape):
    array = np.asfortranarray(np.arange(np.prod(shape)).reshape(shape).astype(dtype))
    np.save(tmp_path / "in.npy", array)
    if min(shape) > 0 and sorted(shape)[-2] > 1:
        assert b"'fortran_order': True" in (tmp_path / "in.npy").read_bytes()
    result, _ = through_mezzo(tmp_path, array)
    assert result.shape == shape
    np.testing.assert_array_equal(result, np.char.decode(array) if dtype[0] == "S" else array)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_versions(tmp_path, version):
    def save(path, array):
        with open(path, "wb") as file:
            np.lib.format.write_array(file, array, version)

    array = np.arange(6, dtype="i4").reshape(2, 3)
    result, _ = through_mezzo(tmp_path, array, save=save)
    np.testing.assert_array_equal(result, array)


@pytest.mark.parametrize("strings", [
    ["", ""], ["cat", "a tabby cat", ""], ["naïve", "日本語", "🐈‍⬛", "\u07ff\u0800\uffff\U00010000"],
    [" spaces ", "tab\t\n", "'\"\\"], ["in\0side", "x"],
])
def test_strings(tmp_path, strings):
    result, said = through_mezzo(tmp_path, np.array([strings]))
    assert result.tolist() == [strings]
    assert said == f"string [1, {len(strings)}]"


def test_byte_strings_that_are_text_become_str(tmp_path):
    result, _ = through_mezzo(tmp_path, np.array(["cat".encode(), "été".encode()]))
    assert result.tolist() == ["cat", "été"]


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
                                 b"\xe2\x82", b"\x80", b"\xf8\x88\x80\x80\x80"])
def test_bytes_that_are_no_utf8_stay_bytes(tmp_path, raw):
    with pytest.raises(UnicodeDecodeError):
        raw.decode()
    result, _ = through_mezzo(tmp_path, np.array([raw, b"cat"]))
    assert result.tolist() == [raw, b"cat"]


NARROW = {"bfloat16": "V2", "float8_e4m3fn": "V1", "float8_e4m3fnuz": "V1", "float8_e5m2": "V1",
          "float8_e5m2fnuz": "V1", "float8_e8m0fnu": "V1", "float4_e2m1fn": "V1", "float6_e2m3fn": "V1", "float6_e3m2fn": "V1",
          "int4": "i1", "uint4": "u1", "int2": "i1", "uint2": "u1"}


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 16])
def test_narrow_types_as_ml_dtypes_saves_them(tmp_path, name, count):
    dtype = getattr(ml_dtypes, name)
    values = [0, 1, 2, 1, 0.5, 4, 3, 2, 1, 0, 2, 1, 4, 0.5, 2, 1][:count]
    if "int" in name:
        low = 0 if name[0] == "u" else -(1 << int(name[-1]) - 1)
        values = [low + i * 5 % (1 << int(name[-1])) for i in range(count)]
    array = np.array(values).astype(dtype)
    result, said = through_mezzo(tmp_path, array, name)
    assert said == f"{name} [{count}]"
    assert result.dtype == np.dtype(NARROW[name])
    if "int" in name:
        assert result.tolist() == values
        # The plain numbers that mezzo writes for these types come back as the type, too.
        done = run(tmp_path / "out.npy", tmp_path / "again.npy", name)
        assert done.stdout.strip() == said
        assert np.load(tmp_path / "again.npy").tolist() == values
    else:
        assert result.view(dtype).tobytes() == array.tobytes()


@pytest.mark.parametrize("name, number", [("int4", 8), ("int4", -9), ("uint4", 16), ("int2", 2),
                                          ("int2", -3), ("uint2", 4)])
def test_numbers_that_do_not_fit_the_narrow_type(tmp_path, name, number):
    np.save(tmp_path / "in.npy", np.array([0, number], "u1" if name[0] == "u" else "i1"))
    done = run(tmp_path / "in.npy", tmp_path / "out.npy", name)
    assert done.returncode == 1 and "cannot hold" in done.stderr and str(number) in done.stderr


RECORD = np.zeros(2, dtype=[("a", "f4"), ("b", "i4")])


@pytest.mark.parametrize("array, what", [
    (np.zeros(2, "V2"), "raw bytes"), (np.zeros(2, "V3"), "raw bytes"), (RECORD, "records"),
    (np.zeros(2, "M8[s]"), "element type"), (np.zeros(2, "m8"), "element type"),
    (np.zeros(2, "g"), "element type"), (np.array([{}, None]), "element type"),
])
def test_what_is_no_tensor_is_refused(tmp_path, array, what):
    np.save(tmp_path / "in.npy", array)
    done = run(tmp_path / "in.npy", tmp_path / "out.npy")
    assert done.returncode == 1 and what in done.stderr and "in.npy" in done.stderr
    assert not (tmp_path / "out.npy").exists()


def test_objects_are_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "trap"),))

    np.save(tmp_path / "in.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    assert run(tmp_path / "in.npy", tmp_path / "out.npy").returncode == 1
    assert not (tmp_path / "trap").exists()


def npy_with_header(text, data=b"\0" * 64):
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode() + data


@pytest.mark.parametrize("text", [
    "{'descr':'<f4','fortran_order':False,'shape':(2,)}",
    "{'shape': (2L, ), 'fortran_order': False, 'descr': \"<f4\", }   \n",
    " { 'fortran_order' : False , 'shape' : ( 2 ) , 'descr' : '=f4' } ",
])
def test_headers_in_other_handwritings(tmp_path, text):
    (tmp_path / "in.npy").write_bytes(npy_with_header(text, np.array([3, 4], "f4").tobytes()))
    done = run(tmp_path / "in.npy", tmp_path / "out.npy")
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "out.npy").tolist() == [3, 4]


@pytest.mark.parametrize("text", [
    "", "{", "{}", "[]", "{'descr': '<f4'}", "{'descr': '<f4', 'fortran_order': False}",
    "{'descr': '<f4', 'fortran_order': 0, 'shape': ()}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1.5,)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} + 1",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'shape': (3,)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2",
    "{'descr': '<f4, 'fortran_order': False, 'shape': (2,)}",
    "{'descr': '<f3', 'fortran_order': False, 'shape': (2,)}",
    "{'descr': '<f', 'fortran_order': False, 'shape': (2,)}",
    "{'descr': '', 'fortran_order': False, 'shape': (2,)}",
    "{'descr': '<f99999999999999999999', 'fortran_order': False, 'shape': (2,)}",
    "{'descr': '<U0', 'fortran_order': False, 'shape': (1000000000000,)}",
    "{'descr': '|S0', 'fortran_order': True, 'shape': (9000000000, 1000000)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (17,)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775808,)}",
    "{'descr': '<f4', 'fortran_order': True, 'shape': (4294967296, 4294967296, 0)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1," * 65 + ")}",
])
def test_damaged_headers(tmp_path, text):
    (tmp_path / "in.npy").write_bytes(npy_with_header(text))
    done = run(tmp_path / "in.npy", tmp_path / "out.npy")
    assert done.returncode == 1 and done.stderr.startswith("'"), done.stderr


def test_characters_that_are_none(tmp_path):
    text = "{'descr': '<U1', 'fortran_order': False, 'shape': (2,)}"
    for code in (0xD800, 0x110000, 0xFFFFFFFF):
        (tmp_path / "in.npy").write_bytes(npy_with_header(text, struct.pack("<II", 65, code)))
        done = run(tmp_path / "in.npy", tmp_path / "out.npy")
        assert done.returncode == 1 and "element 1" in done.stderr


# ---- .npz

ARRAYS = {
    "data": np.arange(6, dtype="f4").reshape(2, 3),
    "stage1/block1/depthwise/conv": np.ones((2, 2), "f2"),
    "/leading/slash": np.array(True), "../up": np.array([1, 2]), "a.b:0": np.array("text"),
    "naïve 名前": np.zeros((0, 4), "i8"), "zeros": np.zeros((300, 300), "f4"),
}


def members(path):
    with np.load(path) as loaded:
        assert len(set(loaded.files)) == len(loaded.files)
        return {name: loaded[name] for name in loaded.files}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_both_ways(tmp_path, save):
    save(tmp_path / "in.npz", **ARRAYS)
    done = run(tmp_path / "in.npz", tmp_path / "out.npz")
    assert done.returncode == 0, done.stderr
    result = members(tmp_path / "out.npz")
    assert list(result) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert result[name].dtype == array.dtype
        np.testing.assert_array_equal(result[name], array)
    with zipfile.ZipFile(tmp_path / "out.npz") as archive:
        assert archive.testzip() is None
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())


def test_npz_is_the_same_each_time_and_from_itself(tmp_path):
    np.savez(tmp_path / "in.npz", **ARRAYS)
    run(tmp_path / "in.npz", tmp_path / "one.npz")
    run(tmp_path / "one.npz", tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_npz_without_tensors(tmp_path):
    np.savez(tmp_path / "in.npz")
    assert run(tmp_path / "in.npz", tmp_path / "out.npz").returncode == 0
    assert members(tmp_path / "out.npz") == {}


def test_npz_with_a_comment_and_other_files(tmp_path):
    np.savez(tmp_path / "in.npz", a=np.arange(3))
    with zipfile.ZipFile(tmp_path / "in.npz", "a") as archive:
        archive.comment = b"PK\5\6" + b"a comment that holds the end record's signature" * 9
        archive.writestr("README.txt", "no tensor")
    done = run(tmp_path / "in.npz", tmp_path / "out.npz")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "a int64 [3]\n"


def npy_bytes(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_npz_streamed_without_sizes_in_the_headers(tmp_path):
    class Unseekable(io.RawIOBase):
        def __init__(self, path):
            self.file = open(path, "wb")

        def writable(self):
            return True

        def write(self, data):
            return self.file.write(data)

    stream = Unseekable(tmp_path / "in.npz")
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", npy_bytes(np.arange(100)))
        archive.writestr("b.npy", npy_bytes(np.ones(3)))
    stream.file.close()
    done = run(tmp_path / "in.npz", tmp_path / "out.npz")
    assert done.returncode == 0, done.stderr
    assert members(tmp_path / "out.npz")["a"].tolist() == list(range(100))


def test_npz_with_another_method(tmp_path):
    with zipfile.ZipFile(tmp_path / "in.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.npy", npy_bytes(np.arange(100)))
    done = run(tmp_path / "in.npz", tmp_path / "out.npz")
    assert done.returncode == 1 and "method" in done.stderr and "'a'" in done.stderr


def patched(tmp_path, path, offset, fmt, value):
    data = bytearray(path.read_bytes())
    struct.pack_into(fmt, data, offset % len(data), value)
    target = tmp_path / "bad.npz"
    target.write_bytes(data)
    return target


def test_npz_damage_that_is_named(tmp_path):
    path = tmp_path / "in.npz"
    np.savez_compressed(path, a=np.arange(1000))
    data = path.read_bytes()
    central = data.rindex(b"PK\1\2")
    for offset, fmt, value, what in [
        (central + 16, "<I", 1, "checksum"),
        (central + 8, "<H", 1, "encrypted"),
        (central + 24, "<I", 0xFFFFFFF0, "cannot have"),  # 4 GB from a kilobyte
        (central + 24, "<I", 9000, "compressed data"),
        (central + 42, "<I", 1, "no header"),
        (central + 42, "<I", 0xFFFFFF00, "directory"),
        (central + 20, "<I", 0xFFFFFF00, "directory"),
        (data.rindex(b"PK\5\6") + 4, "<H", 1, "several files"),
        (data.rindex(b"PK\5\6") + 10, "<H", 2, "ends early"),
        (data.rindex(b"PK\5\6") + 16, "<I", 0x7FFFFFFF, "outside"),
    ]:
        done = run(patched(tmp_path, path, offset, fmt, value), tmp_path / "out.npz")
        assert done.returncode == 1 and what in done.stderr, (what, done.stderr)
        assert "bad.npz" in done.stderr
    assert not (tmp_path / "out.npz").exists()
    assert not (tmp_path / "out.npz.partial").exists()


def test_npz_whose_members_share_bytes(tmp_path):
    np.savez(tmp_path / "in.npz", aa=np.arange(100), bb=np.arange(100))
    data = bytearray((tmp_path / "in.npz").read_bytes())
    second = data.rindex(b"PK\1\2")
    struct.pack_into("<I", data, second + 42, 0)  # the second begins where the first does
    (tmp_path / "bad.npz").write_bytes(data)
    done = run(tmp_path / "bad.npz", tmp_path / "out.npz")
    assert done.returncode == 1 and "overlap" in done.stderr


def test_damage_anywhere_never_crashes(tmp_path):
    """Cut short at many places, and with bytes changed at random: read, or refused with a message."""
    np.savez_compressed(tmp_path / "whole.npz", a=np.arange(50), b=np.array(["x", "yz"]))
    np.save(tmp_path / "whole.npy", np.asfortranarray(np.arange(12.0).reshape(3, 4)))
    choose = random.Random(7)
    for kind in ("npz", "npy"):
        whole = (tmp_path / f"whole.{kind}").read_bytes()
        damaged = [whole[:choose.randrange(len(whole))] for _ in range(60)]
        for _ in range(120):
            data = bytearray(whole)
            for _ in range(choose.randint(1, 3)):
                data[choose.randrange(len(data))] = choose.randrange(256)
            damaged.append(bytes(data))
        for data in damaged:
            path = tmp_path / f"bad.{kind}"
            path.write_bytes(data)
            done = run(path, tmp_path / f"out.{kind}")
            assert done.returncode in (0, 1), (done.returncode, done.stderr, data)
            assert (done.stderr != "") == (done.returncode == 1)
