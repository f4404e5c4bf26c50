"""What the comparisons with NumPy share: a random source, and running a family of cases."""

import numpy as np
from peer_cases import Cases

RANDOM = np.random.default_rng(1)


def draw(*shape: int, dtype=np.float32) -> np.ndarray:
    if np.dtype(dtype).kind == "f":
        return RANDOM.standard_normal(shape).astype(dtype)
    return RANDOM.integers(-100 if np.dtype(dtype).kind == "i" else 0, 100, shape).astype(dtype)


def failures(family, target, tmp_path):
    """What of its cases fails."""
    cases = Cases(tmp_path)
    for number, (proto, inputs, outputs) in enumerate(family()):
        feeds = {info.name: value for info, value in zip(proto.graph.input, inputs, strict=True)}
        assert len(outputs) == len(proto.graph.output)
        # atol: float32 sums of a hundred products of size 1, in another order than NumPy's.
        cases.add(str(number), proto, feeds, outputs, 1e-3, 2e-5)
    return cases.failures(target)
