"""What the networks of families.py share besides."""

from __future__ import annotations

from typing import Callable

import numpy as np
import onnx
from layers import Network

Activation = Callable[[str], str]


class Family(Network):
    """Layers as PyTorch's exporter writes them, batch normalisation folded into the convolutions."""

    def longs(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def block(self, x: str, channels: tuple[int, int], kernel: int, activation: Activation, stride: int = 1, groups: int = 1) -> str:
        return activation(self.conv(x, channels, kernel, stride, groups, bias=True))

    def relu(self, x: str) -> str:
        return self.node("Relu", [x])

    def swish(self, x: str) -> str:
        return self.node("Mul", [x, self.node("Sigmoid", [x])])

    def sigmoid(self, x: str) -> str:
        return self.node("Sigmoid", [x])

    def squeeze_excite(self, x: str, channels: int, middle: int, activation: Activation, gate: Activation) -> str:
        y = self.block(self.node("GlobalAveragePool", [x]), (channels, middle), 1, activation)
        return self.node("Mul", [x, self.block(y, (middle, channels), 1, gate)])

    def classes(self, x: str, channels: int) -> onnx.ModelProto:
        x = self.node("Flatten", [self.node("GlobalAveragePool", [x])])
        self.node("Gemm", [x, self.weight(1000, channels, fan_in=channels), self.uniform(-0.1, 0.1, 1000)], "scores", transB=1)
        return self.model({"scores": [1, 1000]})

    def number(self, value: float) -> str:
        return self.constant(np.float32(value))

    def product(self, x: str, before: int, after: int) -> str:
        return self.node("MatMul", [x, self.weight(before, after, fan_in=2 * before)])

    def product_of_bits(self, x: str, before: int, after: int, bits: int) -> str:
        """ONNX Runtime's MatMulNBits in blocks of 32, as far from zero as `product`'s weights."""
        blocks, spread = before // 32, (before * (4**bits - 1) / 12) ** -0.5
        weights = self.bytes(after, blocks, 4 * bits)
        scales = self.uniform(0.8 * spread, 1.2 * spread, after, blocks)
        sizes = {"K": before, "N": after, "bits": bits, "block_size": 32}
        return self.node("MatMulNBits", [x, weights, scales], domain="com.microsoft", **sizes)

    def linear(self, x: str, before: int, after: int) -> str:
        product = self.product(x, before, after)
        return self.node("Add", [self.uniform(-0.1, 0.1, after), product])

    def norm(self, x: str, width: int) -> str:
        return self.node("LayerNormalization", [x, self.uniform(0.8, 1.2, width), self.uniform(-0.1, 0.1, width)], axis=-1, epsilon=1e-6)

    def rms_norm(self, x: str, width: int) -> str:
        mean = self.node("ReduceMean", [self.node("Pow", [x, self.number(2)])], axes=[-1])
        root = self.node("Sqrt", [self.node("Add", [mean, self.number(1e-6)])])
        return self.node("Mul", [self.uniform(0.8, 1.2, width), self.node("Mul", [x, self.node("Div", [self.number(1), root])])])

    def gelu(self, x: str) -> str:
        error = self.node("Erf", [self.node("Div", [x, self.constant(np.float32(np.sqrt(2)))])])
        return self.node("Mul", [self.node("Mul", [x, self.node("Add", [error, self.constant(np.float32(1))])]), self.constant(np.float32(0.5))])

    def attention(self, x: str, batch: int, length: int, width: int, heads: int) -> str:
        """Queries, keys and values side by side."""
        size = width // heads
        packed = self.node("Reshape", [self.linear(x, width, 3 * width), self.longs(batch, length, 3, heads, size)])
        packed = self.node("Transpose", [packed], perm=[2, 0, 3, 1, 4])
        query, key, value = (self.node("Gather", [packed, self.constant(np.int64(i))], axis=0) for i in range(3))
        scaled = self.node("Mul", [query, self.constant(np.float32(size**-0.5))])
        scores = self.node("MatMul", [scaled, self.node("Transpose", [key], perm=[0, 1, 3, 2])])
        mixed = self.node("MatMul", [self.node("Softmax", [scores], axis=-1), value])
        mixed = self.node("Reshape", [self.node("Transpose", [mixed], perm=[0, 2, 1, 3]), self.longs(batch, length, width)])
        return self.linear(mixed, width, width)

    def encoder(self, x: str, layers: int, length: int, width: int, heads: int) -> str:
        for _ in range(layers):
            x = self.node("Add", [x, self.attention(self.norm(x, width), 1, length, width, heads)])
            hidden = self.gelu(self.linear(self.norm(x, width), width, 4 * width))
            x = self.node("Add", [x, self.linear(hidden, 4 * width, width)])
        return self.norm(x, width)
