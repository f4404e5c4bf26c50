"""Feature vectors of a folder of pictures, from any layer of any network.

    python feature_vectors.py MODEL FOLDER [LAYER] [-o vectors.npz]

LAYER is a selector: a value's or node's name, `op:Relu`, or an index as in `[-2]`, the second last node (the default).
Prints the two most alike pictures, and writes one row a picture.
"""

from __future__ import annotations

import argparse
import pathlib

import numpy as np

import mezzo
from mezzo import image

PICTURES = {".jpg", ".jpeg", ".png", ".webp"}


def feature_vectors(model: str, pictures: list[pathlib.Path], layer: str | int) -> np.ndarray:
    """[pictures, features]: maps are averaged over their places."""
    session = mezzo.InferenceSession(model)
    name = session.get_inputs()[0].name
    settings = image.imagenet()
    rows = []
    for picture in pictures:
        # Nothing behind the layer is computed.
        (value,) = session.run([layer], {name: image.load(picture, settings)})
        rows.append(value.mean(axis=tuple(range(2, value.ndim))).ravel())
    return np.stack(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("layer", nargs="?", default="[-2]")
    parser.add_argument("-o", "--out", type=pathlib.Path, default=pathlib.Path("vectors.npz"))
    arguments = parser.parse_args()
    pictures = sorted(path for path in arguments.folder.iterdir() if path.suffix.lower() in PICTURES)
    if not pictures:
        parser.error(f"no pictures in {arguments.folder}")
    vectors = feature_vectors(arguments.model, pictures, arguments.layer)
    np.savez(arguments.out, names=[path.name for path in pictures], vectors=vectors)
    print(f"{vectors.shape[0]} vectors of {vectors.shape[1]} features in {arguments.out}")
    if len(pictures) > 1:
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        alike = unit @ unit.T
        np.fill_diagonal(alike, -1)
        first, second = np.unravel_index(alike.argmax(), alike.shape)
        print(f"most alike: {pictures[first].name} and {pictures[second].name} ({alike[first, second]:.3f})")


if __name__ == "__main__":
    main()
