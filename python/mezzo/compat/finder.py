"""What Python's import asks for modules named onnxruntime."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import mezzo

VERSION = "1.32.0"
"""The version of onnxruntime whose interface mezzo has: what the module says to those that compare versions."""

_NAME = "onnxruntime"
# What a module's own, not its contents.
_OWN = frozenset({"__name__", "__spec__", "__loader__", "__package__", "__path__", "__cached__", "__builtins__"})
_VERSIONS = {
    _NAME: ("__version__", "version"),
    f"{_NAME}.capi.build_and_package_info": ("__version__",),
    f"{_NAME}.capi.onnxruntime_validation": ("version",),
}
# What importing onnxruntime imports, too.
_PARTS = {
    _NAME: ("capi",),
    f"{_NAME}.capi": (
        "_pybind_state",
        "build_and_package_info",
        "onnxruntime_inference_collection",
        "onnxruntime_pybind11_state",
        "onnxruntime_validation",
    ),
}


class _Distribution(importlib.metadata.Distribution):
    """What importlib.metadata tells about an installed package."""

    _FILES = {"METADATA": f"Metadata-Version: 2.1\nName: {_NAME}\nVersion: {VERSION}\n", "top_level.txt": f"{_NAME}\n"}

    def read_text(self, filename: str) -> str | None:
        return self._FILES.get(filename)

    def locate_file(self, path: str | os.PathLike[str]) -> Any:
        return Path(os.path.dirname(mezzo.__file__)) / path


class Finder(importlib.metadata.DistributionFinder, importlib.abc.Loader):
    """Finds onnxruntime and its modules, each with the contents of mezzo's module of that name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != _NAME and not fullname.startswith(f"{_NAME}."):
            return None
        original = importlib.util.find_spec(_original(fullname))
        if original is None:
            return None
        is_package = original.submodule_search_locations is not None
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=original.origin, is_package=is_package)
        spec.has_location = original.has_location
        return spec

    def exec_module(self, module: ModuleType) -> None:
        original = importlib.import_module(_original(module.__name__))
        contents = {name: value for name, value in vars(original).items() if name not in _OWN and not _is_ours(value)}
        module.__dict__.update(contents)
        for name in _VERSIONS.get(module.__name__, ()):
            setattr(module, name, VERSION)
        for name in _PARTS.get(module.__name__, ()):
            importlib.import_module(f"{module.__name__}.{name}")
        if module.__name__ == _NAME:
            module.__dict__.update(package_name=_NAME, get_version_string=lambda: VERSION)
            module.__dict__["onnxruntime_validation"] = module.capi.onnxruntime_validation

    def find_distributions(self, context: Any = None) -> Iterable[importlib.metadata.Distribution]:
        asked = getattr(context, "name", None)
        if asked is None or re.sub(r"[-_.]+", "-", asked).lower() == _NAME:
            return [_Distribution()]
        return []


def _is_ours(value: object) -> bool:
    """Whether it is a module of mezzo: onnxruntime's are imported under their own names."""
    return isinstance(value, ModuleType) and value.__name__.startswith("mezzo.")


def _original(name: str) -> str:
    return "mezzo" + name[len(_NAME) :]
