"""Random nodes of the windowed, normalising, resampling and recurrent operators against ONNX Runtime.

Each family is drawn from a fixed seed. What is left out on purpose, since ONNX Runtime departs from the spec there:
SAME padding where the stride exceeds the window or with dilations, align_corners with scales or an aspect-ratio policy,
crops along axes that keep their size, and cubic samples of a grid whose border is repeated.
"""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from peer_cases import Cases, Draw, onnxruntime_outputs

pytest.importorskip("onnxruntime")

CASES = 120


class Source(Draw):
    """A random source, and what all families draw from it."""

    def normal(self, *shape: int) -> np.ndarray:
        return self.numbers.standard_normal(shape).astype(np.float32)

    def extents(self, axes: int) -> list[int]:
        return [self.pick.randint(8, 15 if axes < 3 else 10) for _ in range(axes)]

    def window(self, kernel: list[int], dilations: bool) -> dict:
        axes = len(kernel)
        attributes = {}
        kind = self.pick.choice(["pads", "SAME_UPPER", "SAME_LOWER", "VALID", "none"])
        if self.chance(0.7):
            strides = [self.pick.randint(1, 3) for _ in kernel]
            if kind.startswith("SAME"):
                strides = [min(s, k) for s, k in zip(strides, kernel)]
            attributes["strides"] = strides
        if dilations and not kind.startswith("SAME") and self.chance(0.3):
            attributes["dilations"] = [self.pick.randint(1, 2) for _ in range(axes)]
        if kind == "pads":
            attributes["pads"] = [self.pick.randint(0, k - 1) for k in kernel * 2]
        elif kind != "none":
            attributes["auto_pad"] = kind
        return attributes


