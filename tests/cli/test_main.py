"""The main commands: process, predict, apply, plot; their files, options and words."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from diffconsole import Preset
from diffconsole.audio import peak_dbfs
from diffconsole.console.render import render
from diffconsole.files import atomic_path
from diffconsole.strip.later import FIRST_PARAMETERS
from diffconsole.strip.preset import factory_presets

from ..commands import (
    QUIETER,
    STRIP,
    call,
    contents,
    done,
    one_error,
    refused,
    samples_of,
    write_model,
    write_preset,
    write_take,
)
from ..synthetic import RATE

ENDINGS = (".preset.json", ".processed.wav", ".png", ".html")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def take(tmp_path: Path) -> Path:
    return write_take(tmp_path / "take.wav")


@pytest.fixture
def quick_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the drawing, which takes longer than everything else and has its own tests."""

    def stand_in(_views, path, *, force, **_others):
        with atomic_path(path, force=force) as temporary:
            temporary.write_bytes(b"a picture")

    monkeypatch.setattr("diffconsole.plots.plot_presets", stand_in)


# process


def test_process_writes_preset_audio_and_plot_that_belong_together(tmp_path, take, model):
    out = tmp_path / "deep" / "mixed"
    result = done("process", take, "-o", out, "--model", model)
    assert set(contents(out)) == {f"take{end}" for end in ENDINGS}
    assert result.stdout == ""
    for end in ENDINGS:
        assert str(out / f"take{end}") in result.stderr
    assert "compressor" in result.stderr

    again = tmp_path / "again.wav"
    done("apply", take, out / "take.preset.json", "-o", again)
    assert again.read_bytes() == (out / "take.processed.wav").read_bytes()
    assert not np.array_equal(samples_of(again)[0, :1000], samples_of(take)[0, :1000])
    assert (out / "take.png").read_bytes().startswith(b"\x89PNG")

    preset = Preset.read(out / "take.preset.json")
    assert preset.provenance["source"] == "take.wav"
    assert preset.provenance["model"] == model.name
    assert set(preset.provenance["uncertainty"]) == set(FIRST_PARAMETERS)


def test_the_shipped_model_claims_no_certainty_of_what_it_never_varied(tmp_path, take):
    done("predict", take, "-o", tmp_path / "take.json")
    uncertainty = Preset.read(tmp_path / "take.json").provenance["uncertainty"]
    assert all(low < high for low, high in uncertainty.values())
    # No simulated strip has a pan, or a shelf of another Q.
    assert not {"pan.position", "eq.low_shelf.q", "eq.high_shelf.q"} & uncertainty.keys()
    assert {"compressor.ratio", "reverb.wet_db", "eq.peak_4.gain_db"} <= uncertainty.keys()


@pytest.mark.usefixtures("quick_plot")
def test_process_without_output_writes_beside_the_raw(tmp_path, take, model):
    done("process", take, "--model", model)
    assert set(contents(tmp_path)) == {"take.wav", *(f"take{end}" for end in ENDINGS)}


@pytest.mark.parametrize(
    "options",
    [("--amount", "0.5"), ("--bypass", "reverb,eq.peak_1"), ("--amount", "1.3", "--no-tail")],
    ids=" ".join,
)
@pytest.mark.usefixtures("quick_plot")
def test_the_preset_of_process_holds_amount_and_bypass(tmp_path, take, model, options):
    done("predict", take, "-o", tmp_path / "plain.json", "--model", model)
    done("process", take, "-o", tmp_path / "out", "--model", model, *options)
    changed = Preset.read(tmp_path / "out" / "take.preset.json")
    assert Preset.read(tmp_path / "plain.json").strip != changed.strip
    tail_seconds = 0.0 if "--no-tail" in options else None
    expected = render(samples_of(take), RATE, changed, tail_seconds=tail_seconds).samples
    assert np.array_equal(samples_of(tmp_path / "out" / "take.processed.wav"), expected)
    if "--bypass" in options:
        assert {"reverb", "eq.peak_1"} <= changed.bypass()


@pytest.mark.usefixtures("quick_plot")
def test_process_several_takes_into_a_folder(tmp_path, model):
    takes = [write_take(tmp_path / f"{name}.wav", seed=i) for i, name in enumerate("abc")]
    result = done("process", *takes, "-o", tmp_path / "out", "--model", model, "--json")
    assert set(contents(tmp_path / "out")) == {f"{n}{end}" for n in "abc" for end in ENDINGS}
    assert result.stderr == ""
    data = json.loads(result.stdout)
    assert [entry["raw"] for entry in data["files"]] == [str(t) for t in takes]
    assert data["failed"] == []
    for entry in data["files"]:
        assert all(Path(entry[key]).is_file() for key in ("preset", "audio", "plot", "page"))


