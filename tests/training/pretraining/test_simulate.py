"""Simulated raw vocals: the strip that is the label is what finishes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch

from diffconsole.audio import loudness_lufs
from diffconsole.errors import AudioError
from diffconsole.model.predictor import REFERENCE_LUFS
from diffconsole.strip.parameters import PARAMETERS
from diffconsole.training.pretraining import simulate as module
from diffconsole.training.pretraining.simulate import Voices, load_rooms, load_voices, simulate
from diffconsole.training.pretraining.strips import Strips

from ...synthetic import RATE, voice, write_people

PEOPLE = {"anna": 1, "ben": 2, "carla": 3}
SECONDS = 2.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("voices"), PEOPLE)


@pytest.fixture(scope="module")
def voices(folder: Path) -> Voices:
    return load_voices(folder)


@pytest.fixture(scope="module")
def strips() -> Strips:
    return Strips.around_anchor()


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng((11, seed))


def finished_of(voices: Voices, seed: int) -> np.ndarray:
    """The finished voice that `simulate` starts from: its first draws again."""
    rng = rng_of(seed)
    people = sorted(voices.clips)
    person = people[int(rng.integers(len(people)))]
    crop = module.crop(voices.clips[person], int(SECONDS * RATE), rng)
    return scipy.signal.oaconvolve(crop, voices.corrections[person], mode="same")


def octaves_db(mono: np.ndarray) -> np.ndarray:
    """Long-term level in octaves from 250 Hz to 8 kHz, around their mean."""
    freq_hz, power = scipy.signal.welch(mono, RATE, nperseg=4096)
    edges = 88.4 * 2.0 ** np.arange(1, 8)
    bands = [
        power[(freq_hz >= a) & (freq_hz < b)].sum() for a, b in zip(edges, edges[1:], strict=False)
    ]
    levels = 10.0 * np.log10(np.array(bands) + 1e-12)
    return levels - levels.mean()


# Examples


@pytest.fixture(scope="module")
def examples(voices: Voices, strips: Strips) -> list[tuple[np.ndarray, module.Example, np.ndarray]]:
    """Finished voice, example and mix, a dozen times."""
    made = [(seed, simulate(voices, [], strips, rng_of(seed), SECONDS)) for seed in range(12)]
    return [(finished_of(voices, seed), example, example.mix()) for seed, example in made]


def test_labels_are_whole_strips_inside_the_ranges(
    examples: list[tuple[np.ndarray, module.Example, np.ndarray]],
) -> None:
    for _, example, _ in examples:
        assert set(example.settings) == {p.key for p in PARAMETERS}
        assert all(p.low <= example.settings[p.key] <= p.high for p in PARAMETERS)
        unit = example.normalised()
        assert unit.shape == (len(PARAMETERS),)
        assert (unit >= 0.0).all() and (unit <= 1.0).all()
        place = next(i for i, p in enumerate(PARAMETERS) if p.key == "compressor.ratio")
        back = PARAMETERS[place].to_physical(float(unit[place]))
        assert back == pytest.approx(example.settings["compressor.ratio"], rel=1e-5)


def test_raw_lies_at_the_reference_loudness(
    examples: list[tuple[np.ndarray, module.Example, np.ndarray]],
) -> None:
    """But for the rumble and the noise on top of it."""
    for _, example, _ in examples:
        assert example.raw.shape == (int(SECONDS * RATE),)
        assert example.raw.dtype == np.float32
        assert loudness_lufs(example.raw[None], RATE) == pytest.approx(REFERENCE_LUFS, abs=1.0)


def test_the_mix_lies_at_the_reference_loudness(
    examples: list[tuple[np.ndarray, module.Example, np.ndarray]],
) -> None:
    found = [loudness_lufs(mix, RATE) for _, _, mix in examples]
    assert np.abs(np.array(found) - REFERENCE_LUFS).max() < 2.5
    assert np.mean(found) == pytest.approx(REFERENCE_LUFS, abs=1.0)


def tone_errors(
    examples: list[tuple[np.ndarray, module.Example, np.ndarray]], bypass: tuple[str, ...]
) -> np.ndarray:
    """Octave levels of the raw, and of the strip's output, against the finished voice."""
    from diffconsole.console import Console

    rows = []
    for finished, example, _ in examples:
        settings = {k: torch.tensor([v]).double() for k, v in example.settings.items()}
        with torch.inference_mode():
            audio = torch.from_numpy(example.raw)[None, None]
            result = Console(RATE, bypass=bypass)(audio, settings)[0].mean(dim=0).numpy()
        goal = octaves_db(finished)
        rows.append([np.abs(octaves_db(a) - goal).mean() for a in (example.raw, result)])
    return np.array(rows)


