"""The wheel: built, its libraries put in, installed where there is nothing else, and used."""

import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import ml_dtypes
import numpy
import pytest
from elftools.elf.elffile import ELFFile
from small_models import convolutions

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What is part of the GNU libc.
SYSTEM = {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "libpthread.so.0", "libdl.so.2"}

PROGRAM = """
import mezzo, numpy as np, sys
session = mezzo.InferenceSession(sys.argv[1])
picture = mezzo.image.load(sys.argv[2], mezzo.image.imagenet())
scores, features = session.run(["scores", -2], {"data": picture})
assert scores.shape == (1, 5) and features.shape == (1, 16)
print(mezzo.__file__)
"""
# The error names what this machine can run.
TARGETS = "import mezzo, numpy, sys; mezzo.InferenceSession(sys.argv[1]).run(None, {'data': numpy.zeros((1, 3, 224, 224), 'f')})"


def run(*command, **kwargs):
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, **kwargs)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """As a release would have it. Compilation comes from the compiler's cache where there is one."""
    folder = tmp_path_factory.mktemp("wheel")
    environment = dict(os.environ)
    if shutil.which("ccache"):
        # The compiler by the name that the build uses: the cache knows compilers by their names.
        environment |= {"CMAKE_CXX_COMPILER_LAUNCHER": "ccache", "CC": "/usr/bin/cc", "CXX": "/usr/bin/c++"}
    run(sys.executable, ROOT / "tools" / "release_wheel", folder, env=environment)
    (repaired,) = folder.glob("mezzo-*.whl")
    return repaired


def test_it_needs_nothing_but_libc(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
        names = archive.namelist()
    libraries = [path for path in tmp_path.rglob("*") if ".so" in path.name]
    inside = {path.name for path in libraries}
    assert any("_core" in name for name in inside)
    for path in libraries:
        with path.open("rb") as file:
            dynamic = ELFFile(file).get_section_by_name(".dynamic")
            needed = {tag.needed for tag in dynamic.iter_tags("DT_NEEDED")}
        assert needed <= SYSTEM | inside, f"{path.name} needs {needed - SYSTEM - inside}"
    assert {"mezzo/py.typed", "mezzo/_core.pyi", "mezzo/__init__.py"} <= set(names)
    assert not [name for name in names if name.endswith((".cc", ".h", ".a", ".cmake"))]


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A virtual environment with the wheel. NumPy and ml_dtypes are this environment's: the test must not need a network."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    site = pathlib.Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    for package in (numpy, ml_dtypes):
        source = pathlib.Path(package.__file__).parent
        for part in source.parent.glob(f"{source.name}*"):
            (site / part.name).symlink_to(part)
    run(python, "-m", "pip", "--disable-pip-version-check", "install", "--no-index", "--no-deps", wheel)
    return folder


def test_it_works_in_a_fresh_environment(environment, tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    (tmp_path / "model.onnx").write_bytes(convolutions())
    for ending in ("jpg", "png", "webp"):
        pillow.new("RGB", (300, 260), (10, 200, 30)).save(tmp_path / f"picture.{ending}")
        command = [environment / "bin" / "python", "-c", PROGRAM, tmp_path / "model.onnx", tmp_path / f"picture.{ending}"]
        # No compiler and nothing else on the PATH, and none of this process's settings.
        where = run(*command, env={"PATH": ""}, cwd=tmp_path)
        assert where.strip().startswith(str(environment))


def test_it_finds_the_instruction_sets_that_highways_library_finds(environment, tmp_path):
    """The wheel has code of its own for that (src/kernels/highway/)."""
    (tmp_path / "model.onnx").write_bytes(convolutions())
    answers = []
    for python, path in ((environment / "bin" / "python", ""), (sys.executable, os.environ.get("PYTHONPATH", ""))):
        command = [python, "-c", TARGETS, tmp_path / "model.onnx"]
        settings = {"MEZZO_TARGET": "none", "PYTHONPATH": path}
        result = subprocess.run(command, capture_output=True, text=True, env=settings, cwd=tmp_path)
        answers.append(result.stderr.splitlines()[-1])
    assert "one of scalar" in answers[0]
    assert answers[0] == answers[1]
