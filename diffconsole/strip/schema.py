"""The preset's JSON Schema (draft 2020-12), generated from the table, and checking against it."""

from __future__ import annotations

import difflib
import functools
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import PresetError
from .finite import allowed_range
from .parameters import BY_KEY, MODULES, PARAMETERS, SWITCHES, section_name
from .versions import SINCE, is_newer

__all__ = [
    "FORMAT",
    "SCHEMA_ID",
    "SCHEMA_PATH",
    "VERSION",
    "check",
    "check_finite",
    "known_part",
    "path_of",
    "preset_schema",
    "walk",
    "write_schema",
]

FORMAT = "diffconsole.channel-strip"
VERSION = "1.0"
"""What a file states whose modules and parameters were there from the beginning."""

SCHEMA_ID = "channel-strip-1.schema.json"
SCHEMA_PATH = Path(__file__).parent / "data" / SCHEMA_ID
DEEPEST = 64
LONGEST_KEY = 80


def preset_schema() -> dict[str, Any]:
    """Generate the schema from the table of parameters."""
    modules: dict[str, Any] = {}
    for switch in SWITCHES:
        properties: dict[str, Any] = {
            "enabled": {"type": "boolean", "default": True, "description": "false switches it off"}
        }
        for p in PARAMETERS:
            if p.section == switch:
                unit = f" [{p.unit}]" if p.unit else ""
                properties[p.name] = {
                    "type": "number",
                    "minimum": p.low,
                    "maximum": p.high,
                    "default": p.default,
                    "description": f"{p.meaning}{unit}{_since(p.key)}",
                }
        section = {"type": "object", "properties": properties, "additionalProperties": False}
        if SINCE[switch]:
            section["description"] = f"{section_name(switch)}{_since(switch)}"
        if "." in switch:
            parent, band = switch.split(".")
            modules[parent]["properties"][band] = section
        else:
            modules[switch] = section
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "diffconsole channel strip, version 1",
        "type": "object",
        "required": ["format", "version"],
        "properties": {
            "$schema": {"type": "string"},
            "format": {"const": FORMAT},
            "version": {"type": "string", "pattern": r"^1\.(0|[1-9][0-9]*)$"},
            "name": {"type": "string"},
            **{module: modules[module] for module in MODULES},
            "provenance": {"type": "object"},
        },
        "additionalProperties": False,
    }


def _since(key: str) -> str:
    return f" (since version 1.{SINCE[key]})" if SINCE[key] else ""


def check(data: Any) -> None:
    """Check parsed JSON against the schema.

    Parameters
    ----------
    data : object
        What ``json.loads`` returned.

    Raises
    ------
    PresetError
        Names the JSON path, the value and what is allowed there. A wrong format or version goes
        before anything else.
    """
    if not isinstance(data, dict):
        raise PresetError(
            f"$ is {_shown(data)}; a preset is a JSON object with 'format' and 'version'"
        )
    check_finite(data)
    error = min(_validator().iter_errors(data), key=_urgency, default=None)
    if error is not None:
        raise PresetError(_message(error))


def check_finite(data: Any) -> None:
    """Check that no number in parsed JSON is infinite or none, and that the depth has an end.

    Raises
    ------
    PresetError
        Names the JSON path, the value and what is allowed there.
    """
    for path, value in walk(data):
        if isinstance(value, float) and not math.isfinite(value):
            raise PresetError(
                f"{path_of(path)} is {_shown(value)}; it must be {_number(path, 'a finite number')}"
            )


def known_part(data: Any) -> tuple[Any, tuple[str, ...]]:
    """Return parsed JSON without what only a newer minor version of the format knows.

    Parameters
    ----------
    data : object
        What ``json.loads`` returned.

    Returns
    -------
    known : object
        A file that states no newer version, or is no preset, as it is.
    unknown : tuple of str
        Modules, bands and parameters that were left out: ``"eq.peak_5"``.
    """
    if not isinstance(data, dict) or not is_newer(data.get("version")):
        return data, ()
    unknown: list[str] = []

    def known(part: Any, schema: Any, path: tuple[str, ...]) -> Any:
        properties = schema.get("properties")
        if not isinstance(part, dict) or properties is None:
            return part
        kept = {}
        for key, value in part.items():
            if key in properties:
                kept[key] = known(value, properties[key], (*path, key))
            else:
                unknown.append(path_of((*path, key)).removeprefix("$."))
        return kept

    return known(data, preset_schema(), ()), tuple(unknown)


