"""What the tests of the program share: a folder with models, an input and pictures."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from PIL import Image

pytest.register_assert_rewrite("program")

from program import save, save_classifier


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def classifier(folder):
    return save_classifier(folder / "classifier.onnx")


@pytest.fixture(scope="module")
def x(folder):
    array = np.random.default_rng(1).normal(size=(2, 3, 16, 16)).astype(np.float32)
    np.save(folder / "x.npy", array)
    return array


@pytest.fixture(scope="module")
def two_inputs(folder):
    return save(folder / "two.onnx",
                [helper.make_node("Add", ["a", "b=1"], ["sum"]),
                 helper.make_node("Neg", ["sum"], ["out"])],
                [("a", TensorProto.FLOAT, ["n"]), ("b=1", TensorProto.FLOAT, ["n"])],
                [("out", TensorProto.FLOAT, ["n"])])


@pytest.fixture(scope="module")
def pictures(folder):
    """Eleven PNG files of different sizes."""
    random = np.random.default_rng(2)
    paths = []
    for i in range(11):
        pixels = random.integers(0, 256, (20 + i, 30, 3), np.uint8)
        paths.append(folder / f"picture{i}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths
