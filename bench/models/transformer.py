"""Transformers of images, speech and text: a part of families.py."""

from __future__ import annotations

import numpy as np
import onnx
from family import Family
from onnx import TensorProto

# What exporters of PyTorch write where a token does not see another.
HIDDEN = np.finfo(np.float32).min


def vit() -> onnx.ModelProto:
    """ViT-S/16 (Dosovitskiy et al., 2021; Touvron et al., 2021), 6 of its 12 layers."""
    net, width, patches = Family("vit", 27), 384, 196
    weights = net.weight(width, 3, 16, 16, fan_in=768)
    x = net.node("Conv", [net.input("data", [1, 3, 224, 224]), weights, net.uniform(-0.1, 0.1, width)], strides=[16, 16])
    x = net.node("Transpose", [net.node("Reshape", [x, net.longs(1, width, patches)])], perm=[0, 2, 1])
    x = net.node("Concat", [net.uniform(-0.1, 0.1, 1, 1, width), x], axis=1)
    x = net.node("Add", [x, net.uniform(-0.1, 0.1, 1, patches + 1, width)])
    x = net.node("Gather", [net.encoder(x, 6, patches + 1, width, 6), net.constant(np.int64(0))], axis=1)
    net.node("Gemm", [x, net.weight(1000, width, fan_in=width), net.uniform(-0.1, 0.1, 1000)], "scores", transB=1)
    return net.model({"scores": [1, 1000]})


def whisper_encoder() -> onnx.ModelProto:
    """Whisper-tiny's encoder of 30 seconds (Radford et al., 2022), 2 of its 4 layers."""
    net, width, frames = Family("whisper_encoder", 28), 384, 1500

    def conv(x: str, before: int, stride: int) -> str:
        inputs = [x, net.weight(width, before, 3, fan_in=3 * before), net.uniform(-0.1, 0.1, width)]
        return net.gelu(net.node("Conv", inputs, kernel_shape=[3], strides=[stride], pads=[1, 1]))

    x = conv(conv(net.input("mel", [1, 80, 2 * frames]), 80, 1), width, 2)
    x = net.node("Add", [net.node("Transpose", [x], perm=[0, 2, 1]), net.uniform(-0.1, 0.1, frames, width)])
    net.node("Identity", [net.encoder(x, 2, frames, width, 6)], "states")
    return net.model({"states": [1, frames, width]})


def swin() -> onnx.ModelProto:
    """Swin-T (Liu et al., 2021), two blocks of each of its first three stages."""
    net = Family("swin", 35)

    def turned(x: str, by: int) -> str:
        for axis in (1, 2):
            tail = net.node("Slice", [x, net.longs(by), net.longs(2**62), net.longs(axis)])
            x = net.node("Concat", [tail, net.node("Slice", [x, net.longs(0), net.longs(by), net.longs(axis)])], axis=axis)
        return x

    def mixed(x: str, side: int, width: int, shifted: bool) -> str:
        across, heads = side // 7, width // 32
        windows = across * across
        x = turned(x, 3) if shifted else x
        x = net.node("Reshape", [x, net.longs(1, across, 7, across, 7, width)])
        x = net.node("Reshape", [net.node("Transpose", [x], perm=[0, 1, 3, 2, 4, 5]), net.longs(windows, 49, width)])
        packed = net.node("Reshape", [net.linear(x, width, 3 * width), net.longs(windows, 49, 3, heads, 32)])
        packed = net.node("Transpose", [packed], perm=[2, 0, 3, 1, 4])
        query, key, value = (net.node("Gather", [packed, net.constant(np.int64(i))], axis=0) for i in range(3))
        scaled = net.node("Mul", [query, net.constant(np.float32(32**-0.5))])
        scores = net.node("MatMul", [scaled, net.node("Transpose", [key], perm=[0, 1, 3, 2])])
        scores = net.node("Add", [scores, net.uniform(-1, 1, 1, heads, 49, 49)])
        if shifted:
            by_window = net.node("Reshape", [scores, net.longs(1, windows, heads, 49, 49)])
            masked = net.node("Add", [by_window, net.uniform(-100, 0, 1, windows, 1, 49, 49)])
            scores = net.node("Reshape", [masked, net.longs(-1, heads, 49, 49)])
        x = net.node("MatMul", [net.node("Softmax", [scores], axis=-1), value])
        x = net.node("Reshape", [net.node("Transpose", [x], perm=[0, 2, 1, 3]), net.longs(windows, 49, width)])
        x = net.node("Reshape", [net.linear(x, width, width), net.longs(1, across, across, 7, 7, width)])
        x = net.node("Reshape", [net.node("Transpose", [x], perm=[0, 1, 3, 2, 4, 5]), net.longs(1, side, side, width)])
        return turned(x, side - 3) if shifted else x

    def merged(x: str, width: int) -> str:
        parts = []
        for column in (0, 1):
            for row in (0, 1):
                rows = net.node("Slice", [x, net.longs(row), net.longs(2**62), net.longs(1), net.longs(2)])
                parts.append(net.node("Slice", [rows, net.longs(column), net.longs(2**62), net.longs(2), net.longs(2)]))
        x = net.norm(net.node("Concat", parts, axis=-1), 4 * width)
        return net.product(x, 4 * width, 2 * width)

    inputs = [net.input("data", [1, 3, 224, 224]), net.weight(96, 3, 4, 4, fan_in=48), net.uniform(-0.1, 0.1, 96)]
    x = net.norm(net.node("Transpose", [net.node("Conv", inputs, strides=[4, 4])], perm=[0, 2, 3, 1]), 96)
    for side, width in ((56, 96), (28, 192), (14, 384)):
        x = x if side == 56 else merged(x, width // 2)
        for shifted in (False, True):
            x = net.node("Add", [x, mixed(net.norm(x, width), side, width, shifted)])
            x = net.node("Add", [x, net.linear(net.gelu(net.linear(net.norm(x, width), width, 4 * width)), 4 * width, width)])
    return net.classes(net.node("Transpose", [net.norm(x, 384)], perm=[0, 3, 1, 2]), 384)


def gpt2() -> onnx.ModelProto:
    """GPT-2 (Radford et al., 2019), narrow, 4 layers and 4000 words, for 64 of them; norms and GELU written out, the mask by Where."""
    net, width, heads, length = Family("gpt2", 38), 384, 6, 64

    def norm(x: str) -> str:
        centred = net.node("Sub", [x, net.node("ReduceMean", [x], axes=[-1])])
        variance = net.node("ReduceMean", [net.node("Pow", [centred, net.number(2)])], axes=[-1])
        y = net.node("Div", [centred, net.node("Sqrt", [net.node("Add", [variance, net.number(1e-5)])])])
        return net.node("Add", [net.node("Mul", [y, net.uniform(0.8, 1.2, width)]), net.uniform(-0.1, 0.1, width)])

    def linear(x: str, before: int, after: int) -> str:
        rows = net.node("Reshape", [x, net.longs(-1, before)])
        y = net.node("Gemm", [rows, net.weight(before, after, fan_in=2 * before), net.uniform(-0.1, 0.1, after)])
        return net.node("Reshape", [y, net.longs(1, length, after)])

    def gelu(x: str) -> str:
        cube = net.node("Mul", [net.node("Pow", [x, net.number(3)]), net.number(0.044715)])
        tanh = net.node("Tanh", [net.node("Mul", [net.node("Add", [x, cube]), net.number(np.sqrt(2 / np.pi))])])
        return net.node("Mul", [net.node("Mul", [x, net.number(0.5)]), net.node("Add", [tanh, net.number(1)])])

    def split(x: str, perm: list[int]) -> str:
        return net.node("Transpose", [net.node("Reshape", [x, net.longs(1, length, heads, width // heads)])], perm=perm)

    x = net.node("Gather", [net.weight(4000, width, fan_in=2), net.input("input_ids", [1, length], TensorProto.INT64)], axis=0)
    x = net.node("Add", [x, net.uniform(-0.1, 0.1, 1, length, width)])
    seen = net.constant(np.tril(np.ones((1, 1, length, length), bool)))
    for _ in range(4):
        parts = net.node("Split", [linear(norm(x), width, 3 * width)], outputs=3, axis=2)
        query, key, value = (split(part, perm) for part, perm in zip(parts, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])))
        scores = net.node("Div", [net.node("MatMul", [query, key]), net.number(np.sqrt(width // heads))])
        weights = net.node("Softmax", [net.node("Where", [seen, scores, net.number(HIDDEN)])], axis=3)
        mixed = net.node("Transpose", [net.node("MatMul", [weights, value])], perm=[0, 2, 1, 3])
        x = net.node("Add", [x, linear(net.node("Reshape", [mixed, net.longs(1, length, width)]), width, width)])
        x = net.node("Add", [x, linear(gelu(linear(norm(x), width, 4 * width)), 4 * width, width)])
    net.node("MatMul", [norm(x), net.weight(width, 4000, fan_in=width)], "logits")
    return net.model({"logits": [1, length, 4000]})


def _llama(name: str, new: int, past: int, bits: int = 32) -> onnx.ModelProto:
    """Llama (Touvron et al., 2023) with shared keys and values (Ainslie et al., 2023), narrow, 4 layers and 4000 words: `new` tokens
    behind `past` ones; norms, rotation and attention written out. Weights of 4 bits are ONNX Runtime's MatMulNBits."""
    net, width, heads, groups, size, inner, words = Family(name, 36), 512, 8, 2, 64, 1408, 4000
    total = past + new

    def product(x: str, before: int, after: int) -> str:
        return net.product(x, before, after) if bits == 32 else net.product_of_bits(x, before, after, bits)

    angles = np.arange(past, total)[:, None] / 10000 ** (np.arange(0, size, 2) / size)
    angles = np.tile(angles, 2)[None, None].astype(np.float32)
    cosines, sines = net.constant(np.cos(angles)), net.constant(np.sin(angles))

    def rotated(x: str) -> str:
        first = net.node("Slice", [x, net.longs(0), net.longs(size // 2), net.longs(3)])
        second = net.node("Slice", [x, net.longs(size // 2), net.longs(2**62), net.longs(3)])
        turned = net.node("Concat", [net.node("Neg", [second]), first], axis=-1)
        return net.node("Add", [net.node("Mul", [x, cosines]), net.node("Mul", [turned, sines])])

    def split(x: str, count: int) -> str:
        return net.node("Transpose", [net.node("Reshape", [x, net.longs(1, new, count, size)])], perm=[0, 2, 1, 3])

    def repeated(x: str) -> str:
        x = net.node("Expand", [net.node("Unsqueeze", [x, net.longs(2)]), net.longs(1, groups, heads // groups, total, size)])
        return net.node("Reshape", [x, net.longs(1, heads, total, size)])

    outputs = {}

    def with_past(x: str, name: str) -> str:
        if past == 0:
            return x
        outputs[f"present.{name}"] = [1, groups, total, size]
        return net.node("Concat", [net.input(f"past.{name}", [1, groups, past, size]), x], f"present.{name}", axis=2)

    ids = net.input("input_ids", [1, new], TensorProto.INT64)
    x = net.node("Gather", [net.weight(words, width, fan_in=2), ids], axis=0)
    mask = net.constant(np.triu(np.full((new, total), HIDDEN), 1 + past)[None, None])
    for layer in range(4):
        y = net.rms_norm(x, width)
        query = rotated(split(product(y, width, heads * size), heads))
        key = with_past(rotated(split(product(y, width, groups * size), groups)), f"{layer}.key")
        value = with_past(split(product(y, width, groups * size), groups), f"{layer}.value")
        scores = net.node("MatMul", [query, net.node("Transpose", [repeated(key)], perm=[0, 1, 3, 2])])
        scores = net.node("Add", [net.node("Div", [scores, net.number(np.sqrt(size))]), mask])
        y = net.node("MatMul", [net.node("Softmax", [scores], axis=-1), repeated(value)])
        y = net.node("Reshape", [net.node("Transpose", [y], perm=[0, 2, 1, 3]), net.longs(1, new, width)])
        x = net.node("Add", [x, product(y, width, width)])
        y = net.rms_norm(x, width)
        y = net.node("Mul", [net.swish(product(y, width, inner)), product(y, width, inner)])
        x = net.node("Add", [x, product(y, inner, width)])
    net.node("Identity", [product(net.rms_norm(x, width), width, words)], "logits")
    return net.model({"logits": [1, new, words]} | outputs)


def llama_prompt() -> onnx.ModelProto:
    """64 tokens."""
    return _llama("llama_prompt", 64, 0)


def llama_step() -> onnx.ModelProto:
    """A token behind 255 others."""
    return _llama("llama_step", 1, 255)


def llama_step_int4() -> onnx.ModelProto:
    """The same with weights of 4 bits, in blocks of 32."""
    return _llama("llama_step_int4", 1, 255, 4)


def t5_encoder() -> onnx.ModelProto:
    """T5-small's encoder (Raffel et al., 2020) of 128 words, 3 of its 6 layers; the bias of positions is a constant."""
    net, width, length, heads, size = Family("t5_encoder", 53), 512, 128, 8, 64
    x = net.node("Gather", [net.uniform(-1, 1, 1000, width), net.input("ids", [1, length], TensorProto.INT64)])
    mask = net.node("Cast", [net.input("mask", [1, length], TensorProto.INT64)], to=TensorProto.FLOAT)
    hidden = net.node("Mul", [net.node("Sub", [net.number(1), mask]), net.constant(np.float32(HIDDEN))])
    bias = net.node("Add", [net.uniform(-1, 1, 1, heads, length, length), net.node("Unsqueeze", [hidden, net.longs(1, 2)])])

    def in_heads(y: str) -> str:
        parts = net.node("Reshape", [net.product(y, width, heads * size), net.longs(1, -1, heads, size)])
        return net.node("Transpose", [parts], perm=[0, 2, 1, 3])

    for _ in range(3):
        y = net.rms_norm(x, width)
        query, key, value = in_heads(y), in_heads(y), in_heads(y)
        scores = net.node("Add", [net.node("MatMul", [query, net.node("Transpose", [key], perm=[0, 1, 3, 2])]), bias])
        mixed = net.node("MatMul", [net.node("Softmax", [scores], axis=-1), value])
        mixed = net.node("Reshape", [net.node("Transpose", [mixed], perm=[0, 2, 1, 3]), net.longs(1, -1, heads * size)])
        x = net.node("Add", [x, net.product(mixed, heads * size, width)])
        inner = net.relu(net.product(net.rms_norm(x, width), width, 4 * width))
        x = net.node("Add", [x, net.product(inner, 4 * width, width)])
    net.node("Identity", [net.rms_norm(x, width)], "states")
    return net.model({"states": [1, length, width]})


def segformer() -> onnx.ModelProto:
    """SegFormer-B0 (Xie et al., 2021) without its decoder, for an image of 224 x 224, a block for each stage."""
    net = Family("segformer", 54)

    def attention(x: str, width: int, heads: int, side: int, ratio: int) -> str:
        length, size, few = side * side, width // heads, (side // ratio) ** 2
        kept = x
        if ratio > 1:
            image = net.node("Reshape", [net.node("Transpose", [x], perm=[0, 2, 1]), net.longs(1, width, side, side)])
            weights = net.weight(width, width, ratio, ratio, fan_in=width * ratio * ratio)
            image = net.node("Conv", [image, weights, net.uniform(-0.1, 0.1, width)], strides=[ratio] * 2)
            image = net.node("Reshape", [image, net.longs(1, width, few)])
            kept = net.norm(net.node("Transpose", [image], perm=[0, 2, 1]), width)

        def in_heads(y: str, count: int) -> str:
            parts = net.node("Reshape", [net.linear(y, width, width), net.longs(1, count, heads, size)])
            return net.node("Transpose", [parts], perm=[0, 2, 1, 3])

        query, key, value = in_heads(x, length), in_heads(kept, few), in_heads(kept, few)
        scores = net.node("MatMul", [query, net.node("Transpose", [key], perm=[0, 1, 3, 2])])
        scores = net.node("Div", [scores, net.number(size**0.5)])
        mixed = net.node("Transpose", [net.node("MatMul", [net.node("Softmax", [scores], axis=-1), value])], perm=[0, 2, 1, 3])
        return net.linear(net.node("Reshape", [mixed, net.longs(1, length, width)]), width, width)

    def mixed(x: str, width: int, side: int) -> str:
        y = net.node("Transpose", [net.linear(x, width, 4 * width)], perm=[0, 2, 1])
        y = net.node("Reshape", [y, net.longs(1, 4 * width, side, side)])
        y = net.conv(y, (4 * width, 4 * width), 3, groups=4 * width, bias=True)
        y = net.node("Transpose", [net.node("Reshape", [y, net.longs(1, 4 * width, side * side)])], perm=[0, 2, 1])
        return net.linear(net.gelu(y), 4 * width, width)

    x, before, side = net.input("data", [1, 3, 224, 224]), 3, 224
    for width, heads, ratio, kernel, stride in ((32, 1, 8, 7, 4), (64, 2, 4, 3, 2), (160, 5, 2, 3, 2), (256, 8, 1, 3, 2)):
        x, side = net.conv(x, (before, width), kernel, stride, bias=True), side // stride
        x = net.node("Transpose", [net.node("Reshape", [x, net.longs(1, width, side * side)])], perm=[0, 2, 1])
        x = net.norm(x, width)
        x = net.node("Add", [x, attention(net.norm(x, width), width, heads, side, ratio)])
        x = net.node("Add", [x, mixed(net.norm(x, width), width, side)])
        x = net.node("Transpose", [net.norm(x, width)], perm=[0, 2, 1])
        x, before = net.node("Reshape", [x, net.longs(1, width, side, side)]), width
    net.node("Identity", [x], "features")
    return net.model({"features": [1, before, side, side]})
