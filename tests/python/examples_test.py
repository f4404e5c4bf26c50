"""The programs in examples/python do what they say."""

import pathlib
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from small_models import convolutions

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples" / "python"


def run(name, *arguments):
    return subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, arguments)], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, and pictures of which the last two are nearly the same."""
    pillow = pytest.importorskip("PIL.Image")
    path = tmp_path_factory.mktemp("examples")
    (path / "model.onnx").write_bytes(convolutions())
    (path / "pictures").mkdir()
    random = np.random.default_rng(3)
    pictures = [random.integers(0, 256, (300, 280, 3), np.uint8) for _ in range(2)]
    pictures.append(pictures[1] ^ np.uint8(1))
    for i, pixels in enumerate(pictures):
        pillow.fromarray(pixels).save(path / "pictures" / f"{i}.png")
    return path


def test_feature_vectors(folder):
    text = run("feature_vectors.py", folder / "model.onnx", folder / "pictures", "features", "-o", folder / "out.npz")
    saved = np.load(folder / "out.npz")
    assert saved["vectors"].shape == (3, 16)
    assert saved["names"].tolist() == ["0.png", "1.png", "2.png"]
    assert "most alike: 1.png and 2.png" in text


def test_activation_patching(folder):
    pictures = folder / "pictures"
    lines = run("activation_patching.py", folder / "model.onnx", pictures / "0.png", pictures / "1.png").splitlines()
    shares = {line.split()[-1]: float(line.split()[0].rstrip("%")) for line in lines}
    # Whichever layer of a chain is restored, everything behind it is that of the clean run.
    assert shares == {"c1": 100.0, "c2": 100.0}


def test_compare_models(folder):
    changed = onnx.load_from_string(convolutions())
    (weights,) = (item for item in changed.graph.initializer if item.name == "w2")
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * np.float32(1.1), "w2"))
    onnx.save(changed, folder / "changed.onnx")
    assert "They part at 'c2'." in run("compare_models.py", folder / "model.onnx", folder / "changed.onnx")
    assert "They agree" in run("compare_models.py", folder / "model.onnx", folder / "model.onnx")
