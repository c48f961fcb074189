"""Where the search of a match starts: settings close to the mix before any gradient is taken.

An EQ is fitted to the long-term spectra. Compressors and reverbs come from a grid, from the factory
presets, from the statistics of real mixes and from the predictor; those with the lowest
distance to the mix are kept.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ...model.predictor import Predictor
from ...modules.equalizer.process import equalizer_sections, response
from ...pairs import PAIR_RATE
from ...strip import statistics
from ...strip.later import start_settings
from ...strip.parameters import BY_KEY, PARAMETERS, denormalize
from ...strip.preset import factory_presets

if TYPE_CHECKING:
    from .objective import MatchObjective

__all__ = ["first_guesses", "move_idle_bells", "ordinary"]

INDEX = {p.key: place for place, p in enumerate(PARAMETERS)}
EQ_KEYS = [p.key for p in PARAMETERS if p.section.startswith("eq.")]
EQ_PLACES = [INDEX[key] for key in EQ_KEYS]
BELLS = ("eq.peak_1", "eq.peak_2", "eq.peak_3", "eq.peak_4")
ORDINARY = {
    "eq.high_pass.freq_hz": 30.0,
    "eq.low_pass.freq_hz": 19500.0,
    "reverb.wet_db": -24.0,
    "reverb.decay_s": 1.2,
    "compressor.threshold_db": -24.0,
    "compressor.makeup_db": 3.0,
}
"""Value of a setting that the audio does not determine, where it is not the table's default."""

LOWEST_HZ, HIGHEST_HZ, POINTS = 60.0, 16000.0, 36
FRAME = 4096
EQ_STEPS, EQ_STEP = 120, 0.02
THRESHOLDS_AND_RATIOS = ((-14.0, 2.5), (-20.0, 3.0), (-26.0, 4.0), (-32.0, 6.0))
ATTACKS_AND_RELEASES_MS = ((0.5, 60.0), (2.0, 200.0), (15.0, 100.0), (8.0, 500.0))
WETS_DB, DECAYS_S, WIDTHS = (-34.0, -24.0, -15.0), (0.4, 1.2, 2.6), (0.5, 1.0)
STARTS, FROM_STATISTICS = 4, 12
# Bells that change the sound by less than this are free to go elsewhere.
IDLE_DB = 0.4


@functools.cache
def _ordinary() -> Tensor:
    settings = start_settings() | ORDINARY
    return torch.tensor([p.to_normalised(settings[p.key]) for p in PARAMETERS])


def ordinary() -> Tensor:
    """Return settings that an engineer starts from, ``(parameters,)`` in 0…1."""
    return _ordinary().clone()


def changed(point: Tensor, **settings: float) -> Tensor:
    """Return a point with some physical settings changed: ``compressor__ratio=4.0``."""
    point = point.clone()
    for name, value in settings.items():
        key = name.replace("__", ".")
        point[INDEX[key]] = BY_KEY[key].to_normalised(BY_KEY[key].clip(value))
    return point


