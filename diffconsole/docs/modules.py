"""What the pages say of the strip's modules: generated from the chain's table.

A module whose parameters stand on a page below ``pages/strip`` has its page; any other one gets a
section of its own on the page of the strip, with its figure, its parameters and its function.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from pathlib import Path

import diffconsole.modules
from diffconsole.plots.more_curves import curve_modules
from diffconsole.strip.module import Module, Place
from diffconsole.strip.parameter import Amount, Parameter
from diffconsole.strip.parameters import CHAIN, section_name
from diffconsole.strip.words import value_text

__all__ = [
    "amounts",
    "chain",
    "functions",
    "modules",
    "other_modules",
    "own_page",
    "shown_settings",
]

PAGES = Path(__file__).parent / "pages" / "strip"
PLACES: dict[Place, str] = {
    "input": "before everything",
    "insert": "in the signal, one after the other",
    "pan": "on the dry signal",
    "send": "beside the dry signal, added to it",
    "output": "after everything",
}
SCALED: dict[Amount, str] = {
    "gain": "multiplied by $a$",
    "ratio": "$x^a$: 4:1 becomes 8:1 at 1.5 and 2:1 at 0.5",
    "level": r"plus $20\log_{10} a$ dB",
    "to_low_end": "moves towards the low end of its range, on the logarithm",
    "to_high_end": "moves towards the high end of its range, on the logarithm",
    "resonance": "moves towards 0.71 below 1, so that no resonance remains",
}


def own_page(module: Module, pages: Path = PAGES) -> str:
    """Return the name of the page that holds a module's parameters; empty if there is none."""
    wanted = re.compile(rf": parameters: {re.escape(module.key)}\.$", re.MULTILINE)
    for path in sorted(pages.glob("*.md")):
        if wanted.search(path.read_text(encoding="utf-8")):
            return path.name
    return ""


def chain() -> str:
    """Return the flow of the signal as a drawing in letters."""

    def named(*places: Place) -> list[str]:
        return [m.title if m.title.isupper() else m.title.lower()
                for m in CHAIN if m.place in places]  # fmt: skip

    before, after = " → ".join(named("input", "insert")), " → ".join(named("output"))
    lanes = [" → ".join(named("pan")) + " of the dry signal"]
    lanes += [f"{send} (send and return)" for send in named("send")]
    width, margin = max(map(len, lanes)), " " * len(before)
    lines = []
    for place, lane in enumerate(lanes):
        drawn = f"► {lane} ".ljust(width + 3, "─")
        if place == 0:
            lines.append(f"{before} ─┬─{drawn}─┬─► {after}")
        else:
            corners = "└┘" if place == len(lanes) - 1 else "├┤"
            lines.append(f"{margin}  {corners[0]}─{drawn}─{corners[1]}")
    return "\n".join(["```text", *lines, "```"])


def modules() -> list[Sequence[str]]:
    """Return a row for each module: its name with a link, its key, where it acts."""
    return [
        [
            f"[{module.title}]({own_page(module) or f'#module-{module.key}'})",
            f"`{module.key}`",
            PLACES[module.place],
        ]
        for module in CHAIN
    ]


def amounts() -> list[Sequence[str]]:
    """Return a row for each rule by which the amount scales: the settings, and the rule."""
    rows = [[_settings_of(rule), words] for rule, words in SCALED.items()]
    every = [p for module in CHAIN for p in module.parameters]
    for followed in dict.fromkeys(p.follows for p in every if p.follows):
        gain = section_name(followed.partition(".")[0]).lower()
        words = f"moves with the {gain}, so that the module keeps its place in the signal"
        rows.append([_named([p for p in every if p.follows == followed]), words])
    return [*rows, ["all others", "unchanged"]]


def functions() -> list[Sequence[str]]:
    """Return a row for each function that a module's code may have, from what the code says."""
    text = inspect.getdoc(diffconsole.modules) or ""
    found = re.findall(r"^``(.+?)``\n((?: {4}.+\n?)+)", text, re.MULTILINE)
    return [[f"`{name}`", " ".join(words.split())] for name, words in found]


def other_modules() -> str:
    """Return a section for each module that has no page of its own."""
    return "\n\n".join(_section(module) for module in CHAIN if not own_page(module))


def shown_settings(module: Module) -> dict[str, float]:
    """Return settings by key that show what a module does, where its defaults do nothing."""
    return {
        p.key: p.to_physical(0.75) if p.idle is not None and p.idle == p.default else p.default
        for p in module.parameters
    }


def _section(module: Module) -> str:
    code = module.code()
    words = (inspect.getdoc(code) or "").partition("\n\n")[0]
    parts = [f"## {module.title} {{: #module-{module.key} }}", words]
    if module in curve_modules():
        values = ", ".join(
            f"{p.name} {value_text(p, shown_settings(module)[p.key])}" for p in module.parameters
        )
        parts += [f"![Curve of the module](../figures/{module.key}.svg)", f"*With {values}.*"]
    parts.append(f"> Generated when the site is built: parameters: {module.key}.")
    function = "run" if hasattr(code, "run") else "process"
    parts.append(f"::: {module.implementation}.{function}")
    return "\n\n".join(part for part in parts if part)


def _settings_of(rule: Amount) -> str:
    return _named([p for module in CHAIN for p in module.parameters if p.amount == rule])


def _named(parameters: Sequence[Parameter]) -> str:
    """Return parameters by module: ``"EQ `gain_db`"`` for all of that name, else with the band."""
    found = []
    for module in CHAIN:
        own = [p for p in parameters if p.module == module.key]
        others = {p.name for p in module.parameters if p not in own}
        names = [p.key[len(module.key) + 1 :] if p.name in others else p.name for p in own]
        if names:
            found.append(f"{module.title} {', '.join(f'`{n}`' for n in dict.fromkeys(names))}")
    return "; ".join(found)
