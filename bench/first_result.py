"""The first result from a cold start: load, plan, pack and run, in a process of its own that has run nothing yet.

    first_result.py ENGINE MODEL FEEDS THREADS      prints the milliseconds; bench/peers.py calls it
"""

from __future__ import annotations

import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

import engines as peers


def measure(path: pathlib.Path, chosen: list[str], threads: int, feeds: dict[str, np.ndarray], rounds: int) -> dict[str, float]:
    """Milliseconds by engine, medians over `rounds` processes each, in turns; NaN for one that has none."""
    times: dict[str, list[float]] = {name: [] for name in chosen}
    with tempfile.TemporaryDirectory() as folder:
        arrays = pathlib.Path(folder) / "feeds.npz"
        np.savez(arrays, **feeds)
        for _ in range(rounds):
            for name in chosen:
                command = [sys.executable, __file__, name, os.fspath(path), os.fspath(arrays), str(threads)]
                answer = subprocess.run(command, capture_output=True, text=True)
                if answer.returncode == 0:
                    times[name].append(float(answer.stdout.split()[-1]))
                else:
                    print(f"    {name} gives no first result: exit status {answer.returncode}, {answer.stderr[-200:].strip()}")
    return {name: statistics.median(values) if values else math.nan for name, values in times.items()}


def main() -> None:
    engine, path, arrays, threads = sys.argv[1:]
    sys.path.append(os.fspath(peers.PACKAGES))
    with np.load(arrays) as stored:
        feeds = dict(stored)
    peers.PREPARATIONS[engine](path)
    # The file's pages, and memory: a virtual machine would make whoever comes first wait for what it has never had.
    np.full(4 * len(pathlib.Path(path).read_bytes()), 1, np.uint8)
    start = time.perf_counter()
    for output in peers.ENGINES[engine](path, int(threads))(feeds):
        np.array(output)
    print((time.perf_counter() - start) * 1e3)


if __name__ == "__main__":
    main()
