"""The official backend tests of the onnx package, run against mezzo.backend on every kernel set of this machine.

not_passing.txt lists the tests that do not pass; one that is listed and passes fails this test like one that is not listed and does
not. To see why a test fails:

    PYTHONPATH=build/release/python .venv/bin/python tests/conformance/run_backend.py 'node/test_softmax*'
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
TARGETS = ("scalar", "sse4", "avx2", "avx512", "amx", "neon")
COUNT = 2033  # of onnx 1.23.2: 1,884 node, 23 simple, 82 + 35 converted, 9 light


def listed() -> set[str]:
    """The names in not_passing.txt."""
    lines = (HERE / "not_passing.txt").read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def available() -> list[str]:
    """The instruction sets that MEZZO_TARGET may name here."""
    program = pathlib.Path(os.environ["MEZZO_TEST_PROGRAMS"], "conformance_main")
    return subprocess.run([program, "--targets"], check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.parametrize("target", TARGETS)
def test_cases(target):
    if target not in available():
        pytest.skip(f"this machine cannot run {target}")
    run = subprocess.run(
        [sys.executable, HERE / "run_backend.py"],
        env={**os.environ, "MEZZO_TARGET": target},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, f"ended by {run.returncode}; the last lines were\n{run.stderr[-2000:]}"
    report = json.loads(run.stdout)
    assert report["count"] == COUNT
    broken = {name: why for name, why in report["failed"].items() if name not in listed()}
    assert not broken, "not listed in not_passing.txt, but failing"
    passing = listed() - report["failed"].keys()
    assert not passing, "listed in not_passing.txt, but passing"


def test_a_skip_is_a_failure(monkeypatch):
    """The runner takes what a backend says that it is not supposed to implement for a pass."""
    import run_backend
    from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt

    def refuse(*args, **kwargs):
        raise BackendIsNotSupposedToImplementIt("not mine")

    monkeypatch.setattr(run_backend.mezzo.backend, "prepare", refuse)
    case = next(case for name, case in run_backend.cases() if name == "node/test_abs")
    assert "not mine" in run_backend.outcome(case)


def test_list_is_in_order():
    """Each group (a comment and the names under it) is sorted, and no name stands in two."""
    groups: list[list[str]] = [[]]
    for line in (HERE / "not_passing.txt").read_text().splitlines():
        if line.startswith("#"):
            groups.append([])
        elif line:
            groups[-1].append(line)
    assert not groups[0], "every name stands under a comment that says why"
    for group in groups:
        assert group == sorted(group)
    names = [name for group in groups for name in group]
    assert len(names) == len(set(names))
