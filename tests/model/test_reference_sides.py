"""What the sides of a reference are: reverb is followed, copies and level differences are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from diffconsole.audio.take import take_of
from diffconsole.model.reference.prediction import Reference, read_references
from diffconsole.model.reference.sides import sides_of
from diffconsole.model.reference.style_features import SIDE_FEATURES
from diffconsole.model.reference.target import reference_style

from ..synthetic import RATE, mixed, voice


@pytest.fixture(scope="module")
def mono() -> np.ndarray:
    return voice(5.0, 7)


def late(mono: np.ndarray, ms: float) -> np.ndarray:
    return np.roll(mono, round(ms * RATE / 1000.0))


def judged(samples: np.ndarray) -> tuple[bool, bool]:
    sides = sides_of(samples, RATE, take_of(samples, RATE))
    return sides.show_reverb, sides.widened


def side_style(samples: np.ndarray) -> np.ndarray:
    return reference_style(samples, RATE, take_of(samples, RATE))[SIDE_FEATURES]


@pytest.mark.parametrize("ms", [0.84, 11.0, 25.0])
@pytest.mark.parametrize("gain", [0.4, 0.7, 1.0])
def test_a_late_side_is_no_reverb(mono, ms, gain) -> None:
    samples = np.stack((mono, gain * late(mono, ms))).astype(np.float32)
    assert judged(samples) == (False, True)
    assert judged(samples[::-1].copy()) == (False, True)


@pytest.mark.parametrize("gain", [0.05, 0.1, 0.3])
def test_a_widener_on_mid_and_side_is_no_reverb(mono, gain) -> None:
    side = gain * late(mono, 15.0)
    assert judged(np.stack((mono + side, mono - side)).astype(np.float32)) == (False, True)


def test_two_singers_are_no_reverb(mono) -> None:
    assert judged(np.stack((mono, voice(5.0, 8)))) == (False, True)


def test_a_level_difference_is_no_side(mono) -> None:
    for gain in (0.7, 0.97):
        samples = np.stack((mono, gain * mono)).astype(np.float32)
        assert judged(samples) == (False, False)
        assert np.isnan(side_style(samples)).all()


@pytest.mark.parametrize("decay_s", [0.15, 0.8, 3.0])
@pytest.mark.parametrize("wet_db", [-25.0, -8.0])
def test_reverb_is_reverb_whatever_the_balance(mono, wet_db, decay_s) -> None:
    samples = mixed(mono, {"reverb.wet_db": wet_db, "reverb.decay_s": decay_s})
    assert judged(samples) == (True, False)
    panned = samples * np.array([[1.0], [0.8]], np.float32)
    assert judged(panned) == (True, False)
    np.testing.assert_allclose(side_style(panned), side_style(samples), atol=0.7)


def test_it_is_reported_where_the_space_is_followed(mono, tmp_path: Path) -> None:
    path = tmp_path / "wide.wav"
    soundfile.write(path, np.stack((mono, late(mono, 11.0)), axis=1), RATE, subtype="FLOAT")
    (found,) = read_references([path])
    lines = [line for line in found.messages if "its width is not followed" in line]
    assert len(lines) == 1
    assert "wide.wav: the reference is doubled or widened" in lines[0]
    (found,) = read_references([path], [1.0], {"space": [0.0]})
    assert not any("width" in line for line in found.messages)
    soundfile.write(path, mixed(mono, {"reverb.wet_db": -15.0}).T, RATE, subtype="FLOAT")
    assert not any("width" in line for line in read_references([path])[0].messages)


def test_references_of_one_name_are_told_apart(mono, tmp_path: Path) -> None:
    paths = [tmp_path / place for place in ("a/mix.wav", "b/mix.wav", "other.wav", "a/mix.wav")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, mono, RATE, subtype="FLOAT")
    names = [reference.record()["name"] for reference in read_references(paths)]
    assert names == ["a/mix.wav (1)", "b/mix.wav", "other.wav", "a/mix.wav (2)"]
    assert Reference("x", mono[None], RATE).is_widened is False
