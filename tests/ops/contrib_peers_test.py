"""Random nodes of the domain com.microsoft against ONNX Runtime, which defines it, each family drawn from a fixed seed.

elementwise_peers_test.py and peers_test.py have the operators that resemble one of ONNX's own. Quantised results must be equal.
"""

from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from peer_cases import Cases, Draw, onnxruntime_outputs, value_info

pytest.importorskip("onnxruntime")

CASES = 60
BYTES = [np.uint8, np.int8]


@dataclass
class Node:
    """Inputs that are None are left out; the first `outputs` outputs are asked for."""

    op: str
    attributes: dict
    inputs: list
    outputs: int = 1
    domain: str = "com.microsoft"
    tolerance: float = 1e-5
    rows: int = 0  # of axis 2, that the outputs but the first are compared in; 0: all


class Source(Draw):
    """A random source, and what several families draw from it."""

    def floats(self, *shape: int, scale: float = 1) -> np.ndarray:
        return (self.numbers.standard_normal(shape) * scale).astype(np.float32)

    def below(self, limit: int, *shape: int) -> np.ndarray:
        return self.numbers.integers(0, limit, shape).astype(np.int32)

    def scale(self, *shape: int) -> np.ndarray:
        return self.numbers.uniform(0.003, 0.1, shape).astype(np.float32)

    def maybe(self, value: np.ndarray) -> np.ndarray | None:
        return value if self.chance() else None


def dynamic_lstm(d: Source) -> Node:
    steps, batch, inputs, hidden = (d.pick.choice(extents) for extents in ([1, 3, 9], [1, 1, 2, 5], [1, 4, 19], [2, 5, 16, 33]))
    direction = d.pick.choice(["forward", "reverse", "bidirectional"])
    directions, dtype = 2 if direction == "bidirectional" else 1, d.pick.choice(BYTES)
    columns = 4 * hidden
    attributes = {"hidden_size": hidden, "direction": direction}
    if d.chance(0.2):
        attributes["clip"] = 0.5
    if d.chance(0.2):
        attributes["input_forget"] = 1
    per_column = d.chance()
    # By columns only a zero point of 0 is taken.
    parameters = [directions, columns] if per_column else [directions]
    zero = np.zeros(parameters, dtype) if per_column else None

    def matrix(k: int) -> list[np.ndarray]:
        zeros = zero if zero is not None else d.integers(dtype, directions)
        return [d.weights(dtype, directions, k, columns), d.scale(*parameters) / 5, zeros]

    (w, w_scale, w_zero), (r, r_scale, r_zero) = matrix(inputs), matrix(hidden)
    state = [directions, batch, hidden]
    lengths = d.maybe(d.pick.choices(range(1, steps + 1), k=batch))
    inputs_ = [
        d.floats(steps, batch, inputs), w, r, d.maybe(d.floats(directions, 2 * columns)),
        None if lengths is None else np.array(lengths, np.int32), d.maybe(d.floats(*state)), d.maybe(d.floats(*state)),
        d.maybe(d.floats(directions, 3 * hidden)), w_scale, w_zero, r_scale, r_zero,
    ]  # fmt: skip
    # Its activations are approximations; where a last bit of theirs decides a rounding, h is a small step apart.
    return Node("DynamicQuantizeLSTM", attributes, inputs_, 3, tolerance=2e-3)


def qgemm(d: Source) -> Node:
    m, n, k = (d.pick.choice([1, 3, 16, 37]) for _ in range(3))
    a_type, b_type = d.pick.choice([(np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.int8)])
    attributes = {"transA": d.pick.randint(0, 1), "transB": d.pick.randint(0, 1), "alpha": d.pick.choice([1.0, 0.7])}
    a = d.integers(a_type, *((k, m) if attributes["transA"] else (m, k)))
    b = d.weights(b_type, *((n, k) if attributes["transB"] else (k, n)))
    by_column = [n] if d.chance() else []
    zero = d.integers(b_type, *by_column) if d.chance() else np.zeros(by_column, b_type)
    c = d.pick.choice([None, [n], [1, n], [m, n]])
    c = None if c is None else d.numbers.integers(-20000, 20000, c).astype(np.int32)
    inputs = [a, d.scale(), d.integers(a_type), b, d.scale(*by_column), zero, c]
    if d.chance(0.7):
        inputs += [np.array(0.05 * k, np.float32), d.integers(a_type)]
    return Node("QGemm", attributes, inputs)


