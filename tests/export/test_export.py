"""What holds for every format: nothing is lost unsaid, no name breaks out, whole or not at all."""

from __future__ import annotations

import functools
import sys
import time
from dataclasses import replace

import pytest

from diffconsole import Preset
from diffconsole import export as package
from diffconsole.errors import ExportError, OutputError
from diffconsole.export import Strip, export_preset, find_format, formats, import_preset
from diffconsole.export.base import Figure, Format, number, plain_name
from diffconsole.strip.parameters import EQ_BANDS, MODULES, PARAMETERS, default_settings
from diffconsole.strip.preset import factory_presets, find_preset
from tests.commands import contents
from tests.export.helpers import HOSTILE_NAMES, hostile, no_file_escaped

FORMATS = formats()
ALL_ON = Preset.from_settings({**default_settings(), "pan.position": 0.3}, name="all on")


def target(form: Format, folder):
    return folder / f"out{form.ending}"


@pytest.mark.parametrize("key", FORMATS)
def test_every_parameter_is_mapped_or_told_of(key):
    form = FORMATS[key]
    told = {line.split(":")[0] for line in form.losses(Strip(ALL_ON))}
    mapped = {m.key for m in form.mapped}
    for p in PARAMETERS:
        assert {p.key, p.section, p.section.split(".")[0]} & (told | mapped), p.key
    assert not any(line.endswith(": is left out") for line in form.losses(Strip(ALL_ON)))
    assert form.title
    assert "\n" not in form.title


@pytest.mark.parametrize("key", FORMATS)
def test_what_is_off_is_not_told_of(key):
    off = Strip(Preset({"eq": {"peak_1": {"gain_db": 3.0}}}))
    form = FORMATS[key]
    told = set(form.losses(off)) - set(form.notes(off))
    assert {line.split(":")[0].split(".")[0] for line in told} <= {"eq"}
    # What a note says of a module is not of one that is off.
    named = {line.split(":")[0].split(".")[0] for line in form.notes(off)}
    assert not named & (set(MODULES) - {"eq"})


@pytest.mark.parametrize("key", FORMATS)
def test_factory_presets_are_written_and_come_back(key, tmp_path):
    form = FORMATS[key]
    for name, preset in factory_presets().items():
        if key == "ir" and "reverb" in preset.bypass():
            continue
        path = tmp_path / f"{name}{form.ending}"
        files, losses = export_preset(preset, key, path)
        assert files
        assert all(file.stat().st_size for file in files)
        assert all("\n" not in line for line in losses)
        if form.read is None:
            with pytest.raises(ExportError, match="cannot be read back"):
                import_preset(path, key)
        else:
            back, found = import_preset(path, key)
            assert found == key
            assert isinstance(back, Preset)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """By format: the files of a strip with a plain name, and the settings that come back."""

    @functools.cache
    def made(key):
        path = tmp_path_factory.mktemp("plain") / f"plain{FORMATS[key].ending}"
        files, _ = export_preset(hostile(find_preset("lead_vocal_pop"), "plain"), key, path)
        back = FORMATS[key].read and import_preset(path, key)[0].settings()
        return files, back

    return made


@pytest.mark.parametrize("key", FORMATS)
@pytest.mark.parametrize("place", range(len(HOSTILE_NAMES)))
def test_no_name_breaks_out(key, place, tmp_path, monkeypatch, plain):
    form = FORMATS[key]
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    preset = hostile(find_preset("lead_vocal_pop"), HOSTILE_NAMES[place])
    files, _ = export_preset(preset, key, target(form, folder))
    others, settings = plain(key)
    # A name that gets into a file's name is harmless there, and adds no line to a text.
    assert len(files) == len(others)
    for file, other in zip(files, others, strict=True):
        assert file.resolve().is_relative_to(folder)
        assert file.suffix == other.suffix
        assert not set(file.name) & set("\\/:*?\"'<>|$`;&{}\n\r\t")
        assert len(file.name) < 120
        if form.ending != ".dawproject" and file.suffix != ".wav":
            assert file.read_bytes().count(b"\n") == other.read_bytes().count(b"\n")
    no_file_escaped(folder)
    if form.read is not None:
        back, _ = import_preset(target(form, folder), key)
        assert "\n" not in back.name
        assert back.settings() == settings


@pytest.fixture(scope="module")
def earlier():
    """What every format wrote more than a second ago."""
    written = {key: form.write(Strip(ALL_ON, 44100, 2)) for key, form in FORMATS.items()}
    time.sleep(1.01)
    return written


@pytest.mark.parametrize("key", FORMATS)
def test_two_exports_are_the_same_bytes(key, monkeypatch, earlier):
    # Whatever the clock says: some writers of files put the time into them.
    monkeypatch.setattr(time, "time", lambda: 2e9)
    assert FORMATS[key].write(Strip(ALL_ON, 44100, 2)) == earlier[key]


@pytest.mark.parametrize("key", FORMATS)
def test_a_strip_with_everything_off(key, tmp_path):
    form = FORMATS[key]
    if key == "ir":
        with pytest.raises(ExportError, match="reverb is off"):
            export_preset(Preset(), key, target(form, tmp_path))
        assert contents(tmp_path) == {}
    else:
        assert export_preset(Preset(), key, target(form, tmp_path))[0]


@pytest.mark.parametrize("key", [k for k, form in FORMATS.items() if form.read is not None])
def test_what_was_exported_is_known_again_by_itself(key, tmp_path):
    form = FORMATS[key]
    export_preset(find_preset("rap"), key, target(form, tmp_path))
    assert import_preset(target(form, tmp_path)) == import_preset(target(form, tmp_path), key)


