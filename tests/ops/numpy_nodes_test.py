"""Products, norms, reductions, selections and attention against NumPy, in all their types and corner cases."""

import itertools

import numpy as np
import pytest
from numpy_cases import RANDOM, draw, failures
from onnx import helper

FLOATS = [np.float32, np.float64]
WIDE = [*FLOATS, np.int32, np.int64, np.uint32, np.uint64]


def node(op: str, inputs: list, outputs: list, opset: int = 22, **attributes):
    """A model of one node (an input that is None is omitted), its inputs and what they give."""
    domain, _, op_type = op.rpartition(".")
    names = ["" if value is None else f"x{i}" for i, value in enumerate(inputs)]
    present = [(name, value) for name, value in zip(names, inputs) if name]
    results = [(f"y{i}", value) for i, value in enumerate(outputs)]

    def info(name, value):
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)

    graph = helper.make_graph(
        [helper.make_node(op_type, names, [name for name, _ in results], domain=domain, **attributes)],
        "numpy",
        [info(name, value) for name, value in present],
        [info(name, value) for name, value in results],
    )
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets, ir_version=10), [v for _, v in present], outputs


def matmul():
    shapes = [
        ((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,)), ((5, 2, 3), (3, 4)), ((1, 2, 3), (5, 3, 4)), ((2, 3), (5, 3, 4)),
        ((7, 1, 2, 3), (5, 3, 4)), ((3,), (5, 3, 4)), ((5, 2, 3), (3,)), ((0, 3), (3, 4)), ((2, 0), (0, 4)),
        ((40, 17, 33), (40, 33, 70)), ((3, 1, 17, 33), (1, 1, 33, 70)), ((1, 100), (100, 130)), ((8, 1, 64), (64, 50)),
    ]  # fmt: skip
    for dtype in WIDE:
        for left, right in shapes:
            a, b = draw(*left, dtype=dtype), draw(*right, dtype=dtype)
            yield node("MatMul", [a, b], [np.asarray(np.matmul(a, b))])
    for trans_a in (0, 1):
        for trans_b in (0, 1):
            a, b = draw(3, 5, 4), draw(3, 4, 6)
            given = [a.swapaxes(1, 2).copy() if trans_a else a, b.swapaxes(1, 2).copy() if trans_b else b]
            yield node("com.microsoft.FusedMatMul", given, [a @ b * np.float32(0.5)], alpha=0.5, transA=trans_a,
                       transB=trans_b)  # fmt: skip
    a, b = draw(3, 2, 5, 4), draw(3, 2, 4, 6)
    rows_outside = a.transpose(2, 0, 1, 3).copy()  # [5, 3, 2, 4]
    yield node("com.microsoft.FusedMatMul", [rows_outside, b], [a @ b], transBatchA=1)


def gemm():
    for trans in range(4):
        for dtype in FLOATS:
            for shape in (None, (), (1,), (6,), (5, 1), (1, 6), (5, 6), (1, 1)):
                a, b = draw(5, 4, dtype=dtype), draw(4, 6, dtype=dtype)
                c = None if shape is None else draw(*shape, dtype=dtype)
                y = (0.5 * (a @ b) + (0 if c is None else 1.5 * c)).astype(dtype)
                given = [a.T.copy() if trans & 1 else a, b.T.copy() if trans & 2 else b] + ([] if c is None else [c])
                attributes = {"alpha": 0.5, "beta": 1.5, "transA": trans & 1, "transB": trans >> 1}
                yield node("Gemm", given, [y], **attributes)
                if dtype == np.float32:
                    relu = np.maximum(y, 0)
                    yield node("com.microsoft.FusedGemm", given, [relu], activation="Relu", **attributes)
    a, b, c = draw(2, 3, dtype=np.int32), draw(3, 4, dtype=np.int32), draw(4, dtype=np.int32)
    yield node("Gemm", [a, b, c], [a @ b + c])
    yield node("Gemm", [a, b, c], [2 * (a @ b) - 3 * c], alpha=2.0, beta=-3.0)
    nothing = np.full(4, np.nan, np.float32)  # beta = 0: C is not read
    a, b = draw(2, 3), draw(3, 4)
    yield node("Gemm", [a, b, nothing], [a @ b], beta=0.0)


