"""Selectors: what names values of a model.

A string is a value's name, a node's (its first output, or `node:1`), an index (`[-2]`), a glob (`block3/*`), an operator
(`op:Conv`) or a regular expression (`/relu\\d+$/`). An int is the node of that number in the file's order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Union

Selector = Union[str, int]


def as_selectors(selectors: Selector | Sequence[Selector] | None) -> list[str]:
    """The engine's form.

    >>> as_selectors(["features", -2, "op:Relu"])
    ['features', '[-2]', 'op:Relu']
    """
    if selectors is None:
        return []
    if isinstance(selectors, (str, int)):
        selectors = [selectors]
    return [selector if isinstance(selector, str) else _as_text(selector) for selector in selectors]


def _as_text(selector: Selector) -> str:
    if isinstance(selector, str):
        return selector
    try:
        return f"[{selector.__index__()}]"
    except AttributeError:
        raise TypeError(f"a selector is a str or an int, not {type(selector).__name__}: {selector!r}") from None
