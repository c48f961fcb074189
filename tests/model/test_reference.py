"""Towards other vocals: the settings follow the reference's sound, the result its loudness."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from diffconsole.audio import loudness_lufs
from diffconsole.console.render import render
from diffconsole.encoders.logmel import LogMelEncoder
from diffconsole.errors import AudioError, ModelError, SettingsError
from diffconsole.model.predictor import Predictor
from diffconsole.model.reference.descent import Descent
from diffconsole.model.reference.prediction import (
    Reference,
    References,
    StylePrediction,
    predict_towards,
    read_references,
    style_of,
)
from diffconsole.strip.parameters import PARAMETERS
from diffconsole.strip.preset import Preset

from ..commands import done, refused
from ..synthetic import RATE, small_model, voice

FEW = 2
"""Steps of the descent: more change nothing of what is asserted here."""

GAINS = ("input_gain.gain_db", "output_gain.gain_db")


@pytest.fixture(scope="module")
def model() -> Predictor:
    """Untrained, with a second head that answers differently for different references."""
    torch.manual_seed(5)
    encoder = LogMelEncoder(widths=(16, 16, 16), features=8, mels=16, n_fft=1024, window=1024)
    model = Predictor(encoder, hidden=16, has_style=True).eval()
    assert model.style is not None
    with torch.no_grad():
        model.style.log_variance.bias.fill_(-4.0)
    return model


@pytest.fixture(scope="module")
def take() -> np.ndarray:
    return voice(3.0, 1)[None]


def reference(seed: int, weight: float = 1.0, gain: float = 1.0) -> Reference:
    """Two sides of a voice, one duller than the other."""
    mono = voice(3.0, seed)
    dull = np.convolve(mono, np.ones(1 + 4 * seed) / (1 + 4 * seed), mode="same")
    both = np.stack((dull, 0.9 * dull)).astype(np.float32) * np.float32(gain)
    return Reference(f"song {seed}", both, RATE, weight)


def result_lufs(take: np.ndarray, settings: dict[str, float]) -> float:
    """Per channel."""
    made = render(take, RATE, Preset.from_settings(settings), tail_seconds=0.0).samples
    return loudness_lufs(made, RATE) - 10.0 * math.log10(len(made))


def test_the_result_is_as_loud_as_the_references(model, take) -> None:
    for gain in (0.25, 1.0):
        towards = [reference(2, gain=gain)]
        settings = predict_towards(model, take, RATE, towards, steps=FEW).settings
        assert result_lufs(take, settings) == pytest.approx(towards[0].level[1], abs=0.1)
    pair = [reference(2, 3.0), reference(3, 1.0, 0.5)]
    wanted = 0.75 * pair[0].level[1] + 0.25 * pair[1].level[1]
    settings = predict_towards(model, take, RATE, pair, steps=FEW).settings
    assert result_lufs(take, settings) == pytest.approx(wanted, abs=0.1)


def test_levels_change_gains_only(model, take) -> None:
    """A quieter take gets more input gain, a quieter reference less output gain."""
    plain = predict_towards(model, take, RATE, [reference(2)], steps=FEW).settings
    soft = predict_towards(model, take * np.float32(0.25), RATE, [reference(2)], steps=FEW).settings
    low = predict_towards(model, take, RATE, [reference(2, gain=0.25)], steps=FEW).settings
    twelve_db = 20.0 * math.log10(4.0)
    assert soft[GAINS[0]] - plain[GAINS[0]] == pytest.approx(twelve_db, abs=1e-3)
    assert low[GAINS[1]] - plain[GAINS[1]] == pytest.approx(-twelve_db, abs=1e-3)
    for key in plain:
        if key not in GAINS:
            assert soft[key] == pytest.approx(plain[key], rel=1e-3, abs=1e-3)
            assert low[key] == pytest.approx(plain[key], rel=1e-3, abs=1e-3)


def test_another_reference_is_another_strip_and_another_vocal_too(model, take) -> None:
    first, other = (
        predict_towards(model, take, RATE, [reference(n)], steps=FEW).settings for n in (2, 4)
    )
    assert max(abs(first[k] - other[k]) for k in first if k not in GAINS) > 0.05
    again = predict_towards(model, take, RATE, [reference(2)], steps=FEW).settings
    assert again == first
    elsewhere = predict_towards(
        model, voice(3.0, 9)[None], RATE, [reference(2)], steps=FEW
    ).settings
    assert max(abs(first[k] - elsewhere[k]) for k in first if k not in GAINS) > 0.01


def test_styles_are_averaged_by_weight(model) -> None:
    one, two = reference(2), reference(4)
    alone = [style_of(model, [r]) for r in (one, two)]
    both = style_of(model, [reference(2, 3.0), reference(4, 1.0)])
    torch.testing.assert_close(both, 0.75 * alone[0] + 0.25 * alone[1])
    assert torch.equal(style_of(model, [reference(2, 7.0)]), alone[0])


def test_a_saved_model_keeps_its_second_head(model, take, tmp_path: Path) -> None:
    model.save(tmp_path / "model", {})
    again = Predictor.load(tmp_path / "model")
    a, b = (
        predict_towards(m, take, RATE, [reference(2)], steps=0).settings for m in (model, again)
    )
    assert all(b[key] == pytest.approx(a[key], rel=2e-2, abs=2e-2) for key in a)


def test_a_model_without_it_says_what_to_do(take) -> None:
    with pytest.raises(ModelError, match="cannot follow a reference.*leave --model out"):
        predict_towards(small_model(), take, RATE, [reference(2)])


def test_references_that_are_none(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "good.wav", voice(1.0), RATE)
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    good = tmp_path / "good.wav"
    with pytest.raises(AudioError, match=r"silent.wav: as a reference, the vocal is silent"):
        read_references([good, tmp_path / "silent.wav"])
    with pytest.raises(AudioError, match=r"gone.wav"):
        read_references([tmp_path / "gone.wav"])
    with pytest.raises(SettingsError, match="2 weights for 1 reference;"):
        read_references([good], [1.0, 2.0])
    for weight in (0.0, -1.0, 1e308, math.inf, math.nan):
        with pytest.raises(SettingsError, match="weight is"):
            read_references([good], [weight])


def module_of(key: str) -> str:
    return key.split(".")[0]


def test_each_aspect_follows_its_own_references(model, take) -> None:
    """Tone of one, dynamics of the other, and the space of none."""
    one, two = reference(2), reference(4)

    def towards(**weights: tuple[float, float]) -> StylePrediction:
        weighted = [
            Reference(r.name, r.samples, RATE, 1.0, (), {k: w[i] for k, w in weights.items()})
            for i, r in enumerate((one, two))
        ]
        return predict_towards(model, take, RATE, weighted, steps=0)

    alone = [predict_towards(model, take, RATE, [r], steps=0).settings for r in (one, two)]
    without = model.predict(take, RATE).settings
    found = towards(tone=(1.0, 0.0), dynamics=(0.0, 2.0), space=(0.0, 0.0))
    assert found.style["aspects"] == ["tone", "dynamics"]
    expected = {"eq": alone[0], "compressor": alone[1], "reverb": without}
    for key, value in found.settings.items():
        if module_of(key) in expected:
            assert value == pytest.approx(expected[module_of(key)][key], rel=1e-5, abs=1e-5), key
    assert alone[0]["eq.peak_2.gain_db"] != pytest.approx(alone[1]["eq.peak_2.gain_db"], abs=1e-3)
    both = towards(dynamics=(1.0, 1.0)).settings
    plain = predict_towards(model, take, RATE, [one, two], steps=0).settings
    assert both == plain


def test_switches_are_those_of_the_settings(model, take) -> None:
    """How likely each is on: the first head's calibration where nothing is followed."""
    model = copy.deepcopy(model)
    model.head.switch_line = model.head.switch_line + 0.01
    model.style.switch_line = model.style.switch_line + 0.5
    plain = model.predict(take, RATE).switches
    off = {"space": 0.0}
    towards = Reference("one", reference(2).samples, RATE, 1.0, (), off)
    found = predict_towards(model, take, RATE, [towards], steps=0).switches
    styled = predict_towards(model, take, RATE, [reference(2)], steps=0).switches
    assert found["reverb"] == pytest.approx(plain["reverb"], abs=1e-4)
    assert found["reverb"] != pytest.approx(styled["reverb"], abs=1e-3)
    for name in found:
        if name != "reverb":
            assert found[name] == pytest.approx(styled[name], abs=1e-4), name


