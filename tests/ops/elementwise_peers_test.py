"""Random nodes of the element-wise and quantised operators against ONNX Runtime, each family drawn from a fixed seed.

Integers and quantised results must be equal, not just close: a quantised network amplifies a single step. What is left
out, since ONNX Runtime has no kernel for it: some pairs of signed and unsigned 8-bit factors, and many element types.
"""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from peer_cases import Cases, Draw, onnxruntime_outputs, value_info

pytest.importorskip("onnxruntime")

CASES = 60
BYTES = [np.uint8, np.int8]
MICROSOFT = "com.microsoft"


class Source(Draw):
    """A random source, and what several families draw from it."""

    def floats(self, *shape: int, scale: float = 2) -> np.ndarray:
        return (self.numbers.standard_normal(shape) * scale).astype(np.float32)

    def scale(self, *shape: int) -> np.ndarray:
        return self.numbers.uniform(0.003, 0.1, shape).astype(np.float32)

    def shapes(self, count: int) -> list[list[int]]:
        """Shapes that broadcast together."""
        full = [self.pick.choice([1, 2, 3, 5, 17, 40]) for _ in range(self.pick.randint(0, 4))]
        shapes = []
        for _ in range(count):
            own = [1 if self.chance(0.3) else n for n in full]
            shapes.append(own[self.pick.randint(0, len(own)) if own and self.chance(0.4) else 0 :])
        return shapes


def arithmetic(d: Source):
    op = d.pick.choice(["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean"])
    variadic = op in ("Max", "Min", "Sum", "Mean")
    dtype = np.float32 if op in ("Sum", "Mean") else d.pick.choice([np.float32, np.float64, np.int32, np.int64])
    tensors = []
    for shape in d.shapes(d.pick.randint(1, 4) if variadic else 2):
        values = d.floats(*shape, scale=20).astype(dtype)
        tensors.append(np.where(values == 0, dtype(1), values).astype(dtype))
    return op, 14, {}, tensors


def power(d: Source):
    base, exponent = d.shapes(2)
    x_type, y_type = d.pick.choice([np.float32, np.float64, np.int32, np.int64]), d.pick.choice([np.float32, np.int32, np.int64])
    x = np.abs(d.floats(*base, scale=4)) + 1
    y = np.full(exponent, 2.0) if d.chance(0.3) else d.numbers.integers(0, 5, exponent)
    return "Pow", 15, {}, [x.astype(x_type), np.asarray(y).astype(y_type)]


def modulo(d: Source):
    a, b = d.shapes(2)
    if d.chance(0.3):
        return "Mod", 13, {"fmod": 1}, [d.floats(*a, scale=9), d.floats(*b)]
    dtype = d.pick.choice([np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint32, np.uint64])
    divisor = d.integers(dtype, *b)
    return "Mod", 13, {}, [d.integers(dtype, *a), np.where(divisor == 0, dtype(3), divisor).astype(dtype)]


def comparison(d: Source):
    op = d.pick.choice(["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"])
    dtype = d.pick.choice([np.float32, np.float64, np.int32, np.int64] + [bool] * (op == "Equal"))
    return op, 16 if "Or" in op else 13, {}, [d.numbers.integers(0, 3, shape).astype(dtype) for shape in d.shapes(2)]


def logic(d: Source):
    shapes = d.shapes(3)
    if d.chance(0.4):
        dtype = d.pick.choice([np.float32, np.uint8, np.int64])
        values = [d.floats(*shape, scale=50).astype(dtype) for shape in shapes[1:]]
        return "Where", 16, {}, [d.numbers.integers(0, 2, shapes[0]).astype(bool), *values]
    if d.chance(0.4):
        op = d.pick.choice(["BitwiseAnd", "BitwiseOr", "BitwiseXor"])
        dtype = d.pick.choice([np.int8, np.int16, np.int32, np.uint8, np.uint64])
        return op, 18, {}, [d.integers(dtype, *shape) for shape in shapes[:2]]
    return d.pick.choice(["And", "Or", "Xor"]), 7, {}, [d.numbers.integers(0, 2, s).astype(bool) for s in shapes[:2]]


