"""Functions of the caller that see or change values while a model runs."""

from __future__ import annotations

import contextvars
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Callable, Union

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Replacement = Union[Callable[[Array], Any], npt.ArrayLike]
Callback = Callable[[str, Array], Any]


@dataclass(frozen=True)
class Hook:
    """A function on the values that a selector names."""

    selector: str
    function: Callable[..., Any]
    patches: bool


class Hooks:
    """The hooks of a session. Each thread (each context, in asyncio) sees its own."""

    def __init__(self) -> None:
        self._active: contextvars.ContextVar[tuple[Hook, ...]] = contextvars.ContextVar("mezzo hooks", default=())

    def active(self) -> tuple[Hook, ...]:
        return self._active.get()

    def add(self, hooks: Sequence[Hook]) -> Handle:
        self._active.set(self._active.get() + tuple(hooks))
        return Handle(self, hooks)

    def remove(self, hooks: Sequence[Hook]) -> None:
        self._active.set(tuple(hook for hook in self._active.get() if not any(hook is gone for gone in hooks)))


class Handle:
    """A patch or an observer in effect, until `remove()` or the end of the `with` block."""

    def __init__(self, owner: Hooks, hooks: Sequence[Hook]) -> None:
        self._owner, self._hooks = owner, tuple(hooks)

    def remove(self) -> None:
        """Ends it. Doing so twice does nothing."""
        self._owner.remove(self._hooks)

    def __enter__(self) -> Handle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def __repr__(self) -> str:
        return f"<mezzo.Handle on {', '.join(hook.selector for hook in self._hooks)}>"


def patch_function(replacement: Replacement) -> Callable[[Array], Any]:
    """What the engine calls with the computed array: gives one of the same type and shape.

    A function may change its array in place and return nothing. What it returns is cast where that loses no kind (float64 to
    float32, not float to int), and broadcast.
    """

    def replace(value: Array) -> Any:
        if not isinstance(value, np.ndarray):
            return replacement(value) if callable(replacement) else replacement
        result = replacement(value) if callable(replacement) else replacement
        if result is None:
            return value
        array = np.asarray(result)
        if array.dtype != value.dtype:
            array = array.astype(value.dtype, casting="same_kind")
        return array if array.shape == value.shape else np.broadcast_to(array, value.shape)

    return replace


class Statistics:
    """Running statistics of a value over all runs: nothing is stored but these numbers."""

    __slots__ = ("name", "count", "calls", "minimum", "maximum", "_mean", "_square", "nan", "infinite", "zero", "shape")

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0  #: finite elements seen
        self.calls = 0  #: how often the value was computed
        self.minimum = np.inf
        self.maximum = -np.inf
        self.nan = 0
        self.infinite = 0
        self.zero = 0
        self.shape: tuple[int, ...] = ()  #: of the last one
        self._mean = 0.0
        self._square = 0.0

    @property
    def mean(self) -> float:
        """The mean of all finite elements; NaN where there were none."""
        return self._mean if self.count else float("nan")

    @property
    def std(self) -> float:
        """The standard deviation of all finite elements (of the population); NaN where there were none."""
        return float(np.sqrt(self._square / self.count)) if self.count else float("nan")

    def update(self, value: Array) -> None:
        """Takes in one array. The sums are joined as in Chan, Golub and LeVeque (1979), which loses no digits."""
        self.calls += 1
        self.shape = value.shape
        if value.dtype == object:
            return
        numbers = value.astype(np.float64).ravel()
        finite = numbers[np.isfinite(numbers)]
        missing = int(np.isnan(numbers).sum())
        self.nan += missing
        self.infinite += numbers.size - finite.size - missing
        if not finite.size:
            return
        self.zero += int((finite == 0).sum())
        self.minimum = min(self.minimum, float(finite.min()))
        self.maximum = max(self.maximum, float(finite.max()))
        mean = float(finite.mean())
        square = float(((finite - mean) ** 2).sum())
        total = self.count + finite.size
        self._square += square + (mean - self._mean) ** 2 * self.count * finite.size / total
        self._mean += (mean - self._mean) * finite.size / total
        self.count = total

    def __repr__(self) -> str:
        text = f"mean {self.mean:.4g}, std {self.std:.4g}, {self.minimum:.4g} to {self.maximum:.4g}"
        extras = [f"{n} {what}" for n, what in ((self.nan, "NaN"), (self.infinite, "infinite")) if n]
        return f"<{self.name}: {', '.join([text, *extras])}, {self.calls} calls>"


class StatisticsTable(dict[str, Statistics]):
    """Statistics by value, in effect until `remove()` or the end of the `with` block."""

    def __init__(self) -> None:
        super().__init__()
        self._handle: Handle | None = None

    def see(self, name: str, value: Array) -> None:
        """Takes in one value: what the session calls."""
        if not isinstance(value, np.ndarray):
            return
        if name not in self:
            self[name] = Statistics(name)
        self[name].update(value)

    def start(self, handle: Handle) -> None:
        self._handle = handle

    def remove(self) -> None:
        """Ends the watching; the numbers stay."""
        if self._handle is not None:
            self._handle.remove()

    def __enter__(self) -> StatisticsTable:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def __repr__(self) -> str:
        return "\n".join(repr(statistics) for statistics in self.values()) or "<no value was seen yet>"
