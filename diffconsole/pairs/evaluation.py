"""The distance of results to the engineer's mixes, beside what costs nothing.

Results for each pair: the raw vocal at the mix's loudness; the best fixed preset, chosen and
applied on raw levelled to −18 LUFS with one output gain for all pairs; a model's settings; and,
where it is asked for, the pair's own optimum (:mod:`diffconsole.training.matching.match`).
The distance is :func:`diffconsole.losses.mix_distance`, over a whole file or, for long ones, over
three excerpts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..audio import loudness_lufs
from ..audio.windows import spread_evenly
from ..console.render import render
from ..model.predictor import Predictor, level_gain_db
from ..strip.preset import Preset
from .pairs import PAIR_RATE, Pair, loudest_part, loudest_start

__all__ = [
    "FixedPreset",
    "choose_fixed",
    "distance",
    "fixed_distance",
    "level_distance",
    "mean_and_median",
    "measure_pair",
    "model_distance",
    "preset_distance",
    "shortened",
]

WHOLE_SECONDS = 20.0
EXCERPT_SECONDS = 10.0
EXCERPTS = 3
LEAD_SECONDS = 2.0
MOST_FOR_CHOICE = 12
CHOICE_SECONDS = 6.0


@dataclass(frozen=True)
class FixedPreset:
    """One preset for every vocal.

    Attributes
    ----------
    name : str
        Key of the factory preset.
    preset : Preset
        With the output gain for all pairs.
    """

    name: str
    preset: Preset


def _excerpts(pair: Pair) -> list[tuple[int, int]]:
    """The whole file, or the loudest excerpt of each third of it."""
    samples = pair.raw.shape[1]
    if samples <= WHOLE_SECONDS * PAIR_RATE:
        return [(0, samples)]
    length, third = int(EXCERPT_SECONDS * PAIR_RATE), samples // EXCERPTS
    starts = [
        loudest_start(pair.raw, length, i * third, (i + 1) * third, pair.mixed)
        for i in range(EXCERPTS)
    ]
    return [(start, start + length) for start in starts]


def shortened(pair: Pair) -> Pair:
    """Return the loudest twenty seconds of a pair, copied: hundreds of them stay in memory."""
    part = loudest_part(pair, WHOLE_SECONDS)
    return part if part is pair else replace(part, raw=part.raw.copy(), mixed=part.mixed.copy())


def distance(pair: Pair, process: Callable[[np.ndarray], np.ndarray]) -> float:
    """Return the mean distance of a processed raw vocal to its mix.

    Parameters
    ----------
    pair : Pair
        The pair.
    process : callable
        Turns ``(channels, samples)`` into ``(1 or 2, samples)``, at 44.1 kHz.
    """
    found = []
    for start, stop in _excerpts(pair):
        first = max(0, start - int(LEAD_SECONDS * PAIR_RATE))
        result = process(pair.raw[:, first:stop])[:, start - first : stop - first]
        found.append(_between(result, pair.mixed[:, start:stop]))
    return float(np.mean(found))


def _between(
    result: np.ndarray, mixed: np.ndarray, stride: int = 1, *, bounded: bool = False
) -> float:
    import torch

    from ..losses import mix_distance

    ours, theirs = (
        torch.from_numpy(np.require(a, np.float32, ["C", "W"]))[None] for a in (result, mixed)
    )
    with torch.inference_mode():
        return float(mix_distance(ours, theirs, PAIR_RATE, stride=stride, bounded=bounded))


def preset_distance(pair: Pair, preset: Preset) -> float:
    """Return the distance of a preset on the raw vocal as it lies."""
    return distance(pair, lambda raw: _rendered(raw, preset))


def level_distance(pair: Pair) -> float:
    """Return the distance of the raw vocal at the mix's loudness."""
    both = np.broadcast_to(pair.raw, (2, pair.raw.shape[1]))
    gain_db = loudness_lufs(pair.mixed, PAIR_RATE) - loudness_lufs(both, PAIR_RATE)
    return distance(pair, lambda raw: raw * np.float32(10.0 ** (gain_db / 20.0)))


