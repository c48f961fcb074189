"""What the simulation undoes: the module, at the settings that come with it, brings it back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffconsole.modules.deesser.process import deesser
from diffconsole.modules.deesser.undo import LEAST_THRESHOLD_DB, esses_db, undo
from diffconsole.modules.gate.process import gate
from diffconsole.modules.gate.undo import MOST_DB, QUIET_DBFS, settings_for
from diffconsole.modules.gate.undo import undo as add_noise

RATE = 44100


def sung(ess_db: float, seconds: float = 4.0) -> np.ndarray:
    """Tones with a burst of hiss and a pause four times in three seconds, about −18 LUFS."""
    rng = np.random.default_rng(1)
    time = np.arange(int(seconds * RATE)) / RATE
    tone = 0.25 * sum(np.sin(2 * np.pi * 220.0 * n * time) / n for n in range(1, 12))
    hiss = np.diff(rng.standard_normal(len(time) + 1)) * 0.1 * 10.0 ** (ess_db / 20.0)
    place = (time / 0.75) % 1.0
    return np.where(place < 0.55, tone, np.where(place < 0.7, hiss, 0.0)).astype(np.float32)


def applied(function, voice: np.ndarray, settings: dict[str, float]) -> np.ndarray:
    own = {name: torch.tensor([value], dtype=torch.float64) for name, value in settings.items()}
    return function(torch.from_numpy(voice)[None, None], RATE, **own)[0, 0].numpy()


def loudest_esses_db(voice: np.ndarray, settings: dict[str, float]) -> float:
    times_ms = settings["attack_ms"], settings["release_ms"]
    ratio, whole = esses_db(voice, RATE, settings["freq_hz"], times_ms)
    return float(np.quantile(ratio[whole > whole.max() - 40.0], 0.98))


@pytest.mark.parametrize("seed", range(6))
def test_esses_are_sharper_and_the_de_esser_brings_them_back(seed):
    voice = sung(-14.0)
    sharp, settings = undo(voice, RATE, np.random.default_rng(seed))
    if settings["range_db"] == 0.0:
        assert sharp is voice
        return
    before, after = (loudest_esses_db(each, settings) for each in (voice, sharp))
    assert 0.5 * settings["range_db"] < after - before < 1.05 * settings["range_db"]
    back = loudest_esses_db(applied(deesser, sharp, settings), settings)
    # To the threshold, which lies 2 dB above where they were.
    assert before - 0.5 < back < before + 2.5


def test_some_voices_keep_their_esses_and_some_do_not():
    ranges = [
        undo(sung(0.0, 1.0), RATE, np.random.default_rng(n))[1]["range_db"] for n in range(30)
    ]
    assert 8 < sum(r == 0.0 for r in ranges) < 22


def test_a_voice_without_esses_is_left_alone():
    voice = sung(-60.0)
    for seed in range(4):
        same, settings = undo(voice, RATE, np.random.default_rng(seed))
        assert same is voice and settings["range_db"] == 0.0
        assert settings["threshold_db"] >= LEAST_THRESHOLD_DB


def pause_db(voice: np.ndarray) -> float:
    """Level in the last part of each pause."""
    place = (np.arange(len(voice)) / RATE / 0.75) % 1.0
    return 10.0 * np.log10(np.mean(voice[place > 0.95].astype(float) ** 2) + 1e-12)


@pytest.mark.parametrize("noise_db", [-62.0, -52.0])
def test_noise_between_phrases_is_turned_down_and_words_are_not(noise_db):
    rng = np.random.default_rng(2)
    clean = sung(0.0, 6.0)
    noisy = (clean + rng.standard_normal(len(clean)) * 10 ** (noise_db / 20)).astype(np.float32)
    settings = settings_for(noisy, RATE, noise_db)
    assert settings["range_db"] == pytest.approx(min(noise_db - QUIET_DBFS, MOST_DB), abs=1.0)
    gated = applied(gate, noisy, settings)
    place = (np.arange(len(clean)) / RATE / 0.75) % 1.0
    words = (place > 0.05) & (place < 0.5)
    change_db = 10.0 * np.log10(np.mean(gated[words] ** 2) / np.mean(noisy[words] ** 2))
    assert abs(change_db) < 0.05


def test_long_pauses_reach_the_range():
    rng = np.random.default_rng(3)
    clean = np.concatenate([sung(0.0, 3.0), np.zeros(2 * RATE, np.float32)])
    noisy = (clean + rng.standard_normal(len(clean)) * 10 ** (-58.0 / 20)).astype(np.float32)
    gated = applied(gate, noisy, settings_for(noisy, RATE, -58.0))
    last = slice(-RATE // 2, None)
    left_db = 10.0 * np.log10(np.mean(gated[last].astype(float) ** 2))
    assert -58.0 - MOST_DB - 0.5 < left_db < -58.0 - 0.7 * MOST_DB


def test_rumble_and_quiet_noise_need_no_gate():
    rng = np.random.default_rng(4)
    voice = sung(0.0, 5.0)
    time = np.arange(len(voice)) / RATE
    rumble = (0.01 * np.sin(2 * np.pi * 35.0 * time)).astype(np.float32)
    assert settings_for(voice + rumble, RATE, -45.0)["range_db"] == 0.0
    quiet = rng.standard_normal(len(voice)).astype(np.float32) * np.float32(10 ** (-90 / 20))
    assert settings_for(voice + quiet, RATE, -90.0)["range_db"] == 0.0


def test_noise_is_seeded_and_settings_stay_in_range():
    first, again, other = (add_noise(sung(0.0), RATE, np.random.default_rng(s)) for s in (5, 5, 6))
    assert np.array_equal(first[0], again[0]) and first[1] == again[1]
    assert not np.array_equal(first[0], other[0])
