"""The audition page: one HTML file to play a vocal, its presets and a mix, and to edit the strips.

:func:`write_page` writes it. The console runs in the browser (``console.js`` and the modules beside
it) and makes the samples that ``diffconsole apply`` makes.
"""

from __future__ import annotations

from .page import LARGEST_BYTES, Page, Vocal, write_page

__all__ = ["LARGEST_BYTES", "Page", "Vocal", "write_page"]
