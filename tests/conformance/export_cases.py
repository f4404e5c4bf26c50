"""Writes the official backend tests of the onnx package as files, for conformance_main to run.

    export_cases.py FOLDER

makes FOLDER/KIND/NAME/{model.onnx, test_data_set_N/{input_M,output_M}.pb} and FOLDER/manifest.jsonl, a line
for each case. The cases are those that onnx.backend.test.runner runs: kind `node` is computed by NumPy when it is exported,
the others lie in the package. A folder that this script wrote for the installed version of onnx is left as it is.
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import sys
import tempfile
import warnings

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test import loader

KINDS = ("node", "simple", "real", "pytorch-converted", "pytorch-operator")
# Their expected values were drawn by NumPy's generator.
RANDOM = re.compile(r"test_bernoulli.*|test_training_dropout(_default)?(_mask)?")
LIGHT_MODELS = pathlib.Path(loader.DATA_DIR, "light")


def stamp() -> str:
    """What a folder's contents depend on."""
    script = pathlib.Path(__file__).read_bytes()
    return f"onnx {onnx.__version__}, numpy {np.__version__}, {hashlib.sha256(script).hexdigest()}\n"


def to_proto(value, info: onnx.ValueInfoProto):
    """A value of a case made in Python, as the message that its declared type has."""
    kind = info.type.WhichOneof("value")
    if kind == "sequence_type":
        return numpy_helper.from_list(value, info.name)
    if kind == "optional_type":
        return numpy_helper.from_optional(value, info.name)
    if kind != "tensor_type":
        raise ValueError(f"{info.name}: no file format is known for a {kind}")
    return value if isinstance(value, onnx.TensorProto) else numpy_helper.from_array(value, info.name)


def write_values(folder: pathlib.Path, prefix: str, values, infos) -> None:
    for i, (value, info) in enumerate(zip(values, infos, strict=True)):
        (folder / f"{prefix}_{i}.pb").write_bytes(to_proto(value, info).SerializeToString())


def write_case(case, folder: pathlib.Path) -> onnx.ModelProto:
    """Writes one case and returns its model."""
    if case.model is not None:  # made in Python
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(case.model.SerializeToString())
        for i, (inputs, outputs) in enumerate(case.data_sets):
            data_set = folder / f"test_data_set_{i}"
            data_set.mkdir()
            write_values(data_set, "input", inputs, case.model.graph.input)
            write_values(data_set, "output", outputs, case.model.graph.output)
        return case.model
    if case.model_dir is not None:  # complete in the package
        shutil.copytree(case.model_dir, folder)
    else:  # a well-known network with constant weights; the runner makes its input
        source = LIGHT_MODELS / pathlib.PurePosixPath(case.url).name
        data_set = folder / "test_data_set_0"
        data_set.mkdir(parents=True)
        shutil.copy(source, folder / "model.onnx")
        shutil.copy(source.with_name(f"{source.stem}_output_0.pb"), data_set / "output_0.pb")
        infos = free_inputs(onnx.load(source).graph)
        write_values(data_set, "input", [ramp(info) for info in infos], infos)
    return onnx.load(folder / "model.onnx")


def ramp(info: onnx.ValueInfoProto) -> np.ndarray:
    """onnx.backend.test.runner's generate_dummy_data: 0 to 1 in equal steps."""
    shape = [dim.dim_value if dim.HasField("dim_value") else 1 for dim in info.type.tensor_type.shape.dim]
    count = np.prod(shape)
    return (np.arange(count).reshape(shape) / count).astype(np.float32)


def free_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """What a run must be given: the inputs that have no initializer."""
    initializers = {tensor.name for tensor in graph.initializer}
    return [info for info in graph.input if info.name not in initializers]


def is_tensor(info: onnx.ValueInfoProto) -> bool:
    return info.type.HasField("tensor_type")


def export(folder: pathlib.Path) -> None:
    np.random.seed(0)  # the same files on every machine
    with warnings.catch_warnings(), (folder / "manifest.jsonl").open("w") as manifest:
        warnings.simplefilter("ignore")  # cases that divide by zero or overflow on purpose
        for kind in KINDS:
            for case in sorted(loader.load_model_tests(kind=kind), key=lambda case: case.name):
                graph = write_case(case, folder / kind / case.name).graph
                line = {
                    "name": f"{kind}/{case.name}",
                    "rtol": case.rtol,
                    "atol": case.atol,
                    "inputs": [info.name for info in free_inputs(graph)],
                    "random": RANDOM.fullmatch(case.name) is not None,
                    "tensors": all(map(is_tensor, [*graph.input, *graph.output])),
                }
                manifest.write(json.dumps(line) + "\n")


def main(folder: pathlib.Path) -> None:
    stamp_file = folder / "stamp"
    if stamp_file.is_file() and stamp_file.read_text() == stamp():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Written beside and renamed, so that an interrupted export is never taken for a whole one.
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        fresh = pathlib.Path(scratch, "cases")
        fresh.mkdir()
        export(fresh)
        (fresh / "stamp").write_text(stamp())
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(fresh, folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    main(pathlib.Path(sys.argv[1]))