def model_distance(pair: Pair, model: Predictor) -> float:
    """Return the distance of the model's settings for this raw vocal."""
    settings = model.predict(pair.raw, PAIR_RATE).settings
    return preset_distance(pair, Preset.from_settings(settings))


def fixed_distance(pair: Pair, fixed: FixedPreset) -> float:
    """Return the distance of a fixed preset on the raw vocal levelled to −18 LUFS."""
    return preset_distance(pair, _levelled(pair, fixed.preset))


def measure_pair(pair: Pair, fixed: FixedPreset, model: Predictor) -> dict[str, float]:
    """Return a pair's distances: ``level_only``, ``fixed`` and ``model``."""
    return {
        "level_only": level_distance(pair),
        "fixed": fixed_distance(pair, fixed),
        "model": model_distance(pair, model),
    }


def mean_and_median(distances: Sequence[float]) -> tuple[float, float]:
    """Return both: the side of a single nearly mono mix may decide a mean, but no median."""
    return float(np.mean(distances)), float(np.median(distances))


def _levelled(pair: Pair, preset: Preset) -> Preset:
    """The preset with the input gain that levels this raw vocal on top of its own."""
    gain_db, _ = level_gain_db(pair.raw, PAIR_RATE)
    settings = preset.settings()
    own = 0.0 if "input_gain" in preset.bypass() else settings["input_gain.gain_db"]
    place = {"gain_db": float(np.clip(own + gain_db, -48.0, 48.0))}
    return Preset({**preset.strip, "input_gain": place}, preset.name)


def choose_fixed(
    pairs: Sequence[Pair],
    presets: Mapping[str, Preset],
    report: Callable[[], None] = lambda: None,
) -> FixedPreset:
    """Choose the preset, and its one output gain, whose median distance to the mixes is least.

    Parameters
    ----------
    pairs : sequence of Pair
        The loudest six seconds of at most twelve of them, spread evenly, are compared.
    presets : mapping of str to Preset
        The choice.
    report : callable
        Called after each preset.

    Returns
    -------
    FixedPreset
        Its output gain brings the median of the pairs to the mix's loudness.
    """
    chosen = spread_evenly(len(pairs), MOST_FOR_CHOICE)
    some = [loudest_part(pairs[i], CHOICE_SECONDS) for i in chosen]
    goals = [loudness_lufs(pair.mixed, PAIR_RATE) for pair in some]
    results = []
    for name, preset in presets.items():
        own = preset.settings()["output_gain.gain_db"] if "output_gain" in preset.strip else 0.0
        # The output gain comes last, so one rendering without it serves to find and to measure it.
        bare = Preset({k: v for k, v in preset.strip.items() if k != "output_gain"}, preset.name)
        rendered = [_rendered(pair.raw, _levelled(pair, bare)) for pair in some]
        missing = [
            goal - loudness_lufs(np.broadcast_to(r, (2, r.shape[1])), PAIR_RATE)
            for goal, r in zip(goals, rendered, strict=True)
        ]
        finite = [m for m in missing if np.isfinite(m)]
        gain_db = float(np.clip(np.median(finite) if finite else own, -48.0, 24.0))
        factor = np.float32(10.0 ** (gain_db / 20.0))
        found = [
            _between(r * factor, pair.mixed, 32, bounded=True)
            for pair, r in zip(some, rendered, strict=True)
        ]
        louder = Preset({**bare.strip, "output_gain": {"gain_db": gain_db}}, preset.name)
        # The median: the side of one nearly mono mix would outweigh all others in a mean.
        results.append((float(np.median(found)), name, FixedPreset(name, louder)))
        report()
    return min(results, key=lambda r: r[:2])[2]


def _rendered(raw: np.ndarray, preset: Preset) -> np.ndarray:
    return render(raw, PAIR_RATE, preset, tail_seconds=0.0).samples
