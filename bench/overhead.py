"""What a call from Python costs: mezzo's run() against the same call from C++, and against ONNX Runtime's run().

    ./dev bench overhead [SECONDS]

The model is one addition of [2, 3] and [3]. The engines take turns in short rounds; the least time of all rounds counts, for
what is measured is the code, not the machine's other work.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime
from engines import session_of
from onnx import TensorProto, helper

import mezzo

CALLS = 2000


def tiny() -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "y"], ["z"])],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3]), helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [2, 3])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()


def microseconds(session, feed) -> float:
    start = time.perf_counter()
    for _ in range(CALLS):
        session.run(None, feed)
    return (time.perf_counter() - start) / CALLS * 1e6


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    model = tiny()
    feed = {"x": np.ones((2, 3), np.float32), "y": np.ones(3, np.float32)}
    sessions = {name: session_of(module, model, 1) for name, module in (("mezzo", mezzo), ("ONNX Runtime", onnxruntime))}
    best = dict.fromkeys(sessions, np.inf)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name, session in sessions.items():
            best[name] = min(best[name], microseconds(session, feed))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "tiny.onnx")
        path.write_bytes(model)
        program = pathlib.Path(os.environ["MEZZO_BUILD"], "bench", "bench_session")
        plain = float(subprocess.run([program, path, "2"], check=True, capture_output=True, text=True).stdout)
    print(f"mezzo, C++       {plain:6.2f} us a call")
    print(f"mezzo, Python    {best['mezzo']:6.2f} us: {best['mezzo'] - plain:.2f} over C++")
    print(f"ONNX Runtime     {best['ONNX Runtime']:6.2f} us: {best['ONNX Runtime'] / best['mezzo']:.2f} times mezzo's")


if __name__ == "__main__":
    main()
