"""JavaScript modules put into one script: each in a function of its own, in order of need.

Only what the page's own modules use is understood: ``import { a, b } from "./x.js";`` and
``export`` before ``const``, ``class``, ``function`` and ``async function``.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path, PurePosixPath

__all__ = ["SCRIPTS", "bundle"]

SCRIPTS = Path(__file__).parent
"""Where the modules lie."""

_IMPORT = re.compile(r'^import \{([^}]*)\} from "([^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:const|class|function\*?) (\w+))", re.MULTILINE)


def bundle(entry: str) -> str:
    """Return one script that does what a module does.

    Parameters
    ----------
    entry : str
        Path of the module below :data:`SCRIPTS`, with slashes.

    Returns
    -------
    str
        For a classic script, a module, a worker or a worklet; what `entry` exports stands in the
        constant ``entry``.
    """
    order: list[str] = []
    _visit(entry, order)
    names = {path: f"module_{i}" for i, path in enumerate(order)}
    parts = ['"use strict";']
    for path in order:
        text = _read(path)
        exports = ", ".join(name for _, name in _EXPORT.findall(text))
        text = _IMPORT.sub(functools.partial(_constants, path, names), text)
        text = _EXPORT.sub(r"\1", text)
        parts.append(f"const {names[path]} = (() => {{\n{text}\nreturn {{ {exports} }};\n}})();")
    parts.append(f"const entry = {names[entry]};")
    return "\n".join(parts) + "\n"


def _read(path: str) -> str:
    return (SCRIPTS / path).read_text(encoding="utf-8")


def _constants(path: str, names: dict[str, str], found: re.Match[str]) -> str:
    wanted = " ".join(found[1].split()).rstrip(",")
    return f"const {{ {wanted} }} = {names[_resolve(path, found[2])]};\n"


def _resolve(path: str, relative: str) -> str:
    steps: list[str] = []
    for step in (PurePosixPath(path).parent / relative).parts:
        if step == "..":
            steps.pop()
        elif step != ".":
            steps.append(step)
    return "/".join(steps)


def _visit(path: str, order: list[str]) -> None:
    for found in _IMPORT.finditer(_read(path)):
        needed = _resolve(path, found[2])
        if needed not in order:
            _visit(needed, order)
    if path not in order:
        order.append(path)
