"""How settings depend on a voice: a prior over engineers, learnt from simulated ones.

A few pairs of a studio say little of how its settings follow the voice, and a regression that knows
without a prior needs a hundred. But engineers have habits in common: they turn down what a voice
has too much of, move the threshold with the level, leave a roomy recording drier. Here engineers
are drawn who differ in taste (the tone that they aim at, where they correct it and by which means),
in strictness (how far settings follow the voice, for a part of them not at all) and in habits of
the dynamics and the room. Each decides for many voices; a linear regression of the decisions on the
features of the voice (:mod:`diffconsole.model.voice_features`) gives the engineer's *reactions*,
and over all engineers these have a mean and a covariance: an empirical-Bayes prior (Efron and
Morris, 1973) for :mod:`.ridge`.

The tone's reactions are curves of gain over frequency, whatever bands a strip has: which settings
make them is a matter of the strip at hand (:mod:`.engineer_prior`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...model.voice_features import BANDS_HZ, DYNAMICS_FEATURES, MIN_FEATURE_STD, VOICE_FEATURES

__all__ = [
    "MODULES",
    "REACTIONS",
    "UNITS",
    "Engineer",
    "Prior",
    "coloured",
    "draw_engineer",
    "fit_prior",
    "reactions_of",
]

TONES = len(BANDS_HZ)
FOLLOWING = {
    "eq.high_pass.freq_hz": 0.25,
    "compressor.threshold_db": 3.0,
    "compressor.ratio": 0.25,
    "compressor.attack_ms": 0.5,
    "compressor.release_ms": 0.5,
    "compressor.makeup_db": 1.5,
    "reverb.decay_s": 0.25,
    "reverb.high_cut_hz": 0.25,
    "reverb.wet_db": 3.0,
}
"""Settings that follow a voice by themselves, and a change of each, dB or octaves, that weighs as
much as one of 1 dB in a band of the tone."""

REACTIONS = (*(f"gain_{hz:g}_hz" for hz in BANDS_HZ), *FOLLOWING)
"""What reacts: the gain in third octaves, dB; settings in dB, logarithmic ones in octaves."""

UNITS = np.array([1.0] * TONES + list(FOLLOWING.values()))
MODULES = tuple("eq" if name.startswith("gain_") else name.split(".")[0] for name in REACTIONS)
"""The module of each reaction."""

DIRECTIONS = {"eq": 20, "compressor": 10, "reverb": 6}
"""How many directions of the reactions' covariance are kept, by module."""

LEAST_RIDGE = 0.01
LOWEST_BELOW_HZ, LOWEST_DB = 1024.0, 12.0
"""The lowest partial lies in the lowest band that is so far below the strongest one at most."""

LOG_HZ = np.log2(np.array(BANDS_HZ))
LEFT_ALONE_SHARE = 0.25
STRICTEST = 0.8
# Of the tone of a bootstrapped voice: microphones, distances and rooms colour it.
COLOUR_DB, TILT_DB, MANNER_JITTER = 2.0, 0.7, 0.25


