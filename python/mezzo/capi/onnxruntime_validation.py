"""What onnxruntime checks when it is imported."""

from __future__ import annotations

from ..process import cuda_version, package_name, version


def get_package_name_and_version_info() -> tuple[str, str, str]:
    """The package's name, its version and CUDA's."""
    return package_name, version, cuda_version


def check_distro_info() -> None:
    """Without effect: nothing here depends on the distribution."""


def check_training_module() -> tuple[bool, str, str, str]:
    """Whether there is a module for training: there is none."""
    return False, package_name, version, cuda_version
