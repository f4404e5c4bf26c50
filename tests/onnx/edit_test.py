"""Models that mezzo extracts from others, or with more outputs: valid for onnx.checker, and with the same results by ONNX Runtime.

Needs the program mezzo, $MEZZO_CLI.
"""

import itertools
import subprocess

import numpy as np
import onnx
import pytest
from edited_models import MEZZO, names, needed, run
from onnx import TensorProto, helper, numpy_helper

NUMBERS = itertools.count()  # each result has a file of its own
F = TensorProto.FLOAT
X = np.array([[1, -2, 3], [-4, 5, -6]], np.float32)


def mezzo(command, path, *arguments, inputs=(), outputs=(), taps=()):
    """What the command writes, as a path; checked."""
    out = path.with_name(f"{command}{next(NUMBERS)}.onnx")
    named = [f"--{option}={name}" for option, names in (("input", inputs), ("output", outputs), ("tap", taps)) for name in names]
    done = subprocess.run([MEZZO, command, path, "-o", out, *named, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""
    onnx.checker.check_model(str(out))
    return out


def reference(path, feeds, names):
    """Any values of the original."""
    model = onnx.load(path)
    known = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    return run(model, feeds, list(names))


def check_parts(path, feeds, cut, outputs, exposed=None):
    """Head, tail and exposed model, of a cut through the values `cut`, compute what the original does."""
    want = reference(path, feeds, [*cut, *outputs])
    head = mezzo("extract", path, outputs=cut)
    assert_same(run(head, needed(head, feeds)), want, cut)
    tail = mezzo("extract", path, inputs=cut, outputs=outputs)
    assert [value.name for value in onnx.load(tail).graph.input][: len(cut)] == list(cut)
    assert_same(run(tail, needed(tail, {**feeds, **want})), want, outputs)
    taps = list(cut) if exposed is None else exposed
    whole = mezzo("expose", path, taps=taps)
    got = run(whole, feeds)
    assert list(got) == [value.name for value in onnx.load(path).graph.output] + taps
    assert_same(got, reference(path, feeds, taps), taps)
    return head, tail, whole


def assert_same(got, want, names):
    for name in names:
        assert got[name].dtype == want[name].dtype
        np.testing.assert_array_equal(got[name], want[name])


def weight(name, *shape):
    rng = np.random.default_rng(len(name) + sum(shape))
    return numpy_helper.from_array(rng.integers(-3, 4, shape).astype(np.float32), name)


def info(name, shape=(2, 3), data_type=F):
    return helper.make_tensor_value_info(name, data_type, shape)


def save(tmp_path, nodes, inputs, outputs, initializers=(), opset=17, ir_version=8, functions=(), imports=(), external=False, **fields):
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), list(initializers), **fields)
    opsets = [helper.make_opsetid("", opset), *imports]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, functions=list(functions), producer_name="edit_test")
    helper.set_model_props(model, {"author": "edit_test"})
    onnx.checker.check_model(model)
    path = tmp_path / "original.onnx"
    onnx.save(model, path, save_as_external_data=external, location="weights.bin", size_threshold=0)
    return path


def operators(path):
    return [node.op_type for node in onnx.load(path).graph.node]


def test_chain(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Add", ["b", "v"], ["c"]),
        helper.make_node("Neg", ["c"], ["y"]),
        helper.make_node("Abs", ["x"], ["unused"]),
    ]
    path = save(tmp_path, nodes, [info("x")], [info("y", (2, 4))], [weight("w", 3, 4), weight("v", 4)])
    head, tail, whole = check_parts(path, {"x": X}, ["b"], ["y"])
    assert operators(head) == ["MatMul", "Relu"]
    assert operators(tail) == ["Add", "Neg"]
    assert names(onnx.load(head).graph.initializer) == ["w"]
    assert names(onnx.load(tail).graph.initializer) == ["v"]
    # Nothing declares b: its type is found.
    for value in (onnx.load(head).graph.output[0], onnx.load(tail).graph.input[0], onnx.load(whole).graph.output[1]):
        assert value == info("b", (2, 4))
    for result in (head, tail, whole):
        assert onnx.load(result).metadata_props[0].value == "edit_test"
        assert onnx.load(result).producer_name == "edit_test"


