"""Voices for pretraining out of shards: a few clips in memory, which move on with the examples.

The clips of all shards, the shards in an order that is drawn for each pass, are divided into
tracks of equal length, each read from its beginning to its end. A stream has :data:`TRACKS` of
them; example number k of a stream draws from a window of :data:`WINDOW` clips, those from number
:data:`STEP`·k on, taken from its tracks in turn. The steps of a run take turns among the streams.
So an example depends on the seed and its number alone, whatever process makes it; the archives are
read sequentially, and an earlier example can be made again.

Which voices a batch has in common is decided by the pool of examples (:mod:`.examples`), which is
the larger shuffle buffer: 2,000 examples.
"""

from __future__ import annotations

import io
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import IO

import numpy as np
import scipy.signal

from ...errors import AudioError
from .shards import ShardTable, open_shard
from .simulate import (
    SAMPLE_RATE,
    SHORTEST_SECONDS,
    Voices,
    _correction,
    levelled,
)

__all__ = [
    "ShardVoices",
    "clip_spectrum_db",
    "finished_target_db",
    "sample_clips",
    "voices_of_clips",
]

TRACKS, WINDOW, STEP = 4, 16, 2
CLIP_SECONDS = 12.0
"""Of a longer clip a passage of this length is kept, at a place that is drawn in each pass."""

SAMPLE_CLIPS = 256
"""Clips in memory of those trained on, and of the validation speakers: for the mean tone, the mean
voice, and what is measured in the end."""

ORDER_SEED, PASSAGE_SEED, SAMPLE_SEED = 5, 6, 7
MOST_OPEN = 8
LEAST_RATE, HIGHEST_RATE = 16_000, 192_000


