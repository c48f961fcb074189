"""REAPER's effect with a module that came later: its code, its sliders, chains old and new."""

from __future__ import annotations

import numpy as np
import pytest

from diffconsole.export import Strip, import_preset
from diffconsole.export.effect import NUMBERS, effect_text
from diffconsole.strip.preset import find_preset
from tests.reference import error_db
from tests.synthetic import voice
from tests.toy import run_with

from .jsfx import Effect, sliders
from .test_reaper import chain_of, slider_values

RATE = 44100
LAST = max(NUMBERS.values())
TILT, FREQUENCY, GAIN = LAST + 1, LAST + 2, LAST + 3
"""Sliders of the toy: behind all that there are without it."""

EXPORT = """
import numpy as np, torch
from diffconsole import Preset
from diffconsole.console import Console
from diffconsole.export import Strip, import_preset
from diffconsole.export.effect import NUMBERS
from diffconsole.export.reaper import EFFECT, FOLDER, FORMAT
from diffconsole.strip.preset import find_preset
folder = Path(arguments[0])
audio = np.load(folder / "in.npy")
preset = find_preset("rap").without({"reverb"})
tilt = {"freq_hz": 700.0, "gain_db": 9.0}
preset = Preset({**preset.strip, "tilt": tilt}, "tilted")
strip = Strip(preset, 44100, 2)
written = FORMAT.write(strip)
(chain,) = (data for name, data in written.items() if name.endswith(".RfxChain"))
(folder / "new.RfxChain").write_bytes(chain)
(folder / "effect.jsfx").write_bytes(written[f"{FOLDER}/{EFFECT}"])
console = Console(44100, bypass=strip.off)
tensors = {k: torch.tensor([v], dtype=torch.float64) for k, v in strip.settings.items()}
with torch.inference_mode():
    out = console(torch.from_numpy(audio.astype("float64"))[None], tensors)[0]
np.save(folder / "out.npy", out.numpy())
back = import_preset(folder / "new.RfxChain")[0]
old = import_preset(folder / "old.RfxChain")[0]
print(json.dumps({
    "numbers": NUMBERS, "tilt": back.strip["tilt"], "same": back.bypass() == preset.bypass(),
    "old": ["tilt" in old.strip, "tilt" in old.bypass(), old.settings()["eq.low_shelf.gain_db"]],
    "losses": FORMAT.losses(strip), "readme": written["README.txt"].decode(),
}))
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder, what the process with a tilt says, and the audio that it was given."""
    folder = tmp_path_factory.mktemp("toy")
    audio = np.stack([voice(0.4, seed, RATE) for seed in (0, 1)])
    np.save(folder / "in.npy", audio)
    (folder / "old.RfxChain").write_text(chain_of(Strip(find_preset("rap"), RATE)), "utf-8")
    return folder, run_with({"tilt": "eq"}, EXPORT, folder), audio


def test_a_part_runs_at_its_place_in_the_chain(exported):
    folder, _, audio = exported
    text = (folder / "effect.jsfx").read_text("utf-8")
    effect = Effect(text, folder)
    values = slider_values((folder / "new.RfxChain").read_text("utf-8"))
    expected = np.load(folder / "out.npy")
    assert error_db(effect.run(audio, RATE, values), expected) < -200.0
    without = effect.run(audio, RATE, values | {TILT: 0.0})
    assert error_db(without, expected) > -20.0, "the tilt changes the sound"
    older = Effect(effect_text(), folder)
    assert np.array_equal(without, older.run(audio, RATE, values)), "off, it leaves no trace"


def test_a_switch_of_a_later_module_makes_no_click(exported):
    folder, _, _ = exported
    effect = Effect((folder / "effect.jsfx").read_text("utf-8"), folder)
    declared = sliders((folder / "effect.jsfx").read_text("utf-8"))
    off = {place: 0.0 for place, slider in declared.items() if slider[3] == "1{off,on}"}
    tone = 0.5 * np.sin(2.0 * np.pi * 300.0 / RATE * np.arange(6000))
    audio = np.stack((tone, -tone))
    values = off | {TILT: 1.0, FREQUENCY: 1000.0, GAIN: 12.0}
    output = effect.run(audio, RATE, values, changes={2000: {TILT: 0.0}, 4000: {TILT: 1.0}})
    assert np.array_equal(output[:, 2600:4000], audio[:, 2600:4000])
    steps = np.abs(np.diff(output, axis=1))
    assert steps[:, 1990:4600].max() < steps[:, 3000:4000].max() + 0.008


