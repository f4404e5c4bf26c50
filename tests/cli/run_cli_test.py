"""mezzo run and features: results against ONNX Runtime and NumPy, the files they read and write."""

import json
import os
import pty
import subprocess

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from program import BAD_FILE, MEZZO, NOT_POSSIBLE, assert_close, mezzo, reference, save, save_classifier

# ---- run


def test_run_writes_outputs_and_taps_under_their_names(classifier, x, folder):
    out = folder / "all.npz"
    mezzo("run", classifier, "--input", f"x={folder}/x.npy", "--tap", "scores", "--tap",
          "block/*", "-t", "[-3]", "--out", out)
    names = ["scores", "block/conv", "block/relu", "pool"]
    with np.load(out) as tensors:
        assert sorted(tensors.files) == sorted(names)
        for name, expected in zip(names, reference(classifier, {"x": x}, names)):
            assert_close(tensors[name], expected)


def test_run_without_tap_gives_the_outputs(classifier, x, folder):
    out = folder / "scores.npy"
    mezzo("run", classifier, "-i", folder / "x.npy", "-o", out, "--threads", 1)
    (expected,) = reference(classifier, {"x": x}, ["scores"])
    assert_close(np.load(out), expected)


def test_run_reads_protobuf_and_npz(classifier, x, folder):
    (folder / "x.pb").write_bytes(numpy_helper.from_array(x).SerializeToString())
    np.savez(folder / "named.npz", x=x)
    np.savez(folder / "unnamed.npz", x)
    np.savez(folder / "several.npz", y=x[:1], x=x)
    (expected,) = reference(classifier, {"x": x}, ["scores"])
    for given in ("x.pb", "named.npz", "unnamed.npz", "x=several.npz", "x=unnamed.npz"):
        name, _, file = given.rpartition("=")
        out = folder / "out.npy"
        mezzo("run", classifier, "-i", (name and name + "=") + str(folder / file), "-o", out)
        assert_close(np.load(out), expected)


def test_run_resumes_from_a_value(classifier, x, folder):
    middle, whole, resumed = folder / "middle.npz", folder / "w.npy", folder / "r.npy"
    mezzo("run", classifier, "-i", folder / "x.npy", "-t", "block/relu", "-o", middle)
    mezzo("run", classifier, "-i", folder / "x.npy", "-o", whole)
    mezzo("run", classifier, "-i", middle, "-o", resumed)
    np.testing.assert_array_equal(np.load(resumed), np.load(whole))


def test_run_takes_names_with_an_equals_sign(two_inputs, folder):
    a, b = np.float32([1, 2, 3]), np.float32([10, 20, 30])
    np.save(folder / "a.npy", a)
    np.save(folder / "b=1.npy", b)
    mezzo("run", two_inputs, "-i", f"a={folder}/a.npy", "-i", f"b=1={folder}/b=1.npy", "-o",
          folder / "sum.npy")
    np.testing.assert_array_equal(np.load(folder / "sum.npy"), -(a + b))


def test_run_into_a_folder_makes_names_safe_and_keeps_them_apart(folder):
    names = ["a/b", "a_b", "A_B", "../up", "...", "ü" * 150]
    model = save(folder / "names.onnx",
                 [helper.make_node("Mul", ["x", f"c{i}"], [name]) for i, name in enumerate(names)],
                 [("x", TensorProto.FLOAT, [1])],
                 [(name, TensorProto.FLOAT, [1]) for name in names],
                 [(f"c{i}", np.float32([i])) for i in range(len(names))])
    np.save(folder / "one.npy", np.float32([1]))
    out = folder / "deep" / "values"
    mezzo("run", model, "-i", folder / "one.npy", "-o", out)
    index = json.loads((out / "index.json").read_text())
    assert list(index) == names
    assert len({file.lower() for file in index.values()}) == len(names)
    assert sorted(path.name for path in out.iterdir()) == sorted([*index.values(), "index.json"])
    for i, name in enumerate(names):
        assert np.load(out / index[name]) == [i]
        assert not index[name].startswith(".")


