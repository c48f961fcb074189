"""Minor versions of the preset format: which of them brought what, and which one a file states.

A file states the lowest version that holds what is in it, so that every program that can read its
strip does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .nested import is_present, look_up
from .parameters import ADDED, BY_KEY, CHAIN, PARAMETERS, SWITCHES

__all__ = ["NEWEST", "SINCE", "is_newer", "is_spare", "minor_version", "version_of"]


def _all_since() -> dict[str, int]:
    found = {module.key: module.since for module in CHAIN}
    for parameter in PARAMETERS:
        found[parameter.key] = max(found[parameter.module], parameter.since)
    for switch in SWITCHES:
        inside = [found[p.key] for p in PARAMETERS if p.section == switch]
        module = found[switch.partition(".")[0]]
        found[switch] = min(inside, default=module)
    return found


SINCE: Mapping[str, int] = _all_since()
"""By module, band and parameter the minor version that brought it.

A parameter's is that of its module unless it came later; a band's is that of its first parameter.
"""

NEWEST = max(SINCE.values())
"""The newest minor version that this program knows all of."""


def version_of(strip: Mapping[str, Any]) -> str:
    """Return the lowest version that holds a strip: ``"1.0"``.

    Parameters
    ----------
    strip : mapping
        The modules as a preset's file holds them.
    """
    sections = [switch for switch in SWITCHES if is_present(strip, switch)]
    inside = [p.key for p in PARAMETERS if p.name in look_up(strip, p.section)]
    return f"1.{max((SINCE[key] for key in (*sections, *inside)), default=0)}"


def minor_version(version: Any) -> int | None:
    """Return the minor version of a stated ``"1.x"``; nothing if it is none."""
    major, _, minor = version.partition(".") if isinstance(version, str) else ("", "", "")
    if major != "1" or not (minor.isascii() and minor.isdigit()):
        return None
    # Python refuses to read integers of thousands of digits.
    return int(minor[:9]) if str(int(minor[:9])) == minor[:9] else None


def is_newer(version: Any) -> bool:
    """Return whether a stated version is a newer minor version than this program knows."""
    minor = minor_version(version)
    return minor is not None and minor > NEWEST


def is_spare(key: str, value: float) -> bool:
    """Return whether a file need not hold a setting.

    It came later than the module or band it belongs to, and stands at its default.
    """
    return key in ADDED and value == BY_KEY[key].default
