"""The table: the ranges of the design, and the way between 0…1 and physical units."""

from __future__ import annotations

import csv
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from diffconsole.strip.parameters import (
    BY_KEY,
    EQ_BANDS,
    MODULES,
    PARAMETERS,
    SWITCHES,
    default_settings,
    denormalize,
    normalize,
    without_inaudible,
)

# The contract, written here a second time on purpose: low, high, scale, default.
EXPECTED = {
    "input_gain.gain_db": (-48, 48, "linear", 0),
    "gate.threshold_db": (-80, -10, "linear", -50),
    "gate.ratio": (1, 20, "log", 2),
    "gate.range_db": (0, 60, "linear", 15),
    "gate.attack_ms": (0.05, 50, "log", 1),
    "gate.hold_ms": (0, 500, "linear", 40),
    "gate.release_ms": (3, 2000, "log", 150),
    "eq.high_pass.freq_hz": (16, 1000, "log", 90),
    "eq.high_pass.q": (0.3, 6, "log", 0.71),
    "eq.low_shelf.freq_hz": (30, 450, "log", 180),
    "eq.low_shelf.gain_db": (-15, 15, "linear", 0),
    "eq.low_shelf.q": (0.3, 3, "log", 0.71),
    "eq.peak_1.freq_hz": (60, 1000, "log", 320),
    "eq.peak_2.freq_hz": (200, 3000, "log", 900),
    "eq.peak_3.freq_hz": (800, 8000, "log", 3000),
    "eq.peak_4.freq_hz": (2000, 18000, "log", 7500),
    **{f"eq.peak_{i}.gain_db": (-15, 15, "linear", 0) for i in range(1, 5)},
    **{f"eq.peak_{i}.q": (0.2, 20, "log", 1) for i in range(1, 5)},
    "eq.high_shelf.freq_hz": (750, 16000, "log", 10000),
    "eq.high_shelf.gain_db": (-15, 15, "linear", 0),
    "eq.high_shelf.q": (0.3, 3, "log", 0.71),
    "eq.low_pass.freq_hz": (4000, 20000, "log", 18000),
    "eq.low_pass.q": (0.3, 6, "log", 0.71),
    "compressor.threshold_db": (-60, 0, "linear", -22),
    "compressor.ratio": (1, 20, "log", 3.3),
    "compressor.attack_ms": (0.05, 150, "log", 3),
    "compressor.release_ms": (3, 2000, "log", 120),
    "compressor.knee_db": (0, 24, "linear", 6),
    "compressor.makeup_db": (-12, 24, "linear", 2),
    "compressor.mix": (0, 100, "linear", 100),
    "compressor_2.threshold_db": (-60, 0, "linear", -24),
    "compressor_2.ratio": (1, 20, "log", 2),
    "compressor_2.attack_ms": (0.05, 150, "log", 20),
    "compressor_2.release_ms": (3, 2000, "log", 400),
    "compressor_2.knee_db": (0, 24, "linear", 12),
    "compressor_2.makeup_db": (-12, 24, "linear", 1),
    "compressor_2.mix": (0, 100, "linear", 100),
    "deesser.freq_hz": (2000, 12000, "log", 5500),
    "deesser.threshold_db": (-40, 0, "linear", -12),
    "deesser.range_db": (0, 24, "linear", 6),
    "deesser.attack_ms": (0.05, 50, "log", 0.5),
    "deesser.release_ms": (3, 500, "log", 40),
    "saturation.drive_db": (0, 20, "linear", 6),
    "saturation.bias": (-0.8, 0.8, "linear", 0),
    "saturation.mix": (0, 100, "linear", 100),
    "pan.position": (-1, 1, "linear", 0),
    "delay.time_ms": (20, 1500, "log", 306),
    "delay.feedback": (0, 0.9, "linear", 0.46),
    "delay.low_cut_hz": (20, 1000, "log", 200),
    "delay.high_cut_hz": (1000, 20000, "log", 6000),
    "delay.width": (0, 1, "linear", 0.3),
    "delay.wet_db": (-60, 6, "linear", -24),
    "delay.reverb_send_db": (-60, 6, "linear", -60),
    "reverb.pre_delay_ms": (0, 120, "linear", 20),
    "reverb.decay_s": (0.1, 8, "log", 1.8),
    "reverb.low_ratio": (0.1, 4, "log", 0.9),
    "reverb.high_ratio": (0.05, 1.5, "log", 0.6),
    "reverb.low_cut_hz": (20, 1000, "log", 200),
    "reverb.high_cut_hz": (1000, 20000, "log", 9000),
    "reverb.width": (0, 1, "linear", 1),
    "reverb.wet_db": (-60, 6, "linear", -18),
    "output_gain.gain_db": (-48, 24, "linear", 0),
}


def test_the_table_is_the_design():
    found = {p.key: (p.low, p.high, p.scale, p.default) for p in PARAMETERS}
    assert found == EXPECTED