def test_run_summary(classifier, x, folder):
    text, _ = mezzo("run", classifier, "-i", folder / "x.npy", "-t", "flat")
    (expected,) = reference(classifier, {"x": x}, ["flat"])
    lines = text.splitlines()
    assert lines[0] == "flat  float32[2, 4]"
    words = lines[1].split()
    assert words[::2] == ["min", "mean", "max"]
    np.testing.assert_allclose([float(word) for word in words[1::2]],
                               [expected.min(), expected.mean(), expected.max()], rtol=1e-4)
    first = lines[2].split()
    assert first[-1] == "..."
    np.testing.assert_allclose([float(word) for word in first[:-1]], expected.ravel()[:6],
                               rtol=1e-4)


def test_run_summary_of_other_types(folder):
    arrays = {"i": np.int64([2**60 + 1, -5]), "t": np.array([True, False]),
              "s": np.array(["a\x1b[31m", "b"], object),
              "f": np.float32([np.nan, np.inf, 2, 4]), "e": np.zeros((0, 3), np.float32)}
    kinds = {"i": TensorProto.INT64, "t": TensorProto.BOOL, "s": TensorProto.STRING,
             "f": TensorProto.FLOAT, "e": TensorProto.FLOAT}
    model = save(folder / "types.onnx",
                 [helper.make_node("Identity", [name], [name.upper()]) for name in arrays], [],
                 [(name.upper(), kinds[name], array.shape) for name, array in arrays.items()],
                 arrays.items())
    text, _ = mezzo("run", model)
    assert text.splitlines() == [
        "I  int64[2]", "  min -5  mean 5.76461e+17  max 1.15292e+18", "  1152921504606846977 -5",
        "T  bool[2]", "  min 0  mean 0.5  max 1", "  true false",
        "S  string[2]", r'  "a\x1B[31m" "b"',
        "F  float32[4]", "  min 2  mean 3  max 4  1 not a number  1 infinite", "  nan inf 2 4",
        "E  float32[0, 3]"]


def test_run_random_is_the_same_each_time_and_follows_the_seed(classifier, folder):
    def run(*options):
        mezzo("run", classifier, "-t", "x", "-o", folder / "random.npy", *options)
        return np.load(folder / "random.npy")

    first = run("--random")
    assert first.shape == (1, 3, 16, 16)
    assert 0 <= first.min() < 0.01 and 0.99 < first.max() < 1
    assert first.mean() == pytest.approx(0.5, abs=0.05)
    np.testing.assert_array_equal(first, run("--random"))
    assert (first != run("--random=7")).any()
    np.testing.assert_array_equal(run("--random=7"), run("--random=7"))
    assert run("--random", "--shape", "x=4x3x16x16").shape == (4, 3, 16, 16)


def test_run_reads_a_picture(classifier, pictures, folder):
    mezzo("run", classifier, "-i", pictures[0], "--resize", "none", "--crop", 16, "--color", "bgr",
          "--scale", 1, "--mean", "127", "--std=2,4,8", "-t", "x", "-o", folder / "picture.npy")
    pixels = np.asarray(Image.open(pictures[0]))[2:18, 7:23, ::-1]
    expected = (pixels.astype(np.float32) - 127) / np.float32([2, 4, 8])
    np.testing.assert_array_equal(np.load(folder / "picture.npy"), expected.transpose(2, 0, 1)[None])


def test_presets_and_their_parts(classifier, pictures, folder):
    def run(*options):
        mezzo("run", classifier, "-i", pictures[1], "-t", "x", "-o", folder / "p.npy", *options)
        return np.load(folder / "p.npy")[0]

    picture = Image.open(pictures[1])
    exact = np.asarray(picture.resize((16, 16), Image.Resampling.BILINEAR), np.float32)
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    np.testing.assert_array_equal(
        run("--size", "16x16", "--crop", "none"),
        ((exact / np.float32(255) - mean) / std).transpose(2, 0, 1))
    np.testing.assert_array_equal(
        run("--preset", "plain", "--size", "16", "--filter", "pillow-bilinear"),
        (exact[..., ::-1] / np.float32(256)).transpose(2, 0, 1))


# ---- features


def expected_rows(model, pictures, names):
    crops = []
    for path in pictures:
        pixels = np.asarray(Image.open(path))
        top, left = ((extent - 16) / 2 for extent in pixels.shape[:2])
        top, left = round(top), round(left)
        crops.append(pixels[top:top + 16, left:left + 16].transpose(2, 0, 1))
    return reference(model, {"x": np.stack(crops).astype(np.float32)}, names)


