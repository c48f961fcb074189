"""What a pretraining run is made of: voices, who is trained on and who is not, rooms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import AudioError, ModelError
from ..distributed import SINGLE_PROCESS, Workers
from .card import sources_of
from .examples import schedule_of
from .pretrain_options import PretrainOptions
from .shard_voices import ShardVoices, finished_target_db, sample_clips, voices_of_clips
from .shards import read_table, shards_of
from .simulate import Voices, _finished_spectra, _mixed_vocals, load_rooms, load_voices

__all__ = ["Material", "load_material"]


@dataclass(frozen=True)
class Material:
    """Voices and rooms of a run.

    Attributes
    ----------
    training : Voices or ShardVoices
        What the examples are made of.
    known : Voices
        Speakers that are trained on, for what is measured on them in the end.
    strangers : Voices
        The validation speakers; those trained on, where there are no others.
    rooms : list of ndarray
        Impulse responses.
    people : list of str
        All speakers that are trained on.
    sources : dict
        Where voices, rooms and mixed vocals come from, by their manifests.
    shards : str or None
        What distinguishes the shards from others.
    """

    training: Voices | ShardVoices
    known: Voices
    strangers: Voices
    rooms: list[np.ndarray]
    people: list[str]
    sources: dict[str, list[dict[str, Any]]]
    shards: str | None = None


def load_material(options: PretrainOptions, workers: Workers = SINGLE_PROCESS) -> Material:
    """Read what the options name.

    Raises
    ------
    ModelError
        A speaker to hold out is not there, or none is left to train on.
    AudioError
        The voices or rooms cannot be read.
    """
    shards = shards_of(options.voices)
    if shards is not None:
        return _from_shards(options, shards, workers)
    if Path(options.voices).is_dir():
        # Before minutes of reading.
        _check_people(options, {p.name for p in Path(options.voices).iterdir()})
    voices = load_voices(options.voices, options.reference, options.finished)
    _check_people(options, set(voices.clips))
    people = _trained_on(options, list(voices.clips))
    rooms = load_rooms(options.rooms)
    sources = _sources(options, options.voices)
    known = voices.of(people)
    strangers = voices.of(_strangers(options, people))
    return Material(known, known, strangers, rooms, people, sources)


def _from_shards(options: PretrainOptions, names: list[str], workers: Workers) -> Material:
    """Voices that are read while they are trained on; of others, and of the mean, a sample."""
    table = read_table(names, workers)
    digest = table.digest()
    if len(set(workers.gather(digest))) > 1:
        raise ModelError(
            f"{options.voices}: other processes of the run see other shards; give all the same"
        )
    _check_people(options, set(table.speakers), "speaker")
    for person in options.reference:
        if person not in table.speakers:
            raise AudioError(f"{options.voices}: no speaker {person!r}, whom the reference names")
    people = _trained_on(options, table.speakers)
    rooms = load_rooms(options.rooms)
    is_local = "://" not in names[0]
    sources = _sources(options, Path(names[0]).parent if is_local else None)
    places = table.clips_of(people)
    sample = sample_clips(table, places, options.seed)
    if options.finished is not None:
        folder = Path(options.finished)
        target_db, residuals_db = _finished_spectra(folder, _mixed_vocals(folder))
    else:
        residuals_db = ()
        of_reference = sample
        if options.reference:
            mine = table.clips_of(options.reference)
            of_reference = sample_clips(table, mine, options.seed)
        target_db = finished_target_db(of_reference)
    strangers = sample_clips(table, table.clips_of(_strangers(options, people)), options.seed)
    fresh = schedule_of(options.seed, options.batch).fresh
    training = ShardVoices(
        table, places, options.seed, options.streams, fresh, target_db, residuals_db
    )
    return Material(
        training,
        voices_of_clips(sample, target_db, residuals_db),
        voices_of_clips(strangers, target_db, residuals_db),
        rooms,
        people,
        sources,
        digest,
    )


def _sources(
    options: PretrainOptions, voices: str | Path | None
) -> dict[str, list[dict[str, Any]]]:
    """By their manifests; read before the training, so that mistakes there are reported early."""
    return {
        "voices": sources_of(voices, "person"),
        "rooms": sources_of(options.rooms, "kind"),
        **({"finished": sources_of(options.finished, "song")} if options.finished else {}),
    }


def _strangers(options: PretrainOptions, people: Sequence[str]) -> Sequence[str]:
    return options.validation or options.held_out or people


def _trained_on(options: PretrainOptions, there: Sequence[str]) -> list[str]:
    apart = {*options.held_out, *options.validation}
    people = [p for p in there if p not in apart]
    if not people:
        raise ModelError(f"{options.voices}: all speakers are held out; leave some to train on")
    return people


def _check_people(options: PretrainOptions, there: set[str], kind: str = "folder") -> None:
    for role, names in (("hold out", options.held_out), ("validate on", options.validation)):
        unknown = sorted(set(names) - there)
        if unknown:
            raise ModelError(f"{options.voices}: no {kind} {unknown[0]!r} to {role}")