def test_switches_follow_the_descent(model, take, monkeypatch) -> None:
    """A shelf that the descent lifts by 10 dB is likelier on than one that it leaves at 0 dB."""
    likely = []
    model = copy.deepcopy(model)
    model.style.switch_line = model.style.switch_line + 0.01
    shelf = next(i for i, p in enumerate(PARAMETERS) if p.key == "eq.high_shelf.gain_db")
    for gain_db in (0.0, 10.0):

        def lifted(_vocal, mean, *_, steps, gain_db=gain_db, **_options) -> Descent:
            point = mean.clone()
            point[shelf] = PARAMETERS[shelf].to_normalised(gain_db)
            return Descent(point, steps, {}, {})

        monkeypatch.setattr("diffconsole.model.reference.prediction.descend", lifted)
        found = predict_towards(model, take, RATE, [reference(2)], steps=1)
        assert found.settings["eq.high_shelf.gain_db"] == pytest.approx(gain_db, abs=1e-3)
        likely.append(found.switches["eq.high_shelf"])
    assert likely[1] > likely[0] + 0.1


def test_the_descent_moves_what_is_followed_only(model, take) -> None:
    off = {"tone": 0.0, "dynamics": 0.0}
    only = Reference("one", reference(2).samples, RATE, 1.0, (), off)
    before = predict_towards(model, take, RATE, [only], steps=0)
    after = predict_towards(model, take, RATE, [only], steps=FEW)
    moved = {module_of(k) for k, v in after.settings.items() if before.settings[k] != v}
    assert "reverb" in moved
    assert not moved & {"eq", "compressor", "input_gain", "pan"}
    assert set(after.style["before"]) == {"space"}


