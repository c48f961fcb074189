"""The page as a file: one piece, nothing from outside, names escaped, loudness and size told."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pyloudnorm
import pytest
import soundfile

from diffconsole import Preset
from diffconsole.audio import read_audio, write_audio
from diffconsole.audition import Vocal, page, write_page
from diffconsole.audition import bundle as bundling
from diffconsole.audition.bundle import SCRIPTS, bundle
from diffconsole.console.render import render
from diffconsole.errors import DiffconsoleError, OutputError, SettingsError
from diffconsole.strip.chain import CHAIN
from diffconsole.strip.preset import factory_presets, find_preset
from tests.commands import done, refused, write_model, write_take
from tests.export.helpers import HOSTILE_NAMES
from tests.reference import error_db
from tests.synthetic import RATE, voice

RAP = find_preset("rap")


class Elements(HTMLParser):
    """Every element's attributes, and the text of those with an id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text: dict[str, str] = {}
        self.tags: list[str] = []
        self._inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        self._inside = [value for name, value in attrs if name == "id" and value]

    def handle_data(self, data: str) -> None:
        for name in self._inside:
            self.text[name] = self.text.get(name, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._inside = []


def opened(path) -> tuple[Elements, dict]:
    elements = Elements(path.read_text(encoding="utf-8"))
    return elements, json.loads(elements.text["page-data"])


def sung(seconds: float = 1.5, channels: int = 1) -> np.ndarray:
    return np.stack([voice(seconds, seed) for seed in range(channels)])


def audio_of(elements: Elements, name: str) -> tuple[np.ndarray, int, str]:
    content = io.BytesIO(base64.b64decode(elements.text[name], validate=True))
    kind = soundfile.info(content).format
    content.seek(0)
    samples, rate = soundfile.read(content, dtype="float32", always_2d=True)
    return samples.T, rate, kind


def test_one_file_that_asks_for_nothing(tmp_path):
    written = write_page(tmp_path / "a.html", [Vocal("take", sung(), RATE, [("Rap", RAP)])])
    elements, data = opened(tmp_path / "a.html")
    assert written.size_bytes == (tmp_path / "a.html").stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]
    loading = [
        v for _, name, v in elements.attributes if name in ("src", "href", "srcset", "action")
    ]
    assert set(loading) == {"#strip", "data:,"}
    policy = next(v for _, name, v in elements.attributes if v and v.startswith("default-src"))
    assert policy.startswith("default-src 'none';")
    assert "http:" not in policy and "https:" not in policy and "connect-src" not in policy
    assert [v["kind"] for v in data["vocals"][0]["versions"]] == ["raw", "preset"]
    assert [p["key"] for p in data["table"]] == list(RAP.settings())


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_stay_names(tmp_path, name):
    shown = name or "nameless"
    preset = Preset(RAP.strip, name, {"note": name, name: ["<!--", "<script>alert(1)</script>"]})
    vocal = Vocal(shown, sung(0.5), RATE, [(shown, preset)], (shown, sung(0.5), RATE))
    write_page(tmp_path / "a.html", [vocal])
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    elements, data = opened(tmp_path / "a.html")
    plain = Elements(_plain_page(tmp_path))
    assert elements.tags == plain.tags
    assert text.count("<!--") == 0
    one = data["vocals"][0]
    assert one["name"] == shown
    assert [v["name"] for v in one["versions"]] == ["Raw", shown, shown]
    assert one["versions"][1]["provenance"] == preset.provenance
    printable = shown.encode("utf-8", "replace").decode("utf-8")
    # Line breaks are one space in HTML, and Python reads them as \n.
    assert elements.text["title"].split() == printable.split()