@pytest.mark.usefixtures("quick_plot")
def test_equal_stems_are_refused_before_any_work(tmp_path, model):
    (tmp_path / "other").mkdir()
    first, second = write_take(tmp_path / "a.wav"), write_take(tmp_path / "other" / "a.flac")
    third = write_take(tmp_path / "b.wav")
    before = contents(tmp_path)
    for command, output in (("process", "out"), ("predict", "out")):
        line = refused(
            command, third, first, second, "-o", tmp_path / output, "--model", model, "--force"
        )
        assert str(first) in line
        assert str(second) in line
        assert "a.preset.json" in line
        assert "rename" in line
    assert contents(tmp_path) == before
    # beside their raws they are no clash
    done("process", first, second, "--model", model, "--quiet")
    assert (tmp_path / "other" / "a.png").is_file()


@pytest.mark.usefixtures("quick_plot")
def test_one_bad_file_among_good_ones(tmp_path, model):
    good = [write_take(tmp_path / f"{name}.wav") for name in "ac"]
    bad = tmp_path / "b.wav"
    bad.write_bytes(b"no audio at all, but words")
    out = tmp_path / "out"
    result = call("process", good[0], bad, good[1], "-o", out, "--model", model, "--quiet")
    assert result.exit_code == 1
    assert one_error(result.stderr).startswith(f"{bad}: ")
    assert set(contents(out)) == {f"{n}{end}" for n in "ac" for end in ENDINGS}

    result = call("predict", good[0], bad, "-o", tmp_path / "presets", "--model", model, "--json")
    assert result.exit_code == 1
    assert set(contents(tmp_path / "presets")) == {"a.preset.json"}
    data = json.loads(result.stdout)
    assert [entry["raw"] for entry in data["files"]] == [str(good[0])]
    assert data["failed"] == [one_error(result.stderr)]


def test_a_silent_take_is_named(tmp_path, model):
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(RATE), RATE)
    line = refused("process", silent, "-o", tmp_path / "out", "--model", model)
    assert line.startswith(f"{silent}: ")
    assert "silent" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("quick_plot")
def test_quiet_says_nothing(tmp_path, take, model):
    result = done("process", take, "-o", tmp_path / "out", "--model", model, "--quiet")
    assert result.output == ""
    assert len(contents(tmp_path / "out")) == 4


@pytest.mark.parametrize("moment", ["jobs.process.OneVocal.render", "plots.plot_presets"])
def test_interrupt_leaves_nothing(tmp_path, take, model, monkeypatch, moment):
    def stop(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"diffconsole.{moment}", stop)
    before = contents(tmp_path)
    assert refused("process", take, "-o", tmp_path / "out", "--model", model) == "stopped"
    assert contents(tmp_path) == before


def test_process_never_replaces_a_raw_take(tmp_path, take, model):
    processed = write_take(tmp_path / "take.processed.wav", seed=1)
    before = contents(tmp_path)
    line = refused("process", take, processed, "--model", model, "--force")
    assert line.startswith(f"{processed}: is a raw take")
    line = refused("apply", take, "telephone", "-o", take, "--force")
    assert line.startswith(f"{take}: is a raw take")
    (tmp_path / "link.wav").symlink_to(take)
    assert "is a raw take" in refused("predict", take, "-o", tmp_path / "link.wav", "--force")
    (tmp_path / "link.wav").unlink()
    assert contents(tmp_path) == before


# predict


@pytest.mark.usefixtures("quick_plot")
def test_predict_is_the_preset_of_process(tmp_path, take, model):
    done("predict", take, "-o", tmp_path / "p.json", "--model", model)
    done("process", take, "-o", tmp_path / "out", "--model", model)
    alone, beside = (
        Preset.read(p) for p in (tmp_path / "p.json", tmp_path / "out" / "take.preset.json")
    )
    assert alone.strip == beside.strip
    done("predict", take, "-o", tmp_path / "out2.json", "--model", write_model(tmp_path / "m", 5))
    assert Preset.read(tmp_path / "out2.json").strip != alone.strip


