"""Settings sheets: as spreadsheets and a Markdown parser read them, what the sentence says."""

from __future__ import annotations

import csv
import io
import re

import pytest

from diffconsole import Preset
from diffconsole.errors import DiffconsoleError
from diffconsole.export import Strip, export_preset, find_format, import_preset
from diffconsole.export.sheet import in_a_sentence, rows
from diffconsole.strip.parameters import BY_KEY, EQ_BANDS, MODULES, PARAMETERS, SWITCHES
from diffconsole.strip.preset import factory_presets
from diffconsole.strip.versions import is_spare

from .helpers import HOSTILE_NAMES, hostile, needs_module, same

PRESETS = factory_presets()
CSV, MARKDOWN = find_format("csv"), find_format("markdown")
FORMULAS = ('=HYPERLINK("http://x","y")', "+1", "-1", "@SUM(1)", "'=1", "＝1", "- dash")


def lines_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))


def cells_of(content: bytes) -> tuple[str, list[list[str]]]:
    """The heading and the table of a Markdown text, as text, by a parser of CommonMark."""
    markdown_it = needs_module("markdown_it")
    tokens = markdown_it.MarkdownIt("commonmark").enable("table").parse(content.decode())
    texts, table = [], []
    for token in tokens:
        if token.type == "tr_open":
            table.append([])
        if token.type == "inline":
            kinds = {child.type for child in token.children}
            assert kinds <= {"text", "text_special"}, token.content
            text = "".join(child.content for child in token.children)
            (table[-1] if table else texts).append(text)
    assert not any(token.type.startswith("html") for token in tokens)
    return texts[0], table


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_on_is_told_and_what_is_off(name):
    strip = Strip(PRESETS[name])
    told = {row.key: row for row in rows(strip)}
    for p in PARAMETERS:
        on = strip.on(p.section) and strip.on(p.section.split(".")[0])
        # What a preset's file leaves out, a sheet does too.
        on = on and not is_spare(p.key, strip[p.key])
        assert (p.key in told) == on, p.key
        if on:
            row = told[p.key]
            assert (row.unit, row.meaning) == (p.unit, p.meaning)
            assert float(row.exact) == pytest.approx(strip[p.key], rel=1e-11)
            assert float(row.value) == pytest.approx(strip[p.key], rel=5.1e-3, abs=0.0501)
    for module in MODULES:
        assert (module in told and told[module].value == "off") == (not strip.on(module))
    if strip.on("eq"):
        off_bands = {f"eq.{band}" for band in EQ_BANDS} & strip.off
        assert {key for key in told if key in SWITCHES and key.startswith("eq.")} == off_bands


@pytest.mark.parametrize("name", PRESETS)
def test_csv_and_back(tmp_path, name):
    preset = PRESETS[name]
    file = tmp_path / "take.csv"
    export_preset(preset, "csv", file)
    back, found = import_preset(file)
    assert found == "csv"
    assert Strip(back).off == Strip(preset).off
    same(preset, back, tuple(row.key for row in rows(Strip(preset)) if row.key in BY_KEY))
    assert (back.name, in_a_sentence(Strip(back))) == (preset.name, in_a_sentence(Strip(preset)))


def test_csv_keeps_every_digit(tmp_path):
    preset = Preset.from_settings({p.key: p.to_physical(0.123456789) for p in PARAMETERS})
    export_preset(preset, "csv", tmp_path / "x.csv")
    same(preset, import_preset(tmp_path / "x.csv")[0], tuple(BY_KEY), 1e-10)


def test_what_is_typed_over_a_value_counts(tmp_path):
    preset = Preset.from_settings({"eq.peak_1.q": 0.7123, "eq.peak_1.gain_db": -3.0123})
    text = CSV.write(Strip(preset))[""].decode("utf-8-sig")
    file = tmp_path / "x.csv"
    # A spreadsheet that saves writes the number as it likes.
    file.write_text(text.replace(",0.712,", ",0.74,").replace(",-3.0,", ",-3,"), "utf-8")
    settings = import_preset(file)[0].settings()
    assert settings["eq.peak_1.q"] == 0.74
    assert settings["eq.peak_1.gain_db"] == -3.0123


def test_csv_is_rfc_4180():
    content = CSV.write(Strip(PRESETS["rap"]))[""].decode("utf-8-sig")
    assert content.endswith("\r\n")
    assert "\n" not in content.replace("\r\n", "")
    assert {len(line) for line in csv.reader(io.StringIO(content, newline=""), strict=True)} == {7}


