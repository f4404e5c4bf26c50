"""What the package is."""

from .._core import version as __version__  # noqa: F401
from ..process import cuda_version, package_name  # noqa: F401

use_cuda = False
