"""export and import, as people call them."""

from __future__ import annotations

import json

import pytest

from diffconsole import Preset
from diffconsole.export import formats
from diffconsole.strip.preset import find_preset

from ..commands import call, contents


def test_the_list_shows_formats_figures_and_losses():
    result = call("export", "--list")
    assert result.exit_code == 0
    for form in formats().values():
        assert form.key in result.stdout
        assert form.title in result.stdout
        for figure in form.figures:
            assert str(figure) in result.stdout
        for words in form.lost.values():
            assert words in result.stdout
    rows = json.loads(call("export", "--list", "--json").stdout)["formats"]
    assert [row["format"] for row in rows] == list(formats())
    ir = next(row for row in rows if row["format"] == "ir")
    assert ir["writes"] == ".wav"
    assert ir["figures"]["reverb's return"] <= -120.0


def test_export_says_what_does_not_carry_over(tmp_path):
    out = tmp_path / "eq.txt"
    result = call("export", "lead_vocal_pop", "--to", "equalizerapo", "-o", out)
    assert result.exit_code == 0
    notes = [line for line in result.stderr.splitlines() if line.startswith("Note: ")]
    assert any(line.startswith("Note: compressor: ") for line in notes)
    assert any(line.startswith("Note: reverb: ") for line in notes)
    assert f"→ {out}" in result.stderr
    data = json.loads(
        call("export", "rap", "--to", "equalizerapo", "-o", tmp_path / "b.txt", "--json").stdout
    )
    assert data["format"] == "equalizerapo"
    assert data["files"] == [str(tmp_path / "b.txt")]
    assert any("compressor" in line for line in data["losses"])


def test_there_and_back(tmp_path):
    out, back = tmp_path / "eq.txt", tmp_path / "back.json"
    assert call("export", "telephone", "--to", "equalizerapo", "-o", out).exit_code == 0
    assert call("import", out, "-o", back).exit_code == 0
    read, there = Preset.read(back).settings(), find_preset("telephone").settings()
    assert read["eq.peak_3.gain_db"] == pytest.approx(there["eq.peak_3.gain_db"], abs=1e-3)
    assert "Error" in call("import", out, "-o", back).stderr  # it exists
    assert call("import", out, "--from", "equalizerapo", "-o", back, "--force").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("export",), 2, "give PRESET, --to FORMAT and -o PATH; or --list"),
        (("export", "rap", "--to", "ir"), 2, "give PRESET"),
        (("export", "rap", "--to", "protools", "-o", "x"), 1, "no format 'protools'; there are "),
        (("export", "nothing", "--to", "ir", "-o", "x.wav"), 1, "nothing"),
        (("export", "rap", "--to", "ir", "-o", "x.wav", "--sample-rate", "8000"), 2, "8000"),
        (("import", "nothing.txt", "-o", "x.json"), 1, "nothing.txt: no such file or folder"),
        (("import", "nothing.txt"), 2, "--output"),
    ],
)
def test_wrong_use_is_one_line(arguments, code, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.exit_code == code
    assert words in result.stderr
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.splitlines()) == 1
    assert contents(tmp_path) == {}


def test_the_rate_is_the_files(tmp_path):
    import soundfile

    for rate in ("44100", "96000"):
        out = tmp_path / f"{rate}.wav"
        assert call("export", "ballad_plate", "--to", "ir", "-o", out, "--sample-rate", rate)
        assert soundfile.info(out).samplerate == int(rate)
