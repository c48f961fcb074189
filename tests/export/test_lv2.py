"""LSP's presets: played by lv2apply, read by a Turtle reader and by lilv, and read back."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile

from diffconsole import Preset
from diffconsole.errors import ExportError
from diffconsole.export import Strip, export_preset, import_preset
from diffconsole.export.lv2 import FORMAT, plugins
from diffconsole.export.turtle import quoted, things
from diffconsole.strip.later import LATER
from diffconsole.strip.parameters import BY_KEY, PARAMETERS
from diffconsole.strip.preset import factory_presets
from tests import reference
from tests.export.consumers_lv2 import needs_lsp, run_lv2, write
from tests.export.helpers import (
    HOSTILE_NAMES,
    Voice,
    carried,
    hostile,
    in_float64,
    needs_module,
    no_file_escaped,
    same,
    take,
)

FIGURES = {figure.part: figure.error_db for figure in FORMAT.figures}
PRESETS = {key: carried(preset, FORMAT) for key, preset in factory_presets().items()}
VOICE = 1
RATES = (44100, 48000)
PANNED = Preset.from_settings(
    {**PRESETS["rap"].settings(), "pan.position": -0.6, "input_gain.gain_db": 5.5},
    bypass=PRESETS["rap"].bypass() - {"pan", "input_gain"},
    name="to the left",
)


def error_db(strip: Strip, voice: Voice, seconds: float = 2.0) -> float:
    audio = take(voice, strip.sample_rate, strip.channels, seconds)
    return reference.error_db(run_lv2(strip, audio), in_float64(strip, audio))


@cache
def ranges(address: str) -> dict[str, tuple[float, float]]:
    """Ranges of a plug-in's input ports by symbol, as lilv tells them."""
    told = subprocess.run(["lv2info", address], capture_output=True, text=True, check=True).stdout
    found = {}
    for port in told.split("\n\tPort ")[1:]:
        values = re.search(r"Symbol:\s+(\S+).*Minimum:\s+(\S+)\s+Maximum:\s+(\S+)", port, re.DOTALL)
        if values and "InputPort" in port:
            found[values[1]] = (float(values[2]), float(values[3]))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", PRESETS)
def test_factory_presets_are_as_near_as_the_figures_say(
    real_voices: list[Voice], name: str, rate: int, channels: int
) -> None:
    needs_lsp()
    preset, voice = PRESETS[name], real_voices[VOICE]
    eq = preset.without(["compressor", "compressor_2", "reverb", "output_gain", *LATER])
    only = preset.without(["eq", "reverb", *(set(LATER) - {"compressor_2"})])
    assert error_db(Strip(eq, rate, channels), voice) <= FIGURES["EQ"] <= -55.0
    assert error_db(Strip(only, rate, channels), voice) <= FIGURES["compressor"] <= -65.0
    whole = preset.without(["gate"])
    assert error_db(Strip(whole, rate, channels), voice) <= FIGURES["whole chain without gate"]


@pytest.mark.parametrize("channels", [1, 2])
def test_whole_chain_with_pan_and_reverb(real_voices: list[Voice], channels: int) -> None:
    needs_lsp()
    for preset in (PANNED, PANNED.without(["reverb"])):
        strip = Strip(preset, 48000, channels)
        assert error_db(strip, real_voices[VOICE], 1.0) <= FIGURES["whole chain without gate"]


def test_a_strip_without_modules_changes_nothing(real_voices: list[Voice]) -> None:
    needs_lsp()
    audio = take(real_voices[VOICE], 48000, seconds=0.2)
    np.testing.assert_array_equal(run_lv2(Strip(Preset()), audio), audio)


def test_hard_knee_and_large_gains(real_voices: list[Voice]) -> None:
    needs_lsp()
    settings = {**PRESETS["rap"].settings(), "compressor.knee_db": 0.0, "input_gain.gain_db": 40.0,
                "output_gain.gain_db": -40.0}  # fmt: skip
    strip = Strip(Preset.from_settings(settings, bypass=["reverb", "pan", *LATER]))
    assert error_db(strip, real_voices[VOICE], 1.0) <= -60.0