def test_steps_and_progress(model, take) -> None:
    shares: list[float] = []
    some = References((reference(2),)).with_steps(3)
    found = predict_towards(model, take, RATE, some, report_progress=shares.append)
    assert found.style["steps"] == 3
    assert shares == pytest.approx([1 / 3, 2 / 3, 1.0])
    again = predict_towards(model, take, RATE, [reference(2)], steps=3)
    assert again.settings == found.settings


def test_short_and_mono_references(model, take) -> None:
    """Of a mono reference the sides say nothing; a short one is enough."""
    mono = Reference("mono", voice(0.6, 5)[None], RATE)
    found = predict_towards(model, take, RATE, [mono], steps=FEW)
    assert all(math.isfinite(value) for value in found.settings.values())
    with pytest.raises(SettingsError, match="no reference has any weight"):
        nothing = Reference("mono", mono.samples, RATE, 1.0, (), dict.fromkeys(
            ("tone", "dynamics", "space"), 0.0))  # fmt: skip
        predict_towards(model, take, RATE, [nothing])


def test_the_commands(model, tmp_path: Path) -> None:
    """Predict and process agree, record the references, and refuse what makes no sense."""
    model.save(tmp_path / "model", {})
    for seed, name in ((1, "take"), (2, "one"), (3, "two")):
        soundfile.write(tmp_path / f"{name}.wav", voice(2.0, seed), RATE, subtype="FLOAT")
    common = [
        str(tmp_path / "take.wav"), "--model", str(tmp_path / "model"),
        "--reference", str(tmp_path / "one.wav"), "--reference", str(tmp_path / "two.wav"),
    ]  # fmt: skip
    weights = ["--reference-weights", "2,1"]
    few = ["--reference-steps", "2"]
    done("predict", *common, *weights, *few, "-o", tmp_path / "a.preset.json")
    done("process", *common, *weights, *few, "-o", tmp_path / "out")
    texts = [(tmp_path / "a.preset.json"), (tmp_path / "out" / "take.preset.json")]
    first, second = (Preset.read(path) for path in texts)
    towards = [{"name": "one.wav", "weight": 2.0}, {"name": "two.wav", "weight": 1.0}]
    assert first.provenance["references"] == towards
    assert first.settings() == second.settings()
    style = first.provenance["reference_style"]
    assert style["steps"] == 2
    assert style["aspects"] == ["tone", "dynamics", "space"]
    assert set(style["before"]) <= set(style["aspects"])
    done("predict", *common, *few, "-o", tmp_path / "b.preset.json")
    assert Preset.read(tmp_path / "b.preset.json").settings() != first.settings()
    several = ["--reference-weights", "2,1", "--reference-weights", "space=0,1"]
    done("predict", *common, *several, *few, "-o", tmp_path / "d.preset.json")
    towards = Preset.read(tmp_path / "d.preset.json").provenance["references"]
    assert [r["aspects"] for r in towards] == [{"space": 0.0}, {"space": 1.0}]
    assert [r["weight"] for r in towards] == [2.0, 1.0]

    take = str(tmp_path / "take.wav")
    target = ["-o", str(tmp_path / "c.preset.json")]
    for arguments, code, words in (
        ([take, "--reference-weights", "1", *target], 2, "goes with --reference"),
        ([*common, "--reference-weights", "1,x", *target], 2, "numbers with commas"),
        ([*common, "--reference-weights", "1", *target], 2, "1 weight for 2 references"),
        ([take, "--reference-steps", "3", *target], 2, "--reference-steps goes with --reference"),
        ([*common, "--reference-weights", "Tone=1", *target], 2, "1 weight of tone for 2 ref"),
        ([*common, "--reference-weights", "1e308,1e308", *target], 2, "is 1e+308; give a number"),
        ([*common, "--reference-weights", "tone=1,-1", *target], 2, "weight of tone is -1"),
        ([*common, "--reference-weights", "tone=1,nan", *target], 2, "weight of tone is nan"),
        ([*common, "--reference-weights", "air=1,1", *target], 2, "'air' is no aspect; give tone"),
        ([*common, "--reference-weights", "tone=1,x", *target], 2, "as 2,1 or tone=2,1"),
        ([*common, *weights, "--reference-weights", "1,1", *target], 2, "twice for the whole"),
        (
            [
                *common,
                *(
                    w
                    for a in ("tone", "dynamics", "space")
                    for w in ("--reference-weights", f"{a}=0,0")
                ),
                *target,
            ],
            2,
            "every weight of tone, dynamics, space is 0",
        ),
    ):
        assert words in refused("predict", *arguments, code=code)
    assert not (tmp_path / "c.preset.json").exists()
