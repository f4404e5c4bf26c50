"""The program mezzo: results against ONNX Runtime and NumPy, files, exit statuses, messages."""

import json
import os
import pathlib
import pty
import signal
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
MEZZO = os.environ.get("MEZZO_CLI", str(ROOT / "build" / "mezzo"))
DONE, NOT_POSSIBLE, WRONG_USAGE, BAD_FILE = 0, 1, 2, 3


def mezzo(*arguments, status=DONE):
    """Runs the program; (stdout, stderr)."""
    done = subprocess.run([MEZZO, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == status, (arguments, done.stdout, done.stderr)
    if status == DONE:
        assert done.stderr == ""
    else:
        assert done.stdout == ""
        assert done.stderr.startswith("mezzo: ")
        assert len(done.stderr.splitlines()) == 1
    return done.stdout, done.stderr


def save(path, nodes, inputs, outputs, initializers=(), check=True):
    graph = helper.make_graph(
        nodes, "small",
        [helper.make_tensor_value_info(*info) for info in inputs],
        [helper.make_tensor_value_info(*info) for info in outputs],
        [numpy_helper.from_array(array, name) for name, array in initializers])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
                              producer_name="cli_test", producer_version="7")
    if check:
        onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def save_classifier(path, batch="N", size=16):
    """Conv-Relu-GlobalAveragePool-Flatten-Gemm on pictures of `size` x `size`."""
    random = np.random.default_rng(5)
    return save(
        path,
        [helper.make_node("Conv", ["x", "w"], ["block/conv"], name="conv", pads=[1, 1, 1, 1]),
         helper.make_node("Relu", ["block/conv"], ["block/relu"], name="relu"),
         helper.make_node("GlobalAveragePool", ["block/relu"], ["pool"]),
         helper.make_node("Flatten", ["pool"], ["flat"]),
         helper.make_node("Gemm", ["flat", "g", "b"], ["scores"], name="gemm", transB=1)],
        [("x", TensorProto.FLOAT, [batch, 3, size, size])],
        [("scores", TensorProto.FLOAT, [batch, 5])],
        [("w", random.normal(size=(4, 3, 3, 3)).astype(np.float32)),
         ("g", random.normal(size=(5, 4)).astype(np.float32)),
         ("b", random.normal(size=5).astype(np.float32))])


def reference(path, feeds, names):
    """The values by ONNX Runtime, of a copy of the model whose outputs they are."""
    model = onnx.load(path)
    del model.graph.output[:]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(model.SerializeToString(),
                                           providers=["CPUExecutionProvider"])
    return session.run(names, feeds)


def assert_close(actual, expected):
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def classifier(folder):
    return save_classifier(folder / "classifier.onnx")


@pytest.fixture(scope="module")
def x(folder):
    array = np.random.default_rng(1).normal(size=(2, 3, 16, 16)).astype(np.float32)
    np.save(folder / "x.npy", array)
    return array


@pytest.fixture(scope="module")
def two_inputs(folder):
    return save(folder / "two.onnx",
                [helper.make_node("Add", ["a", "b=1"], ["sum"]),
                 helper.make_node("Neg", ["sum"], ["out"])],
                [("a", TensorProto.FLOAT, ["n"]), ("b=1", TensorProto.FLOAT, ["n"])],
                [("out", TensorProto.FLOAT, ["n"])])


@pytest.fixture(scope="module")
def pictures(folder):
    """Eleven PNG files of different sizes."""
    random = np.random.default_rng(2)
    paths = []
    for i in range(11):
        pixels = random.integers(0, 256, (20 + i, 30, 3), np.uint8)
        paths.append(folder / f"picture{i}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


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


# ---- inspect, explain, ops


def inspect(model, *options, status=DONE):
    return json.loads(mezzo("inspect", model, "--json", *options, status=status)[0])


def test_inspect_json(classifier):
    facts = inspect(classifier, "--shape", "x=2x3x16x16")
    assert facts["ir_version"] == 8
    assert facts["opsets"] == [{"domain": "", "version": 17}]
    assert facts["producer"] == {"name": "cli_test", "version": "7"}
    assert facts["parameters"] == 4 * 3 * 9 + 5 * 4 + 5
    assert facts["initializer_bytes"] == 4 * facts["parameters"]
    # Conv: each of 2*4*16*16 results is a sum of 3*3*3 products. Gemm: 2*5 sums of 4.
    work = {node["op_type"]: node["multiply_adds"] for node in facts["nodes"]}
    assert work["Conv"] == 2 * 4 * 16 * 16 * 27
    assert work["Gemm"] == 2 * 5 * 4
    assert facts["multiply_adds"] == work["Conv"] + work["Gemm"]
    assert facts["remarks"] == []
    assert facts["inputs"][0]["declared_shape"] == ["N", 3, 16, 16]
    assert [operator["op_type"] for operator in facts["operators"]] == [
        "Conv", "Flatten", "Gemm", "GlobalAveragePool", "Relu"]
    assert all(operator["supported"] and operator["count"] == 1 for operator in facts["operators"])
    values = {value["name"]: value for value in facts["values"]}
    assert set(values) == {"x", "w", "g", "b", "block/conv", "block/relu", "pool", "flat", "scores"}
    assert values["block/relu"]["shape"] == [2, 4, 16, 16]
    assert values["block/relu"]["dtype"] == "float32"
    assert values["block/relu"]["producer"] == "relu"
    assert values["block/relu"]["producer_op"] == "Relu"
    assert values["w"]["kind"] == "initializer" and values["w"]["shape"] == [4, 3, 3, 3]
    assert values["x"]["kind"] == "input" and values["x"]["shape"] == [2, 3, 16, 16]
    assert [name for name, value in values.items() if value["is_graph_output"]] == ["scores"]


def test_inspect_takes_open_extents_for_one(classifier):
    facts = inspect(classifier)
    assert {value["name"]: value["shape"] for value in facts["values"]}["scores"] == [1, 5]
    assert ["'x'" in remark and "--shape" in remark for remark in facts["remarks"]] == [True]


def test_inspect_text(classifier):
    text, _ = mezzo("inspect", classifier)
    lines = text.splitlines()
    assert ["graph", "small"] in [line.split() for line in lines]
    assert ["multiply-adds", "27,668"] in [line.split() for line in lines]
    table = lines[lines.index("values") + 1:]
    assert [line.split()[0] for line in table] == [
        "VALUE", "x", "block/conv", "block/relu", "pool", "flat", "scores"]
    column = table[0].index("TYPE")
    assert all(line[column - 1] == " " and line[column:].startswith("float32[")
               for line in table[1:])
    only, _ = mezzo("inspect", classifier, "--tap", "op:Conv")
    assert [line.split()[0] for line in only.splitlines()[-2:]] == ["VALUE", "block/conv"]


def test_inspect_names(classifier):
    assert mezzo("inspect", classifier, "--names")[0].split() == [
        "x", "block/conv", "block/relu", "pool", "flat", "scores"]
    assert {"w", "g", "b"} <= set(mezzo("inspect", classifier, "--names", "--weights")[0].split())


def test_inspect_knows_folded_values(folder):
    model = save(folder / "folded.onnx",
                 [helper.make_node("Shape", ["x"], ["shape"]),
                  helper.make_node("Gather", ["shape", "zero"], ["n"]),
                  helper.make_node("Concat", ["n", "rest"], ["target"], axis=0),
                  helper.make_node("Reshape", ["x", "target"], ["y"])],
                 [("x", TensorProto.FLOAT, ["N", 2, 3])], [("y", TensorProto.FLOAT, ["N", "M"])],
                 [("zero", np.int64([0])), ("rest", np.int64([-1]))])
    values = {value["name"]: value for value in inspect(model, "--shape", "x=5x2x3")["values"]}
    assert values["target"]["folded"] and values["target"]["shape"] == [2]
    assert values["target"]["dtype"] == "int64"
    assert values["y"]["shape"] == [5, 6] and not values["y"]["folded"]


def test_inspect_says_what_is_not_known(folder):
    unsupported = save(folder / "unsupported.onnx",
                       [helper.make_node("Relu", ["x"], ["before"]),
                        helper.make_node("Strange", ["before"], ["between"], domain="who.knows"),
                        helper.make_node("Relu", ["between"], ["after"])],
                       [("x", TensorProto.FLOAT, [2])], [("after", TensorProto.FLOAT, [2])], check=False)
    facts = inspect(unsupported)
    assert facts["multiply_adds"] is None
    assert any("who.knows.Strange" in remark for remark in facts["remarks"])
    assert [o["op_type"] for o in facts["operators"] if not o["supported"]] == ["Strange"]
    shapes = {value["name"]: value["shape"] for value in facts["values"]}
    assert shapes == {"x": [2], "before": [2], "between": None, "after": None}
    text, _ = mezzo("inspect", unsupported)
    assert "not supported" in text and "unknown" in text

    dependent = save(folder / "dependent.onnx",
                     [helper.make_node("NonZero", ["x"], ["places"]),
                      helper.make_node("Neg", ["places"], ["y"])],
                     [("x", TensorProto.FLOAT, [2, 3])], [("y", TensorProto.INT64, [2, "n"])])
    facts = inspect(dependent)
    assert facts["multiply_adds"] is None and len(facts["remarks"]) == 1
    assert {value["name"]: value["shape"] for value in facts["values"]}["y"] is None

    shapeless = save(folder / "shapeless.onnx", [helper.make_node("Relu", ["x"], ["y"])],
                     [("x", TensorProto.FLOAT, None)], [("y", TensorProto.FLOAT, None)], check=False)
    assert any("shape" in remark for remark in inspect(shapeless)["remarks"])
    assert inspect(shapeless, "--shape", "x=7")["values"][1]["shape"] == [7]
    assert inspect(shapeless, "--shape", "x=")["values"][1]["shape"] == []


def test_explain(classifier):
    text, _ = mezzo("explain", classifier, "--shape", "x=3x3x16x16")
    assert "float32[3, 5] = node 'gemm' (Gemm) by " in text
    text, _ = mezzo("explain", classifier, "--tap", "block/conv")
    assert "(Conv)" in text and "(Gemm)" not in text


def test_bench(classifier, tmp_path):
    arguments = ["bench", classifier, "--shape", "x=3x3x16x16", "--seconds", "0.05"]
    text, _ = mezzo(*arguments, "--steps", "1")
    assert "first result" in text and "median" in text and "more; see --steps" in text
    text, _ = mezzo(*arguments, "--json", "--trace", tmp_path / "trace.json")
    report = json.loads(text)
    assert report["runs"] >= 1 and report["median_ms"] > 0
    assert report["multiply_adds"] == sum(step["multiply_adds"] for step in report["steps"]) > 0
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert [event["args"]["kernel"] for event in events if event["cat"] == "Conv" or "Conv" in event["cat"]]
    assert all(event["ph"] == "X" and event["dur"] >= 0 for event in events)
    mezzo("bench", classifier, "--threads", "0", status=2)



# ---- extract, expose


def test_a_model_in_two_parts(classifier, x, folder):
    (expected,) = reference(classifier, {"x": x}, ["scores"])
    head, tail = folder / "head.onnx", folder / "tail.onnx"
    assert mezzo("extract", classifier, "--output", "relu", "-o", head) == ("", "")
    mezzo("extract", classifier, "-i", "block/relu", "--output", "[-1]", "-o", tail)
    for part in (head, tail):
        onnx.checker.check_model(str(part))
    mezzo("run", head, "-i", folder / "x.npy", "-o", folder / "middle.npz")
    mezzo("run", tail, "-i", folder / "middle.npz", "-o", folder / "end.npy")
    assert_close(np.load(folder / "end.npy"), expected)


def test_exposed_values_are_outputs_for_others(classifier, x, folder):
    out = folder / "exposed.onnx"
    assert mezzo("expose", classifier, "--tap", "block/*", "-t", "[-3]", "-o", out) == ("", "")
    names = ["scores", "block/conv", "block/relu", "pool"]
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == names
    expected = reference(classifier, {"x": x}, names)
    for actual, wanted in zip(session.run(None, {"x": x}), expected):
        assert_close(actual, wanted)
    before = out.stat().st_size
    mezzo("expose", out, "-t", "flat", "--external-data", "-o", out)  # its own file
    assert len(onnx.load(out).graph.output) == 5 and out.stat().st_size >= before
    assert not (folder / "exposed.onnx.data").exists()  # no initializer is large


def test_what_cannot_be_extracted(classifier, two_inputs, folder):
    out = folder / "not.onnx"
    _, message = mezzo("extract", two_inputs, "-i", "a", "-o", out, status=NOT_POSSIBLE)
    assert "'out'" in message and "'b=1'" in message
    _, message = mezzo("expose", classifier, "-t", "block/rely", "-o", out, status=NOT_POSSIBLE)
    assert "'block/relu'" in message
    where = folder / "none" / "out.onnx"
    assert str(where) in mezzo("expose", classifier, "-t", "pool", "-o", where, status=BAD_FILE)[1]
    assert not out.exists()


def test_ops():
    listed = json.loads(mezzo("ops", "--json")[0])["operators"]
    rows = {(row["name"], version): row for row in listed if row["domain"] == ""
            for version in row["versions"]}
    softmax = rows["Softmax", 13]
    assert softmax["attributes"] == [
        {"name": "axis", "kind": "INT", "required": False, "default": -1}]
    assert rows["Softmax", 11]["attributes"][0]["default"] == 1
    assert {"tensor(float)", "tensor(float16)"} <= set(softmax["inputs"][0]["types"])
    assert softmax["inputs"][0]["arity"] == "required" and softmax["kernels"]
    concat = rows["Concat", 13]
    assert concat["inputs"][0]["arity"] == "variadic" and concat["inputs"][0]["homogeneous"]
    assert concat["attributes"][0] == {
        "name": "axis", "kind": "INT", "required": True, "default": None}
    lines = [line.split(maxsplit=2) for line in mezzo("ops")[0].splitlines()]
    assert lines[0] == ["DOMAIN", "OPERATOR", "VERSIONS"]
    assert ["ai.onnx", "Softmax", "1, 11, 13"] in lines


# ---- what goes wrong


def test_version_and_help():
    assert mezzo("--version")[0].startswith("mezzo 0.")
    for command in ("run", "features", "inspect", "explain", "bench", "extract", "expose", "ops"):
        assert command in mezzo("--help")[0]
        text = mezzo(command, "--help")[0]
        assert "Exit status" in text and max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("arguments", [
    ["bogus"], ["run"], ["run", "--bogus", "m.onnx"], ["run", "m.onnx", "--filter", "sharp"],
    ["run", "m.onnx", "--size", "0"], ["run", "m.onnx", "--crop", "2x"],
    ["run", "m.onnx", "--mean", "1,2"], ["run", "m.onnx", "--mean", "a"],
    ["run", "m.onnx", "--resize", "none", "--size", "5"], ["run", "m.onnx", "--random=x"],
    ["run", "m.onnx", "--shape", "x=1"],
    ["features", "m.onnx", "a.png", "-t", "x"], ["run", "m.onnx", "extra.npy"],
    ["extract", "m.onnx", "--output", "y"], ["extract", "m.onnx", "-o", "n.onnx"],
    ["expose", "m.onnx", "--tap", "y"], ["expose", "m.onnx", "-o", "n.onnx"],
])
def test_wrong_usage(arguments):
    assert "See mezzo" in mezzo(*arguments, status=WRONG_USAGE)[1]


def test_no_command_shows_the_help():
    done = subprocess.run([MEZZO], capture_output=True, text=True, timeout=60)
    assert done.returncode == WRONG_USAGE and done.stdout == "" and "inspect" in done.stderr


def test_missing_inputs_are_listed(two_inputs, folder):
    np.save(folder / "a.npy", np.float32([1]))
    _, message = mezzo("run", two_inputs, "-i", f"a={folder}/a.npy", status=NOT_POSSIBLE)
    assert "'b=1' float32[n]" in message and "'a'" not in message
    _, message = mezzo("run", two_inputs, "-i", folder / "a.npy", status=NOT_POSSIBLE)
    assert "'a' float32[n]" in message and "'b=1'" in message


def test_unknown_names_get_suggestions(classifier, folder, x):
    _, message = mezzo("run", classifier, "-i", folder / "x.npy", "-t", "block/rely",
                       status=NOT_POSSIBLE)
    assert "'block/relu'" in message
    _, message = mezzo("run", classifier, "-i", f"z={folder}/x.npy", status=NOT_POSSIBLE)
    assert "'x'" in message
    _, message = mezzo("inspect", classifier, "--shape", "y=1", status=NOT_POSSIBLE)
    assert "'x'" in message
    _, message = mezzo("inspect", classifier, "--shape", "x=1x-3", status=NOT_POSSIBLE)
    assert "not a shape" in message


def test_wrong_shapes_and_types(classifier, folder, x):
    np.save(folder / "wrong.npy", x[:, :2])
    _, message = mezzo("run", classifier, "-i", folder / "wrong.npy", status=NOT_POSSIBLE)
    assert "float32[2, 2, 16, 16]" in message
    np.save(folder / "double.npy", x.astype(np.float64))
    _, message = mezzo("run", classifier, "-i", folder / "double.npy", status=NOT_POSSIBLE)
    assert "float64" in message


def test_bad_files(classifier, folder, x):
    _, message = mezzo("run", folder / "none.onnx", status=BAD_FILE)
    assert "none.onnx" in message
    cut = folder / "cut.onnx"
    cut.write_bytes(classifier.read_bytes()[:-100])
    for command in ("run", "inspect", "explain"):
        assert "cut.onnx" in mezzo(command, cut, status=BAD_FILE)[1]
    (folder / "cut.npy").write_bytes((folder / "x.npy").read_bytes()[:500])
    assert "cut.npy" in mezzo("run", classifier, "-i", folder / "cut.npy", status=BAD_FILE)[1]
    (folder / "some.txt").write_text("text")
    _, message = mezzo("run", classifier, "-i", folder / "some.txt", status=NOT_POSSIBLE)
    assert ".npy" in message and "some.txt" in message


def test_places_that_cannot_be_written(classifier, folder, x):
    given = ("run", classifier, "-i", folder / "x.npy")
    blocked = folder / "file"
    blocked.write_text("")
    for out in (blocked, blocked / "deeper", folder / "none" / "out.npz", folder / "none" / "o.npy"):
        assert str(out) in mezzo(*given, "-o", out, status=BAD_FILE)[1]
    _, message = mezzo(*given, "-t", "block/*", "-o", folder / "two.npy", status=NOT_POSSIBLE)
    assert "2 values" in message
    with open("/dev/full", "w") as full:
        done = subprocess.run([MEZZO, "ops", "--json"], stdout=full, stderr=subprocess.PIPE,
                              timeout=60)
    assert done.returncode == BAD_FILE and b"standard output" in done.stderr


def test_a_reader_that_stops_ends_it_quietly():
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run([MEZZO, "ops", "--json"], stdout=write_end, stderr=subprocess.PIPE,
                          timeout=60, restore_signals=False)
    os.close(write_end)
    assert done.returncode == -signal.SIGPIPE and done.stderr == b""


# ---- completion


def complete(*words, cwd):
    """What bash offers for the last of `words`."""
    script = f"""
        source {ROOT}/tools/mezzo.bash
        compopt() {{ :; }}  # works only while readline completes
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _mezzo
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script, "bash", *map(str, words)], cwd=cwd, check=True,
                          capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


def test_completion(classifier, folder):
    assert complete(MEZZO, "in", cwd=folder) == ["inspect"]
    assert complete(MEZZO, "ex", cwd=folder) == ["explain", "extract", "expose"]
    assert complete(MEZZO, "run", "--filter", "pillow", cwd=folder) == [
        "pillow-bilinear", "pillow-bicubic"]
    assert complete(MEZZO, "run", "--ta", cwd=folder) == ["--tap"]
    assert complete(MEZZO, "run", "classi", cwd=folder) == ["classifier.onnx"]
    assert complete(MEZZO, "run", "classifier.onnx", "--tap", "block/", cwd=folder) == [
        "block/conv", "block/relu"]
    assert complete(MEZZO, "run", "classifier.onnx", "-i", "x", cwd=folder)[0] == "x="
    assert complete(MEZZO, "extract", "--ex", cwd=folder) == ["--external-data"]
    for option in ("--input", "--output"):
        assert complete(MEZZO, "extract", "classifier.onnx", option, "poo", cwd=folder) == ["pool"]
    assert complete(MEZZO, "expose", "classifier.onnx", "-t", "poo", cwd=folder) == ["pool"]