def test_agrees_with_the_onnx_package(tmp_path):
    """Where onnx.utils.extract_model can do it, the graphs are the same."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Split", ["a"], ["l", "r"], axis=1, num_outputs=2),
        helper.make_node("Add", ["l", "r"], ["s"]),
        helper.make_node("Mul", ["s", "w"], ["m"]),
        helper.make_node("Sub", ["m", "l"], ["y"]),
        helper.make_node("Neg", ["r"], ["z"]),
    ]
    values = [info("a", (2, 4)), *(info(name, (2, 2)) for name in "lrsm")]
    path = save(tmp_path, nodes, [info("x", (2, 4))], [info("y", (2, 2)), info("z", (2, 2))], [weight("w", 2, 2)], opset=18, value_info=values)
    for inputs, outputs in [(["x"], ["y"]), (["l", "r"], ["y", "z"]), (["a"], ["s"]), (["x"], ["z", "m"]), (["s", "l"], ["y"])]:
        want = path.with_name("want.onnx")
        onnx.utils.extract_model(path, want, inputs, outputs)
        want, got = onnx.load(want).graph, onnx.load(mezzo("extract", path, inputs=inputs, outputs=outputs)).graph
        for field in ("node", "initializer", "input", "output"):
            assert list(getattr(got, field)) == list(getattr(want, field)), (inputs, outputs, field)


def test_captures(tmp_path):
    """Bodies within bodies, with values from every scope, and names that hide outer ones."""
    inner = helper.make_graph([helper.make_node("Add", ["from_main", "from_branch"], ["deep"])], "inner", [], [info("deep", None)])
    other = helper.make_graph([helper.make_node("Mul", ["from_main", "w"], ["deeper"])], "other", [], [info("deeper", None)])
    then = helper.make_graph(
        [
            helper.make_node("Neg", ["x"], ["from_branch"]),
            helper.make_node("If", ["flag"], ["t"], then_branch=inner, else_branch=other),
        ],
        "then", [], [info("t", None)])
    otherwise = helper.make_graph([helper.make_node("Identity", ["v"], ["e"])], "else", [], [info("e", None)])
    nodes = [
        helper.make_node("Relu", ["x"], ["from_main"]),
        helper.make_node("If", ["flag"], ["z"], then_branch=then, else_branch=otherwise),
        helper.make_node("Neg", ["z"], ["y"]),
        helper.make_node("Abs", ["u"], ["a"]),
    ]
    path = save(tmp_path, nodes, [info("x"), info("flag", (), TensorProto.BOOL), info("u")], [info("y"), info("a")], [weight(name, 2, 3) for name in "wvq"], value_info=[info("z")])
    for flag in (True, False):
        feeds = {"x": X, "flag": np.array(flag), "u": X}
        head, tail, _ = check_parts(path, feeds, ["z"], ["y"])
        assert names(onnx.load(head).graph.input) == ["x", "flag"]
        assert names(onnx.load(head).graph.initializer) == ["w", "v"]
        assert operators(tail) == ["Neg"]
        # A value that only bodies use is an input that they take.
        part = mezzo("extract", path, inputs=["from_main", "x", "flag"], outputs=["y"])
        assert operators(part) == ["If", "Neg"]
        got = run(part, {"from_main": -X, "x": X, "flag": np.array(flag)})["y"]
        np.testing.assert_array_equal(got, X - -X if flag else -numpy_helper.to_array(weight("v", 2, 3)))
    done = subprocess.run([MEZZO, "extract", path, "--input=x", "--output=y", "-o", path.with_name("no.onnx")], capture_output=True, text=True)
    assert done.returncode == 1
    assert "the graph's input 'flag'" in done.stderr
    assert not path.with_name("no.onnx").exists()


def test_loop(tmp_path):
    body = helper.make_graph(
        [
            helper.make_node("Add", ["sum_in", "step"], ["sum_out"]),
            helper.make_node("Identity", ["condition_in"], ["condition_out"]),
            helper.make_node("Identity", ["sum_out"], ["scan"]),
        ],
        "body",
        [info("i", (), TensorProto.INT64), info("condition_in", (), TensorProto.BOOL), info("sum_in", None)],
        [info("condition_out", (), TensorProto.BOOL), info("sum_out", None), info("scan", None)],
    )
    nodes = [
        helper.make_node("Relu", ["x"], ["step"]),
        helper.make_node("Loop", ["count", "", "x"], ["last", "all"], body=body),
        helper.make_node("Neg", ["all"], ["y"]),
    ]
    count = numpy_helper.from_array(np.array(3, np.int64), "count")
    path = save(tmp_path, nodes, [info("x")], [info("y", (3, 2, 3))], [count], value_info=[info("all", (3, 2, 3)), info("last")])
    _, tail, _ = check_parts(path, {"x": X}, ["all", "last"], ["y"])
    assert operators(tail) == ["Neg"]
    check_parts(path, {"x": X}, ["step", "x"], ["y", "last"])


def test_functions(tmp_path):
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    functions = [
        helper.make_function("f", "Twice", ["p"], ["q"], [helper.make_node("Add", ["p", "p"], ["q"])], opset[:1]),
        helper.make_function("f", "Four", ["p"], ["q"], [
            helper.make_node("Twice", ["p"], ["two"], domain="f"), helper.make_node("Twice", ["two"], ["q"], domain="f")], opset),
        helper.make_function("f", "Minus", ["p"], ["q"], [helper.make_node("Neg", ["p"], ["q"])], opset[:1]),
    ]
    nodes = [
        helper.make_node("Four", ["x"], ["a"], name="call", domain="f"),
        helper.make_node("Minus", ["a"], ["y"], domain="f"),
        helper.make_node("Abs", ["y"], ["z"]),
    ]
    path = save(tmp_path, nodes, [info("x")], [info("z")], functions=functions, imports=opset[1:], ir_version=10)
    head, tail, _ = check_parts(path, {"x": X}, ["a"], ["z"])
    assert names(onnx.load(head).functions) == ["Twice", "Four"]
    assert names(onnx.load(tail).functions) == ["Minus"]
    last = mezzo("extract", path, inputs=["y"])
    assert not onnx.load(last).functions
    assert [opset.domain for opset in onnx.load(last).opset_import] == [""]
    done = subprocess.run([MEZZO, "expose", path, "--tap=call/two", "-o", head], capture_output=True, text=True)
    assert done.returncode == 1
    assert "inside a function" in done.stderr


def test_old_model(tmp_path):
    """IR version 3: initializers are graph inputs too."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Mul", ["a", "v"], ["y"])]
    inputs = [info("w", (3, 3)), info("x"), info("v")]
    path = save(tmp_path, nodes, inputs, [info("y")], [weight("w", 3, 3), weight("v", 2, 3)], opset=7, ir_version=3)
    head, tail, _ = check_parts(path, {"x": X}, ["a"], ["y"])
    assert names(onnx.load(head).graph.input) == ["w", "x"]
    assert names(onnx.load(tail).graph.input) == ["a", "v"]
    assert onnx.load(tail).ir_version == 3