def qlinear_where(d: Source) -> Node:
    dtype, full = d.pick.choice(BYTES), [d.pick.choice([1, 2, 3, 5, 17]) for _ in range(d.pick.randint(1, 4))]

    def shape() -> list[int]:
        return [1 if d.chance(0.3) else n for n in full]

    parameters = [d.scale(), d.integers(dtype)], [d.scale(), d.integers(dtype)], [d.scale(), d.integers(dtype)]
    condition = d.numbers.random(shape()) < 0.5
    x, y = d.integers(dtype, *shape()), d.integers(dtype, *shape())
    return Node("QLinearWhere", {}, [condition, x, *parameters[0], y, *parameters[1], *parameters[2]])


def qlinear_softmax(d: Source) -> Node:
    dtype, shape = d.pick.choice(BYTES), [d.pick.choice([1, 2, 7, 30]) for _ in range(d.pick.randint(1, 4))]
    attributes = {"opset": d.pick.choice([11, 13]), "axis": d.pick.randrange(-len(shape), len(shape))}
    y = [np.array(1 / 256, np.float32), np.array(0 if dtype is np.uint8 else -128, dtype)]
    return Node("QLinearSoftmax", attributes, [d.integers(dtype, *shape), d.scale(), d.integers(dtype), *y])


def qlinear_pool(d: Source) -> Node:
    dtype, axes = d.pick.choice(BYTES), d.pick.choice([1, 2, 2, 3])
    kernel = [d.pick.randint(1, 4) for _ in range(axes)]
    attributes = {
        "kernel_shape": kernel,
        "strides": [d.pick.randint(1, 3) for _ in range(axes)],
        "pads": [d.pick.randint(0, n - 1) for n in kernel * 2],
        "count_include_pad": d.pick.randint(0, 1),
        "ceil_mode": d.pick.randint(0, 1),
        "channels_last": d.pick.randint(0, 1),
    }
    space, channels = [d.pick.randint(4, 12) for _ in range(axes)], d.pick.choice([1, 3, 18])
    shape = [2, *space, channels] if attributes["channels_last"] else [2, channels, *space]
    parameters = [d.scale(), d.integers(dtype), np.float32(d.pick.uniform(0.01, 0.1)).reshape(()), d.integers(dtype)]
    return Node("QLinearAveragePool", attributes, [d.integers(dtype, *shape), *parameters])


def simplified_layer_norm(d: Source) -> Node:
    shape = [d.pick.choice([1, 2, 5, 33]) for _ in range(d.pick.randint(1, 3))]
    inputs = [d.floats(*shape), d.floats(shape[-1])]
    return Node("SimplifiedLayerNormalization", {"epsilon": 1e-3}, inputs, d.pick.randint(1, 2), domain="")


def embed_layer_norm(d: Source) -> Node:
    ids, hidden = [d.pick.choice([1, 3]), d.pick.choice([1, 4, 9])], d.pick.choice([4, 8, 33])
    with_segments = d.chance()
    places = d.pick.choice([None, [1, ids[1]], ids])
    inputs = [
        d.below(11, *ids), d.below(2, *ids) if with_segments else None, d.floats(11, hidden), d.floats(12, hidden),
        d.floats(2, hidden) if with_segments else None, d.floats(hidden), d.floats(hidden), d.maybe(d.below(2, *ids)),
        None if places is None else d.below(12, *places),
    ]  # fmt: skip
    return Node("EmbedLayerNormalization", {"epsilon": 1e-5}, inputs, 3)


