"""Two voices through one strip: reproducible, of two people, inside the ranges, processed."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

from diffconsole.strip import statistics
from diffconsole.strip.parameters import BY_KEY, PARAMETERS
from diffconsole.training.pretraining.processed import (
    WIDE,
    process_several,
    process_two,
    through_strip,
    wide_strip,
)
from diffconsole.training.pretraining.simulate import SAMPLE_RATE, Voices, load_voices

from ...synthetic import write_people


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Voices:
    folder = write_people(tmp_path_factory.mktemp("voices"), {"anna": 1, "ben": 2})
    return load_voices(folder)


def drawn(voices: Voices, seed: int, **options: float) -> tuple[np.ndarray, dict[str, float]]:
    found = process_two(
        voices, [], statistics.load(), np.random.default_rng(seed), seconds=1.0, **options
    )
    return found.output, found.settings


def test_the_same_seed_is_the_same_sound(voices: Voices) -> None:
    (first, strip), (again, same), (other, _) = (drawn(voices, s) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert strip == same
    assert not np.array_equal(first, other)


def test_shape_and_two_different_voices(voices: Voices) -> None:
    output, settings = drawn(voices, 3)
    assert output.shape == (2, SAMPLE_RATE)
    assert output.dtype == np.float32
    assert np.isfinite(output).all()
    assert not np.allclose(output[0], output[1])
    assert set(settings) == {p.key for p in PARAMETERS}


def test_wide_strips_fill_their_ranges() -> None:
    rng = np.random.default_rng(0)
    strips = [wide_strip(rng) for _ in range(300)]
    for key, (low, high) in WIDE.items():
        values = np.array([BY_KEY[key].to_normalised(strip[key]) for strip in strips])
        ends = [BY_KEY[key].to_normalised(end) for end in (low, high)]
        assert ends[0] - 1e-6 <= values.min() and values.max() <= ends[1] + 1e-6
        assert np.ptp(values) > 0.9 * (ends[1] - ends[0])
    # No setting tells another.
    pairs = np.array([[s["compressor.ratio"], s["reverb.wet_db"]] for s in strips])
    assert abs(np.corrcoef(np.log(pairs[:, 0]), pairs[:, 1])[0, 1]) < 0.15


def test_levels_are_left_to_be_heard(voices: Voices) -> None:
    """Louder strips sound louder: gain is a setting like the others."""
    levels, gains = [], []
    for seed in range(24):
        output, settings = drawn(voices, seed, wide_share=1.0)
        levels.append(20.0 * np.log10(np.sqrt(np.mean(output**2))))
        gains.append(settings["output_gain.gain_db"])
    assert np.corrcoef(levels, gains)[0, 1] > 0.5
    assert np.ptp(levels) > 10.0


def hummers() -> Voices:
    """Two people who can be told apart whatever strip they go through: one low, one high."""
    rng = np.random.default_rng(0)
    bands = {"low": (200.0, 800.0), "high": (1600.0, 6400.0)}
    clips = {
        who: [
            scipy.signal.sosfilt(
                scipy.signal.butter(4, band, "bandpass", fs=SAMPLE_RATE, output="sos"),
                rng.standard_normal(4 * SAMPLE_RATE),
            ).astype(np.float32)
        ]
        for who, band in bands.items()
    }
    return Voices(clips, {who: np.ones(1, np.float32) for who in bands})


def is_low(raw: np.ndarray) -> bool:
    freq_hz, power = scipy.signal.welch(raw, SAMPLE_RATE)
    return bool(power[freq_hz < 1100.0].sum() > power[freq_hz >= 1100.0].sum())


def test_by_default_two_people_and_on_demand_one() -> None:
    for share, alike in ((0.0, 0), (1.0, 12)):
        examples = [
            process_two(
                hummers(), [], statistics.load(), np.random.default_rng(seed),
                same_share=share, seconds=1.0,
            )
            for seed in range(12)
        ]  # fmt: skip
        same = [is_low(e.raw[0]) == is_low(e.raw[1]) for e in examples]
        assert sum(same) == alike
    assert {is_low(e.raw[0]) for e in examples} == {True, False}
    assert not any(np.allclose(e.raw[0], e.raw[1], atol=1e-3) for e in examples)


def test_one_singer_is_taken_by_one_microphone() -> None:
    """Two passages of one noise differ by nothing but chance; of two takes by the microphone."""
    noise = np.random.default_rng(1).standard_normal(40 * SAMPLE_RATE).astype(np.float32)
    voices = Voices({"a": [noise], "b": [noise]}, dict.fromkeys("ab", np.ones(1, np.float32)))
    off_db = {}
    for share in (0.0, 1.0):
        made = [
            process_two(
                voices, [], statistics.load(), np.random.default_rng(seed),
                same_share=share, seconds=4.0,
            ).raw
            for seed in range(6)
        ]  # fmt: skip
        spectra = [scipy.signal.welch(raw, SAMPLE_RATE, nperseg=512)[1][:, 4:120] for raw in made]
        off_db[share] = [np.std(10.0 * np.log10(first / second)) for first, second in spectra]
    assert max(off_db[1.0]) < 0.45 < 0.55 < min(off_db[0.0])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_several_voices_share_one_strip(share: float) -> None:
    made = [
        process_several(
            hummers(), [], statistics.load(), np.random.default_rng(seed),
            count=3, same_share=share, seconds=1.0,
        )
        for seed in range(6)
    ]  # fmt: skip
    for each in made:
        assert each.raw.shape == each.output.shape == (3, SAMPLE_RATE)
        assert len(each.levelling_db) == 3
        again, strip, levelling_db = through_strip(each.raw, each.settings)
        assert strip == each.settings
        np.testing.assert_array_equal(again, each.output)
        assert levelling_db == each.levelling_db
        singers = {is_low(raw) for raw in each.raw}
        # Three of two singers: one comes twice.
        assert share == 0.0 or len(singers) == 1
    assert share == 1.0 or any(len({is_low(raw) for raw in each.raw}) == 2 for each in made)


def test_two_are_drawn_as_ever(voices: Voices) -> None:
    output, settings = drawn(voices, 7)
    several = process_several(
        voices, [], statistics.load(), np.random.default_rng(7), count=2, seconds=1.0
    )
    assert several.settings == settings
    np.testing.assert_array_equal(several.output, output)


def test_one_person_gives_two_passages(voices: Voices) -> None:
    output, _ = drawn(voices.of(["anna"]), 5)
    assert output.shape[0] == 2
