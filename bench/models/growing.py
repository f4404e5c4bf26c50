"""A decoder as exporters write it whose past grows: shapes are computed from its inputs, anew in each layer."""

from __future__ import annotations

import numpy as np
import onnx
from family import Family
from onnx import TensorProto

WIDTH, HEADS, GROUPS, SIZE, INNER, WORDS = 512, 8, 2, 64, 1408, 4000


class Growing(Family):
    """Inputs input_ids, position_ids [1, new] and past.LAYER.key and .value [1, GROUPS, past, SIZE]; outputs logits and present.*."""

    def extent(self, x: str, axis: int) -> str:
        """As a list of one."""
        one = self.node("Gather", [self.node("Shape", [x]), self.constant(np.int64(axis))], axis=0)
        return self.node("Unsqueeze", [one, self.longs(0)])

    def shape(self, *parts: str) -> str:
        return self.node("Concat", list(parts), axis=0)

    def heads_of(self, x: str, count: int, tokens: str) -> str:
        shape = self.shape(self.extent(tokens, 0), self.extent(tokens, 1), self.longs(count), self.longs(SIZE))
        return self.node("Transpose", [self.node("Reshape", [x, shape])], perm=[0, 2, 1, 3])

    def repeated(self, x: str) -> str:
        """Keys or values for each of the heads that share them."""
        batch, total = self.extent(x, 0), self.extent(x, 2)
        shape = self.shape(batch, self.longs(GROUPS), self.longs(HEADS // GROUPS), total, self.longs(SIZE))
        copies = self.node("Expand", [self.node("Unsqueeze", [x, self.longs(2)]), shape])
        return self.node("Reshape", [copies, self.shape(batch, self.longs(HEADS), total, self.longs(SIZE))])

    def half(self, x: str) -> str:
        return self.node("Div", [self.extent(x, 3), self.longs(2)])

    def rotated(self, x: str, cosines: str, sines: str) -> str:
        first = self.node("Slice", [x, self.longs(0), self.half(x), self.longs(3)])
        second = self.node("Slice", [x, self.half(x), self.longs(2**62), self.longs(3)])
        turned = self.node("Concat", [self.node("Neg", [second]), first], axis=-1)
        return self.node("Add", [self.node("Mul", [x, cosines]), self.node("Mul", [turned, sines])])

    def angles(self, positions: str) -> tuple[str, str]:
        """Cosines and sines [1, 1, new, SIZE]."""
        rates = self.constant((1 / 10000 ** (np.arange(0, SIZE, 2) / SIZE))[None, :, None].astype(np.float32))
        places = self.node("Unsqueeze", [self.node("Cast", [positions], to=TensorProto.FLOAT), self.longs(1)])
        halves = self.node("Transpose", [self.node("MatMul", [rates, places])], perm=[0, 2, 1])
        whole = self.node("Concat", [halves, halves], axis=-1)
        cosines, sines = (self.node("Unsqueeze", [self.node(op, [whole]), self.longs(1)]) for op in ("Cos", "Sin"))
        return cosines, sines

    def mask(self, ids: str, past: str) -> str:
        """[1, 1, new, all]: each token sees those before it."""
        zero, one = self.constant(np.int64(0)), self.constant(np.int64(1))
        begin, new = (self.node("Squeeze", [self.extent(x, axis), self.longs(0)]) for x, axis in ((past, 2), (ids, 1)))
        end = self.node("Add", [begin, new])
        columns = self.node("Unsqueeze", [self.node("Range", [zero, end, one]), self.longs(0)])
        rows = self.node("Unsqueeze", [self.node("Range", [begin, end, one]), self.longs(1)])
        hidden = self.node("Cast", [self.node("Greater", [columns, rows])], to=TensorProto.FLOAT)
        return self.node("Unsqueeze", [self.node("Mul", [hidden, self.number(-3e4)]), self.longs(0, 1)])


def decoder(layers: int) -> onnx.ModelProto:
    net = Growing("growing", 37)
    ids, positions = (net.input(name, [1, "new"], TensorProto.INT64) for name in ("input_ids", "position_ids"))
    names = [f"{layer}.{part}" for layer in range(layers) for part in ("key", "value")]
    past = {name: net.input(f"past.{name}", [1, GROUPS, "past", SIZE]) for name in names}
    x = net.node("Gather", [net.weight(WORDS, WIDTH, fan_in=2), ids], axis=0)
    turns, mask = net.angles(positions), net.mask(ids, past["0.key"])
    for layer in range(layers):
        y = net.rms_norm(x, WIDTH)
        query, key, value = (
            net.heads_of(net.product(y, WIDTH, count * SIZE), count, y) for count in (HEADS, GROUPS, GROUPS)
        )
        present = [
            net.node("Concat", [past[f"{layer}.{part}"], new], f"present.{layer}.{part}", axis=2)
            for part, new in (("key", net.rotated(key, *turns)), ("value", value))
        ]
        keys = net.node("Transpose", [net.repeated(present[0])], perm=[0, 1, 3, 2])
        scores = net.node("Div", [net.node("MatMul", [net.rotated(query, *turns), keys]), net.number(SIZE**0.5)])
        weights = net.node("Softmax", [net.node("Add", [scores, mask])], axis=-1)
        mixed = net.node("Transpose", [net.node("MatMul", [weights, net.repeated(present[1])])], perm=[0, 2, 1, 3])
        mixed = net.node("Reshape", [mixed, net.shape(net.extent(y, 0), net.extent(y, 1), net.longs(WIDTH))])
        x = net.node("Add", [x, net.product(mixed, WIDTH, WIDTH)])
        y = net.rms_norm(x, WIDTH)
        y = net.node("Mul", [net.swish(net.product(y, WIDTH, INNER)), net.product(y, WIDTH, INNER)])
        x = net.node("Add", [x, net.product(y, INNER, WIDTH)])
    net.node("Identity", [net.product(net.rms_norm(x, WIDTH), WIDTH, WORDS)], "logits")
    return net.model({"logits": [1, "new", WORDS]} | {f"present.{name}": [1, GROUPS, "all", SIZE] for name in names})