def matmul_nbits(d: Source) -> Node:
    rows, n, k = d.pick.choice([[1], [3], [2, 5]]), d.pick.choice([1, 7, 300]), d.pick.choice([16, 40, 128, 300])
    bits, block = d.pick.choice([4, 4, 8]), d.pick.choice([16, 32, 128])
    blocks = -(-k // block)
    kind = d.pick.choice(["none", "packed", "packed", "floats"])
    zeros = None
    if kind == "packed":
        zeros = d.integers(np.uint8, n, -(-blocks * bits // 8))
    if kind == "floats" and bits == 4:  # ONNX Runtime has no kernel for others
        zeros = d.below(1 << bits, n, blocks).astype(np.float32)
    b = d.integers(np.uint8, n, blocks, block * bits // 8)
    inputs = [d.floats(*rows, k), b, d.scale(n, blocks), zeros, None, d.maybe(d.floats(n))]
    attributes = {"N": n, "K": k, "bits": bits, "block_size": block}
    # The first factor in 8 bits, where it may be; here not on every target.
    if bits == 4 and kind != "floats" and d.chance(0.3):
        return Node("MatMulNBits", attributes | {"accuracy_level": 4}, inputs, tolerance=0.1)
    # The other factor is large, and ONNX Runtime's sums are float32.
    return Node("MatMulNBits", attributes, inputs, tolerance=2e-4)


def gather_block_quantized(d: Source) -> Node:
    """Words in bytes, of which ONNX Runtime packs rows one by one."""
    words, block, blocks = d.pick.choice([1, 7, 30]), d.pick.choice([16, 32]), d.pick.choice([1, 3])
    bits = d.pick.choice([4, 4, 8])
    data = d.integers(np.uint8, words, block * blocks * bits // 8)
    zeros = d.integers(np.uint8, words, -(-blocks * bits // 8))
    indices = d.below(words, *d.pick.choice([[], [5], [2, 3]])) - d.pick.choice([0, 0, words])
    indices = np.asarray(indices, d.pick.choice([np.int32, np.int64]))
    attributes = {"bits": bits, "block_size": block, "gather_axis": 0, "quantize_axis": d.pick.choice([1, -1])}
    return Node("GatherBlockQuantized", attributes, [data, indices, d.scale(words, blocks), d.maybe(zeros)])


def tokenizer(d: Source) -> Node:
    words = ["the", "quick", "b", "fox-trot", "süß", "a1_b", "日本語", "", "--", "1,000", "end."]
    attributes = {"mark": d.pick.randint(0, 1), "mincharnum": d.pick.randint(1, 3), "pad_value": d.pick.choice(["#", ""])}
    kind = d.pick.choice(["separators", "expression", "characters"])
    if kind == "separators":
        attributes["separators"] = d.pick.choice([[" "], [" ", ","], ["[ ,]+"], ["-", "[.]", " "], ["o|ox"]])
    elif kind == "expression":
        attributes["tokenexp"] = d.pick.choice(["[a-zA-Z0-9_]+", "[a-z]+", r"\b\w\w+\b", "a|ab|b_*", "[^ ]+"])
    else:
        attributes |= {"separators": [""], "mincharnum": 1}
    shape = d.pick.choice([[1], [4], [1, 1], [2, 3]])
    texts = [" ".join(d.pick.choices(words, k=d.pick.randint(0, 6))) for _ in range(int(np.prod(shape)))]
    return Node("Tokenizer", attributes, [np.array(texts, object).reshape(shape)])


def multi_head_attention(d: Source) -> Node:
    batch, heads, queries, keys = (d.pick.choice(extents) for extents in ([1, 3], [1, 2, 4], [1, 5, 9], [2, 5, 16]))
    size, value_size = d.pick.choice([4, 8, 20]), d.pick.choice([4, 8])
    projects = d.chance()
    attributes = {"num_heads": heads}
    if d.chance(0.3):
        attributes["scale"] = 0.3
    if projects:
        keys = queries
        attributes["qkv_hidden_sizes"] = [heads * size, heads * size, heads * value_size]
    if keys == queries and d.chance(0.3):
        attributes["unidirectional"] = 1
    hidden, value_hidden = heads * size, heads * value_size
    # By lengths; by ends and begins; key by key.
    mask = d.pick.choice([None, [batch], [2 * batch], [batch, keys], [batch, queries, keys]])
    if mask == [2 * batch] and not projects:
        mask = None
    if mask is not None and len(mask) == 1:
        mask = np.array([d.pick.randint(1, keys) for _ in range(batch)] + [0] * (mask[0] - batch), np.int32)
    elif mask is not None:
        mask = d.below(2, *mask)
        mask[..., 0] = 1
    extra = d.pick.choice([None, [1, 1, queries, keys], [batch, heads, queries, keys]])
    extra = None if extra is None else d.floats(*extra)
    bias = d.floats(2 * hidden + value_hidden)
    if projects:
        inputs = [d.floats(batch, queries, 12), d.floats(12, 2 * hidden + value_hidden), bias, mask, None, extra]
        return Node("Attention", attributes, inputs, tolerance=3e-5)
    inputs = [d.floats(batch, queries, hidden), d.floats(batch, keys, hidden), d.floats(batch, keys, value_hidden)]
    return Node("MultiHeadAttention", attributes, [*inputs, d.maybe(bias), mask, extra], tolerance=3e-5)


def caches(d: Source, rows: int, pairs: int) -> list[np.ndarray]:
    angles = d.numbers.uniform(-3, 3, (rows, pairs))
    return [np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)]


def rotary_embedding(d: Source) -> Node:
    batch, heads, length, size = d.pick.choice([1, 2]), d.pick.choice([1, 3]), d.pick.choice([1, 5]), d.pick.choice([8, 16])
    attributes = {"interleaved": d.pick.randint(0, 1)}
    half = size // 2
    if d.chance(0.4):
        half = size // 4
        attributes |= {"rotary_embedding_dim": 2 * half, "num_heads": heads}
    shape = [batch, heads, length, size] if d.chance() else [batch, length, heads * size]
    positions = d.pick.choice([d.below(9 - length, 1), d.below(9, batch, length)]).astype(np.int64)
    return Node("RotaryEmbedding", attributes, [d.floats(*shape), positions, *caches(d, 9, half)], tolerance=3e-6)


def group_query_attention(d: Source) -> Node:
    """A prompt, or a few tokens behind a past in a cache that is as long as it or longer."""
    batch, groups, shared, size = d.pick.choice([1, 2]), d.pick.choice([1, 2]), d.pick.choice([1, 3]), d.pick.choice([16, 32, 48])
    # ONNX Runtime takes several tokens behind a past for one sequence only.
    length, past = d.pick.choice([(6, 0), (1, 5), (1, 0), (3, 4) if batch == 1 else (1, 2)])
    total, width, heads = past + length, groups * size, groups * shared
    attributes = {"num_heads": heads, "kv_num_heads": groups}
    if d.chance(0.3):
        attributes["scale"] = 0.3
    if d.chance(0.3):
        attributes["local_window_size"] = d.pick.choice([2, 4, 20])
    queries = [d.floats(batch, length, width * (shared + 2)), None, None]
    if d.chance():
        queries = [d.floats(batch, length, width * shared), d.floats(batch, length, width), d.floats(batch, length, width)]
    cache = [batch, groups, past + d.pick.choice([0, 4]), size] if past else None
    pasts = [d.floats(*cache), d.floats(*cache)] if cache else [None, None]
    # What lies behind the last token is for no one.
    lengths = [np.full(batch, total - 1, np.int32), np.array(total, np.int32)]
    rotation = [None, None]
    if d.chance():
        attributes |= {"do_rotary": 1, "rotary_interleaved": d.pick.randint(0, 1)}
        rotation = caches(d, 16, size // 2)
    bias = d.pick.choice([None, None, d.floats(1, 1, length, total), d.floats(batch, heads, length, total)])
    inputs = [*queries, *pasts, *lengths, *rotation, None, bias]
    return Node("GroupQueryAttention", attributes, inputs, 3, tolerance=3e-5, rows=total)


def model_of(node: Node, constants: bool) -> onnx.ModelProto:
    """One node; all but its first input are initializers where `constants`. (Some want theirs so, whichever it is.)"""
    names = [f"x{i}" if value is not None else "" for i, value in enumerate(node.inputs)]
    outputs = [f"y{i}" for i in range(node.outputs)]
    proto = helper.make_node(node.op, names, outputs, domain=node.domain, **node.attributes)
    present = [(name, np.asarray(value)) for name, value in zip(names, node.inputs) if name]
    split = 1 if constants else len(present)
    nodes = [proto]
    if node.rows:
        present += [(name, np.array([value])) for name, value in (("begin", 0), ("end", node.rows), ("axis", 2))]
        nodes += [helper.make_node("Slice", [name, "begin", "end", "axis"], [f"{name}_part"]) for name in outputs[1:]]
        outputs[1:] = [f"{name}_part" for name in outputs[1:]]

    graph = helper.make_graph(
        nodes,
        "peers",
        [value_info(name, value) for name, value in present[:split]],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in present[split:]],
    )
    opsets = [helper.make_opsetid(node.domain, 1)] if node.domain else []
    return helper.make_model(graph, opset_imports=[*opsets, helper.make_opsetid("", 17)], ir_version=10)


FAMILIES = [
    dynamic_lstm, qgemm, qlinear_where, qlinear_softmax, qlinear_pool, simplified_layer_norm, embed_layer_norm, matmul_nbits,
    gather_block_quantized, tokenizer, multi_head_attention, rotary_embedding, group_query_attention,
]  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_family(family, tmp_path):
    draw = Source(1)
    cases = Cases(tmp_path)
    for number in range(CASES):
        node = family(draw)
        model = model_of(node, draw.chance())
        feeds = {info.name: np.asarray(node.inputs[int(info.name[1:])]) for info in model.graph.input}
        expected = onnxruntime_outputs(model, feeds)
        tolerance = node.tolerance if expected[0].dtype.kind == "f" else 0
        cases.add(f"{number}_{node.op}", model, feeds, expected, tolerance, tolerance)
    for target in ("", "scalar"):
        assert not cases.failures(target)
