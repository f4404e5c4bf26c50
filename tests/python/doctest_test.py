"""The examples in the docstrings run, the types hold, and every public function has a docstring."""

import doctest
import importlib
import inspect
import os
import pathlib
import pkgutil
import subprocess
import sys

import numpy as np
import pytest
from small_models import two_layers

import mezzo
from mezzo import unavailable

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
# The engine, and those whose import only says why they are not there.
EXCEPT = {"mezzo._core", *(f"mezzo.{name}" for name in unavailable.PACKAGES)}


def modules():
    for info in pkgutil.walk_packages(mezzo.__path__, "mezzo."):
        if info.name not in EXCEPT and not info.name.endswith("__main__"):
            yield info.name


@pytest.mark.parametrize("name", ["mezzo", *modules()])
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    globs = {**vars(module), "example": two_layers(), "np": np}
    tests = doctest.DocTestFinder().find(module, name, globs=globs)
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in tests:
        assert runner.run(test).failed == 0, test.name


def test_public_functions_are_documented():
    missing = []
    for name in dir(mezzo):
        item = getattr(mezzo, name)
        if name.startswith("_") or inspect.ismodule(item) or not (inspect.isclass(item) or inspect.isfunction(item)):
            continue
        if not inspect.getdoc(item):
            missing.append(name)
        if not inspect.isclass(item) or not item.__module__.startswith("mezzo"):
            continue
        members = inspect.getmembers(item, inspect.isfunction)
        missing += [f"{name}.{key}" for key, value in members if not key.startswith("_") and not inspect.getdoc(value)]
    assert not missing


def test_types_hold():
    pytest.importorskip("mypy")
    package = pathlib.Path(mezzo.__path__[0])
    if not (package / "_core.pyi").exists():
        pytest.skip("the module's stub is not built")
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", "--cache-dir", os.devnull, package],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
