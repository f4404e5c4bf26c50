"""Runs the official backend tests of the onnx package against mezzo.backend.

    run_backend.py [--part I/N] [PATTERN...]

Prints one JSON object: what failed and why, by name, as in "node/test_abs", and how many there were. A test that is skipped, or whose
backend says that it is not supposed to implement something, has failed. Patterns are globs over these names. --part runs
every Nth test, from the Ith on.
"""

import argparse
import fnmatch
import json
import os
import sys
import unittest
import warnings

import numpy as np
import onnx.backend.test
from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt

import mezzo
import mezzo.backend

KINDS = {"Node": "node", "Simple": "simple", "Real": "real", "PyTorchConverted": "pytorch-converted", "PyTorchOperator": "pytorch-operator"}


class Strict:
    """The backend, without the exception that the runner takes for a pass."""

    def __getattr__(self, name):
        function = getattr(mezzo.backend, name)

        def call(*args, **kwargs):
            try:
                return function(*args, **kwargs)
            except BackendIsNotSupposedToImplementIt as error:
                raise AssertionError(f"not implemented: {error}") from error

        return call


def cases():
    """(name, unittest case) of all tests for the CPU."""
    # What is expected of random operators is drawn here, and must not agree by chance now and then.
    np.random.seed(0)
    for kind, tests in onnx.backend.test.BackendTest(Strict(), __name__).test_cases.items():
        kind = KINDS[kind.removeprefix("OnnxBackend").removesuffix("ModelTest")]
        for name in unittest.defaultTestLoader.getTestCaseNames(tests):
            if name.endswith("_cpu"):
                yield f"{kind}/{name.removesuffix('_cpu')}", tests(name)


def outcome(case) -> str:
    """'' where the case passes, else why it does not."""
    mezzo.set_seed(0)
    result = unittest.TestResult()
    case.run(result)
    if result.skipped:
        return f"skipped: {result.skipped[0][1]}"
    problems = result.errors + result.failures
    return problems[0][1].strip().splitlines()[-1] or "failed" if problems else ""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("patterns", nargs="*")
    parser.add_argument("--part", default="0/1")
    arguments = parser.parse_args()
    part, parts = map(int, arguments.part.split("/"))
    warnings.simplefilter("ignore")
    answer, sys.stdout = sys.stdout, open(os.devnull, "w")  # some cases print
    chosen = [
        (name, case)
        for name, case in cases()
        if not arguments.patterns or any(fnmatch.fnmatch(name, pattern) for pattern in arguments.patterns)
    ][part::parts]
    failed = {}
    for name, case in chosen:
        print(name, file=sys.stderr, flush=True)  # the last one tells where a crash was
        if why := outcome(case):
            failed[name] = why
    json.dump({"count": len(chosen), "failed": failed}, answer, indent=1)


if __name__ == "__main__":
    main()