class _Reader:
    """Clips of shards, decoded; the latest ones stay in memory."""

    def __init__(self, table: ShardTable, seed: int, kept: int) -> None:
        self.table, self.seed, self.kept = table, seed, kept
        self.files: OrderedDict[int, IO[bytes]] = OrderedDict()
        self.clips: OrderedDict[tuple[int, int], tuple[np.ndarray, np.ndarray] | None]
        self.clips = OrderedDict()

    def clip(self, place: int, turn: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Return a clip at −18 LUFS and its spectrum; None where it is too short or damaged."""
        key = (place, turn)
        if key not in self.clips:
            rng = np.random.default_rng((self.seed, PASSAGE_SEED, turn, place))
            mono = _decoded(self._content(place), rng)
            self.clips[key] = None if mono is None else (mono, clip_spectrum_db(mono))
            while len(self.clips) > self.kept:
                self.clips.popitem(last=False)
        self.clips.move_to_end(key)
        return self.clips[key]

    def _content(self, place: int) -> bytes:
        table = self.table
        shard = int(table.shard[place])
        if shard not in self.files:
            self.files[shard] = open_shard(table.names[shard])
            while len(self.files) > MOST_OPEN:
                self.files.popitem(last=False)[1].close()
        self.files.move_to_end(shard)
        try:
            self.files[shard].seek(int(table.offset[place]))
            return self.files[shard].read(int(table.size[place]))
        except OSError as error:
            raise AudioError(
                f"{table.names[shard]}: cannot be read any more ({error.strerror or error}); "
                "repeat the command to resume"
            ) from None


class ShardVoices:
    """What the examples of a run on shards are made of.

    Parameters
    ----------
    table : ShardTable
        Where the clips lie.
    places : ndarray
        Those of the clips that are trained on.
    seed : int
        Of the orders and passages.
    streams : int
        Streams at most; fewer where there are few clips.
    fresh : int
        New examples in each step.
    target_db, residuals_db
        Of finished voices, as :class:`.simulate.Voices` has them.
    """

    def __init__(
        self,
        table: ShardTable,
        places: np.ndarray,
        seed: int,
        streams: int,
        fresh: int,
        target_db: np.ndarray,
        residuals_db: tuple[np.ndarray, ...],
    ) -> None:
        self.table, self.places, self.seed, self.fresh = table, places, seed, fresh
        self.target_db, self.residuals_db = target_db, residuals_db
        self.tracks = min(TRACKS, len(places))
        self.streams = max(1, min(streams, len(places) // self.tracks))
        self.reader = _Reader(table, seed, WINDOW * self.streams)
        self.orders: OrderedDict[int, np.ndarray] = OrderedDict()

    def at(self, number: int) -> Voices:
        """Return the voices that an example draws from.

        Raises
        ------
        AudioError
            A shard cannot be read, or none of the clips can be used.
        """
        clips: Clips = {}
        places = self.window(number)
        for place, turn in places:
            clip = self.reader.clip(place, turn)
            if clip is not None:
                name = self.table.speakers[int(self.table.speaker[place])]
                clips.setdefault(name, []).append(clip)
        if not clips:
            shard = self.table.names[int(self.table.shard[places[0][0]])]
            raise AudioError(
                f"{shard}: {len(places)} clips in turn are silent, under a second or cannot be "
                "decoded; write the shards again"
            )
        return voices_of_clips(clips, self.target_db, self.residuals_db)

    def window(self, number: int) -> list[tuple[int, int]]:
        """Return places in the table and passes of the clips that an example draws from."""
        step, rest = divmod(number, self.fresh)
        turn, stream = divmod(step, self.streams)
        first = STEP * (turn * self.fresh + rest)
        return [self._at(stream, at) for at in range(first, first + WINDOW)]

    def _at(self, stream: int, at: int) -> tuple[int, int]:
        """Place and pass of a stream's clip number `at`."""
        along, which = divmod(at, self.tracks)
        track, count = stream * self.tracks + which, self.streams * self.tracks
        start, end = (len(self.places) * t // count for t in (track, track + 1))
        turn, offset = divmod(along, end - start)
        return int(self._order(turn)[start + offset]), turn

    def _order(self, turn: int) -> np.ndarray:
        """Places of all clips in the order of a pass: shard by shard."""
        if turn not in self.orders:
            rng = np.random.default_rng((self.seed, ORDER_SEED, turn))
            rank = rng.permutation(len(self.table.names))[self.table.shard[self.places]]
            self.orders[turn] = self.places[np.argsort(rank, kind="stable")]
            while len(self.orders) > 3:
                self.orders.popitem(last=False)
        return self.orders[turn]


class _Corrections(dict[str, np.ndarray]):
    """Filters of speakers, each made when it is asked for."""

    def __init__(self, missing_db: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.missing_db = missing_db

    def __missing__(self, person: str) -> np.ndarray:
        self[person] = _correction(self.missing_db[person])
        return self[person]


Clips = dict[str, list[tuple[np.ndarray, np.ndarray]]]
"""By speaker, clips at −18 LUFS and their spectra in dB."""


def voices_of_clips(
    clips: Clips, target_db: np.ndarray, residuals_db: tuple[np.ndarray, ...] = ()
) -> Voices:
    """Return voices of clips, with the finished spectrum and what finished voices differ by."""
    missing = {name: target_db - _mean_db(some) for name, some in clips.items()}
    parts = {name: [mono for mono, _ in some] for name, some in clips.items()}
    return Voices(parts, _Corrections(missing), missing, residuals_db)


def finished_target_db(clips: Clips) -> np.ndarray:
    """Return the mean over speakers of their long-term spectra, in dB."""
    mean: np.ndarray = np.mean([_mean_db(some) for some in clips.values()], axis=0)
    return mean


def _mean_db(clips: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The mean power of a speaker's clips, by their spectra."""
    mean: np.ndarray = 10.0 * np.log10(np.mean([10.0 ** (db / 10.0) for _, db in clips], axis=0))
    return mean


def sample_clips(
    table: ShardTable, places: np.ndarray, seed: int, count: int = SAMPLE_CLIPS
) -> Clips:
    """Draw clips, and read them in the order of the shards; by speaker.

    Raises
    ------
    AudioError
        None of them can be used.
    """
    rng = np.random.default_rng((seed, SAMPLE_SEED))
    drawn = np.sort(rng.permutation(places)[:count])
    reader = _Reader(table, seed, 1)
    clips: Clips = {}
    for place in drawn.tolist():
        clip = reader.clip(place, 0)
        if clip is not None:
            clips.setdefault(table.speakers[int(table.speaker[place])], []).append(clip)
    if not clips:
        raise AudioError(
            f"{table.names[0]}: of {len(drawn)} clips all are silent, under a second or cannot be "
            "decoded; write the shards again"
        )
    return dict(sorted(clips.items()))


def clip_spectrum_db(mono: np.ndarray) -> np.ndarray:
    """Return the long-term spectrum in dB over thirds of an octave, ``(513,)`` to 22.05 kHz."""
    freq_hz, power = scipy.signal.welch(mono, SAMPLE_RATE, nperseg=4096)
    sums = np.concatenate(([0.0], np.cumsum(power, dtype=np.float64)))
    middle = freq_hz[::4]
    first = np.searchsorted(freq_hz, middle / 2 ** (1 / 6))
    end = np.searchsorted(freq_hz, middle * 2 ** (1 / 6), side="right")
    mean = (sums[end] - sums[first]) / (end - first)
    spectrum: np.ndarray = 10.0 * np.log10(np.maximum(mean, 0.0) + 1e-12)
    return spectrum


def _decoded(content: bytes, rng: np.random.Generator) -> np.ndarray | None:
    """A clip, or a passage of a long one, as mono at 44.1 kHz and −18 LUFS, if it can be used."""
    import soundfile

    from ...audio import resample

    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            rate, frames = int(file.samplerate), int(file.frames)
            if not LEAST_RATE <= rate <= HIGHEST_RATE or file.channels > 2:
                return None
            length = math.ceil(CLIP_SECONDS * rate)
            if frames > length:
                file.seek(int(rng.integers(frames - length + 1)))
            samples = file.read(min(frames, length), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, ValueError, MemoryError):
        return None
    if len(samples) < SHORTEST_SECONDS * rate or not np.isfinite(samples).all():
        return None
    mono = resample(samples.mean(axis=1)[None], rate, SAMPLE_RATE)[0]
    return levelled(mono) if float(np.max(np.abs(mono))) > 1e-3 else None