def einsum():
    equations = [
        ("ij,jk->ik", (3, 4), (4, 5)), ("ij,jk->ki", (3, 4), (4, 5)), ("ij,jk", (3, 4), (4, 5)),
        ("bij,bkj->ikb", (6, 3, 4), (6, 5, 4)), ("i,i->", (7,), (7,)), ("i,j->ij", (7,), (5,)), ("ii->i", (5, 5)),
        ("ii->", (5, 5)), ("ij->", (5, 6)), ("ijk->kji", (2, 3, 4)), ("...ij,...jk->...ik", (2, 1, 3, 4), (5, 4, 6)),
        ("bhij,bhjd->bihd", (2, 4, 9, 11), (2, 4, 11, 8)), ("ij,jk,kl->lij", (3, 4), (4, 5), (5, 6)),
        ("ij,ij->ij", (30, 40), (30, 40)), ("ij,j->ij", (30, 40), (40,)), ("iij,jk->ik", (4, 4, 5), (5, 6)),
        ("ab,cd->acbd", (3, 4), (5, 6)), ("...->...", (3, 4)), ("...i->...", (3, 4)), ("ij,k->", (3, 4), (5,)),
        ("i...,j...->ij...", (3, 4), (5, 4)), ("Ba,aC", (3, 4), (4, 5)), ("ij,jk->ik", (3, 0), (0, 5)),
        ("ijk,ilm,njm,nlk,abc->", (2, 3, 4), (2, 5, 6), (7, 3, 6), (7, 5, 4), (2, 2, 2)),
        ("bqhd,bkhd->bhqk", (1, 64, 4, 32), (1, 80, 4, 32)), ("abcd,dcef->feab", (2, 3, 4, 5), (5, 4, 6, 7)),
    ]  # fmt: skip
    for dtype in [*FLOATS, np.int32, np.int8, np.uint16]:
        for equation, *shapes in equations:
            operands = [draw(*shape, dtype=dtype) for shape in shapes]
            # Small integers wrap: what NumPy says in 64 bits, cut off.
            wide = np.float64 if np.dtype(dtype).kind == "f" else np.int64
            y = np.asarray(np.einsum(equation, *[operand.astype(wide) for operand in operands])).astype(dtype)
            yield node("Einsum", operands, [y], equation=equation)


def normalise():
    def softmax(x, axis):
        e = np.exp(x - x.max(axis=axis, keepdims=True))
        return e / e.sum(axis=axis, keepdims=True)

    for dtype in FLOATS:
        for axis in range(-4, 4):
            x = draw(2, 3, 4, 37, dtype=dtype)
            yield node("Softmax", [x], [softmax(x, axis)], opset=13, axis=axis)
            yield node("LogSoftmax", [x], [np.log(softmax(x, axis))], opset=13, axis=axis)
            first = x.argmax(axis=axis, keepdims=True)
            hard = np.zeros_like(x)
            np.put_along_axis(hard, first, 1, axis)
            yield node("Hardmax", [x], [hard], opset=13, axis=axis)
            flat = x.reshape(int(np.prod(x.shape[: axis % 4])), -1)
            yield node("Softmax", [x], [softmax(flat, 1).reshape(x.shape)], opset=11, axis=axis)
    x = draw(2, 3, 1)
    yield node("Softmax", [x], [softmax(x.reshape(2, 3), 1).reshape(x.shape)], opset=9)


