"""Whether predicted settings follow from the voice alone, not from how its file came to be.

From each of ten people a clean mono take is joined out of clips, and its settings are predicted.
Then the same voice as it lies in other files: one side of a stereo file, one side inverted or
20 dB quieter, two sides that are alike by half, digital silence before, between and after its
clips, a DC offset, a wild sample or a few of them, other levels, other sample rates. Each line is
the largest deviation of any setting from the clean take's, in percent of its range on the table's
scale, where the input gain counts with the level that the variant has, and what was reported.

Run: ``python -m tests.benchmarks.takes [--voices N] [--model FOLDER] [--json FILE]``. Exits with 1
where a deviation is above 2 % and nothing was reported.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from diffconsole.audio import resample
from diffconsole.model.predictor import Predictor
from diffconsole.strip.parameters import PARAMETERS

VOICES = Path(__file__).resolve().parents[3] / "shared" / "data" / "voices"
PEOPLE = (
    "makam_idil", "makam_goekhan", "kathleen", "kerstin", "tofugu_male", "msc_story",
    "librivox_sonnet", "vocadito_10", "berklee_female", "scottpoid",
)  # fmt: skip
RATES = (44100, 48000, 88200, 96000, 192000)
LEVELS_LUFS = (-55.0, -40.0, -30.0, -10.0, 0.0, 10.0, 20.0)
SECONDS, BAR_PERCENT, WILD_DBFS = 15.0, 2.0, 84.9


def clips_of(person: str) -> tuple[list[np.ndarray], int]:
    """Return clips of a person, fifteen seconds in all, ``(samples,)`` each, and their rate."""
    with open(VOICES / "manifest.csv", newline="", encoding="utf-8") as file:
        names = [row["file"] for row in csv.DictReader(file) if row["person"] == person]
    clips: list[np.ndarray] = []
    rate = 48000
    for name in names:
        samples, rate = soundfile.read(VOICES / name, dtype="float32")
        clips.append(samples)
        if sum(map(len, clips)) >= SECONDS * rate:
            break
    if len(clips) == 1:
        # Something must lie before and after the silence within.
        clips = np.array_split(clips[0], 3)
    return clips, rate


def half_alike(voice: np.ndarray) -> np.ndarray:
    """Return two sides with a correlation of one half, each as loud and as bright as the voice."""
    rng = np.random.default_rng(5)
    spectrum = np.fft.rfft(voice)
    turned = np.exp(1j * np.cumsum(rng.uniform(-0.05, 0.05, len(spectrum))) * 30.0)
    other = np.fft.irfft(spectrum * turned, len(voice))
    other -= voice * (other @ voice) / (voice @ voice)
    other *= np.sqrt((voice @ voice) / (other @ other))
    return np.stack((voice, 0.5 * voice + np.sqrt(0.75) * other)).astype(np.float32)


def wild(voice: np.ndarray, places: list[float]) -> np.ndarray:
    """Return the voice with samples of +84.9 dBFS at these shares of its length."""
    voice = voice.copy()
    for number, place in enumerate(places):
        voice[int(place * len(voice))] = (-1.0) ** number * 10.0 ** (WILD_DBFS / 20.0)
    return voice[None]


def variants(
    clips: list[np.ndarray], rate: int, loudness: float
) -> Iterator[tuple[str, np.ndarray, int, float]]:
    """Yield what a voice may look like: name, ``(channels, samples)``, rate, gain in dB."""
    voice = np.concatenate(clips)
    nothing = np.zeros_like(voice)
    yield "left only", np.stack((voice, nothing)), rate, 0.0
    yield "right only", np.stack((nothing, voice)), rate, 0.0
    yield "both alike", np.stack((voice, voice)), rate, 0.0
    yield "one inverted", np.stack((voice, -voice)), rate, 0.0
    yield "20 dB apart", np.stack((voice, np.float32(0.1) * voice)), rate, 0.0
    yield "half alike", half_alike(voice), rate, 0.0
    yield "half alike, swapped", half_alike(voice)[::-1].copy(), rate, 0.0

    def silence(seconds: float, value: float = 0.0) -> np.ndarray:
        return np.full(int(seconds * rate), value, np.float32)

    between = [part for clip in clips for part in (silence(3.0), clip)][1:]
    yield "silence before", np.concatenate((silence(1.0), voice))[None], rate, 0.0
    yield "silence within", np.concatenate(between)[None], rate, 0.0
    yield "silence after", np.concatenate((voice, silence(10.0)))[None], rate, 0.0
    yield "DC", (voice + np.float32(0.1))[None], rate, 0.0
    yield "DC and silence", (np.concatenate(between) + np.float32(0.1))[None], rate, 0.0
    between = [part + np.float32(0.1) if part.any() else part for part in between]
    yield "DC, no DC in silence", np.concatenate(between)[None], rate, 0.0
    yield "one wild sample", wild(voice, [0.3]), rate, 0.0
    yield "five wild samples", wild(voice, [0.1, 0.3, 0.3001, 0.31, 0.9]), rate, 0.0
    yield "wild, resampled", resample(wild(voice, [0.3]), rate, 44100), 44100, 0.0
    for level in LEVELS_LUFS:
        gain_db = level - loudness
        factor = np.float32(10.0 ** (gain_db / 20.0))
        yield f"{level:+g} LUFS", (voice * factor)[None], rate, gain_db
    for other in RATES:
        if other != rate:
            yield f"{other} Hz", resample(voice[None], rate, other), other, 0.0


def deviation(
    found: dict[str, float], clean: dict[str, float], gain_db: float
) -> tuple[float, str]:
    """Return the largest deviation, in percent of its setting's range, and which it is of."""
    off = {}
    for p in PARAMETERS:
        shift = gain_db if p.key == "input_gain.gain_db" else 0.0
        there, here = p.to_normalised(p.clip(found[p.key] + shift)), p.to_normalised(clean[p.key])
        off[p.key] = 100.0 * abs(there - here)
    worst = max(off, key=lambda key: off[key])
    return off[worst], worst


