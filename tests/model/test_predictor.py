"""The predictor: settings for the file as it lies, whatever its level and length."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffconsole.errors import AudioError, ModelError
from diffconsole.model.encoder_windows import MOST_WINDOWS
from diffconsole.model.head import Z_CLIP
from diffconsole.model.predictor import (
    REFERENCE_LUFS,
    Prediction,
    Predictor,
    default_model,
    level_gain_db,
    windows_of,
)
from diffconsole.model.rows import row_tensors
from diffconsole.strip.later import LATER, UNTRAINED
from diffconsole.strip.parameters import ADDED, PARAMETERS

from ..synthetic import RATE, small_model, voice

KNOWN = tuple(p for p in PARAMETERS if p.key not in UNTRAINED)
"""What a model predicts: what came later, and no training example moves, is off in its answer."""
KNOWN_PLACES = torch.tensor([PARAMETERS.index(p) for p in KNOWN])

WEIGHTS, SIDECAR = "model.safetensors", "model.json"


@pytest.fixture(scope="module")
def model() -> Predictor:
    """Untrained, with a head that answers differently for different voices."""
    model = small_model(3)
    with torch.no_grad():
        model.head.mean.weight.mul_(4.0)
        model.head.log_variance.weight.mul_(2.0)
        model.head.log_variance.bias.fill_(-4.0)
    return model


@pytest.fixture(scope="module")
def take() -> np.ndarray:
    return voice(3.0, 1)[None]


@pytest.fixture(scope="module")
def prediction(model: Predictor, take: np.ndarray) -> Prediction:
    return model.predict(take, RATE)


@pytest.fixture
def saved(model: Predictor, tmp_path: Path) -> Path:
    model.save(tmp_path / "model", {"trained": "today"}, "# A card\n")
    return tmp_path / "model"


# Settings of a whole file


def test_every_setting_is_inside_its_range(prediction: Prediction) -> None:
    # A mix that the model does not know is at its default.
    known = [p.key for p in PARAMETERS if p in KNOWN or p.key in ADDED and p.module not in LATER]
    assert list(prediction.settings) == known
    for p in KNOWN:
        assert p.low <= prediction.settings[p.key] <= p.high, p.key
    assert all(isinstance(value, float) for value in prediction.settings.values())


def test_the_uncertainty_brackets_the_setting(prediction: Prediction) -> None:
    for p in KNOWN:
        low, high = prediction.uncertainty[p.key]
        assert p.low <= low <= prediction.settings[p.key] <= high <= p.high, p.key
        assert low < high, p.key


@pytest.mark.parametrize("gain_db", [-20.0, -10.0, 6.0])
def test_a_quieter_take_gets_more_input_gain_and_the_same_strip(
    model: Predictor, take: np.ndarray, prediction: Prediction, gain_db: float
) -> None:
    moved = model.predict(take * np.float32(10.0 ** (gain_db / 20.0)), RATE)
    for key, value in prediction.settings.items():
        if key == "input_gain.gain_db":
            assert moved.settings[key] == pytest.approx(value - gain_db, abs=0.01)
        else:
            assert moved.settings[key] == pytest.approx(value, rel=1e-3, abs=1e-3), key
    assert moved.loudness_lufs == pytest.approx(prediction.loudness_lufs + gain_db, abs=0.01)


def test_different_takes_get_different_settings(model: Predictor, prediction: Prediction) -> None:
    bright = np.diff(voice(3.0, 1), prepend=0.0)[None].astype(np.float32)
    other = model.predict(bright, RATE).settings
    assert other["eq.high_shelf.gain_db"] != pytest.approx(
        prediction.settings["eq.high_shelf.gain_db"], abs=0.01
    )


def test_the_same_take_gets_the_same_settings(
    model: Predictor, take: np.ndarray, prediction: Prediction
) -> None:
    """Also after training mode: prediction has no dropout."""
    model.train()
    assert model.predict(take, RATE) == prediction
    assert not model.training


@pytest.mark.parametrize("rate", [16000, 48000, 96000])
def test_the_rate_of_the_file_matters_little(model: Predictor, rate: int) -> None:
    from diffconsole.audio import resample

    dull = resample(voice(3.0, 2, 16000)[None], 16000, RATE)
    here = model.predict(dull, RATE).settings
    there = model.predict(resample(dull, RATE, rate), rate).settings
    for p in KNOWN:
        near = abs(p.to_normalised(here[p.key]) - p.to_normalised(there[p.key]))
        assert near < 0.03, p.key


def test_a_mono_take_in_two_channels_is_the_same_take(
    model: Predictor, take: np.ndarray, prediction: Prediction
) -> None:
    """Each channel of the console does what it does for one."""
    twice = model.predict(np.repeat(take, 2, axis=0), RATE)
    for key, value in prediction.settings.items():
        assert twice.settings[key] == pytest.approx(value, rel=1e-3, abs=1e-2), key


@pytest.mark.parametrize("level", [0.0, 1e-7])
def test_silence_is_refused(model: Predictor, level: float) -> None:
    noise = np.random.default_rng(0).normal(0.0, 1.0, (1, RATE)).astype(np.float32)
    with pytest.raises(AudioError, match="silent"):
        model.predict(np.float32(level) * noise, RATE)


def test_level_gain_brings_the_vocal_to_the_reference(take: np.ndarray) -> None:
    from diffconsole.audio import loudness_lufs

    gain_db, loudness = level_gain_db(take, RATE)
    assert loudness == loudness_lufs(take, RATE)
    levelled = take * np.float32(10.0 ** (gain_db / 20.0))
    assert loudness_lufs(levelled, RATE) == pytest.approx(REFERENCE_LUFS, abs=0.01)


# Certainty


def test_sure_windows_count_more(model: Predictor) -> None:
    """Two windows, the second sure: the setting is the second's, the uncertainty small."""
    places = torch.tensor([[0.2], [0.8]]).expand(2, len(PARAMETERS))
    doubts = torch.tensor([[0.0], [-9.0]]).expand(2, len(PARAMETERS))
    forward = model.forward
    model.forward = lambda audio, voice_features: (places, doubts)  # type: ignore[method-assign]
    try:
        found = model.predict(voice(6.0, 1)[None], RATE)
    finally:
        model.forward = forward  # type: ignore[method-assign]
    ratio = next(p for p in PARAMETERS if p.key == "compressor.ratio")
    assert ratio.to_normalised(found.settings[ratio.key]) == pytest.approx(0.8, abs=0.01)
    low, high = (ratio.to_normalised(v) for v in found.uncertainty[ratio.key])
    assert high - low < 0.1