def test_the_strips_eq_brings_the_tone_back(
    examples: list[tuple[np.ndarray, module.Example, np.ndarray]],
) -> None:
    errors = tone_errors(examples, ("reverb", "compressor", "eq.high_pass", "eq.low_pass"))
    assert (errors[:, 1] < errors[:, 0]).mean() >= 0.9
    assert errors[:, 1].mean() < 0.5 * errors[:, 0].mean()


def test_the_whole_strip_comes_nearer_to_the_finished_tone(
    examples: list[tuple[np.ndarray, module.Example, np.ndarray]],
) -> None:
    """Though its cuts, its compressor and its reverb do more than undo."""
    errors = tone_errors(examples, ())
    assert (errors[:, 1] < errors[:, 0]).mean() > 0.6
    assert errors[:, 1].mean() < 0.9 * errors[:, 0].mean()


def test_undoing_an_eq_and_applying_it_is_nothing(voices: Voices) -> None:
    """Bells and shelves of opposite gains are inverse; the cuts are left to the strip."""
    from diffconsole.console import equalizer
    from diffconsole.strip.parameters import default_settings

    settings = default_settings() | {
        "eq.low_shelf.gain_db": 9.0,
        "eq.peak_1.gain_db": -12.0,
        "eq.peak_3.gain_db": 7.0,
        "eq.high_shelf.gain_db": -5.0,
    }
    sung = voice(1.0, 4)
    undone = module._undo_eq(sung, settings)
    assert np.abs(undone - sung).max() > 0.1 * np.abs(sung).max()
    tensors = {k: torch.tensor([v], dtype=torch.float64) for k, v in settings.items()}
    cuts = ("eq.high_pass", "eq.low_pass")
    again = equalizer(torch.from_numpy(undone)[None, None], RATE, tensors, cuts)[0, 0].numpy()
    assert np.abs(again - sung).max() < 1e-5 * np.abs(sung).max()


def test_the_same_generator_makes_the_same_example(voices: Voices, strips: Strips) -> None:
    first, again, other = (simulate(voices, [], strips, rng_of(s), 1.0) for s in (3, 3, 4))
    assert np.array_equal(first.raw, again.raw)
    assert first.settings == again.settings
    assert not np.array_equal(first.raw, other.raw)


