"""What comes back, from files of every kind: settings, or one line on what is wrong."""

from __future__ import annotations

import json
import zipfile

import pytest

from diffconsole import Preset
from diffconsole.errors import ExportError, OutputError
from diffconsole.export import Strip, export_preset, formats, import_preset
from diffconsole.strip.preset import find_preset
from tests.commands import call

READABLE = [key for key, form in formats().items() if form.read is not None]
CONTENTS = (
    b"", b"\x00" * 64, b"\xff\xfea\x00", b"{}", b"[]", b'{"output": []}', b"[" * 5000,
    b'{"output": {"plugins_order": ["equalizer#0"], "equalizer#0": 1' + b"0" * 500 + b"}}",
    b"Filter 1: ON PK Fc nan Hz Gain 1e999 dB Q -3", b"sox -D in.wav out.wav gain x",
    b"SETTINGS = {'eq': 1}", b"SETTINGS = " + b"9" * 4000, b"<REAPER_PROJECT\n<JS\n>\n",
    b"Module,Parameter\n1", b"equalizer=f=1e999:t=q:w=0:g=nan", b'"\\' * 20000, b"\n" * 5000,
)  # fmt: skip


@pytest.mark.parametrize("key", READABLE)
@pytest.mark.parametrize("place", range(len(CONTENTS)))
def test_files_that_are_none_are_one_line(key, place, tmp_path):
    form = formats()[key]
    if form.is_folder:
        path = tmp_path / "folder"
        export_preset(find_preset("rap"), key, path)
        texts = [p for p in path.rglob("*") if p.is_file() and p.suffix not in (".wav", ".jsfx")]
        for text in texts:
            text.write_bytes(CONTENTS[place])
    else:
        path = tmp_path / f"file{form.ending}"
        path.write_bytes(CONTENTS[place])
    with pytest.raises(ExportError) as error:
        import_preset(path, key)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_archives_are_not_believed(tmp_path):
    path = tmp_path / "a.dawproject"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("project.xml", b" " * (50 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ExportError, match="over 1 MB"):
        import_preset(path)


def test_a_preset_is_used_as_it_is(tmp_path):
    find_preset("rap").write(tmp_path / "a.json")
    with pytest.raises(ExportError, match="is a preset already; use it as it is"):
        import_preset(tmp_path / "a.json")


def test_import_says_what_a_format_does_not_hold(tmp_path):
    path = tmp_path / "a.dawproject"
    export_preset(find_preset("rap"), "dawproject", path)
    result = call("import", path, "-o", tmp_path / "a.json")
    assert result.exit_code == 0
    assert "Note: of dawproject, compressor.knee_db: the format has none" in result.stderr
    data = json.loads(call("import", path, "-o", tmp_path / "b.json", "--json").stdout)
    assert any(line.startswith("reverb: ") for line in data["losses"])


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(OutputError, match=r"csv writes a \.csv file; end its name so"):
        export_preset(find_preset("rap"), "csv", tmp_path / "a.wav")


@pytest.mark.parametrize("key", ["easyeffects", "reaper"])
def test_presets_live_beside_each_other(key, tmp_path):
    form = formats()[key]
    first, second = (Preset(find_preset("ballad_plate").strip, name) for name in ("one", "two"))
    place = tmp_path / "place"
    if form.is_folder:
        export_preset(first, key, place)
        files, _ = export_preset(second, key, place)
    else:
        export_preset(first, key, tmp_path / f"one{form.ending}")
        files, _ = export_preset(second, key, tmp_path / f"two{form.ending}")
    assert all(file.is_file() for file in files)
    if form.is_folder:
        # Somebody's own text under one of the names stays, and nothing is written.
        (place / "README.txt").write_text("mine")
        with pytest.raises(OutputError, match="exists already"):
            export_preset(find_preset("rap"), key, place)
        assert (place / "README.txt").read_text() == "mine"


def test_a_frequency_that_a_rate_cannot_hold_is_said_or_kept():
    preset = Preset({"eq": {"low_pass": {"freq_hz": 18000.0}}})
    for key, form in formats().items():
        strip = Strip(preset, 16000, 1, form.at_rate)
        told = [line for line in form.losses(strip) if "16000 Hz can hold" in line]
        mapped = any(m.key == "eq.low_pass.freq_hz" for m in form.mapped)
        assert bool(told) == (form.at_rate and mapped), key
        assert strip["eq.low_pass.freq_hz"] == (7840.0 if form.at_rate else 18000.0)
