"""The README and the pages of the documentation, and the commands and code printed in them.

What stands in blocks marked ``sh`` and ``python`` is run as printed; blocks marked ``bash`` hold
what needs files that the tests do not have, and are parsed only.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = ROOT / "diffconsole" / "docs" / "pages"
COMMUNITY = ROOT / ".github"


def pages() -> list[Path]:
    """The documentation's pages, those first that a newcomer reads first."""
    first = [PAGES / f"{name}.md" for name in ("index", "getting-started", "process")]
    return first + [path for path in sorted(PAGES.rglob("*.md")) if path not in first]


def documents() -> list[Path]:
    """Everything that users read, in Markdown."""
    return [README, *pages(), *sorted(COMMUNITY.rglob("*.md"))]


def named(path: Path) -> str:
    """A document's name for a test's id."""
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path, *languages: str) -> list[str]:
    """What stands in the code blocks of some languages."""
    text = path.read_text(encoding="utf-8")
    return re.findall(rf"^```(?:{'|'.join(languages)})\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(path: Path, *languages: str) -> list[str]:
    """The lines that run diffconsole, not those of the set-up, each once."""
    lines = [line for block in blocks(path, *languages) for line in block.splitlines()]
    return list(dict.fromkeys(line for line in lines if line.startswith("diffconsole ")))
