"""A module that no exporter was written for: said in its own words, and nothing else changes."""

from __future__ import annotations

import hashlib

import pytest

from diffconsole.export import formats
from diffconsole.export.base import Strip
from diffconsole.strip.preset import find_preset

from ..new_module import run_each_with_tilt

SCRIPT = """
from hashlib import sha256
from diffconsole.cli.common import in_words
from diffconsole.export import export_preset, formats, import_preset
from diffconsole.export.base import Strip
from diffconsole.export.sheet import in_a_sentence, rows
from diffconsole.strip.preset import Preset, find_preset

pop = find_preset("lead_vocal_pop")
settings = {**pop.settings(), "tilt.freq_hz": 800.0, "tilt.gain_db": 3.0}
tilted = Preset.from_settings(settings, bypass=pop.bypass() - {"tilt"}, name=pop.name)
said = {
    "short": in_words(tilted),
    "sentence": in_a_sentence(Strip(tilted)),
    "rows": [list(vars(row).values()) for row in rows(Strip(tilted)) if row.key[:4] == "tilt"],
    "formats": {},
}
for form in formats().values():
    found = {"carried": any(m.key == "tilt.gain_db" for m in form.mapped)}
    found["losses"] = form.losses(Strip(tilted, at_rate=form.at_rate))
    found["losses_without"] = form.losses(Strip(pop, at_rate=form.at_rate))
    for name, preset in (("with", tilted), ("without", pop)):
        files = form.write(Strip(preset, at_rate=form.at_rate))
        found[name] = {name: sha256(data).hexdigest() for name, data in files.items()}
    if form.read is not None:
        path = f"{form.key}{form.ending}"
        export_preset(tilted, form.key, path)
        back, _ = import_preset(path, form.key)
        found["back"] = [back.settings()["tilt.gain_db"], "tilt" in back.bypass()]
    said["formats"][form.key] = found
print(json.dumps(said))
"""
WORDLESS = """
import os
os.mkdir("wordless")
os.chdir("wordless")
from dataclasses import replace
chain.CHAIN = tuple(
    replace(module, sentence=None) if module.key == "tilt" else module for module in chain.CHAIN
)
"""
SENTENCE = "tilted by +3.0 dB around 800 Hz"
SHEETS = ("csv", "markdown")


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    scripts = {"said": SCRIPT, "wordless": WORDLESS + SCRIPT}
    return run_each_with_tilt(tmp_path_factory.mktemp("tilt"), "", scripts)


@pytest.fixture(scope="module")
def said(printed):
    return printed["said"]


def test_every_format_carries_it_or_leaves_it_out_in_its_own_words(said):
    assert set(said["formats"]) == set(formats())
    for key, found in said["formats"].items():
        about = [line for line in found["losses"] if line.startswith("tilt")]
        if found["carried"]:
            assert not any("is left out" in line for line in about), key
        else:
            assert about == [f"tilt: is left out ({SENTENCE})"], key
        assert not any(line.startswith("tilt") for line in found["losses_without"]), key
    assert all(said["formats"][key]["carried"] for key in SHEETS)
    assert not said["formats"]["ffmpeg"]["carried"]


def test_what_is_read_back_has_it_or_has_it_off(said):
    for key, found in said["formats"].items():
        if "back" in found:
            assert found["back"] in ([3.0, False], [0.0, True]), key
    assert said["formats"]["csv"]["back"] == [3.0, False]
    # Its settings stand in the script's dictionary, though nothing plays them.
    assert said["formats"]["pedalboard"]["back"] == [3.0, False]
    assert said["formats"]["sox"]["back"] == [0.0, True]


def test_files_of_a_strip_without_it_are_the_same_bytes(said):
    preset = find_preset("lead_vocal_pop")
    for key, form in formats().items():
        found = said["formats"][key]
        if found["carried"]:
            continue
        files = form.write(Strip(preset, at_rate=form.at_rate))
        assert found["without"] == {n: hashlib.sha256(d).hexdigest() for n, d in files.items()}, key


@pytest.mark.parametrize("key", ["lv2", "sox", "equalizerapo", "ir"])
def test_what_is_played_does_not_change_with_it(said, key):
    assert said["formats"][key]["with"] == said["formats"][key]["without"]


def test_the_sheet_and_the_terminal_name_it(said):
    assert f", {SENTENCE}, 4:1 above −26 dBFS" in said["sentence"]
    assert f", {SENTENCE}, compressor 4.0:1" in said["short"]
    frequency, gain = said["rows"]
    assert frequency == [
        "Tilt", "frequency", "800", "Hz", "Pivot of the tilt", "tilt.freq_hz", "800",
    ]  # fmt: skip
    assert gain[:4] == ["Tilt", "gain", "3.0", "dB"]


def test_without_words_of_its_own_its_values_are_named(printed):
    said = printed["wordless"]
    assert ", tilt (frequency 800 Hz, gain +3.0 dB), 4:1 above" in said["sentence"]
    assert ", tilt (800 Hz, +3.0 dB), compressor" in said["short"]
    losses = said["formats"]["ffmpeg"]["losses"]
    assert "tilt: is left out (tilt (frequency 800 Hz, gain +3.0 dB))" in losses