@pytest.mark.parametrize("name", [*HOSTILE_NAMES, *FORMULAS], ids=range(19))
def test_names_stay_text(tmp_path, name):
    preset = hostile(PRESETS["rap"], name)
    title = Strip(preset).title
    lines = lines_of(CSV.write(Strip(preset))[""])
    assert len(lines) == len(lines_of(CSV.write(Strip(PRESETS["rap"]))[""]))
    assert lines[0]["Value"] in (title, f"'{title}")
    for line in lines:
        for column, text in line.items():
            number = column in ("Value", "Exact value") and line["Key"] in BY_KEY
            assert number or not text.startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))
    file = tmp_path / "x.csv"
    export_preset(preset, "csv", file)
    assert import_preset(file)[0].name == title

    heading, table = cells_of(MARKDOWN.write(Strip(preset))[""])
    assert heading == title
    assert table == cells_of(MARKDOWN.write(Strip(PRESETS["rap"]))[""])[1]


def test_markdown_table():
    strip = Strip(PRESETS["ballad_plate"])
    content = MARKDOWN.write(strip)[""]
    heading, table = cells_of(content)
    assert heading == strip.preset.name
    assert in_a_sentence(strip) in content.decode()
    assert len(table) == 1 + len(rows(strip))
    assert {len(line) for line in table} == {4}
    assert ["Compressor", "ratio", "2.5:1"] in [line[:3] for line in table]
    assert ["Compressor", "threshold", "−25.0 dBFS"] in [line[:3] for line in table]
    assert ["Pan", "", "off", ""] in table


def test_the_sentence():
    preset = Preset.from_settings(
        {
            "eq.high_pass.freq_hz": 90.0, "eq.peak_1.freq_hz": 320.0, "eq.peak_1.gain_db": -3.0,
            "eq.peak_3.freq_hz": 3500.0, "eq.peak_3.gain_db": 2.0,
            "eq.peak_4.freq_hz": 7000.0, "eq.peak_4.gain_db": -2.5,
            "eq.high_shelf.gain_db": 3.0, "compressor.threshold_db": -22.0,
            "compressor.ratio": 4.0, "reverb.decay_s": 1.8, "reverb.wet_db": -18.0,
            "pan.position": -0.3,
        }
    )  # fmt: skip
    said = in_a_sentence(Strip(preset))
    assert said == (
        "High-pass at 90 Hz, 3 dB less mud at 320 Hz, 2 dB more presence at 3.5 kHz, "
        "2.5 dB less sibilance at 7 kHz, 3 dB more air above 10 kHz, "
        "4:1 above −22 dBFS (3 ms attack, 120 ms release), 2 dB of make-up, panned 30 % left, "
        "a plate of 1.8 s behind at −18 dB."
    )


def test_the_sentence_says_which_compressor_is_which():
    both = Preset({"compressor": {}, "compressor_2": {"mix": 60.0}})
    assert in_a_sentence(Strip(both)) == (
        "3.3:1 above −22 dBFS (3 ms attack, 120 ms release), 2 dB of make-up, second compressor "
        "2:1 above −24 dBFS (20 ms attack, 400 ms release, 1 dB of make-up, parallel, 60 % wet)."
    )


@pytest.mark.parametrize("name", PRESETS)
def test_a_sheet_to_read_has_one_sign_for_less(name):
    text = MARKDOWN.write(Strip(PRESETS[name]))[""].decode()
    assert not re.search(r"(?<![\w−])-\d", text)
    strip = Strip(Preset.from_settings({p.key: p.low for p in PARAMETERS}))
    assert not re.search(r"(?<![\w−])-\d", MARKDOWN.write(strip)[""].decode())


@pytest.mark.parametrize(
    ("decay_s", "wet_db", "words"),
    [(0.4, -20.0, "short room"), (1.5, -12.0, "plate"), (4.0, -6.0, "hall"), (4.0, -60.0, "hall")],
)
def test_the_sentence_tells_rooms_and_loudness(decay_s, wet_db, words):
    said = in_a_sentence(
        Strip(Preset.from_settings({"reverb.decay_s": decay_s, "reverb.wet_db": wet_db}))
    )
    assert words in said
    assert said.count(".") <= 3


def test_the_sentence_of_nothing():
    assert in_a_sentence(Strip(Preset())) == "Nothing is on, the audio passes unchanged."
    flat = Preset.from_settings({"eq.peak_1.gain_db": 0.0})
    assert in_a_sentence(Strip(flat)) == "Nothing is on, the audio passes unchanged."


@pytest.mark.parametrize("text", [
    "", "a,b\n1,2\n", "Module,Parameter,Value,Unit,Meaning,Exact value,Key\n,,x,,,,eq.peak_1.q\n",
    "Module,Parameter,Value,Unit,Meaning,Exact value,Key\n,,1,,,,eq.peak_9.q\n",
    "Module,Parameter,Value,Unit,Meaning,Exact value,Key\n,,99,,,,eq.peak_1.q\n",
    "Module,Parameter,Value,Unit,Meaning,Exact value,Key\n,,nan,,,,eq.peak_1.q\n",
    "Module,Parameter,Value,Unit,Meaning,Exact value,Key\nx\n", '"', "x" * (1 << 21),
])  # fmt: skip
def test_what_is_no_sheet_is_refused(tmp_path, text):
    file = tmp_path / "x.csv"
    file.write_text(text)
    with pytest.raises(DiffconsoleError):
        import_preset(file)
