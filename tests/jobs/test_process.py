"""Where results go, and that nothing is left where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from diffconsole.errors import OutputError, SettingsError
from diffconsole.jobs.options import AudioOptions
from diffconsole.jobs.process import (
    apply_file,
    plan_presets,
    plan_takes,
    predict_file,
    process_take,
    split_bypass,
)
from diffconsole.simplify import comparison
from diffconsole.strip.parameters import SWITCHES
from diffconsole.strip.preset import Preset

from ..commands import contents
from ..synthetic import RATE, small_model, voice


def test_names_beside_the_take_and_in_a_folder(tmp_path):
    raw = tmp_path / "a.b.flac"
    (beside,) = plan_takes([raw], None, False)
    assert [p.name for p in (beside.preset, beside.audio, beside.plot, beside.page)] == [
        "a.b.preset.json",
        "a.b.processed.wav",
        "a.b.png",
        "a.b.html",
    ]
    assert {p.parent for p in vars(beside).values()} == {tmp_path}
    (inside,) = plan_takes([raw], tmp_path / "out", False)
    assert {p.parent for p in (inside.preset, inside.audio, inside.plot, inside.page)} == {
        tmp_path / "out"
    }
    assert contents(tmp_path) == {}  # planning makes nothing


def test_several_takes_keep_their_order(tmp_path):
    raws = [tmp_path / f"{name}.wav" for name in "cab"]
    assert [take.raw for take in plan_takes(raws, tmp_path, False)] == raws
    assert list(plan_presets(raws, tmp_path / "new", False)) == raws


def test_the_same_take_twice_is_refused(tmp_path):
    raw = tmp_path / "a.wav"
    for plan in (plan_takes, plan_presets):
        with pytest.raises(OutputError, match="would both write"):
            plan([raw, raw], tmp_path, True)


def test_one_take_and_a_folder_that_exists(tmp_path):
    raw = Path("take.wav")
    assert plan_presets([raw], tmp_path, False) == {raw: tmp_path / "take.preset.json"}
    assert plan_presets([raw], tmp_path / "x", False) == {raw: tmp_path / "x"}


@pytest.mark.parametrize("ending", ["preset.json", "processed.wav", "png"])
def test_each_result_that_exists_counts(tmp_path, ending):
    (tmp_path / f"take.{ending}").write_text("mine")
    with pytest.raises(OutputError, match=rf"take\.{ending}: exists already; add --force"):
        plan_takes([tmp_path / "take.wav"], tmp_path, False)
    assert len(plan_takes([tmp_path / "take.wav"], tmp_path, True)) == 1


def test_names_to_bypass():
    assert split_bypass("") == ()
    assert split_bypass(" eq , reverb,") == ("eq", "reverb")
    assert split_bypass(",".join(SWITCHES)) == SWITCHES
    with pytest.raises(
        SettingsError, match=r"'EQ': not one of input_gain, gate, eq, eq\.high_pass"
    ):
        split_bypass("EQ")
    with pytest.raises(SettingsError, match=r"; did you mean 'compressor'\?$"):
        split_bypass("reverb,compresor")


def test_what_was_wrong_with_a_take_is_a_notice_and_in_the_preset(tmp_path):
    raw = tmp_path / "take.wav"
    sung = voice(3.0, 1) + np.float32(0.1)
    sung[40000] = 1e4
    sides = np.stack((sung, np.zeros_like(sung)), axis=1)
    soundfile.write(raw, sides, RATE, subtype="FLOAT")
    preset, notices = predict_file(small_model(3), "small", raw)
    expected = [
        "sample 40000 (0.907 s) reaches +80.0 dBFS, far above everything around it; the settings "
        "ignore it, repair it in an editor",
        "the file has a DC offset of 0.1; the settings ignore it",
        "only the left channel carries the vocal",
    ]
    assert list(notices) == [f"{raw}: {line}" for line in expected]
    assert preset.provenance["take"] == expected
    soundfile.write(raw, voice(3.0, 1), RATE, subtype="FLOAT")
    preset, notices = predict_file(small_model(3), "small", raw)
    assert notices == ()
    assert "take" not in preset.provenance


@pytest.mark.parametrize("seconds", [3.0, 9.0])
@pytest.mark.parametrize(
    "options", [{}, {"amount": 0.5}, {"bypass": ("eq.low_shelf",)}, {"tail_seconds": 0.1}]
)
def test_the_audio_is_what_apply_makes_of_the_preset_byte_by_byte(
    tmp_path, monkeypatch, seconds, options
):
    """Also where the search for the simplest strip has applied it already."""
    raw = tmp_path / "take.wav"
    soundfile.write(raw, voice(seconds, 1), RATE, subtype="FLOAT")
    applied = []
    checked = comparison.Comparison.checked

    def counted(self, settings, off):
        applied.append(self.vocal is not None)
        return checked(self, settings, off)

    monkeypatch.setattr(comparison.Comparison, "checked", counted)
    (take,) = plan_takes([raw], tmp_path, False, plot=False, page=False)
    process_take(small_model(3), "small", take, AudioOptions(**options))
    assert applied and all(applied) == ("amount" not in options)
    again = tmp_path / "again.wav"
    tail = {k: v for k, v in options.items() if k == "tail_seconds"}
    apply_file(raw, Preset.read(take.preset), again, AudioOptions(**tail))
    assert again.read_bytes() == take.audio.read_bytes()
