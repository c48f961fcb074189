"""A user's program cleans a take first: what it gets, what it may give back, how it may fail."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from diffconsole import Preset
from diffconsole.errors import EnhanceError, SettingsError
from diffconsole.files import atomic_path
from diffconsole.jobs.enhance import Enhancer, enhance, split_command

from ..commands import call, contents, done, refused, samples_of, write_model, write_take
from ..synthetic import RATE, voice

START = """
import sys, time, os, pathlib
import numpy as np, soundfile
inp, out = sys.argv[1:3]
x, rate = soundfile.read(inp, dtype="float32", always_2d=True)
def put(x, rate=rate, subtype="FLOAT"):
    soundfile.write(out, x, rate, subtype=subtype)
"""


def program(folder: Path, body: str) -> str:
    """A command that runs `body` with the input as ``x`` at ``rate``, and ``put`` to write."""
    script = folder / 'it\'s an "enhancer".py'
    script.write_text(START + body)
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(script))} {{in}} {{out}}"


def run(tmp_path: Path, body: str, samples: np.ndarray | None = None, rate: int = RATE):
    take = voice(1.0, rate=rate)[None] if samples is None else samples
    return enhance(take, rate, Enhancer(program(tmp_path, body)))


def failure(tmp_path: Path, body: str) -> str:
    with pytest.raises(EnhanceError) as caught:
        run(tmp_path, body)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(sys.executable)
    return line


# What goes in and comes out


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_the_program_gets_the_take_as_it_is_and_its_result_is_taken_as_it_is(
    tmp_path, channels, rate
):
    take = np.stack([3.0 * voice(1.0, c, rate) for c in range(channels)])
    kept = tmp_path / "kept.npy"
    body = f"np.save({str(kept)!r}, x)\nassert soundfile.info(inp).subtype == 'FLOAT'\nput(0.5 * x)"
    result, notices = run(tmp_path, body, take, rate)
    assert np.array_equal(np.load(kept).T, take)
    assert np.array_equal(result, np.float32(0.5) * take)
    assert result.dtype == np.float32
    assert notices == ()


def test_another_rate_is_brought_back(tmp_path):
    body = "import soxr\nput(soxr.resample(x, rate, 48000, quality='VHQ'), 48000)"
    take = voice(1.0)[None]
    result, notices = run(tmp_path, body, take)
    assert result.shape == take.shape
    assert np.linalg.norm(result - take) < 1e-3 * np.linalg.norm(take)
    assert notices == ()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("put(x[:-int(0.02 * rate)])", None),
        ("put(np.pad(x, ((0, int(0.02 * rate)), (0, 0))))", None),
        ("put(x[:-int(0.1 * rate)])", "100 ms shorter than the take; filled up with silence at"),
        ("put(np.pad(x, ((0, int(0.2 * rate)), (0, 0))))", "200 ms longer than the take; cut at"),
    ],
)
def test_another_length_is_cut_or_filled_and_told_when_it_is_much(tmp_path, body, words):
    take = voice(1.5)[None]
    result, notices = run(tmp_path, body, take)
    assert result.shape == take.shape
    kept = take.shape[1] - int(0.1 * RATE)
    assert np.array_equal(result[:, :kept], take[:, :kept])
    if "x[:-" in body:
        assert not result[:, -int(0.02 * RATE) :].any()
    assert len(notices) == (words is not None)
    assert words is None or words in notices[0]


def test_a_delay_is_told_and_not_moved(tmp_path):
    take = voice(2.0)[None]
    result, notices = run(tmp_path, "put(np.pad(x, ((882, 0), (0, 0)))[:len(x)])", take)
    assert np.array_equal(result[:, 882:], take[:, :-882])
    assert len(notices) == 1
    assert "lies 20.0 ms later than the take" in notices[0]


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
def test_another_number_of_channels(tmp_path, before, after):
    take = np.stack([voice(1.0)] * before)
    result, notices = run(tmp_path, f"put(np.repeat(x[:, :1], {after}, axis=1))", take)
    assert np.array_equal(result, take)
    assert notices == (f"enhanced: {after} channels instead of {before}",)


# The command


def test_words_are_split_and_no_shell_is_run(tmp_path):
    assert split_command("a 'b c' --x={in} \"{out}\"") == ["a", "b c", "--x={in}", "{out}"]
    marker = tmp_path / "marker"
    script = tmp_path / "s.py"
    script.write_text(
        START + "import json\njson.dump(sys.argv[3:], open(sys.argv[3], 'w'))\nput(x)"
    )
    told = tmp_path / "told.json"
    extra = f"{told} ';' touch {marker} '$HOME' '*' '--pair={{in}}:{{out}}' '{{IN}}'"
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(script))} {{in}} {{out}} {extra}"
    enhance(voice(0.5)[None], RATE, Enhancer(command))
    words = json.loads(told.read_text())
    assert words[1:6] == [";", "touch", str(marker), "$HOME", "*"]
    assert words[7] == "{IN}"
    inside, outside = words[6].removeprefix("--pair=").split(":")
    assert Path(inside).is_absolute()
    assert Path(inside).parent == Path(outside).parent
    assert not Path(inside).parent.exists()
    assert not marker.exists()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("", r"no \{in\}"),
        ("denoise", r"no \{in\} behind the program's name"),
        ("denoise {in}", r"no \{out\} behind"),
        ("{in} {out}", r"no \{in\} behind"),
        ("denoise {out}", r"no \{in\} behind"),
        ("denoise '{in} {out}", "cannot be split into words"),
    ],
)
def test_commands_that_cannot_work(command, words):
    with pytest.raises(SettingsError, match=words):
        Enhancer(command)


# Failures


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "print('first', file=sys.stderr); print('no model\\n', file=sys.stderr); sys.exit(3)",
            "ended with exit code 3: no model",
        ),
        ("sys.stderr.write('10 %\\r20 %\\rdisk full'); sys.exit(1)", "exit code 1: disk full"),
        ("sys.exit(2)", "ended with exit code 2: it said nothing on stderr"),
        ("sys.stderr.buffer.write(b'\\xff' * 10**6); sys.exit(1)", "exit code 1: \ufffd"),
        ("os.kill(os.getpid(), 9)", "was ended by signal 9"),
        ("", "wrote nothing to {out}"),
        ("pathlib.Path(out).write_text('hello')", "what it wrote to {out} "),
        ("os.mkdir(out)", "what it wrote to {out} "),
        ("put(x * np.nan)", "what it wrote to {out} "),
        ("put(x[:0])", "what it wrote to {out} "),
        ("put(x, 8000)", "what it wrote to {out} "),
        ("put(0 * x)", "what it wrote to {out} is silent"),
        ("put(np.repeat(x, 3, axis=1))", "what it wrote to {out} "),
    ],
)
def test_what_a_program_may_do_wrong_is_one_line(tmp_path, body, words):
    if "kill" in body and os.name != "posix":
        pytest.skip("no signals here")
    line = failure(tmp_path, body)
    assert words in line
    assert len(line) < 700
    assert "diffconsole-" not in line  # the temporary folder, which is gone


def test_programs_that_are_not_there_or_cannot_be_run(tmp_path):
    take = voice(0.5)[None]
    with pytest.raises(EnhanceError, match="nowhere-to-be-found: no such program; install it"):
        enhance(take, RATE, Enhancer("nowhere-to-be-found {in} {out}"))
    with pytest.raises(EnhanceError, match="cannot be run"):
        enhance(take, RATE, Enhancer(f"{shlex.quote(str(tmp_path))} {{in}} {{out}}"))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # One that has ended and that nobody has asked for yet is not alive.
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return bool(state.stdout.strip()) and not state.stdout.startswith("Z")


SLEEPER = """
import subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path({pids!r}).write_text(f"{{os.getpid()}} {{child.pid}}")
time.sleep(60)
"""


def gone(pids: Path) -> bool:
    until = time.monotonic() + 5.0
    while any(alive(int(pid)) for pid in pids.read_text().split()):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.skipif(os.name != "posix", reason="groups of processes are POSIX's")
def test_a_slow_program_is_stopped_with_its_children(tmp_path):
    pids = tmp_path / "pids"
    command = program(tmp_path, SLEEPER.format(pids=str(pids)))
    with pytest.raises(EnhanceError, match="stopped after 1.5 s; give it more by"):
        enhance(voice(0.5)[None], RATE, Enhancer(command, 1.5))
    assert gone(pids)


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is a signal on POSIX")
def test_ctrl_c_stops_the_program_and_leaves_nothing(tmp_path):
    pids = tmp_path / "pids"
    take = write_take(tmp_path / "take.wav")
    model = write_model(tmp_path / "model")
    command = program(tmp_path, SLEEPER.format(pids=str(pids)))
    before = contents(tmp_path)

    def interrupt() -> None:
        until = time.monotonic() + 60.0
        while not (pids.exists() and pids.read_text()) and time.monotonic() < until:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    result = call("process", take, "--model", model, "--enhance", command)
    assert result.exit_code == 1
    assert result.stderr == "Error: stopped\n"
    assert gone(pids)
    pids.unlink()
    assert contents(tmp_path) == before


# The commands


@pytest.fixture
def quick_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    def stand_in(_views, path, *, force, **_others):
        with atomic_path(path, force=force) as temporary:
            temporary.write_bytes(b"a picture")

    monkeypatch.setattr("diffconsole.plots.plot_presets", stand_in)


def test_process_works_on_the_enhanced_take(tmp_path, quick_plot):
    """Hostile names, two files, a page that compares with the raw."""
    model = write_model(tmp_path / "model")
    names = ["-take 'one' \"two\" {in}.wav", "{out} second.wav"]
    takes = [write_take(tmp_path / name, seed=i) for i, name in enumerate(names)]
    command = program(tmp_path, "put(0.25 * x)")
    out, plain = tmp_path / "out", tmp_path / "plain"
    done("process", "-o", out, "--model", model, "--enhance", command, "--", *takes)
    for take in takes:
        quieter = tmp_path / "quieter.wav"
        soundfile.write(quieter, 0.25 * samples_of(take).T, RATE, subtype="FLOAT")
        done("process", quieter, "-o", plain, "--model", model, "--force")
        preset = Preset.read(out / f"{take.stem}.preset.json")
        assert preset.strip == Preset.read(plain / "quieter.preset.json").strip
        assert preset.provenance["enhanced_by"] == command
        assert preset.provenance["source"] == take.name
        assert np.array_equal(
            samples_of(out / f"{take.stem}.processed.wav"),
            samples_of(plain / "quieter.processed.wav"),
        )
        page = (out / f"{take.stem}.html").read_text()
        data = json.loads(page.split('id="page-data">', 1)[1].split("</script>", 1)[0])
        versions = [(v["kind"], v["name"]) for v in data["vocals"][0]["versions"]]
        assert versions[0] == ("raw", "Enhanced")
        assert versions[-1] == ("mix", "Raw")
        enhanced, raw = (data["vocals"][0]["versions"][i]["peak"] for i in (0, -1))
        assert raw == pytest.approx(4.0 * enhanced, rel=1e-3)
    assert "enhanced_by" not in Preset.read(plain / "quieter.preset.json").provenance


def test_predict_enhances_and_one_failure_does_not_stop_the_others(tmp_path):
    model = write_model(tmp_path / "model")
    takes = [write_take(tmp_path / f"{name}.wav", seed=i) for i, name in enumerate("ab")]
    command = program(tmp_path, "time.sleep(0)\nput(np.pad(0.5 * x, ((0, rate), (0, 0))))")
    result = done(
        "predict", takes[0], "-o", tmp_path / "a.json", "--model", model, "--enhance", command
    )
    assert "Note: enhanced: 1000 ms longer" in result.stderr
    assert Preset.read(tmp_path / "a.json").provenance["enhanced_by"] == command
    first = samples_of(takes[0])[0, 100]
    body = f"sys.exit('bad take') if x[100, 0] == np.float32({first!r}) else put(x)"
    run_both = ("predict", *takes, "-o", tmp_path / "out", "--model", model)
    result = call(*run_both, "--enhance", program(tmp_path, body), "--quiet")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {takes[0]}: ")
    assert result.stderr.endswith("ended with exit code 1: bad take\n")
    assert list(contents(tmp_path / "out")) == ["b.preset.json"]


def test_wrong_use(tmp_path):
    take = write_take(tmp_path / "take.wav")
    use = ("predict", take, "-o", tmp_path / "p.json")
    assert "no {out} behind" in refused(*use, "--enhance", "denoise {in}", code=2)
    assert "goes with --enhance" in refused(*use, "--enhance-timeout", "3", code=2)
    assert "--enhance-timeout" in refused(
        *use, "--enhance", "d {in} {out}", "--enhance-timeout", "0", code=2
    )
