"""Raw and mixed files: who belongs to whom, and by how much one lies later than the other."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile

from diffconsole.audio import resample
from diffconsole.errors import AudioError, PairError
from diffconsole.pairs import (
    LOWEST_CORRELATION,
    PAIR_RATE,
    PairFiles,
    align,
    find_pairs,
    load_pair,
    pair_key,
    pairs,
    read_pair_list,
)

from ..synthetic import mixed, voice

HEAVY = {
    "input_gain.gain_db": 6.0,
    "eq.high_pass.freq_hz": 250.0,
    "eq.low_shelf.gain_db": -9.0,
    "eq.peak_2.gain_db": -10.0,
    "eq.peak_3.gain_db": 9.0,
    "eq.high_shelf.gain_db": 12.0,
    "compressor.threshold_db": -45.0,
    "compressor.ratio": 12.0,
    "compressor.attack_ms": 0.5,
    "compressor.makeup_db": 18.0,
    "reverb.decay_s": 2.0,
    "reverb.wet_db": -8.0,
    "pan.position": -0.3,
}


def delayed(audio: np.ndarray, samples: float) -> np.ndarray:
    """Delay the last axis by any number of samples, by a phase ramp over silence on both sides."""
    pad = 4000
    padded = np.pad(audio, [(0, 0)] * (audio.ndim - 1) + [(pad, pad)])
    length = padded.shape[-1]
    ramp = np.exp(-2j * np.pi * np.fft.rfftfreq(length) * samples)
    moved = np.fft.irfft(np.fft.rfft(padded) * ramp, length)
    return moved[..., pad:-pad].astype(np.float32)


def write(path: Path, audio: np.ndarray, rate: int = PAIR_RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.atleast_2d(audio).T, rate, subtype="FLOAT")
    return path


def files(raw: np.ndarray, mix: np.ndarray, folder: Path, mix_rate: int = PAIR_RATE) -> PairFiles:
    return PairFiles(
        "take", write(folder / "raw.wav", raw), write(folder / "mix.wav", mix, mix_rate)
    )


@pytest.fixture(scope="module")
def take() -> np.ndarray:
    return voice(4.0, 1)


# Names


@pytest.mark.parametrize(
    "name",
    [
        "Song 1_raw.wav",
        "song 1-mix.flac",
        "SONG 1 (Mixed).wav",
        "song 1.dry.aiff",
        "Song 1 [wet].ogg",
        "song 1_processed.mp3",
        "song 1_dry_raw.wav",
        "song 1 - Mix -.wav",
        "song 1.wav",
    ],
)
def test_endings_and_case_do_not_count(name: str) -> None:
    assert pair_key(Path(name)) == "song 1"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("remix.wav", "remix"),
        ("Drawn.wav", "drawn"),
        ("mix.wav", "mix"),
        ("rawhide_raw.wav", "rawhide"),
        ("mixed_feelings.wav", "mixed_feelings"),
        ("take_2_raw_01.wav", "take_2_raw_01"),
    ],
)
def test_only_whole_words_at_the_end_are_endings(name: str, key: str) -> None:
    assert pair_key(Path(name)) == key


def test_accents_written_in_one_or_two_characters() -> None:
    names = {pair_key(Path(unicodedata.normalize(f, "Été_raw.wav"))) for f in ("NFC", "NFD")}
    assert len(names) == 1


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_pairs_and_what_is_left_over(tmp_path: Path) -> None:
    raw = touch(tmp_path / "raw", "B_raw.wav", "a.FLAC", "alone.wav", "notes.txt", "._a.wav")
    mix = touch(tmp_path / "mix", "b-mix.mp3", "A (mixed).wav", "other.wav", "cover.png")
    (raw / "sub").mkdir()
    touch(raw / "sub", "other.wav")
    found, left_over = find_pairs(raw, mix)
    assert found == [
        PairFiles("a", raw / "a.FLAC", mix / "A (mixed).wav"),
        PairFiles("B_raw", raw / "B_raw.wav", mix / "b-mix.mp3"),
    ]
    assert left_over == [
        f"{raw / 'alone.wav'}: no partner in {mix}",
        f"{mix / 'other.wav'}: no partner in {raw}",
        f"{raw / 'notes.txt'}: not an audio file by its ending",
        f"{mix / 'cover.png'}: not an audio file by its ending",
    ]


@pytest.mark.parametrize("ending", [".m4a", ".caf", ".aifc", ".oga", ".AIFF", ".mp4", ".bw64"])
def test_every_ending_that_is_read_pairs(tmp_path: Path, ending: str) -> None:
    raw = touch(tmp_path / "raw", f"a_raw{ending}", "b.wav")
    mix = touch(tmp_path / "mix", f"a_mix{ending}", "b.wav")
    found, left_over = find_pairs(raw, mix)
    assert [pair.raw.name for pair in found] == [f"a_raw{ending}", "b.wav"]
    assert left_over == []


def test_thousands_of_other_files_take_few_lines(tmp_path: Path) -> None:
    raw = touch(tmp_path / "raw", "a.wav", *(f"{n}.txt" for n in range(1500)))
    _, left_over = find_pairs(raw, touch(tmp_path / "mix", "a.wav"))
    assert len(left_over) == 21
    assert left_over[-1] == f"{raw}: 1480 more files are not audio files by their endings"


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    raw = touch(tmp_path / "raw", "song.wav", "Song_raw.flac")
    mix = touch(tmp_path / "mix", "song.wav")
    with pytest.raises(PairError, match=r"raw: Song_raw\.flac and song\.wav have the same name"):
        find_pairs(raw, mix)


def test_no_pair_at_all(tmp_path: Path) -> None:
    raw, mix = touch(tmp_path / "raw", "a.wav"), touch(tmp_path / "mix", "b.wav")
    with pytest.raises(PairError, match="no file of .* has a partner .*--pairs CSV"):
        find_pairs(raw, mix)
    touch(tmp_path / "tree" / "disc", "a.wav")
    with pytest.raises(PairError, match=r"in the folders below: .* search them by --recursive$"):
        find_pairs(tmp_path / "tree", mix)


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_not_a_folder(tmp_path: Path, kind: str) -> None:
    wrong = tmp_path / "raw"
    if kind == "file":
        wrong.touch()
    with pytest.raises(PairError, match=f"^{re.escape(str(wrong))}: not a folder"):
        find_pairs(wrong, touch(tmp_path / "mix", "a.wav"))


# Lists


def test_a_list_of_pairs(tmp_path: Path) -> None:
    """Relative to the list, absolute as they are; other columns and a byte order mark pass."""
    far = tmp_path / "far" / "b mix.wav"
    table = tmp_path / "lists" / "pairs.csv"
    table.parent.mkdir()
    text = f"\ufeffsong,raw,mixed\none,a.wav,../mix/a.wav\ntwo,b.wav,{far}\n"
    table.write_text(text, encoding="utf-8")
    assert read_pair_list(table) == [
        PairFiles("a", tmp_path / "lists" / "a.wav", tmp_path / "lists" / "../mix/a.wav"),
        PairFiles("b", tmp_path / "lists" / "b.wav", far),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"", "needs a header with 'raw' and 'mixed'"),
        (b"raw,mixed\n", "and a row for each pair"),
        (b"raw,wet\na.wav,b.wav\n", "needs a header with 'raw' and 'mixed'"),
        (b"raw,mixed\na.wav,b.wav\nc.wav\n", "line 3 lacks a raw or a mixed file"),
        (b"raw,mixed\n,b.wav\n", "line 2 lacks a raw or a mixed file"),
        (b"\xff\xfe\x00\x01", "cannot be read as CSV"),
    ],
)
def test_a_list_that_cannot_be_used(tmp_path: Path, content: bytes | None, said: str) -> None:
    table = tmp_path / "pairs.csv"
    if content is not None:
        table.write_bytes(content)
    with pytest.raises(PairError, match=said) as caught:
        read_pair_list(table)
    assert str(caught.value).startswith(f"{table}: ")


# Alignment


@pytest.mark.parametrize("settings", [{}, HEAVY], ids=["light", "heavy"])
@pytest.mark.parametrize("polarity", [1, -1])
@pytest.mark.parametrize("lag", [-2500.3, -5.5, 0.0, 12.25, 337.0, 22000.75])
def test_lag_and_polarity_through_a_mix(
    take: np.ndarray, settings: Mapping[str, float], polarity: int, lag: float
) -> None:
    mix = polarity * delayed(mixed(take, settings).mean(axis=0), lag)
    found, sign, correlation = align(take, mix)
    # EQ shifts by phase what it passes: a few samples where it is heavy, a fraction where not.
    assert found == pytest.approx(lag, abs=3.0 if settings else 1.0)
    assert sign == polarity
    assert LOWEST_CORRELATION < correlation <= 1.0


@pytest.mark.parametrize("lag", [-3.4, -0.5, 0.0, 0.25, 7.5])
def test_a_fraction_of_a_sample(take: np.ndarray, lag: float) -> None:
    found, polarity, correlation = align(take, 0.3 * delayed(take, lag))
    assert found == pytest.approx(lag, abs=0.1)
    assert polarity == 1
    assert correlation > 0.9


def test_the_other_way_round_is_the_opposite_lag(take: np.ndarray) -> None:
    mix = delayed(mixed(take, HEAVY).mean(axis=0), 400.0)
    there, back = align(take, mix), align(mix, take)
    assert back[0] == pytest.approx(-there[0], abs=0.05)
    assert back[2] == pytest.approx(there[2], abs=1e-6)


def test_lengths_may_differ(take: np.ndarray) -> None:
    """A mix with digital silence before and behind, and a reverb's tail."""
    mix = np.pad(mixed(np.pad(take, (0, 40000)), HEAVY).mean(axis=0), (30000, 5000))
    found, polarity, correlation = align(take, mix)
    assert found == pytest.approx(30000.0, abs=3.0)
    assert polarity == 1
    assert correlation > LOWEST_CORRELATION