def reduce():
    functions = {
        "ReduceSum": np.sum,
        "ReduceMean": np.mean,
        "ReduceMax": np.max,
        "ReduceMin": np.min,
        "ReduceProd": np.prod,
        "ReduceL1": lambda x, **how: np.sum(np.abs(x), **how),
        "ReduceL2": lambda x, **how: np.sqrt(np.sum(x * x, **how)),
        "ReduceSumSquare": lambda x, **how: np.sum(x * x, **how),
        "ReduceLogSum": lambda x, **how: np.log(np.sum(x, **how)),
        "ReduceLogSumExp": lambda x, **how: np.log(np.sum(np.exp(x), **how)),
    }
    of_floats = {"ReduceMean", "ReduceProd", "ReduceLogSum", "ReduceLogSumExp"}
    for op, function in functions.items():
        for dtype in FLOATS if op in of_floats else [*FLOATS, np.int32, np.int64, np.uint32]:
            x = draw(3, 4, 2, 5, dtype=dtype)
            if op == "ReduceLogSum":
                x = np.abs(x)
            for axes in ((0,), (1,), (3,), (0, 2), (1, 3), (0, 1), (2, 3), (0, 1, 2, 3), (-1, -3)):
                for keep in (0, 1):
                    y = np.asarray(function(x, axis=axes, keepdims=bool(keep))).astype(dtype)
                    yield node(op, [x, np.array(axes)], [y], keepdims=keep)
                    yield node(op, [x], [y], opset=11, keepdims=keep, axes=list(axes))
            alone = function(x[None], axis=0).astype(dtype)  # what a reduction over one element does
            yield node(op, [x], [alone], noop_with_empty_axes=1)
    truth = np.array([[True, False], [False, False]])
    yield node("ReduceMax", [truth, np.array([1])], [truth.max(1)], keepdims=0)
    yield node("ReduceMin", [truth, np.array([1])], [truth.min(1)], keepdims=0)
    yield node("ReduceMean", [np.array([[-7, 2], [5, 6]], np.int32), np.array([1])], [np.array([-2, 5], np.int32)],
               keepdims=0)  # fmt: skip