def test_predict_into_a_folder(tmp_path, model):
    takes = [write_take(tmp_path / f"{name}.wav", seed=i) for i, name in enumerate("ab")]
    done("predict", *takes, "-o", tmp_path / "out", "--model", model)
    assert set(contents(tmp_path / "out")) == {"a.preset.json", "b.preset.json"}
    (tmp_path / "there").mkdir()
    done("predict", takes[0], "-o", tmp_path / "there", "--model", model)
    assert set(contents(tmp_path / "there")) == {"a.preset.json"}


def test_a_louder_take_gets_the_same_strip_with_less_input_gain(tmp_path, take, model):
    louder = tmp_path / "louder.wav"
    soundfile.write(louder, samples_of(take).T * 10 ** (6 / 20), RATE, subtype="FLOAT")
    settings = []
    for raw in (take, louder):
        done("predict", raw, "-o", raw.with_suffix(".json"), "--model", model)
        settings.append(Preset.read(raw.with_suffix(".json")).settings())
    soft, loud = settings
    assert loud["input_gain.gain_db"] == pytest.approx(soft["input_gain.gain_db"] - 6, abs=0.02)
    assert loud["compressor.ratio"] == pytest.approx(soft["compressor.ratio"], rel=1e-3)


# apply


def test_apply_a_file_and_a_factory_preset_by_its_key(tmp_path, take):
    preset = write_preset(tmp_path / "p.json", QUIETER)
    result = done("apply", take, preset, "-o", tmp_path / "quieter.wav")
    assert str(tmp_path / "quieter.wav") in result.stderr
    assert result.stdout == ""
    error = samples_of(tmp_path / "quieter.wav") - samples_of(take) * 10 ** (-6 / 20)
    assert np.max(np.abs(error)) < 1e-7

    done("apply", take, "telephone", "-o", tmp_path / "phone.wav")
    expected = render(samples_of(take), RATE, factory_presets()["telephone"]).samples
    assert np.array_equal(samples_of(tmp_path / "phone.wav"), expected)
    assert "telephon" in refused("apply", take, "telephon", "-o", tmp_path / "x.wav")


def test_amount_and_bypass_of_apply(tmp_path, take):
    preset = write_preset(tmp_path / "p.json", STRIP)
    done("apply", take, preset, "-o", tmp_path / "none.wav", "--amount", "0")
    assert np.array_equal(samples_of(tmp_path / "none.wav"), samples_of(take))
    names = "input_gain, eq,compressor,reverb"
    done("apply", take, preset, "-o", tmp_path / "off.wav", "--bypass", names)
    assert np.array_equal(samples_of(tmp_path / "off.wav"), samples_of(take))

    quieter = write_preset(tmp_path / "q.json", QUIETER)
    done("apply", take, quieter, "-o", tmp_path / "half.wav", "--amount", "0.5")
    error = samples_of(tmp_path / "half.wav") - samples_of(take) * 10 ** (-3 / 20)
    assert np.max(np.abs(error)) < 1e-7


@pytest.mark.parametrize(
    ("depth", "subtype", "step"), [("16", "PCM_16", 2**-15), ("24", "PCM_24", 2**-23)]
)
def test_bit_depth(tmp_path, take, depth, subtype, step):
    preset = write_preset(tmp_path / "p.json", STRIP)
    done("apply", take, preset, "-o", tmp_path / "float.wav")
    for name in ("a", "b"):
        done("apply", take, preset, "-o", tmp_path / f"{name}.wav", "--bit-depth", depth)
    done("apply", take, preset, "-o", tmp_path / "c.wav", "--bit-depth", depth, "--seed", "1")
    assert soundfile.info(tmp_path / "float.wav").subtype == "FLOAT"
    assert soundfile.info(tmp_path / "a.wav").subtype == subtype
    error = samples_of(tmp_path / "a.wav") - samples_of(tmp_path / "float.wav")
    assert 0 < np.max(np.abs(error)) <= 1.6 * step  # rounding, and two steps wide dither
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert (tmp_path / "a.wav").read_bytes() != (tmp_path / "c.wav").read_bytes()


def test_clipping_is_refused_unless_normalized(tmp_path, take):
    preset = write_preset(tmp_path / "p.json", {"output_gain": {"gain_db": 24.0}})
    done("apply", take, preset, "-o", tmp_path / "float.wav")
    over_db = peak_dbfs(samples_of(tmp_path / "float.wav"))
    assert over_db > 1.0  # else the test tests nothing
    before = contents(tmp_path)
    line = refused("apply", take, preset, "-o", tmp_path / "x.wav", "--bit-depth", "16")
    found = float(line.split("clip by ")[1].split(" dB")[0])
    assert found == pytest.approx(over_db, abs=0.011)
    assert "--normalize" in line
    assert contents(tmp_path) == before

    out = tmp_path / "x.wav"
    result = done("apply", take, preset, "-o", out, "--bit-depth", "16", "--normalize")
    assert peak_dbfs(samples_of(out)) == pytest.approx(-1.0, abs=0.01)
    assert f"turned down by {over_db + 1:.1f} dB" in result.stderr


