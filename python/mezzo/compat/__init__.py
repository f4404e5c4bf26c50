"""Running code that was written for onnxruntime, unchanged.

>>> import mezzo.compat  # doctest: +SKIP
>>> _ = mezzo.compat.onnxruntime()  # doctest: +SKIP
>>> import onnxruntime  # doctest: +SKIP
>>> onnxruntime.InferenceSession is mezzo.InferenceSession  # doctest: +SKIP
True

Or from outside: `python -m mezzo.compat SCRIPT [ARGUMENTS...]`.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from .finder import VERSION, Finder

__all__ = ["VERSION", "onnxruntime"]


def onnxruntime() -> ModuleType:
    """From now on `import onnxruntime` gives mezzo, in the whole process, under the version of onnxruntime whose interface it
    has. Returns the module. Doing so twice does nothing.

    :raises RuntimeError: where the real onnxruntime was imported before
    """
    loaded = sys.modules.get("onnxruntime")
    if loaded is not None and not isinstance(getattr(loaded.__spec__, "loader", None), Finder):
        place = getattr(loaded, "__file__", None) or "memory"
        raise RuntimeError(
            f"the real onnxruntime was imported already, from {place}; call mezzo.compat.onnxruntime() before anything imports "
            "it, or run the program with `python -m mezzo.compat`"
        )
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())
        importlib.invalidate_caches()
    return importlib.import_module("onnxruntime")
