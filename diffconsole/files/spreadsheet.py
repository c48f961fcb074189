"""Texts in tables for spreadsheets: a text that would be taken for a formula is kept a text."""

from __future__ import annotations

__all__ = ["as_text"]

# Line breaks and tabs too: some programs skip them before they look for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "＝", "＋", "－", "＠")


def as_text(text: str) -> str:
    """Return a cell that a spreadsheet shows as `text`: with a quote mark in front if need be."""
    return f"'{text}" if text.startswith(_FORMULA) else text
