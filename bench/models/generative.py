"""Networks that make images and sound: a part of families.py."""

from __future__ import annotations

import numpy as np
import onnx
from family import Family


def real_esrgan() -> onnx.ModelProto:
    """Real-ESRGAN (Wang et al., 2021) four times as large, 2 of its 23 blocks (Wang et al., ESRGAN, 2018)."""
    net, width, growth, size = Family("real_esrgan", 50), 64, 32, 64

    def leaky(x: str) -> str:
        return net.node("LeakyRelu", [x], alpha=0.2)

    def dense(x: str) -> str:
        parts = [x]
        for i in range(4):
            y = net.node("Concat", parts, axis=1) if i else x
            parts.append(net.block(y, (width + i * growth, growth), 3, leaky))
        y = net.conv(net.node("Concat", parts, axis=1), (width + 4 * growth, width), 3, bias=True)
        return net.node("Add", [net.node("Mul", [y, net.number(0.2)]), x])

    x = first = net.conv(net.input("data", [1, 3, size, size]), (3, width), 3, bias=True)
    for _ in range(2):
        y = dense(dense(dense(x)))
        x = net.node("Add", [net.node("Mul", [y, net.number(0.2)]), x])
    x = net.node("Add", [first, net.conv(x, (width, width), 3, bias=True)])
    twice = net.constant(np.array([1, 1, 2, 2], np.float32))
    for _ in range(2):
        x = net.node("Resize", [x, "", twice], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
        x = net.block(x, (width, width), 3, leaky)
    net.node("Identity", [net.conv(net.block(x, (width, width), 3, leaky), (width, 3), 3, bias=True)], "image")
    return net.model({"image": [1, 3, 4 * size, 4 * size]})


def hifigan() -> onnx.ModelProto:
    """HiFi-GAN's generator V3 (Kong et al., 2020), for 64 frames of 80 bands."""
    net, width, frames = Family("hifigan", 51), 256, 64

    def leaky(x: str) -> str:
        return net.node("LeakyRelu", [x], alpha=0.1)

    def conv(x: str, before: int, after: int, kernel: int, rate: int = 1) -> str:
        inputs, pad = [x, net.weight(after, before, kernel, fan_in=before * kernel), net.uniform(-0.1, 0.1, after)], kernel // 2 * rate
        return net.node("Conv", inputs, kernel_shape=[kernel], dilations=[rate], pads=[pad, pad])

    def upsampled(x: str, channels: int, kernel: int, rate: int) -> str:
        weights, pad = net.weight(channels, channels // 2, kernel, fan_in=channels * kernel // rate), (kernel - rate) // 2
        inputs = [leaky(x), weights, net.uniform(-0.1, 0.1, channels // 2)]
        return net.node("ConvTranspose", inputs, kernel_shape=[kernel], strides=[rate], pads=[pad, pad])

    x = conv(net.input("mel", [1, 80, frames]), 80, width, 7)
    for kernel, rate in ((16, 8), (16, 8), (8, 4)):
        x, width = upsampled(x, width, kernel, rate), width // 2
        fused = []
        for size, rates in ((3, (1, 2)), (5, (2, 6)), (7, (3, 12))):
            y = x
            for dilation in rates:
                y = net.node("Add", [conv(leaky(y), width, width, size, dilation), y])
            fused.append(y)
        both = net.node("Add", [net.node("Add", fused[:2]), fused[2]])
        x = net.node("Div", [both, net.number(3)])
    net.node("Tanh", [conv(net.node("LeakyRelu", [x], alpha=0.01), width, 1, 7)], "sound")
    return net.model({"sound": [1, 1, 256 * frames]})


def diffusion_unet() -> onnx.ModelProto:
    """A part of a latent diffusion model's U-Net (Rombach et al., 2022): two levels of one block each, for an image of 32 x 32."""
    net, words, context = Family("diffusion_unet", 52), 77, 256

    def group_norm(x: str, channels: int) -> str:
        y = net.node("Reshape", [x, net.longs(0, 32, -1)])
        y = net.node("InstanceNormalization", [y, net.constant(np.ones(32, np.float32)), net.constant(np.zeros(32, np.float32))])
        y = net.node("Reshape", [y, net.node("Shape", [x])])
        y = net.node("Mul", [y, net.uniform(0.8, 1.2, channels, 1, 1)])
        return net.node("Add", [y, net.uniform(-0.1, 0.1, channels, 1, 1)])

    def residual(x: str, time: str, before: int, after: int) -> str:
        y = net.conv(net.swish(group_norm(x, before)), (before, after), 3, bias=True)
        shift = net.node("Gemm", [net.swish(time), net.weight(after, 512, fan_in=512), net.uniform(-0.1, 0.1, after)], transB=1)
        y = net.node("Add", [y, net.node("Unsqueeze", [shift, net.longs(2, 3)])])
        y = net.conv(net.swish(group_norm(y, after)), (after, after), 3, bias=True)
        return net.node("Add", [x if before == after else net.conv(x, (before, after), 1, bias=True), y])

    def attention(x: str, width: int, length: int, other: str, other_width: int, other_length: int) -> str:
        def heads(y: str, before: int, count: int) -> str:
            parts = net.node("Reshape", [net.product(y, before, width), net.longs(1, count, 8, width // 8)])
            return net.node("Transpose", [parts], perm=[0, 2, 1, 3])

        query, key, value = heads(x, width, length), heads(other, other_width, other_length), heads(other, other_width, other_length)
        scores = net.node("MatMul", [query, net.node("Transpose", [key], perm=[0, 1, 3, 2])])
        weights = net.node("Softmax", [net.node("Mul", [scores, net.number((width / 8) ** -0.5)])], axis=-1)
        mixed = net.node("Transpose", [net.node("MatMul", [weights, value])], perm=[0, 2, 1, 3])
        return net.linear(net.node("Reshape", [mixed, net.longs(1, length, width)]), width, width)

    def transformer(x: str, text: str, width: int, size: int) -> str:
        y = net.conv(group_norm(x, width), (width, width), 1, bias=True)
        y = net.node("Reshape", [net.node("Transpose", [y], perm=[0, 2, 3, 1]), net.longs(1, size * size, width)])
        inner = net.norm(y, width)
        y = net.node("Add", [attention(inner, width, size * size, inner, width, size * size), y])
        y = net.node("Add", [attention(net.norm(y, width), width, size * size, text, context, words), y])
        halves = net.node("Split", [net.linear(net.norm(y, width), width, 8 * width)], outputs=2, axis=-1)
        y = net.node("Add", [net.linear(net.node("Mul", [halves[0], net.gelu(halves[1])]), 4 * width, width), y])
        y = net.node("Transpose", [net.node("Reshape", [y, net.longs(1, size, size, width)])], perm=[0, 3, 1, 2])
        return net.node("Add", [net.conv(y, (width, width), 1, bias=True), x])

    sample, text, time = net.input("sample", [1, 4, 32, 32]), net.input("text", [1, words, context]), net.input("time", [1, 512])
    x = net.conv(sample, (4, 128), 3, bias=True)
    high = x = transformer(residual(x, time, 128, 128), text, 128, 32)
    x = net.conv(x, (128, 128), 3, stride=2, bias=True)
    x = transformer(residual(x, time, 128, 256), text, 256, 16)
    twice = net.constant(np.array([1, 1, 2, 2], np.float32))
    x = net.node("Resize", [x, "", twice], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    x = net.node("Concat", [net.conv(x, (256, 256), 3, bias=True), high], axis=1)
    x = transformer(residual(x, time, 384, 128), text, 128, 32)
    net.node("Identity", [net.conv(net.swish(group_norm(x, 128)), (128, 4), 3, bias=True)], "noise")
    return net.model({"noise": [1, 4, 32, 32]})