def spectrum_db(audio: Tensor) -> tuple[Tensor, Tensor]:
    """Return frequencies in Hz and the long-term level at each in quarter octaves, in dB."""
    frames = audio.cpu().reshape(-1, audio.shape[-1])
    frames = torch.nn.functional.pad(frames, (0, max(0, FRAME - frames.shape[-1])))
    frames = frames.unfold(-1, FRAME, FRAME // 2) * torch.hann_window(FRAME)
    power = torch.fft.rfft(frames).abs().square().mean(dim=(0, 1))
    bins_hz = torch.arange(FRAME // 2 + 1) * (PAIR_RATE / FRAME)
    freq_hz = torch.logspace(math.log10(LOWEST_HZ), math.log10(HIGHEST_HZ), POINTS)
    nearest = (bins_hz - freq_hz[:, None]).abs().argmin(dim=1, keepdim=True)
    inside = (bins_hz >= freq_hz[:, None] * 2**-0.125) & (bins_hz <= freq_hz[:, None] * 2**0.125)
    inside.scatter_(1, nearest, True)
    level = (inside * power).sum(dim=1) / inside.sum(dim=1)
    return freq_hz, 10.0 * torch.log10(level + 1e-12)


def _equalized(
    point: Tensor, freq_hz: Tensor, wanted_db: Tensor, weight: Tensor, steps: int
) -> Tensor:
    """The point with an EQ whose curve is close to the wanted one, but for the level."""
    share = weight / weight.sum()
    wanted_db = wanted_db - (wanted_db * share).sum()
    start = point[EQ_PLACES]
    eq = start.clone()
    mean, square = torch.zeros_like(eq), torch.zeros_like(eq)
    for step in range(1, steps + 1):
        eq.requires_grad_()
        settings = {key: BY_KEY[key].to_physical(eq[None, n]) for n, key in enumerate(EQ_KEYS)}
        gains = response(equalizer_sections(PAIR_RATE, settings), PAIR_RATE, freq_hz).abs()
        curve_db = 20.0 * gains.clamp(min=1e-6).log10().sum(dim=1)[0].float()
        error = ((curve_db - (curve_db * share).sum() - wanted_db).abs() * share).sum()
        error = error + 2.0 * (eq - start).square().sum()
        (gradient,) = torch.autograd.grad(error, eq)
        # Adam, not torch's: that imports a compiler; see :class:`.descent.Adam`.
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient.square()
        spread = (square / (1.0 - 0.999**step)).sqrt() + 1e-8
        eq = eq.detach() - EQ_STEP / (1.0 - 0.9**step) * mean / spread
        eq = eq.clamp(0.02, 0.98)
    return point.index_copy(0, torch.tensor(EQ_PLACES), eq)


def first_guesses(objective: MatchObjective, *, many: bool = True) -> Tensor:
    """Return points to start from, ``(starts, parameters)``, the best first.

    Parameters
    ----------
    objective : MatchObjective
        The pair.
    many : bool
        Try many compressors and reverbs, or a few, in a third of the time.
    """
    freq_hz, raw_db = spectrum_db(objective.raw)
    _, mix_db = spectrum_db(objective.mix)
    # Where the raw vocal has nothing, the ratio of two noises says nothing.
    weight = torch.where(raw_db < raw_db.max() - 50.0, 0.2, 1.0)
    steps = EQ_STEPS if many else EQ_STEPS // 3
    base = _equalized(objective.in_the_middle(ordinary()), freq_hz, mix_db - raw_db, weight, steps)
    compressors = [changed(base, compressor__ratio=1.2, compressor__makeup_db=0.0)]
    others = [*_known_strips(), _predicted(objective)] if many else []
    compressors += [_with_module(base, strip, "compressor") for strip in others]
    for threshold_db, ratio in THRESHOLDS_AND_RATIOS:
        # Half of what a level at the threshold's far side loses: about what the loudness loses.
        makeup_db = 0.6 * (-18.0 - threshold_db) * (1.0 - 1.0 / ratio) + 1.0
        for attack_ms, release_ms in ATTACKS_AND_RELEASES_MS[: None if many else 2]:
            compressors.append(
                changed(
                    base,
                    compressor__threshold_db=threshold_db,
                    compressor__ratio=ratio,
                    compressor__attack_ms=attack_ms,
                    compressor__release_ms=release_ms,
                    compressor__makeup_db=makeup_db,
                )
            )
    compressed = _best_first(objective, compressors, frozenset() if many else frozenset({"reverb"}))
    rooms = [
        objective.in_the_middle(
            changed(compressed[0], reverb__wet_db=w, reverb__decay_s=d, reverb__width=width)
        )
        for w in WETS_DB
        for d in DECAYS_S[:: 1 if many else 2]
        for width in WIDTHS
    ]
    rooms += [
        objective.in_the_middle(_with_module(compressed[0], strip, "reverb")) for strip in others
    ]
    rooms = _best_first(objective, rooms)
    room_places = _places_of("reverb")
    found = []
    for number, point in enumerate(_apart(compressed)[:STARTS]):
        point = point.clone()
        point[room_places] = rooms[min(number, 1)][room_places]
        found.append(point)
    return torch.stack(found)


@functools.cache
def _known_strips() -> tuple[dict[str, float], ...]:
    """Settings of the factory presets, and some of real mixes, for vocals at −18 LUFS."""
    rng, table = np.random.default_rng(0), statistics.load()
    drawn = [table.sample(rng)[0] for _ in range(FROM_STATISTICS)]
    return (*(preset.settings() for preset in factory_presets().values()), *drawn)


@functools.lru_cache(maxsize=1)
def _predictor() -> Predictor:
    return Predictor.load()


def _predicted(objective: MatchObjective) -> dict[str, float]:
    """What the shipped model says of the raw vocal."""
    return _predictor().predict(objective.raw[0].cpu().numpy(), PAIR_RATE).settings


def _places_of(section: str) -> list[int]:
    return [INDEX[p.key] for p in PARAMETERS if p.section == section]


def _with_module(point: Tensor, strip: Mapping[str, float], module: str) -> Tensor:
    """The point with one module as it is in a strip."""
    point = point.clone()
    for place in _places_of(module):
        key = PARAMETERS[place].key
        point[place] = BY_KEY[key].to_normalised(BY_KEY[key].clip(strip[key]))
    return point


def _best_first(
    objective: MatchObjective, points: list[Tensor], off: frozenset[str] = frozenset()
) -> list[Tensor]:
    order = objective.distances(torch.stack(points), off, part=(0, 8)).argsort()
    return [points[i] for i in order.tolist()]


def _apart(points: list[Tensor]) -> list[Tensor]:
    """Leave out points that are next to a better one."""
    found: list[Tensor] = []
    for point in points:
        if all(float((point - other).abs().sum()) > 0.15 for other in found):
            found.append(point)
    return found


@torch.no_grad()
def move_idle_bells(objective: MatchObjective, point: Tensor) -> Tensor:
    """Return the point with its unused bells moved to where the spectrum is most off."""
    point = point.clone()
    settings = denormalize(point[None])
    freq_hz, result_db = spectrum_db(objective.render_near(point))
    _, mix_db = spectrum_db(objective.mix)
    off_db = mix_db - result_db
    off_db = off_db - off_db.median()
    sections = equalizer_sections(PAIR_RATE, settings)
    for bell in BELLS:
        place = list(BELLS).index(bell) + 2
        effect = 20.0 * response(sections[:, place : place + 1], PAIR_RATE, freq_hz).abs().log10()
        frequency, q = BY_KEY[f"{bell}.freq_hz"], BY_KEY[f"{bell}.q"]
        narrow = float(settings[q.key]) > 0.8 * q.high
        if float(effect.abs().max()) > IDLE_DB and not narrow:
            continue
        reach = (freq_hz >= frequency.low) & (freq_hz <= frequency.high)
        there = int(torch.where(reach, off_db.abs(), -1.0).argmax())
        gain_db = float(off_db[there].clamp(-6.0, 6.0)) / 2.0
        point = changed(
            point,
            **{
                f"{bell}.freq_hz": float(freq_hz[there]),
                f"{bell}.gain_db": gain_db,
                f"{bell}.q": 1.5,
            },
        )
        near = (freq_hz / freq_hz[there]).log2().abs() < 0.75
        off_db = torch.where(near, torch.zeros_like(off_db), off_db)
    return point
