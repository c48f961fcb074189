"""What all commands share: help, wrong use, one-line errors, streams."""

from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from diffconsole import __version__
from diffconsole.cli import main
from diffconsole.cli.common import Program, Report, command, describe, one_line
from diffconsole.errors import AudioError

from ..commands import PROGRAM, call, done, one_error, refused, run_program


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, member in group.commands.items():
        if isinstance(member, click.Group):
            yield from _commands(member, (*path, name))
        else:
            yield (*path, name)


COMMANDS = list(_commands(main))


def test_every_command_of_the_design_is_there():
    assert {" ".join(c) for c in COMMANDS} == {
        "process", "predict", "apply", "match", "finetune", "evaluate", "plot",
        "presets list",
        "presets show", "encoders list", "encoders info", "models info", "pretrain", "audition",
        "export", "import", "warmup",
    }  # fmt: skip
    shown = done("--help").stdout
    first_words = [line.split()[0] for line in shown.split("Commands:")[1].splitlines() if line]
    assert first_words[0] == "process"  # the main job first


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_of_every_command_shows_an_example_that_parses(path):
    shown = done(*path, "--help").stdout
    examples = re.split("Examples?:\n", shown)[1].strip().splitlines()
    for example in examples:
        words = example.split(" > ")[0].split()
        assert words[: 1 + len(path)] == ["diffconsole", *path]
        member = main
        for name in path:
            member = member.commands[name]
        member.make_context("x", words[1 + len(path) :])  # raises on what it does not know
    assert "--json" in shown
    assert "--quiet" in shown


def test_help_is_quick_and_loads_nothing_heavy():
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        finished = run_program("--help")
        seconds.append(time.perf_counter() - began)
        assert finished.returncode == 0
    assert min(seconds) < 1.0

    code = (
        "import sys, diffconsole.cli as cli\n"
        "try: cli.main(['process', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'torchaudio', 'matplotlib', 'numba', 'scipy', 'numpy', 'soundfile'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "[]"


def test_version():
    assert done("--version").stdout == f"diffconsole, version {__version__}\n"


def test_no_command_shows_the_help():
    result = call()
    assert result.exit_code == 2
    assert "Commands:" in result.output


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (("proces",), "process"),
        (("process",), "RAW..."),
        (("process", "x.wav", "--frce"), "--force"),
        (("apply", "x.wav", "rap"), "--output"),
        (("apply", "-x.wav", "rap", "-o", "y.wav"), "after --"),
        (("apply", "x.wav", "rap", "-o", "y.wav", "--bit-depth", "8"), "'16', '24', '32f'"),
        (("apply", "x.wav", "rap", "-o", "y.wav", "--amount", "1.6"), "1.5"),
        (("apply", "x.wav", "rap", "-o", "y.wav", "--amount", "nan"), "nan is not a finite"),
        (("apply", "x.wav", "rap", "-o", "y.wav", "--tail", "inf"), "--tail"),
        (("apply", "x.wav", "rap", "-o", "y.wav", "--seed", "-1"), "--seed"),
        (("apply", "x.wav", "rap", "-o", "y.wav", "--bypass", "eq,reverbb"), "'reverbb'"),
        (("finetune", "--raw", "a", "-o", "m"), "--mixed DIR, or --pairs CSV"),
        (("finetune", "--raw", "a", "--mixed", "b", "-o", "m", "--held-out", "nan"), "held-out"),
        (("evaluate",), "--pairs CSV"),
        (("match", "a.wav", "-o", "p.json"), "give RAW MIXED"),
        (("presets", "sow"), "show"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_use_is_one_line_and_exit_code_2(tmp_path, monkeypatch, args, word):
    monkeypatch.chdir(tmp_path)
    line = refused(*args, code=2)
    assert word in line
    assert line.endswith("--help')")
    assert list(tmp_path.iterdir()) == []


def _program(error: BaseException) -> click.Group:
    """A program whose one command raises this."""
    program = Program("diffconsole")

    @command("fail", "diffconsole fail")
    def fail(report: Report) -> None:
        """Fail."""
        raise error

    program.add_command(fail)
    return program


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (AudioError("a.wav: has 0 samples"), "a.wav: has 0 samples"),
        (AudioError("a\nb\x1b[31m.wav: is empty"), r"a\nb\x1b[31m.wav: is empty"),
        (AudioError("\udcff.wav: is empty"), r"\udcff.wav: is empty"),
        (OSError(errno.ENOSPC, "No space left on device", "x"), "x: No space left on device"),
        (MemoryError(), "not enough memory; try shorter files"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "not enough memory"),
        (KeyboardInterrupt(), "stopped"),
        (click.UsageError("give this or that"), "give this or that"),
    ],
    ids=repr,
)
def test_errors_are_one_line(error, line):
    result = click.testing.CliRunner().invoke(_program(error), ["fail"])
    assert result.exit_code == (2 if isinstance(error, click.UsageError) else 1)
    assert one_error(result.stderr).startswith(line)


def test_a_bug_shows_as_a_bug():
    result = click.testing.CliRunner().invoke(_program(ZeroDivisionError("bug")), ["fail"])
    assert isinstance(result.exception, ZeroDivisionError)
    assert describe(ZeroDivisionError()) is None


def test_words_of_people_stay_as_they_are():
    text = "Größe – naïve “Süß” 歌.wav: → −3 dB"
    assert one_line(text) == text


def test_a_reader_that_hangs_up_is_no_error():
    """As `diffconsole presets list | head -1` does."""
    with subprocess.Popen(
        [*PROGRAM, "presets", "show", "rap"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_behind_stdout_is_told():
    with open("/dev/full", "w") as full:
        finished = subprocess.run(
            [*PROGRAM, "encoders", "list"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert finished.returncode == 1
    assert one_error(finished.stderr) == "No space left on device"


def test_json_is_ascii_and_alone_on_stdout(tmp_path):
    finished = run_program("presets", "list", "--json")
    assert finished.returncode == 0
    assert finished.stderr == ""
    assert finished.stdout.isascii()
    assert "rap" in {row["key"] for row in json.loads(finished.stdout)["presets"]}