def test_every_name_carries_its_unit():
    suffix = {"dB": "_db", "dBFS": "_db", "Hz": "_hz", "ms": "_ms", "s": "_s"}
    for parameter in PARAMETERS:
        if parameter.unit in suffix:
            assert parameter.name.endswith(suffix[parameter.unit]), parameter.key
        assert parameter.is_decibel == parameter.name.endswith("_db")
        assert parameter.meaning


def test_order_is_the_order_of_a_preset():
    seen = list(dict.fromkeys(p.section.split(".")[0] for p in PARAMETERS))
    assert seen == list(MODULES)
    bands = list(dict.fromkeys(p.section for p in PARAMETERS if p.section.startswith("eq.")))
    assert bands == [f"eq.{band}" for band in EQ_BANDS]
    assert set(SWITCHES) == set(MODULES) | set(bands)


@pytest.mark.parametrize("key", list(BY_KEY))
def test_ends_of_the_normalised_range(key):
    p = BY_KEY[key]
    assert p.to_physical(0.0) == pytest.approx(p.low, rel=1e-12, abs=1e-12)
    assert p.to_physical(1.0) == pytest.approx(p.high, rel=1e-12, abs=1e-12)
    assert p.clip(p.high + 1.0) == p.high
    assert p.clip(p.low - 1) == p.low
    assert p.clip(p.default) == p.default


@pytest.mark.parametrize("key", list(BY_KEY))
def test_middle_of_a_log_range_is_the_geometric_mean(key):
    p = BY_KEY[key]
    middle = math.sqrt(p.low * p.high) if p.scale == "log" else (p.low + p.high) / 2
    assert p.to_physical(0.5) == pytest.approx(middle, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("convert", [float, np.float64, torch.tensor], ids=["float", "np", "torch"])
def test_round_trip(convert):
    for p in PARAMETERS:
        for unit in (0.0, 0.1, 0.5, 0.83, 1.0):
            there = p.to_physical(convert(unit))
            assert float(p.to_normalised(there)) == pytest.approx(unit, abs=1e-6)


def test_a_vector_of_outputs_becomes_settings_and_back():
    rows = torch.rand(5, len(PARAMETERS), dtype=torch.float64)
    settings = denormalize(rows)
    assert settings["compressor.ratio"].shape == (5,)
    again = normalize(settings)
    for i, p in enumerate(PARAMETERS):
        assert torch.allclose(again[p.key], rows[:, i], atol=1e-12)


def test_defaults_lie_in_their_ranges():
    for key, value in default_settings().items():
        assert BY_KEY[key].low <= value <= BY_KEY[key].high


def test_ranges_cover_what_engineers_do(data_folder: Path):
    columns = {
        "peak1_gain_db": "eq.peak_1.gain_db",
        "low_shelf_gain_db": "eq.low_shelf.gain_db",
        "low_shelf_freq_hz": "eq.low_shelf.freq_hz",
        "high_shelf_freq_hz": "eq.high_shelf.freq_hz",
        "high_pass_freq_hz": "eq.high_pass.freq_hz",
        "comp_threshold_db": "compressor.threshold_db",
        "comp_makeup_db": "compressor.makeup_db",
        "reverb_t60_mid_s": "reverb.decay_s",
    }
    with (data_folder / "vocal_settings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 435
    for column, key in columns.items():
        low, high = np.percentile([float(row[column]) for row in rows], (5, 95))
        assert BY_KEY[key].low <= low < high <= BY_KEY[key].high, (column, low, high)


def test_importing_the_table_loads_nothing_heavy():
    code = (
        "import sys, diffconsole.strip.parameters;"
        "print([m for m in ('torch', 'scipy', 'numba', 'matplotlib') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_values_that_do_nothing_are_exactly_nothing():
    found = without_inaudible(
        {"pan.position": -1.34e-5, "compressor.makeup_db": -7e-6, "compressor.ratio": 1.0004,
         "eq.peak_1.gain_db": 0.015, "output_gain.gain_db": -0.001, "input_gain.gain_db": 5.0,
         "eq.low_shelf.gain_db": -0.1, "reverb.wet_db": 1e-6}
    )  # fmt: skip
    assert found == {
        "pan.position": 0.0, "compressor.makeup_db": 0.0, "compressor.ratio": 1.0,
        "eq.peak_1.gain_db": 0.0, "output_gain.gain_db": 0.0, "input_gain.gain_db": 5.0,
        "eq.low_shelf.gain_db": -0.1, "reverb.wet_db": 1e-6,
    }  # fmt: skip


def test_what_is_inaudible_lies_around_a_value_in_range():
    for p in PARAMETERS:
        if p.idle is not None:
            assert p.low <= p.idle <= p.high
            assert 0.0 < p.inaudible <= 0.005 * (p.high - p.low)
        else:
            assert p.inaudible == 0.0