UNARY = {
    "Abs": 13, "Neg": 13, "Sqrt": 13, "Exp": 13, "Floor": 13, "Ceil": 13, "Tanh": 13, "Sigmoid": 13, "Reciprocal": 13,
    "Round": 11, "Sin": 7, "Cos": 7, "Tan": 7, "Atan": 7, "Sinh": 9, "Cosh": 9, "Asinh": 9, "Erf": 13, "Sign": 13,
    "Relu": 14, "LeakyRelu": 16, "Elu": 6, "Selu": 6, "Celu": 12, "ThresholdedRelu": 10, "HardSigmoid": 6, "HardSwish": 14,
    "Softplus": 1, "Softsign": 1, "Mish": 18, "Shrink": 9, "IsNaN": 13, "IsInf": 10, "PRelu": 16, "Clip": 13, "Gelu": 20,
    "com.microsoft.Gelu": 1, "com.microsoft.QuickGelu": 1, "com.microsoft.FastGelu": 1, "com.microsoft.BiasGelu": 1,
}  # fmt: skip
ATTRIBUTES = {
    "LeakyRelu": ["alpha"], "Elu": ["alpha"], "Selu": ["alpha", "gamma"], "Celu": ["alpha"], "ThresholdedRelu": ["alpha"],
    "HardSigmoid": ["alpha", "beta"], "Shrink": ["bias", "lambd"], "com.microsoft.QuickGelu": ["alpha"],
}  # fmt: skip


def unary(d: Source):
    op = d.pick.choice(list(UNARY))
    x = d.floats(*[d.pick.randint(1, 9) for _ in range(d.pick.randint(1, 3))])
    if op == "Sqrt":
        x = np.abs(x)
    if op not in ("Sin", "Cos", "Tan", "com.microsoft.FastGelu", "com.microsoft.BiasGelu"):
        for special in (np.inf, -np.inf, np.nan, -0.0):
            if d.chance(0.2) and op not in ("Mish", "HardSwish", "Softsign", "Gelu", "com.microsoft.Gelu", "com.microsoft.QuickGelu"):
                x.flat[d.pick.randrange(x.size)] = special
    attributes = {name: d.pick.choice([0.5, 1.3, 2.0]) for name in ATTRIBUTES.get(op, []) if d.chance(0.7)}
    inputs = [np.where(np.isfinite(x), x, 1).astype(np.float32) if op in ("Sign", "Relu", "PRelu", "Clip") else x]
    if op == "Gelu":
        attributes["approximate"] = d.pick.choice(["none", "tanh"])
    if op == "PRelu":
        inputs.append(d.floats(*[1 if d.chance() else n for n in x.shape]))
    if op == "Clip":
        inputs += [np.array(-1, np.float32) if d.chance() else None, np.array(0.5, np.float32) if d.chance() else None]
    if op == "com.microsoft.BiasGelu" or (op == "com.microsoft.FastGelu" and d.chance()):
        inputs.append(d.floats(x.shape[-1]))
    return op, UNARY[op], attributes, inputs


def casting(d: Source):
    numbers = [np.float32, np.float64, np.int8, np.int32, np.int64, np.uint8, np.uint16, bool, np.float16]
    to = helper.np_dtype_to_tensor_dtype(np.dtype(d.pick.choice(numbers)))
    if d.chance(0.3):
        words = ["1", "-17", "+3", " 42 ", "0"] if to not in (TensorProto.FLOAT, TensorProto.DOUBLE) else ["1e-5", "1E8", "-2.5", "+7"]
        if to in (TensorProto.BOOL, TensorProto.UINT8, TensorProto.UINT16, TensorProto.FLOAT16):
            words = ["1", "0", "7"] if to != TensorProto.BOOL else ["1", "0"]
        return "Cast", 19, {"to": to}, [np.array([d.pick.choice(words) for _ in range(5)], object)]
    x = d.numbers.integers(0, 100, [d.pick.randint(0, 70)]).astype(d.pick.choice(numbers))
    if x.dtype in (np.float32, np.float64):
        x = x + x.dtype.type(0.25)
    return "Cast", 19, {"to": TensorProto.STRING if x.dtype.kind in "iu" and d.chance(0.2) else to}, [x]