@dataclass(frozen=True)
class Engineer:
    """How an engineer's settings follow a voice.

    Attributes
    ----------
    aim_db : ndarray
        ``(bands,)``: the tone aimed at, relative to the mean voice's.
    strictness : ndarray
        ``(bands,)``: share of the tone's distance from the aim that is taken away.
    blur_octaves : float
        How broadly the tone is listened to.
    centres_log2_hz, widths_octaves : ndarray
        ``(bells,)``: the bells at hand; none where any curve can be made.
    boost_share, untouched_db, most_db : float
        Of a boost against a cut; the distance below which nothing is done; the largest gain.
    peak_share : float
        Share that is taken away of what stands out of its surroundings by itself.
    sibilance_share, noise_restraint : float
        dB around 7 kHz by dB of sibilance; the share of a boost that noise takes away, by 10 dB.
    high_pass : float
        Octaves by octave of the lowest partial.
    dynamics : ndarray
        ``(5, dynamics features)``: threshold (dB), ratio, attack, release (octaves) and makeup
        (dB) by feature.
    room : ndarray
        ``(3, dynamics features)``: decay, high cut (octaves) and wet level (dB).
    wet_by_brightness : float
        dB of wet level by dB from 4 to 10 kHz.
    """

    aim_db: np.ndarray
    strictness: np.ndarray
    blur_octaves: float
    centres_log2_hz: np.ndarray
    widths_octaves: np.ndarray
    boost_share: float
    untouched_db: float
    most_db: float
    peak_share: float
    sibilance_share: float
    noise_restraint: float
    high_pass: float
    dynamics: np.ndarray
    room: np.ndarray
    wet_by_brightness: float

    def decide(self, voices: np.ndarray, voice_mean: np.ndarray) -> np.ndarray:
        """Return the reactions to voices, ``(voices, reactions)``, but for a constant.

        Parameters
        ----------
        voices : ndarray
            ``(voices, features)``, as
            :func:`diffconsole.model.voice_features.extract_voice_features` returns them.
        voice_mean : ndarray
            ``(features,)``, over voices.
        """
        tone_db, centred = voices[:, :TONES], (voices - voice_mean)[:, TONES:]
        gains_db, lowest = self._tone(tone_db, voice_mean[:TONES], centred)
        dynamics = centred @ self.dynamics.T
        room = centred @ self.room.T
        bright = (np.log2(4000.0) < LOG_HZ) & (np.log2(10000.0) > LOG_HZ)
        room[:, 2] += self.wet_by_brightness * (tone_db - voice_mean[:TONES])[:, bright].mean(
            axis=1
        )
        high_pass = self.high_pass * lowest
        return np.concatenate((gains_db, high_pass[:, None], dynamics, room), axis=1)

    def _tone(
        self, tone_db: np.ndarray, mean_db: np.ndarray, centred: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Gains of the bands, and the lowest partial in octaves."""
        distance = LOG_HZ[:, None] - LOG_HZ[None]
        blur = np.exp(-0.5 * (distance / self.blur_octaves) ** 2)
        blurred = tone_db @ (blur / blur.sum(axis=0))
        off = blurred - mean_db - self.aim_db
        off = np.sign(off) * np.maximum(np.abs(off) - self.untouched_db, 0.0)
        wanted = -self.strictness * off
        surroundings = np.exp(-0.5 * (distance / 0.8) ** 2)
        stands_out = np.maximum(tone_db - tone_db @ (surroundings / surroundings.sum(axis=0)), 0.0)
        wanted = wanted - self.peak_share * stands_out
        strong = (
            tone_db
            > tone_db[:, np.array(BANDS_HZ) < LOWEST_BELOW_HZ].max(axis=1, keepdims=True)
            - LOWEST_DB
        )
        lowest = np.where(strong, LOG_HZ, np.inf).min(axis=1)
        # There is nothing to turn up below the voice, nor where noise would come up with it.
        wanted = np.where((lowest[:, None] - 0.2 > LOG_HZ) & (wanted > 0.0), 0.0, wanted)
        noise = centred[:, DYNAMICS_FEATURES.index("noise_db")]
        restraint = np.clip(1.0 - self.noise_restraint * noise / 10.0, 0.0, 1.5)
        boost = self.boost_share * restraint[:, None]
        wanted = np.where(wanted > 0.0, boost * wanted, wanted)
        wanted = np.clip(wanted, -self.most_db, self.most_db)
        if len(self.centres_log2_hz):
            shape = np.exp(
                -0.5
                * ((LOG_HZ - self.centres_log2_hz[:, None]) / self.widths_octaves[:, None]) ** 2
            )
            wanted = (wanted @ (shape / shape.sum(axis=1, keepdims=True)).T) @ shape
        sibilants = np.exp(-0.5 * ((LOG_HZ - np.log2(7000.0)) / 0.6) ** 2)
        sibilance = centred[:, DYNAMICS_FEATURES.index("sibilance_db")]
        return wanted - self.sibilance_share * sibilance[:, None] * sibilants, lowest


def draw_engineer(rng: np.random.Generator) -> Engineer:
    """Draw an engineer: taste, strictness and habits."""
    strictness = 0.0
    if rng.uniform() > LEFT_ALONE_SHARE:
        strictness = STRICTEST * rng.beta(1.3, 1.8)
    bells = int(rng.integers(3, 7)) if rng.uniform() < 0.6 else 0
    centres = np.sort(rng.uniform(np.log2(100.0), np.log2(12000.0), bells))
    return Engineer(
        aim_db=_smooth(rng, 3.0),
        strictness=strictness * np.exp(_smooth(rng, 0.5)),
        blur_octaves=float(rng.uniform(0.2, 1.0)),
        centres_log2_hz=centres,
        widths_octaves=rng.uniform(0.3, 1.2, bells),
        boost_share=float(rng.uniform(0.4, 1.0)),
        untouched_db=float(rng.uniform(0.0, 2.0)),
        most_db=float(rng.uniform(4.0, 10.0)),
        peak_share=float(max(rng.normal(0.0, 0.25), 0.0)),
        sibilance_share=float(max(rng.normal(0.15, 0.2), 0.0)),
        noise_restraint=float(max(rng.normal(0.2, 0.3), 0.0)),
        high_pass=float(rng.choice([0.0, rng.uniform(0.3, 1.0)])),
        dynamics=_dynamics(rng),
        room=_room(rng),
        wet_by_brightness=float(rng.normal(-0.05, 0.15)),
    )


def _smooth(rng: np.random.Generator, deviation: float) -> np.ndarray:
    """A smooth curve over the bands: a Gaussian process, correlated over an octave."""
    distance = LOG_HZ[:, None] - LOG_HZ[None]
    covariance = np.exp(-0.5 * (distance / 1.2) ** 2) + 1e-6 * np.eye(TONES)
    return deviation * np.linalg.cholesky(covariance) @ rng.standard_normal(TONES)


# Mean and deviation over engineers, by dynamics feature in its own unit (dB, or of the natural
# logarithm). The means are those of textbooks: a peakier voice gets a higher threshold and a slower
# attack, a wandering one a higher ratio, a slow one longer times, a roomy one less reverb.
_DYNAMICS_PRIOR = {
    "compressor.threshold_db": {
        "level_db": (0.8, 0.5), "crest_db": (0.3, 0.4), "spread_db": (-0.15, 0.3),
        "noise_db": (0.0, 0.1), "log_pace_hz": (0.0, 1.0),
    },
    "compressor.ratio": {
        "spread_db": (0.05, 0.06), "crest_db": (0.02, 0.06), "noise_db": (-0.01, 0.015),
        "log_pace_hz": (0.0, 0.15),
    },
    "compressor.attack_ms": {
        "crest_db": (0.12, 0.2), "log_pace_hz": (-0.2, 0.5), "sibilance_db": (0.0, 0.05),
    },
    "compressor.release_ms": {
        "log_pace_hz": (-0.5, 0.6), "spread_db": (0.02, 0.06), "log_decay_s": (-0.1, 0.4),
    },
    "compressor.makeup_db": {
        "level_db": (-0.3, 0.4), "crest_db": (0.1, 0.25), "spread_db": (0.1, 0.2),
    },
}  # fmt: skip
_ROOM_PRIOR = {
    "reverb.decay_s": {
        "log_pace_hz": (-0.3, 0.4), "log_decay_s": (-0.1, 0.25), "noise_db": (0.0, 0.01),
    },
    "reverb.high_cut_hz": {"sibilance_db": (-0.04, 0.06), "noise_db": (-0.01, 0.02)},
    "reverb.wet_db": {
        "log_decay_s": (-3.0, 3.0), "log_pace_hz": (-2.0, 2.5), "noise_db": (-0.05, 0.1),
        "spread_db": (0.0, 0.2), "crest_db": (0.0, 0.3), "sibilance_db": (0.0, 0.15),
    },
}  # fmt: skip


def _drawn(
    rng: np.random.Generator, prior: dict[str, dict[str, tuple[float, float]]]
) -> np.ndarray:
    found = np.zeros((len(prior), len(DYNAMICS_FEATURES)))
    follows = rng.uniform() > LEFT_ALONE_SHARE
    for row, reactions in enumerate(prior.values()):
        for name, (mean, deviation) in reactions.items():
            found[row, DYNAMICS_FEATURES.index(name)] = rng.normal(mean, deviation)
    return found * follows


def _dynamics(rng: np.random.Generator) -> np.ndarray:
    """Reactions of the compressor's settings."""
    return _drawn(rng, _DYNAMICS_PRIOR)


def _room(rng: np.random.Generator) -> np.ndarray:
    """Reactions of the reverb's settings."""
    return _drawn(rng, _ROOM_PRIOR)


def coloured(voices: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw features like those of some voices, through other microphones and in other rooms.

    Parameters
    ----------
    voices : ndarray
        ``(voices, features)``.
    count : int
        How many.
    rng : Generator
        Of the draw.

    Returns
    -------
    ndarray
        ``(count, features)``.
    """
    found = voices[rng.integers(len(voices), size=count)].copy()
    octaves = LOG_HZ - LOG_HZ.mean()
    for row in found:
        row[:TONES] += _smooth(rng, COLOUR_DB) + rng.normal(0.0, TILT_DB) * octaves
    jitter = MANNER_JITTER * voices[:, TONES:].std(axis=0)
    found[:, TONES:] += jitter * rng.standard_normal((count, len(DYNAMICS_FEATURES)))
    return found


@dataclass(frozen=True)
class Prior:
    """Mean and covariance of the reactions over engineers, of standardised features.

    Attributes
    ----------
    voice_mean, voice_std : ndarray
        ``(features,)``: mean and standard deviation over voices.
    mean : ndarray
        ``(reactions, features)``.
    directions : dict of str to ndarray
        By module ``(directions, reactions, features)``: engineers are the mean and a sum of these,
        each by a standard normal share.
    """

    voice_mean: np.ndarray
    voice_std: np.ndarray
    mean: np.ndarray
    directions: dict[str, np.ndarray]


def reactions_of(engineer: Engineer, voices: np.ndarray, voice_mean: np.ndarray,
                 voice_std: np.ndarray) -> np.ndarray:  # fmt: skip
    """Return an engineer's linear reactions, ``(reactions, features)``, by standardised figure."""
    decided = engineer.decide(voices, voice_mean)
    x = (voices - voices.mean(axis=0)) / voice_std
    y = decided - decided.mean(axis=0)
    ridge = LEAST_RIDGE * len(x) * np.eye(x.shape[1])
    return np.linalg.solve(x.T @ x + ridge, x.T @ y).T


def fit_prior(
    voices: np.ndarray, engineers: int, *, seed: int = 0, per_engineer: int = 400,
    directions: dict[str, int] | None = None,
) -> Prior:  # fmt: skip
    """Draw engineers, have each decide for many voices, and return the prior over them.

    Parameters
    ----------
    voices : ndarray
        ``(voices, features)``, of raw vocals of many singers and speakers.
    engineers : int
        How many are drawn.
    seed : int
        Seed of every random choice.
    per_engineer : int
        Voices that each decides for.
    directions : dict of str to int, optional
        How many directions are kept by module.
    """
    rng = np.random.default_rng(seed)
    voice_mean = voices.mean(axis=0)
    voice_std = np.maximum(voices.std(axis=0), MIN_FEATURE_STD)
    found = np.stack([
        reactions_of(draw_engineer(rng), coloured(voices, per_engineer, rng), voice_mean, voice_std)
        for _ in range(engineers)
    ])  # fmt: skip
    mean = found.mean(axis=0)
    # Directions that move the decisions most count, not those with the largest coefficients.
    many = coloured(voices, 4 * per_engineer, rng)
    x = (many - many.mean(axis=0)) / voice_std
    value, vector = np.linalg.eigh(x.T @ x / len(x))
    root = vector * np.sqrt(np.maximum(value, 1e-9))
    found_directions = {}
    for module, kept in {**DIRECTIONS, **(directions or {})}.items():
        mine = np.array([m == module for m in MODULES])
        centred = (found - mean)[:, mine]
        seen = (centred / UNITS[mine, None]) @ root
        u, _, _ = np.linalg.svd(seen.reshape(engineers, -1), full_matrices=False)
        basis = np.zeros((kept, len(REACTIONS), len(VOICE_FEATURES)))
        # u's columns are the engineers' shares: of unit variance after this scale.
        basis[:, mine] = np.einsum("ek,erf->krf", u[:, :kept], centred) / np.sqrt(engineers)
        found_directions[module] = basis
    return Prior(voice_mean, voice_std, mean, found_directions)


def people_mean(voices: Sequence[np.ndarray]) -> np.ndarray:
    """Return the features of all voices, repeated so that every singer has the same weight."""
    most = max(map(len, voices))
    return np.concatenate([some[np.arange(most) % len(some)] for some in voices])
