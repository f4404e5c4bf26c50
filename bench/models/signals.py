"""Networks of volumes, of sound and of lines of text: a part of families.py."""

from __future__ import annotations

import numpy as np
import onnx
from family import Family


def _cube(net: Family, x: str, channels: tuple[int, int], stride: int = 1) -> str:
    before, after = channels
    inputs = [x, net.weight(after, before, 3, 3, 3, fan_in=27 * before), net.uniform(-0.1, 0.1, after)]
    return net.node("Conv", inputs, kernel_shape=[3] * 3, strides=[stride] * 3, pads=[1] * 6)


def unet_3d() -> onnx.ModelProto:
    """A U-Net of volumes as nnU-Net plans them (Isensee et al., 2021), small: three levels, 32 x 32 x 32."""
    net = Family("unet_3d", 29)

    def block(x: str, before: int, after: int, stride: int = 1) -> str:
        y = _cube(net, x, (before, after), stride)
        y = net.node("InstanceNormalization", [y, net.uniform(0.8, 1.2, after), net.uniform(-0.1, 0.1, after)])
        return net.node("LeakyRelu", [y], alpha=0.01)

    fine = block(block(net.input("data", [1, 1, 32, 32, 32]), 1, 16), 16, 16)
    middle = block(block(fine, 16, 32, 2), 32, 32)
    x = block(block(middle, 32, 64, 2), 64, 64)
    for skip, channels in ((middle, 32), (fine, 16)):
        inputs = [x, net.weight(2 * channels, channels, 2, 2, 2, fan_in=2 * channels), net.uniform(-0.1, 0.1, channels)]
        x = net.node("ConvTranspose", inputs, kernel_shape=[2] * 3, strides=[2] * 3)
        x = block(net.node("Concat", [skip, x], axis=1), 2 * channels, channels)
    net.node("Conv", [x, net.weight(3, 16, 1, 1, 1, fan_in=16)], "labels")
    return net.model({"labels": [1, 3, 32, 32, 32]})


def c3d() -> onnx.ModelProto:
    """The first three layers of C3D (Tran et al., 2015), half as wide, for 8 frames of 56 x 56."""
    net = Family("c3d", 30)
    x, channels = net.input("data", [1, 3, 8, 56, 56]), 3
    for width in (32, 64, 64):
        x = net.relu(_cube(net, x, (channels, width)))
        x, channels = net.node("MaxPool", [x], kernel_shape=[1, 2, 2], strides=[1, 2, 2]), width
    net.node("GlobalAveragePool", [x], "features")
    return net.model({"features": [1, 64, 1, 1, 1]})