def test_tail(tmp_path, take):
    preset = write_preset(tmp_path / "p.json", STRIP)
    length = samples_of(take).shape[1]

    def written(*options: str) -> np.ndarray:
        done("apply", take, preset, "-o", tmp_path / "x.wav", "--force", *options)
        return samples_of(tmp_path / "x.wav")

    whole, cut, short = written(), written("--no-tail"), written("--tail", "0.125")
    assert cut.shape[1] == length
    assert short.shape[1] == length + round(0.125 * RATE)
    assert whole.shape[1] > length + 0.3 * RATE  # T60 is 0.3 s
    # The same samples, as far as they go; a longer FFT rounds otherwise.
    assert np.max(np.abs(whole[:, :length] - cut)) < 1e-6
    assert np.any(whole[:, length:])
    line = refused(
        "apply", take, preset, "-o", tmp_path / "y.wav", "--tail", 1, "--no-tail", code=2
    )
    assert "--tail and --no-tail exclude each other" in line


def test_apply_as_json(tmp_path, take):
    preset = write_preset(tmp_path / "p.json", {"eq": {"low_pass": {"freq_hz": 20000.0}}})
    low = tmp_path / "low.wav"
    soundfile.write(low, samples_of(take).T, 22050)
    result = done("apply", low, preset, "-o", tmp_path / "x.wav", "--json")
    data = json.loads(result.stdout)
    assert result.stderr == ""
    assert data["audio"] == str(tmp_path / "x.wav")
    assert (data["channels"], data["sample_rate"]) == (1, 22050)
    assert data["seconds"] == pytest.approx(samples_of(take).shape[1] / 22050)
    assert "10804.5 Hz is used" in data["notices"][0]  # 0.49 of the rate
    spoken = done("apply", low, preset, "-o", tmp_path / "y.wav").stderr
    assert spoken.startswith(f"Note: {data['notices'][0]}\n")


@pytest.mark.usefixtures("quick_plot")
def test_existing_outputs_need_force(tmp_path, take, model):
    preset = write_preset(tmp_path / "p.json", QUIETER)
    for name in ("old.wav", "old.json", "old.png", "take.png"):
        (tmp_path / name).write_text("old")
    before = contents(tmp_path)
    commands = [
        ("apply", take, preset, "-o", tmp_path / "old.wav"),
        ("predict", take, "-o", tmp_path / "old.json", "--model", model),
        ("plot", preset, "-o", tmp_path / "old.png"),
        ("process", take, "--model", model),  # take.png is there, the others are not
    ]
    for command in commands:
        assert "exists already; add --force" in refused(*command)
    assert contents(tmp_path) == before
    for command in commands:
        done(*command, "--force")
    assert all(data != b"old" for data in contents(tmp_path).values())


# plot


@pytest.mark.parametrize(
    ("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_plot_formats(tmp_path, ending, start):
    image = tmp_path / f"x.{ending}"
    result = done("plot", "telephone", "-o", image, "--json")
    assert json.loads(result.stdout) == {"plot": str(image)}
    assert image.read_bytes().startswith(start)


def test_plot_with_a_raw_shows_more_and_several_presets_show_both_names(tmp_path, take):
    preset = write_preset(tmp_path / "mine.json", STRIP, name="my own strip")
    done("plot", preset, "-o", tmp_path / "alone.svg")
    done("plot", preset, "--raw", take, "-o", tmp_path / "raw.svg")
    done("plot", preset, "rap", "-o", tmp_path / "two.svg")
    alone, raw, two = (
        (tmp_path / f"{n}.svg").read_text(encoding="utf-8") for n in ("alone", "raw", "two")
    )
    assert len(raw) > 1.2 * len(alone)
    assert "my own strip" in alone
    assert factory_presets()["rap"].name not in alone
    assert "my own strip" in two
    assert factory_presets()["rap"].name in two


def test_plot_of_another_kind_is_refused(tmp_path):
    assert "x.txt" in refused("plot", "rap", "-o", tmp_path / "x.txt")
    assert os.listdir(tmp_path) == []