def _plain_page(folder) -> str:
    vocal = Vocal("a", sung(0.5), RATE, [("b", RAP)], ("c", sung(0.5), RATE))
    write_page(folder / "plain.html", [vocal])
    return (folder / "plain.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 48000, 96000, 192000])
def test_the_raw_inside_is_the_raw(tmp_path, rate):
    raw = voice(0.6, rate=rate)[None]
    write_page(tmp_path / "a.html", [Vocal("take", raw, rate, [("Rap", RAP)])])
    elements, data = opened(tmp_path / "a.html")
    samples, stored_rate, kind = audio_of(elements, data["vocals"][0]["audio"])
    assert (stored_rate, kind) == (rate, "FLAC")
    assert error_db(samples, raw) < -115.0
    sixteen = np.round(raw * 2.0**15).astype(np.float32) / np.float32(2.0**15)
    write_page(tmp_path / "b.html", [Vocal("take", sixteen, rate, [("Rap", RAP)])])
    elements, data = opened(tmp_path / "b.html")
    samples, _, _ = audio_of(elements, data["vocals"][0]["audio"])
    assert np.array_equal(samples, sixteen)


@pytest.mark.parametrize("gain", [20.0, 1e-5])
def test_what_flac_cannot_hold_is_kept_in_floats(tmp_path, gain):
    raw = sung(channels=2) * np.float32(gain)
    write_page(tmp_path / "a.html", [Vocal("take", raw, RATE, [("Rap", RAP)])])
    elements, data = opened(tmp_path / "a.html")
    samples, _, kind = audio_of(elements, data["vocals"][0]["audio"])
    assert kind == "WAV"
    assert np.array_equal(samples, raw)


def test_every_version_states_its_loudness_as_it_is_heard(tmp_path):
    raw, mix = sung(), sung(channels=2) * np.float32(0.3)
    presets = [(k, factory_presets()[k]) for k in ("rap", "podcast", "telephone", "dream_wash")]
    write_page(tmp_path / "a.html", [Vocal("take", raw, RATE, presets, ("mix", mix, RATE))])
    _, data = opened(tmp_path / "a.html")
    meter = pyloudnorm.Meter(RATE)
    heard = [raw, *(render(raw, RATE, preset).samples for _, preset in presets)]
    for version, samples in zip(data["vocals"][0]["versions"], heard, strict=False):
        pair = np.repeat(samples, 3 - len(samples), axis=0)
        assert version["loudness"] == pytest.approx(meter.integrated_loudness(pair.T), abs=0.01)
        assert version["peak"] == pytest.approx(np.abs(samples).max(), rel=1e-5)


def test_silence_has_no_loudness(tmp_path):
    silent = np.zeros((1, RATE), np.float32)
    write_page(tmp_path / "a.html", [Vocal("take", silent, RATE, [("Rap", RAP)])])
    _, data = opened(tmp_path / "a.html")
    assert [v["loudness"] for v in data["vocals"][0]["versions"]] == [None, None]


def test_a_late_mix_is_brought_into_time(tmp_path):
    raw = sung(6.0)
    late = 700
    mix = np.pad(0.5 * raw, ((0, 0), (late, 0)))
    written = write_page(tmp_path / "a.html", [Vocal("take", raw, RATE, [], ("mix", mix, RATE))])
    elements, data = opened(tmp_path / "a.html")
    samples, _, _ = audio_of(elements, data["vocals"][0]["versions"][1]["audio"])
    assert error_db(samples[:, : raw.shape[1]], 0.5 * raw) < -100.0
    assert written.notices == (
        f"mix: moved by {-1000 * late / RATE:.2f} ms, to lie with the vocal",
    )


@pytest.mark.parametrize("late", [0, 700])
def test_an_inverted_mix_is_played_in_the_vocals_polarity(tmp_path, late):
    """It would cancel the vocal while one fades into the other."""
    raw = sung(6.0)
    mix = np.pad(-0.5 * raw, ((0, 0), (late, 0)))
    written = write_page(tmp_path / "a.html", [Vocal("take", raw, RATE, [], ("mix", mix, RATE))])
    elements, data = opened(tmp_path / "a.html")
    samples, _, _ = audio_of(elements, data["vocals"][0]["versions"][1]["audio"])
    assert error_db(samples[:, : raw.shape[1]], 0.5 * raw) < -100.0
    assert written.notices[-1] == "mix: inverted against take; its polarity was turned"


def test_another_song_is_left_in_place_and_said(tmp_path):
    other = np.random.default_rng(1).normal(0.0, 0.1, (1, 3 * RATE)).astype(np.float32)
    written = write_page(
        tmp_path / "a.html", [Vocal("take", sung(3.0), RATE, [], ("noise", other, RATE))]
    )
    assert "does not sound like the same performance" in written.notices[0]


def test_too_large_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "LARGEST_BYTES", 100_000)
    with pytest.raises(OutputError, match="shorter vocals, or leave out --mixed"):
        write_page(tmp_path / "a.html", [Vocal("take", sung(3.0), RATE, [("Rap", RAP)])])
    assert list(tmp_path.iterdir()) == []


