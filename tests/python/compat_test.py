"""mezzo.compat: unmodified programs. Each runs in a process of its own."""

import os
import subprocess
import sys
import textwrap

import pytest
from small_models import two_layers


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.onnx").write_bytes(two_layers())
    return tmp_path


def python(folder, *arguments):
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, env=os.environ)


def program(folder, text):
    result = python(folder, "-c", textwrap.dedent(text))
    assert result.returncode == 0, result.stderr
    return result.stdout


START = "import mezzo, mezzo.compat\nort = mezzo.compat.onnxruntime()\n"


def test_import_gives_mezzo(folder):
    text = (
        START + "import onnxruntime\nassert onnxruntime is ort\nprint(onnxruntime.InferenceSession is mezzo.InferenceSession)"
    )
    assert program(folder, text) == "True\n"


def test_versions(folder):
    text = START + (
        "import onnxruntime, importlib.metadata as m\n"
        "print(onnxruntime.__version__, onnxruntime.get_version_string(), m.version('onnxruntime'), m.version('OnnxRuntime'))\n"
        "print(onnxruntime.capi.build_and_package_info.__version__, mezzo.__version__ != '1.32.0')\n"
        "print(m.distribution('onnxruntime').metadata['Name'])\n"
        "if hasattr(m, 'packages_distributions'):\n"  # Python 3.10
        "    assert set(m.packages_distributions()['onnxruntime']) == {'onnxruntime'}\n"
    )
    assert program(folder, text) == "1.32.0 1.32.0 1.32.0 1.32.0\n1.32.0 True\nonnxruntime\n"


def test_the_package_is_answered_for_by_mezzo(folder):
    text = START + "import importlib.metadata as m\nprint(m.distribution('onnxruntime').locate_file('x').parent.name)"
    assert program(folder, text) == "mezzo\n"


def test_other_packages_are_left_alone(folder):
    text = START + (
        "import importlib.metadata as m, importlib.util as u\n"
        "print(m.version('numpy') == __import__('numpy').__version__, u.find_spec('onnxruntime_extensions'))\n"
        "try: m.version('onnxruntime-gpu')\n"
        "except m.PackageNotFoundError: print('not there')\n"
    )
    assert program(folder, text) == "True None\nnot there\n"


def test_specs_are_found(folder):
    text = START + (
        "import importlib.util as u, os\n"
        "spec = u.find_spec('onnxruntime')\n"
        "print(spec.name, os.path.basename(os.path.dirname(spec.origin)), bool(u.find_spec('onnxruntime.capi._pybind_state')))\n"
        "print(u.find_spec('onnxruntime.training'), os.path.isdir(os.path.dirname(ort.__file__)))\n"
    )
    assert program(folder, text) == "onnxruntime mezzo True\nNone True\n"


def test_inner_modules(folder):
    text = START + (
        "from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument, OrtValue as C\n"
        "from onnxruntime.capi import _pybind_state\n"
        "from onnxruntime.capi.onnxruntime_inference_collection import OrtValue\n"
        "import onnxruntime.backend as backend\n"
        "import onnxruntime\n"
        "print(InvalidArgument is onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument is mezzo.InvalidArgument)\n"
        "print(C is OrtValue is _pybind_state.OrtValue, backend.supports_device('CPU'))\n"
        "from onnxruntime import *\n"
        "print(InferenceSession is mezzo.InferenceSession)\n"
    )
    assert program(folder, text) == "True\nTrue True\nTrue\n"


def test_missing_packages_say_why(folder):
    text = START + (
        "try: from onnxruntime.quantization import quantize_dynamic\n"
        "except ImportError as error: print(type(error).__name__, error)\n"
    )
    assert program(folder, text).startswith("ModuleNotFoundError onnxruntime.quantization is not part of mezzo: ")


def test_twice_is_once(folder):
    text = START + (
        "import sys\n"
        "assert mezzo.compat.onnxruntime() is ort\n"
        "print(sum(type(finder).__module__.startswith('mezzo') for finder in sys.meta_path))\n"
    )
    assert program(folder, text) == "1\n"


def test_the_real_one_was_first(folder):
    pytest.importorskip("onnxruntime")
    text = (
        "import onnxruntime, mezzo.compat\n"
        "try: mezzo.compat.onnxruntime()\n"
        "except RuntimeError as error: print(error)\n"
        "print(onnxruntime.InferenceSession.__module__)\n"
    )
    said, module = program(folder, text).splitlines()
    assert "before anything imports it" in said
    assert module.startswith("onnxruntime.")


SCRIPT = """
import sys, os, onnxruntime as ort, neighbour
print(__name__, sys.argv[1:], os.path.basename(sys.argv[0]), neighbour.NAME)
session = ort.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
print(session.run(["features"], {"x": [[1.0, -2.0]]})[0].tolist())
try:
    session.run(None, {"x": [1.0]})
except ort.capi.onnxruntime_pybind11_state.InvalidArgument:
    print("caught")
sys.exit(7)
"""


def write_script(folder):
    (folder / "programs").mkdir()
    (folder / "programs" / "script.py").write_text(SCRIPT)
    (folder / "programs" / "neighbour.py").write_text("NAME = 'beside it'\n")


def test_a_script_from_outside(folder):
    write_script(folder)
    result = python(folder, "-m", "mezzo.compat", "programs/script.py", "--flag", "value")
    assert (result.returncode, result.stderr) == (7, "")
    assert result.stdout == "__main__ ['--flag', 'value'] script.py beside it\n[[1.0, 0.0]]\ncaught\n"


def test_a_module_from_outside(folder):
    write_script(folder)
    os.rename(folder / "programs" / "neighbour.py", folder / "neighbour.py")
    result = python(folder, "-m", "mezzo.compat", "-m", "programs.script", "--flag")
    assert (result.returncode, result.stderr) == (7, "")
    assert result.stdout == "__main__ ['--flag'] script.py beside it\n[[1.0, 0.0]]\ncaught\n"


def test_usage(folder):
    for arguments, code, stream in ((), 2, "stderr"), (("-m",), 2, "stderr"), (("--help",), 0, "stdout"):
        result = python(folder, "-m", "mezzo.compat", *arguments)
        assert result.returncode == code
        assert getattr(result, stream).startswith("usage: python -m mezzo.compat")


def test_a_script_that_is_not_there(folder):
    result = python(folder, "-m", "mezzo.compat", "none_such.py")
    assert result.returncode == 1
    assert "none_such.py" in result.stderr
