"""The networks of the benchmarks, from their papers, with weights from a seed: speed does not depend on their values.

    generate.py FOLDER [NAME...]

writes FOLDER/NAME.onnx for squeezenet1.1, mobilenet_v2, resnet50, resnet50_batch8 and minilm, or those of families.py that are named.
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import onnx
from families import FAMILIES
from layers import Network
from onnx import TensorProto


def squeezenet() -> onnx.ModelProto:
    """SqueezeNet 1.1: Iandola et al., 2016, with the first layers of the authors' version 1.1."""
    net = Network("squeezenet1.1", 11)
    x = net.node("Relu", [net.conv(net.input("data", [1, 3, 224, 224]), (3, 64), 3, 2, bias=True)])
    channels = 64
    for i, (squeeze, expand) in enumerate([(16, 64)] * 2 + [(32, 128)] * 2 + [(48, 192)] * 2 + [(64, 256)] * 2):
        if i in (0, 2, 4):
            x = net.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2])
        x = net.node("Relu", [net.conv(x, (channels, squeeze), 1, bias=True)])
        parts = [net.node("Relu", [net.conv(x, (squeeze, expand), kernel, bias=True)]) for kernel in (1, 3)]
        x = net.node("Concat", parts, axis=1)
        channels = 2 * expand
    x = net.node("Relu", [net.conv(x, (channels, 1000), 1, bias=True)])
    x = net.node("GlobalAveragePool", [x])
    net.node("Flatten", [x], "scores")
    return net.model({"scores": [1, 1000]})


def mobilenet() -> onnx.ModelProto:
    """MobileNetV2, width 1: Sandler et al., 2018, table 2."""
    net = Network("mobilenet_v2", 12)

    def block(x: str, channels: tuple[int, int], kernel: int, stride: int = 1, groups: int = 1, relu6: bool = True) -> str:
        x = net.batch_norm(net.conv(x, channels, kernel, stride, groups), channels[1])
        return net.node("Clip", [x, zero, six]) if relu6 else x

    zero, six = net.constant(np.float32(0)), net.constant(np.float32(6))
    x = block(net.input("data", [1, 3, 224, 224]), (3, 32), 3, 2)
    channels = 32
    for expansion, out, repeats, first_stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for i in range(repeats):
            stride, hidden, y = (first_stride if i == 0 else 1), channels * expansion, x
            if expansion > 1:
                y = block(y, (channels, hidden), 1)
            y = block(y, (hidden, hidden), 3, stride, hidden)
            y = block(y, (hidden, out), 1, relu6=False)
            x = net.node("Add", [x, y]) if stride == 1 and channels == out else y
            channels = out
    x = net.node("GlobalAveragePool", [block(x, (channels, 1280), 1)])
    x = net.node("Flatten", [x])
    net.node("Gemm", [x, net.weight(1000, 1280, fan_in=1280), net.uniform(-0.1, 0.1, 1000)], "scores", transB=1)
    return net.model({"scores": [1, 1000]})


def resnet50(batch: int = 1) -> onnx.ModelProto:
    """ResNet-50: He et al., 2015, with the stride in the 3x3 convolutions (torchvision's version 1.5)."""
    net = Network("resnet50", 13)

    def block(x: str, channels: tuple[int, int], kernel: int, stride: int = 1) -> str:
        return net.batch_norm(net.conv(x, channels, kernel, stride), channels[1])

    x = net.node("Relu", [block(net.input("data", [batch, 3, 224, 224]), (3, 64), 7, 2)])
    x = net.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for width, repeats in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for i in range(repeats):
            stride = 2 if i == 0 and width > 64 else 1
            y = net.node("Relu", [block(x, (channels, width), 1)])
            y = net.node("Relu", [block(y, (width, width), 3, stride)])
            y = block(y, (width, 4 * width), 1)
            shortcut = block(x, (channels, 4 * width), 1, stride) if i == 0 else x
            x = net.node("Relu", [net.node("Add", [y, shortcut])])
            channels = 4 * width
    x = net.node("Flatten", [net.node("GlobalAveragePool", [x])])
    net.node("Gemm", [x, net.weight(1000, 2048, fan_in=2048), net.uniform(-0.1, 0.1, 1000)], "scores", transB=1)
    return net.model({"scores": [batch, 1000]})