def convolution(d: Source, x_type: type, w_type: type):
    """x, w, their parameters, and attributes."""
    axes, group = d.pick.choice([1, 2, 2, 2, 3]), d.pick.choice([1, 1, 2, 4])
    depthwise = d.chance(0.4)
    group_in = 1 if depthwise else d.pick.choice([*range(1, 10), 16, 24])
    out = group * d.pick.choice([1, 1, 2, 5, 8, 40])
    kernel = [d.pick.choice([1, 2, 3, 5]) for _ in range(axes)] if d.chance(0.7) else [1] * axes
    attributes = {"group": group}
    if d.chance(0.6):
        attributes["strides"] = [d.pick.randint(1, 3) for _ in kernel]
    if d.chance(0.3):
        attributes["dilations"] = [d.pick.randint(1, 2) for _ in kernel]
    if d.chance(0.6):
        attributes["pads"] = [d.pick.randint(0, k - 1) for k in kernel * 2]
    elif d.chance(0.2):
        attributes["auto_pad"] = "VALID"
    x = d.integers(x_type, d.pick.randint(1, 2), group * group_in, *[d.pick.choice([9, 12, 21]) for _ in kernel])
    w = d.weights(w_type, out, group_in, *kernel)
    return x, w, attributes


def qlinear_conv(d: Source):
    x_type, w_type = d.pick.choice([(np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.int8)])
    x, w, attributes = convolution(d, x_type, w_type)
    out, per_channel = w.shape[0], d.chance()
    scales = d.scale(out) if per_channel else d.scale()
    zeros = np.zeros(out, w_type) if per_channel else d.integers(w_type) if w_type == np.uint8 else np.zeros([], w_type)
    bias = [d.numbers.integers(-9999, 9999, out, np.int32)] if d.chance() else []
    y = [np.float32(0.1) * w[0].size + d.scale(), d.integers(x_type)]
    return "QLinearConv", 10, attributes, [x, d.scale(), d.integers(x_type), w, scales, zeros, y[0].astype(np.float32), y[1], *bias]


def conv_integer(d: Source):
    x, w, attributes = convolution(d, np.uint8, np.uint8)
    points = [d.integers(np.uint8)] if d.chance() else []
    return "ConvInteger", 10, attributes, [x, w, *points]


def factors(d: Source, a_type: type, b_type: type):
    batch = [d.pick.randint(1, 3)] if d.chance(0.4) else []
    m, n, k = (d.pick.choice([1, 3, 16, 33, 70]) for _ in range(3))
    return d.integers(a_type, *batch, m, k), d.weights(b_type, *(batch if d.chance() else []), k, n)


def matmul_integer(d: Source):
    a_type, b_type = d.pick.choice([(np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.int8)])
    a, b = factors(d, a_type, b_type)
    inputs = [a, b]
    if d.chance(0.7):
        inputs.append(d.integers(a_type))
        if d.chance(0.7):
            inputs.append(d.integers(b_type, b.shape[-1]) if b.ndim == 2 and d.chance() else d.integers(b_type))
    return "MatMulInteger", 10, {}, inputs


def qlinear_matmul(d: Source):
    a_type, b_type = d.pick.choice([(np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.int8)])
    a, b = factors(d, a_type, b_type)
    per_column = b.ndim == 2 and d.chance(0.4)
    b_scale = d.scale(b.shape[-1]) if per_column else d.scale()
    b_zero = d.integers(b_type, b.shape[-1]) if per_column else d.integers(b_type)
    y_scale = np.array(0.05 * a.shape[-1], np.float32)
    return "QLinearMatMul", 10, {}, [a, d.scale(), d.integers(a_type), b, b_scale, b_zero, y_scale, d.integers(a_type)]


def dynamic_matmul(d: Source):
    b_type = d.pick.choice(BYTES)
    a, b = factors(d, np.uint8, b_type)
    bias = d.floats(b.shape[-1]) if d.chance() else None
    if d.chance():
        inputs = [a, b, d.scale(), d.scale(), d.integers(np.uint8), d.integers(b_type), bias]
        return "com.microsoft.MatMulIntegerToFloat", 1, {}, inputs
    return "com.microsoft.DynamicQuantizeMatMul", 1, {}, [d.floats(*a.shape), b, d.scale(), d.integers(b_type), bias]


