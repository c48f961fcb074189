"""What is said fits every terminal: encodings, control codes in names, lines of a megabyte."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from diffconsole.audio import loudness_lufs, read_audio
from diffconsole.audio.decoder_output import without_decoder_words
from diffconsole.cli.common import LONGEST_LINE, describe, one_line
from diffconsole.cli.terminal import in_plain_words
from diffconsole.errors import AudioError, PresetError
from diffconsole.files.spreadsheet import as_text
from diffconsole.model.predictor import level_gain_db

from ..commands import QUIETER, call, done, refused, write_model, write_preset, write_take
from ..synthetic import RATE, voice
from .test_match import write_pair

ALL = """
import sys
sys.argv[0] = "diffconsole"
from diffconsole.cli import main
import click

def paths(group, before=()):
    for name, made in group.commands.items():
        yield (*before, name, "--help")
        if isinstance(made, click.Group):
            yield from paths(made, (*before, name))

runs = [("--help",), *paths(main), ("export", "--list"), ("encoders", "list"), ("presets", "list"),
        ("models", "info"), ("no−such≤command…",), ("apply", "−≤…歌", "rap", "-o", "x.wav")]
for run in runs:
    try:
        main(list(run), prog_name="diffconsole")
    except SystemExit as end:
        assert end.code in (0, 1, 2), (run, end.code)