def main() -> int:
    """Print a line for each variant: the largest deviation over the voices."""
    parser = argparse.ArgumentParser(description="Settings of one voice in different files.")
    parser.add_argument("--voices", type=int, default=len(PEOPLE))
    parser.add_argument("--model", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    model = Predictor.load(arguments.model)
    rows = []
    for person in PEOPLE[: arguments.voices]:
        clips, rate = clips_of(person)
        clean = model.predict(np.concatenate(clips)[None], rate)
        for name, samples, its_rate, gain_db in variants(clips, rate, clean.loudness_lufs):
            found = model.predict(samples, its_rate)
            percent, key = deviation(found.settings, clean.settings, gain_db)
            said = list(getattr(found, "messages", ()))
            rows.append(
                {"voice": person, "variant": name, "percent": round(percent, 3), "setting": key,
                 "input_db": round(found.settings["input_gain.gain_db"] + gain_db
                                   - clean.settings["input_gain.gain_db"], 3),
                 "messages": said}
            )  # fmt: skip
    missed = 0
    for name in dict.fromkeys(row["variant"] for row in rows):
        some = [row for row in rows if row["variant"] == name]
        worst = max(some, key=lambda row: row["percent"])
        over = sum(row["percent"] > BAR_PERCENT for row in some)
        missed += sum(row["percent"] > BAR_PERCENT and not row["messages"] for row in some)
        said = "; ".join(worst["messages"]) or "-"
        print(
            f"{name:22} {worst['percent']:8.2f} %  {worst['voice']:16} {worst['setting']:26} "
            f"{over:2} of {len(some)} over  {said}"
        )
    print(f"{missed} of {len(rows)} above {BAR_PERCENT:g} % without a line")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