@pytest.mark.parametrize("rate", RATES)
def test_all_filters_with_strong_settings(real_voices: list[Voice], rate: int) -> None:
    needs_lsp()
    preset = Preset(
        {
            "eq": {
                "high_pass": {"freq_hz": 300.0, "q": 3.0},
                "low_shelf": {"freq_hz": 400.0, "gain_db": -15.0, "q": 0.3},
                "peak_1": {"freq_hz": 700.0, "gain_db": 15.0, "q": 10.0},
                "peak_2": {"freq_hz": 2500.0, "gain_db": -15.0, "q": 0.2},
                "peak_3": {"freq_hz": 8000.0, "gain_db": 9.0, "q": 20.0},
                "peak_4": {"freq_hz": 18000.0, "gain_db": 12.0, "q": 0.5},
                "high_shelf": {"freq_hz": 16000.0, "gain_db": 15.0, "q": 3.0},
                "low_pass": {"freq_hz": 20000.0, "q": 6.0},
            }
        }
    )
    assert error_db(Strip(preset, rate), real_voices[VOICE], 1.0) <= -55.0


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("high", [True, False])
def test_ends_of_all_ranges_are_within_the_ports(high: bool, channels: int) -> None:
    needs_lsp()
    preset = Preset.from_settings({p.key: p.high if high else p.low for p in PARAMETERS})
    for address, ports in plugins(Strip(preset, 96000, channels)).values():
        allowed = ranges(address)
        for name, value in ports.items():
            low, high_end = allowed[name]
            # lilv prints six digits behind the point.
            assert low - 1e-5 <= value <= high_end + 1e-5, (address, name, value)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_stay_text(name: str, tmp_path: Path) -> None:
    rdflib = needs_module("rdflib")
    strip = Strip(hostile(PANNED.without(["reverb"]), name), 48000, 2)
    bundle = write(strip, tmp_path)
    assert re.fullmatch(r"[a-z0-9_]+\.preset\.lv2", bundle.name)
    for file in bundle.glob("*.ttl"):
        graph = rdflib.Graph().parse(file, format="turtle")
        labels = {str(label) for label in graph.objects(predicate=rdflib.RDFS.label)}
        assert labels == {strip.title}
        kinds = {str(kind) for kind in graph.objects(predicate=rdflib.RDF.type)}
        assert kinds == {"http://lv2plug.in/ns/ext/presets#Preset"}
    assert FORMAT.read(tmp_path).name == strip.title
    no_file_escaped(tmp_path)


def test_a_turtle_reader_finds_the_ports(tmp_path: Path) -> None:
    rdflib = needs_module("rdflib")
    strip = Strip(PANNED)
    bundle = write(strip, tmp_path)
    lv2 = rdflib.Namespace("http://lv2plug.in/ns/lv2core#")
    for part, (address, ports) in plugins(strip).items():
        graph = rdflib.Graph().parse(bundle / f"{part}.ttl", format="turtle")
        (preset,) = graph.subjects(lv2.appliesTo, rdflib.URIRef(address))
        value = rdflib.URIRef("http://lv2plug.in/ns/ext/presets#value")
        found = {
            str(graph.value(port, lv2.symbol)): float(graph.value(port, value))
            for port in graph.objects(preset, lv2.port)
        }
        assert found == pytest.approx(ports, rel=1e-8)
    state = rdflib.URIRef(f"{plugins(strip)['reverb'][0]}/ports#ifn0")
    (file,) = graph.objects(predicate=state)
    assert (bundle / str(file)).is_file()


