"""Activation patching: which layer decides?

    python activation_patching.py MODEL CLEAN CORRUPTED [--layers SELECTOR]

Runs a classifier on two pictures. Then runs it on the corrupted one again, once for each layer, with that layer's values taken
from the clean run, and prints how much of the clean answer comes back. Causal tracing, as in Vig et al., "Investigating Gender
Bias in Language Models Using Causal Mediation Analysis" (2020), and Meng et al., "Locating and Editing Factual Associations in
GPT" (2022).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

import mezzo
from mezzo import image


def restored(
    session: mezzo.InferenceSession, clean: dict[str, np.ndarray], corrupted: dict[str, np.ndarray], layers: str
) -> Iterator[tuple[str, float]]:
    """By layer: the share of the way from the corrupted to the clean score of the clean answer that patching it goes."""
    (score,) = session.run(None, clean)[:1]
    answer = int(score.argmax())
    best = float(score.flat[answer])
    worst = float(session.run(None, corrupted)[0].flat[answer])
    for layer, value in session.tap(layers, clean).items():
        # The patched run is computed like any other: no second model, no second session.
        with session.patch(layer, value):
            patched = float(session.run(None, corrupted)[0].flat[answer])
        yield layer, (patched - worst) / (best - worst) if best != worst else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("clean")
    parser.add_argument("corrupted")
    parser.add_argument("--layers", default="op:Conv", help="a selector (op:Conv)")
    arguments = parser.parse_args()
    session = mezzo.InferenceSession(arguments.model)
    name = session.get_inputs()[0].name
    clean, corrupted = ({name: image.load(path, image.imagenet())} for path in (arguments.clean, arguments.corrupted))
    for layer, share in restored(session, clean, corrupted, arguments.layers):
        print(f"{share:7.1%}  {'#' * round(40 * min(max(share, 0), 1)):40s}  {layer}")


if __name__ == "__main__":
    main()
