"""Labels in one form; what is common to them; offsets in closed form."""

from __future__ import annotations

import numpy as np
import torch

from diffconsole.model.voice_features import DYNAMICS_FEATURES, VOICE_FEATURES
from diffconsole.pairs import Pair
from diffconsole.strip.parameters import BY_KEY, PARAMETERS, default_settings
from diffconsole.training.finetuning.labels import fingerprint_of, label_of
from diffconsole.training.finetuning.ridge import fit
from diffconsole.training.finetuning.studio_strip import curves_db, in_terms_of, middle_of
from diffconsole.training.matching.search_result import SearchResult

KEYS = [p.key for p in PARAMETERS]


def point(**changes: float) -> torch.Tensor:
    """A strip in 0…1; dots are written as two underscores."""
    settings = {**default_settings(), **{k.replace("__", "."): v for k, v in changes.items()}}
    return torch.tensor([float(p.to_normalised(settings[p.key])) for p in PARAMETERS])


def labelled(found: SearchResult) -> torch.Tensor:
    return label_of(found.settings(), found.off)


def value(label: torch.Tensor, key: str) -> float:
    return float(BY_KEY[key].to_physical(float(label[KEYS.index(key)])))


def test_level_lies_in_the_makeup() -> None:
    """With or without a compressor, and beyond its range."""
    for off in (frozenset(), frozenset({"compressor"})):
        label = labelled(SearchResult(point(compressor__makeup_db=0.0), 7.0, -5.0, off))
        assert abs(value(label, "compressor.makeup_db") + 5.0) < 1e-3
        assert abs(value(label, "output_gain.gain_db")) < 1e-3
        assert abs(value(label, "input_gain.gain_db")) < 1e-3
    label = labelled(SearchResult(point(compressor__makeup_db=0.0), 7.0, -20.0))
    assert abs(value(label, "compressor.makeup_db") + 12.0) < 1e-3
    assert abs(value(label, "output_gain.gain_db") + 8.0) < 1e-3


def test_what_is_left_out_does_nothing() -> None:
    strip = point(eq__peak_2__gain_db=6.0, compressor__ratio=8.0, reverb__wet_db=-9.0)
    label = labelled(SearchResult(strip, 0.0, 0.0, frozenset({"eq", "compressor", "reverb"})))
    assert abs(value(label, "eq.peak_2.gain_db")) < 1e-3
    assert abs(value(label, "compressor.ratio") - 1.0) < 1e-3
    assert value(label, "reverb.wet_db") < -59.9


def test_a_fingerprint_knows_the_sound() -> None:
    def pair(raw: float, mixed: float) -> Pair:
        one, two = (np.full((c, 9), v, np.float32) for c, v in ((1, raw), (2, mixed)))
        return Pair("a", one, two, 0.0, 1, 1.0)

    assert fingerprint_of(pair(0.1, 0.2)) == fingerprint_of(pair(0.1, 0.2))
    others = {fingerprint_of(p) for p in (pair(0.1, 0.2), pair(0.1, 0.3), pair(0.2, 0.2))}
    assert len(others) == 3


def test_other_bells_of_one_curve_are_the_strip() -> None:
    """Bells two and three have changed places: in the strip's terms nothing has moved far."""
    names = ("eq__peak_2__freq_hz", "eq__peak_2__gain_db", "eq__peak_3__freq_hz",
             "eq__peak_3__gain_db")  # fmt: skip
    strip = point(**dict(zip(names, (1000.0, -6.0, 2500.0, 5.0), strict=True)))
    other = point(**dict(zip(names, (2500.0, 5.0, 1000.0, -6.0), strict=True)))
    near = in_terms_of(strip, other[None])[0]
    assert float((near - strip).abs().max()) < 0.3 * float((other - strip).abs().max())
    error = curves_db(near[None])[0] - curves_db(other[None])[0]
    assert float(error.abs().mean()) < 0.3
    both = middle_of(torch.stack((strip, other, strip)))
    assert float((curves_db(both[None])[0] - curves_db(strip[None])[0]).abs().mean()) < 0.5


def test_departures_that_follow_the_voice_are_found() -> None:
    random = torch.Generator().manual_seed(0)
    voices = torch.randn(24, 3, generator=random) @ torch.randn(3, 40, generator=random)
    voices = voices / voices.std(dim=0)
    voice_features = torch.randn(24, len(VOICE_FEATURES), generator=random)
    offsets = torch.zeros(24, len(PARAMETERS))
    shelf, ratio = (KEYS.index(key) for key in ("eq.high_shelf.gain_db", "compressor.ratio"))
    offsets[:, shelf] = 0.1 * voices[:, 0]
    offsets[:, ratio] = 0.1 * voice_features[:, VOICE_FEATURES.index("spread_db")]
    found = fit(voices, voice_features, offsets, 0.01)
    predicted = voices @ found.encoder_weight.T + voice_features @ found.voice_weight.T
    for place in (shelf, ratio):
        assert float((predicted - offsets)[:, place].abs().mean()) < 0.03
    assert float(found.explained[ratio]) > 0.6, "one figure among thirty, by pairs left out"
    assert found.by_module["compressor"] > 0.6
    # The tone says little of the ratio, and the dynamics features little of the shelf.
    tones = len(VOICE_FEATURES) - len(DYNAMICS_FEATURES)
    weight = found.voice_weight[ratio].abs()
    assert float(weight[tones:].max()) > 5.0 * float(weight[:tones].max())
    noise = fit(voices, voice_features, 0.1 * torch.randn(24, len(KEYS), generator=random), 0.5)
    assert float(noise.explained.mean()) < 0.2
    three = fit(voices[:3], voice_features[:3], offsets[:3], 0.5)
    assert not three.encoder_weight.any() and not three.voice_weight.any(), "too few pairs"