"""


@pytest.mark.parametrize("encoding", ["cp437", "cp1252", "latin-1", "ascii", "utf-8"])
def test_every_help_and_list_in_every_encoding(encoding, tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    finished = subprocess.run(
        [sys.executable, "-c", ALL], cwd=tmp_path, env=environment, capture_output=True, check=False
    )
    stderr = finished.stderr.decode(encoding)
    assert finished.returncode == 0, stderr
    assert "Traceback" not in stderr
    text = finished.stdout.decode(encoding)
    if encoding == "utf-8":
        assert "≤ −230 dB" in text
    elif encoding == "cp437":  # has ≤
        assert "≤ -230 dB" in text
    else:
        assert "<= -230 dB" in text
    last = stderr.splitlines()[-1]
    assert last.startswith("Error: −≤…歌: " if encoding == "utf-8" else "Error: -")


def test_plain_words():
    assert in_plain_words("−3 dB ≤ “Größe” … → é ½") == '-3 dB <= "Grosse" ... -> e 1/2'
    assert in_plain_words("歌") == "\\u6b4c"


# Names that could do something to a terminal


@pytest.mark.skipif(os.name != "posix", reason="such names are possible on POSIX systems")
def test_control_codes_in_names_are_never_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = write_model(tmp_path / "model")
    name = "a\x1b]0;title\x07\x1b[2J\x9b31m\u202ek\rb\nc"
    write_take(tmp_path / "plain.wav", seconds=0.3).rename(tmp_path / f"{name}.wav")
    write_preset(tmp_path / "p.json", {}, name=name)
    take = f"{name}.wav"
    results = [
        call("process", take, "--model", model),
        call("process", take, "--model", model),
        call("predict", take, "-o", f"{name}.json", "--model", model),
        call("apply", take, "p.json", "-o", f"{name}.x.wav"),
        call("apply", take, f"{name}.none", "-o", f"{name}.y.wav"),
        call("plot", "p.json", "-o", f"{name}.svg"),
        call("audition", take, "p.json", "-o", f"{name}.2.html"),
        call("export", "p.json", "--to", "csv", "-o", f"{name}.csv"),
        call("import", f"{name}.csv", "-o", f"{name}.2.json"),
        call(f"no{name}"),
        call("apply", f"--no{name}"),
    ]
    assert [r.exit_code for r in results] == [0, 1, 0, 0, 1, 0, 0, 0, 0, 2, 2]
    for result in results:
        for line in (result.stdout + result.stderr).split("\n"):
            assert line.isprintable(), line
        assert "\\x1b" in result.stderr


def test_a_pipe_is_refused_and_a_file_of_that_name_is_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    preset = write_preset(tmp_path / "strip.json", QUIETER)
    take = write_take(tmp_path / "take.wav", 0.2)
    for command in (("apply", take, preset, "-o", "-"), ("plot", "-", "-o", "curves.png")):
        assert "give a file" in refused(*command, code=2)
    assert not (tmp_path / "-").exists()
    shutil.copy(preset, "-")
    done("apply", take, "./-", "-o", "out.wav")
    shutil.copy(take, "-")
    done("apply", "./-", preset, "-o", "again.wav")
    assert Path("again.wav").read_bytes() == Path("out.wav").read_bytes()


def test_a_nul_in_a_name_is_one_line(tmp_path):
    take = write_take(tmp_path / "take.wav", seconds=0.3)
    for command in (("apply", "a\0b", "rap", "-o", tmp_path / "x.wav"),
                    ("process", take, "-o", "a\0b"),
                    ("plot", "rap", "-o", "a\0b.png"),
                    ("export", "a\0b", "--to", "csv", "-o", tmp_path / "x.csv")):  # fmt: skip
        assert "NUL" in refused(*command, code=2)
    pairs = tmp_path / "pairs.csv"
    pairs.write_bytes(b"raw,mixed\na\0b.wav,c.wav\n")
    result = call("match", "--pairs", pairs, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "Traceback" not in result.stderr
    assert describe(ValueError("embedded null byte")) is not None
    assert describe(ValueError("anything else")) is None


def test_a_line_has_a_length_that_can_be_read(tmp_path):
    preset = tmp_path / "long.json"
    preset.write_text(json.dumps({"format": "x" * 1_000_000, "version": "1.0"}))
    line = refused("apply", write_take(tmp_path / "t.wav"), preset, "-o", tmp_path / "x.wav")
    assert line.startswith(f"{preset}: ")
    assert len(line) < LONGEST_LINE + 10
    assert len(refused("y" * 1_000_000, code=2)) < LONGEST_LINE + 10
    text = describe(PresetError("a" * 5000 + "; choose another"))
    assert text is not None
    assert text.endswith("; choose another")
    assert one_line("short") == "short"


# Tables


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "＝1"])
def test_formulas_are_texts(text):
    assert as_text(text) == f"'{text}"
    assert as_text(f"a{text}") == f"a{text}"


@pytest.mark.skipif(os.name != "posix", reason="such names are possible on POSIX systems")
def test_names_in_the_table_of_matches_are_no_formulas(tmp_path):
    stem = '=HYPERLINK("x")'
    write_pair(tmp_path, stem=stem, seconds=1.0)
    given = ("--raw", tmp_path / "raw", "--mixed", tmp_path / "mixed", "--seconds", "0.5")
    done("match", *given, "-o", tmp_path / "out")
    with open(tmp_path / "out" / "match.csv", newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["name"].startswith(f"'{stem}")
    assert row["preset"].startswith(f"'{stem}")
    assert row["polarity"] == "-1"  # a number stays one


# Samples that no recording has, and the MP3 decoder's words


@pytest.mark.parametrize("share", [1.0, 0.0])
def test_samples_far_above_full_scale_are_not_called_silence(tmp_path, share):
    samples = np.sign(voice(0.5)) * np.float32(3.4e38) if share else voice(0.5)
    samples[1000] = np.float32(-3.4e38)
    take = tmp_path / "take.wav"
    soundfile.write(take, samples.astype(np.float32), RATE, subtype="FLOAT")
    for command in (("apply", take, "rap", "-o", tmp_path / "x.wav"),
                    ("process", take), ("audition", take, "rap", "-o", tmp_path / "x.html"),
                    ("plot", "rap", "--raw", take, "-o", tmp_path / "x.png")):  # fmt: skip
        line = refused(*command)
        assert line.startswith(f"{take}: sample index {0 if share else 1000} ")
        assert "(+770.6 dBFS), far too loud for sound" in line


def test_loudness_far_above_full_scale():
    samples = voice(1.0)[None]
    plain = loudness_lufs(samples, RATE)
    loud = loudness_lufs(samples * np.float32(1e30), RATE)
    assert loud == pytest.approx(plain + 600.0, abs=0.01)
    with pytest.raises(AudioError, match=r"is \+5\d\d\.\d LUFS, far above full scale"):
        level_gain_db(samples * np.float32(1e30), RATE)


def _damaged_mp3(path: Path) -> Path:
    soundfile.write(path, voice(2.0), RATE, format="MP3")
    content = bytearray(path.read_bytes())
    content[3000:9000] = bytes(6000)
    path.write_bytes(content)
    return path


def test_the_mp3_decoder_says_nothing_itself(tmp_path, capfd):
    path = _damaged_mp3(tmp_path / "take.mp3")
    with pytest.raises(AudioError):
        read_audio(path)
    assert capfd.readouterr().err == ""
    with pytest.raises(soundfile.LibsndfileError), soundfile.SoundFile(path) as file:
        file.read()
    assert "mpg123" in capfd.readouterr().err, "the decoder speaks no more; remove the filter"


def test_words_of_others_pass_the_filter(capfd):
    with without_decoder_words("MP3"):
        os.write(2, b"[src/libmpg123/parse.c:wetwork():1349] error: Giving up\n")
        os.write(2, b"words of somebody else\n")
    with without_decoder_words("WAV"):
        os.write(2, b"Note: not filtered\n")
    assert capfd.readouterr().err == "words of somebody else\nNote: not filtered\n"


def test_closed_streams_and_a_backend_that_does_not_exist(tmp_path):
    take = write_take(tmp_path / "take.wav", 0.3)
    words = f"{sys.executable} -m diffconsole process {take.name} -o out"
    finished = subprocess.run(
        ["sh", "-c", f"{words} <&- >&-"], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "MPLBACKEND": "nonsense", "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_python_without_docstrings(tmp_path):
    """A picture needs no compiled loops, which Python would compile again without docstrings."""
    words = [sys.executable, "-OO", "-m", "diffconsole", "plot", "warm_intimate", "-o", "warm.png"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(words, cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "warm.png").read_bytes().startswith(b"\x89PNG")
