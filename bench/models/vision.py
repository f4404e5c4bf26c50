"""Networks of images, most of them convolutional: a part of families.py."""

from __future__ import annotations

import numpy as np
import onnx
from family import Family


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


def shufflenet_v2() -> onnx.ModelProto:
    """ShuffleNetV2 1.0: Ma et al., 2018."""
    net = Family("shufflenet_v2", 33)

    def half(x: str, before: int, width: int, stride: int) -> str:
        x = net.block(x, (before, width), 1, net.relu)
        x = net.conv(x, (width, width), 3, stride, width, bias=True)
        return net.block(x, (width, width), 1, net.relu)

    def shuffled(a: str, b: str, width: int, side: int) -> str:
        x = net.node("Reshape", [net.node("Concat", [a, b], axis=1), net.longs(1, 2, width, side, side)])
        return net.node("Reshape", [net.node("Transpose", [x], perm=[0, 2, 1, 3, 4]), net.longs(1, 2 * width, side, side)])

    x = net.block(net.input("data", [1, 3, 224, 224]), (3, 24), 3, net.relu, 2)
    x, channels, side = net.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), 24, 56
    for width, depth in ((58, 4), (116, 8), (232, 4)):
        side //= 2
        skip = net.conv(x, (channels, channels), 3, 2, channels, bias=True)
        x = shuffled(net.block(skip, (channels, width), 1, net.relu), half(x, channels, width, 2), width, side)
        for _ in range(depth - 1):
            kept, other = net.node("Split", [x, net.longs(width, width)], outputs=2, axis=1)
            x = shuffled(kept, half(other, width, width, 1), width, side)
        channels = 2 * width
    return net.classes(net.block(x, (464, 1024), 1, net.relu), 1024)


def convnext() -> onnx.ModelProto:
    """ConvNeXt-Tiny (Liu et al., 2022), a third as deep."""
    net = Family("convnext", 34)

    def patches(x: str, before: int, width: int, size: int) -> str:
        weights = net.weight(width, before, size, size, fan_in=before * size * size)
        return net.node("Conv", [x, weights, net.uniform(-0.1, 0.1, width)], strides=[size] * 2)

    def channels_last(x: str) -> str:
        return net.node("Transpose", [x], perm=[0, 2, 3, 1])

    def channels_first(x: str) -> str:
        return net.node("Transpose", [x], perm=[0, 3, 1, 2])

    def normed(x: str, width: int) -> str:
        return channels_first(net.norm(channels_last(x), width))

    x, before = normed(patches(net.input("data", [1, 3, 224, 224]), 3, 96, 4), 96), 96
    for width, depth in ((96, 1), (192, 1), (384, 3), (768, 1)):
        if width != before:
            x = patches(normed(x, before), before, width, 2)
        for _ in range(depth):
            y = net.norm(channels_last(net.conv(x, (width, width), 7, 1, width, bias=True)), width)
            y = net.linear(net.gelu(net.linear(y, width, 4 * width)), 4 * width, width)
            x = net.node("Add", [net.node("Mul", [net.uniform(0.1, 0.3, width, 1, 1), channels_first(y)]), x])
        before = width
    x = net.node("Flatten", [normed(net.node("GlobalAveragePool", [x]), 768)])
    net.node("Gemm", [x, net.weight(1000, 768, fan_in=768), net.uniform(-0.1, 0.1, 1000)], "scores", transB=1)
    return net.model({"scores": [1, 1000]})


def inception_v3() -> onnx.ModelProto:
    """Szegedy et al., 2016: the four blocks of 17 x 17 pixels, whose windows are 1x7 and 7x1."""
    net = Family("inception_v3", 47)

    def chain(x: str, before: int, *layers: tuple[int, int, int]) -> str:
        for width, height, length in layers:
            weights = net.weight(width, before, height, length, fan_in=before * height * length)
            pads = [height // 2, length // 2] * 2
            x = net.relu(net.node("Conv", [x, weights, net.uniform(-0.1, 0.1, width)], pads=pads))
            before = width
        return x

    x = net.input("data", [1, 768, 17, 17])
    for w in (128, 160, 160, 192):
        branches = [
            chain(x, 768, (192, 1, 1)),
            chain(x, 768, (w, 1, 1), (w, 1, 7), (192, 7, 1)),
            chain(x, 768, (w, 1, 1), (w, 7, 1), (w, 1, 7), (w, 7, 1), (192, 1, 7)),
            chain(net.node("AveragePool", [x], kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4), 768, (192, 1, 1)),
        ]
        x = net.node("Concat", branches, axis=1)
    return net.classes(x, 768)


def style_transfer() -> onnx.ModelProto:
    """Fast style transfer (Johnson et al., 2016) with instance normalisation (Ulyanov et al., 2016)."""
    net = Family("style_transfer", 40)

    def conv(x: str, before: int, after: int, kernel: int, stride: int = 1) -> str:
        side = kernel // 2
        x = net.node("Pad", [x, net.longs(0, 0, side, side, 0, 0, side, side)], mode="reflect")
        weights = net.weight(after, before, kernel, kernel, fan_in=before * kernel * kernel)
        return net.node("Conv", [x, weights, net.uniform(-0.1, 0.1, after)], strides=[stride] * 2)

    def unit(x: str, before: int, after: int, kernel: int, stride: int = 1) -> str:
        y = conv(x, before, after, kernel, stride)
        return net.node("InstanceNormalization", [y, net.uniform(0.8, 1.2, after), net.uniform(-0.1, 0.1, after)])

    x, twice = net.input("data", [1, 3, 224, 224]), net.constant(np.array([1, 1, 2, 2], np.float32))
    for before, after, kernel, stride in ((3, 32, 9, 1), (32, 64, 3, 2), (64, 128, 3, 2)):
        x = net.relu(unit(x, before, after, kernel, stride))
    for _ in range(5):
        x = net.node("Add", [x, unit(net.relu(unit(x, 128, 128, 3)), 128, 128, 3)])
    for before, after in ((128, 64), (64, 32)):
        x = net.node("Resize", [x, "", twice], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
        x = net.relu(unit(x, before, after, 3))
    net.node("Identity", [conv(x, 32, 3, 9)], "image")
    return net.model({"image": [1, 3, 224, 224]})
