"""The voice in a file: what lies beside it changes neither what is analysed nor the settings."""

from __future__ import annotations

import numpy as np
import pytest

from diffconsole.audio import loudness_lufs, resample
from diffconsole.audio.take import take_of
from diffconsole.errors import AudioError
from diffconsole.model.predictor import Prediction, Predictor, level_gain_db
from diffconsole.model.reference.prediction import Reference
from diffconsole.model.timeline import predict_timeline
from diffconsole.model.voice_features import extract_voice_features
from diffconsole.strip.parameters import DEFAULT_PARAMETERS
from diffconsole.training.finetuning.segments import segments_of

from ..synthetic import RATE, small_model, voice
from ..synthetic import pair as pair_of

BAR_PERCENT = 2.0
SPIKE = np.float32(10.0 ** (84.9 / 20.0))


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    """Two clips of a voice, as strip silence leaves them."""
    return [voice(2.0, 1), voice(1.5, 4)]


@pytest.fixture(scope="module")
def sung(clips: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(clips)


@pytest.fixture(scope="module")
def model() -> Predictor:
    """Untrained, with settings that differ much between voices."""
    model = small_model(1)
    model.head.mean.weight.data.mul_(4.0)
    model.head.voice.weight.data.normal_(0.0, 0.05)
    return model


@pytest.fixture(scope="module")
def clean(model: Predictor, sung: np.ndarray) -> Prediction:
    return model.predict(sung[None], RATE)


def deviation_percent(found: Prediction, clean: Prediction, gain_db: float = 0.0) -> float:
    off = []
    for p in DEFAULT_PARAMETERS:
        shift = gain_db if p.key == "input_gain.gain_db" else 0.0
        value = p.clip(found.settings[p.key] + shift)
        off.append(abs(p.to_normalised(value) - p.to_normalised(clean.settings[p.key])))
    return 100.0 * max(off)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE), np.float32)