def conv(d: Source):
    axes, group = d.pick.choice([1, 2, 2, 3]), d.pick.choice([1, 1, 2, 4])
    channels, out = group * d.pick.randint(1, 9), group * d.pick.randint(1, 9)
    if d.chance(0.2):  # depthwise
        group, out = channels, channels * d.pick.choice([1, 2])
    kernel = [d.pick.randint(1, 4 if axes < 3 else 3) for _ in range(axes)]
    attributes = {**d.window(kernel, True), "group": group}
    inputs = [d.normal(d.pick.randint(1, 2), channels, *d.extents(axes)), d.normal(out, channels // group, *kernel)]
    if d.chance():
        inputs.append(d.normal(out))
    return "Conv", d.pick.choice([1, 11, 21]), attributes, inputs, 1


def fused_conv(d: Source):
    parameters = {"LeakyRelu": [0.1], "Clip": [-0.5, 1.0], "HardSigmoid": [0.3, 0.4]}
    activation = d.pick.choice(["Relu", "Tanh", "Sigmoid", *parameters])
    attributes = {"activation": activation, "pads": [1] * 4}
    if activation in parameters:
        attributes["activation_params"] = parameters[activation]
    return "com.microsoft.FusedConv", 1, attributes, [d.normal(1, 5, 9, 8), d.normal(7, 5, 3, 3), d.normal(7)], 1


def conv_transpose(d: Source):
    axes, group = d.pick.choice([1, 2, 2, 3]), d.pick.choice([1, 1, 2])
    channels, out = group * d.pick.randint(1, 5), d.pick.randint(1, 5)
    kernel = [d.pick.randint(1, 4) for _ in range(axes)]
    attributes = {**d.window(kernel, True), "group": group}
    if d.chance(0.3):
        attributes["output_padding"] = [s - 1 for s in attributes.get("strides", [1] * axes)]
    inputs = [d.normal(d.pick.randint(1, 2), channels, *d.extents(axes)), d.normal(channels, out, *kernel)]
    if d.chance():
        inputs.append(d.normal(out * group))
    return "ConvTranspose", d.pick.choice([1, 11, 21]), attributes, inputs, 1


def pool(d: Source):
    op, axes = d.pick.choice(["MaxPool", "MaxPool", "AveragePool", "LpPool"]), d.pick.choice([1, 2, 2, 3])
    version = d.pick.choice([8, 10, 11, 12, 19, 21])
    kernel = [d.pick.randint(1, 4) for _ in range(axes)]
    since = {"MaxPool": 10, "AveragePool": 19, "LpPool": 18}[op]
    attributes = {**d.window(kernel, version >= since), "kernel_shape": kernel}
    x, outputs = d.normal(d.pick.randint(1, 2), d.pick.randint(1, 20), *d.extents(axes)), 1
    if version >= 10 and op != "LpPool" and "auto_pad" not in attributes and d.chance():
        attributes["ceil_mode"] = 1
    if op == "MaxPool":
        if version >= 12 and d.chance(0.2):
            x = (x * 40).astype(d.pick.choice([np.int8, np.uint8]))
        if d.chance(0.4):
            outputs, attributes["storage_order"] = 2, d.pick.randint(0, 1)
    elif op == "AveragePool":
        attributes["count_include_pad"] = d.pick.randint(0, 1)
    else:
        attributes["p"] = d.pick.randint(1, 3)
    return op, version, attributes, [x], outputs


def norm(d: Source):
    op = d.pick.choice(["BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization", "LRN"])
    x = d.normal(d.pick.randint(1, 3), 12, *d.extents(d.pick.randint(1, 3)))
    if op == "BatchNormalization":
        statistics = [d.normal(12), d.normal(12), d.normal(12), np.abs(d.normal(12))]
        if d.chance():
            return op, 15, {"training_mode": 1, "momentum": 0.7}, [x, *statistics], 3
        return op, d.pick.choice([7, 9, 14, 15]), {"epsilon": 1e-3}, [x, *statistics], 1
    if op == "LayerNormalization":
        axis = d.pick.randint(0, x.ndim - 1)
        inputs = [x, d.normal(*x.shape[axis:])] + ([d.normal(*x.shape[axis:])] if d.chance() else [])
        return op, 17, {"axis": axis - d.pick.choice([0, x.ndim])}, inputs, d.pick.choice([1, 3])
    if op == "LRN":
        return op, 13, {"size": d.pick.choice([1, 3, 5]), "beta": d.pick.choice([0.5, 0.75])}, [d.normal(2, 12, 5, 6)], 1
    groups = {"num_groups": d.pick.choice([1, 2, 3, 12])} if op == "GroupNormalization" else {}
    return op, 21, groups, [x, d.normal(12), d.normal(12)], 1


def resize(d: Source):
    mode = d.pick.choice(["nearest", "linear", "linear", "cubic"])
    version = d.pick.choice([10, 11, 13, 18, 19])
    x = d.normal(d.pick.randint(1, 2), 3, *(d.pick.randint(3, d.pick.choice([9, 60])) for _ in range(2)))
    scales = np.array([1, 1, *(d.pick.choice([0.5, 0.6, 0.75, 1.5, 2, 2.5, 3]) for _ in range(2))], np.float32)
    if version == 10:
        return "Resize", 10, {"mode": mode if mode != "cubic" else "linear"}, [x, scales], 1
    coordinates = ["half_pixel", "pytorch_half_pixel", "asymmetric", *(["half_pixel_symmetric"] if version == 19 else [])]
    attributes = {"mode": mode, "coordinate_transformation_mode": d.pick.choice(coordinates)}
    if mode == "nearest":
        attributes["nearest_mode"] = d.pick.choice(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
        x = x.astype(d.pick.choice([np.float32, np.int32, np.uint8]))
    elif mode == "cubic":
        attributes |= {"cubic_coeff_a": d.pick.choice([-0.5, -0.75]), "exclude_outside": d.pick.randint(0, 1)}
    roi = np.zeros(0, np.float32) if version == 11 else None
    if d.chance():
        return "Resize", version, attributes, [x, roi, scales], 1
    sizes = np.array([*x.shape[:2], d.pick.randint(2, 12), d.pick.randint(2, 12)], np.int64)
    if version >= 18 and mode != "nearest" and d.chance():
        attributes |= {"antialias": 1, "coordinate_transformation_mode": "half_pixel"}
    elif d.chance():
        attributes["coordinate_transformation_mode"] = "align_corners"
    return "Resize", version, attributes, [x, roi, np.zeros(0, np.float32) if version == 11 else None, sizes], 1


def grid_sample(d: Source):
    axes, version = d.pick.choice([2, 2, 3]), d.pick.choice([16, 20])
    names = {16: ["bilinear", "nearest", "bicubic"], 20: ["linear", "nearest", "cubic"]}[version]
    if version == 16:
        axes = 2
    mode = d.pick.choice(names[: 3 if axes == 2 else 2])
    padding = d.pick.choice(["zeros", "reflection"] + ([] if "cubic" in mode else ["border"]))
    x = d.normal(d.pick.randint(1, 3), d.pick.randint(1, 40), *d.extents(axes))
    grid = d.normal(x.shape[0], *d.extents(axes), axes) * np.float32(0.8)
    attributes = {"mode": mode, "padding_mode": padding, "align_corners": d.pick.randint(0, 1)}
    return "GridSample", version, attributes, [x, grid], 1


def upsample(d: Source):
    scales = [1.0, 1.0, d.pick.choice([1.5, 2.0, 3.0]), d.pick.choice([1.0, 2.0, 2.5])]
    attributes, x = {"mode": d.pick.choice(["nearest", "linear"])}, d.normal(1, 2, 4, 5)
    if d.chance():
        return "Upsample", 7, {**attributes, "scales": scales}, [x], 1
    return "Upsample", 9, attributes, [x, np.array(scales, np.float32)], 1


def recurrent(d: Source):
    op, version = d.pick.choice(["RNN", "GRU", "LSTM"]), d.pick.choice([7, 14])
    gates, functions = {"RNN": (1, 1), "GRU": (3, 2), "LSTM": (4, 3)}[op]
    direction = d.pick.choice(["forward", "reverse", "bidirectional"])
    directions = 2 if direction == "bidirectional" else 1
    steps, batch, inputs = d.pick.randint(1, 6), d.pick.randint(1, 4), d.pick.randint(1, 9)
    hidden = d.pick.choice([1, 3, 8, 17, 33])

    def small(*shape: int) -> np.ndarray:
        return d.normal(*shape) * np.float32(0.5)

    def maybe(value):
        return value if d.chance() else None

    tensors = [
        small(steps, batch, inputs),
        small(directions, gates * hidden, inputs),
        small(directions, gates * hidden, hidden),
        maybe(small(directions, 2 * gates * hidden)),
        maybe(d.numbers.integers(1, steps + 1, batch).astype(np.int32)),
        maybe(small(directions, batch, hidden)),
    ]
    attributes = {"hidden_size": hidden, "direction": direction}
    if op == "LSTM":
        tensors += [maybe(small(directions, batch, hidden)), maybe(small(directions, 3 * hidden))]
        attributes["input_forget"] = d.pick.randint(0, 1)
    elif op == "GRU":
        attributes["linear_before_reset"] = d.pick.randint(0, 1)
    if d.chance(0.2):
        attributes["clip"] = d.pick.choice([0.3, 2.0])
    if d.chance(0.4):  # two of them take an alpha, one takes a beta
        names = [d.pick.choice(["Tanh", "Sigmoid", "Softsign", "HardSigmoid", "Elu"]) for _ in range(functions * directions)]
        attributes["activations"] = names
        if alphas := [{"HardSigmoid": 0.3, "Elu": 0.7}[name] for name in names if name in ("HardSigmoid", "Elu")]:
            attributes["activation_alpha"] = alphas
        if betas := [0.4 for name in names if name == "HardSigmoid"]:
            attributes["activation_beta"] = betas
    return op, version, attributes, tensors, 3 if op == "LSTM" else 2


def model_of(op: str, version: int, attributes: dict, inputs: list, outputs: int, constants: bool) -> onnx.ModelProto:
    """One node; all but its first input are initializers where `constants`."""
    domain, _, op_type = op.rpartition(".")
    names = [f"x{i}" if value is not None else "" for i, value in enumerate(inputs)]
    node = helper.make_node(op_type, names, [f"y{i}" for i in range(outputs)], domain=domain, **attributes)
    present = [(name, value) for name, value in zip(names, inputs) if name]
    split = 1 if constants else len(present)
    dtype = helper.np_dtype_to_tensor_dtype(inputs[0].dtype)
    graph = helper.make_graph(
        [node],
        "peers",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in present[:split]
        ],
        [
            helper.make_tensor_value_info(
                f"y{i}", onnx.TensorProto.INT64 if op == "MaxPool" and i == 1 else dtype, None
            )
            for i in range(outputs)
        ],
        [numpy_helper.from_array(value, name) for name, value in present[split:]],
    )
    opsets = [helper.make_opsetid(domain, version)] + ([helper.make_opsetid("", 17)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


FAMILIES = [conv, fused_conv, conv_transpose, pool, norm, resize, grid_sample, upsample, recurrent]


@pytest.mark.parametrize("target", ["", "scalar"])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_family(family, target, tmp_path):
    draw = Source(1)
    cases = Cases(tmp_path)
    for number in range(CASES):
        op, version, attributes, inputs, outputs = family(draw)
        model = model_of(op, version, attributes, inputs, outputs, draw.chance())
        feeds = {info.name: inputs[int(info.name[1:])] for info in model.graph.input}
        expected = onnxruntime_outputs(model, feeds)
        # The small numbers of a state that grows (with Elu, to thousands) are differences of large ones.
        largest = max(float(np.abs(value).max(initial=0)) for value in expected) if family is recurrent else 0
        cases.add(f"{number}_{op}", model, feeds, expected, 1e-3, 2e-5 + 1e-7 * largest)
    assert not cases.failures(target)