def test_wrong_use_is_said(tmp_path):
    with pytest.raises(OutputError, match=r"ends in \.html"):
        write_page(tmp_path / "a.txt", [Vocal("take", sung(), RATE, [])])
    with pytest.raises(SettingsError, match="at least one"):
        write_page(tmp_path / "a.html", [])


@pytest.mark.parametrize("entry", ["worklet.js", "worker.js", "ui/main.js"])
def test_scripts_can_stand_inside_html(entry):
    text = bundle(entry)
    assert "</script" not in text.lower() and "<!--" not in text
    assert not re.search(r"^\s*(import|export)\b", text, flags=re.MULTILINE)
    assert "eval(" not in text and "innerHTML" not in text


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "tilt.js, which is not there"), ("// </SCRIPT>\n", "ends a script in HTML")],
)
def test_a_twin_that_cannot_be_used_is_refused(tmp_path, monkeypatch, text, words):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "toy_tilt.py").write_text("")
    if text is not None:
        (tmp_path / "tilt.js").write_text(text)
    row = replace(CHAIN[1], key="tilt", implementation="toy_tilt", script="tilt.js")
    monkeypatch.setattr(bundling, "CHAIN", (*CHAIN, row))
    with pytest.raises(DiffconsoleError, match=words):
        bundle("console.js")


def test_scripts_stay_short():
    paths = [*SCRIPTS.parent.rglob("*.js")]
    assert len(paths) > 30
    assert {p.name: n for p in paths if (n := len(p.read_text().splitlines())) > 420} == {}


# --- the command -----------------------------------------------------------------------------


def test_audition_writes_the_page_and_tells_its_size(tmp_path):
    take = write_take(tmp_path / "take.wav")
    write_audio(tmp_path / "mix.wav", 0.5 * read_audio(take)[0], RATE)
    out = tmp_path / "take.html"
    RAP.write(tmp_path / "mine.preset.json")
    result = done(
        "audition", take, "podcast", tmp_path / "mine.preset.json",
        "--mixed", tmp_path / "mix.wav", "-o", out,
    )  # fmt: skip
    assert f"→ {out}: {out.stat().st_size / 1e6:.1f} MB" in result.stderr
    told = json.loads(done("audition", take, "rap", "-o", out, "--force", "--json").stdout)
    assert told["bytes"] == out.stat().st_size
    assert [v["kind"] for v in told["vocals"][0]["versions"]] == ["raw", "preset"]
    assert done("audition", take, "rap", "-o", out, "--force", "--quiet").output == ""


def test_audition_of_several_vocals(tmp_path):
    first, second = write_take(tmp_path / "a.wav"), write_take(tmp_path / "b.wav", seed=1)
    out = tmp_path / "page.html"
    done("audition", first, "rap", "--also", second, "--mixed", first, "-o", out)
    _, data = opened(out)
    assert [vocal["name"] for vocal in data["vocals"]] == ["a.wav", "b.wav"]
    assert [len(vocal["versions"]) for vocal in data["vocals"]] == [3, 2]


def test_audition_refuses_in_one_line(tmp_path):
    take = write_take(tmp_path / "take.wav")
    out = tmp_path / "page.html"
    out.write_text("mine")
    assert "add --force" in refused("audition", take, "rap", "-o", out)
    assert out.read_text() == "mine"
    line = refused("audition", take, "rap", "-o", tmp_path / "page.txt")
    assert line.endswith("use a name that ends in .html")
    line = refused("audition", take, "rap", "--mixed", take, "--mixed", take, "-o", out, code=2)
    assert "2 mixes for 1 vocals" in line
    assert "no such file" in refused("audition", take, "nothing.json", "-o", out, "--force")
    assert "is a raw take" in refused("audition", take, "rap", "-o", take, "--force")


def test_process_goes_on_where_the_page_would_be_too_large(tmp_path, monkeypatch):
    take, model = write_take(tmp_path / "take.wav"), write_model(tmp_path / "model")
    monkeypatch.setattr(page, "LARGEST_BYTES", 10_000)
    monkeypatch.setattr("diffconsole.plots.plot_presets", lambda *_, **__: None)
    result = done("process", take, "-o", tmp_path / "out", "--model", model, "--json")
    (files,) = json.loads(result.stdout)["files"]
    assert set(files) == {"raw", "preset", "audio"}
    assert not (tmp_path / "out" / "take.html").exists()