def half_alike(sung: np.ndarray) -> np.ndarray:
    """Two sides as loud as the voice, with a correlation of 0.5; the left one is the voice."""
    other = np.roll(sung, RATE // 3)
    other -= sung * (other @ sung) / (sung @ sung)
    other *= np.sqrt((sung @ sung) / (other @ other))
    return np.stack((sung, 0.5 * sung + np.sqrt(0.75) * other)).astype(np.float32)


def with_spikes(sung: np.ndarray, *places: int) -> np.ndarray:
    spoilt = sung.copy()
    spoilt[list(places)] = SPIKE
    return spoilt


# A clean take is what it was


def test_a_clean_mono_take_is_not_touched(sung: np.ndarray) -> None:
    take = take_of(sung[None], RATE)
    assert np.shares_memory(take.timeline, sung)
    assert np.array_equal(take.mono[0], sung)
    assert take.level_lufs == take.loudness_lufs == loudness_lufs(sung[None], RATE)
    assert take.messages == ()


def test_both_sides_alike_are_one_voice(sung: np.ndarray) -> None:
    take = take_of(np.stack((sung, sung)), RATE)
    assert np.array_equal(take.mono[0], sung)
    assert take.level_lufs == pytest.approx(loudness_lufs(sung[None], RATE), abs=0.01)
    assert take.loudness_lufs == pytest.approx(take.level_lufs + 3.01, abs=0.01)
    assert take.messages == ()


def test_arrays_the_other_way_round_and_whole_numbers_are_refused(sung: np.ndarray) -> None:
    with pytest.raises(AudioError, match=r"of shape \(\d+, 1\).*give samples\.T"):
        take_of(sung[:, None], RATE)
    with pytest.raises(AudioError, match="int16; they must be float32.*full scale"):
        take_of((3e4 * sung[None]).astype(np.int16), RATE)


@pytest.mark.parametrize("rate", [0, -48000, np.nan, np.inf, "48000", None])
def test_a_rate_that_is_no_number_above_0_is_refused(sung: np.ndarray, rate: object) -> None:
    with pytest.raises(AudioError, match="sample rate is .*; give a number of Hz"):
        take_of(sung[None], rate)  # type: ignore[arg-type]


def test_values_that_are_not_finite_are_refused(sung: np.ndarray) -> None:
    with pytest.raises(AudioError, match="not finite"):
        take_of(np.append(sung, np.float32(np.nan))[None], RATE)


def test_nothing_but_silence_has_no_level() -> None:
    for value in (0.0, 0.1):
        take = take_of(np.full((2, RATE), value, np.float32), RATE)
        assert take.level_lufs == -np.inf
        assert take.timeline.shape == (1, RATE)


@pytest.mark.parametrize("samples", [1, 5, 100, 5000])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_shortest_takes_pass(samples: int, channels: int) -> None:
    noise = np.random.default_rng(0).normal(0.0, 0.1, (channels, samples)).astype(np.float32)
    assert take_of(noise, RATE).mono.shape == (1, samples)


# What is not voice decides nothing


def variants(clips: list[np.ndarray]) -> dict[str, tuple[np.ndarray, str]]:
    """Files that hold the voice, and what must be reported of each."""
    sung = np.concatenate(clips)
    nothing = np.zeros_like(sung)
    within = np.concatenate((silence(3.0), clips[0], silence(3.0), clips[1], silence(2.0)))
    return {
        "left only": (np.stack((sung, nothing)), "only the left channel"),
        "right only": (np.stack((nothing, sung)), "only the right channel"),
        "noise right": (np.stack((sung, 1e-4 * np.roll(sung, 99))), "only the left channel"),
        "inverted": (np.stack((sung, -sung)), "out of phase"),
        "20 dB apart": (np.stack((np.float32(0.1) * sung, sung)), "20 dB quieter"),
        "half alike": (half_alike(sung), ""),
        "silence before": (np.concatenate((silence(1.0), sung))[None], ""),
        "silence within": (within[None], ""),
        "DC": ((sung + np.float32(0.1))[None], "DC offset of 0.1"),
        "DC and silence": ((within + np.float32(0.1))[None], "DC offset of 0.1"),
        "DC beside zeros": (
            np.where(within == 0.0, within, within + np.float32(0.1))[None],
            "DC offset",
        ),
        "wild sample": (with_spikes(sung, 50000)[None], "sample 50000 (1.134 s) reaches +84.9"),
        "wild samples": (with_spikes(sung, 90, 700, 50000, 50007, 99999)[None], "+84.9 dBFS"),
        "wild in stereo": (np.stack((sung, with_spikes(sung, 4000))), "sample 4000"),
        "wild in silence": (
            np.concatenate((with_spikes(silence(1.0), 20000), sung))[None],
            "sample 20000",
        ),
    }


@pytest.mark.parametrize("name", list(variants([voice(2.0, 1), voice(1.5, 4)])))
def test_settings_are_those_of_the_clean_take(
    model: Predictor, clips: list[np.ndarray], clean: Prediction, name: str
) -> None:
    samples, said = variants(clips)[name]
    found = model.predict(samples.astype(np.float32), RATE)
    assert deviation_percent(found, clean) < BAR_PERCENT
    key = "input_gain.gain_db"
    assert found.settings[key] == pytest.approx(clean.settings[key], abs=0.3)
    if said:
        assert any(said in line for line in found.messages), found.messages
    else:
        assert found.messages == ()


@pytest.mark.parametrize("level_lufs", [-55.0, -30.0, 0.0, 20.0])
def test_the_level_moves_the_input_gain_alone(
    model: Predictor, sung: np.ndarray, clean: Prediction, level_lufs: float
) -> None:
    gain_db = level_lufs - clean.loudness_lufs
    found = model.predict(sung[None] * np.float32(10.0 ** (gain_db / 20.0)), RATE)
    assert deviation_percent(found, clean, gain_db) < BAR_PERCENT
    assert found.messages == ()


@pytest.mark.parametrize("rate", [48000, 88200, 96000, 192000])
def test_high_rates_change_nothing(
    model: Predictor, sung: np.ndarray, clean: Prediction, rate: int
) -> None:
    found = model.predict(resample(sung[None], RATE, rate), rate)
    assert deviation_percent(found, clean) < BAR_PERCENT
    assert take_of(resample(sung[None], RATE, rate), rate).sample_rate <= 48000


def test_gaps_of_zeros_as_phrases_have_them_stay(sung: np.ndarray) -> None:
    gated = sung.copy()
    gated[RATE : RATE + RATE // 5] = 0.0
    assert np.array_equal(take_of(gated[None], RATE).mono[0], gated)


def test_what_dither_and_codecs_make_of_silence_is_silence(sung: np.ndarray) -> None:
    faint = np.random.default_rng(0).uniform(-1e-7, 1e-7, RATE).astype(np.float32)
    take = take_of(np.concatenate((faint, sung))[None], RATE)
    assert take.mono.shape[1] == pytest.approx(len(sung), abs=RATE // 100)
    assert take.share(0, RATE // 2) == 0.0
    assert take.share(RATE * 2, RATE * 3) == 1.0


def test_description_and_level_are_those_of_the_voice(clips: list[np.ndarray]) -> None:
    sung = np.concatenate(clips)
    expected = extract_voice_features(sung[None], RATE)
    for name, (samples, _) in variants(clips).items():
        take = take_of(samples.astype(np.float32), RATE)
        assert take.level_lufs == pytest.approx(loudness_lufs(sung[None], RATE), abs=0.2), name
        found = extract_voice_features(take.mono, take.sample_rate)
        np.testing.assert_allclose(found, expected, atol=0.5, err_msg=name)


def test_stereo_that_is_alike_but_for_room_is_summed(sung: np.ndarray) -> None:
    room = np.random.default_rng(1).normal(0.0, 0.03, (2, len(sung))).astype(np.float32)
    take = take_of(sung + room, RATE)
    np.testing.assert_allclose(take.mono, (sung + room).mean(axis=0)[None], atol=1e-3)


# Where else a voice is analysed


def test_a_reference_on_one_side_has_the_level_of_its_side(sung: np.ndarray) -> None:
    one = Reference("one", np.stack((sung, np.zeros_like(sung))), RATE)
    mono = Reference("mono", sung[None], RATE)
    assert one.level == pytest.approx(mono.level, abs=0.01)


def test_a_course_has_gaps_where_silence_is(model: Predictor) -> None:
    song = np.concatenate((voice(5.0, 1), silence(10.0), voice(5.0, 2)))
    timeline = predict_timeline(model, song[None], RATE, hop_seconds=5.0)
    values = timeline.settings["eq.peak_2.gain_db"]
    assert list(np.isnan(values)) == [False, True, True, False]
    whole = predict_timeline(model, voice(5.0, 1)[None], RATE)
    inverted = predict_timeline(model, np.stack((voice(5.0, 1), -voice(5.0, 1))), RATE)
    np.testing.assert_allclose(
        inverted.settings["eq.peak_2.gain_db"], whole.settings["eq.peak_2.gain_db"], atol=0.01
    )


def test_training_analyses_the_voice_too(model: Predictor) -> None:
    pair = pair_of(1, seconds=6.0)
    sides = np.stack((pair.raw[0], -pair.raw[0]))
    inverted = type(pair)(pair.name, sides, pair.mixed, 0.0, 1, 1.0)
    ours, theirs = segments_of([pair], model), segments_of([inverted], model)
    np.testing.assert_allclose(ours.encoder_input.abs(), theirs.encoder_input.abs(), atol=1e-3)
    assert float(theirs.encoder_input.square().mean()) > 1e-3


def test_the_level_for_a_match_is_that_of_the_voice(sung: np.ndarray) -> None:
    expected, _ = level_gain_db(sung[None], RATE)
    spoilt = with_spikes(sung, 30000) + np.float32(0.1)
    assert level_gain_db(spoilt[None], RATE)[0] == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("kind", ["ramp", "swing", "steps"])
def test_a_drifting_offset_changes_nothing(
    model: Predictor, sung: np.ndarray, clean: Prediction, kind: str
) -> None:
    sung = np.tile(sung, 2)
    clean = model.predict(sung[None], RATE)
    share = np.linspace(0.0, 1.0, len(sung))
    drift = {
        "ramp": 0.2 * share,
        "swing": 0.1 * np.sin(2.0 * np.pi * share),
        "steps": np.where(share > 0.5, 0.1, -0.05),
    }[kind]
    found = model.predict((sung + drift).astype(np.float32)[None], RATE)
    assert deviation_percent(found, clean) < BAR_PERCENT
    assert "drifts" in found.messages[0]


def test_one_gust_of_wind_is_no_drift(sung: np.ndarray) -> None:
    windy = np.tile(sung, 3)
    windy[RATE : RATE + RATE // 3] += 0.1 * np.hanning(RATE // 3).astype(np.float32)
    assert take_of(windy[None], RATE).messages == ()


@pytest.mark.parametrize("place", ["before", "between", "after"])
@pytest.mark.parametrize("level_db", [-100.0, -95.0])
def test_dither_between_clips_is_silence(
    clips: list[np.ndarray], place: str, level_db: float
) -> None:
    rng = np.random.default_rng(2)
    dither = (10.0 ** (level_db / 20.0) * rng.standard_normal(3 * RATE)).astype(np.float32)
    dark = [np.convolve(rng.normal(0.0, 3e-4, len(c)), np.ones(8) / 8.0, "same") for c in clips]
    first, second = (
        (clip + noise).astype(np.float32) for clip, noise in zip(clips, dark, strict=True)
    )
    parts = {
        "before": (dither, first, second), "between": (first, dither, second),
        "after": (first, second, dither),
    }[place]  # fmt: skip
    take = take_of(np.concatenate(parts)[None], RATE)
    assert take.mono.shape[1] == pytest.approx(len(first) + len(second), abs=RATE // 50)


def test_noise_of_a_room_is_part_of_a_take(sung: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    noise = np.convolve(rng.normal(0.0, 1e-4, 3 * RATE), np.ones(6) / 6.0, "same")
    whole = np.concatenate((noise.astype(np.float32), sung))
    assert take_of(whole[None], RATE).mono.shape[1] == len(whole)


@pytest.mark.parametrize("gap_db", [-3.0, -6.0, -11.0])
def test_what_is_analysed_has_the_level_it_is_said_to_have(
    model: Predictor, sung: np.ndarray, clean: Prediction, gap_db: float
) -> None:
    quieter = sung * np.float32(10.0 ** (gap_db / 20.0))
    take = take_of(np.stack((sung, quieter)), RATE)
    assert loudness_lufs(take.mono, RATE) == pytest.approx(take.level_lufs, abs=0.05)
    found = model.predict(np.stack((sung, quieter)), RATE)
    assert deviation_percent(found, clean) < BAR_PERCENT


def test_two_microphones_are_not_summed_to_a_comb() -> None:
    times = np.arange(3 * RATE) / RATE
    dark = sum(np.sin(2.0 * np.pi * 110.0 * k * times) / k for k in range(1, 40))
    near = (0.1 * dark * (times % 1.0 < 0.7)).astype(np.float32)
    far = np.roll(near, RATE // 2500)
    assert np.corrcoef(near, far)[0, 1] > 0.7
    take = take_of(np.stack((near, far)), RATE)
    assert min(np.abs(take.mono[0] - x).max() for x in (near, far)) < 1e-3


def test_a_wild_sample_in_a_silent_channel_is_named(sung: np.ndarray) -> None:
    other = np.zeros_like(sung)
    other[RATE] = SPIKE
    take = take_of(np.stack((sung, other)), RATE)
    assert take.messages[0].startswith(f"sample {RATE} ")
    assert take.messages[1:] == ("only the left channel carries the vocal",)


def test_a_silent_file_with_a_wild_sample_is_silent(model: Predictor, sung: np.ndarray) -> None:
    samples = np.zeros_like(sung)[None]
    samples[0, 999] = SPIKE
    with pytest.raises(AudioError, match="silent"):
        model.predict(samples, RATE)


def test_a_click_has_no_offset(sung: np.ndarray) -> None:
    samples = np.zeros_like(sung)[None]
    samples[0, 1000:1100] = 0.1
    assert take_of(samples, RATE).messages == ()
