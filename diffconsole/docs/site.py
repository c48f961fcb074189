"""The site: pages with what is generated for them, built strictly, and the equations shown."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from diffconsole.docs import figures, tables
from diffconsole.docs import modules as chain
from diffconsole.docs.equations import forget_equations, hide_equations, show_equations
from diffconsole.errors import DiffconsoleError

__all__ = ["BUILDER", "build", "is_installed", "prepare"]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGES, PICTURES, CONFIGURATION = HERE / "pages", ROOT / "examples" / "pictures", HERE / "mkdocs.yml"
BUILDER = "zensical"
NEEDED = (BUILDER, "mkdocstrings", "latex2mathml")
MARKER = "index.html"

TABLES: dict[str, Callable[..., str]] = {
    "amounts": tables.amounts,
    "chain": chain.chain,
    "commands": tables.commands,
    "encoders": tables.encoders,
    "factory presets": tables.factory_presets,
    "formats": tables.formats,
    "functions": tables.functions,
    "losses": tables.losses,
    "model card": tables.model_card,
    "modules": tables.modules,
    "other modules": chain.other_modules,
    "parameters": tables.parameters,
    "schema": tables.schema,
    "strip": tables.strip,
}
GENERATED = re.compile(r"^> Generated when the site is built: ([^:.\n]+)(?:: ([\w.]+))?\.$", re.M)

# In docstrings stands what Sphinx would link; here the name alone is shown.
ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):<code>~?([^<]*)</code>")


def is_installed() -> bool:
    """Whether the packages of the extra ``docs`` are there."""
    return all(importlib.util.find_spec(name) is not None for name in NEEDED)


def build(output: Path) -> None:
    """Build the site into a folder.

    Parameters
    ----------
    output : Path
        What an earlier build left there is replaced.

    Raises
    ------
    DiffconsoleError
        The extra ``docs`` is not installed, the folder holds something else than a site, a page
        asks for a table that nobody generates, or the build found a broken link or reference.
    """
    if not is_installed():
        raise DiffconsoleError('the documentation needs pip install -e ".[docs]"')
    if output.exists() and any(output.iterdir()) and not (output / MARKER).is_file():
        raise DiffconsoleError(f"{output}: holds something else than a site; give another folder")
    with tempfile.TemporaryDirectory(prefix="diffconsole-docs-") as temporary:
        folder = Path(temporary)
        prepare(folder)
        command = [sys.executable, "-m", BUILDER, "build", "--strict", "-f", "mkdocs.yml"]
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "PYTHONPATH": path},
            capture_output=True, text=True, errors="replace",
        )  # fmt: skip
        if done.returncode:
            raise DiffconsoleError(f"the site was not built:\n{done.stdout}{done.stderr}")
        site = folder / "site"
        for page in site.rglob("*.html"):
            html = page.read_text(encoding="utf-8")
            page.write_text(show_equations(ROLE.sub(r"<code>\1</code>", html)), encoding="utf-8")
        index = site / "search.json"
        index.write_text(forget_equations(index.read_text(encoding="utf-8")), encoding="utf-8")
        if output.exists():
            shutil.rmtree(output)
        shutil.copytree(site, output)


def prepare(folder: Path) -> None:
    """Write what the builder reads: the configuration, pages with tables, figures, pictures."""
    pages = folder / "pages"
    shutil.copytree(PAGES, pages)
    for page in pages.rglob("*.md"):
        text = _with_tables(page.read_text(encoding="utf-8"), page.name)
        page.write_text(hide_equations(text), encoding="utf-8")
    (pages / "figures").mkdir()
    for name, svg in figures.draw_all().items():
        (pages / "figures" / f"{name}.svg").write_bytes(svg)
    shutil.copytree(PICTURES, pages / "pictures")
    (pages / tables.SCHEMA_ID).write_text(tables.schema_text(), encoding="utf-8")
    shutil.copy(CONFIGURATION, folder / "mkdocs.yml")


def _with_tables(markdown: str, name: str) -> str:
    def table(found: re.Match[str]) -> str:
        wanted, argument = found.groups()
        if wanted not in TABLES:
            raise DiffconsoleError(f"{name}: nothing called {wanted!r} is generated")
        return TABLES[wanted](argument) if argument else TABLES[wanted]()

    # What is generated may ask for tables in turn.
    return GENERATED.sub(table, GENERATED.sub(table, markdown))
