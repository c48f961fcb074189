"""The virtual studios: who is heard where, engineers who react, results that outlast a kill."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffconsole.audio import loudness_lufs
from diffconsole.model.predictor import level_gain_db
from diffconsole.pairs import PAIR_RATE, Pair, align
from diffconsole.strip.parameters import PARAMETERS, default_settings
from diffconsole.training.finetuning.labels import fingerprint_of, labels_of

from .benchmarks.studio_materials import Label, Materials, digest_of
from .benchmarks.studio_renderers import ffmpeg_path
from .benchmarks.studio_results import Cell, Result, Table, append, bars_of, gap_closed, read
from .benchmarks.studio_systems import effective, ridge_regression, write_labels
from .benchmarks.studios import SIZES, STUDIOS, cells_of, cost_seconds
from .benchmarks.virtual_studios import (
    LEVELS_LUFS,
    PASSAGE_SECONDS,
    PRETRAINING_PEOPLE_HELD_OUT,
    TEST_PEOPLE,
    TRAIN_PEOPLE,
    Passage,
    decide,
    explained_shares,
    mix,
    raw_passages,
)
from .benchmarks.voice_measures import BANDS_HZ, VoiceMeasures, measure
from .synthetic import voice

USUAL = VoiceMeasures(
    spectrum_db=np.interp(np.log(BANDS_HZ), np.log([50, 160, 500, 16000]), [-20, 2, 6, -20]),
    loudness_lufs=-18.0,
    level_db=-17.0,
    spread_db=15.0,
    crest_db=12.0,
    decay_s=0.3,
    syllables_per_s=2.0,
)
SPEAKERS = ("msc_QgeGxPRr", "msc_tHgBo7UE")


@pytest.fixture(params=STUDIOS)
def studio(request: pytest.FixtureRequest) -> Any:
    return STUDIOS[request.param]


@pytest.fixture(scope="module")
def passages(data_folder: Path) -> list[Passage]:
    return list(raw_passages(data_folder / "voices", SPEAKERS, 3, seed=5))


# People and passages


def test_nobody_trains_and_is_tested() -> None:
    assert not set(TRAIN_PEOPLE) & set(TEST_PEOPLE)
    assert set(PRETRAINING_PEOPLE_HELD_OUT) == {*TRAIN_PEOPLE, *TEST_PEOPLE}
    assert len(PRETRAINING_PEOPLE_HELD_OUT) == 15


def test_everybody_has_a_voice(data_folder: Path) -> None:
    assert all(any((data_folder / "voices" / p).glob("*")) for p in PRETRAINING_PEOPLE_HELD_OUT)


def test_a_passage_depends_on_the_seed_and_its_number_alone(
    data_folder: Path, passages: list[Passage]
) -> None:
    (third,) = raw_passages(data_folder / "voices", SPEAKERS, 1, seed=5, first=2)
    (other,) = raw_passages(data_folder / "voices", SPEAKERS, 1, seed=6, first=2)
    assert third.person == passages[2].person == "msc_QgeGxPRr"
    np.testing.assert_array_equal(third.samples, passages[2].samples)
    assert not np.array_equal(third.samples, other.samples)


def test_passages_are_ten_seconds_that_do_not_clip(passages: list[Passage]) -> None:
    for passage in passages:
        assert passage.samples.shape == (1, int(PASSAGE_SECONDS * PAIR_RATE))
        assert np.abs(passage.samples).max() < 1.0
        loudness = loudness_lufs(passage.samples, PAIR_RATE)
        assert LEVELS_LUFS[0] - 6.0 < loudness < LEVELS_LUFS[1] + 0.1
    assert [p.person for p in passages] == [*SPEAKERS, SPEAKERS[0]]


# What the engineer hears


def test_level_changes_nothing_but_levels() -> None:
    raw = voice(6.0)[None].astype(np.float32)
    loud, soft = measure(raw), measure(0.1 * raw)
    assert soft.level_db == pytest.approx(loud.level_db - 20.0, abs=0.1)
    assert soft.loudness_lufs == pytest.approx(loud.loudness_lufs - 20.0, abs=0.1)
    np.testing.assert_allclose(soft.spectrum_db, loud.spectrum_db, atol=0.1)
    for name in ("spread_db", "crest_db", "decay_s", "syllables_per_s"):
        assert getattr(soft, name) == pytest.approx(getattr(loud, name), rel=0.02)


def test_spectrum_is_that_of_pink_noise() -> None:
    rng = np.random.default_rng(0)
    spectrum = np.fft.rfft(rng.standard_normal(10 * PAIR_RATE))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0.0
    pink = np.fft.irfft(spectrum).astype(np.float32)
    found = measure(pink[None]).spectrum_db
    assert np.abs(found[BANDS_HZ > 150.0]).max() < 0.7


def bursts(fall_s: float, every_s: float) -> np.ndarray:
    """Noise that starts each time and falls by 60 dB in `fall_s`."""
    rng = np.random.default_rng(1)
    since_s = (np.arange(8 * PAIR_RATE) / PAIR_RATE) % every_s
    held_s = 0.1
    level_db = np.where(since_s < held_s, 0.0, -60.0 * (since_s - held_s) / fall_s)
    noise = rng.standard_normal(len(since_s)) * 10.0 ** (np.maximum(level_db, -80.0) / 20.0)
    return (0.1 * noise)[None].astype(np.float32)


@pytest.mark.parametrize("fall_s", [0.2, 0.4, 0.8])
def test_a_wet_room_falls_slowly(fall_s: float) -> None:
    assert measure(bursts(fall_s, 1.0)).decay_s == pytest.approx(fall_s, rel=0.3)


def test_pace_is_that_of_the_syllables() -> None:
    slow, fast = (measure(bursts(0.3, every_s)) for every_s in (0.5, 0.25))
    assert slow.syllables_per_s == pytest.approx(2.0, rel=0.1)
    assert fast.syllables_per_s == pytest.approx(4.0, rel=0.1)


# How the engineer reacts


def tilted(db_an_octave: float) -> VoiceMeasures:
    spectrum_db = USUAL.spectrum_db + db_an_octave * np.log2(BANDS_HZ / 1000.0)
    return replace(USUAL, spectrum_db=spectrum_db)


def test_a_darker_voice_gets_more_treble_and_less_bass(studio: Any) -> None:
    dark, bright = decide(studio, tilted(-2.0)), decide(studio, tilted(2.0))
    assert dark["air_db"] > bright["air_db"] + 2.0
    assert dark["low_shelf_db"] < bright["low_shelf_db"] - 2.0


REACTIONS: list[tuple[str, Callable[[VoiceMeasures], VoiceMeasures], int]] = [
    ("threshold_db", lambda v: replace(v, crest_db=v.crest_db + 3), 1),
    ("input_gain_db", lambda v: replace(v, loudness_lufs=v.loudness_lufs - 6), 1),
    ("ratio", lambda v: replace(v, spread_db=v.spread_db + 4), 1),
    ("attack_ms", lambda v: replace(v, crest_db=v.crest_db + 3), 1),
    ("wet_db", lambda v: replace(v, decay_s=2 * v.decay_s), -1),
    ("wet_db", lambda v: replace(v, syllables_per_s=v.syllables_per_s / 2), 1),
    ("release_ms", lambda v: replace(v, syllables_per_s=v.syllables_per_s / 2), 1),
]


@pytest.mark.parametrize(("key", "change", "sign"), REACTIONS)
def test_each_setting_follows_the_voice(
    studio: Any, key: str, change: Callable[[VoiceMeasures], VoiceMeasures], sign: int
) -> None:
    assert sign * (decide(studio, change(USUAL))[key] - decide(studio, USUAL)[key]) > 0.0


def test_taste_moves_settings_and_the_seed_decides_how(studio: Any) -> None:
    one, same, other = (decide(studio, USUAL, np.random.default_rng(s)) for s in (1, 1, 2))
    assert one == same
    assert one != other
    assert abs(one["loudness_lufs"] - studio.loudness_lufs) <= 0.5


def test_voices_differ_more_than_taste(studio: Any, passages: list[Passage]) -> None:
    voices = [tilted(-1.5), tilted(1.5), *(measure(p.samples) for p in passages)]
    shares = explained_shares(studio, voices)
    print({key: round(share, 2) for key, share in shares.items()})
    assert np.mean(list(shares.values())) > 0.5


def test_a_mix_is_in_time_and_at_the_studios_loudness(
    studio: Any, passages: list[Passage], data_folder: Path
) -> None:
    if studio.processors == "pedalboard":
        pytest.importorskip("pedalboard", reason="this studio mixes with pedalboard")
    else:
        try:
            ffmpeg_path()
        except FileNotFoundError as error:
            pytest.skip(str(error))
    raw = passages[1].samples
    rooms = data_folder / "ir"
    mixed, again = (mix(studio, raw, np.random.default_rng(3), rooms) for _ in range(2))
    assert mixed.shape == (2, raw.shape[1])
    assert mixed.dtype == np.float32
    np.testing.assert_array_equal(mixed, again)
    assert abs(loudness_lufs(mixed, PAIR_RATE) - studio.loudness_lufs) <= 0.51
    lag, polarity, _ = align(raw[0], mixed.mean(axis=0))
    assert abs(lag) < 3.0
    assert polarity == 1


# Materials and cells


def test_other_rules_have_other_materials(studio: Any, tmp_path: Path) -> None:
    other = replace(studio, pull=studio.pull + 0.1)
    assert Materials(studio, tmp_path).key == Materials(studio, tmp_path / "elsewhere").key
    assert Materials(studio, tmp_path).key != Materials(other, tmp_path).key


def test_other_reactions_have_other_materials(
    studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Materials(studio, tmp_path).key
    monkeypatch.setattr("tests.benchmarks.virtual_studios.USUAL_CREST_DB", 14.0)
    digest_of.cache_clear()
    assert Materials(studio, tmp_path).key != before
    digest_of.cache_clear()


def test_other_seeds_train_on_other_pairs() -> None:
    materials = Materials(next(iter(STUDIOS.values())), Path())
    chosen = [set(materials.training_numbers(50, seed)) for seed in range(3)]
    assert len(set.union(*chosen)) == 150


def test_the_cheapest_cells_go_first() -> None:
    cells = cells_of(list(STUDIOS), list(SIZES), ["level", "fixed", "pretrained", "optimum"])
    costs = [cost_seconds(cell) for cell in cells]
    assert costs == sorted(costs)
    assert cells[0].system == "level"
    assert sum(c.system == "pretrained" and c.pairs == 50 for c in cells) == 3 * len(STUDIOS)
    assert sum(c.system == "optimum" for c in cells) == len(STUDIOS)
    assert len(set(cells)) == len(cells)


# Systems


def test_ridge_chooses_the_penalty_by_what_is_left_out() -> None:
    rng = np.random.default_rng(4)
    features = rng.standard_normal((40, 60))
    told = features[:, :3].sum(axis=1)
    noise = rng.standard_normal(40)
    weights, offset, alphas = ridge_regression(features, np.stack((told, noise), axis=1) + 2.0)
    assert alphas[1] > 10.0 * alphas[0]
    found = features @ weights + offset
    assert np.corrcoef(found[:, 0], told)[0, 1] > 0.9
    assert np.std(found[:, 1]) < 0.5


def test_what_is_off_counts_as_doing_nothing() -> None:
    raw = voice(2.0)[None].astype(np.float32)
    gain_db, _ = level_gain_db(raw, PAIR_RATE)
    settings = {**default_settings(), "input_gain.gain_db": gain_db, "eq.peak_1.gain_db": 9.0}
    label = Label(settings, frozenset({"eq.peak_1", "reverb"}), 1.0, 1.0)
    pair = Pair("take", raw, np.repeat(raw, 2, axis=0), 0.0, 1, 1.0)
    values = dict(zip((p.key for p in PARAMETERS), effective(label, pair), strict=True))
    assert values["input_gain.gain_db"] == pytest.approx(0.5)
    assert values["eq.peak_1.gain_db"] == pytest.approx(0.5)
    assert values["reverb.wet_db"] == 0.0


# Results


def test_a_fine_tuning_reads_the_labels_that_are_written(tmp_path: Path) -> None:
    raw = voice(2.0)[None]
    pair = Pair("pair", raw, np.repeat(raw, 2, axis=0), 0.0, 1, 1.0)
    settings = default_settings() | {"compressor.threshold_db": -31.0}
    write_labels(tmp_path, [pair], [Label(settings, frozenset({"reverb"}), 1.0, 1.0)], seed=3)
    # With the time over nothing is searched: what comes back was read.
    read_back = labels_of([pair], [fingerprint_of(pair)], tmp_path, seed=3, over=lambda: True)
    place = [p.key for p in PARAMETERS].index("compressor.threshold_db")
    assert PARAMETERS[place].to_physical(float(read_back[0, place])) == pytest.approx(-31.0)


def result(system: str, pairs: int, distance: float, studio: str = "a", seed: int = 0) -> Result:
    return Result(Cell(studio, pairs, seed, system), "key", "", [distance, distance], 1.0)


def test_results_outlast_a_kill_in_the_middle_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    assert read(path) == []
    first, second = result("level", 0, 2.0), result("fixed", 10, 1.5)
    append(path, first)
    whole = path.read_bytes()
    append(path, second)
    path.write_bytes(path.read_bytes()[:-20])
    assert read(path) == [first]
    append(path, second)
    assert read(path) == [first, second]
    assert path.read_bytes().startswith(whole)


def test_a_result_is_of_its_material_model_and_vocals() -> None:
    found = result("level", 0, 2.0)
    assert found.is_of(found.cell, "key", "", 2)
    assert not found.is_of(found.cell, "other", "", 2)
    assert not found.is_of(found.cell, "key", "model", 2)
    assert not found.is_of(found.cell, "key", "", 12)
    assert not found.is_of(replace(found.cell, seed=1), "key", "", 2)


def test_gap_closed() -> None:
    assert gap_closed(2.0, 1.5, 1.0) == pytest.approx(0.5)
    assert gap_closed(2.0, 2.2, 1.0) == pytest.approx(-0.2)
    assert math.isnan(gap_closed(1.0, 1.0, 1.0))


def full_table(ours: float) -> Table:
    results = [
        found
        for studio, more in (("a", 0.0), ("b", 1.0))
        for found in (
            result("level", 0, 3.0 + more, studio),
            result("optimum", 0, 1.0 + more, studio),
            result("fixed", 50, 2.0 + more, studio),
            result("pretrained", 50, ours - 0.1 + more, studio, seed=0),
            result("pretrained", 50, ours + 0.1 + more, studio, seed=1),
            result("random", 50, 1.9 + more, studio),
            result("random", 100, 1.45 + more, studio),
        )
    ]
    return Table(results, ["a", "b"])


def test_the_table_averages_seeds_and_studios() -> None:
    table = full_table(1.4)
    assert table.sizes == [50, 100]
    assert table.distance("a", 50, "pretrained") == pytest.approx(1.4)
    assert table.distance(None, 50, "level") == pytest.approx(3.5)
    assert table.gap(None, 50) == pytest.approx(0.6)
    assert math.isnan(table.gap("a", 100))
    assert "0.600" in str(table)


def test_a_mean_over_studios_needs_all_of_them() -> None:
    table = Table([result("level", 0, 3.0)], ["a", "b"])
    assert math.isnan(table.distance(None, 50, "level"))


@pytest.mark.parametrize(("ours", "missed"), [(1.4, [False, False]), (1.6, [True, True])])
def test_bars(ours: float, missed: list[bool]) -> None:
    bars = [bar for bar in bars_of(full_table(ours)) if bar.measured]
    assert [bar.missed for bar in bars] == missed
    assert [bar.bar for bar in bars] == pytest.approx([0.5, 1.95])


def test_the_picture_has_a_line_a_system() -> None:
    from .benchmarks.studios_plot import STYLES, draw

    (axes,) = draw(full_table(1.4)).axes
    named = {text.get_text() for text in axes.texts}
    assert named == {STYLES[s][0] for s in ("level", "fixed", "random", "pretrained", "optimum")}
    assert [t.get_text() for t in axes.get_xticklabels()] == ["50", "100"]