def test_default_of_an_input(tmp_path):
    """An initializer that is made an input is what the input is where it is not given."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Mul", ["a", "v"], ["y"])]
    path = save(tmp_path, nodes, [info("x")], [info("y")], [weight("w", 3, 3), weight("v", 2, 3)])
    part = mezzo("extract", path, inputs=["x", "v"], outputs=["y"])
    assert names(onnx.load(part).graph.input) == ["x", "v"]
    np.testing.assert_array_equal(run(part, {"x": X})["y"], run(path, {"x": X})["y"])
    assert not run(part, {"x": X, "v": np.zeros((2, 3), np.float32)})["y"].any()


def test_sparse_initializers(tmp_path):
    def sparse(name):
        values = numpy_helper.from_array(np.array([1.5, -2], np.float32), name)
        return helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([1, 5], np.int64), ""), [2, 3])

    nodes = [helper.make_node("Add", ["x", "s"], ["a"]), helper.make_node("Mul", ["a", "t"], ["y"])]
    path = save(tmp_path, nodes, [info("x")], [info("y")], sparse_initializer=[sparse("s"), sparse("t")])
    head, tail, _ = check_parts(path, {"x": X}, ["a"], ["y"])
    assert [tensor.values.name for tensor in onnx.load(head).graph.sparse_initializer] == ["s"]
    assert [tensor.values.name for tensor in onnx.load(tail).graph.sparse_initializer] == ["t"]
    exposed = onnx.load(mezzo("expose", path, taps=["s"])).graph.output[1]
    assert exposed == info("s")


@pytest.mark.parametrize("arguments", [[], ["--external-data"]], ids=str)
def test_external_data(arguments, tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("MatMul", ["a", "v"], ["y"])]
    tensors = [weight("w", 3, 500), weight("v", 500, 700)]
    path = save(tmp_path, nodes, [info("x")], [info("y", (2, 700))], tensors, external=True)
    assert path.stat().st_size < 1000
    check_parts(path, {"x": X}, ["a"], ["y"])
    part = mezzo("extract", path, *arguments, inputs=["a"])
    data = part.with_name(part.name + ".data")
    assert data.exists() == (part.stat().st_size < 1000) == bool(arguments)
    feed = run(mezzo("expose", path, *arguments, taps=["a"]), {"x": X})
    np.testing.assert_array_equal(run(part, {"a": feed["a"]})["y"], feed["y"])
    # The original's weights are not copied beside what does not need them.
    if arguments:
        assert data.stat().st_size == 500 * 700 * 4


def test_a_node_that_makes_an_input(tmp_path):
    """Of Split's two outputs one is given and one computed."""
    nodes = [
        helper.make_node("Split", ["x"], ["l", "r"], axis=1, num_outputs=2),
        helper.make_node("Mul", ["l", "r"], ["y"]),
    ]
    path = save(tmp_path, nodes, [info("x", (2, 4))], [info("y", (2, 2))], opset=18)
    part = mezzo("extract", path, inputs=["l", "x"], outputs=["y"])
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    given = np.full((2, 2), 10, np.float32)
    np.testing.assert_array_equal(run(part, {"l": given, "x": x})["y"], given * x[:, 2:])


