"""Loop and Scan against NumPy, in all their corner cases."""

import numpy as np
import onnx
import pytest
from numpy_cases import draw, failures
from onnx import parser


def model(text: str, opset: int = 17, ir: int = 8) -> onnx.ModelProto:
    return parser.parse_model(f'<ir_version: {ir}, opset_import: ["" : {opset}]>\n' + text)


def loop():
    x = np.array([1, 2], np.float32)
    counted = model("""agraph (int64 M, bool cond, float[2] x) => (float[2] y, float[N, 2] s) {
      y, s = Loop <body = b (int64 i, bool c, float[2] v) => (bool c2, float[2] w, float[2] o) {
        c2 = Identity(c)
        f = Cast<to = 1>(i)
        w = Add(v, f)
        o = Mul(w, x)
      }> (M, cond, x) }""")
    for trips, condition in ((0, True), (1, True), (5, True), (5, False)):
        states = [x]
        for i in range(trips if condition else 0):
            states.append(states[-1] + np.float32(i))
        scanned = np.array([state * x for state in states[1:]], np.float32).reshape(-1, 2)
        yield counted, [np.int64(trips), np.bool_(condition), x], [states[-1], scanned]

    ignores_condition = model("""agraph (int64 M, float[2] x) => (float[2] y) {
      y = Loop <body = b (int64 i, bool c, float[2] v) => (bool c2, float[2] w) {
        w = Add(v, v)
        c2 = Constant<value = bool {0}>()
      }> (M, , x) }""")
    yield ignores_condition, [np.int64(3), x], [x * 8]

    endless = model("""agraph (bool cond, float[1] x) => (float[1] y) {
      limit = Constant<value = float[1] {10.0}>()
      y = Loop <body = b (int64 i, bool c, float[1] v) => (bool c2, float[1] w) {
        w = Add(v, v)
        less = Less(w, limit)
        c2 = Squeeze(less)
      }> (, cond, x) }""")
    yield endless, [np.bool_(True), x[:1]], [np.array([16], np.float32)]

    grows = model("""agraph (int64 M, float[1] x) => (float[K] y) {
      t = Constant<value = bool {1}>()
      y = Loop <body = b (int64 i, bool c, float[K0] v) => (bool c2, float[K1] w) {
        w = Concat<axis = 0>(v, v)
        c2 = Identity(c)
      }> (M, t, x) }""")
    yield grows, [np.int64(3), x[:1]], [np.ones(8, np.float32)]

    swaps = model("""agraph (int64 M, float[2] a, float[2] b) => (float[2] y, float[2] z) {
      t = Constant<value = bool {1}>()
      y, z = Loop <body = b (int64 i, bool c, float[2] v, float[2] w) => (bool c2, float[2] w2, float[2] v2) {
        c2 = Identity(c)
        w2 = Identity(w)
        v2 = Identity(v)
      }> (M, t, a, b) }""")
    yield swaps, [np.int64(3), x, x + 5], [x + 5, x]

    nested = model("""agraph (int64 M, int64 N, float[2] x) => (float[2] y) {
      t = Constant<value = bool {1}>()
      y = Loop <body = b (int64 i, bool c, float[2] v) => (bool c2, float[2] w) {
        c2 = Identity(c)
        w = Loop <body = b2 (int64 j, bool d, float[2] u) => (bool d2, float[2] r) {
          d2 = Identity(d)
          q = Add(u, x)
          r = Add(q, v)
        }> (N, t, v)
      }> (M, t, x) }""")
    state = x
    for _ in range(3):
        inner = state
        for _ in range(2):
            inner = inner + x + state
        state = inner
    yield nested, [np.int64(3), np.int64(2), x], [state]


def scan():
    initial, x, z = draw(3), draw(3, 4, 5), draw(4, 3)
    for in_axis, in_reversed, out_axis, out_reversed in (
        (1, (0, 0), 0, 0), (1, (1, 0), 0, 0), (-2, (0, 0), 1, 0), (1, (0, 0), -1, 1), (1, (0, 1), 2, 0)
    ):  # fmt: skip
        attributes = (
            f"scan_input_axes = [{in_axis}, 0], scan_input_directions = [{in_reversed[0]}, {in_reversed[1]}], "
            f"scan_output_axes = [{out_axis}], scan_output_directions = [{out_reversed}]"
        )
        text = f"""agraph (float[3] init, float[3, 4, 5] x, float[4, 3] z) => (float[3] y, float[A, B, C] s) {{
          one = Constant<value = int64[1] {{1}}>()
          y, s = Scan <num_scan_inputs = 2, {attributes},
                       body = b (float[3] st, float[3, 5] xi, float[3] zi) => (float[3] st2, float[3, 5] o) {{
            st2 = Add(st, zi)
            u = Unsqueeze(st2, one)
            o = Mul(xi, u)
          }}> (init, x, z) }}"""
        state, scanned = initial, []
        for i in range(4):
            state = state + z[3 - i if in_reversed[1] else i]
            scanned.append(x[:, 3 - i if in_reversed[0] else i] * state[:, None])
        yield model(text), [initial, x, z], [state, np.stack(scanned[:: -1 if out_reversed else 1], out_axis)]

    initial, x = draw(2, 2), draw(2, 3, 2)
    for lengths in ([3, 2], [0, 2]):
        for reverse in (0, 1):
            text = f"""agraph (int64[2] lens, float[2, 2] init, float[2, 3, 2] x) => (float[2, 2] y, float[2, 3, 2] z) {{
              y, z = Scan <num_scan_inputs = 1, directions = [{reverse}],
                           body = b (float[2] sum, float[2] next) => (float[2] sum2, float[2] out) {{
                sum2 = Add(sum, next)
                out = Identity(sum2)
              }}> (lens, init, x) }}"""
            states, scanned = initial.copy(), np.zeros((2, 3, 2), np.float32)
            for b, length in enumerate(lengths):
                for t in range(length):
                    states[b] += x[b, length - 1 - t if reverse else t]
                    scanned[b, t] = states[b]
            yield model(text, opset=8, ir=3), [np.array(lengths), initial, x], [states, scanned]


@pytest.mark.parametrize("target", ["", "scalar"])
@pytest.mark.parametrize("family", [loop, scan], ids=lambda family: family.__name__)
def test_family(family, target, tmp_path):
    assert not failures(family, target, tmp_path)
