"""Models as files: loading, looking, and making other models of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from . import _core
from .selectors import Selector, as_selectors
from .values import TensorInfo, Tensors


class Model:
    """A loaded model. It never changes: what edits gives a new one, which shares the weights.

    >>> model = load(example)
    >>> model.expose(["features"]).outputs
    ['scores', 'features']
    >>> part = model.extract(["features"], ["scores"])
    >>> part.inputs, part.outputs
    (['features'], ['scores'])
    """

    def __init__(self, core: _core.Model) -> None:
        self._core = core

    @property
    def inputs(self) -> list[str]:
        """The names of the inputs that a run must be given."""
        return [info.name for info in self._core.inputs()]

    @property
    def outputs(self) -> list[str]:
        """The names of the graph's outputs."""
        return [info.name for info in self._core.outputs()]

    @property
    def opsets(self) -> dict[str, int]:
        """The operator sets that the file imports; '' is ONNX's own."""
        return dict(self._core.opsets())

    @property
    def parameters(self) -> int:
        """The number of weights: elements of all initializers and constants."""
        return self._core.parameters

    def tensors(self, shapes: Mapping[str, Sequence[int]] | None = None) -> Tensors:
        """Every value with its type, shape and producer. Where the file declares no shapes they are computed, for the inputs'
        declared extents, or for those of `shapes` (by input)."""
        values = self._core.values()
        given = {name: [int(extent) for extent in shape] for name, shape in (shapes or {}).items()}
        for info in self._core.inputs():
            extents = [extent for extent in info.shape or () if isinstance(extent, int)]
            if info.name not in given and info.shape is not None and len(extents) == len(info.shape):
                given[info.name] = extents
        facts, _ = self._core.inspect(list(given.items()))
        return Tensors([_info(value, dtype, shape) for value, (dtype, shape) in zip(values, facts)])

    def select(self, selector: Selector) -> list[str]:
        """The names of the values that a selector names."""
        return [name for text in as_selectors(selector) for name in self._core.select(text)]

    def expose(self, selectors: Selector | Sequence[Selector]) -> Model:
        """This model with more outputs: the values that the selectors name."""
        return Model(self._core.expose(as_selectors(selectors)))

    def extract(self, inputs: Selector | Sequence[Selector], outputs: Selector | Sequence[Selector]) -> Model:
        """The part of this model that computes `outputs` from `inputs`."""
        return Model(self._core.extract(as_selectors(inputs), as_selectors(outputs)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model; above 2 GB its weights go to a second file, PATH.data."""
        self._core.save(os.fspath(path))

    def to_bytes(self) -> bytes:
        """The file's bytes, as `InferenceSession` and `onnx.load_model_from_string` take them."""
        return self._core.to_bytes()

    def __str__(self) -> str:
        return self._core.to_text()

    def __repr__(self) -> str:
        name = f"{self._core.graph_name!r}: " if self._core.graph_name else ""
        return f"<mezzo.Model {name}{len(self._core.nodes())} nodes, {self.inputs} -> {self.outputs}>"


def _info(value: _core.ValueInfo, dtype: str | None, shape: list[int] | None) -> TensorInfo:
    declared = tuple(value.shape) if value.shape is not None else None
    return TensorInfo(
        name=value.name,
        type=dtype or value.dtype or value.onnx_type,
        shape=tuple(shape) if shape is not None else declared,
        kind=value.kind,
        producer=value.producer,
        op=value.producer_op,
        is_output=value.is_graph_output,
        body=value.body,
    )


def load(source: str | os.PathLike[str] | bytes, folder: str | os.PathLike[str] = "") -> Model:
    """Loads a model from a path or from the bytes of a file, whose external data lies in `folder`."""
    return Model(load_core(source, folder))


def load_core(source: Any, folder: str | os.PathLike[str] = "") -> _core.Model:
    """The same without the wrapper. TypeError for what is neither."""
    if isinstance(source, Model):
        return source._core
    if isinstance(source, (str, os.PathLike)):
        return _core.Model.load(os.fsdecode(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _core.Model.from_bytes(bytes(source), os.fsdecode(folder))
    raise TypeError(f"Unable to load from type '{type(source)}': a path, the bytes of a model or a mezzo.Model is needed")