def ecapa_tdnn() -> onnx.ModelProto:
    """ECAPA-TDNN (Desplanques et al., 2020) for 3 seconds of speech, without the global context of its pooling."""
    net, width = Family("ecapa_tdnn", 32), 512

    def conv(x: str, channels: tuple[int, int], kernel: int = 1, rate: int = 1) -> str:
        before, after = channels
        inputs = [x, net.weight(after, before, kernel, fan_in=kernel * before), net.uniform(-0.1, 0.1, after)]
        return net.node("Conv", inputs, kernel_shape=[kernel], dilations=[rate], pads=[kernel // 2 * rate] * 2)

    def unit(x: str, channels: tuple[int, int], kernel: int = 1, rate: int = 1) -> str:
        return net.batch_norm(net.relu(conv(x, channels, kernel, rate)), channels[1])

    def layer(x: str, rate: int) -> str:
        first, *others = net.node("Split", [unit(x, (width, width))], outputs=8, axis=1)
        parts = [first]
        for part in others:
            summed = part if len(parts) == 1 else net.node("Add", [part, parts[-1]])
            parts.append(unit(summed, (width // 8, width // 8), 3, rate))
        y = unit(net.node("Concat", parts, axis=1), (width, width))
        gate = net.relu(conv(net.node("ReduceMean", [y], axes=[2]), (width, 128)))
        return net.node("Add", [x, net.node("Mul", [y, net.sigmoid(conv(gate, (128, width)))])])

    layers = [unit(net.input("data", [1, 80, 300]), (80, width), 5)]
    for rate in (2, 3, 4):
        layers.append(layer(layers[-1], rate))
    x = net.relu(conv(net.node("Concat", layers[1:], axis=1), (3 * width, 1536)))
    weights = net.node("Softmax", [conv(net.node("Tanh", [conv(x, (1536, 128))]), (128, 1536))], axis=2)
    weighted = net.node("Mul", [x, weights])
    mean = net.node("ReduceSum", [weighted, net.longs(2)], keepdims=0)
    square = net.node("ReduceSum", [net.node("Mul", [weighted, x]), net.longs(2)], keepdims=0)
    variance = net.node("Relu", [net.node("Sub", [square, net.node("Mul", [mean, mean])])])
    deviation = net.node("Sqrt", [net.node("Add", [variance, net.constant(np.float32(1e-6))])])
    both = net.batch_norm(net.node("Concat", [mean, deviation], axis=1), 3072)
    net.node("Gemm", [both, net.weight(192, 3072, fan_in=3072), net.uniform(-0.1, 0.1, 192)], "embedding", transB=1)
    return net.model({"embedding": [1, 192]})


def crnn() -> onnx.ModelProto:
    """CRNN (Shi et al., 2015) for a line of 32 x 160 pixels, with 6000 characters."""
    net = Family("crnn", 39)
    x, before = net.input("data", [1, 1, 32, 160]), 1
    for width, pool in ((64, (2, 2)), (128, (2, 2)), (256, None), (256, (2, 1)), (512, None), (512, (2, 1))):
        x, before = net.block(x, (before, width), 3, net.relu), width
        if pool:
            x = net.node("MaxPool", [x], kernel_shape=pool, strides=pool)
    x = net.relu(net.node("Conv", [x, net.weight(512, 512, 2, 2, fan_in=2048), net.uniform(-0.1, 0.1, 512)]))
    x = net.node("Transpose", [net.node("Squeeze", [x, net.longs(2)])], perm=[2, 0, 1])
    for _ in range(2):
        weights = [net.weight(2, 1024, 512, fan_in=1024), net.weight(2, 1024, 256, fan_in=1024), net.uniform(-0.1, 0.1, 2, 2048)]
        y = net.node("LSTM", [x, *weights], hidden_size=256, direction="bidirectional")
        x = net.node("Reshape", [net.node("Transpose", [y], perm=[0, 2, 1, 3]), net.longs(39, 1, 512)])
    net.node("Identity", [net.linear(x, 512, 6000)], "scores")
    return net.model({"scores": [39, 1, 6000]})


def wav2vec2() -> onnx.ModelProto:
    """wav2vec 2.0 base (Baevski et al., 2020), 2 of its 12 layers, for a second of speech."""
    net, width, length, before = Family("wav2vec2", 41), 768, 16000, 1
    x = net.input("data", [1, 1, length])
    for kernel, stride in ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2)):
        x = net.node("Conv", [x, net.weight(512, before, kernel, fan_in=before * kernel)], strides=[stride])
        length = (length - kernel) // stride + 1
        if before == 1:
            x = net.node("InstanceNormalization", [x, net.uniform(0.8, 1.2, 512), net.uniform(-0.1, 0.1, 512)])
        x, before = net.gelu(x), 512
    x = net.linear(net.norm(net.node("Transpose", [x], perm=[0, 2, 1]), 512), 512, width)
    weights = net.weight(width, 48, 128, fan_in=48 * 128)
    places = net.node("Conv", [net.node("Transpose", [x], perm=[0, 2, 1]), weights, net.uniform(-0.1, 0.1, width)], group=16, pads=[64, 64])
    places = net.gelu(net.node("Slice", [places, net.longs(0), net.longs(-1), net.longs(2)]))
    x = net.norm(net.node("Add", [x, net.node("Transpose", [places], perm=[0, 2, 1])]), width)
    net.node("Identity", [net.encoder(x, 2, length, width, 12)], "states")
    return net.model({"states": [1, length, width]})


def conv_tasnet() -> onnx.ModelProto:
    """Conv-TasNet (Luo and Mesgarani, 2019), one of its three repeats, for two seconds at 8 kHz."""
    net, filters, narrow, hidden, length = Family("conv_tasnet", 42), 512, 128, 512, 1999

    def conv(x: str, channels: tuple[int, int], kernel: int = 1, rate: int = 1, groups: int = 1) -> str:
        before, after = channels
        weights, pad = net.weight(after, before // groups, kernel, fan_in=before // groups * kernel), kernel // 2 * rate
        inputs = [x, weights, net.uniform(-0.1, 0.1, after)]
        return net.node("Conv", inputs, kernel_shape=[kernel], dilations=[rate], pads=[pad, pad], group=groups)

    def norm(x: str, channels: int) -> str:
        centred = net.node("Sub", [x, net.node("ReduceMean", [x], axes=[1, 2])])
        variance = net.node("ReduceMean", [net.node("Pow", [centred, net.number(2)])], axes=[1, 2])
        root = net.node("Sqrt", [net.node("Add", [variance, net.number(1e-8)])])
        y = net.node("Div", [net.node("Mul", [net.uniform(0.8, 1.2, 1, channels, 1), centred]), root])
        return net.node("Add", [y, net.uniform(-0.1, 0.1, 1, channels, 1)])

    def prelu(x: str) -> str:
        return net.node("PRelu", [x, net.constant(np.full((1, 1), 0.25, np.float32))])

    sound = net.input("data", [1, 1, 16000])
    encoded = net.relu(net.node("Conv", [sound, net.weight(filters, 1, 16, fan_in=16)], strides=[8]))
    x = conv(norm(encoded, filters), (filters, narrow))
    for i in range(8):
        y = norm(prelu(conv(x, (narrow, hidden))), hidden)
        y = norm(prelu(conv(y, (hidden, hidden), 3, 2**i, hidden)), hidden)
        x = net.node("Add", [x, conv(y, (hidden, narrow))])
    masks = net.node("Reshape", [net.relu(conv(x, (narrow, 2 * filters))), net.longs(1, 2, filters, length)])
    voices = net.node("Mul", [masks, net.node("Unsqueeze", [encoded, net.longs(1)])])
    voices = net.node("Reshape", [voices, net.longs(2, filters, length)])
    net.node("ConvTranspose", [voices, net.weight(filters, 1, 16, fan_in=filters)], "voices", strides=[8])
    return net.model({"voices": [2, 1, 16000]})
