"""Single operators against ONNX Runtime: one node each, in turns, float32 unless it says otherwise.

    ./dev bench operators [PART OF A NAME...] [--threads N]

Shapes are those of the layers of usual networks: images of 64 x 56 x 56, rows of 8 x 128 x 384. The slowest, compared with
ONNX Runtime, come first.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import mezzo

RANDOM = np.random.default_rng(0)
ROUNDS, SECONDS = 5, 0.02
# An engine's threads may spin so long behind its last run, which is the next one's time.
REST = 0.06


def draw(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


IMAGE, ROWS = draw(1, 64, 56, 56), draw(8, 128, 384)
CHANNELS = {name: draw(64) for name in ("scale", "shift")}
STATISTICS = {**CHANNELS, "mean": draw(64), "variance": np.ones(64, np.float32)}


def cases() -> list[tuple]:
    """(label, operator, feeds, constants, attributes, outputs)."""
    listed: list[tuple] = []

    def case(op: str, *feeds: np.ndarray, label: str = "", constants: dict | None = None, outputs: int = 1, **attributes) -> None:
        listed.append((f"{op} {label}".strip(), op, {f"x{i}": np.asarray(feed) for i, feed in enumerate(feeds)}, constants or {}, attributes, outputs))

    for op in (
        "Abs Neg Exp Erf Sin Cos Atan Tan Floor Round Sign Sigmoid Tanh Relu Softplus Softsign Elu Selu HardSigmoid HardSwish LeakyRelu Reciprocal "
        "Mish IsNaN"
    ).split():
        case(op, IMAGE)
    case("Log", np.abs(IMAGE)), case("Sqrt", np.abs(IMAGE)), case("Not", IMAGE > 0)
    case("PRelu", IMAGE, constants={"slope": draw(64, 1, 1)})
    for op in ("Add", "Mul", "Div", "Pow"):
        case(op, np.abs(IMAGE), IMAGE)
        case(op, np.abs(IMAGE), draw(1, 64, 1, 1), label="by channel")
        case(op, np.abs(ROWS), draw(384), label="by row")
    for op in ("Max", "Sum", "Mean"):
        case(op, IMAGE, IMAGE[::-1].copy(), 2 * IMAGE)
    case("Where", IMAGE > 0, IMAGE, draw(1)), case("Less", IMAGE, draw(1))
    for name in ("INT64", "INT32", "UINT8", "BOOL", "FLOAT16"):
        case("Cast", IMAGE, label=f"to {name.lower()}", to=getattr(TensorProto, name))
    for source in (np.int64, np.uint8, np.bool_, np.float16):
        case("Cast", (IMAGE * 10).astype(source), label=f"from {source.__name__}", to=TensorProto.FLOAT)
    for op in ("ReduceMean", "ReduceMax", "ReduceL2"):
        for axes in ([-1], [1], [2, 3]):
            case(op, np.abs(IMAGE), label=f"along {axes}", axes=axes)
    for op in ("Softmax", "LogSoftmax", "ArgMax"):
        case(op, ROWS, label="of rows", axis=-1)
        case(op, IMAGE, label="of channels", axis=1)
    case("TopK", draw(64, 1000), constants={"k": np.array([5])}, outputs=2)
    case("CumSum", ROWS, constants={"axis": np.int64(1)}), case("CumSum", ROWS, constants={"axis": np.int64(2)}, label="of rows")
    case("Transpose", IMAGE, label="to NHWC", perm=[0, 2, 3, 1]), case("Transpose", draw(1, 128, 12, 64), label="of heads", perm=[0, 2, 1, 3])
    case("Gather", draw(30000, 384), RANDOM.integers(0, 30000, (8, 128)), axis=0)
    case("GatherElements", ROWS, RANDOM.integers(0, 384, ROWS.shape), axis=2)
    case("ScatterND", ROWS, RANDOM.integers(0, 8, (100, 1)), draw(100, 128, 384))
    case("Slice", IMAGE, constants={"begin": np.array([1, 1]), "end": np.array([55, 55]), "axes": np.array([2, 3])})
    case("Concat", IMAGE, IMAGE, axis=1), case("Split", ROWS, outputs=3, axis=-1)
    case("Tile", draw(1, 64, 7, 7), constants={"repeats": np.array([1, 1, 8, 8])})
    case("Expand", draw(1, 128, 1, 64), constants={"shape": np.array([1, 128, 12, 64])})
    case("Pad", IMAGE, constants={"pads": np.array([0, 0, 1, 1] * 2)}), case("SpaceToDepth", IMAGE, blocksize=2)
    case("DepthToSpace", draw(1, 256, 28, 28), blocksize=2, mode="CRD")
    for mode, at in (("nearest", "asymmetric"), ("linear", "half_pixel"), ("cubic", "half_pixel")):
        twice = {"": None, "scales": np.array([1, 1, 2, 2], np.float32)}
        case("Resize", IMAGE, label=mode, constants=twice, mode=mode, coordinate_transformation_mode=at)
    case("GridSample", IMAGE, np.clip(draw(1, 56, 56, 2), -1, 1), mode="bilinear")
    case("MaxPool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    case("AveragePool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), case("GlobalAveragePool", IMAGE)
    case("BatchNormalization", IMAGE, constants=STATISTICS), case("InstanceNormalization", IMAGE, constants=CHANNELS)
    case("LayerNormalization", ROWS, constants={"scale": draw(384), "shift": draw(384)})
    case("MatMul", draw(8, 12, 128, 32), draw(8, 12, 32, 128)), case("MatMul", draw(1, 1024), label="vector", constants={"b": draw(1024, 1024)})
    heads = draw(1, 12, 128, 64), draw(1, 12, 128, 64), draw(1, 12, 128, 64)
    prompt, past = (draw(1, 16, 1024, 64), draw(1, 4, 1024, 64), draw(1, 4, 1024, 64)), {"": None, "k": draw(1, 4, 1023, 64), "v": draw(1, 4, 1023, 64)}
    case("Attention", *heads), case("Attention", *heads, draw(128, 128), label="with a mask"), case("Attention", *prompt, label="of a prompt", is_causal=1)
    case("Attention", *(part[:, :, :1] for part in prompt), label="of a token", constants=past, outputs=3)
    case("Gemm", draw(64, 512), constants={"b": draw(512, 512), "c": draw(512)})
    case("Conv", draw(1, 64, 1000), label="1-D", constants={"w": draw(64, 64, 3)}, pads=[1, 1])
    case("Conv", draw(1, 64, 28, 28), label="5x5", constants={"w": draw(128, 64, 5, 5)}, pads=[2] * 4)
    case("Conv", draw(1, 64, 28, 28), label="dilated", constants={"w": draw(64, 64, 3, 3)}, pads=[2] * 4, dilations=[2, 2])
    case("Conv", draw(1, 16, 16, 28, 28), label="3-D", constants={"w": draw(16, 16, 3, 3, 3)}, pads=[1] * 6)
    case("ConvTranspose", draw(1, 64, 28, 28), label="2x2", constants={"w": draw(64, 32, 2, 2)}, strides=[2, 2])
    case("ConvTranspose", draw(1, 64, 28, 28), label="4x4", constants={"w": draw(64, 32, 4, 4)}, strides=[2, 2], pads=[1] * 4)
    for op, gates in (("LSTM", 4), ("GRU", 3)):
        case(op, draw(50, 1, 64), constants={"w": 0.1 * draw(1, gates * 128, 64), "r": 0.1 * draw(1, gates * 128, 128)}, hidden_size=128)
    # Integers and truth values, as shapes, masks and token numbers have them.
    tokens = RANDOM.integers(0, 30000, (8, 4096))
    for op in ("Add", "Mul", "Div", "Mod"):
        case(op, tokens, tokens[::-1] + 1, label="of int64")
    for op in ("Equal", "Less", "GreaterOrEqual"):
        case(op, tokens, np.int64(7), label="of int64")
    case("And", tokens > 9, tokens % 2 > 0), case("Or", tokens > 9, tokens % 2 > 0)
    case("Where", tokens > 9, tokens, np.int64(0), label="of int64")
    case("Where", tokens > 9, np.float32(0), np.float32(-1e9), label="of two numbers")
    case("ReduceSum", tokens, constants={"axes": np.array([-1])}, label="of int64"), case("CumSum", tokens, constants={"axis": np.int64(1)}, label="of int64")
    case("ArgMax", tokens, label="of int64", axis=-1), case("NonZero", (tokens % 7 == 0))
    case("Cast", tokens, label="from int64 to int32", to=TensorProto.INT32), case("Cast", tokens.astype(np.int32), label="from int32 to int64", to=TensorProto.INT64)
    case("OneHot", tokens[:, :64], constants={"depth": np.int64(100), "values": np.array([0, 1], np.float32)})
    case("Range", constants={"start": np.int64(0), "limit": np.int64(4096), "delta": np.int64(1)})
    case("Gather", tokens.astype(np.float32), constants={"indices": np.array([0])}, label="of a column", axis=1)
    # What moves elements, along other axes.
    case("Transpose", ROWS, label="of rows and columns", perm=[0, 2, 1]), case("Transpose", IMAGE.reshape(1, 56, 56, 64), label="to NCHW", perm=[0, 3, 1, 2])
    case("Transpose", draw(8, 64, 14, 14).astype(np.float16), label="of float16", perm=[0, 2, 3, 1])
    case("Concat", ROWS, ROWS, label="of rows", axis=-1), case("Split", IMAGE, label="of channels", outputs=2, axis=1)
    case("Slice", IMAGE, label="every other", constants={"b": np.array([0, 0]), "e": np.array([56, 56]), "a": np.array([2, 3]), "s": np.array([2, 2])})
    case("Slice", ROWS, label="backwards", constants={"b": np.array([-1]), "e": np.array([-1000]), "a": np.array([2]), "s": np.array([-1])})
    case("ScatterElements", ROWS, RANDOM.permuted(np.tile(np.arange(384), (8, 16, 1)), axis=2), draw(8, 16, 384), axis=2)
    case("GatherND", ROWS, RANDOM.integers(0, 8, (500, 1)).repeat(2, 1)), case("Trilu", draw(8, 256, 256), upper=0)
    case("Pad", IMAGE, constants={"pads": np.array([0, 0, 3, 3] * 2)}, label="reflect", mode="reflect")
    case("ReverseSequence", ROWS, np.full(128, 8), time_axis=0, batch_axis=1), case("Expand", draw(1, 64, 1, 1), label="of channels", constants={"shape": np.array([1, 64, 56, 56])})
    # Other norms, reductions, pools and products.
    case("RMSNormalization" , ROWS, constants={"scale": draw(384)}), case("GroupNormalization", IMAGE, constants={name: draw(8) for name in CHANNELS}, num_groups=8)
    case("LpNormalization", ROWS, axis=-1), case("LRN", IMAGE, size=5), case("MeanVarianceNormalization", IMAGE)
    case("ReduceSum", ROWS, constants={"axes": np.array([0, 1])}, label="along [0, 1]"), case("ReduceLogSumExp", ROWS, constants={"axes": np.array([-1])})
    case("ReduceProd", ROWS, constants={"axes": np.array([-1])}), case("ReduceMin", tokens, constants={"axes": np.array([-1])}, label="of int64")
    case("MaxPool", IMAGE, label="with indices", outputs=2, kernel_shape=[2, 2], strides=[2, 2]), case("GlobalMaxPool", IMAGE)
    case("MaxPool", draw(1, 256, 20, 20), label="5x5", kernel_shape=[5, 5], pads=[2] * 4), case("LpPool", IMAGE, kernel_shape=[2, 2], strides=[2, 2])
    case("Einsum", draw(8, 12, 64, 32), draw(8, 12, 64, 32), equation="bhid,bhjd->bhij"), case("Einsum", draw(8, 128, 384), draw(384, 12, 32), label="of heads", equation="bsd,dhk->bshk")
    case("MatMul", draw(512, 512), draw(512, 512), label="square"), case("MatMul", draw(8, 128, 384), label="by 4", constants={"b": draw(384, 4)})
    case("Gemm", draw(1, 2048), constants={"b": draw(1000, 2048), "c": draw(1000)}, label="of one row", transB=1)
    case("MatMulInteger", (ROWS * 40).astype(np.uint8), constants={"b": (draw(384, 384) * 40).astype(np.int8)}), case("DynamicQuantizeLinear", ROWS, outputs=3)
    case("ConvInteger", (IMAGE * 40).astype(np.uint8), constants={"w": (draw(64, 64, 3, 3) * 40).astype(np.int8)}, pads=[1] * 4)
    case("Conv", IMAGE, label="1x1", constants={"w": draw(64, 64, 1, 1)}), case("Conv", IMAGE, label="3x3", constants={"w": draw(64, 64, 3, 3)}, pads=[1] * 4)
    case("Conv", IMAGE, label="depthwise", constants={"w": draw(64, 1, 3, 3)}, pads=[1] * 4, group=64), case("Conv", IMAGE, label="grouped", constants={"w": draw(64, 16, 3, 3)}, pads=[1] * 4, group=4)
    case("Conv", draw(1, 3, 224, 224), label="7x7 of a picture", constants={"w": draw(64, 3, 7, 7)}, pads=[3] * 4, strides=[2, 2])
    case("Resize", IMAGE, label="linear down", constants={"": None, "scales": np.array([1, 1, 0.5, 0.5], np.float32)}, mode="linear")
    case("Clip", IMAGE, constants={"least": np.float32(0), "most": np.float32(6)}), case("Gelu", ROWS), case("ThresholdedRelu", IMAGE), case("Celu", IMAGE)
    case("Min", IMAGE, draw(1)), case("Sub", IMAGE, draw(56, 56), label="of a plane"), case("Greater", IMAGE, IMAGE[::-1].copy())
    boxes = np.sort(RANDOM.random((1, 1000, 2, 2)), axis=2).reshape(1, 1000, 4).astype(np.float32)
    limits = {"most": np.array([100]), "overlap": np.array([0.5], np.float32), "score": np.array([0.1], np.float32)}
    case("NonMaxSuppression", boxes, RANDOM.random((1, 1, 1000)).astype(np.float32), constants=limits)
    regions = (np.sort(RANDOM.random((50, 2, 2)), axis=1) * 56).reshape(50, 4).astype(np.float32)
    case("RoiAlign", IMAGE, regions, np.zeros(50, np.int64), output_height=7, output_width=7, sampling_ratio=2)
    case("TopK", draw(1, 8400), label="100 of 8400", constants={"k": np.array([100])}, outputs=2)
    steps = {"scale": np.float32(0.02), "zero_point": np.uint8(128)}
    case("QuantizeLinear", IMAGE, constants=steps), case("DequantizeLinear", (IMAGE * 50).astype(np.uint8), constants=steps)
    return listed


def model_of(op: str, feeds: dict, constants: dict, attributes: dict, outputs: int) -> bytes:
    inputs = [helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in feeds.items()]
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, [*feeds, *constants], results, **attributes)
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items() if value is not None]
    graph = helper.make_graph([node], op, inputs, [helper.make_empty_tensor_value_info(name) for name in results], stored)
    opset = 17 if op in ("ReduceMean", "ReduceMax", "ReduceL2", "Split") else 23 if op in ("RMSNormalization", "Attention") else 20 if op == "Gelu" else 18
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10).SerializeToString()


def measure(model: bytes, feeds: dict, threads: int) -> list[float]:
    """Microseconds of mezzo and of ONNX Runtime, medians."""
    sessions = []
    for module in (mezzo, onnxruntime):
        options = module.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        sessions.append(module.InferenceSession(model, options, providers=["CPUExecutionProvider"]))
    times: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for session, own in zip(sessions, times):
            if threads > 1:
                time.sleep(REST)
            session.run(None, feeds)
            end = time.perf_counter() + SECONDS
            while time.perf_counter() < end:
                start = time.perf_counter()
                session.run(None, feeds)
                own.append((time.perf_counter() - start) * 1e6)
    return [float(np.median(own)) for own in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="parts of names; none: all")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    rows = []
    for label, op, feeds, constants, attributes, outputs in cases():
        if arguments.names and not any(name.lower() in label.lower() for name in arguments.names):
            continue
        ours, theirs = measure(model_of(op, feeds, constants, attributes, outputs), feeds, arguments.threads)
        rows.append((theirs / ours, label, ours, theirs))
    for ratio, label, ours, theirs in sorted(rows):
        print(f"{label:28s} mezzo {ours:7.0f} us   ONNX Runtime {theirs:7.0f} us   {ratio:6.2f}x")
    if rows:
        print(f"geometric mean: {np.exp(np.mean(np.log([row[0] for row in rows]))):.2f}x")


if __name__ == "__main__":
    main()
