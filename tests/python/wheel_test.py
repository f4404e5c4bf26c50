"""The wheel: built, its libraries put in, installed where there is nothing else, and used."""

import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest
from elftools.elf.elffile import ELFFile
from small_models import convolutions

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What a Linux with Python and NumPy has in any case: libc, the zlib that Python needs, and the C++ runtime that NumPy needs.
SYSTEM = {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "libz.so.1", "libstdc++.so.6", "libgcc_s.so.1"}

PROGRAM = """
import mezzo, numpy as np, sys
session = mezzo.InferenceSession(sys.argv[1])
picture = mezzo.image.load(sys.argv[2], mezzo.image.imagenet())
scores, features = session.run(["scores", -2], {"data": picture})
assert scores.shape == (1, 5) and features.shape == (1, 16)
print(mezzo.__file__)
"""


def run(*command, **kwargs):
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, **kwargs)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """As a release would have it. Compilation comes from the compiler's cache where there is one."""
    folder = tmp_path_factory.mktemp("wheel")
    environment = {**os.environ, "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"}
    if shutil.which("ccache"):
        # The compiler by the name that the build uses: the cache knows compilers by their names.
        environment |= {"CMAKE_CXX_COMPILER_LAUNCHER": "ccache", "CC": "/usr/bin/cc", "CXX": "/usr/bin/c++"}
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder / "raw", ROOT, env=environment)
    (raw,) = (folder / "raw").glob("mezzo-*.whl")
    run(sys.executable, "-m", "auditwheel", "repair", raw, "-w", folder, env=environment)
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


def test_it_works_in_a_fresh_environment(wheel, tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    pillow.new("RGB", (300, 260), (10, 200, 30)).save(tmp_path / "picture.jpg")
    (tmp_path / "model.onnx").write_bytes(convolutions())
    run(sys.executable, "-m", "venv", tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    # NumPy and ml_dtypes from this environment: the test must not need a network.
    site = pathlib.Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    import ml_dtypes
    import numpy

    for package in (numpy, ml_dtypes):
        source = pathlib.Path(package.__file__).parent
        for part in source.parent.glob(f"{source.name}*"):
            (site / part.name).symlink_to(part)
    run(python, "-m", "pip", "--disable-pip-version-check", "install", "--no-index", "--no-deps", wheel)
    # No compiler and nothing else on the PATH, and none of this process's settings.
    where = run(python, "-c", PROGRAM, tmp_path / "model.onnx", tmp_path / "picture.jpg", env={"PATH": ""}, cwd=tmp_path)
    assert where.strip().startswith(str(tmp_path))