def minilm(length: int = 128) -> onnx.ModelProto:
    """MiniLM-L6-H384: Wang et al., 2020, as PyTorch's exporter writes a BERT encoder with opset 17: GELU from Erf, LayerNormalization as
    one node, attention from MatMul, Div, Add, Softmax and transposes."""
    net = Network("minilm", 14)
    width, heads, inner, words = 384, 12, 1536, 30522

    def linear(x: str, before: int, after: int) -> str:
        product = net.node("MatMul", [x, net.weight(before, after, fan_in=2 * before)])
        return net.node("Add", [net.uniform(-0.1, 0.1, after), product])

    def norm(x: str) -> str:
        scale, bias = net.uniform(0.8, 1.2, width), net.uniform(-0.1, 0.1, width)
        return net.node("LayerNormalization", [x, scale, bias], axis=-1, epsilon=1e-12)

    def split(x: str, perm: list[int]) -> str:
        shape = net.constant(np.array([1, length, heads, width // heads], np.int64))
        return net.node("Transpose", [net.node("Reshape", [x, shape])], perm=perm)

    ids = net.input("input_ids", [1, length], TensorProto.INT64)
    mask = net.input("attention_mask", [1, length], TensorProto.INT64)
    embedded = net.node("Gather", [net.weight(words, width, fan_in=2), ids], axis=0)
    x = norm(net.node("Add", [embedded, net.uniform(-0.1, 0.1, 1, length, width)]))
    wide = net.node("Cast", [net.node("Unsqueeze", [mask, net.constant(np.array([1, 2], np.int64))])], to=TensorProto.FLOAT)
    masked = net.node("Mul", [net.node("Sub", [net.constant(np.float32(1)), wide]), net.constant(np.float32(-1e4))])
    for _ in range(6):
        query, key, value = (split(linear(x, width, width), perm) for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]))
        scores = net.node("Div", [net.node("MatMul", [query, key]), net.constant(np.float32(np.sqrt(width // heads)))])
        weights = net.node("Softmax", [net.node("Add", [scores, masked])], axis=-1)
        mixed = net.node("Transpose", [net.node("MatMul", [weights, value])], perm=[0, 2, 1, 3])
        mixed = net.node("Reshape", [mixed, net.constant(np.array([1, length, width], np.int64))])
        x = norm(net.node("Add", [linear(mixed, width, width), x]))
        hidden = linear(x, width, inner)
        error = net.node("Erf", [net.node("Div", [hidden, net.constant(np.float32(np.sqrt(2)))])])
        gelu = net.node("Mul", [hidden, net.node("Add", [error, net.constant(np.float32(1))])])
        gelu = net.node("Mul", [gelu, net.constant(np.float32(0.5))])
        x = norm(net.node("Add", [linear(gelu, inner, width), x]))
    net.node("Identity", [x], "last_hidden_state")
    return net.model({"last_hidden_state": [1, length, width]})


NETWORKS = {
    "squeezenet1.1": squeezenet,
    "mobilenet_v2": mobilenet,
    "resnet50": resnet50,
    "resnet50_batch8": lambda: resnet50(8),
    "minilm": minilm,
}


def write(folder: pathlib.Path, name: str) -> pathlib.Path:
    """The file of that network, written unless it is there."""
    path = folder / f"{name}.onnx"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        onnx.save((NETWORKS | FAMILIES)[name](), path)
    return path


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for network in sys.argv[2:] or NETWORKS:
        print(write(pathlib.Path(sys.argv[1]), network))
