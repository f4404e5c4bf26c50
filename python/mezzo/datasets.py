"""Not part of mezzo; importing says why."""

from .unavailable import package_error

raise package_error("datasets")