# Windows


def test_a_long_file_is_heard_in_sixteen_windows(model: Predictor) -> None:
    """Spread from its start to its end."""
    rate = model.encoder.sample_rate
    ramp = np.linspace(0.5, 1.0, 200 * rate, dtype=np.float32)[None]
    windows = windows_of(ramp, rate, model.encoder)
    assert windows.shape == (MOST_WINDOWS, 1, 5 * rate)
    starts = windows[:, 0, 0]
    assert float(starts[0]) == 0.5
    assert float(windows[-1, 0, -1]) == 1.0
    assert (starts.diff() > 0.0).all()


@pytest.mark.parametrize(("seconds", "count"), [(4.0, 1), (5.0, 1), (5.1, 2), (14.0, 3)])
def test_windows_cover_the_file(model: Predictor, seconds: float, count: int) -> None:
    """Windows of five seconds, the last of them ending where the file ends."""
    rate = model.encoder.sample_rate
    place = np.arange(1, int(seconds * rate) + 1, dtype=np.float32)[None]
    windows = windows_of(place, rate, model.encoder)
    assert windows.shape == (count, 1, min(int(seconds * rate), 5 * rate))
    found = np.unique(windows.numpy())
    assert len(found) == place.shape[1]


def test_quiet_windows_are_left_out(model: Predictor) -> None:
    rate = model.encoder.sample_rate
    loud = 0.3 * np.ones((1, 5 * rate), np.float32)
    file = np.concatenate((loud, 0.02 * loud, 0.5 * loud, 0 * loud), axis=1)
    windows = windows_of(file, rate, model.encoder)
    assert windows[:, 0, 0].tolist() == pytest.approx([0.3, 0.15])


def test_a_short_file_is_repeated(model: Predictor) -> None:
    rate = model.encoder.sample_rate
    short = voice(0.2, 1)[None]
    windows = windows_of(short, rate, model.encoder)
    assert windows.shape[-1] >= rate // 2
    assert torch.equal(
        windows[0, 0, short.shape[1] : 2 * short.shape[1]], windows[0, 0, : len(short[0])]
    )
    assert model.predict(short, RATE).settings