# Whole pairs


def test_a_pair_comes_aligned(take: np.ndarray, tmp_path: Path) -> None:
    """The mix moved to the raw's timing and polarity, the raw as it lies."""
    mix = mixed(take, HEAVY)
    pair = load_pair(files(take, -delayed(mix, 700.0), tmp_path))
    assert np.array_equal(pair.raw[0], take)
    assert pair.lag_seconds * PAIR_RATE == pytest.approx(700.0, abs=3.0)
    assert pair.polarity == -1
    assert pair.mixed.shape == (2, len(take))
    assert pair.mixed.dtype == np.float32
    lag = round(pair.lag_seconds * PAIR_RATE) - 700
    expected = np.roll(mix, -lag, axis=1)
    inside = slice(50, len(take) - 750)
    error = pair.mixed[:, inside] - expected[:, inside]
    assert np.abs(error).max() < 1e-3 * np.abs(mix).max()
    assert not pair.mixed[:, -690:].any(), "silence where the mixed file has ended"


def test_a_mix_that_lies_earlier(take: np.ndarray, tmp_path: Path) -> None:
    pair = load_pair(files(take, take[2000:], tmp_path))
    assert pair.lag_seconds * PAIR_RATE == pytest.approx(-2000.0, abs=0.1)
    assert not pair.mixed[:, :2000].any()
    assert np.array_equal(pair.mixed[:, 2000:], np.broadcast_to(take[2000:], (2, len(take) - 2000)))


