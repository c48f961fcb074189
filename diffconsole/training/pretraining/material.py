"""What a pretraining run is made of: voices, who is trained on and who is not, rooms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ModelError
from .card import sources_of
from .pretrain_options import PretrainOptions
from .simulate import Voices, load_rooms, load_voices

__all__ = ["Material", "load_material"]


@dataclass(frozen=True)
class Material:
    """Voices and rooms of a run.

    Attributes
    ----------
    training : Voices
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
    """

    training: Voices
    known: Voices
    strangers: Voices
    rooms: list[np.ndarray]
    people: list[str]
    sources: dict[str, list[dict[str, Any]]]


def load_material(options: PretrainOptions) -> Material:
    """Read what the options name.

    Raises
    ------
    ModelError
        A speaker to hold out is not there, or none is left to train on.
    AudioError
        The voices or rooms cannot be read.
    """
    if Path(options.voices).is_dir():
        # Before minutes of reading.
        _check_people(options, {p.name for p in Path(options.voices).iterdir()})
    voices = load_voices(options.voices, options.reference, options.finished)
    _check_people(options, set(voices.clips))
    rooms = load_rooms(options.rooms)
    # Read now: what is wrong with a manifest shall not be said when the time is over.
    sources = {
        "voices": sources_of(options.voices, "person"),
        "rooms": sources_of(options.rooms, "kind"),
        **({"finished": sources_of(options.finished, "song")} if options.finished else {}),
    }
    people = _trained_on(options, list(voices.clips))
    known = voices.of(people)
    strangers = voices.of(options.validation or options.held_out or people)
    return Material(known, known, strangers, rooms, people, sources)


def _trained_on(options: PretrainOptions, there: Sequence[str]) -> list[str]:
    apart = {*options.held_out, *options.validation}
    people = [p for p in there if p not in apart]
    if not people:
        raise ModelError(f"{options.voices}: all speakers are held out; leave some to train on")
    return people


def _check_people(options: PretrainOptions, there: set[str]) -> None:
    for role, names in (("hold out", options.held_out), ("validate on", options.validation)):
        unknown = sorted(set(names) - there)
        if unknown:
            raise ModelError(f"{options.voices}: no folder {unknown[0]!r} to {role}")