def test_windows_are_mono_at_the_rate_of_the_encoder(model: Predictor) -> None:
    sides = np.stack([np.full(48000, 0.5), np.full(48000, 0.1)]).astype(np.float32)
    windows = windows_of(sides, 48000, model.encoder)
    assert windows.shape == (1, 1, 44100)
    assert float(windows[0, 0, 1000:-1000].mean()) == pytest.approx(0.3, abs=1e-3)


# The head


def test_an_untrained_head_answers_where_it_starts() -> None:
    model = small_model()
    start = torch.linspace(0.05, 0.95, len(PARAMETERS))
    model.head.start_at(start)
    with torch.no_grad():
        model.head.mean.weight.zero_()
        mean, log_variance = model(torch.randn(2, 1, RATE))
    torch.testing.assert_close(mean, start.expand(2, -1), atol=1e-5, rtol=0.0)
    assert (log_variance == -3.0).all()


# Save and load


def test_what_is_saved_is_what_is_loaded(model: Predictor, saved: Path, take: np.ndarray) -> None:
    loaded = Predictor.load(saved)
    assert loaded.info == {"trained": "today"}
    assert (saved / "README.md").read_text() == "# A card\n"
    assert not loaded.training
    for name, weights in model.state_dict().items():
        both = [loaded.state_dict()[name], weights]
        if name in row_tensors(model) and row_tensors(model)[name][0] == "parameters":
            dim = row_tensors(model)[name][1]
            both = [found.index_select(dim, KNOWN_PLACES) for found in both]
        # Eleven bits of half precision.
        torch.testing.assert_close(*both, rtol=2**-11, atol=1e-7)
    before, after = (m.predict(take, RATE).settings for m in (model, loaded))
    for p in KNOWN:
        moved = abs(p.to_normalised(before[p.key]) - p.to_normalised(after[p.key]))
        assert moved < 5e-3, p.key


def test_saving_over_a_model_replaces_it(saved: Path) -> None:
    other = small_model(9)
    other.save(saved, {"trained": "later"})
    assert Predictor.load(saved).info == {"trained": "later"}
    assert sorted(p.name for p in saved.iterdir()) == ["README.md", SIDECAR, WEIGHTS]


def test_the_shipped_model_loads_and_predicts(take: np.ndarray) -> None:
    if not (default_model() / SIDECAR).is_file():
        pytest.skip("no model is shipped in this checkout")
    found = Predictor.load().predict(take, RATE)
    assert all(p.low <= found.settings[p.key] <= p.high for p in KNOWN)


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        Predictor.load(folder)
    message = str(caught.value)
    assert str(folder) in message
    assert "\n" not in message
    return message


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert "no model here (model.json is missing)" in refused(tmp_path / "nowhere")


def test_missing_weights_are_named(saved: Path) -> None:
    (saved / WEIGHTS).unlink()
    assert WEIGHTS in refused(saved)


@pytest.mark.parametrize("keep", [0, 7, 100, -10])
@pytest.mark.parametrize("name", [SIDECAR, WEIGHTS])
def test_a_truncated_file_is_damage(saved: Path, name: str, keep: int) -> None:
    content = (saved / name).read_bytes()
    (saved / name).write_bytes(content[:keep])
    assert "damaged model" in refused(saved)


def edit(folder: Path, **changes: Any) -> None:
    sidecar = json.loads((folder / SIDECAR).read_text())
    (folder / SIDECAR).write_text(json.dumps(sidecar | changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "somebody.else"}, "this program reads diffconsole.predictor 1"),
        ({"version": 2}, "this program reads diffconsole.predictor 1"),
        ({"parameters": ["somebody.else"]}, "another table of parameters"),
        ({"parameters": ["input_gain.gain_db", "output_gain.gain_db"]}, "damaged model"),
        ({"parameters": ["input_gain.gain_db"]}, "(output_gain.gain_db is missing)"),
        ({"parameters": ["input_gain.gain_db"] * 36}, "damaged model"),
        ({"parameters": "input_gain.gain_db"}, "damaged model"),
        ({"switches": ["eq.peak_1"]}, "damaged model"),
        ({"switches": ["somebody"]}, "another table of parameters"),
        ({"hidden": 17}, "damaged model"),
        ({"hidden": "wide"}, "damaged model"),
        ({"encoder": "logmel"}, "damaged model"),
        ({"encoder": {"name": "logmel", "config": {"widths": [16]}}}, "damaged model"),
        ({"info": "none"}, "damaged model"),
    ],
)
def test_a_model_of_another_kind(saved: Path, changes: dict[str, Any], said: str) -> None:
    edit(saved, **changes)
    assert said in refused(saved)


