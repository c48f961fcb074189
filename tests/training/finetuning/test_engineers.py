"""The prior over engineers: simulated engineers, in the terms of a strip's settings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from diffconsole.errors import ModelError
from diffconsole.model.voice_features import BANDS_HZ, VOICE_FEATURES
from diffconsole.strip.parameters import PARAMETERS, default_settings
from diffconsole.training.finetuning.engineer_prior import (
    SHIPPED,
    curve_db,
    load_prior,
    prior_at_strip,
    save_prior,
    shipped_prior,
)
from diffconsole.training.finetuning.engineers import (
    MODULES,
    REACTIONS,
    Prior,
    draw_engineer,
    fit_prior,
    reactions_of,
)

KEYS = [p.key for p in PARAMETERS]
TONES = len(BANDS_HZ)


def voices(count: int = 60) -> np.ndarray:
    """Descriptions of nobody: a spectrum that falls, in many colours."""
    rng = np.random.default_rng(3)
    octaves = np.log2(np.array(BANDS_HZ) / 1000.0)
    tone = -4.0 * np.abs(octaves + 1.0) + rng.normal(0.0, 3.0, (count, TONES))
    dynamics = rng.normal([-1, 14, 13, -0.7, 0.7, -45, 12], [0.8, 3, 2, 0.5, 0.4, 8, 4], (count, 7))
    return np.concatenate((tone, dynamics), axis=1)


@pytest.fixture(scope="module")
def prior() -> Prior:
    return fit_prior(voices(), 80, per_engineer=120)


def strip() -> torch.Tensor:
    settings = {**default_settings(), "eq.peak_1.gain_db": -2.0, "eq.peak_3.gain_db": 2.0}
    return torch.tensor([float(p.to_normalised(settings[p.key])) for p in PARAMETERS])


def test_engineers_turn_down_what_is_too_much(prior: Prior) -> None:
    """On the average; a part of them does not care."""
    row = int(np.argmin(np.abs(np.array(BANDS_HZ) - 3000.0)))
    around = prior.mean[row, row - 2 : row + 3].sum()
    assert around < -0.1
    wet = prior.mean[REACTIONS.index("reverb.wet_db")]
    assert wet[VOICE_FEATURES.index("log_decay_s")] < 0.0, "less reverb in a roomy recording"
    threshold = prior.mean[REACTIONS.index("compressor.threshold_db")]
    assert threshold[VOICE_FEATURES.index("level_db")] > 0.0


def test_some_engineers_leave_the_tone_alone() -> None:
    usual, spread = voices().mean(axis=0), voices().std(axis=0)
    eq = np.array([module == "eq" for module in MODULES])[:TONES]
    sizes = []
    for seed in range(60):
        engineer = draw_engineer(np.random.default_rng(seed))
        found = reactions_of(engineer, voices(), usual, spread)[:TONES][eq]
        sizes.append(float(np.abs(found[:, :TONES]).max()))
    assert 0.1 < np.mean(np.array(sizes) < 0.3 * np.median(sizes)) < 0.5


def test_the_same_seed_is_the_same_prior() -> None:
    one, two = (fit_prior(voices(), 25, per_engineer=60, seed=4) for _ in range(2))
    other = fit_prior(voices(), 25, per_engineer=60, seed=5)
    np.testing.assert_array_equal(one.mean, two.mean)
    assert not np.allclose(one.mean, other.mean)


def test_new_engineers_lie_where_the_prior_expects_them(prior: Prior) -> None:
    """Their shares of the directions have the deviation that they were drawn with."""
    basis = prior.directions["compressor"].reshape(len(prior.directions["compressor"]), -1)
    shares = []
    for seed in range(30):
        engineer = draw_engineer(np.random.default_rng(1000 + seed))
        found = reactions_of(engineer, voices(), prior.voice_mean, prior.voice_std) - prior.mean
        mine = np.array([m == "compressor" for m in MODULES])
        target = np.where(mine[:, None], found, 0.0).ravel()
        shares.append(np.linalg.lstsq(basis.T, target, rcond=None)[0][:4])
    assert 0.4 < float(np.std(shares)) < 2.5


def test_settings_make_the_curve_that_is_asked_for(prior: Prior) -> None:
    """A reaction of one engineer, put into the strip's settings, changes the strip's curve so."""
    point = strip().double()
    at_strip = prior_at_strip(prior, point, torch.from_numpy(prior.voice_std))
    voice = torch.zeros(len(VOICE_FEATURES)).double()
    near = int(np.argmin(np.abs(np.array(BANDS_HZ) - 3000.0)))
    voice[near - 2 : near + 3] = 1.5
    moved = (point + at_strip.mean @ voice).clamp(0.0, 1.0)
    change = (curve_db(moved) - curve_db(point)).numpy()
    wanted = prior.mean[:TONES] @ voice.numpy()
    assert float(np.abs(wanted).max()) > 0.2
    assert np.corrcoef(change[4:-4], wanted[4:-4])[0, 1] > 0.8
    # The input gain is no reaction, and the cuts' slopes are nobody's.
    for key in ("input_gain.gain_db", "eq.high_pass.q", "pan.position"):
        assert not at_strip.mean[KEYS.index(key)].any(), key


def test_units_of_the_descriptions_do_not_matter(prior: Prior) -> None:
    spread = torch.from_numpy(prior.voice_std)
    one, two = prior_at_strip(prior, strip(), spread), prior_at_strip(prior, strip(), 2.0 * spread)
    torch.testing.assert_close(two.mean, 2.0 * one.mean)
    torch.testing.assert_close(two.directions["reverb"], 2.0 * one.directions["reverb"])


def test_written_and_read(prior: Prior, tmp_path: Path) -> None:
    path = tmp_path / "prior.safetensors"
    save_prior(prior, path, {"seed": 0})
    again = load_prior(path)
    np.testing.assert_allclose(again.mean, prior.mean, rtol=1e-5, atol=1e-6)
    for module, directions in prior.directions.items():
        np.testing.assert_allclose(again.directions[module], directions, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("what", ["missing", "text", "features", "shape", "nan"])
def test_a_damaged_prior_is_refused(prior: Prior, tmp_path: Path, what: str) -> None:
    path = tmp_path / "prior.safetensors"
    save_prior(prior, path, {})
    with safe_open(str(path), "pt") as file:
        metadata = dict(file.metadata())
    tensors = load_file(path)
    if what == "missing":
        path.unlink()
    elif what == "text":
        path.write_text("no tensors")
    else:
        if what == "features":
            metadata["features"] = json.dumps(["another"])
        elif what == "shape":
            tensors["mean"] = tensors["mean"][:, :5].contiguous()
        else:
            tensors["mean"][0, 0] = float("nan")
        save_file(tensors, path, metadata)
    with pytest.raises(ModelError) as caught:
        load_prior(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "tests.benchmarks.engineers" in str(caught.value)


def test_the_shipped_prior_knows_nobody_of_the_benchmarks() -> None:
    from tests.benchmarks.virtual_studios import PRETRAINING_PEOPLE_HELD_OUT

    prior = shipped_prior()
    assert prior.mean.shape == (len(REACTIONS), len(VOICE_FEATURES))
    with safe_open(str(SHIPPED), "pt") as file:
        facts = json.loads(file.metadata()["facts"])
    assert facts["command"] and facts["engineers"] >= 1000
    assert not set(facts["people"]) & set(PRETRAINING_PEOPLE_HELD_OUT)