def test_rates_may_differ(take: np.ndarray, tmp_path: Path) -> None:
    mix = resample(delayed(mixed(take, HEAVY), 882.0), PAIR_RATE, 96000)
    pair = load_pair(files(take, mix, tmp_path, 96000))
    assert pair.lag_seconds == pytest.approx(0.02, abs=3.0 / PAIR_RATE)
    assert pair.raw.shape[1] == pair.mixed.shape[1] == len(take)
    assert pair.correlation > LOWEST_CORRELATION


@pytest.mark.parametrize("other", [2, 3, 4, 5])
def test_another_performance_is_refused(take: np.ndarray, tmp_path: Path, other: int) -> None:
    entry = files(take, mixed(voice(4.0, other), HEAVY), tmp_path)
    with pytest.raises(PairError) as caught:
        load_pair(entry)
    message = str(caught.value)
    found = re.search(r"not the same performance \(correlation (\d\.\d\d), at least 0\.5", message)
    assert found is not None, message
    assert float(found[1]) < LOWEST_CORRELATION
    assert str(entry.raw) in message and str(entry.mixed) in message
    assert "\n" not in message


def test_short_and_silent_files_are_refused(take: np.ndarray, tmp_path: Path) -> None:
    for name, audio, said in (
        ("short", take[: PAIR_RATE - 100], "shorter than 1 s"),
        ("digital", 0 * take, "silent"),
        ("faint", 1e-4 * take, "silent"),
    ):
        for side in (0, 1):
            sides = [take, take]
            sides[side] = audio
            entry = files(sides[0], sides[1], tmp_path / f"{name}{side}")
            with pytest.raises(PairError, match=said) as caught:
                load_pair(entry)
            assert str(caught.value).startswith(str((entry.raw, entry.mixed)[side]))