def test_files_that_exist_stay(tmp_path):
    form = find_format("equalizerapo")
    mine = target(form, tmp_path)
    mine.write_text("mine")
    with pytest.raises(OutputError, match="exists already; add --force"):
        export_preset(ALL_ON, "equalizerapo", mine)
    assert mine.read_text() == "mine"
    export_preset(ALL_ON, "equalizerapo", mine, force=True)
    assert mine.read_text().startswith("# all on")


TOY = """
from diffconsole.export.base import Format, Mapped

FORMAT = Format(
    key="toy", title="a toy", ending="", mapped=(Mapped("output_gain.gain_db", "level", "dB"),),
    lost={m: "not in a toy" for m in ("input_gain", "eq", "compressor", "pan", "reverb")},
    write=lambda strip: {"a.txt": str(strip["output_gain.gain_db"]).encode(), "b.txt": b"b"},
)
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A further format: one file where formats lie, nothing else."""
    place = tmp_path / "formats"
    place.mkdir()
    (place / "toy.py").write_text(TOY)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(place)])
    yield
    sys.modules.pop("diffconsole.export.toy", None)


def test_a_format_is_one_file(toy, tmp_path):
    assert list(formats())[-1] == "toy"
    preset = Preset({"output_gain": {"gain_db": -3.0}, "reverb": {}})
    files, losses = export_preset(preset, "toy", tmp_path / "out")
    assert [file.name for file in files] == ["a.txt", "b.txt"]
    assert files[0].read_text() == "-3.0"
    assert losses == ("reverb: not in a toy",)


def test_several_files_are_written_all_or_none(toy, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "b.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"b\.txt: exists already"):
        export_preset(ALL_ON, "toy", out)
    assert contents(out) == {"b.txt": b"mine"}
    with pytest.raises(OutputError, match="writes several files, give a folder"):
        export_preset(ALL_ON, "toy", out / "b.txt")


def test_a_format_that_names_nothing_of_ours_is_refused():
    with pytest.raises(ExportError, match=r"'eq\.peak_9' is in no strip"):
        replace(find_format("ir"), lost={"eq.peak_9": "no"})


def test_unknown_formats_and_files(tmp_path):
    with pytest.raises(ExportError, match=r"no format 'reapr'; there are .*equalizerapo"):
        find_format("reapr")
    with pytest.raises(ExportError, match="no such file or folder"):
        import_preset(tmp_path / "nothing")
    odd = tmp_path / "a.odd"
    odd.write_text("x")
    with pytest.raises(ExportError, match="of which format\\? Say --from, one of"):
        import_preset(odd)
    with pytest.raises(ExportError, match="no filter of Equalizer APO"):
        import_preset(odd, "equalizerapo")
    odd.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ExportError, match="is not in UTF-8; save it in that encoding"):
        import_preset(odd, "equalizerapo")


def test_a_strip_tells_what_acts():
    strip = Strip(Preset({"eq": {"high_shelf": {"freq_hz": 15000.0}}, "pan": {}}), 24000)
    assert strip.bands() == ("high_shelf",)
    assert strip["eq.high_shelf.freq_hz"] == pytest.approx(0.49 * 24000)
    assert not strip.on("pan")  # centred
    assert strip.gain_db("output_gain") == 0.0
    off = {"enabled": False}
    assert not Strip(Preset({"eq": dict.fromkeys(EQ_BANDS, off)})).on("eq")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-3.0, "-3"), (1e-7, "0.0000001"), (12345.678, "12345.678"), (1e9, "1000000000"),
     (1 / 3, "0.3333333333"), (100.0, "100"), (-0.05, "-0.05")],
)  # fmt: skip
def test_numbers_without_exponents(value, text):
    assert number(value) == text


def test_names_in_one_line():
    assert plain_name("  a\n b\t\x00c ") == "a b c"
    assert plain_name("x" * 300) == "x" * 80
    assert plain_name("lone \ud800 one").isprintable()
    assert str(Figure("EQ", -120.0)) == "EQ ≤ −120 dB"


WHOLE = ("ffmpeg", "reaper", "csv", "markdown")
CARRIED = {
    "gate": ("dawproject", "easyeffects", "lv2", "pedalboard", "sox"),
    "delay": ("dawproject", "easyeffects", "lv2", "pedalboard"),
    "saturation": ("pedalboard",),
}


@pytest.mark.parametrize("key", [key for key in FORMATS if key != "ir"])
@pytest.mark.parametrize("name", ["gate", "deesser", "saturation", "delay"])
def test_later_modules_are_carried_or_named_in_their_own_words(key: str, name: str) -> None:
    words = {
        "gate": "up to 15 dB less below −50 dBFS (2:1, 40 ms hold)",
        "deesser": "esses above 5.5 kHz up to 6 dB down",
        "saturation": "6 dB of drive",
        "delay": "echoes every 306 ms at −24 dB, each 46 % of the one before, a little wide",
    }
    lost = FORMATS[key].losses(Strip(Preset({name: {}})))
    said = [line for line in lost if line.startswith(name)]
    if key in (*WHOLE, *CARRIED.get(name, ())):
        assert not [line for line in said if "is left out" in line]
    else:
        assert said == [f"{name}: is left out ({words[name]})"]
    # What does nothing is not missed.
    nothing = {"delay": {"wet_db": -60.0}, "saturation": {"drive_db": 0.0}}
    idle = FORMATS[key].losses(Strip(Preset({name: nothing.get(name, {"range_db": 0.0})})))
    assert not [line for line in idle if line.startswith(name)]
