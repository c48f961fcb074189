"""A module of one file, put into the chain, is in every command: nothing else knows its name."""

from __future__ import annotations

import re

import pytest

from tests.toy import run_with

SCRIPT = """
import numpy as np, soundfile, torch
torch.set_num_threads(1)
from click.testing import CliRunner
from diffconsole import Console, Predictor, Preset
from diffconsole.cli import main
from diffconsole.export import formats
from diffconsole.strip.schema import preset_schema
from tests.synthetic import voice

folder = Path(arguments[0])
raw, preset = folder / "take.wav", folder / "tilted.json"
soundfile.write(raw, voice(3.0, 1, 44100), 44100, subtype="FLOAT")
found = {}

def run(*words):
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, (words, result.output, result.exception)
    return result.output

console = Console(44100, bypass={"pan", "reverb"})
settings = {k: v.double().requires_grad_() for k, v in console.defaults(1).items()}
for name, value in (("freq_hz", 800.0), ("gain_db", 6.0)):
    settings[f"tilt.{name}"] = torch.tensor([value], dtype=torch.float64, requires_grad=True)
audio = torch.from_numpy(voice(1.0, 2, 44100))[None, None].double().requires_grad_()
plain = Console(44100, bypass={"pan", "reverb", "tilt"})(audio, settings)
tilted = console(audio, settings)
found["heard_db"] = float(20 * torch.log10((tilted - plain).norm() / plain.norm()))
(tilted ** 2).sum().backward()
found["gradients"] = [float(settings[f"tilt.{n}"].grad) for n in ("freq_hz", "gain_db")]

found["schema"] = preset_schema()["properties"]["tilt"]["properties"]["gain_db"]["maximum"]
Preset({"eq": {"peak_1": {"gain_db": 2.0}}, "tilt": {"freq_hz": 700.0, "gain_db": 5.0},
        "compressor": {}}, "tilted").write(preset)
found["file"] = json.loads(preset.read_text())
found["again"] = Preset.read(preset).to_dict()

found["shown"] = run("presets", "show", preset)
run("plot", preset, "--raw", raw, "-o", folder / "plot.svg")
run("apply", raw, preset, "-o", folder / "wet.wav", "--quiet")
run("apply", raw, preset, "--bypass", "tilt", "-o", folder / "dry.wav", "--quiet")
wet, dry = (soundfile.read(folder / f"{name}.wav")[0] for name in ("wet", "dry"))
found["bypass_db"] = float(20 * np.log10(np.std(wet - dry) / np.std(dry)))
run("plot", "--over-time", "--raw", raw, "-o", folder / "over_time.svg")
run("audition", raw, preset, "-o", folder / "page.html")
found["exports"] = {
    key: run("export", preset, "--to", key, "-o", folder / f"out_{key}{form.ending}")
    for key, form in formats().items() if key != "ir"
}
found["info"] = run("models", "info")
run("process", raw, "-o", folder / "out", "--quiet")
found["processed"] = json.loads((folder / "out" / "take.preset.json").read_text())
samples, rate = soundfile.read(raw, dtype="float32", always_2d=True)
prediction = Predictor.load().predict(samples.T, rate)
tensors = {k: torch.tensor([v], dtype=torch.float64) for k, v in prediction.settings.items()}
mixed = Console(rate)(torch.from_numpy(samples.T)[None], tensors)
found["in_python"] = [list(mixed.shape), "tilt.gain_db" in prediction.settings]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tilted")


@pytest.fixture(scope="module")
def found(folder):
    return run_with({"tilt": "eq"}, SCRIPT, folder)


def test_it_is_heard_and_has_gradients(found):
    assert found["heard_db"] > -20.0
    assert all(abs(gradient) > 0.0 for gradient in found["gradients"])
    assert found["bypass_db"] > -20.0


def test_it_stands_in_the_schema_and_a_preset_keeps_it(found):
    assert found["schema"] == 12.0
    assert found["file"]["version"] == "1.3"
    assert found["file"]["tilt"] == {"freq_hz": 700.0, "gain_db": 5.0}
    assert found["again"] == found["file"]
    assert list(found["file"]).index("tilt") == list(found["file"]).index("eq") + 1


def test_it_is_in_the_plot_and_on_the_page(found, folder):
    plot = (folder / "plot.svg").read_text("utf-8")
    assert 'id="tilt.0"' in plot
    page = (folder / "page.html").read_text("utf-8")
    assert '"tilt.gain_db"' in page


def test_every_format_carries_it_or_says_that_it_does_not(found):
    carriers = {"reaper", "csv", "markdown"}
    assert len(found["exports"]) >= 10
    for key, output in found["exports"].items():
        said = re.search(r"tilt: .*tilted by \+5\.0 dB around 700 Hz", output)
        assert bool(said) != (key in carriers), (key, output)


def test_it_is_in_the_sheet(folder, found):
    sheet = next(folder.glob("out_markdown*")).read_text("utf-8")
    assert "tilted by +5.0 dB around 700 Hz" in sheet


def test_a_model_saved_before_it_loads_and_leaves_it_off(found):
    assert "tilt" in found["info"].lower()
    processed = found["processed"]
    # With a de-esser it is 1.1; the tilt would ask for more.
    assert processed["version"] in ("1.0", "1.1")
    assert "tilt" not in processed
    assert processed["eq"]["enabled"]


def test_python_code_that_does_not_know_it_works_on(found):
    assert found["in_python"] == [[1, 2, 3 * 44100], False]