def walk(data: Any) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Go through parsed JSON from top to bottom: each value with its path.

    Raises
    ------
    PresetError
        Nested deeper than any preset.
    """
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), data)]
    while waiting:
        path, value = waiting.pop()
        yield path, value
        if len(path) == DEEPEST:
            raise PresetError(f"{path_of(path[:3])}: nested too deeply for a preset")
        steps: Iterator[tuple[str | int, Any]] = iter(())
        if isinstance(value, dict):
            steps = iter(value.items())
        elif isinstance(value, list):
            steps = iter(enumerate(value))
        waiting.extend(reversed([((*path, step), inner) for step, inner in steps]))


def path_of(steps: Sequence[str | int]) -> str:
    """Write a JSON path: ``$.eq.peak_1.gain_db``, ``$["$schema"]``, ``$.provenance.lags[2]``."""
    return "$" + "".join(f".{step}" if _is_plain(step) else f"[{_shown(step)}]" for step in steps)


def _is_plain(step: str | int) -> bool:
    return isinstance(step, str) and step.isidentifier() and len(step) <= LONGEST_KEY


@functools.lru_cache(maxsize=1)
def _validator() -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(preset_schema())


def _urgency(error: Any) -> tuple[bool, list[str]]:
    path = [str(step) for step in error.absolute_path]
    first = error.validator == "required" or path in (["format"], ["version"])
    return (not first, path)


def _version_hint(version: Any) -> str:
    """Say how a version must be written, with the version that was likely meant."""
    reads = 'this program reads versions "1.0" and up, below "2"'
    text = str(version) if isinstance(version, (str, float)) else ""
    meant = re.fullmatch(r"v?1(?:\.0*([0-9]{1,9}))?(?:\.0+)*", text[:40].strip(), re.ASCII)
    if meant is None:
        return reads
    likely = f"1.{int(meant[1] or 0)}"
    form = "text in quotes" if not isinstance(version, str) else "two numbers without leading zeros"
    return f'write it as {form}, as "{likely}"; {reads}'


def _message(error: Any) -> str:
    steps = tuple(error.absolute_path)
    path, value = path_of(steps), _shown(error.instance)
    if steps == ("version",):
        return f"{path} is {value}; {_version_hint(error.instance)}"
    if error.validator == "const":
        return f"{path} is {value}; a preset has {FORMAT!r} there"
    if error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        return f"{path}.{missing[0]} is missing; a preset needs 'format' and 'version'"
    if error.validator == "additionalProperties":
        allowed = list(error.schema["properties"])
        unknown = next(key for key in error.instance if key not in allowed)
        near = difflib.get_close_matches(unknown, allowed, n=1)
        hint = f"allowed: {', '.join(allowed)}"
        if near:
            parameter = BY_KEY.get(".".join((*steps, near[0])))
            hint = (
                f"did you mean {near[0]!r}{f' ({allowed_range(parameter)})' if parameter else ''}?"
            )
        given = _shown(error.instance[unknown])
        return f"{path_of((*steps, unknown))} ({given}) is not a key of the format; {hint}"
    if error.validator in ("minimum", "maximum"):
        return f"{path} is {value}; allowed: {allowed_range(BY_KEY['.'.join(steps)])}"
    wanted = {
        "boolean": "true or false",
        "string": "a text in quotes",
        "object": 'an object: {"key": value, ...}',
        "number": _number(steps, "a number"),
    }[error.validator_value]
    hint = ", without quotes and unit" if isinstance(error.instance, str) and steps else ""
    return f"{path} is {value}; it must be {wanted}{hint if 'number' in wanted else ''}"


def _number(steps: Sequence[str | int], kind: str) -> str:
    parameter = BY_KEY.get(".".join(map(str, steps)))
    return f"{kind}, allowed: {allowed_range(parameter)}" if parameter else kind


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def write_schema(path: Path = SCHEMA_PATH) -> None:
    """Write the schema file that is shipped; a test keeps it equal to the table."""
    path.write_text(json.dumps(preset_schema(), indent=2) + "\n", encoding="utf-8")
