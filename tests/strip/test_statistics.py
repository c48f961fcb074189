"""Statistics of real settings: what is drawn is a possible strip and looks like real ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from diffconsole.errors import ModelError
from diffconsole.strip import statistics
from diffconsole.strip.parameters import BY_KEY, PARAMETERS
from diffconsole.strip.statistics import RISE_TIME, SEND_EQ_DB, SettingsStatistics

DRAWS = 2000
# column of the fits: key of the strip, and the column's value in the strip's unit
DIRECT = {
    "low_shelf_gain_db": ("eq.low_shelf.gain_db", lambda v: v),
    "high_shelf_freq_hz": ("eq.high_shelf.freq_hz", lambda v: v),
    "high_pass_freq_hz": ("eq.high_pass.freq_hz", lambda v: v),
    "low_pass_q": ("eq.low_pass.q", lambda v: v),
    "comp_threshold_db": ("compressor.threshold_db", lambda v: v),
    "comp_ratio": ("compressor.ratio", lambda v: v),
    "comp_attack_ms_10_90": ("compressor.attack_ms", lambda v: v / RISE_TIME),
    "comp_release_ms_10_90": ("compressor.release_ms", lambda v: v / RISE_TIME),
    "comp_makeup_db": ("compressor.makeup_db", lambda v: v),
    "reverb_t60_mid_s": ("reverb.decay_s", lambda v: v),
    "reverb_level_db": ("reverb.wet_db", lambda v: v + SEND_EQ_DB),
}


@pytest.fixture(scope="module")
def shipped() -> SettingsStatistics:
    return statistics.load()


@pytest.fixture(scope="module")
def drawn(shipped: SettingsStatistics) -> list[tuple[dict[str, float], dict[str, float]]]:
    rng = np.random.default_rng(5)
    return [shipped.sample(rng) for _ in range(DRAWS)]


def write_table(path: Path, rows: int, columns: tuple[str, ...], seed: int = 0) -> np.ndarray:
    """Write a CSV of settings with one strong correlation; return its values."""
    rng = np.random.default_rng(seed)
    values = np.exp(rng.normal(0.0, 0.5, (rows, len(columns))))
    ratio, threshold = columns.index("comp_ratio"), columns.index("comp_threshold_db")
    values[:, threshold] = -10.0 - 3.0 * values[:, ratio] + rng.normal(0.0, 0.2, rows)
    lines = [",".join(("source", *columns))]
    lines += [",".join(("a studio", *(repr(float(v)) for v in row))) for row in values]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return values


# What is drawn


def test_every_draw_is_a_whole_strip_inside_the_ranges(
    drawn: list[tuple[dict[str, float], dict[str, float]]],
) -> None:
    for settings, ranks in drawn:
        assert list(settings) == [p.key for p in PARAMETERS]
        assert all(p.low <= settings[p.key] <= p.high for p in PARAMETERS)
        assert all(0.0 <= rank <= 1.0 for rank in ranks.values())


def test_the_same_generator_draws_the_same(shipped: SettingsStatistics) -> None:
    first, again, other = (shipped.sample(np.random.default_rng(s)) for s in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("column", DIRECT)
def test_quantiles_are_those_of_the_fits(
    column: str,
    shipped: SettingsStatistics,
    drawn: list[tuple[dict[str, float], dict[str, float]]],
) -> None:
    """The share of draws below each tenth is that tenth, to three deviations of a share."""
    key, to_strip = DIRECT[column]
    values = np.array([settings[key] for settings, _ in drawn])
    tenths = shipped.quantiles[shipped.columns.index(column)][4:40:4]
    for probability, at in zip(np.arange(0.1, 0.95, 0.1), tenths, strict=True):
        edge = to_strip(at)
        if not BY_KEY[key].low < edge < BY_KEY[key].high:
            continue
        share = np.mean(values <= edge)
        tolerance = 3.5 * np.sqrt(probability * (1.0 - probability) / DRAWS)
        assert share == pytest.approx(probability, abs=tolerance)


def test_rank_correlations_are_those_of_the_fits(
    shipped: SettingsStatistics, drawn: list[tuple[dict[str, float], dict[str, float]]]
) -> None:
    ranks = np.array([[r[name] for name in shipped.columns] for _, r in drawn])
    found = spearmanr(ranks).statistic
    # Of normal variables: Spearman's from Pearson's.
    expected = 6.0 / np.pi * np.arcsin(shipped.correlation / 2.0)
    assert np.abs(found - expected).max() < 0.1
    assert np.abs(found - expected).mean() < 0.03


def test_bells_keep_their_frequencies_and_take_different_slots(
    shipped: SettingsStatistics, drawn: list[tuple[dict[str, float], dict[str, float]]]
) -> None:
    """Two of the four bells are used; what they do is what the two of the fits do."""
    points = np.linspace(0.0, 1.0, shipped.quantiles.shape[1])
    for settings, ranks in drawn[:300]:
        gains = [settings[f"eq.peak_{i}.gain_db"] for i in (1, 2, 3, 4)]
        assert sum(gain != 0.0 for gain in gains) == 2
        for number in (1, 2):
            column = shipped.columns.index(f"peak{number}_gain_db")
            gain = np.interp(
                ranks[f"peak{number}_gain_db"], points, shipped.quantiles[column]
            ).clip(-15.0, 15.0)
            assert min(abs(gain - g) for g in gains) < 1e-9


def test_the_shipped_file_is_a_fit_of_the_real_table(
    shipped: SettingsStatistics, data_folder: Path
) -> None:
    again = statistics.fit(data_folder / "vocal_settings.csv")
    assert again.columns == shipped.columns
    np.testing.assert_allclose(shipped.quantiles, again.quantiles, rtol=1e-4)
    np.testing.assert_allclose(shipped.correlation, again.correlation, atol=1e-4)


# Fit, save, load


def test_fit_of_a_table(tmp_path: Path, shipped: SettingsStatistics) -> None:
    values = write_table(tmp_path / "mixes.csv", 200, shipped.columns)
    found = statistics.fit(tmp_path / "mixes.csv")
    assert found.columns == shipped.columns
    np.testing.assert_allclose(
        found.quantiles[:, [0, 20, 40]].T, np.quantile(values, [0, 0.5, 1], 0)
    )
    ratio, threshold = (found.columns.index(f"comp_{n}") for n in ("ratio", "threshold_db"))
    assert found.correlation[ratio, threshold] < -0.9
    # Columns drawn apart from each other: nothing beyond chance, 1/√200.
    apart = found.correlation[ratio, found.columns.index("low_pass_q")]
    assert abs(apart) < 0.25


@pytest.mark.parametrize("rows", [2, 10, 200])
def test_what_is_saved_is_what_is_loaded(
    rows: int, tmp_path: Path, shipped: SettingsStatistics
) -> None:
    """Also from fewer rows than columns, whose correlations would have no root."""
    write_table(tmp_path / "mixes.csv", rows, shipped.columns)
    fitted = statistics.fit(tmp_path / "mixes.csv")
    fitted.save(tmp_path / "mixes.json", "a studio of our own")
    loaded = statistics.load(tmp_path / "mixes.json")
    assert loaded.columns == fitted.columns
    np.testing.assert_allclose(loaded.quantiles, fitted.quantiles, rtol=1e-4)
    np.testing.assert_allclose(loaded.correlation, fitted.correlation, atol=1e-4)
    np.testing.assert_allclose(np.diag(fitted.correlation), 1.0)
    ours, theirs = (s.sample(np.random.default_rng(3))[0] for s in (fitted, loaded))
    for parameter in PARAMETERS:
        key = parameter.key
        assert theirs[key] == pytest.approx(ours[key], rel=0.02, abs=0.02), key
    assert json.loads((tmp_path / "mixes.json").read_text())["source"] == "a studio of our own"


def test_a_column_that_never_moves(tmp_path: Path, shipped: SettingsStatistics) -> None:
    write_table(tmp_path / "mixes.csv", 20, shipped.columns)
    lines = (tmp_path / "mixes.csv").read_text().splitlines()
    place = lines[0].split(",").index("high_pass_freq_hz")
    for i, line in enumerate(lines[1:], start=1):
        cells = line.split(",")
        cells[place] = "120"
        lines[i] = ",".join(cells)
    (tmp_path / "mixes.csv").write_text("\n".join(lines))
    found = statistics.fit(tmp_path / "mixes.csv")
    assert np.isfinite(found.correlation).all()
    rng = np.random.default_rng(0)
    assert {found.sample(rng)[0]["eq.high_pass.freq_hz"] for _ in range(5)} == {120.0}


# Errors


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        ("", "no column"),
        ("comp_ratio\n3.0\n", "no column"),
        ("COLUMNS\nx\n", "not a table of settings"),
        ("COLUMNS\n", "no column"),
        ("COLUMNS\nVALUES\n", "1 row(s)"),
        ("COLUMNS\nVALUES\nNANS\n", "every value finite"),
        ("COLUMNS\nVALUES\n1,2\n", "not a table of settings"),
        ("COLUMNS\nVALUES\nVALUES,7\n", "not a table of settings"),
        (b"\xff\xfe\x00RIFF", "not a table of settings"),
    ],
)
def test_a_table_that_cannot_be_fitted(
    content: str | bytes | None, said: str, tmp_path: Path, shipped: SettingsStatistics
) -> None:
    table = tmp_path / "mixes.csv"
    count = len(shipped.columns)
    if isinstance(content, bytes):
        table.write_bytes(content)
    elif content is not None:
        filled = content.replace("COLUMNS", ",".join(shipped.columns))
        filled = filled.replace("VALUES", ",".join("1" * count))
        table.write_text(filled.replace("NANS", ",".join(["nan"] * count)))
    with pytest.raises(ModelError) as caught:
        statistics.fit(table)
    assert str(caught.value).startswith(f"{table}: ")
    assert said in str(caught.value)


@pytest.mark.parametrize("damage", ["missing", "text", "list", "short", "column", "no figures"])
def test_statistics_that_cannot_be_loaded(
    damage: str, tmp_path: Path, shipped: SettingsStatistics
) -> None:
    path = tmp_path / "statistics.json"
    shipped.save(path)
    data = json.loads(path.read_text())
    if damage == "missing":
        path.unlink()
    elif damage == "text":
        path.write_text(path.read_text()[:-100])
    elif damage == "list":
        path.write_text("[1, 2]")
    elif damage == "short":
        path.write_text(json.dumps(data | {"quantiles": data["quantiles"][1:]}))
    elif damage == "column":
        names = ["a" if name == "comp_ratio" else name for name in data["columns"]]
        path.write_text(json.dumps(data | {"columns": names}))
    else:
        path.write_text(json.dumps(data | {"correlation": "high"}))
    with pytest.raises(ModelError) as caught:
        statistics.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