def select():
    for op, function in (("ArgMax", np.argmax), ("ArgMin", np.argmin)):
        for dtype in (*FLOATS, np.int8, np.uint64):
            for axis in (0, 1, 2, -1):
                x = RANDOM.integers(0, 5, (5, 300, 7)).astype(dtype)
                yield node(op, [x], [function(x, axis=axis)], axis=axis, keepdims=0)
                last = x.shape[axis] - 1 - function(np.flip(x, axis), axis=axis)
                yield node(op, [x], [last], axis=axis, keepdims=0, select_last_index=1)
    yield node("ArgMax", [np.array([1, np.nan, 3], np.float32)], [np.array([1])])
    # Rows that are searched in columns side by side; the extremum, or NaN, anywhere in them, perhaps twice.
    for n in (2, 15, 16, 17, 33, 100):
        x = RANDOM.integers(0, 3, (40, n)).astype(np.float32)
        x[: 20, RANDOM.integers(0, n)] = np.nan
        x[: 10, RANDOM.integers(0, n)] = np.nan
        for op, function in (("ArgMax", np.argmax), ("ArgMin", np.argmin)):
            yield node(op, [x], [function(x, axis=1)], axis=1, keepdims=0)
            last = n - 1 - function(np.flip(x, 1), axis=1)
            yield node(op, [x], [last], axis=1, keepdims=0, select_last_index=1)
    for dtype in (np.float32, np.int64, np.uint8):
        for axis in (0, 1, 2):
            for largest in (0, 1):
                x = RANDOM.integers(0, 9, (6, 20, 5)).astype(dtype)
                order = np.argsort(x.astype(np.float64) * (-1 if largest else 1), axis=axis, kind="stable")
                order = order.take(range(4), axis=axis)
                values = np.take_along_axis(x, order, axis)
                yield node("TopK", [x, np.array([4])], [values, order], axis=axis, largest=largest)
    few = RANDOM.integers(0, 500, (3, 1000)).astype(np.float32)
    few[1, RANDOM.integers(0, 1000, 3)] = np.nan
    for k in (1, 5, 100, 126):
        for largest in (0, 1):
            # NaN is above all.
            order = np.argsort(np.nan_to_num(few, nan=1e9) * (-1 if largest else 1), axis=1, kind="stable")[:, :k]
            yield node("TopK", [few, np.array([k])], [np.take_along_axis(few, order, 1), order], axis=1, largest=largest)
    x = np.array([1, np.nan, 3, np.nan, -np.inf, np.inf], np.float32)
    for largest, order in ((1, [1, 3, 5, 2]), (0, [4, 0, 2, 5])):
        yield node("TopK", [x, np.array([4])], [x[order], np.array(order)], largest=largest)
    for dtype in (*FLOATS, np.int32, np.uint64):
        for axis in (0, 1, -1):
            for shape in ((4, 5, 6), (3, 7, 150)):
                x = draw(*shape, dtype=dtype)
                yield node("CumSum", [x, np.array(axis)], [np.cumsum(x, axis=axis, dtype=dtype)])
                back = np.flip(np.cumsum(np.flip(x, axis), axis=axis, dtype=dtype), axis)
                yield node("CumSum", [x, np.array(axis)], [back - x], exclusive=1, reverse=1)
    # Runs that fit the type as a whole and others; what does not fit int64 is the lowest, NaN is 0.
    for dtype in FLOATS:
        for target in (np.int8, np.uint8, np.int16, np.int32, np.uint32, np.int64, np.uint64):
            x = (RANDOM.standard_normal(100_000) * 100).astype(dtype)
            whole = np.trunc(x).astype(np.int64)
            yield node("Cast", [x], [whole.astype(target)], to=helper.np_dtype_to_tensor_dtype(np.dtype(target)))
            for at, value in ((700, 5e9), (1800, -(2.0**31)), (2900, 2.0**40)):
                x[at], whole[at] = value, int(dtype(value))
            x[5000], whole[5000] = np.nan, 0
            x[6000:6002], whole[6000:6002] = (-np.inf, -1e30), np.iinfo(np.int64).min
            yield node("Cast", [x], [whole.astype(target)], to=helper.np_dtype_to_tensor_dtype(np.dtype(target)))
    bools = RANDOM.integers(0, 2, 1000).astype(bool)
    for target in (np.float32, np.int64, np.uint8, np.float64):
        yield node("Cast", [bools], [bools.astype(target)], to=helper.np_dtype_to_tensor_dtype(np.dtype(target)))
    for dtype in (np.float32, np.uint8, np.int64, bool):
        for shape, repeats in (((3,), (4,)), ((2, 3, 4), (1, 1, 1)), ((2, 3, 4), (3, 1, 2)), ((2, 3, 4), (1, 5, 1)),
                               ((2, 1, 3, 1), (1, 7, 1, 9)), ((40, 3, 50), (1, 9, 17)), ((2, 3), (0, 2)), ((0, 3), (2, 2))):  # fmt: skip
            x = draw(*shape).astype(dtype)
            yield node("Tile", [x, np.array(repeats)], [np.tile(x, repeats)])
    stack = draw(4, 5, 5)
    yield node("Det", [stack], [np.linalg.det(stack)])
    yield node("Det", [draw(0, 3, 3)], [np.zeros(0, np.float32)])
    for x in (np.array([[0, -0.0, 1], [2, np.nan, 0]], np.float16), np.array([True, False, True])):
        yield node("NonZero", [x], [np.array(np.nonzero(x))])
    yield node("NonZero", [np.array(3, np.int64)], [np.zeros((0, 1), np.int64)])  # unlike NumPy, says the spec
    wide = [[[5, 9, 5], [5, 5, 9]], [[5, 5, 5], [9, 5, 5]]]
    yield node("OneHot", [np.array([[1, -1], [7, 0]], np.float32), np.array(3.0, np.float32), np.array([5, 9], np.uint8)],
               [np.array(wide, np.uint8)])  # fmt: skip


