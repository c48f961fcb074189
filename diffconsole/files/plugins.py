"""What other packages add: objects that they name by entry points.

A package declares, in its ``pyproject.toml``,

``[project.entry-points."diffconsole.encoders"]``
``mynet = "my_package:FAMILY"``

and the object is found as soon as the package is installed. A package that cannot be imported, or
whose object is of another kind, is left out and disturbs nothing; who asks for it by its name
learns why.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import sys
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Generic, TypeVar

__all__ = ["Plugins", "installed"]

LONGEST_REASON = 200

T = TypeVar("T")


@dataclass(frozen=True)
class Plugins(Generic[T]):
    """What the installed packages add to a group.

    Attributes
    ----------
    found : dict of str to object
        By the name of the entry point.
    broken : dict of str to str
        By the name of the entry point, why it is left out: one line that names the package.
    """

    found: dict[str, T] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)


def installed(group: str, kind: type[T], taken: Collection[str] = ()) -> Plugins[T]:
    """Load the objects that installed packages name in a group of entry points.

    Parameters
    ----------
    group : str
        ``"diffconsole.encoders"`` or ``"diffconsole.formats"``.
    kind : type
        Class of the objects.
    taken : collection of str
        Names of what is built in, which no package can replace.
    """
    plugins: Plugins[T] = Plugins()
    owners: dict[str, str] = {}
    for entry in sorted(importlib.metadata.entry_points(group=group)):
        package = (entry.dist and entry.dist.name) or entry.value.partition(":")[0]
        if entry.name in taken:
            plugins.broken[f"{entry.name} of {package}"] = (
                f"package {package}: {entry.name!r} is the name of one that is built in; rename it"
            )
            continue
        if entry.name in owners:
            # A package can stand in several folders of the path: the first one is imported.
            if package != owners[entry.name]:
                plugins.broken[f"{entry.name} of {package}"] = (
                    f"package {package}: {entry.name!r} comes from {owners[entry.name]} already"
                )
            continue
        owners[entry.name] = package
        try:
            # What a package prints is no result of the command.
            with contextlib.redirect_stdout(sys.stderr):
                loaded = entry.load()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it runs whatever is in it.
            reason = " ".join(str(error).split())[:LONGEST_REASON] or type(error).__name__
            plugins.broken[entry.name] = (
                f"package {package}: {entry.value} cannot be loaded ({reason})"
            )
            continue
        if not isinstance(loaded, kind):
            plugins.broken[entry.name] = (
                f"package {package}: {entry.value} is an object of type "
                f"{type(loaded).__name__}, not a {kind.__module__}.{kind.__qualname__}"
            )
            continue
        plugins.found[entry.name] = loaded
    return plugins
