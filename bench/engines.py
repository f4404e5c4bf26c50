"""The engines that bench/peers.py compares, behind one interface: through their Python packages, in float32.

An engine is a function of (path, threads) that gives a function of the feeds (arrays by name) that gives the outputs (a list, in
the graph's order). Its preparation is what nobody would count as part of a first result: the import of the package, and what is
done once for a file.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import os
import pathlib
import subprocess
import sys
from typing import Any, Callable

import numpy as np

# Those that are not among the tests' packages.
PACKAGES = pathlib.Path(__file__).resolve().parents[1] / "build" / "bench-peers"

Run = Callable[[dict[str, np.ndarray]], list[np.ndarray]]


def mezzo(path: str, threads: int) -> Run:
    import mezzo as module

    return _as_onnxruntime(module, path, threads)


def onnxruntime(path: str, threads: int) -> Run:
    import onnxruntime as module

    return _as_onnxruntime(module, path, threads)


def session_of(module: Any, source: Any, threads: int, **config: str) -> Any:
    """A session of ONNX Runtime, or of mezzo, whose interface is the same; `config`: its session config entries."""
    options = module.SessionOptions()
    options.intra_op_num_threads = threads
    for key, value in config.items():
        options.add_session_config_entry(key, value)
    return module.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _as_onnxruntime(module: Any, path: str, threads: int) -> Run:
    session = session_of(module, path, threads)
    return lambda feeds: session.run(None, feeds)


def openvino(path: str, threads: int) -> Run:
    import openvino as ov

    config = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    compiled = ov.Core().compile_model(path, "CPU", config)
    request = compiled.create_infer_request()
    names = {id(port): port.get_any_name() for port in compiled.inputs}

    def run(feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        request.infer({name: feeds[name] for name in names.values()}, share_inputs=True, share_outputs=True)
        return [request.get_output_tensor(i).data for i in range(len(compiled.outputs))]

    return run


@functools.cache
def _mnn_model(path: str) -> tuple[str, list[str], list[str]]:
    """The file converted, and the names of its inputs and outputs."""
    with contextlib.redirect_stdout(io.StringIO()):
        import MNN

    converted = pathlib.Path(path).with_suffix(".mnn")
    if not converted.exists():
        tool = pathlib.Path(MNN.__file__).parents[1] / "bin" / "mnnconvert"
        command = [sys.executable, tool, "-f", "ONNX", "--modelFile", path, "--MNNModel", converted, "--bizCode", "bench"]
        environment = {**os.environ, "PYTHONPATH": os.fspath(tool.parents[1])}
        subprocess.run([*map(os.fspath, command)], check=True, capture_output=True, env=environment)
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    stored = {item.name for item in graph.initializer}
    inputs = [item.name for item in graph.input if item.name not in stored]
    return os.fspath(converted), inputs, [item.name for item in graph.output]


def mnn(path: str, threads: int) -> Run:
    converted, inputs, outputs = _mnn_model(path)
    import MNN

    manager = MNN.nn.create_runtime_manager(({"backend": "CPU", "numThread": threads, "precision": "high"},))
    module = MNN.nn.load_module_from_file(converted, inputs, outputs, runtime_manager=manager)

    def run(feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        # MNN knows no int64.
        arrays = [feeds[name].astype(np.int32) if feeds[name].dtype == np.int64 else feeds[name] for name in inputs]
        variables = [MNN.expr.const(array, array.shape, MNN.expr.NCHW, _mnn_type(MNN, array)) for array in arrays]
        results = module.forward(variables)
        results = results if isinstance(results, (list, tuple)) else [results]
        # What read() gives is the variable's own memory, which goes with it.
        return [np.array(MNN.expr.convert(result, MNN.expr.NCHW).read()) for result in results]

    return run


def _mnn_type(module: Any, array: np.ndarray) -> Any:
    return module.expr.int if array.dtype == np.int32 else module.expr.float


ENGINES: dict[str, Callable[[str, int], Run]] = {
    "mezzo": mezzo,
    "ONNX Runtime": onnxruntime,
    "OpenVINO": openvino,
    "MNN": mnn,
}

PREPARATIONS: dict[str, Callable[[str], object]] = {
    "mezzo": lambda _: importlib.import_module("mezzo"),
    "ONNX Runtime": lambda _: importlib.import_module("onnxruntime"),
    "OpenVINO": lambda _: importlib.import_module("openvino"),
    "MNN": _mnn_model,
}
