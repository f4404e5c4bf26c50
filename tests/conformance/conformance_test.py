"""The official backend tests of the onnx package, on every kernel set of this machine.

not_passing.txt lists the cases that do not pass; a case that is listed and passes fails this test like one that is not
listed and does not. To see why a case fails:

    build/release/tests/conformance_main build/conformance/manifest.jsonl 'test_softmax*'
"""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).parent
CASES = ROOT / "build" / "conformance"
PROGRAM = pathlib.Path(os.environ["MEZZO_TEST_PROGRAMS"], "conformance_main")
TARGETS = ("scalar", "sse4", "avx2", "avx512", "neon")


@pytest.fixture(scope="module")
def manifest() -> pathlib.Path:
    subprocess.run([sys.executable, HERE / "export_cases.py", CASES], check=True)
    return CASES / "manifest.jsonl"


@pytest.fixture(scope="module")
def available() -> list[str]:
    listing = subprocess.run([PROGRAM, "--targets"], check=True, capture_output=True, text=True)
    return listing.stdout.split()


def read_names(path: pathlib.Path) -> list[str]:
    """The lines of a list, without comments."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


@pytest.mark.parametrize("target", TARGETS)
def test_cases(target, manifest, available, tmp_path):
    if target not in available:
        pytest.skip(f"this machine cannot run {target}")
    failed = tmp_path / "failed.txt"
    report = subprocess.run(
        [PROGRAM, manifest, "--list-failed", failed],
        env={**os.environ, "MEZZO_TARGET": target},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    listed = set(read_names(HERE / "not_passing.txt"))
    seen = set(read_names(failed))
    broken = [line for line in report.splitlines() if line.partition(": ")[0] in seen - listed]
    assert not broken, "not listed in not_passing.txt, but failing:\n" + "\n".join(broken)
    assert seen == listed, f"listed in not_passing.txt, but passing: {sorted(listed - seen)}"


def test_list_is_in_order(manifest):
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