RAW = ("--resize", "none", "--crop", "16", "--scale", "1", "--mean", "0", "--std", "1")


def assert_rows_close(path, expected):
    rows = np.load(path)
    assert rows.dtype == np.float32 and rows.shape == expected.shape
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-2)  # of pixels up to 255


def test_features_has_a_row_for_each_picture(classifier, pictures, folder):
    out = folder / "features.npy"
    flat, maps = expected_rows(classifier, pictures, ["flat", "block/relu"])
    for batch in (1, 4, 11, 100):
        mezzo("features", classifier, *pictures, "--tap", "flat", "-o", out, "--batch", batch, *RAW)
        assert_rows_close(out, flat)
    mezzo("features", classifier, *pictures, "--tap", "block/relu", "-o", out, *RAW)
    assert_rows_close(out, maps.reshape(11, -1))
    mezzo("features", classifier, *pictures, "-t", "block/relu", "-o", out, "--pool", "mean", *RAW)
    assert_rows_close(out, maps.mean((2, 3)))
    mezzo("features", classifier, *pictures, "-t", "block/relu", "-o", out, "--pool", "none", *RAW)
    assert_rows_close(out, maps)


@pytest.mark.parametrize("extent", [1, 4])
def test_features_fills_up_a_fixed_batch(pictures, folder, extent):
    model = save_classifier(folder / f"fixed{extent}.onnx", batch=extent)
    # ONNX Runtime gets the open model: its weights are the same.
    (flat,) = expected_rows(save_classifier(folder / "open.onnx"), pictures, ["flat"])
    mezzo("features", model, *pictures, "--tap", "flat", "-o", folder / "fixed.npy", *RAW)
    assert_rows_close(folder / "fixed.npy", flat)


def test_features_leaves_nothing_half_written(classifier, pictures, folder):
    broken = folder / "broken.png"
    broken.write_bytes(pictures[0].read_bytes()[:200])
    out = folder / "nothing.npy"
    arguments = ("--tap", "flat", "-o", out, "--batch", 2, *RAW)
    _, message = mezzo("features", classifier, *pictures[:5], broken, *arguments, status=BAD_FILE)
    assert "broken.png" in message
    _, message = mezzo("features", classifier, *pictures[:5], folder / "none.png", *arguments,
                       status=BAD_FILE)
    assert "none.png" in message
    _, message = mezzo("features", classifier, *pictures[:5], __file__, *arguments,
                       status=NOT_POSSIBLE)
    assert "cli_test.py" in message
    assert not list(folder.glob("nothing*"))


def test_features_refuses_what_is_no_row(classifier, two_inputs, pictures, folder):
    out = ("-o", folder / "refused.npy")
    _, message = mezzo("features", classifier, *pictures, "-t", "w", *out, *RAW,
                       status=NOT_POSSIBLE)
    assert "no row for each picture" in message
    _, message = mezzo("features", classifier, *pictures, "-t", "block/*", *out,
                       status=NOT_POSSIBLE)
    assert "one value" in message
    _, message = mezzo("features", two_inputs, *pictures, "-t", "sum", *out, status=NOT_POSSIBLE)
    assert "one input" in message
    _, message = mezzo("features", classifier, *pictures, "-t", "flat", *out, "--resize", "none",
                       "--crop", "none", status=NOT_POSSIBLE)
    assert "one size" in message and "picture1.png" in message
    assert not (folder / "refused.npy").exists()


def test_progress_is_for_terminals_only(classifier, pictures, folder):
    command = [MEZZO, "features", classifier, *pictures, "-t", "flat", "-o", folder / "p.npy", *RAW]
    try:
        master, terminal = pty.openpty()
    except OSError as error:
        pytest.skip(f"no pseudo-terminal can be had here: {error}")
    subprocess.run(command, stderr=terminal, check=True, timeout=120)
    os.close(terminal)
    assert b"11 of 11" in os.read(master, 65536)
    os.close(master)
    assert subprocess.run(command, stderr=subprocess.PIPE, check=True, timeout=120).stderr == b""
