"""Tables of the pages, written from the package's own tables when the site is built."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

import click

from diffconsole.cli import main
from diffconsole.docs import modules as chain
from diffconsole.encoders import FAMILIES
from diffconsole.export import formats as all_formats
from diffconsole.model.predictor import default_model
from diffconsole.strip.parameters import PARAMETERS, SWITCHES, Parameter, section_name
from diffconsole.strip.preset import factory_presets as all_factory_presets
from diffconsole.strip.schema import SCHEMA_ID, preset_schema

__all__ = [
    "SCHEMA_ID",
    "amounts",
    "commands",
    "encoders",
    "factory_presets",
    "formats",
    "functions",
    "losses",
    "model_card",
    "modules",
    "parameters",
    "schema",
    "schema_text",
    "strip",
]


NO_BREAK = "\N{NO-BREAK SPACE}"


def parameters(section: str) -> str:
    """Return the parameters of a module, or of an EQ and all its bands, as a table."""
    rows = [p for p in PARAMETERS if f"{p.section}.".startswith(f"{section}.")]
    has_bands = len({p.section for p in rows}) > 1
    return _table(
        (["Band"] if has_bands else []) + ["Key", "Unit", "Range", "Scale", "Default", "Meaning"],
        (
            ([section_name(p.section)] if has_bands else [])
            + [
                f"`{p.name}`",
                p.unit or "–",
                _range(p),
                p.scale,
                _minus(f"{p.default:g}"),
                p.meaning,
            ]
            for p in rows
        ),
    )


def strip() -> str:
    """Return what can be switched off, in chain order."""
    return _table(
        ["Name in `--bypass`", "Module or band", "Settings"],
        (
            [f"`{switch}`", section_name(switch), ", ".join(f"`{p.name}`" for p in found) or "–"]
            for switch in SWITCHES
            for found in [[p for p in PARAMETERS if p.section == switch]]
        ),
    )


def modules() -> str:
    """Return the modules of the chain, each with a link to its page or section."""
    return _table(["Module", "Key in a preset", "Where it acts"], chain.modules())


def amounts() -> str:
    """Return what the amount does to the settings."""
    return _table(["Settings", "At amount $a$"], chain.amounts())


def functions() -> str:
    """Return the functions that a module's code may have."""
    return _table(["Function", "What it does"], chain.functions())


def factory_presets() -> str:
    """Return the presets that come with the program."""
    return _table(
        ["Key", "For"],
        (
            [f"`{key}`", str(preset.provenance.get("description", preset.name))]
            for key, preset in all_factory_presets().items()
        ),
    )


def formats() -> str:
    """Return the formats with their measured errors, in one table."""
    return _table(
        ["`--to`", "What is written", "As", "`import` reads it", "Measured error", "Measured with"],
        (
            [
                f"`{form.key}`",
                form.title,
                f"`{form.ending}` file" if form.ending else "folder",
                "yes" if form.read else "no",
                "; ".join(map(str, form.figures)) or "–",
                form.consumer or "–",
            ]
            for form in all_formats().values()
        ),
    )


def losses() -> str:
    """Return what does not carry over to each format, a section each."""
    sections = []
    for form in all_formats().values():
        lines = [f"- `{name}`: {words}" for name, words in form.lost.items()]
        lines += [f"- {line}" for line in form.conditions]
        body = "\n".join(lines) or "Nothing is lost."
        sections.append(f"### {form.key} {{: #format-{form.key} }}\n\n{form.title}.\n\n{body}")
    return "\n\n".join(sections)


def encoders() -> str:
    """Return the families of encoders that a model can be built on."""
    return _table(
        ["`--encoder`", "Network", "Weights", "Needs"],
        (
            [
                f"`{name}{f':{family.sources}' if family.sources else ''}`",
                f"{family.about}; {_shape(family.sample_rate, family.dim)}",
                f"{family.licence}; {_linked(family.published)}",
                family.needs,
            ]
            for name, family in FAMILIES.items()
        ),
    )


def schema_text() -> str:
    """Return the preset's JSON Schema as text."""
    return json.dumps(preset_schema(), indent=2) + "\n"


def schema() -> str:
    """Return the preset's JSON Schema as a block that can be opened."""
    text = "".join(f"    {line}\n" for line in schema_text().splitlines())
    return f'??? note "{SCHEMA_ID}"\n\n    ```json\n{text}    ```\n'


def model_card() -> str:
    """Return the card of the shipped model, without its title."""
    return (default_model() / "README.md").read_text(encoding="utf-8").partition("\n")[2]


def commands() -> str:
    """Return the help of every command, a section each."""
    return "\n\n".join(_helps(main, "diffconsole", click.Context(main, info_name="diffconsole")))


def _helps(group: click.Group, name: str, context: click.Context) -> list[str]:
    sections = []
    for key in group.list_commands(context):
        command = group.get_command(context, key)
        assert command is not None
        full = f"{name} {key}"
        inner = click.Context(command, info_name=key, parent=context, max_content_width=90)
        if isinstance(command, click.Group):
            sections += _helps(command, full, inner)
            continue
        sections.append(f"## {full}\n\n```text\n{command.get_help(inner).rstrip()}\n```")
    return sections


def _range(parameter: Parameter) -> str:
    return _minus(f"{parameter.low:g} … {parameter.high:g}").replace(" ", NO_BREAK)


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _shape(sample_rate: int | None, features: int | None) -> str:
    rate = f"{sample_rate}{NO_BREAK}Hz" if sample_rate else "any rate"
    return f"{rate}, {features or 'as many'} features{'' if features else ' as the file has'}"


def _linked(text: str) -> str:
    """Return a text with its addresses as links that are named by their host."""
    return re.sub(r"https://([^/\s;,)]+)[^\s;,)]*", r"[\1](\g<0>)", text)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    # Not even escaped may a bar stand in a table's code.
    code = re.sub(r"`([^`]*\|[^`]*)`", lambda found: f"<code>{found[1]}</code>", text)
    return code.replace("|", "&#124;")
