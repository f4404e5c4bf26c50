"""Real models that mezzo cuts in two, or gives one more output: the same results by ONNX Runtime.

Needs the program mezzo, $MEZZO_CLI, and the models in $MEZZO_SHARED/models.
"""

import os
import pathlib
import subprocess

import numpy as np
import onnx
import pytest
from edited_models import MEZZO, ROOT, names, needed, run
from onnx import helper

SHARED = pathlib.Path(os.environ.get("MEZZO_SHARED", ROOT.parent / "shared")) / "models"


def read_in(graph):
    """The names of all values that its nodes and bodies read."""
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            for body in [attribute.g, *attribute.graphs]:
                yield from read_in(body)
                yield from names(body.output)


# Where an open extent cannot be 1.
SHAPES = {("silero_vad_v6.onnx", "input"): [1, 576]}


def random_feeds(path):
    rng = np.random.default_rng(7)
    feeds = {}
    graph = onnx.load(path, load_external_data=False).graph
    defaults = {tensor.name for tensor in graph.initializer}
    for value in graph.input:
        if value.name in defaults:
            continue
        dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        if value.name == "sr":  # of speech: a sample rate
            feeds[value.name] = np.array(16000, dtype)
            continue
        declared = [extent.dim_value if extent.dim_value > 0 else 1 for extent in value.type.tensor_type.shape.dim]
        shape = SHAPES.get((path.name, value.name), declared)
        feeds[value.name] = rng.random(shape).astype(dtype) if dtype.kind == "f" else rng.integers(0, 2, shape).astype(dtype)
    return feeds


@pytest.mark.parametrize("path", sorted(SHARED.glob("*.onnx")) or [None], ids=lambda path: path and path.name)
def test_real_models(path, tmp_path):
    """Cut in the middle: head and tail after each other are the model."""
    if path is None:
        pytest.skip("no models in $MEZZO_SHARED/models")
    model = onnx.load(path)
    nodes = [node for node in model.graph.node if node.op_type != "Constant"]
    middle = nodes[len(nodes) // 2].output[0]
    feeds = random_feeds(path)
    try:
        want = run(model, feeds)
    except Exception as error:  # inputs with open extents of which 1 is none, or contents that must mean something
        pytest.skip(f"ONNX Runtime does not run it on such inputs: {str(error)[:100]}")
    copy = tmp_path / path.name
    copy.symlink_to(path)
    for data in path.parent.glob(path.name + "*data"):
        (tmp_path / data.name).symlink_to(data)
    head = extracted(copy, "head.onnx", f"--output={middle}")
    value = run(head, needed(head, feeds))[middle]
    graph = onnx.load(head).graph
    assert len(graph.node) < len(model.graph.node)
    assert set(names(graph.initializer)) <= set(read_in(graph))
    # The tail may need the model's inputs as well: mezzo tells which.
    ends = [middle]
    outputs = [output.name for output in model.graph.output]
    while True:
        tail = tmp_path / "tail.onnx"
        arguments = [f"--input={name}" for name in ends] + [f"--output={name}" for name in outputs]
        done = subprocess.run([MEZZO, "extract", copy, "-o", tail, *arguments], capture_output=True, text=True)
        if done.returncode == 0:
            break
        missing = done.stderr.split("the graph's input '")[1].split("'")[0]
        assert missing in feeds and missing not in ends
        ends.append(missing)
    got = run(tail, {**{name: feeds[name] for name in ends[1:]}, middle: value})
    for name in outputs:
        np.testing.assert_allclose(got[name], want[name], rtol=1e-4, atol=1e-4, equal_nan=True)
    whole = extracted(copy, "whole.onnx", f"--tap={middle}", command="expose")
    exposed = run(whole, feeds)
    np.testing.assert_allclose(exposed[middle], value, rtol=1e-4, atol=1e-4, equal_nan=True)


def extracted(path, name, *arguments, command="extract"):
    out = path.with_name(name)
    subprocess.run([MEZZO, command, path, "-o", out, *arguments], check=True)
    return out
