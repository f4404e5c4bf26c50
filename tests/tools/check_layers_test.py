"""tools/check_layers: the sources keep the rules, and what breaks one is found."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def check(root):
    done = subprocess.run([sys.executable, ROOT / "tools" / "check_layers", "--root", root],
                          capture_output=True, text=True)
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.fixture
def house(tmp_path):
    """A small house in order: every folder includes what it may."""
    files = {
        "include/mezzo/tensor.h": "#include <vector>\n#include \"mezzo/error.h\"\n",
        "include/mezzo/error.h": "#pragma once\n",
        "src/base/shape.h": "#include <cmath>\n#include \"mezzo/tensor.h\"\n",
        "src/onnx/reader.cc": "#include <fcntl.h>\n#include \"base/shape.h\"\n#include \"onnx/reader.h\"\n",
        "src/kernels/gemm.h": "#include \"hwy/highway.h\"\n#include \"base/shape.h\"\n",
        "src/ops/gemm.cc": "#include \"kernels/gemm.h\"\n#include \"graph/graph.h\"\n",
        "src/image/decode.cc": "#include <jpeglib.h>\n#include \"mezzo/tensor.h\"\n",
        "src/cli/run.cc": "#include \"runtime/session.h\"\n#include \"image/decode.h\"\n",
        "bench/gemm.cc": "#include \"kernels/gemm.h\"\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_the_sources_keep_the_rules():
    status, output = check(ROOT)
    assert (status, output) == (0, "")


def test_a_house_in_order(house):
    assert check(house) == (0, "")


@pytest.mark.parametrize("file, line", [
    ("src/base/shape.h", '#include "onnx/model.h"'),
    ("src/onnx/reader.cc", '#include "graph/graph.h"'),
    ("src/ops/gemm.cc", '#include "runtime/session.h"'),
    ("src/ops/gemm.cc", '#include "image/decode.h"'),
    ("src/onnx/reader.cc", '#include "kernels/gemm.h"'),
    ("src/cli/run.cc", '#  include "kernels/gemm.h"'),
    ("src/cli/run.cc", "#include <kernels/gemm.h>"),
    ("src/kernels/gemm.h", '#include "ops/op.h"'),
    ("src/image/decode.cc", '#include "store/npy.h"'),
    ("src/image/decode.cc", '#include "../kernels/gemm.h"'),
    ("src/image/decode.cc", '#include "decode.h"'),
    ("include/mezzo/tensor.h", '#include "base/shape.h"'),
    ("include/mezzo/tensor.h", '#include "mezzo/missing.h"'),
    ("include/mezzo/tensor.h", "#include <hwy/highway.h>"),
    ("include/mezzo/tensor.h", "#include <unistd.h>"),
])
def test_a_planted_violation_is_found(house, file, line):
    path = house / file
    number = len(path.read_text().splitlines()) + 1
    path.write_text(path.read_text() + line + "\n")
    status, output = check(house)
    assert status == 1
    assert output.startswith(f"{file}:{number}: ")
    assert output.endswith("\n1 violation\n")


def test_every_violation_is_printed(house):
    for file in ("src/base/shape.h", "src/kernels/gemm.h"):
        (house / file).write_text('#include "ops/op.h"\n' * 2)
    status, output = check(house)
    assert status == 1
    assert len(output.splitlines()) == 5


def test_a_folder_without_a_layer_is_found(house):
    (house / "src" / "utils").mkdir()
    (house / "src" / "utils" / "strings.h").write_text("#pragma once\n")
    status, output = check(house)
    assert status == 1 and "src/utils has no layer" in output


@pytest.mark.parametrize("file", ["src/ops/conv.cc", "tests/ops/conv_test.py"])
def test_a_file_past_800_lines_is_found(house, file):
    path = house / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n" * 800)
    assert check(house) == (0, "")
    path.write_text("\n" * 801)
    status, output = check(house)
    assert status == 1 and f"{file}:801: 801 lines" in output
