"""What mezzo says of models and operators, and the models it makes: inspect, explain, bench, extract, expose, ops."""

import json

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from program import BAD_FILE, DONE, NOT_POSSIBLE, assert_close, mezzo, reference, save

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
