"""DAWproject: by the rules of its schema, every value as written, and back."""

from __future__ import annotations

import io
import time
import zipfile
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import pytest
import soundfile

from diffconsole import Preset
from diffconsole.errors import DiffconsoleError, ExportError
from diffconsole.export import Strip, export_preset, import_preset
from diffconsole.export.dawproject import FORMAT, PROJECT, RESPONSE
from diffconsole.export.sends import sends_response
from diffconsole.strip.parameters import BY_KEY, EQ_BANDS, MODULES, PARAMETERS
from diffconsole.strip.preset import factory_presets

from .dawproject_rules import check
from .helpers import HOSTILE_NAMES, hostile, same

PRESETS = factory_presets()
KEYS = tuple(m.key for m in FORMAT.mapped)
TYPES = ("highPass", "lowShelf", "bell", "bell", "bell", "bell", "highShelf", "lowPass")


def unpacked(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def project_of(strip: Strip) -> Element:
    """The project, its rules and those of its metadata checked."""
    files = unpacked(FORMAT.write(strip)[""])
    root = ElementTree.fromstring(files[PROJECT])
    assert root.tag == "Project"
    check(root, "project")
    metadata = ElementTree.fromstring(files["metadata.xml"])
    assert metadata.tag == "MetaData"
    check(metadata, "metadata")
    return root


def without_reverb(preset: Preset) -> Preset:
    return preset.without({"reverb"}) if "reverb" not in preset.bypass() else preset


def real(parent: Element, tag: str, unit: str) -> float:
    element = parent.find(tag)
    assert element.get("unit") == unit
    return float(element.get("value"))


def packed(**files: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name.replace("_", "."), data)
    return made.getvalue()


@pytest.mark.parametrize("name", PRESETS)
def test_values_by_the_rules(name):
    strip = Strip(PRESETS[name])
    root = project_of(strip)
    channel = root.find("Structure/Track/Channel")
    *first, equalizer, compressor = [
        device
        for number, device in enumerate(channel.find("Devices"))
        if number < 2 + strip.on("gate")
    ]
    assert len(channel.findall("Devices/Compressor")) == 1 + strip.on("compressor_2")
    assert [gate.tag for gate in first] == ["NoiseGate"] * strip.on("gate")
    assert equalizer.find("Enabled").get("value") == "true"
    for order, (band, element) in enumerate(zip(EQ_BANDS, equalizer.iter("Band"), strict=True)):
        assert (element.get("type"), element.get("order")) == (TYPES[order], str(order))
        values = strip.of(f"eq.{band}")
        assert (element.find("Enabled").get("value") == "true") == (band in strip.bands())
        assert real(element, "Freq", "hertz") == pytest.approx(values["freq_hz"], rel=1e-12)
        assert real(element, "Q", "linear") == pytest.approx(values["q"], rel=1e-12)
        if "gain_db" in values:
            assert real(element, "Gain", "decibel") == pytest.approx(values["gain_db"], rel=1e-12)
        else:
            assert element.find("Gain") is None
    own = strip.of("compressor")
    assert real(compressor, "Threshold", "decibel") == pytest.approx(own["threshold_db"])
    assert real(compressor, "Attack", "seconds") == pytest.approx(own["attack_ms"] / 1000)
    assert real(compressor, "Release", "seconds") == pytest.approx(own["release_ms"] / 1000)
    # A rise of 1 dB above the threshold comes out as 1/R dB: the rest is what is taken back.
    assert 1 - real(compressor, "Ratio", "percent") / 100 == pytest.approx(1 / own["ratio"])
    assert real(compressor, "OutputGain", "decibel") == pytest.approx(own["makeup_db"])
    assert compressor.find("AutoMakeup").get("value") == "false"
    assert (compressor.find("Enabled").get("value") == "true") == strip.on("compressor")
    gain_db = 20 * np.log10(real(channel, "Volume", "linear"))
    assert gain_db == pytest.approx(strip.gain_db("output_gain"))
    pan = real(channel, "Pan", "normalized")
    assert 2 * pan - 1 == pytest.approx(strip["pan.position"] if strip.on("pan") else 0.0)


def _swapped(root: Element) -> None:
    compressor = root.find(".//Compressor")
    attack = compressor.find("Attack")
    compressor.remove(attack)
    compressor.append(attack)


@pytest.mark.parametrize(
    "spoil",
    [
        _swapped,
        lambda root: root.find(".//Freq").attrib.pop("unit"),
        lambda root: root.find(".//Freq").set("unit", "Hz"),
        lambda root: root.find(".//Freq").set("id", "id1"),
        lambda root: root.find(".//Lanes/Lanes").set("track", "nowhere"),
        lambda root: root.find(".//Compressor").set("knee", "6"),
        lambda root: root.find(".//Equalizer").append(Element("Bands")),
        lambda root: root.remove(root.find("Application")),
    ],
    ids=["order", "no unit", "unit", "id twice", "reference", "attribute", "element", "missing"],
)
def test_the_rules_refuse(spoil):
    root = project_of(Strip(PRESETS["podcast"]))
    spoil(root)
    with pytest.raises(AssertionError):
        check(root, "project")


@pytest.mark.parametrize("name", PRESETS)
def test_there_and_back(tmp_path, name):
    preset = PRESETS[name]
    file = tmp_path / "take.dawproject"
    export_preset(preset, "dawproject", file)
    back, found = import_preset(file)
    assert found == "dawproject"
    same(preset, back, KEYS)
    assert Strip(back).off - {"pan", "input_gain", "output_gain"} == (
        Strip(preset).off | (set(MODULES) - {BY_KEY[key].module for key in KEYS})
    ) - {"pan", "input_gain", "output_gain"}
    assert back.name == preset.name


@pytest.mark.parametrize("share", [0.0, 0.123456789, 1.0])
@pytest.mark.parametrize(
    "off",
    [set(), {"compressor"}, {"eq"}, {"eq", "compressor"}, {"eq.peak_2"}],
    ids=lambda off: "+".join(sorted(off)) or "nothing",
)
def test_every_parameter_comes_back(tmp_path, share, off):
    """Whatever is off, the gains stay at their place before and after the compressor."""
    settings = {p.key: p.to_physical(share) for p in PARAMETERS}
    # Without the mix, which the format has none of, and which at 0 % is a compressor that is off.
    settings |= {"compressor.mix": 100.0, "compressor_2.mix": 100.0}
    # A gate that does nothing is not written.
    settings |= {key: max(settings[key], 2.0) for key in ("gate.ratio", "gate.range_db")}
    preset = Preset.from_settings(settings, bypass={*off, "reverb", "delay"})
    file = tmp_path / "x.dawproject"
    export_preset(preset, "dawproject", file, sample_rate=96000)
    back, _ = import_preset(file)
    same(preset, back, KEYS)
    check(project_of(Strip(preset)), "project")
    assert set(Strip(back).bands()) == set(Strip(preset).bands())
    assert Strip(back).on("compressor") == Strip(preset).on("compressor")


def test_bypassed_gains_do_nothing():
    preset = Preset.from_settings(
        {"input_gain.gain_db": 9.0, "output_gain.gain_db": 9.0, "pan.position": 0.7},
        bypass={"input_gain", "output_gain", "pan"},
    )
    channel = project_of(Strip(preset)).find("Structure/Track/Channel")
    assert real(channel, "Volume", "linear") == 1.0
    assert real(channel, "Pan", "normalized") == 0.5
    equalizer, compressor = list(channel.find("Devices"))
    assert equalizer.find("Enabled").get("value") == "false"
    assert compressor.find("Enabled").get("value") == "false"


def test_the_gate_is_a_noise_gate_whose_threshold_is_for_the_signal_before_the_gain():
    own = {"threshold_db": -36.0, "ratio": 4.0, "range_db": 12.0, "attack_ms": 2.0,
           "hold_ms": 50.0, "release_ms": 150.0}  # fmt: skip
    strip = Strip(Preset({"gate": own, "input_gain": {"gain_db": 5.0}}))
    root = project_of(strip)
    check(root, "project")
    gate = next(iter(root.find("Structure/Track/Channel/Devices")))
    assert gate.tag == "NoiseGate"
    assert real(gate, "Threshold", "decibel") == pytest.approx(-41.0)
    assert real(gate, "Range", "decibel") == pytest.approx(-12.0)
    assert real(gate, "Ratio", "percent") == pytest.approx(75.0)
    assert real(gate, "Attack", "seconds") == pytest.approx(0.002)
    assert real(gate, "Release", "seconds") == pytest.approx(0.15)
    said = {line.split(":")[0] for line in FORMAT.losses(strip)}
    assert said >= {"gate", "gate.hold_ms"}


def test_the_response_of_the_sends_is_in_the_file():
    preset = {"delay": {"time_ms": 100.0, "reverb_send_db": -6.0}, "reverb": {"decay_s": 0.4}}
    strip = Strip(Preset(preset), 44100)
    files = unpacked(FORMAT.write(strip)[""])
    assert RESPONSE not in files
    samples, rate = soundfile.read(io.BytesIO(files["sends/impulse_response.wav"]))
    assert rate == 44100
    np.testing.assert_allclose(samples.T, sends_response(strip, 10.0), atol=1e-7)
    said = FORMAT.losses(strip)
    assert sum("sends/impulse_response.wav" in line for line in said) == 2


def test_the_response_is_in_the_file():
    strip = Strip(PRESETS["rap"], 44100)
    samples, rate = soundfile.read(io.BytesIO(unpacked(FORMAT.write(strip)[""])[RESPONSE]))
    expected = strip.impulse_response()
    assert rate == 44100
    assert np.sum((samples.T - expected) ** 2) <= 1e-13 * np.sum(expected**2)
    assert any(RESPONSE in line for line in FORMAT.losses(strip))
    assert any("reverb.wet_db" in line for line in FORMAT.losses(strip))
    dry = Strip(without_reverb(PRESETS["rap"]))
    assert RESPONSE not in unpacked(FORMAT.write(dry)[""])


def test_the_same_bytes_on_every_day(monkeypatch):
    first = FORMAT.write(Strip(PRESETS["podcast"]))[""]
    monkeypatch.setattr(time, "time", lambda: 2e9)
    assert FORMAT.write(Strip(PRESETS["podcast"]))[""] == first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_names_stay_inside(tmp_path, name):
    preset = hostile(without_reverb(PRESETS["rap"]), name)
    root = project_of(Strip(preset))
    tags = [element.tag for element in project_of(Strip(without_reverb(PRESETS["rap"]))).iter()]
    assert [element.tag for element in root.iter()] == tags
    assert root.find("Structure/Track").get("name") == Strip(preset).title
    export_preset(preset, "dawproject", tmp_path / "x.dawproject")
    assert import_preset(tmp_path / "x.dawproject")[0].name == Strip(preset).title


def test_frequencies_as_notes(tmp_path):
    """Bitwig writes them so: 69 is 440 Hz."""
    project = b"""<Project version="1.0"><Application name="x" version="1"/><Structure>
    <Track name="Lead"><Channel><Devices>
      <Equalizer deviceName="EQ+" deviceRole="audioFX"><Band type="bell" order="1">
        <Freq unit="semitones" value="81"/><Gain unit="decibel" value="-2.5"/>
        <Q unit="linear" value="1.5"/></Band></Equalizer>
      <Compressor deviceName="C" deviceRole="audioFX"><Ratio unit="percent" value="75"/>
      </Compressor></Devices></Channel></Track></Structure></Project>"""
    file = tmp_path / "x.dawproject"
    file.write_bytes(packed(project_xml=project))
    settings = import_preset(file)[0].settings()
    assert settings["eq.peak_1.freq_hz"] == pytest.approx(880.0)
    assert settings["eq.peak_1.gain_db"] == -2.5
    assert settings["compressor.ratio"] == pytest.approx(4.0)


def edited(tmp_path, tag, unit, value):
    """Import after one value of a project was edited."""
    root = project_of(Strip(without_reverb(PRESETS["rap"])))
    for element in [root.find(f"Structure/Track//{tag}")]:
        element.set("unit", unit)
        element.set("value", value)
    file = tmp_path / "x.dawproject"
    file.write_bytes(packed(project_xml=ElementTree.tostring(root)))
    return import_preset(file)[0].settings()


@pytest.mark.parametrize(
    ("tag", "unit", "value", "key", "expected"),
    [
        ("Compressor/Ratio", "percent", "100", "compressor.ratio", 20.0),
        ("Compressor/Ratio", "percent", "99", "compressor.ratio", 20.0),
        ("Volume", "linear", "0", "output_gain.gain_db", -48.0),
        ("Volume", "decibel", "-inf", "output_gain.gain_db", -48.0),
    ],
)
def test_a_limiter_and_a_closed_fader_are_the_ranges_ends(
    tmp_path, tag, unit, value, key, expected
):
    assert edited(tmp_path, tag, unit, value)[key] == pytest.approx(expected, abs=1e-9)


def test_a_note_that_is_none_is_refused(tmp_path):
    with pytest.raises(ExportError, match=r"Freq of 1e\+09 semitones is no note"):
        edited(tmp_path, "Freq", "semitones", "1e9")


def test_the_bands_of_an_eq_that_is_off_stay_as_they_are(tmp_path):
    bands = {"peak_1": {"gain_db": 3.0}, "peak_2": {"gain_db": 2.0, "enabled": False}}
    preset = Preset({"eq": {**bands, "enabled": False}, "compressor": {}})
    export_preset(preset, "dawproject", tmp_path / "x.dawproject")
    back, _ = import_preset(tmp_path / "x.dawproject")
    assert "eq" in back.bypass()
    for band in EQ_BANDS:
        assert (f"eq.{band}" in back.bypass()) == (f"eq.{band}" in preset.bypass()), band


HEAD = '<Project version="1.0"><Structure><Track><Channel><Devices><Equalizer>'
TAIL = "</Equalizer></Devices></Channel></Track></Structure></Project>"
BELL = '<Band type="bell"><Freq unit="{unit}" value="{value}"/></Band>'


@pytest.mark.parametrize(
    "project",
    [
        "", "<Project", "<Other/>", '<Project version="1.0"/>',
        '<!DOCTYPE Project [<!ENTITY a "b">]>' + HEAD + TAIL,
        HEAD + BELL.format(unit="percent", value=900) + TAIL,
        HEAD + BELL.format(unit="hertz", value="nan") + TAIL,
        HEAD + BELL.format(unit="hertz", value="many") + TAIL,
        " " * (1 << 21) + HEAD + TAIL,
    ],
    ids=["empty", "cut off", "other root", "no devices", "entities", "wrong unit",
         "nan", "no number", "too long"],
)  # fmt: skip
def test_what_is_not_ours_is_refused(tmp_path, project):
    file = tmp_path / "x.dawproject"
    file.write_bytes(packed(project_xml=project.encode()))
    with pytest.raises(DiffconsoleError, match=r"x\.dawproject|eq\.peak"):
        import_preset(file)


def test_more_bands_than_a_strip_has_are_chosen_from(tmp_path):
    gains = (1.0, -6.0, 5.0, 4.0, -3.0)
    bells = "".join(
        BELL.replace("/></Band>", '/><Gain unit="decibel" value="{gain}"/></Band>').format(
            unit="hertz", value=value, gain=gain
        )
        for value, gain in zip((100, 300, 900, 2500, 8000), gains, strict=True)
    )
    notch = '<Band type="notch"><Freq unit="hertz" value="900"/></Band>'
    file = tmp_path / "x.dawproject"
    file.write_bytes(packed(project_xml=(HEAD + bells + notch + TAIL).encode()))
    back, _ = import_preset(file)
    taken = tuple(back.settings()[f"eq.peak_{n}.gain_db"] for n in range(1, 5))
    assert taken == gains[1:], "the weakest is left out"
    said = back.provenance["import"]
    assert "'notch'" in said[0] and said[1].startswith("left out: bell 100 Hz +1 dB")


def test_what_is_no_zip_is_refused(tmp_path):
    good = FORMAT.write(Strip(PRESETS["podcast"]))[""]
    for content in (b"", b"PK", good[:200], good[:-30], packed(other_xml=b"<a/>")):
        file = tmp_path / "x.dawproject"
        file.write_bytes(content)
        with pytest.raises(ExportError):
            import_preset(file)


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    """The size that the zip tells is looked at first; one that lies is not believed."""
    file = tmp_path / "x.dawproject"
    file.write_bytes(packed(project_xml=b" " * (64 << 20)))
    opened = []
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *a, **k: opened.append(a))
    with pytest.raises(ExportError, match="over 1 MB"):
        import_preset(file)
    assert not opened
    monkeypatch.undo()
    lying = bytearray(file.read_bytes())
    size = (64 << 20).to_bytes(4, "little")
    while (place := lying.find(size)) >= 0:
        lying[place : place + 4] = (1000).to_bytes(4, "little")
    file.write_bytes(lying)
    with pytest.raises(ExportError):
        import_preset(file)
