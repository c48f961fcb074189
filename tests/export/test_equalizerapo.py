"""Equalizer APO: its text read by an independent parser, and back."""

from __future__ import annotations

import numpy as np
import pytest

from diffconsole import Preset
from diffconsole.errors import ExportError
from diffconsole.export import Strip, export_preset, find_format, import_preset
from diffconsole.strip.parameters import EQ_BANDS
from diffconsole.strip.preset import factory_presets, find_preset
from tests import reference
from tests.export.helpers import same

FORM = find_format("equalizerapo")
KINDS = {"HPQ": "high_pass", "LSC": "low_shelf", "PK": "peaking", "HSC": "high_shelf",
         "LPQ": "low_pass"}  # fmt: skip


def sections_of(text: str, rate: float) -> np.ndarray:
    """The filters that a reader of the words of each line makes of the text."""
    rows = []
    for line in text.splitlines():
        words = line.split()
        if words[0] != "Filter" or words[2] != "ON":
            continue
        values = {name: float(words[words.index(name) + 1])
                  for name in ("Fc", "Gain", "Q") if name in words}  # fmt: skip
        kind = KINDS[words[3]]
        rows.append(reference.section(kind, rate, values["Fc"], values["Q"], values.get("Gain", 0)))
    return np.array(rows)


@pytest.mark.parametrize("name", factory_presets())
def test_the_text_holds_the_sections_of_the_strip(name):
    strip = Strip(find_preset(name))
    text = FORM.write(strip)[""].decode()
    expected = reference.sections(48000, strip.settings, strip.off)
    if len(expected):
        np.testing.assert_allclose(sections_of(text, 48000), expected, atol=1e-9)
    gain = strip.gain_db("input_gain") + strip.gain_db("output_gain")
    (preamp,) = (line.split()[1] for line in text.splitlines() if line.startswith("Preamp"))
    assert float(preamp) == pytest.approx(gain, abs=1e-9)


def test_there_and_back(tmp_path):
    preset = find_preset("telephone")
    export_preset(preset, "equalizerapo", tmp_path / "a.txt")
    back, _ = import_preset(tmp_path / "a.txt")
    same(preset, back, tuple(m.key for m in FORM.mapped))
    for band in EQ_BANDS:
        assert (f"eq.{band}" in back.bypass()) == (f"eq.{band}" in preset.bypass())


