"""Programs and packages that some tests need: skipped without, or failed where all must be."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

import pytest


def needs(program: Callable[[], str | None] | str | None, what: str) -> str:
    """Path of a program; where it is missing the test is skipped, or fails where all must be."""
    found = program() if callable(program) else program
    if found is None:
        if os.environ.get("DIFFCONSOLE_ALL_CONSUMERS"):
            pytest.fail(f"{what} is not installed, and DIFFCONSOLE_ALL_CONSUMERS asks for it")
        pytest.skip(f"{what} is not installed", allow_module_level=True)
    return found


def needs_module(name: str) -> Any:
    """A module that a test reads an export with; as :func:`needs` where it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return needs(None, f"the package {name.split('.')[0]}")
