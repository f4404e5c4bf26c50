"""What the tests of edited models share: ONNX Runtime to run them, and the names in them."""

import os
import pathlib

import onnx
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parents[2]
MEZZO = os.environ.get("MEZZO_CLI", str(ROOT / "build" / "mezzo"))


def run(model, feeds, names=None):
    """The outputs by ONNX Runtime, which must do what the file says: no optimisation, other than what it cannot leave."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    source = str(model) if isinstance(model, pathlib.Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    names = names or [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def needed(path, tensors):
    graph = onnx.load(path, load_external_data=False).graph
    defaults = {tensor.name for tensor in graph.initializer}
    return {value.name: tensors[value.name] for value in graph.input if value.name not in defaults}


def names(values):
    return [value.name for value in values]