def test_the_text_of_another_program(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(
        "Preamp: -6.5 dB\nFilter 1: ON PK Fc 105 Hz Gain -4.1 dB Q 0.70\n"
        "Filter 2: ON PK Fc 3100 Hz Gain 2.0 dB Q 1.41\n"
        "filter 3: on hsc fc 10000 hz gain 3 db q 0.7"
    )
    back, _ = import_preset(path)
    assert back.settings()["eq.peak_1.freq_hz"] == 105.0
    assert back.settings()["eq.peak_3.gain_db"] == 2.0
    assert back.settings()["eq.high_shelf.gain_db"] == 3.0
    assert back.settings()["output_gain.gain_db"] == -6.5
    five = [f"Filter {n}: ON PK Fc {n}00 Hz Gain 1 dB Q 1" for n in range(3, 9)]
    path.write_text("\n".join(five))
    back, _ = import_preset(path)
    # Peak 4 reaches none of them.
    taken = [back.settings()[f"eq.peak_{n}.freq_hz"] for n in range(1, 4)]
    assert set(taken) < {100.0 * n for n in range(3, 9)} and taken == sorted(taken)
    assert back.provenance["import"][0].startswith("left out: bell ")


def test_a_preamp_beyond_one_gain_is_split(tmp_path):
    preset = Preset({"input_gain": {"gain_db": 20.0}, "output_gain": {"gain_db": 10.0},
                     "eq": {"peak_1": {"gain_db": 1.0}}})  # fmt: skip
    export_preset(preset, "equalizerapo", tmp_path / "a.txt")
    back = import_preset(tmp_path / "a.txt")[0].settings()
    assert (back["input_gain.gain_db"], back["output_gain.gain_db"]) == (6.0, 24.0)


def test_an_eq_that_is_off_is_off_there():
    text = FORM.write(Strip(Preset({"output_gain": {"gain_db": 3.0}})))[""].decode()
    assert "ON" not in text
    assert "Preamp: 3 dB" in text


def read(path, *lines):
    path.write_text("\n".join(lines))
    return import_preset(path, "equalizerapo")[0]


BELL = "Filter 1: ON PK Fc 1000 Hz Gain 2 dB Q 1"


def test_what_is_commented_out_does_nothing(tmp_path):
    back = read(
        tmp_path / "a.txt",
        f"# {BELL}",
        "# Preamp: -9 dB",
        "  Filter 2: ON PK Fc 2000 Hz Gain 3 dB Q 2",
    )
    on = [band for band in EQ_BANDS if f"eq.{band}" not in back.bypass()]
    assert [back.settings()[f"eq.{band}.freq_hz"] for band in on] == [2000.0]
    assert back.settings()["output_gain.gain_db"] == 0.0
    assert back.name == ""


def test_filters_without_a_q_and_preamps_that_add_up(tmp_path):
    back = read(
        tmp_path / "a.txt", BELL, "Filter 2: ON LS Fc 100 Hz Gain 3 dB", "Filter 3: ON HP Fc 80 Hz",
        "Preamp: -6 dB", "Filter 4: ON HS Fc 9000Hz Gain -2dB", "Filter 5: ON LP Fc 16000 Hz",
        "Filter 6: ON None", "Filter 7: OFF Modal Fc 50 Hz", "preamp: -3 dB",
    ).settings()  # fmt: skip
    corners = {"low_shelf": 100.0, "high_pass": 80.0, "high_shelf": 9000.0, "low_pass": 16000.0}
    for band, freq_hz in corners.items():
        assert (back[f"eq.{band}.freq_hz"], back[f"eq.{band}.q"]) == (freq_hz, 0.71)
    assert (back["eq.low_shelf.gain_db"], back["eq.high_shelf.gain_db"]) == (3.0, -2.0)
    assert back["output_gain.gain_db"] == -9.0


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("Filter 2: ON PK Fc 50 Hz Gain 3 dB", "PK Fc 50.*write it as"),
        ("Filter 2: ON PK Fc 1,000 Hz Gain 3 dB Q 1", "Fc 1,000 is not a number.*without commas"),
        ("Filter 2: ON PK Fc 100 Hz Gain x dB Q 1", "Gain x is not a number"),
        ("Filter 2: ON PK Fc 100 Hz Gain 3 dB Q 0", "Q 0 is none"),
        ("Preamp: -3.5.1 dB", "Preamp -3.5.1 is not a number"),
    ],
)
def test_what_is_not_read_is_refused_by_its_name(tmp_path, line, told):
    with pytest.raises(ExportError, match=rf"a\.txt: .*{told}"):
        read(tmp_path / "a.txt", BELL, line)


def test_other_programs_write_it_in_other_ways(tmp_path):
    back = read(
        tmp_path / "a.txt", "Filter 1: ON LSC 12 dB Fc 50 Hz Gain 3 dB", "Filter 2: ON NO Fc 50 Hz",
        "Filter  3: ON  PEQ  Fc   100,0 Hz  Gain  -3,50 dB  Q  2,00", "Preamp: -3,5 dB",
        "Filter 4: ON PK Fc 1,000.5 Hz Gain 3 dB BW oct 1".replace(",", ""),
        "Filter: ON HSC Q 0.6 Gain 2dB Fc 9000Hz",
    )  # fmt: skip
    settings = back.settings()
    assert (settings["eq.low_shelf.freq_hz"], settings["eq.low_shelf.gain_db"]) == (50.0, 3.0)
    bell = [settings[f"eq.peak_1.{name}"] for name in ("freq_hz", "gain_db", "q")]
    assert bell == [100.0, -3.5, 2.0]
    # The cookbook's Q of one octave is √2.
    assert settings["eq.peak_2.q"] == pytest.approx(2.0**0.5, rel=1e-6)
    shelf = [settings[f"eq.high_shelf.{name}"] for name in ("freq_hz", "gain_db", "q")]
    assert shelf == [9000.0, 2.0, 0.6]
    assert settings["output_gain.gain_db"] == -3.5
    assert back.provenance["import"] == ["left out: a filter of kind NO, which a strip lacks"]


def test_other_encodings_and_too_long_a_text_are_refused(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(BELL.encode("utf-8-sig"))
    assert import_preset(path)[0].settings()["eq.peak_2.gain_db"] == 2.0
    for content, told in ((BELL.encode("utf-16"), "UTF-8"), (b"#" * ((1 << 20) + 1), "1 MB")):
        path.write_bytes(content)
        with pytest.raises(ExportError, match=told):
            import_preset(path, "equalizerapo")
