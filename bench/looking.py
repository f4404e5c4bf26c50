"""What looking costs: requests for inner values against the plain run, on one session, in turns.

    ./dev bench looking [--models NAME...] [--threads N] [--rounds N]

For each network: one tap in mid-network, every value tapped (beside what writing that many bytes takes, and ONNX Runtime with all outputs
exposed), the plain request on a session that was asked for others before, a tap at a third of the work alone, a new set of
taps, and the memory that the process holds after a run.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np
import onnx
import onnxruntime

import mezzo

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[1:1] = [os.fspath(ROOT / "bench" / "models")]

import generate  # noqa: E402
import peers  # noqa: E402
from engines import session_of  # noqa: E402

# Sets of taps of which each is new to its session.
NEW_SETS = 12

RESIDENT = """
import sys, numpy as np
module = __import__(sys.argv[1])
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
options = module.SessionOptions()
options.intra_op_num_threads = 1
feeds = dict(np.load(sys.argv[3]))
before = resident()
session = module.InferenceSession(sys.argv[2], options)
session.run(None, feeds)
print(resident() - before)
"""


def medians(calls, rounds, seconds=0.3):
    """Milliseconds of each call, in turns."""
    return {name: float(np.median(times)) for name, times in peers.take_turns(calls, {}, rounds, seconds).items()}


def at_share_of_work(session, feeds, share: float) -> str:
    """The value of the main graph at which that share of all multiply-adds is done."""
    steps: list[tuple] = []
    session._core.run([], feeds, [], [], None, steps, False)
    total, done = sum(step[3] for step in steps), 0
    outputs = {node.name: node.outputs[0] for node in session._core.model.nodes()}
    for step in steps:
        done += step[3]
        last = step[0].split(" + ")[-1]
        if done >= share * total and last in outputs:
            return outputs[last]
    raise RuntimeError("no step has a node's name")


def exposed(path: pathlib.Path) -> bytes:
    """The model with every node's output declared, for ONNX Runtime."""
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    declared = {output.name for output in model.graph.output}
    model.graph.output.extend(info for info in model.graph.value_info if info.name not in declared)
    return model.SerializeToString()


def resident(module: str, path: pathlib.Path, feeds) -> float:
    """Megabytes that loading a model and running it once add to a fresh process."""
    file = ROOT / "build" / "bench-models" / "feeds.npz"
    np.savez(file, **feeds)
    command = [sys.executable, "-c", RESIDENT, module, path, file]
    return float(subprocess.run([*map(os.fspath, command)], check=True, capture_output=True, text=True).stdout)


def first_run_costs(session, output: str, values: list[str], feeds) -> list[float]:
    """By how many milliseconds the first run that asks for each value besides the output is longer than the second."""
    costs = []
    for value in values:
        times = []
        for _ in range(2):
            start = time.perf_counter()
            session.run([output, value], feeds)
            times.append((time.perf_counter() - start) * 1e3)
        costs.append(times[0] - times[1])
    return costs


def measure(path: pathlib.Path, threads: int, rounds: int) -> None:
    feeds = peers.feeds_of(path)
    plain, asked = session_of(mezzo, os.fspath(path), threads), session_of(mezzo, os.fspath(path), threads)
    # In the order of the file, and what planning computes from the weights alone left out.
    values = [info.name for info in plain.tensors() if info.kind == "node" and not info.body]
    middle, third = at_share_of_work(plain, feeds, 0.5), at_share_of_work(plain, feeds, 1 / 3)
    output = plain.get_outputs()[0].name
    start = time.perf_counter()
    asked.run([output, middle, third], feeds)
    first_request = (time.perf_counter() - start) * 1e3
    new_set = statistics.median(first_run_costs(asked, output, values[:: max(1, len(values) // NEW_SETS)], feeds))
    size = sum(value.nbytes for value in plain.tap(values, feeds).values())
    theirs = session_of(onnxruntime, exposed(path), threads)
    start = time.perf_counter()
    session_of(onnxruntime, os.fspath(path), threads)
    new_session = (time.perf_counter() - start) * 1e3
    memory = np.ones(size, np.uint8)
    result = medians(
        {
            "plain": lambda _: plain.run([output], feeds),
            "plain, asked for others before": lambda _: asked.run([output], feeds),
            "with one tap in the middle": lambda _: asked.run([output, middle], feeds),
            "with every value": lambda _: asked.run(values, feeds),
            "to a third of the work": lambda _: asked.run([third], feeds),
            "ONNX Runtime, every value": lambda _: theirs.run(None, feeds),
            # Memory that was written before: what of it lies in the caches is for the machine to say.
            "writing": lambda _: memory.fill(1),
        },
        rounds,
    )
    writing = result.pop("writing")
    base = result["plain"]
    for name, ms in result.items():
        print(f"    {name:32s} {ms:8.2f} ms  {ms / base:5.2f}x")
    allowed = base + 1.15 * writing
    print(f"    writing these {size / 1e6:.0f} MB takes {writing:.2f} ms: plain + 1.15 times that is {allowed:.2f} ms")
    print(f"    a new set of taps adds {new_set:.1f} ms to its first run (a session's first request: {first_request:.0f} ms); ")
    print(f"        ONNX Runtime needs a new session: {new_session:.0f} ms")
    weights = sum(np.prod(item.dims) * 4 for item in onnx.load(path, load_external_data=False).graph.initializer) / 1e6
    for module in ("mezzo", "onnxruntime"):
        held = resident(module, path, feeds)
        print(f"    memory that a run leaves in {module}: {held:.0f} MB, {held / weights:.1f} times the weights ({weights:.0f} MB)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", choices=list(generate.NETWORKS), default=["squeezenet1.1", "mobilenet_v2", "resnet50", "minilm"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=8)
    arguments = parser.parse_args()
    print(peers.cpu())
    for name in arguments.models:
        print(f"{name}, {arguments.threads} thread{'s' if arguments.threads > 1 else ''}")
        measure(generate.write(ROOT / "build" / "bench-models", name), arguments.threads, arguments.rounds)


if __name__ == "__main__":
    main()