def test_ends_of_every_kind_exposed(tmp_path):
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    path = save(tmp_path, nodes, [info("x")], [info("y")], [weight("w", 2, 3)])
    got = run(mezzo("expose", path, taps=["x", "w", "y"]), {"x": X})
    assert list(got) == ["y", "x", "w"]
    np.testing.assert_array_equal(got["x"], X)
    np.testing.assert_array_equal(got["w"], numpy_helper.to_array(weight("w", 2, 3)))


def test_quantization_annotations(tmp_path):
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Neg", ["a"], ["y"])]
    path = save(tmp_path, nodes, [info("x")], [info("y")], [weight("scale", 1)])
    model = onnx.load(path)
    annotation = model.graph.quantization_annotation.add(tensor_name="a")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scale")
    onnx.save(model, path)
    head, tail, _ = check_parts(path, {"x": X}, ["a"], ["y"])
    for part in (head, tail):
        assert list(onnx.load(part).graph.quantization_annotation) == [annotation]
        assert names(onnx.load(part).graph.initializer) == ["scale"]
    assert not onnx.load(mezzo("extract", path, inputs=["x"], outputs=["x"])).graph.quantization_annotation


def test_an_output_without_a_type(tmp_path):
    """Of a value that depends on a condition nothing is known. ONNX Runtime accepts such an output, and no such input."""
    branches = [helper.make_graph([helper.make_node(op, ["x"], ["b"])], op, [], [info("b", None)]) for op in ("Neg", "Abs")]
    nodes = [
        helper.make_node("If", ["flag"], ["a"], then_branch=branches[0], else_branch=branches[1]),
        helper.make_node("Neg", ["a"], ["y"]),
    ]
    path = save(tmp_path, nodes, [info("x"), info("flag", (), TensorProto.BOOL)], [info("y")])
    out = tmp_path / "exposed.onnx"
    subprocess.run([MEZZO, "expose", path, "--tap=a", "-o", out], check=True)
    assert onnx.load(out).graph.output[1] == onnx.ValueInfoProto(name="a")
    got = run(out, {"x": X, "flag": np.array(True)})
    np.testing.assert_array_equal(got["a"], -X)
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(str(out))
    subprocess.run([MEZZO, "extract", path, "--input=a", "-o", out], check=True)
    assert onnx.load(out).graph.input[0] == onnx.ValueInfoProto(name="a")
    with pytest.raises(Exception, match="does not have type information"):
        run(out, {"a": X})
