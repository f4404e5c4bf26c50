"""`cmake --install` gives a package that another CMake project finds, and the README's examples compile and run in it."""

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MEZZO_BUILD", ROOT / "build" / "release"))
SHARED = pathlib.Path(os.environ.get("MEZZO_SHARED", ROOT.parent / "shared"))


def call(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    if (BUILD / "CMakeCache.txt").read_text().split("MEZZO_SANITIZE:STRING=")[1].split("\n")[0]:
        pytest.skip("skipped: a sanitized library does not link into an ordinary program")
    folder = tmp_path_factory.mktemp("package")
    call("cmake", "--install", BUILD, "--prefix", folder / "prefix")
    call("cmake", "-S", ROOT / "tests" / "package", "-B", folder / "build", "-G", "Ninja",
         f"-DCMAKE_PREFIX_PATH={folder / 'prefix'}", "-DCMAKE_BUILD_TYPE=Release")
    call("cmake", "--build", folder / "build")
    return folder / "build" / "app"


def test_links_and_throws(app):
    done = subprocess.run([str(app)], capture_output=True, text=True)
    assert done.returncode == 7
    assert "no such file.onnx" in done.stdout


def test_readme_examples(app, tmp_path):
    model = SHARED / "models" / "squeezenet1.1.onnx"
    if not model.exists():
        pytest.skip("skipped: no shared data")
    shutil.copy(model, tmp_path / "squeezenet1.1.onnx")
    shutil.copy(SHARED / "images" / "winml_cat.jpg", tmp_path / "cat.jpg")
    done = subprocess.run([str(app), "readme"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "[1, 64, 111, 111]" in done.stdout
    assert (tmp_path / "backbone.onnx").stat().st_size < (tmp_path / "exposed.onnx").stat().st_size


def test_readme_shows_what_is_compiled():
    """Every line of code in the README's C++ examples stands in the program that was just compiled."""
    app_text = "".join((ROOT / "tests" / "package" / "app.cc").read_text().split())
    blocks = (ROOT / "README.md").read_text().split("```cpp\n")[1:]
    assert blocks
    for block in blocks:
        for line in block.split("```")[0].split("\n"):
            line = line.split("//")[0].strip()
            if line and not line.startswith("#include"):
                assert "".join(line.split()) in app_text, line
