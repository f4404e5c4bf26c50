"""base/convert.h against NumPy, ml_dtypes and exact arithmetic.

Needs convert_main, the program built from convert_main.cc, in the folder $MEZZO_TEST_PROGRAMS.
"""

import os
import pathlib
import subprocess

import ml_dtypes
import numpy as np
import pytest

PROGRAM = pathlib.Path(os.environ.get("MEZZO_TEST_PROGRAMS", "")) / "convert_main"

pytestmark = [
    pytest.mark.skipif(not PROGRAM.is_file(), reason="no convert_main in $MEZZO_TEST_PROGRAMS"),
    # NumPy says so wherever a number does not fit.
    pytest.mark.filterwarnings("ignore:.*encountered in cast"),
]

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
PACKED = {"int4": 4, "uint4": 4, "int2": 2, "uint2": 2, "float4_e2m1fn": 4}
SMALL_FLOATS = ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float6_e2m3fn", "float6_e3m2fn",
                "float4_e2m1fn"]
WIDTH = {"float6_e2m3fn": 6, "float6_e3m2fn": 6, "float4_e2m1fn": 4}


def dtype_of(name):
    return np.dtype(getattr(ml_dtypes, name, name))


def pack(array, name):
    if name not in PACKED:
        return array.tobytes()
    bits = PACKED[name]
    codes = array.view(np.uint8) & ((1 << bits) - 1)
    per_byte = 8 // bits
    codes = np.append(codes, np.zeros(-len(codes) % per_byte, np.uint8)).reshape(-1, per_byte)
    return np.bitwise_or.reduce(codes << (bits * np.arange(per_byte, dtype=np.uint8)), axis=1).astype(np.uint8).tobytes()


def unpack(data, name, count):
    if name not in PACKED:
        return np.frombuffer(data, dtype_of(name))
    bits = PACKED[name]
    codes = np.frombuffer(data, np.uint8)[:, None] >> (bits * np.arange(8 // bits, dtype=np.uint8)) & ((1 << bits) - 1)
    codes = codes.flatten()[:count]
    if name in ("int4", "int2"):  # ml_dtypes holds them sign-extended
        codes = np.where(codes >> (bits - 1), codes | (0xFF << bits & 0xFF), codes)
    return codes.astype(np.uint8).view(dtype_of(name))


def converted(array, to, saturate=True, mode="up"):
    """`array` (of ml_dtypes' or NumPy's type) as mezzo converts it."""
    arguments = [str(PROGRAM), array.dtype.name, to, str(array.size), str(int(saturate)), mode]
    done = subprocess.run(arguments, input=pack(array, array.dtype.name), capture_output=True)
    assert done.returncode == 0, done.stderr
    return unpack(done.stdout, to, array.size)


def every_pattern(name):
    return np.arange(1 << WIDTH.get(name, 8), dtype=np.uint8).view(dtype_of(name))


def same(got, want):
    """Equal, the sign of zero included; NaN is NaN."""
    np.testing.assert_array_equal(got, want)
    numbers = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got[numbers]), np.signbit(want[numbers]))


def float_values(dtype, count=20000):
    """Normal, subnormal, huge and special numbers of a float type, as drawn from its bit patterns."""
    width = np.dtype(dtype).itemsize
    bits = np.random.default_rng(7).integers(0, 1 << 8 * width, count, dtype=np.uint64)
    return bits.astype(f"u{width}").view(dtype)


