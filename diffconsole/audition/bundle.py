"""JavaScript modules put into one script: each in a function of its own, in order of need.

Only what the page's own modules use is understood: ``import { a, b as c } from "./x.js";`` and
``export`` before ``const``, ``class``, ``function`` and ``async function``. A path that begins
with a dot starts from the importing file, any other from the folder that holds the package:
``"diffconsole/audition/fft.js"``, for modules that lie outside it.

``modules.js`` is no file: it is made from the chain's table, and exports ``MODULES``, each row's
key, title, place, bands and defaults together with what its twin exports as ``module``.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import OutputError
from ..modules.twins import twin_path
from ..strip.module import Module
from ..strip.parameters import CHAIN

__all__ = ["SCRIPTS", "TABLE", "bundle", "json_in_html"]

SCRIPTS = Path(__file__).parent
"""Where the page's own modules lie."""

TABLE = SCRIPTS / "modules.js"
"""The name under which the chain's table is imported."""

_IMPORT = re.compile(r'^import \{([^}]*)\} from "([^"]+)";\n', re.MULTILINE)
_END = re.compile(r"</script|<!--", re.IGNORECASE)
_EXPORT = re.compile(r"^export ((?:async )?(?:const|class|function\*?) (\w+))", re.MULTILINE)


def bundle(entry: str) -> str:
    """Return one script that does what a module does.

    Parameters
    ----------
    entry : str
        Path of the module from :data:`SCRIPTS`, with slashes.

    Returns
    -------
    str
        For a classic script, a module, a worker or a worklet; what `entry` exports stands in the
        constant ``entry``.

    Raises
    ------
    OutputError
        A module's text cannot stand inside HTML.
    SettingsError
        A row of the table names a file that is not there.
    """
    texts: dict[Path, str] = {}
    start = _resolve(SCRIPTS, f"./{entry}")
    _visit(start, texts)
    names = {path: f"module_{i}" for i, path in enumerate(texts)}
    parts = ['"use strict";']
    for path, text in texts.items():
        exports = ", ".join(name for _, name in _EXPORT.findall(text))
        text = _IMPORT.sub(functools.partial(_constants, path.parent, names), text)
        text = _EXPORT.sub(r"\1", text)
        parts.append(f"const {names[path]} = (() => {{\n{text}\nreturn {{ {exports} }};\n}})();")
    parts.append(f"const entry = {names[start]};")
    return "\n".join(parts) + "\n"


def json_in_html(data: Any) -> str:
    """Return JSON that cannot end its script element, nor open a comment in it."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _table() -> str:
    """Return the text of ``modules.js``."""
    lines, rows = [], []
    for i, module in enumerate(CHAIN):
        row = json_in_html(_row(module))
        if module.script:
            path = twin_path(module, module.script).as_posix()
            lines.append(f'import {{ module as twin_{i} }} from "{path}";\n')
            row = f"{{ ...{row}, ...twin_{i} }}"
        rows.append(f"  {row},\n")
    return "".join([*lines, "export const MODULES = [\n", *rows, "];\n"])


def _row(module: Module) -> dict[str, Any]:
    start = len(module.key) + 1
    return {
        "key": module.key,
        "title": module.title,
        "place": module.place,
        "bands": module.bands,
        "since": module.since,
        "gainAfter": module.gain_after,
        "defaults": {p.key[start:]: p.default for p in module.parameters},
    }


def _constants(folder: Path, names: Mapping[Path, str], found: re.Match[str]) -> str:
    wanted = " ".join(found[1].split()).rstrip(",").replace(" as ", ": ")
    return f"const {{ {wanted} }} = {names[_resolve(folder, found[2])]};\n"


def _resolve(folder: Path, name: str) -> Path:
    start = folder if name.startswith(".") else SCRIPTS.parents[1]
    return Path(os.path.normpath(start / name))


def _visit(path: Path, texts: dict[Path, str]) -> None:
    """Add a module's text by its path, behind those of the modules that it needs."""
    text = _table() if path == TABLE else path.read_text(encoding="utf-8")
    if found_end := _END.search(text):
        raise OutputError(
            f"{path}: holds {found_end[0]!r}, which ends a script in HTML; write it in two parts"
        )
    for found in _IMPORT.finditer(text):
        needed = _resolve(path.parent, found[2])
        if needed not in texts:
            _visit(needed, texts)
    texts.setdefault(path, text)
