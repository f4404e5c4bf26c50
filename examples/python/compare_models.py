"""Where do two versions of a model part? A float and a quantised one, or before and after a conversion.

    python compare_models.py FIRST SECOND [--tolerance T] [--seed N]

Feeds both the same random inputs, compares every value that both have, in the file's order, and says where they first differ
by more than the tolerance (relative to the first model's largest absolute value).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

import mezzo


def random_feed(session: mezzo.InferenceSession, seed: int) -> dict[str, np.ndarray]:
    """An array for each input; extents that the model leaves open are 1."""
    random = np.random.default_rng(seed)
    feed = {}
    for info in session.tensors():
        if info.kind == "input" and info.shape is not None:
            shape = [extent if isinstance(extent, int) and extent > 0 else 1 for extent in info.shape]
            integral = np.issubdtype(np.dtype(info.type), np.integer)
            value = random.integers(0, 10, shape) if integral else random.standard_normal(shape)
            feed[info.name] = np.asarray(value).astype(info.type)
    return feed


def differences(
    first: mezzo.InferenceSession, second: mezzo.InferenceSession, feed: dict[str, np.ndarray]
) -> Iterator[tuple[str, float]]:
    """(name, relative difference) of every computed value that both models have, in the first one's order."""
    shared = [info.name for info in first.tensors() if info.kind == "node" and not info.body]
    shared = [name for name in shared if name in second.tensors().names]
    ours, theirs = first.tap(shared, feed), second.tap(shared, feed)
    for name in shared:
        a, b = ours[name], theirs[name]
        if not isinstance(a, np.ndarray) or a.dtype == object or a.shape != b.shape:
            continue
        scale = max(float(np.abs(a).max(initial=0)), 1e-12)
        yield name, float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0)) / scale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first")
    parser.add_argument("second")
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    first, second = (mezzo.InferenceSession(path) for path in (arguments.first, arguments.second))
    parted = None
    for name, difference in differences(first, second, random_feed(first, arguments.seed)):
        print(f"{difference:10.2e}  {name}")
        if parted is None and difference > arguments.tolerance:
            parted = name
    print(f"They part at {parted!r}." if parted else f"They agree within {arguments.tolerance:g} everywhere.")


if __name__ == "__main__":
    main()
