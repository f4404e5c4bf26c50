"""Execution providers: mezzo has one, CPUExecutionProvider."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

AVAILABLE = ["CPUExecutionProvider"]


def get_available_providers() -> list[str]:
    """The providers that sessions can have.

    >>> get_available_providers()
    ['CPUExecutionProvider']
    """
    return list(AVAILABLE)


def get_all_providers() -> list[str]:
    """The providers that this build knows: the same."""
    return list(AVAILABLE)


def get_device() -> str:
    """Where mezzo computes: 'CPU'."""
    return "CPU"


def normalize(
    providers: Sequence[Any] | None, provider_options: Sequence[dict[Any, Any]] | None
) -> tuple[list[str], dict[str, dict[str, str]]]:
    """What a session's `providers` and `provider_options` come to: the providers in order and their options.

    Unknown ones are left out with a warning. ValueError for wrong containers, lengths and items.
    """
    if providers is None:
        if provider_options is not None:
            raise ValueError("'provider_options' without 'providers'; give both")
        return list(AVAILABLE), {name: {} for name in AVAILABLE}
    if isinstance(providers, (str, bytes)) or not isinstance(providers, Sequence):
        raise ValueError(f"'providers' should be a sequence (of names or (name, dict) tuples), not {providers!r}")
    if provider_options is None:
        provider_options = [{}] * len(providers)
    elif isinstance(provider_options, (str, bytes)) or not isinstance(provider_options, Sequence):
        raise ValueError(f"'provider_options' should be a sequence of dicts, not {provider_options!r}")
    elif len(provider_options) != len(providers):
        raise ValueError(
            f"'providers' and 'provider_options' should be the same length if both are given, not "
            f"{len(providers)} and {len(provider_options)}"
        )
    names: list[str] = []
    options: dict[str, dict[str, str]] = {}
    for provider, given in zip(providers, provider_options):
        name, own = provider if isinstance(provider, tuple) and len(provider) == 2 else (provider, {})
        if not isinstance(name, str) or not isinstance(own, dict):
            raise ValueError(f"'providers' values must be either strings or (string, dict) tuples, not {provider!r}")
        if not isinstance(given, dict):
            raise ValueError(f"'provider_options' values must be dicts, not {given!r}")
        if own and given:
            raise ValueError(f"the options of {name} are given twice: in 'providers' and in 'provider_options'")
        if name not in AVAILABLE:
            warnings.warn(
                f"Specified provider '{name}' is not in available provider names. "
                f"Available providers: '{', '.join(AVAILABLE)}'",
                UserWarning,
                stacklevel=4,
            )
        elif name in names:
            warnings.warn(f"Duplicate provider '{name}' encountered, ignoring.", UserWarning, stacklevel=4)
        else:
            names.append(name)
            options[name] = {str(key): str(value) for key, value in (own or given).items()}
    for name in AVAILABLE:
        if name not in names:
            names.append(name)
            options[name] = {}
    return names, options