def quantize(d: Source):
    shape = [d.pick.choice([1, 4, 6, 9, 64]) for _ in range(d.pick.randint(1, 4))]
    axis = d.pick.randrange(len(shape))
    q_type = d.pick.choice([np.uint8, np.int8, np.uint16, np.int16])
    parameters, attributes = [], {}
    kind = d.pick.choice(["tensor", "axis", "block"])
    if kind == "axis":
        parameters, attributes = [shape[axis]], {"axis": axis}
    if kind == "block" and len(shape) > 1:
        block = d.pick.choice([2, 3, 4])
        parameters = [-(-n // block) if i == axis else n for i, n in enumerate(shape)]
        attributes = {"axis": axis, "block_size": block}
    scale, zero = d.scale(*parameters), d.integers(q_type, *parameters)
    if d.chance():
        return "DequantizeLinear", 21, attributes, [d.integers(q_type, *shape), scale, zero]
    return "QuantizeLinear", 21, attributes, [d.floats(*shape, scale=3), scale, zero]


def dynamic_quantize(d: Source):
    return "DynamicQuantizeLinear", 11, {}, [d.floats(d.pick.choice([1, 7, 100]), scale=d.pick.choice([0, 0.1, 5]))]


def qlinear_elementwise(d: Source):
    dtype = d.pick.choice(BYTES)

    def parameters():
        return [d.scale(), d.integers(dtype)]

    kind = d.pick.choice(["Add", "Add", "Mul", "LeakyRelu", "Sigmoid", "GlobalAveragePool", "Concat"])
    if kind in ("Add", "Mul"):
        a, b = d.shapes(2)
        y = [np.float32(d.pick.uniform(0.02, 0.5)).reshape(()), d.integers(dtype)]
        return f"com.microsoft.QLinear{kind}", 1, {}, [d.integers(dtype, *a), *parameters(), d.integers(dtype, *b), *parameters(), *y]
    if kind == "Concat":
        parts = [value for _ in range(3) for value in [d.integers(dtype, 2, d.pick.randint(1, 5), 3), *parameters()]]
        return "com.microsoft.QLinearConcat", 1, {"axis": 1}, [*parameters(), *parts]
    x = d.integers(dtype, 2, d.pick.randint(1, 20), 5, 7)
    attributes = {"channels_last": d.pick.randint(0, 1)} if kind == "GlobalAveragePool" else {}
    if kind == "LeakyRelu":
        attributes["alpha"] = 0.3
    return f"com.microsoft.QLinear{kind}", 1, attributes, [x, *parameters(), *parameters()]


def model_of(op: str, version: int, attributes: dict, inputs: list, constants: bool) -> onnx.ModelProto:
    """One node; all but its first input are initializers where `constants`."""
    domain, _, op_type = op.rpartition(".")
    names = [f"x{i}" if value is not None else "" for i, value in enumerate(inputs)]
    outputs = [f"y{i}" for i in range(3 if op == "DynamicQuantizeLinear" else 1)]
    node = helper.make_node(op_type, names, outputs, domain=domain, **attributes)
    present = [(name, np.asarray(value)) for name, value in zip(names, inputs) if name]
    split = 1 if constants else len(present)

    graph = helper.make_graph(
        [node],
        "peers",
        [value_info(name, value) for name, value in present[:split]],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in present[split:]],
    )
    opsets = [helper.make_opsetid(domain, version)] + ([helper.make_opsetid("", 17)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


FAMILIES = [
    arithmetic, power, modulo, comparison, logic, unary, casting, qlinear_conv, conv_integer, matmul_integer, qlinear_matmul,
    dynamic_matmul, quantize, dynamic_quantize, qlinear_elementwise,
]  # fmt: skip


@pytest.mark.parametrize("target", ["", "scalar"])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_family(family, target, tmp_path):
    draw = Source(1)
    cases = Cases(tmp_path)
    for number in range(CASES):
        op, version, attributes, inputs = family(draw)
        model = model_of(op, version, attributes, inputs, draw.chance())
        feeds = {info.name: np.asarray(inputs[int(info.name[1:])]) for info in model.graph.input}
        expected = onnxruntime_outputs(model, feeds)
        rtol, atol = (2e-6, 1e-6) if expected[0].dtype.kind == "f" else (0, 0)
        cases.add(f"{number}_{op}", model, feeds, expected, rtol, atol)
    assert not cases.failures(target)
