"""Token after token: a decoder whose past grows has new shapes in every run. Against ONNX Runtime, in turns.

    ./dev bench decoding [--layers N] [--threads N] [--tokens N]

"growing" feeds each run what the one before has given, "the same" always the same past: the difference is what new shapes
cost. Milliseconds of a token, medians.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import time

import numpy as np
import onnx
import onnxruntime

import mezzo

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[1:1] = [os.fspath(ROOT / "bench" / "models")]

import growing  # noqa: E402
from engines import session_of  # noqa: E402

# Tokens in the past of the first round; rounds of each way.
PAST, ROUNDS = 64, 5


def decode(session, tokens: int, begin: int, grows: bool) -> tuple[list[float], list[int]]:
    """Milliseconds of each token behind `begin` others, and which it was."""
    names = [output.name for output in session.get_outputs()]
    random = np.random.default_rng(1)
    shape = (1, growing.GROUPS, begin, growing.SIZE)
    past = {name.replace("present", "past"): random.standard_normal(shape).astype(np.float32) for name in names[1:]}
    times, chosen = [], [5]
    for step in range(tokens):
        position = begin + step if grows else begin
        feeds = past | {"input_ids": np.array([[chosen[-1]]]), "position_ids": np.array([[position]])}
        start = time.perf_counter()
        logits, *present = session.run(names, feeds)
        times.append((time.perf_counter() - start) * 1e3)
        chosen.append(int(logits[0, -1].argmax()))
        if grows:
            past = dict(zip(past, present))
    return times, chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=60)
    arguments = parser.parse_args()
    path = ROOT / "build" / "bench-models" / f"growing{arguments.layers}.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(growing.decoder(arguments.layers), path)
    source, threads = os.fspath(path), arguments.threads
    # Threads that spin behind a run would take the other engine's time.
    theirs = session_of(onnxruntime, source, threads, **{"session.intra_op.allow_spinning": "0"})
    sessions = {"mezzo": session_of(mezzo, source, threads), "onnxruntime": theirs}
    times: dict[tuple, list[float]] = {}
    for turn in range(ROUNDS + 1):
        for grows in (True, False):
            found = {}
            for name, session in sessions.items():
                # Each round goes on where the one before has ended, so that its shapes are new.
                own, found[name] = decode(session, arguments.tokens, PAST + turn * arguments.tokens, grows)
                if turn > 0:  # the first packs weights
                    times.setdefault((name, grows), []).extend(own)
            if found["mezzo"] != found["onnxruntime"]:
                print("the engines do not choose the same tokens: a tie, or a defect")
    for grows, label in ((True, "growing"), (False, "the same")):
        ours, theirs = (float(np.median(times[name, grows])) for name in ("mezzo", "onnxruntime"))
        print(f"past {label:9s} mezzo {ours:7.2f} ms   ONNX Runtime {theirs:7.2f} ms   {theirs / ours:5.2f}x")


if __name__ == "__main__":
    main()