def test_later_modules_are_numbered_behind_all_that_was_there(exported):
    _, found, _ = exported
    assert {key: found["numbers"][key] for key in NUMBERS} == dict(NUMBERS)
    later = {key: place for key, place in found["numbers"].items() if place > LAST}
    assert later == {"tilt": TILT, "tilt.freq_hz": FREQUENCY, "tilt.gain_db": GAIN}
    # The order of versions counts, not that of the chain.
    script = "from diffconsole.export.effect import NUMBERS\nprint(json.dumps(NUMBERS))"
    both = run_with({"echo": "input_gain", "tilt": "reverb"}, script)
    assert [key for key, place in both.items() if place > LAST] == [
        "tilt", "tilt.freq_hz", "tilt.gain_db", "echo", "echo.delay_ms", "echo.level_db",
    ]  # fmt: skip
    assert {key: both[key] for key in NUMBERS} == dict(NUMBERS)


def test_a_later_module_is_off_in_a_project_that_does_not_know_it(exported):
    folder, _, audio = exported
    text = (folder / "effect.jsfx").read_text("utf-8")
    assert sliders(text)[TILT][0] == 0.0
    values = slider_values((folder / "old.RfxChain").read_text("utf-8"))
    values |= {NUMBERS["reverb"]: 0.0}
    newer, older = (Effect(one, folder).run(audio, RATE, values) for one in (text, effect_text()))
    assert np.array_equal(newer, older)


def test_chains_are_read_by_older_and_newer_versions(exported):
    folder, found, _ = exported
    assert found["tilt"] == {"enabled": True, "freq_hz": 700.0, "gain_db": 9.0} or found[
        "tilt"
    ] == {"freq_hz": 700.0, "gain_db": 9.0}
    assert found["same"]
    assert found["old"] == [False, True, find_preset("rap").settings()["eq.low_shelf.gain_db"]]
    # Read here, where there is no tilt.
    back, _ = import_preset(folder / "new.RfxChain")
    assert (
        back.settings()["eq.low_shelf.gain_db"]
        == find_preset("rap").settings()["eq.low_shelf.gain_db"]
    )
    assert back.provenance["import"] == [
        f"slider {place}: of a later version of the effect; left out"
        for place in (TILT, FREQUENCY, GAIN)
    ]
    assert found["losses"] == []


MANY = """
from dataclasses import replace
from diffconsole.strip import chain
from diffconsole.strip.parameter import Parameter
from tests.toy.tilt import TILT
more = tuple(Parameter("many", f"gain_{n}_db", "dB", -1.0, 1.0, "linear", 0.0, "A gain", 0.0)
             for n in range(20))
part = [replace(p, section="many") for p in TILT.parameters]
insert(replace(TILT, key="many", title="Many", parameters=(*part, *more), since=3), after="tilt")
from diffconsole import Preset
from diffconsole.export import Strip, import_preset
from diffconsole.export.effect import effect_text
from diffconsole.export.reaper import FORMAT
file = Path(arguments[0]) / "many.RfxChain"
written = FORMAT.write(Strip(Preset({"many": {"gain_19_db": 0.5}})))
(data,) = (data for name, data in written.items() if name.endswith(".RfxChain"))
file.write_bytes(data)
back = import_preset(file)[0]
print(json.dumps([written["README.txt"].decode(), back.strip["many"]["gain_19_db"]]))
"""


def test_with_more_than_64_sliders_the_chain_has_256(tmp_path):
    readme, value = run_with({"tilt": "eq"}, MANY, tmp_path)
    lines = (tmp_path / "many.RfxChain").read_text("utf-8").splitlines()
    values = lines[2].split()
    assert len(values) == 256
    # Behind the tilt's, its switch and two parameters more.
    assert values[GAIN + 3 + 20 - 1] == "0.5" and set(values[GAIN + 3 + 20 :]) == {"-"}
    assert value == 0.5
    assert (
        "REAPER 6.74 or later" in readme
        and "holds the whole strip: input gain, gate, EQ, tilt" in readme
    )
