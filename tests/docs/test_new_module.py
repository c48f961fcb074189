"""The example of a module in the documentation works as it is printed, and gets a section."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from diffconsole.docs.modules import amounts, chain, functions, modules, other_modules, own_page
from diffconsole.strip.parameters import CHAIN

from ..new_module import ROOT, run_with_tilt

SCRIPT = """
from diffconsole.console import Console
from diffconsole.docs import figures, modules, tables
from diffconsole.strip.parameters import BY_KEY, CHAIN, PARAMETERS, SWITCHES
from diffconsole.strip.preset import Preset, find_preset
from tilt.module import curve, process

module = next(m for m in CHAIN if m.key == "tilt")
console = Console(48000, bypass=set(SWITCHES) - {"tilt"})
impulse = torch.zeros(1, 1, 24000, dtype=torch.float64)
impulse[..., 0] = 1.0
responses = []
for freq_hz, gain_db in ((100.0, -12.0), (800.0, 3.0), (5000.0, 12.0)):
    settings = {"tilt.freq_hz": torch.tensor([freq_hz]).double(),
                "tilt.gain_db": torch.tensor([gain_db]).double()}
    shown = curve(48000, {"freq_hz": freq_hz, "gain_db": gain_db}, frozenset())
    z = torch.exp(-2j * torch.pi * torch.from_numpy(shown.x)[:, None] / 48000 * torch.arange(24000))
    heard = (console(impulse, settings)[0, 0] * z).sum(dim=-1).abs()
    responses.append([shown.x.tolist(), shown.lines["gain"].tolist(),
                      (20.0 * heard.log10()).tolist()])

gradients = []
audio = torch.randn(2, 1, 2000, dtype=torch.float64, requires_grad=True)
for end in ("low", "high"):
    settings = {p.key: torch.full((2,), getattr(p, end), dtype=torch.float64, requires_grad=True)
                for p in module.parameters}
    console(audio, settings).square().sum().backward()
    gradients += [float(s.grad.abs().min()) for s in settings.values()]
gradients.append(float(audio.grad.abs().max()))

pop = find_preset("lead_vocal_pop")
settings = {**pop.settings(), "tilt.freq_hz": 800.0, "tilt.gain_db": 3.0}
Preset.from_settings(settings, bypass=pop.bypass() - {"tilt"}, name="tilted").write("tilted.json")
print(json.dumps({
    "responses": responses, "gradients": gradients, "section": modules.other_modules(),
    "chain": modules.chain(), "modules": tables.modules(), "amounts": tables.amounts(),
    "figure": figures.draw_all()["tilt"].decode(),
}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tilt")


@pytest.fixture(scope="module")
def found(folder):
    return run_with_tilt(folder, SCRIPT)


def test_the_console_makes_what_the_curve_shows(found):
    for _, shown, heard in found["responses"]:
        np.testing.assert_allclose(heard, shown, atol=1e-6)
    x, shown, _ = map(np.array, found["responses"][1])
    assert np.interp(800.0, x, shown) == pytest.approx(0.0, abs=0.01)
    assert shown[0] == pytest.approx(-1.5, abs=0.01)
    assert shown[-1] == pytest.approx(1.5, abs=0.02)


def test_gradients_reach_audio_and_settings_at_both_ends(found):
    assert np.isfinite(found["gradients"]).all()
    assert min(found["gradients"]) > 0.0


def test_the_strips_page_has_a_section_for_it(found):
    section = found["section"]
    assert section.startswith("## Tilt {: #module-tilt }\n\nA tilt around a frequency: ")
    assert "![Curve of the module](../figures/tilt.svg)" in section
    assert "*With freq_hz 800 Hz, gain_db +6.0 dB.*" in section
    assert "> Generated when the site is built: parameters: tilt." in section
    assert section.endswith("::: tilt.module.process")
    assert "<svg" in found["figure"]
    assert (
        "| [Tilt](#module-tilt) | `tilt` | in the signal, one after the other |"
        in (found["modules"])
    )
    before = "EQ → tilt → compressor → compressor 2 → de-esser → saturation"
    assert f"{before} ─┬─► pan" in found["chain"]
    assert (
        "EQ `gain_db`; Tilt `gain_db`; Compressor `makeup_db`; Compressor 2 `makeup_db`"
        in found["amounts"]
    )


def test_the_command_that_tries_it_out(found, folder):
    def tried(*words: str) -> str:
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, "try_tilt.py", *words], cwd=folder,
            env={**os.environ, "PYTHONPATH": path, "PYTHONUTF8": "1"},
            capture_output=True, text=True, encoding="utf-8",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    tried("plot", "tilted.json", "-o", "tilted.png")
    assert (folder / "tilted.png").stat().st_size > 0
    said = tried("export", "tilted.json", "--to", "sox", "-o", "tilted.sh")
    assert "tilt: is left out (tilted by +3.0 dB around 800 Hz)" in said


def test_every_module_of_the_chain_has_a_page():
    pages = [own_page(module) for module in CHAIN]
    assert pages == [
        "gain.md", "gate.md", "equalizer.md", "compressor.md", "compressor_2.md", "deesser.md",
        "saturation.md", "pan.md", "delay.md", "reverb.md", "gain.md",
    ]  # fmt: skip
    assert other_modules() == ""
    assert [row[0] for row in modules()][:2] == ["[Input gain](gain.md)", "[Gate](gate.md)"]


def test_the_drawing_of_the_chain_is_closed():
    lines = chain().splitlines()[1:-1]
    assert lines == [
        "input gain → gate → EQ → compressor → compressor 2 → de-esser → saturation "
        "─┬─► pan of the dry signal ────┬─► output gain",
        " " * 76 + "├─► delay (send and return) ──┤",
        " " * 76 + "└─► reverb (send and return) ─┘",
    ]


def test_each_function_of_the_contract_stands_in_the_table():
    table = dict(functions())
    assert "`process(audio, sample_rate, **settings)`" in table
    assert {name.partition("(")[0].strip("`") for name in table} >= {
        "process", "run", "stream", "memory_seconds", "tail_samples", "curve",
    }  # fmt: skip
    used = {name for module in CHAIN for name in getattr(module.code(), "__all__", ())}
    assert used <= {name.partition("(")[0].strip("`") for name in table}


def test_each_setting_that_the_amount_scales_stands_once():
    table = {words: settings for settings, words in amounts()}
    assert table["multiplied by $a$"] == (
        "Input gain `gain_db`; Gate `range_db`; EQ `gain_db`; Compressor `makeup_db`; "
        "Compressor 2 `makeup_db`; De-esser `range_db`; Saturation `drive_db`; Pan `position`; "
        "Output gain `gain_db`"
    )
    assert "EQ `high_pass.q`, `low_pass.q`" in table.values()
    assert (
        "Gate `threshold_db`; Compressor `threshold_db`; Compressor 2 `threshold_db`"
        in table.values()
    )
    moved = {p.amount for module in CHAIN for p in module.parameters} - {"keep"}
    assert len(amounts()) == len(moved) + 2
