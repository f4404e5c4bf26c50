"""tools/demo_data and tools/demo_model: the demo's network answers what the trained network must.

Needs the network the first time (the files are kept in build/demo) and skips where the downloads fail.
"""

import collections
import importlib.machinery
import importlib.util
import io
import pathlib
import pickle
import struct
import sys
import types

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]


def load_tool(name):
    loader = importlib.machinery.SourceFileLoader(name, str(ROOT / "tools" / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


demo_data = load_tool("demo_data")
demo_model = load_tool("demo_model")


@pytest.fixture(scope="module")
def data():
    folder = ROOT / "build" / "demo"
    try:
        demo_data.fetch(folder)
    except demo_data.DownloadFailed as error:
        pytest.skip(f"the demo's data cannot be downloaded: {error}")
    return folder


@pytest.fixture(scope="module")
def model(data):
    return demo_model.build(demo_model.read_weights(data / "efficientnet_lite0.pth"))


@pytest.fixture(scope="module")
def session(model):
    return onnxruntime.InferenceSession(model.SerializeToString(),
                                        providers=["CPUExecutionProvider"])


def preprocess(path):
    """As the weights' authors evaluate: short side 256 bicubic, the centre 224, (x - 127) / 128."""
    image = Image.open(path).convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize([round(side * scale) for side in image.size], Image.Resampling.BICUBIC)
    left, top = ((side - 224) // 2 for side in image.size)
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32)
    return ((pixels - 127) / 128).transpose(2, 0, 1)[None]


# What the network says in other runtimes; Pillow's versions differ by a unit in a few pixels.
@pytest.mark.parametrize("picture, expected", [
    ("chelsea.png", {282: 0.386, 285: 0.356, 281: 0.169}),
    ("coffee.png", {967: 0.951}),
])
def test_recognises(session, data, picture, expected):
    (probabilities,) = session.run(["probabilities"], {"image": preprocess(data / picture)})
    best = np.argsort(-probabilities[0])[:len(expected)]
    assert list(best) == list(expected)
    np.testing.assert_allclose(probabilities[0][best], list(expected.values()), atol=0.005)
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_labels_stand_in_class_order(data):
    labels = (data / demo_data.LABELS).read_text().splitlines()
    assert len(labels) == 1000
    # ImageNet's well-known numbers.
    assert labels[0].startswith("tench")
    assert "tiger cat" in labels[282]
    assert labels[967] == "espresso"
    assert "toilet tissue" in labels[999]


def test_every_value_has_a_readable_name(model):
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert all(list(node.output) == [node.name] for node in model.graph.node)
    assert names[:3] == ["stem/conv", "stem/norm", "stem/relu6"]
    assert "stage2/block2/add" in names
    assert "stage2/block1/add" not in names  # the first of a stage has no residual
    # 16 blocks: 15 with expansion; 49 convolutions in all, each with its normalisation.
    ops = collections.Counter(node.op_type for node in model.graph.node)
    assert ops == {"Conv": 49, "BatchNormalization": 49, "Clip": 33, "Add": 9,
                   "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1, "Softmax": 1}


def test_the_number_of_parameters_is_the_published_one(model):
    # 4.7 million, https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
    counts = [np.prod(tensor.dims) for tensor in model.graph.initializer
              if not tensor.name.endswith((".mean", ".var"))]
    assert round(sum(counts) / 1e6, 1) == 4.7


def test_bytes_are_the_same_each_time(model, data):
    again = demo_model.build(demo_model.read_weights(data / "efficientnet_lite0.pth"))
    assert (again.SerializeToString(deterministic=True)
            == model.SerializeToString(deterministic=True))


def test_what_is_there_is_not_fetched_again(data, monkeypatch):
    def no_network(*_):
        raise AssertionError("asked for a download")

    monkeypatch.setattr(demo_data, "download", no_network)
    demo_data.fetch(data)


def test_a_damaged_file_is_fetched_again(data, tmp_path, monkeypatch):
    asked = []
    for path in data.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "coffee.png").unlink()
    (tmp_path / "coffee.png").write_bytes(b"half a picture")

    def fake_download(requirement, folder):
        asked.append(requirement)
        raise demo_data.DownloadFailed(requirement)

    monkeypatch.setattr(demo_data, "download", fake_download)
    with pytest.raises(demo_data.DownloadFailed):
        demo_data.fetch(tmp_path)
    assert asked == ["scikit-image==0.26.0"]


class PersistentPickler(pickle.Pickler):
    """Writes tensors' storages as PyTorch does."""

    def persistent_id(self, obj):
        if isinstance(obj, demo_model.Storage):
            return ("storage", FloatStorage, obj.key, "cpu", obj.count, None)
        return None


class FloatStorage:
    pass


class Rebuilt:
    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return (_rebuild_tensor_v2, self.arguments)


def _rebuild_tensor_v2(*arguments):
    raise AssertionError("only its name is wanted")


def legacy_file(tmp_path, monkeypatch, shape, strides, values):
    """A file of the format before PyTorch 1.6 with one tensor `w`, whose storage starts with one unused number."""
    for obj, name in ((FloatStorage, "torch"), (_rebuild_tensor_v2, "torch._utils")):
        # Where a pickle finds what it names: in a stand-in for PyTorch.
        monkeypatch.setattr(obj, "__module__", name)
        stand_in = types.ModuleType(name)
        setattr(stand_in, obj.__name__, obj)
        monkeypatch.setitem(sys.modules, name, stand_in)
    storage = demo_model.Storage(np.dtype("<f4"), "7", len(values) + 1)
    file = io.BytesIO()
    for part in (demo_model.MAGIC_NUMBER, 1001, {"little_endian": True}):
        pickle.dump(part, file, 2)
    PersistentPickler(file, 2).dump(collections.OrderedDict(
        w=Rebuilt(storage, 1, shape, strides, False, collections.OrderedDict())))
    pickle.dump(["7"], file, 2)
    file.write(struct.pack("<q", len(values) + 1) + np.array([-1, *values], "<f4").tobytes())
    path = tmp_path / "weights.pth"
    path.write_bytes(file.getvalue())
    return path


def test_strides_are_honoured(tmp_path, monkeypatch):
    path = legacy_file(tmp_path, monkeypatch, (2, 3), (1, 2), [1, 2, 3, 4, 5, 6])
    weights = demo_model.read_weights(path)
    np.testing.assert_array_equal(weights["w"], [[1, 3, 5], [2, 4, 6]])
    assert weights["w"].flags.c_contiguous


def test_a_tensor_may_not_reach_past_its_storage(tmp_path, monkeypatch):
    path = legacy_file(tmp_path, monkeypatch, (2, 3), (1, 3), [1, 2, 3, 4, 5, 6])
    with pytest.raises(demo_model.BadWeights, match="past its storage"):
        demo_model.read_weights(path)


def test_a_pickle_may_not_call_what_it_likes():
    with pytest.raises(demo_model.BadWeights, match="posix.system|nt.system"):
        demo_model.RestrictedUnpickler(io.BytesIO(b"cposix\nsystem\n(S'true'\ntR.")).load()


def test_the_checker_accepts_it(model):
    onnx.checker.check_model(model, full_check=True)
