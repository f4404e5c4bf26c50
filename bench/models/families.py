"""More networks for `peers`, a few of each family that people deploy: `./dev bench peers --models families`.

From their papers, some of them shortened (each says what is left out), as PyTorch's exporter writes them with batch
normalisation folded into the convolutions, with weights from a seed.
"""

from __future__ import annotations

from typing import Callable

import numpy as np
import onnx
from layers import Network

Activation = Callable[[str], str]


class Family(Network):
    """What these networks share besides."""

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

    def linear(self, x: str, before: int, after: int) -> str:
        product = self.node("MatMul", [x, self.weight(before, after, fan_in=2 * before)])
        return self.node("Add", [self.uniform(-0.1, 0.1, after), product])

    def norm(self, x: str, width: int) -> str:
        return self.node("LayerNormalization", [x, self.uniform(0.8, 1.2, width), self.uniform(-0.1, 0.1, width)], axis=-1, epsilon=1e-6)

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


def densenet121() -> onnx.ModelProto:
    """Huang et al., 2017: the norms are ahead of the convolutions, where nothing can take them in."""
    net = Family("densenet121", 21)

    def normed(x: str, channels: int) -> str:
        return net.relu(net.batch_norm(x, channels))

    x = net.block(net.input("data", [1, 3, 224, 224]), (3, 64), 7, net.relu, 2)
    x = net.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for layers in (6, 12, 24, 16):
        if layers > 6:
            x = net.conv(normed(x, channels), (channels, channels // 2), 1)
            x = net.node("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2])
            channels //= 2
        for _ in range(layers):
            narrow = net.block(normed(x, channels), (channels, 128), 1, net.relu)
            x = net.node("Concat", [x, net.conv(narrow, (128, 32), 3)], axis=1)
            channels += 32
    return net.classes(normed(x, channels), channels)


def mobilenet_v3() -> onnx.ModelProto:
    """MobileNetV3-Large: Howard et al., 2019, table 1."""
    net = Family("mobilenet_v3", 22)

    def swish(x: str) -> str:
        return net.node("HardSwish", [x])

    def gate(x: str) -> str:
        return net.node("HardSigmoid", [x], alpha=1 / 6)

    x, channels = net.block(net.input("data", [1, 3, 224, 224]), (3, 16), 3, swish, 2), 16
    for kernel, hidden, out, squeezes, act, stride in (
        (3, 16, 16, False, net.relu, 1), (3, 64, 24, False, net.relu, 2), (3, 72, 24, False, net.relu, 1), (5, 72, 40, True, net.relu, 2),
        (5, 120, 40, True, net.relu, 1), (5, 120, 40, True, net.relu, 1), (3, 240, 80, False, swish, 2), (3, 200, 80, False, swish, 1),
        (3, 184, 80, False, swish, 1), (3, 184, 80, False, swish, 1), (3, 480, 112, True, swish, 1), (3, 672, 112, True, swish, 1),
        (5, 672, 160, True, swish, 2), (5, 960, 160, True, swish, 1), (5, 960, 160, True, swish, 1),
    ):  # fmt: skip
        y = net.block(x, (channels, hidden), 1, act) if hidden != channels else x
        y = net.block(y, (hidden, hidden), kernel, act, stride, hidden)
        if squeezes:
            y = net.squeeze_excite(y, hidden, (hidden // 4 + 7) // 8 * 8, net.relu, gate)
        y = net.conv(y, (hidden, out), 1, bias=True)
        x = net.node("Add", [x, y]) if stride == 1 and out == channels else y
        channels = out
    return net.classes(net.block(x, (channels, 960), 1, swish), 960)


def efficientnet_b0() -> onnx.ModelProto:
    """Tan and Le, 2019, table 1."""
    net = Family("efficientnet_b0", 23)
    x, channels = net.block(net.input("data", [1, 3, 224, 224]), (3, 32), 3, net.swish, 2), 32
    for expansion, out, repeats, first_stride, kernel in (
        (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3),
    ):  # fmt: skip
        for i in range(repeats):
            stride, hidden = (first_stride if i == 0 else 1), channels * expansion
            y = net.block(x, (channels, hidden), 1, net.swish) if expansion > 1 else x
            y = net.block(y, (hidden, hidden), kernel, net.swish, stride, hidden)
            y = net.squeeze_excite(y, hidden, channels // 4, net.swish, net.sigmoid)
            y = net.conv(y, (hidden, out), 1, bias=True)
            x = net.node("Add", [x, y]) if stride == 1 and out == channels else y
            channels = out
    return net.classes(net.block(x, (channels, 1280), 1, net.swish), 1280)


def resnext50() -> onnx.ModelProto:
    """ResNeXt-50 (32 groups of 4): Xie et al., 2017."""
    net = Family("resnext50", 24)
    x = net.block(net.input("data", [1, 3, 224, 224]), (3, 64), 7, net.relu, 2)
    x, channels = net.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), 64
    for width, repeats in ((128, 3), (256, 4), (512, 6), (1024, 3)):
        for i in range(repeats):
            stride = 2 if i == 0 and width > 128 else 1
            y = net.block(net.block(x, (channels, width), 1, net.relu), (width, width), 3, net.relu, stride, 32)
            y = net.conv(y, (width, 2 * width), 1, bias=True)
            shortcut = net.conv(x, (channels, 2 * width), 1, stride, bias=True) if i == 0 else x
            x, channels = net.relu(net.node("Add", [y, shortcut])), 2 * width
    return net.classes(x, channels)


def regnetx() -> onnx.ModelProto:
    """RegNetX-1.6GF (groups of 24): Radosavovic et al., 2020."""
    net = Family("regnetx", 36)
    x, channels = net.block(net.input("data", [1, 3, 224, 224]), (3, 32), 3, net.relu, 2), 32
    for width, repeats in ((72, 2), (168, 4), (408, 10), (912, 2)):
        for i in range(repeats):
            stride = 2 if i == 0 else 1
            y = net.block(net.block(x, (channels, width), 1, net.relu), (width, width), 3, net.relu, stride, width // 24)
            y = net.conv(y, (width, width), 1, bias=True)
            shortcut = net.conv(x, (channels, width), 1, stride, bias=True) if i == 0 else x
            x, channels = net.relu(net.node("Add", [y, shortcut])), width
    return net.classes(x, channels)


def mobilefacenet() -> onnx.ModelProto:
    """Chen et al., 2018: the network of face recognition on phones, with PReLU."""
    net = Family("mobilefacenet", 25)

    def block(x: str, channels: tuple[int, int], kernel: int, stride: int = 1, groups: int = 1) -> str:
        y = net.conv(x, channels, kernel, stride, groups, bias=True)
        return net.node("PRelu", [y, net.uniform(0.1, 0.3, channels[1], 1, 1)])

    x = block(block(net.input("data", [1, 3, 112, 112]), (3, 64), 3, 2), (64, 64), 3, 1, 64)
    channels = 64
    for out, hidden, repeats, first_stride in ((64, 128, 5, 2), (128, 256, 1, 2), (128, 256, 6, 1), (128, 512, 1, 2), (128, 256, 2, 1)):
        for i in range(repeats):
            stride = first_stride if i == 0 else 1
            y = block(block(x, (channels, hidden), 1), (hidden, hidden), 3, stride, hidden)
            y = net.conv(y, (hidden, out), 1, bias=True)
            x = net.node("Add", [x, y]) if stride == 1 and out == channels else y
            channels = out
    x = block(x, (128, 512), 1)
    x = net.node("Conv", [x, net.weight(512, 1, 7, 7, fan_in=49)], group=512)
    x = net.node("Flatten", [net.conv(x, (512, 128), 1)])
    net.node("LpNormalization", [x], "face", axis=1, p=2)
    return net.model({"face": [1, 128]})


def yolov8n() -> onnx.ModelProto:
    """The layers of Ultralytics' YOLOv8n at 320 x 320, without what decodes the boxes."""
    net = Family("yolov8n", 26)

    def block(x: str, before: int, after: int, kernel: int = 1, stride: int = 1) -> str:
        return net.block(x, (before, after), kernel, net.swish, stride)

    def halves(x: str, before: int, after: int, repeats: int, shortcut: bool) -> str:
        half = after // 2
        parts = list(net.node("Split", [block(x, before, after), net.longs(half, half)], outputs=2, axis=1))
        for _ in range(repeats):
            y = block(block(parts[-1], half, half, 3), half, half, 3)
            parts.append(net.node("Add", [parts[-1], y]) if shortcut else y)
        return block(net.node("Concat", parts, axis=1), half * (2 + repeats), after)

    def doubled(x: str) -> str:
        twice = net.constant(np.array([1, 1, 2, 2], np.float32))
        return net.node("Resize", [x, "", twice], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")

    def joined(*parts: str) -> str:
        return net.node("Concat", list(parts), axis=1)

    x = block(block(net.input("data", [1, 3, 320, 320]), 3, 16, 3, 2), 16, 32, 3, 2)
    fine = halves(block(halves(x, 32, 32, 1, True), 32, 64, 3, 2), 64, 64, 2, True)
    middle = halves(block(fine, 64, 128, 3, 2), 128, 128, 2, True)
    x = halves(block(middle, 128, 256, 3, 2), 256, 256, 1, True)
    pools = [block(x, 256, 128)]
    for _ in range(3):
        pools.append(net.node("MaxPool", [pools[-1]], kernel_shape=[5, 5], strides=[1, 1], pads=[2] * 4))
    coarse = block(joined(*pools), 512, 256)
    a = halves(joined(doubled(coarse), middle), 384, 128, 1, False)
    b = halves(joined(doubled(a), fine), 192, 64, 1, False)
    c = halves(joined(block(b, 64, 64, 3, 2), a), 192, 128, 1, False)
    d = halves(joined(block(c, 128, 128, 3, 2), coarse), 384, 256, 1, False)
    heads = []
    for x, channels, side in ((b, 64, 40), (c, 128, 20), (d, 256, 10)):
        boxes = net.conv(block(block(x, channels, 64, 3), 64, 64, 3), (64, 64), 1, bias=True)
        scores = net.conv(block(block(x, channels, 80, 3), 80, 80, 3), (80, 80), 1, bias=True)
        heads.append(net.node("Reshape", [joined(boxes, scores), net.longs(1, 144, side * side)]))
    net.node("Concat", heads, "predictions", axis=2)
    return net.model({"predictions": [1, 144, 2100]})


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


def deeplab_v3() -> onnx.ModelProto:
    """DeepLabV3 (Chen et al., 2017) at output stride 8, with a short, narrow backbone: dilated blocks and a pyramid of rates."""
    net = Family("deeplab_v3", 31)

    def dilated(x: str, channels: tuple[int, int], rate: int) -> str:
        before, after = channels
        inputs = [x, net.weight(after, before, 3, 3, fan_in=9 * before), net.uniform(-0.1, 0.1, after)]
        return net.node("Conv", inputs, kernel_shape=[3] * 2, dilations=[rate] * 2, pads=[rate] * 4)

    x = net.input("data", [1, 3, 256, 256])
    for before, after in ((3, 32), (32, 64), (64, 128)):
        x = net.block(x, (before, after), 3, net.relu, 2)
    for rate in (1, 2, 2, 4, 4):
        y = dilated(net.relu(dilated(x, (128, 128), rate)), (128, 128), rate)
        x = net.relu(net.node("Add", [x, y]))
    pooled = net.block(net.node("GlobalAveragePool", [x]), (128, 64), 1, net.relu)
    parts = [net.node("Expand", [pooled, net.longs(1, 64, 32, 32)]), net.block(x, (128, 64), 1, net.relu)]
    parts += [net.relu(dilated(x, (128, 64), rate)) for rate in (6, 12, 18)]
    x = net.block(net.node("Concat", parts, axis=1), (320, 64), 1, net.relu)
    x, scales = net.conv(x, (64, 21), 1, bias=True), net.constant(np.array([1, 1, 8, 8], np.float32))
    net.node("Resize", [x, "", scales], "labels", mode="linear", coordinate_transformation_mode="half_pixel")
    return net.model({"labels": [1, 21, 256, 256]})


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


FAMILIES = {
    network.__name__: network
    for network in (
        densenet121, mobilenet_v3, efficientnet_b0, resnext50, regnetx, mobilefacenet, yolov8n, vit, whisper_encoder, unet_3d, c3d, deeplab_v3,
        ecapa_tdnn,
    )  # fmt: skip
}