def test_lilv_lists_the_presets_and_scripts_keep_names_out(tmp_path: Path) -> None:
    needs_lsp()
    for number, name in enumerate(HOSTILE_NAMES):
        strip = Strip(hostile(PRESETS["podcast"].without(["reverb"]), name))
        folder = tmp_path / str(number)
        bundle = write(strip, folder)
        script = (folder / "run.sh").read_text("ascii")
        clean = (write(Strip(PRESETS["podcast"].without(["reverb"])), tmp_path / "clean").parent
                 / "run.sh").read_text("ascii")  # fmt: skip
        assert script == clean
        os.rename(bundle, tmp_path / f"{number}.lv2")
    bundles = tmp_path / "bundles"
    bundles.mkdir()
    for bundle in tmp_path.glob("*.lv2"):
        os.rename(bundle, bundles / bundle.name)
    places = f"/usr/lib/lv2:{bundles}"
    told = subprocess.run(
        ["lv2info", "http://lsp-plug.in/plugins/lv2/compressor_mono"],
        env={**os.environ, "LV2_PATH": places}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    listed = told.stdout.split("Presets:")[1].split("\n\tPort ")[0]
    assert not told.stderr
    titles = [Strip(hostile(Preset(), name)).title for name in HOSTILE_NAMES]
    assert sorted(line.strip() for line in listed.splitlines() if line.strip()) == sorted(titles)


@pytest.mark.parametrize("channels", [1, 2])
def test_import_gives_the_preset_back(channels: int, tmp_path: Path) -> None:
    for number, preset in enumerate((PANNED, PRESETS["rap"], PRESETS["telephone"])):
        files, _ = export_preset(preset, "lv2", tmp_path / str(number), channels=channels)
        back, _ = import_preset(tmp_path / str(number), "lv2")
        off = preset.bypass()
        same(preset, back, tuple(p.key for p in PARAMETERS
             if not {p.section, p.section.split(".")[0]} & off))  # fmt: skip
        assert back.name == preset.name
        assert Strip(back, channels=channels).off >= Strip(preset, channels=channels).off - {
            "input_gain", "output_gain",
        }  # fmt: skip
        bundle = next(file.parent for file in files if file.name == "manifest.ttl")
        assert FORMAT.read(bundle).settings() == back.settings()


def test_turtle_reads_what_others_write() -> None:
    text = """
        @prefix lv2: <http://lv2plug.in/ns/lv2core#> . # a [comment] ; "with signs" .
        <a.ttl> a pset:Preset ; rdfs:label \"\"\"two "quoted"
        lines\"\"\" ; lv2:port [ <http://lv2plug.in/ns/lv2core#symbol> "g_in" ; pset:value .5
        ] , [ pset:value 1.5e-1 ; lv2:symbol "g_out" ; ] ; rdfs:comment "\\u00e9\\"]" .
    """
    found = list(things(text))
    assert [(t.first("symbol"), t.first("value")) for t in found if t.first("symbol")] == [
        ("g_in", ".5"), ("g_out", "1.5e-1"),
    ]  # fmt: skip
    assert found[-1].subject == "a.ttl" and found[-1].first("comment") == 'é"]'
    assert found[-1].first("label").split() == ["two", '"quoted"', "lines"]
    for name in HOSTILE_NAMES:
        title = Strip(hostile(Preset(), name)).title
        (thing,) = things(f"<x> rdfs:label {quoted(title)} .")
        assert thing.first("label") == title


@pytest.mark.parametrize("unit", ['"\\', '"a\n', '"""\\"x ', '\\"""', '"""" "', '"" "', "<a"])
def test_turtle_without_an_end_is_read_in_a_moment(unit: str) -> None:
    before = time.process_time()
    with contextlib.suppress(ExportError):
        list(things(unit * 50_000))
    # Quadratic it would be minutes.
    assert time.process_time() - before < 2.0


@pytest.mark.parametrize("text", ['<x> a "b\n" .', '<x> a """b" .', '<x> a "b', '<x> a "b\\\n"'])
def test_turtle_string_without_an_end_is_refused(text: str) -> None:
    with pytest.raises(ExportError, match="line 1 does not end"):
        list(things(text))


def test_two_bundles_are_not_mixed_into_one_strip(tmp_path: Path) -> None:
    for name in ("rap", "podcast"):
        export_preset(PRESETS[name], "lv2", tmp_path, force=True)
    bundles = sorted(tmp_path.glob("*.lv2"))
    assert len(bundles) == 2
    with pytest.raises(ExportError, match="2 bundles in it.*give one of them") as raised:
        import_preset(tmp_path, "lv2")
    assert all(bundle.name in str(raised.value) for bundle in bundles)
    names = {import_preset(bundle, "lv2")[0].name for bundle in bundles}
    assert names == {PRESETS["rap"].name, PRESETS["podcast"].name}


def test_two_presets_of_a_plug_in_are_not_mixed(tmp_path: Path) -> None:
    bundle = write(Strip(PRESETS["podcast"].without(["reverb"])), tmp_path)
    text = (bundle / "compressor.ttl").read_text().replace("<compressor.ttl>", "<second.ttl>")
    (bundle / "second.ttl").write_text(text)
    with pytest.raises(ExportError, match="second.ttl is a second preset of the compressor"):
        import_preset(bundle, "lv2")
    assert "compressor" not in import_preset(bundle / "second.ttl", "lv2")[0].bypass()


def test_a_reverb_without_its_recipe_is_refused(tmp_path: Path) -> None:
    """As a host saves it: with the ports and the response, without what we wrote beside them."""
    bundle = write(Strip(PANNED), tmp_path)
    file = bundle / "reverb.ttl"
    text = file.read_text()
    for pattern in (r"\trdfs:comment .*\n", r"decay_s [0-9.]+, "):
        file.write_text(re.sub(pattern, "", text))
        assert file.read_text() != text
        with pytest.raises(ExportError, match="rdfs:comment.*set 'wet' to 0"):
            import_preset(bundle, "lv2")
    # The remedy: all but the reverb comes back.
    plain = re.sub(r"\trdfs:comment .*\n", "", text)
    file.write_text(re.sub(r'("wet" ; pset:value) [0-9.]+', r"\1 0.0", plain))
    back, _ = import_preset(bundle, "lv2")
    assert "reverb" in back.bypass()
    same(PANNED, back, ("pan.position", "output_gain.gain_db"))


@pytest.mark.parametrize(
    "content",
    ["", "<x> a pset:Preset .", "[" * 50000,
     '<x> lv2:appliesTo <http://lsp-plug.in/plugins/lv2/compressor_mono> ; '
     'lv2:port [ lv2:symbol "cr" ; pset:value 4.0 ] .',
     '<x> lv2:appliesTo <http://lsp-plug.in/plugins/lv2/compressor_mono> ; '
     'lv2:port [ lv2:symbol "cr" ; pset:value many ] .', "# " + "x" * (1 << 20)],
)  # fmt: skip
def test_other_files_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.preset.lv2").mkdir()
    (tmp_path / "a.preset.lv2" / "a.ttl").write_text(content)
    with pytest.raises(ExportError):
        import_preset(tmp_path, "lv2")


def test_an_eq_that_is_off_comes_back_with_its_bands(tmp_path: Path) -> None:
    rap = PRESETS["rap"].without(["reverb"])
    for number, off in enumerate((["eq"], ["eq", "eq.peak_1"], ["eq.peak_1"])):
        preset = rap.without(off)
        path = tmp_path / f"{number}"
        export_preset(preset, "lv2", path)
        back, _ = import_preset(path, "lv2")
        same(preset, back, tuple(k for k in BY_KEY if k.startswith("eq.")))
        assert back.bypass() == preset.bypass() - {"input_gain"}, "a gain of 0 dB is on"


def test_an_eq_that_is_off_does_nothing(real_voices: list[Voice]) -> None:
    needs_lsp()
    preset = PRESETS["rap"].without(["eq", "compressor", "reverb", "output_gain"])
    assert "equalizer" in plugins(Strip(preset))
    audio = take(real_voices[VOICE], 48000, seconds=0.2)
    np.testing.assert_array_equal(run_lv2(Strip(preset), audio), audio)


def test_the_listing_says_what_the_notes_may() -> None:
    much = {"pan.position": 1.0, "gate.ratio": 1.1, "gate.range_db": 40.0, "gate.hold_ms": 9.0,
            "delay.feedback": 0.9, "delay.time_ms": 900.0}  # fmt: skip
    hard = Preset.from_settings({**PANNED.settings(), **much})
    noted = {line.split(":")[0] for line in FORMAT.notes(Strip(hard, channels=2))}
    assert {line.split(":")[0] for line in FORMAT.conditions} == noted
    assert noted == {"pan", "reverb", "delay", "gate.range_db", "gate.hold_ms"}


def play(folder: Path, *told: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", "run.sh", *told]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_run_replaces_no_file_unless_told_to(tmp_path: Path) -> None:
    needs_lsp()
    write(Strip(Preset()), tmp_path)
    soundfile.write(tmp_path / "in.wav", np.full(480, 0.25), 48000, subtype="FLOAT")
    out = tmp_path / "a \\n b.wav"
    out.write_bytes(b"mine")
    done = play(tmp_path, "in.wav", out.name)
    assert done.returncode == 1 and done.stderr == f"{out.name} is there already; -y replaces it\n"
    assert out.read_bytes() == b"mine"
    for wrong in (("in.wav",), ("in.wav", "new.wav", "--yes"), ("in.wav", "new.wav", "-y", "-y")):
        done = play(tmp_path, *wrong)
        assert done.returncode == 2 and done.stderr.startswith("usage: ")
    done = play(tmp_path, "in.wav", "./in.wav", "-y")
    assert done.returncode == 1 and done.stderr == "IN and OUT are the same file\n"
    for told in ((out.name, "-y"), ("new.wav",)):
        assert play(tmp_path, "in.wav", *told).returncode == 0
        np.testing.assert_array_equal(soundfile.read(tmp_path / told[0])[0], np.full(480, 0.25))


@pytest.mark.parametrize("channels", [1, 2])
def test_run_says_which_export_a_file_needs(channels: int, tmp_path: Path) -> None:
    needs_lsp()
    write(Strip(PANNED, channels=channels), tmp_path)
    noise = np.random.default_rng(1).uniform(-0.1, 0.1, (480, channels + 1))
    soundfile.write(tmp_path / "in.wav", noise, 48000, subtype="FLOAT")
    done = play(tmp_path, "in.wav", "out.wav")
    assert done.returncode == 1 and not (tmp_path / "out.wav").exists()
    wanted = "export with --channels 2" if channels == 1 else "more than two channels"
    assert wanted in done.stderr.splitlines()[-1]
    # Another failure is not taken for this one.
    done = play(tmp_path, "nothing.wav", "out.wav")
    assert done.returncode == 1 and done.stderr and wanted not in done.stderr


def test_what_is_lost_is_said() -> None:
    assert FORMAT.losses(Strip(PANNED.without(["reverb"]))) == ()
    assert any("run.sh" in line for line in FORMAT.losses(Strip(PANNED)))
    hard = Preset.from_settings({**PANNED.settings(), "pan.position": 1.0})
    assert any("send" in line for line in FORMAT.losses(Strip(hard, channels=2)))
