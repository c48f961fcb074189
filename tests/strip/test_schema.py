"""The schema: the shipped file, the example, and that it says what the table says."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import settings as configure

from diffconsole import Preset
from diffconsole.errors import PresetError
from diffconsole.strip.later import LATER
from diffconsole.strip.parameters import BY_KEY, EQ_BANDS, MODULES, PARAMETERS, default_settings
from diffconsole.strip.schema import (
    SCHEMA_ID,
    SCHEMA_PATH,
    check,
    path_of,
    preset_schema,
    walk,
    write_schema,
)

from .. import strategies

# The format's own example: it must stay valid for every version 1.x.
EXAMPLE = """
{
  "$schema": "channel-strip-1.schema.json",
  "format": "diffconsole.channel-strip",
  "version": "1.0",
  "name": "lead vocal, warm",
  "input_gain": {"gain_db": 3.0},
  "eq": {
    "enabled": true,
    "high_pass": {"enabled": true, "freq_hz": 90.0, "q": 0.71},
    "low_shelf": {"freq_hz": 180.0, "gain_db": -2.5, "q": 0.71},
    "peak_1": {"freq_hz": 320.0, "gain_db": -3.0, "q": 1.4},
    "peak_2": {"freq_hz": 900.0, "gain_db": 0.0, "q": 1.0},
    "peak_3": {"freq_hz": 3000.0, "gain_db": 2.0, "q": 0.9},
    "peak_4": {"freq_hz": 7500.0, "gain_db": 0.0, "q": 1.0},
    "high_shelf": {"freq_hz": 10000.0, "gain_db": 3.0, "q": 0.71},
    "low_pass": {"enabled": false, "freq_hz": 18000.0, "q": 0.71}
  },
  "compressor": {"enabled": true, "threshold_db": -22.0, "ratio": 3.3, "attack_ms": 3.0,
    "release_ms": 120.0, "knee_db": 6.0, "makeup_db": 2.0},
  "pan": {"position": 0.0},
  "reverb": {"enabled": true, "pre_delay_ms": 20.0, "decay_s": 1.8, "low_ratio": 0.9,
    "high_ratio": 0.6, "low_cut_hz": 200.0, "high_cut_hz": 9000.0, "width": 1.0, "wet_db": -18.0},
  "output_gain": {"gain_db": 0.0},
  "provenance": {"model": "…", "source": "raw.wav", "created": "…", "diffconsole": "0.1.0"}
}
"""


def _section(schema: dict, name: str) -> dict:
    for part in name.split("."):
        schema = schema["properties"][part]
    return schema


def test_the_shipped_file_is_generated_from_the_table(tmp_path: Path):
    assert json.loads(SCHEMA_PATH.read_text(encoding="utf-8")) == preset_schema()
    write_schema(tmp_path / "s.json")
    assert (tmp_path / "s.json").read_bytes() == SCHEMA_PATH.read_bytes()


def test_it_is_a_valid_schema_of_draft_2020_12():
    schema = preset_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == SCHEMA_ID == SCHEMA_PATH.name
    jsonschema.Draft202012Validator.check_schema(schema)


def test_the_formats_example_is_valid_and_is_read_as_it_stands():
    jsonschema.validate(json.loads(EXAMPLE), preset_schema())
    preset = Preset.from_json(EXAMPLE)
    assert json.loads(preset.to_json()) == json.loads(EXAMPLE)
    assert preset.bypass() == {"eq.low_pass", *LATER}
    # The design's defaults are the example's frequencies, compressor and reverb; gains are 0.
    found, default = preset.settings(), default_settings()
    for key, value in found.items():
        if BY_KEY[key].name != "gain_db" and key not in ("eq.peak_1.q", "eq.peak_3.q"):
            assert value == default[key], key


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: p.key)
def test_every_parameter_is_there_with_range_default_and_unit(parameter):
    entry = _section(preset_schema(), parameter.section)["properties"][parameter.name]
    assert (entry["minimum"], entry["maximum"]) == (parameter.low, parameter.high)
    assert entry["default"] == parameter.default
    assert entry["type"] == "number"
    assert parameter.meaning in entry["description"]
    assert parameter.unit in entry["description"]


def test_nothing_else_is_there():
    schema = preset_schema()
    assert set(schema["properties"]) == {
        "$schema", "format", "version", "name", "provenance", *MODULES,
    }  # fmt: skip
    assert schema["required"] == ["format", "version"]
    sections = {p.section for p in PARAMETERS} | {"eq"}
    for name in sections:
        section = _section(schema, name)
        expected = {p.name for p in PARAMETERS if p.section == name} | {"enabled"}
        expected |= set(EQ_BANDS) if name == "eq" else set()
        assert set(section["properties"]) == expected
        assert section["additionalProperties"] is False


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: p.key)
def test_both_ends_of_a_range_are_allowed_and_nothing_beyond(parameter):
    def data(value: float) -> dict:
        inner: dict = {parameter.name: value}
        for part in reversed(parameter.section.split(".")):
            inner = {part: inner}
        return {"format": "diffconsole.channel-strip", "version": "1.0", **inner}

    check(data(parameter.low))
    check(data(parameter.high))
    span = parameter.high - parameter.low
    for value in (parameter.low - 1e-6 * span, parameter.high + 1e-6 * span):
        with pytest.raises(PresetError, match=rf"\$\.{parameter.key} is .*; allowed: "):
            check(data(value))


@configure(max_examples=30, deadline=None)
@given(preset=strategies.presets())
def test_every_preset_that_is_written_fits_the_shipped_schema(preset: Preset):
    jsonschema.Draft202012Validator(json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))).validate(
        json.loads(preset.to_json())
    )


def test_format_and_version_are_told_before_anything_else():
    with pytest.raises(PresetError, match=r"^\$\.version is \"3\.0\""):
        check({"format": "diffconsole.channel-strip", "version": "3.0", "eq": 1, "aaa": 2})
    with pytest.raises(PresetError, match=r"^\$\.format is missing"):
        check({"version": "1.0", "aaa": 2})


def test_paths_are_json_paths():
    assert path_of(()) == "$"
    assert path_of(("eq", "peak_1", "q")) == "$.eq.peak_1.q"
    assert path_of(("$schema",)) == '$["$schema"]'
    assert path_of(("provenance", "a b", 2)) == '$.provenance["a b"][2]'


def test_the_walk_goes_from_top_to_bottom():
    data = {"a": [1, {"b": 2}], "c": 3}
    assert [path for path, _ in walk(data)] == [
        (), ("a",), ("a", 0), ("a", 1), ("a", 1, "b"), ("c",),
    ]  # fmt: skip