def test_an_unknown_encoder(saved: Path) -> None:
    edit(saved, encoder={"name": "wavelet", "config": {}})
    with pytest.raises(ModelError, match="unknown encoder 'wavelet'"):
        Predictor.load(saved)


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_a_pickle_is_never_loaded(saved: Path, tmp_path: Path, how: str) -> None:
    mark = tmp_path / "it ran"
    bomb = {"head.norm.weight": Bomb(mark)}
    if how == "pickle":
        (saved / WEIGHTS).write_bytes(pickle.dumps(bomb))
    else:
        torch.save(bomb, saved / WEIGHTS)
    assert "damaged model" in refused(saved)
    (saved / WEIGHTS).unlink()
    for name in ("model.pt", "model.bin", "pytorch_model.bin", "model.pkl"):
        (saved / name).write_bytes(pickle.dumps(bomb))
    refused(saved)
    assert not mark.exists()
    pickle.loads(pickle.dumps(bomb))
    assert mark.exists(), "the bomb of this test does not work"


def test_less_reverb_is_chosen_where_the_model_is_unsure(model: Predictor) -> None:
    mean, sure = torch.full((1, len(PARAMETERS)), 0.5), torch.zeros(1, len(PARAMETERS))
    rest = model.known.with_rest(mean)[0]
    assert torch.equal(model.point_estimate(mean, sure)[0], rest)
    chosen = model.point_estimate(mean, torch.full_like(mean, 0.2))[0]
    for p, value, still in zip(PARAMETERS, chosen, rest, strict=True):
        wanted = 0.4 if p.key == "reverb.wet_db" else 0.5 if p in KNOWN else float(still)
        assert float(value) == pytest.approx(wanted), p.key
    assert float(model.point_estimate(0 * mean, torch.ones_like(mean)).min()) == 0.0


def test_calibration_makes_the_interval_hold_what_it_says() -> None:
    """A head that is four times too sure of one setting, and half as sure of another."""
    head = small_model().head
    generator = torch.Generator().manual_seed(4)
    count = 400
    mean = torch.full((count, len(PARAMETERS)), 0.5)
    log_variance = torch.full_like(mean, 2.0 * math.log(0.05))
    true = torch.full((len(PARAMETERS),), 0.05)
    true[0], true[1] = 0.2, 0.025
    target = mean + true * torch.randn(mean.shape, generator=generator)
    head.calibrate(mean, log_variance, target)
    again = log_variance + 2.0 * head.log_scale
    inside = (target - mean).abs() < 1.2816 * (again / 2.0).exp()
    held = inside.float().mean(dim=0)
    assert held.min() > 0.78 and held.max() < 0.82
    assert float(head.log_scale[0].exp()) == pytest.approx(4.0, rel=0.15)
    assert float(head.log_scale[1].exp()) == pytest.approx(0.5, rel=0.15)


def test_calibration_is_part_of_the_answer_and_of_the_file(tmp_path: Path) -> None:
    model = small_model()
    frames = torch.randn(2, 5, model.encoder.dim)
    before = model.head(frames)[1]
    model.head.log_scale += 0.25
    assert torch.allclose(model.head(frames)[1], before + 0.5)
    model.save(tmp_path, {})
    again = Predictor.load(tmp_path).head.log_scale
    assert torch.allclose(again[KNOWN_PLACES], model.head.log_scale[KNOWN_PLACES], atol=1e-3)


