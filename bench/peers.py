"""mezzo against ONNX Runtime, OpenVINO and MNN: whole networks, float32, one process, in turns.

    ./dev bench peers [--models NAME...] [--engines NAME...] [--threads N...] [--rounds N] [--json FILE]

First the engines' outputs are compared. Then they take turns in short rounds, so that whatever else the machine does meets all of
them; the figure of an engine is the median over all its runs but the first of each round. Ratios above 1 mean that mezzo is
faster. docs/benchmarking.md says how to read them.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import onnx

ROOT = pathlib.Path(__file__).resolve().parents[1]
SHARED = pathlib.Path(os.environ.get("MEZZO_SHARED", ROOT.parent / "shared"))
REQUIREMENTS = ROOT / "bench" / "requirements.txt"
sys.path[1:1] = [os.fspath(ROOT / "bench" / "models")]

import engines as peers  # noqa: E402
import first_result  # noqa: E402
import generate  # noqa: E402
import quantized  # noqa: E402
from families import FAMILIES  # noqa: E402

GROUPS = {"families": FAMILIES, "quantized": quantized.INT8}  # that are measured where they are asked for


def install() -> None:
    """The peers that are not among the tests' packages, from PyPI into a folder of their own."""
    stamp = peers.PACKAGES / "installed-requirements.txt"
    wanted = REQUIREMENTS.read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "--upgrade", "--quiet"]
        subprocess.run([*command, "--target", peers.PACKAGES, "-r", REQUIREMENTS], check=True)
        stamp.write_text(wanted)
    sys.path.append(os.fspath(peers.PACKAGES))


def models(names: list[str]) -> dict[str, pathlib.Path]:
    """The generated networks, and by name or with `--models all` the trained ones that are there; a group's name stands for its networks."""
    generated = [*generate.NETWORKS, *FAMILIES, *quantized.INT8]
    found = {name: ROOT / "build" / "bench-models" / f"{name}.onnx" for name in generated}
    trained = [*sorted((SHARED / "models").glob("**/*.onnx")), ROOT / "build" / "demo" / "efficientnet_lite0.onnx"]
    found |= {path.stem: path for path in trained if path.exists() and path.stem not in found}
    if names == ["all"]:
        names = [name for name in found if not any(name in group for group in GROUPS.values())]
    names = [name for given in names for name in GROUPS.get(given, [given])]
    unknown = [name for name in names if name not in found]
    if unknown:
        sys.exit(f"no model is called {', '.join(unknown)}; there are all, {', '.join([*GROUPS, *found])}")
    chosen = {name: found[name] for name in names or generate.NETWORKS}
    for name in chosen:
        if name in generated:
            (quantized if name in quantized.INT8 else generate).write(ROOT / "build" / "bench-models", name)
    return chosen


FIRST_RESULTS = 5  # processes of each engine

# What files leave open and random numbers cannot be: 512 samples after 64 of context, at 16 kHz.
SHAPES = {"silero_vad_v6": {"input": [1, 576]}}
NUMBERS = {"silero_vad_v6": {"sr": 16000}}


def feeds_of(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Random arrays for the graph's inputs. What is open is 1, but for the height and width of images: 320."""
    graph = onnx.load(path, load_external_data=False).graph
    stored = {item.name for item in graph.initializer}
    random = np.random.default_rng(0)
    feeds = {}
    for item in graph.input:
        if item.name in stored:
            continue
        tensor = item.type.tensor_type
        images = len(tensor.shape.dim) == 4
        shape = [dim.dim_value or (320 if images and axis >= 2 else 1) for axis, dim in enumerate(tensor.shape.dim)]
        shape = SHAPES.get(path.stem, {}).get(item.name, shape)
        number = NUMBERS.get(path.stem, {}).get(item.name, 1)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        values = random.standard_normal(shape) if np.issubdtype(dtype, np.floating) else np.full(shape, number)
        feeds[item.name] = values.astype(dtype)
    return feeds


def difference(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """The largest, relative to the largest value of the output that it is in."""
    worst = 0.0
    for a, b in zip(ours, theirs):
        scale = float(np.abs(b).max(initial=1e-30))
        worst = max(worst, float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0)) / scale)
    return worst


def take_turns(runs: dict[str, peers.Run], feeds: dict[str, np.ndarray], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Milliseconds of every run, by engine."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            run(feeds)  # brings the caches back, and lets the others' threads come to rest
            end = time.perf_counter() + seconds
            while True:
                start = time.perf_counter()
                run(feeds)
                now = time.perf_counter()
                times[name].append((now - start) * 1e3)
                if now >= end:
                    break
    return times


def measure(path: pathlib.Path, chosen: list[str], threads: int, rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    feeds = feeds_of(path)
    runs, results = {}, {}
    for name in chosen:
        try:
            runs[name] = peers.ENGINES[name](os.fspath(path), threads)
            results[name] = [np.array(value) for value in runs[name](feeds)]
        except Exception as error:  # noqa: BLE001 - an engine that cannot run a model is left out, aloud
            print(f"    {name} cannot run it: {str(error).splitlines()[0][:100]}")
            runs.pop(name, None)
    if not runs:
        return {}
    cold = first_result.measure(path, list(runs), threads, feeds, FIRST_RESULTS)
    times = take_turns(runs, feeds, rounds, seconds)
    reference = results.get("ONNX Runtime", next(iter(results.values())))
    return {
        name: {
            "median_ms": float(np.median(times[name])),
            "p10_ms": float(np.percentile(times[name], 10)),
            "runs": len(times[name]),
            "cold_ms": cold[name],
            "difference": difference(results[name], reference),
        }
        for name in runs
    }


def cpu() -> str:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    sets = [name for name in ("avx2", "avx512f", "avx512_vnni", "amx_tile") if name in flags]
    asked_for = f", MEZZO_TARGET={os.environ['MEZZO_TARGET']}" if "MEZZO_TARGET" in os.environ else ""
    return f"{model}, {os.cpu_count()} CPUs, {' '.join(sets)}{asked_for}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", default=[], help="names; 'all' adds the trained ones that are there, 'families' and 'quantized' are more networks")
    parser.add_argument("--engines", nargs="*", default=list(peers.ENGINES), choices=list(peers.ENGINES))
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each engine in each round")
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    install()
    report: dict[str, object] = {"cpu": cpu(), "results": []}
    print(report["cpu"])
    logs: list[float] = []
    for name, path in models(arguments.models).items():
        for threads in arguments.threads:
            print(f"{name}, {threads} thread{'s' if threads > 1 else ''}")
            figures = measure(path, arguments.engines, threads, arguments.rounds, arguments.seconds)
            ours = figures.get("mezzo", {}).get("median_ms")
            for engine, figure in figures.items():
                ratio = f"{figure['median_ms'] / ours:5.2f}x" if ours else ""
                print(
                    f"    {engine:13s} {figure['median_ms']:9.2f} ms  {ratio}   first result {figure['cold_ms']:7.0f} ms"
                    f"   differs by {figure['difference']:.1e}"
                )
            others = [figure["median_ms"] for engine, figure in figures.items() if engine != "mezzo"]
            if ours and others:
                logs.append(np.log(min(others) / ours))
            report["results"].append({"model": name, "threads": threads, "engines": figures})
    if logs:
        print(f"geometric mean against the best other engine: {np.exp(np.mean(logs)):.2f}x")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