def norms():
    """Of numbers whose squares leave the range of float32, too."""
    for scale in (1e-30, 1e-22, 1, 1e22, 1e30):
        x = (draw(3, 5, 40) * scale).astype(np.float32)
        wide = x.astype(np.float64)
        for axis in (-1, 1):
            for p in (1, 2):
                norm = np.linalg.norm(wide, p, axis, keepdims=True)
                yield node("LpNormalization", [x], [(wide / norm).astype(np.float32)], axis=axis, p=p)
        for axes in ([0, 2], [2], [0], [1], [0, 1, 2], [1, 2]):
            difference = wide - wide.mean(tuple(axes), keepdims=True)
            deviation = np.sqrt((difference**2).mean(tuple(axes), keepdims=True)) + 1e-9
            yield node("MeanVarianceNormalization", [x], [(difference / deviation).astype(np.float32)], axes=axes)


def attention():
    """Queries that see all keys or some: by their place, a mask, a window, or how many keys an entry of the batch has."""
    for queries, keys, past in [(1, 1, 5), (1, 7, 0), (3, 3, 4), (5, 5, 0), (6, 6, 70), (40, 40, 0), (40, 90, 0), (90, 40, 0), (5, 5, 300)]:
        for causal, masked, window, counted in itertools.product((0, 1), ("", "float", "bool"), (-1, 0, 6, 2**63 - 1), (False, True)):
            if counted and past:
                continue
            batch, heads, groups, size, total = 2, 4, 2, 8, past + keys
            q, k, v = draw(batch, heads, queries, size), draw(batch, groups, keys, size), draw(batch, groups, keys, size + 3)
            old_k, old_v = (draw(batch, groups, past, n) if past else None for n in (size, size + 3))
            all_k, all_v = (new if old is None else np.concatenate([old, new], 2) for old, new in ((old_k, k), (old_v, v)))
            count = np.array([total, max(0, total - 4)]) if counted else None
            ends = count if counted else np.array([total, total])
            places = np.arange(queries) + (ends[:, None] - queries if counted else np.full((batch, 1), past))
            key, place = np.arange(total), places[:, :, None]
            seen = (key < ends[:, None, None]) & ((key <= place) | (not causal)) & ((place - key <= window) | (window < 0))
            bias = np.where(seen[:, None], 0, -np.inf)
            mask = None
            if masked == "bool":
                mask = RANDOM.integers(0, 3, (queries, total)) > 0
                mask[queries // 2] = False
                bias = bias + np.where(mask, 0, -np.inf)
            elif masked:
                mask = draw(batch, 1, queries, total)
                bias = bias + mask
            scores = q @ np.repeat(all_k, 2, 1).transpose(0, 1, 3, 2) / np.sqrt(size) + bias
            weights = np.exp(scores - np.maximum(scores.max(-1, keepdims=True), -1e30))
            weights /= np.maximum(weights.sum(-1, keepdims=True), 1e-30)
            outputs = [(weights @ np.repeat(all_v, 2, 1)).astype(np.float32), *((all_k, all_v) if past else ())]
            inputs = [q, k, v, mask, old_k, old_v, count]
            while inputs[-1] is None:
                inputs.pop()
            yield node("Attention", inputs, outputs, 25, is_causal=causal, left_window_size=window)


@pytest.mark.parametrize("target", ["", "scalar"])
@pytest.mark.parametrize("family", [matmul, gemm, einsum, normalise, norms, reduce, select, attention],
                         ids=lambda family: family.__name__)  # fmt: skip
def test_family(family, target, tmp_path):
    assert not failures(family, target, tmp_path)
