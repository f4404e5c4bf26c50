"""What a session tells about a model's values."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload


@dataclass(frozen=True)
class NodeArg:
    """A graph input or output: `type` as in 'tensor(float)', `shape` a list of ints, names and None."""

    name: str
    type: str
    shape: list[int | str | None]


@dataclass(frozen=True)
class ModelMetadata:
    """What the file says about itself."""

    producer_name: str
    graph_name: str
    domain: str
    description: str
    graph_description: str
    version: int
    custom_metadata_map: dict[str, str]


@dataclass(frozen=True)
class TensorInfo:
    """A value of the model. Its name is a selector for `run`, `tap`, `patch` and `observe`."""

    name: str
    type: str  #: 'float32', or as in 'seq(tensor(float))', or '' where it is not known before a run
    shape: tuple[int | str | None, ...] | None  #: None where it is not known before a run
    kind: str  #: 'input', 'initializer' or 'node'
    producer: str  #: the name of the node that computes it, which may be ''
    op: str  #: that node's operator, as in 'Conv'
    is_output: bool  #: whether the graph declares it as an output
    body: str  #: where it lies, for a value inside a control-flow node

    @property
    def shape_text(self) -> str:
        """'1x3x224x224'; '?' where it is not known."""
        if self.shape is None:
            return "?"
        return "x".join("?" if extent is None else str(extent) for extent in self.shape) or "scalar"


@dataclass(frozen=True)
class OrtExternalInitializerInfo:
    """Where a weight lies in a file."""

    filepath: str
    file_offset: int
    byte_size: int


_COLUMNS = ("#", "name", "type", "shape", "from")


class Tensors(Sequence[TensorInfo]):
    """The values of a model in the file's order; `tensors["name"]` finds one."""

    def __init__(self, infos: Sequence[TensorInfo]) -> None:
        self._infos = tuple(infos)
        self._by_name = {info.name: info for info in self._infos}

    def __len__(self) -> int:
        return len(self._infos)

    def __iter__(self) -> Iterator[TensorInfo]:
        return iter(self._infos)

    def __contains__(self, item: object) -> bool:
        return item in self._by_name or item in self._infos

    @overload
    def __getitem__(self, key: int | str) -> TensorInfo: ...
    @overload
    def __getitem__(self, key: slice) -> Tensors: ...
    def __getitem__(self, key: int | str | slice) -> TensorInfo | Tensors:
        if isinstance(key, str):
            return self._by_name[key]
        return Tensors(self._infos[key]) if isinstance(key, slice) else self._infos[key]

    @property
    def names(self) -> list[str]:
        """The names alone."""
        return [info.name for info in self._infos]

    def of(self, op: str) -> Tensors:
        """Those that nodes of that operator compute: `tensors.of("Conv")`."""
        return Tensors([info for info in self._infos if info.op == op])

    def _rows(self) -> Iterator[tuple[str, str, str, str, str]]:
        for number, info in enumerate(self._infos):
            origin = " ".join(filter(None, (info.op, info.producer))) if info.kind == "node" else info.kind
            marks = " (output)" if info.is_output else ""
            place = f" in {info.body}" if info.body else ""
            yield str(number), info.name, info.type or "?", info.shape_text, origin + marks + place

    def __repr__(self) -> str:
        rows = [_COLUMNS, *self._rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        def line(cells: Sequence[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        body = "".join(line(row, "td") for row in self._rows())
        return f"<table><thead>{line(_COLUMNS, 'th')}</thead><tbody>{body}</tbody></table>"