def test_models_saved_before_the_linear_map(tmp_path: Path) -> None:
    """Without its weights a model answers as it did; with them, they are saved and read."""
    from safetensors.torch import load_file, save_file

    from diffconsole.model.head import FILE_NAMES
    from diffconsole.model.predictor import OPTIONAL_STATE_KEYS

    model = small_model()
    pooled = torch.randn(3, model.head.skip.in_features)
    expected = model.head.predict_from_pooled(pooled)[0].detach()[:, KNOWN_PLACES]
    model.save(tmp_path, {})
    weights = load_file(tmp_path / "model.safetensors")
    lacking = {FILE_NAMES.get(key, key) for key in OPTIONAL_STATE_KEYS}
    assert sum(k.split(".", 1)[1] in lacking for k in weights) == len(lacking)
    save_file(
        {k: v for k, v in weights.items() if k.split(".", 1)[1] not in lacking},
        tmp_path / "model.safetensors",
    )
    loaded = Predictor.load(tmp_path)
    found = loaded.head.predict_from_pooled(pooled)[0][:, KNOWN_PLACES]
    assert torch.allclose(found, expected, atol=1e-3)
    with torch.no_grad():
        model.head.skip.weight.fill_(0.01)
        model.head.feature_mean.fill_(0.2)
        model.head.feature_std.fill_(0.5)
    moved = model.head.predict_from_pooled(pooled)[0].detach()[:, KNOWN_PLACES]
    assert float((moved - expected).abs().max()) > 0.01
    model.save(tmp_path / "moved", {})
    found = Predictor.load(tmp_path / "moved").head.predict_from_pooled(pooled)[0][:, KNOWN_PLACES]
    assert torch.allclose(found, moved, atol=3e-3)
    # Outside of the voices that it was fitted on it goes no further.
    far = model.head.standardise_pooled(torch.full_like(pooled, 1e6))
    assert float(far.max()) == Z_CLIP


def test_voice_features_move_the_settings(tmp_path: Path) -> None:
    """By the difference from the mean voice; kept in the file; used by predict and the timeline."""
    from diffconsole.model.timeline import predict_timeline
    from diffconsole.model.voice_features import VOICE_FEATURES, extract_voice_features

    model = small_model()
    take = voice(6.0, 1)[None]
    before = model.predict(take, RATE).settings["compressor.ratio"]
    ratio, spread = (
        [p.key for p in PARAMETERS].index("compressor.ratio"),
        VOICE_FEATURES.index("spread_db"),
    )
    value = float(extract_voice_features(take, RATE)[spread])
    with torch.no_grad():
        model.head.voice.weight[ratio, spread] = 0.5
        model.head.voice_mean[spread] = value - 6.0
        model.head.voice_std[spread] = 4.0
    after = model.predict(take, RATE)
    assert after.settings["compressor.ratio"] > 1.2 * before
    model.save(tmp_path, {})
    loaded = Predictor.load(tmp_path)
    again = loaded.predict(take, RATE).settings["compressor.ratio"]
    assert again == pytest.approx(after.settings["compressor.ratio"], rel=2e-2)
    timeline = predict_timeline(loaded, take, RATE).settings["compressor.ratio"]
    assert float(np.nanmean(timeline)) > 1.1 * before
    with torch.no_grad():
        model.head.voice_mean[spread] = value
    assert model.predict(take, RATE).settings["compressor.ratio"] == pytest.approx(before, rel=1e-3)


def test_tensors_are_predicted_as_arrays(model: Predictor) -> None:
    samples = voice(2.0, 1)[None].astype(np.float32)
    expected = model.predict(samples, RATE).settings
    for tensor in (torch.from_numpy(samples), torch.from_numpy(samples).double()):
        assert model.predict(tensor.requires_grad_(), RATE).settings == expected
    for wrong in (samples[0], torch.from_numpy(samples[0])):
        with pytest.raises(AudioError, match=r"\(channels, samples\); give samples\[None\] for"):
            model.predict(wrong, RATE)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_samples_that_are_not_finite(model: Predictor, wrong: float) -> None:
    take = voice(2.0, 1)[None].copy()
    take[0, 9] = wrong
    with pytest.raises(AudioError, match="not finite"):
        model.predict(take, RATE)


# Values that do nothing


def test_a_prediction_without_pan_is_exactly_in_the_middle(take: np.ndarray) -> None:
    model = small_model(3)
    place = [p.key for p in PARAMETERS].index("pan.position")
    with torch.no_grad():
        for layer in (model.head.mean, model.head.skip, model.head.voice):
            layer.weight[place] = 0.0
        model.head.mean.bias[place] = -2.7e-5
    assert model.predict(take, RATE).settings["pan.position"] == 0.0