def test_of_a_long_pair_the_loudest_part_is_kept(
    take: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raw and mix from the same moment; lag and correlation by the whole."""
    monkeypatch.setattr(pairs, "MOST_SECONDS", 2.0)
    song = np.concatenate((0.2 * take, take[::2], 0.2 * voice(3.0, 9)))
    pair = load_pair(files(song, delayed(2.0 * song, 300.0), tmp_path))
    assert pair.raw.shape == (1, 2 * PAIR_RATE)
    start = int(np.flatnonzero(song == pair.raw[0, 0])[0])
    assert start == 4 * PAIR_RATE
    assert pair.lag_seconds * PAIR_RATE == pytest.approx(300.0, abs=0.1)
    assert np.abs(pair.mixed - 2.0 * pair.raw).max() < 1e-3


def test_a_file_that_is_no_audio(take: np.ndarray, tmp_path: Path) -> None:
    entry = files(take, take, tmp_path)
    entry.mixed.write_text("no audio at all")
    with pytest.raises(AudioError, match=re.escape(str(entry.mixed))):
        load_pair(entry)


# The nine real pairs


def real_lags(data_folder: Path) -> dict[str, int]:
    """Song to lag in samples, from the table beside the pairs."""
    text = (data_folder / "real_pairs" / "README.md").read_text()
    return {m[1]: int(m[2]) for m in re.finditer(r"^\| (MusicDelta_\w+) \| (-?\d+) \|", text, re.M)}


TUNED_MS = {"MusicDelta_80sRock": 13.2, "MusicDelta_Britpop": 4.7, "MusicDelta_Gospel": 2.9}
"""Mixes whose waveforms do not follow the raw vocals: the table's lag is the highest peak of a
correlation that has others as high. By windows and by energies they lie here, and match ends 13, 6
and 2 % lower."""


@pytest.mark.slow
def test_real_pairs_are_accepted_where_they_lie(data_folder: Path) -> None:
    lags = real_lags(data_folder)
    assert len(lags) == 9
    for song, lag in lags.items():
        folder = data_folder / "real_pairs" / song
        pair = load_pair(PairFiles(song, folder / "raw.mp3", folder / "mixed.mp3"))
        if song in TUNED_MS:
            assert 1000.0 * pair.lag_seconds == pytest.approx(TUNED_MS[song], abs=1.0), song
        else:
            assert abs(pair.lag_seconds * PAIR_RATE - lag) <= 2.0, song
            assert pair.messages == (), song


@pytest.mark.slow
def test_crossed_real_pairs_are_refused(data_folder: Path) -> None:
    from diffconsole.pairs.pairs import _at_pair_rate

    songs = sorted(real_lags(data_folder))
    sides = [
        [
            _at_pair_rate(data_folder / "real_pairs" / s / f"{side}.mp3")[0].mean(axis=0)
            for s in songs
        ]
        for side in ("raw", "mixed")
    ]
    for i, raw in enumerate(sides[0]):
        for j, mix in enumerate(sides[1]):
            if i != j:
                correlation = align(raw, mix)[2]
                assert correlation < LOWEST_CORRELATION, (songs[i], songs[j], correlation)