@pytest.mark.parametrize("to", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("name", SMALL_FLOATS + ["float8_e8m0fnu"])
def test_every_small_float_widens(name, to):
    values = every_pattern(name)
    same(converted(values, to).astype(np.float64), values.astype(np.float32).astype(dtype_of(to)).astype(np.float64))


def finite_of(name):
    """The finite values of a small float type, ascending, without the sign of zero; and their patterns."""
    values = every_pattern(name).astype(np.float64)
    patterns = np.arange(len(values))
    keep = np.isfinite(values) & ~(np.signbit(values) & (values == 0))
    order = np.argsort(values[keep], kind="stable")
    return values[keep][order], patterns[keep][order]


def nearest(name, values):
    """The value of the type that is nearest to each; of two, that with the even pattern; beyond the largest, that."""
    grid, patterns = finite_of(name)
    right = np.clip(np.searchsorted(grid, values), 1, len(grid) - 1)
    left = right - 1
    below, above = values - grid[left], grid[right] - values
    take_left = (below < above) | ((below == above) & (patterns[left] % 2 == 0))
    return np.where(take_left, grid[left], grid[right])


@pytest.mark.parametrize("source", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("name", SMALL_FLOATS)
def test_floats_round_to_the_nearest_small_float(name, source):
    grid, _ = finite_of(name)
    middles = (grid[1:] + grid[:-1]) / 2
    values = np.concatenate([grid, middles, np.random.default_rng(3).normal(size=3000) * grid[-1] / 4, [0.0, 1e-30]])
    if source in ("float32", "float64"):
        kind = dtype_of(source).type
        values = np.concatenate([values, np.nextafter(middles.astype(kind), kind(np.inf)),
                                 np.nextafter(middles.astype(kind), kind(-np.inf))])
    values = values.astype(dtype_of(source))
    got = converted(values, name).astype(np.float64)
    want = nearest(name, values.astype(np.float64))
    np.testing.assert_array_equal(got, want)
    if not name.endswith("fnuz"):
        np.testing.assert_array_equal(np.signbit(got), np.signbit(values.astype(np.float64)))


@pytest.mark.parametrize("name", SMALL_FLOATS)
def test_what_small_floats_cannot_hold(name):
    """The table in the specification of Cast; below 8 bits there is nothing but saturation, and no NaN."""
    largest = np.float64(ml_dtypes.finfo(dtype_of(name)).max)
    values = np.array([np.inf, 1e30, largest * 4], np.float32)
    for sign in (1, -1):
        np.testing.assert_array_equal(converted(values * np.float32(sign), name).astype(np.float64), sign * largest)
    if name in WIDTH:
        np.testing.assert_array_equal(converted(values, name, saturate=False).astype(np.float64), largest)
        # The format leaves NaN open; the official tests of Cast take negative zero.
        nan = converted(np.array([np.nan], np.float32), name).astype(np.float64)[0]
        assert nan == 0 and np.signbit(nan)
        return
    assert np.isnan(converted(np.array([np.nan], np.float32), name).astype(np.float32))
    beyond = converted(values, name, saturate=False).astype(np.float32)
    assert np.isposinf(beyond).all() if name == "float8_e5m2" else np.isnan(beyond).all()


def test_float8e8m0_in_every_round_mode():
    powers = np.ldexp(np.float32(1), np.arange(-120, 120)).astype(np.float32)
    for mode, factors in {"up": {1: 1, 1.01: 2, 1.5: 2, 1.9: 2}, "down": {1: 1, 1.01: 1, 1.5: 1, 1.99: 1},
                          "nearest": {1: 1, 1.49: 1, 1.51: 2, 1.99: 2}}.items():
        for factor, wanted in factors.items():
            got = converted(powers * np.float32(factor), "float8_e8m0fnu", mode=mode).astype(np.float32)
            np.testing.assert_array_equal(got, powers * np.float32(wanted))


@pytest.mark.parametrize("to", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("source", ["float16", "bfloat16", "float32", "float64"])
def test_between_wider_floats(source, to):
    if source == to:
        return
    values = float_values(dtype_of(source))
    if (source, to) == ("float64", "bfloat16"):
        # ml_dtypes rounds to float32 in between; exact is what the neighbours say.
        values = values[np.isfinite(values) & (np.abs(values) < 3e38) & (np.abs(values) > 1e-37)]
        got = converted(values, to)
        bits = got.view(np.uint16)
        error = np.abs(got.astype(np.float64) - values)
        for step in (1, -1):
            other = (bits + np.uint16(step & 0xFFFF)).astype(np.uint16).view(ml_dtypes.bfloat16).astype(np.float64)
            assert (error <= np.abs(other - values)).all()
        return
    with np.errstate(over="ignore", invalid="ignore"):
        want = values.astype(dtype_of(to))
    same(converted(values, to).astype(np.float64), want.astype(np.float64))


def test_doubles_are_rounded_once():
    """1 + 2^-11 + 2^-30 is above the middle of two float16; as float32 it would be that middle, and go to even."""
    values = np.array([1 + 2.0**-11 + 2.0**-30, 1 + 2.0**-11, 1 + 3 * 2.0**-11 - 2.0**-40], np.float64)
    np.testing.assert_array_equal(converted(values, "float16").astype(np.float64),
                                  [1 + 2.0**-10, 1, 1 + 2.0**-10])


@pytest.mark.parametrize("to", INTEGERS)
@pytest.mark.parametrize("source", INTEGERS)
def test_integers_wrap(source, to):
    info = np.iinfo(source)
    values = np.random.default_rng(5).integers(info.min, info.max, 1000, dtype=source, endpoint=True)
    values = np.append(values, np.array([info.min, info.max, 0, 1], source))
    np.testing.assert_array_equal(converted(values, to), values.astype(to))


@pytest.mark.parametrize("to", INTEGERS)
@pytest.mark.parametrize("source", ["float32", "float64", "float16", "bfloat16"])
def test_floats_are_truncated(source, to):
    info = np.iinfo(to)
    values = np.random.default_rng(6).uniform(max(info.min, -60000), min(info.max, 60000), 2000).astype(dtype_of(source))
    exact = np.trunc(values.astype(np.float64))
    keep = (exact >= info.min) & (exact <= info.max)
    np.testing.assert_array_equal(converted(values[keep], to), exact[keep].astype(to))


def test_what_integers_cannot_hold_is_no_accident():
    """Left open by the specification; never undefined behaviour, and NaN is 0."""
    values = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30], np.float64)
    for to in INTEGERS:
        assert converted(values, to)[0] == 0
    assert converted(np.array([2.0**63, 2.0**64 - 2048], np.float64), "uint64").tolist() == [2**63, 2**64 - 2048]


@pytest.mark.parametrize("name", ["int4", "uint4", "int2", "uint2"])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 31])
def test_packed_integers(name, count):
    values = np.random.default_rng(count).integers(-8, 15, count, dtype=np.int32)
    bits = PACKED[name]
    low = values & ((1 << bits) - 1)
    want = low - (1 << bits) * (low >> (bits - 1)) if name[0] == "i" else low
    packed = converted(values, name)
    np.testing.assert_array_equal(packed.astype(np.int32), want)
    np.testing.assert_array_equal(converted(packed, "int64"), want)
    np.testing.assert_array_equal(converted(packed, "float32"), want.astype(np.float32))


@pytest.mark.parametrize("source", ["float32", "int8", "float16", "float8_e5m2", "int4"])
def test_booleans(source):
    values = np.array([0, 1, 2, -1, 0.5] if "float" in source else [0, 1, 2, -1, 0]).astype(dtype_of(source))
    np.testing.assert_array_equal(converted(values, "bool"), values.astype(np.float32) != 0)
    np.testing.assert_array_equal(converted(np.array([True, False]), source).astype(np.float32), [1, 0])
