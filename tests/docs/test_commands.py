"""Every command that is printed exists, with its options and their values."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from diffconsole.cli import main
from tests.docs.documents import ROOT, commands, documents, named


def parse(line: str) -> None:
    """Parse a line as the command line would; files need not be there."""
    words = shlex.split(line)[1:]
    command: click.Command = main
    context = click.Context(main, info_name="diffconsole")
    while isinstance(command, click.Group):
        if not words or words[0].startswith("-"):
            break
        name = words.pop(0)
        found = command.get_command(context, name)
        if found is None:
            raise click.UsageError(f"no command {name!r}")
        command, context = found, click.Context(found, info_name=name, parent=context)
    values, left, _ = command.make_parser(context).parse_args(list(words))
    if left:
        raise click.UsageError(f"left over: {left}")
    for parameter in command.get_params(context):
        value = values.get(parameter.name)
        if parameter.required and (value is None or parameter.value_is_missing(value)):
            raise click.MissingParameter(ctx=context, param=parameter)
        if value is None or isinstance(parameter.type, click.Path):
            continue
        for part in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(part, str):
                parameter.type.convert(part, parameter, context)


def printed() -> list[tuple[Path, str]]:
    lines = []
    for path in documents():
        lines += [(path, line) for line in commands(path, "sh", "bash", "text", "yaml")]
        text = path.read_text(encoding="utf-8")
        found = re.findall(r"^(?:torchrun|python)\b.* -m diffconsole (.*)$", text, re.MULTILINE)
        lines += [(path, f"diffconsole {words}") for words in found]
        # Commands in running text that are complete enough to be parsed.
        for words in re.findall(r"`(diffconsole [^`…]+)`", text):
            if not re.search(r"\b[A-Z]{3,}\b", words):
                lines.append((path, words))
    return lines


@pytest.mark.parametrize(
    ("path", "line"), [pytest.param(p, line, id=f"{named(p)}: {line}") for p, line in printed()]
)
def test_what_is_printed_parses(path, line):
    try:
        parse(line)
    except click.UsageError as error:
        # In running text a command is named without its arguments.
        named_only = f"`{line}`" in path.read_text(encoding="utf-8")
        if not (named_only and isinstance(error, click.MissingParameter)):
            pytest.fail(f"{line}: {error.format_message()}")


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("diffconsole proces take.wav", "proces"),
        ("diffconsole process take.wav --amout 1", "--amout"),
        ("diffconsole process take.wav --amount 9", "9"),
        ("diffconsole apply take.wav -o out.wav", "PRESET"),
        ("diffconsole predict take.wav", "output"),
        ("diffconsole apply take.wav rap -o out.wav --bit-depth 12", "12"),
        ("diffconsole models info studio/", "studio"),
    ],
)
def test_what_is_wrong_does_not_parse(line, wrong):
    with pytest.raises(click.UsageError) as caught:
        parse(line)
    assert wrong in caught.value.format_message()


def test_options_in_running_text_exist():
    known = {
        "--help",
        "--version",
        "--nproc-per-node",
        "--no-deps",
        "--index-url",
        "--strict",
        "--dist",
        # Those of Slurm.
        "--array",
        "--cpus-per-task",
        "--mem",
        "--requeue",
        # Of ray start.
        "--head",
        # torchrun's and Slurm's.
        "--nnodes",
        "--rdzv-backend",
        "--rdzv-endpoint",
        "--rdzv-id",
        "--nodes",
        "--ntasks-per-node",
        "--gpus-per-node",
        # That of the tool that writes shards.
        "--megabytes",
    }
    waiting: list[click.Command] = [main]
    while waiting:
        command = waiting.pop()
        waiting += command.commands.values() if isinstance(command, click.Group) else []
        for parameter in command.params:
            known.update(parameter.opts + parameter.secondary_opts)
    # Those of the benchmarks.
    for path in (ROOT / "tests" / "benchmarks").glob("*.py"):
        known.update(re.findall(r'"(--[a-z-]+)"', path.read_text(encoding="utf-8")))
    for path in documents():
        text = re.sub(r"\bdocker .*", "", path.read_text(encoding="utf-8"))
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text):
            assert option in known, f"{named(path)}: {option}"
