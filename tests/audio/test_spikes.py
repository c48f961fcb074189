"""Wild samples are found and replaced; loud sounds stay."""

from __future__ import annotations

import numpy as np
import pytest

from diffconsole.audio.spikes import without_wild_samples

from ..synthetic import RATE, voice


def spoilt(take: np.ndarray, places: list[int], value: float) -> np.ndarray:
    take = take.copy()
    take[places] = value
    return take[None]


@pytest.mark.parametrize("rate", [16000, 44100, 192000])
@pytest.mark.parametrize("value", [17580.0, -17580.0, 1e30, -60.0])
def test_a_wild_sample_is_a_line_between_its_neighbours(rate: int, value: float) -> None:
    take = voice(1.0, 2, rate)
    at = rate // 2
    found, messages = without_wild_samples(spoilt(take, [at], value), rate)
    assert found[0, at] == pytest.approx(0.5 * (take[at - 1] + take[at + 1]), abs=1e-4)
    rest = np.delete(np.arange(rate), at)
    assert np.array_equal(found[0, rest], take[rest])
    level_db = 20.0 * np.log10(abs(value))
    assert messages == (
        f"sample {at} (0.500 s) reaches {level_db:+.1f} dBFS, far above everything around it; "
        "the settings ignore it, repair it in an editor",
    )


def test_the_first_and_the_last_sample_may_be_wild() -> None:
    take = voice(1.0, 2)
    found, messages = without_wild_samples(spoilt(take, [0, RATE - 1], 5000.0), RATE)
    assert np.abs(found).max() <= np.abs(take).max()
    assert len(messages) == 2


def test_many_are_counted() -> None:
    take = voice(2.0, 2)
    places = [3000, 9000, 20000, 44000, 80000]
    found, messages = without_wild_samples(spoilt(take, places, 900.0), RATE)
    assert np.abs(found).max() <= np.abs(take).max()
    assert len(messages) == 3
    assert "so do 3 more, up to +59.1 dBFS, until sample 80000" in messages[-1]


def test_a_damaged_block_and_its_ringing_go() -> None:
    from diffconsole.audio import resample

    take = voice(1.0, 2, 48000)
    block = spoilt(take, list(range(20000, 20400)), 700.0)
    found, _ = without_wild_samples(resample(block, 48000, RATE), RATE)
    assert np.abs(found).max() < 4.0 * np.abs(take).max()


def pop(seconds: float) -> np.ndarray:
    """A plosive that hits the microphone: 60 Hz, 60 ms."""
    times = np.arange(int(seconds * RATE)) / RATE
    return np.where(times < 0.06, np.sin(2.0 * np.pi * 60.0 * times), 0.0)


@pytest.mark.parametrize(
    "take",
    [
        voice(2.0, 3),
        np.concatenate((voice(2.0, 3), 30.0 * voice(0.2, 5))),
        np.concatenate((1e-3 * voice(3.0, 3), voice(0.1, 5), 1e-3 * voice(3.0, 4))),
        np.concatenate((0.01 * voice(1.0, 3), pop(0.1), 0.01 * voice(1.0, 4))),
        np.eye(1, RATE, 100)[0],
        np.tile(np.eye(1, 1000, 5)[0], 90) + 1e-4 * voice(90000 / RATE, 2),
        np.zeros(RATE),
    ],
    ids=["voice", "shout", "words after noise", "pop", "impulse", "click track", "silence"],
)
def test_what_was_recorded_stays(take: np.ndarray) -> None:
    samples = take.astype(np.float32)[None]
    found, messages = without_wild_samples(samples, RATE)
    assert found is samples
    assert messages == ()
