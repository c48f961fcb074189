"""Equations of the pages: LaTeX between dollar signs becomes MathML, without a script."""

from __future__ import annotations

import re

__all__ = ["forget_equations", "hide_equations", "show_equations"]

CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
EQUATION = re.compile(r"\$\$(?P<block>.+?)\$\$|\$(?P<inline>[^\s$](?:[^$\n]*[^\s$])?)\$", re.DOTALL)
HIDDEN = re.compile(
    r"<p>latexblock(?P<own>[0-9a-f]+)end</p>|latex(?P<kind>block|inline)(?P<hex>[0-9a-f]+)end"
)


def hide_equations(markdown: str) -> str:
    """Put words that Markdown leaves alone in the place of equations outside code."""

    def word(found: re.Match[str]) -> str:
        kind = found.lastgroup
        assert kind is not None
        return f"latex{kind}{found[kind].strip().encode().hex()}end"

    parts = CODE.split(markdown)
    # Every second part is code.
    parts[::2] = [EQUATION.sub(word, part) for part in parts[::2]]
    return "".join(parts)


def show_equations(html: str) -> str:
    """Put MathML in the place of the words that :func:`hide_equations` left."""
    from latex2mathml.converter import convert

    def equation(found: re.Match[str]) -> str:
        latex = bytes.fromhex(found["own"] or found["hex"]).decode()
        shown: str = convert(latex, display=found["kind"] or "block")
        return shown

    return HIDDEN.sub(equation, html)


def forget_equations(index: str) -> str:
    """Remove the words that :func:`hide_equations` left from an index of words."""
    return re.sub(r"latex(?:block|inline)[0-9a-f]+end", "", index)