def test_a_room_lowers_the_reverb_and_a_dry_raw_tells_nothing_of_it(
    voices: Voices, strips: Strips
) -> None:
    """Rooms ring after the voice; where there is none, the strip has any amount of reverb."""
    room = np.zeros(RATE, np.float32)
    room[RATE // 2] = 1.0
    echo, wet = [], []
    for seed in range(48):
        dry, roomy = (simulate(voices, r, strips, rng_of(seed), 1.5) for r in ([], [room]))
        assert dry.settings["reverb.wet_db"] == roomy.settings["reverb.wet_db"]
        late = roomy.raw[RATE // 2 :] / np.std(roomy.raw)
        early = roomy.raw[: -(RATE // 2)] / np.std(roomy.raw)
        plain = dry.raw[RATE // 2 :] / np.std(dry.raw)
        echo.append(np.mean(late * early) - np.mean(plain * early))
        wet.append(dry.settings["reverb.wet_db"])
    driest, roomiest = np.array_split(np.array(wet)[np.argsort(echo)], 2)
    assert np.median(roomiest) < np.median(driest) - 2.0
    # From the lower to the upper half of what is drawn.
    low, high = (strips.strip(strips.middle, rank)["reverb.wet_db"] for rank in (0.25, 0.75))
    assert np.mean(driest < low) > 0.1
    assert np.mean(driest > high) > 0.1


# Voices


def test_people_can_be_restricted(voices: Voices, strips: Strips) -> None:
    some = voices.of(["carla"])
    assert list(some.clips) == list(some.corrections) == ["carla"]
    with pytest.raises(KeyError):
        voices.of(["nobody"])
    # Of one person, all that is heard is theirs: another's clips may be anything.
    silent = Voices({**voices.clips, "anna": [np.full(10, np.nan)]}, voices.corrections)
    for seed in range(4):
        assert np.isfinite(simulate(silent.of(["ben"]), [], strips, rng_of(seed), 1.0).raw).all()


def test_clips_are_levelled_at_the_working_rate(tmp_path: Path) -> None:
    for name, rate, level in (("a", 48000, 0.01), ("b", 22050, 0.3)):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "x.flac", voice(2.0, 5, rate, level), rate)
    found = load_voices(tmp_path)
    for clips in found.clips.values():
        assert len(clips[0]) == pytest.approx(2.0 * RATE, abs=2)
        assert loudness_lufs(clips[0][None], RATE) == pytest.approx(REFERENCE_LUFS, abs=0.05)


def test_corrections_bring_tones_together(tmp_path: Path) -> None:
    """A dull and a bright recording of one voice, to the mean of both and to one of them."""
    sung = voice(6.0, 6)
    for name, gain in (("bright", 0.9), ("dull", -0.6)):
        (tmp_path / name).mkdir()
        tilted = scipy.signal.lfilter([1.0, -gain], [1.0], sung)
        soundfile.write(tmp_path / name / "x.wav", tilted / np.abs(tilted).max() / 2, RATE)

    def apart(found: Voices, *people: str) -> float:
        after = [
            octaves_db(
                scipy.signal.oaconvolve(found.clips[p][0], found.corrections[p], mode="same")
            )
            for p in people
        ]
        return float(np.abs(after[0] - after[1]).mean())

    for reference in ((), ("dull",)):
        found = load_voices(tmp_path, reference)
        before = np.abs(np.subtract(*(octaves_db(c[0]) for c in found.clips.values()))).mean()
        assert before > 4.0
        assert apart(found, "bright", "dull") < 0.5 * before
    gain_db = 20.0 * np.log10(np.abs(np.fft.rfft(found.corrections["dull"])) + 1e-9)
    assert np.abs(gain_db[20:300] - np.median(gain_db[20:300])).max() < 0.1, "itself is left"


@pytest.mark.parametrize("content", ["nothing", "silent", "short", "hidden"])
def test_nobody_to_hear(tmp_path: Path, content: str) -> None:
    (tmp_path / "anna").mkdir()
    clips = {"silent": 1e-5 * voice(2.0), "short": voice(0.9), "hidden": voice(2.0)}
    if content in clips:
        name = "._x.wav" if content == "hidden" else "x.wav"
        soundfile.write(tmp_path / "anna" / name, clips[content], RATE)
    with pytest.raises(AudioError, match="no audio in the folders below it"):
        load_voices(tmp_path)


def test_folders_and_people_that_are_not_there(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(AudioError, match="not a folder"):
        load_voices(tmp_path / "none")
    with pytest.raises(AudioError, match="no folder 'dora', which the reference names"):
        load_voices(folder, ("anna", "dora"))


# Rooms


def test_rooms_have_unit_energy(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i, rate in enumerate((44100, 96000)):
        tail = rng.normal(size=(3 * rate, 2)) * np.exp(-np.arange(3 * rate) / rate)[:, None]
        soundfile.write(tmp_path / f"{i}.wav", 0.1 * tail / np.abs(tail).max(), rate)
    (tmp_path / "notes.txt").write_text("no audio")
    rooms = load_rooms(tmp_path)
    assert len(rooms) == 2
    for room in rooms:
        assert room.shape == (2 * RATE,)
        assert float(np.sum(room**2)) == pytest.approx(1.0, rel=1e-4)
    assert load_rooms(None) == []


def test_rooms_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="not a folder"):
        load_rooms(tmp_path / "none")
    with pytest.raises(AudioError, match="no audio in it"):
        load_rooms(tmp_path)
    soundfile.write(tmp_path / "x.wav", np.zeros(1000), RATE)
    with pytest.raises(AudioError, match=r"x\.wav: a silent impulse response"):
        load_rooms(tmp_path)


# Finished vocals


def test_finished_voices_differ_as_mixed_vocals_do(voices: Voices, tmp_path: Path) -> None:
    sung = voice(4.0, 7)
    for number, tilt in enumerate((-0.8, -0.3, 0.3, 0.8)):
        tilted = scipy.signal.lfilter([1.0, -tilt], [1.0], sung)
        soundfile.write(tmp_path / f"{number}.wav", tilted / np.abs(tilted).max() / 2, RATE)
    people = write_people(tmp_path / "voices", PEOPLE)
    found = load_voices(people, finished=tmp_path)
    assert len(found.residuals_db) == 4
    spread_db = np.sqrt(np.mean(np.array(found.residuals_db)[:, module.VOICE_BINS] ** 2))
    assert 1.0 < spread_db <= module.MIXED_SPREAD_DB + 1e-6

    def slope_db(rng: np.random.Generator) -> float:
        """Of the finished voice from 250 Hz to 8 kHz."""
        fir = found.correction("anna", rng)
        octaves = octaves_db(scipy.signal.oaconvolve(found.clips["anna"][0], fir, mode="same"))
        return float(np.polyfit(range(len(octaves)), octaves, 1)[0])

    slopes = [slope_db(np.random.default_rng((1, i))) for i in range(24)]
    assert np.std(slopes) > 0.3, "they differ"
    assert slope_db(np.random.default_rng((1, 0))) == slopes[0], "by the seed alone"
    same = voices.correction("anna", np.random.default_rng(2))
    assert np.array_equal(same, voices.corrections["anna"]), "one tone without mixed vocals"


def test_a_folder_without_mixed_vocals(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no audio in it; give a folder with mixed vocals"):
        load_voices(folder, finished=tmp_path)
    with pytest.raises(AudioError, match="not a folder; give one with mixed vocals"):
        load_voices(folder, finished=tmp_path / "none")
