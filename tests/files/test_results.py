"""No command replaces what it reads, by whatever name, even with --force."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from diffconsole.encoders.base import ENCODER_FILE
from diffconsole.errors import OutputError
from diffconsole.files import atomic_path
from diffconsole.files.filesets import place_new
from diffconsole.files.results import MODEL_FILES, check_results, protect_inputs
from diffconsole.model.reference.style_statistics import STATISTICS_FILE

from ..cli.test_match import write_pair
from ..commands import (
    QUIETER,
    STRIP,
    contents,
    done,
    refused,
    write_model,
    write_preset,
    write_take,
)

READ = "is read by this command and would be replaced; choose another name"


@pytest.fixture
def take(tmp_path: Path) -> Path:
    return write_take(tmp_path / "take.wav", seconds=0.3)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def test_inputs_of_each_command(tmp_path, take, model):
    out = tmp_path / "out"
    out.mkdir()
    reference = write_take(out / "take.processed.wav", seed=3)
    preset = write_preset(tmp_path / "mine.json", STRIP)
    named = write_preset(tmp_path / "mine.csv", QUIETER)
    picture = write_take(tmp_path / "picture.wav", seconds=0.3).rename(tmp_path / "take.png")
    page = write_preset(tmp_path / "page.html", STRIP)
    enhancer = tmp_path / "denoise.preset.json"
    enhancer.write_text("#!/bin/sh\n")
    denoise = write_take(tmp_path / "denoise.wav", seconds=0.3)
    before = contents(tmp_path)
    commands = {
        ("process", take, "--reference", reference, "-o", out): reference,
        ("predict", take, "--reference", reference, "-o", reference): reference,
        ("predict", take, "--model", model, "-o", model / "model.json"): model / "model.json",
        ("process", denoise, "--enhance", f"{enhancer} {{in}} {{out}}"): enhancer,
        ("apply", take, preset, "-o", preset): preset,
        ("export", preset, "--to", "lsp", "-o", preset): None,
        ("export", named, "--to", "csv", "-o", named): named,
        ("import", named, "--from", "csv", "-o", named): named,
        ("plot", "rap", "--raw", picture, "-o", picture): picture,
        ("audition", take, page, "-o", page): page,
    }
    weights = contents(model)
    for command, path in commands.items():
        line = refused(*command, "--force")
        if path is not None:
            said = "is a raw take" if path == picture else "is read by this command"
            assert line.startswith(f"{path}: {said} and would be replaced"), command
    assert contents(tmp_path) == before
    assert contents(model) == weights


def test_lists_of_pairs_and_models_to_start_from(tmp_path, model):
    write_pair(tmp_path, seconds=1.0)
    out = tmp_path / "out"
    out.mkdir()
    table = out / "match.csv"
    table.write_text("raw,mixed\n../raw/song 0.wav,../mixed/song 0 mix.wav\n")
    given = ("--raw", tmp_path / "raw", "--mixed", tmp_path / "mixed")
    before = {**contents(tmp_path), **contents(model)}
    line = refused("match", "--pairs", table, "-o", out, "--force")
    assert line == f"{table}: {READ}"
    line = refused("finetune", *given, "--model", model, "-o", model, "--force")
    assert line.startswith(f"{model / 'model.json'}: is read by this command")
    pair = (tmp_path / "raw" / "song 0.wav", tmp_path / "mixed" / "song 0 mix.wav")
    line = refused("match", *pair, "-o", out / "x.png", "--report", out / "x.png")
    assert "is named for two results" in line
    assert {**contents(tmp_path), **contents(model)} == before


def test_a_readme_of_something_else_needs_force(tmp_path, model):
    write_pair(tmp_path, seconds=1.0)
    (tmp_path / "README.md").write_text("of the songs")
    given = ("--raw", tmp_path / "raw", "--mixed", tmp_path / "mixed")
    line = refused("finetune", *given, "--model", model, "-o", tmp_path)
    assert line.startswith(f"{tmp_path / 'README.md'}: exists already")
    assert (tmp_path / "README.md").read_text() == "of the songs"


@pytest.mark.skipif(os.name != "posix", reason="links as on POSIX systems")
@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_links_to_inputs(tmp_path, link):
    mine = tmp_path / "mine.json"
    mine.write_text("{}")
    link(mine, tmp_path / "other.json")
    with pytest.raises(OutputError, match="other.json: is read by this command"):
        check_results([tmp_path / "other.json"], [], True, inputs=[mine])
    with pytest.raises(OutputError, match="other.json: is a raw take"):
        check_results([tmp_path / "other.json"], [mine], True)


def test_files_in_a_folder_that_is_read(tmp_path):
    (tmp_path / "lv2" / "deep").mkdir(parents=True)
    (tmp_path / "lv2" / "deep" / "a.ttl").write_text("x")
    with pytest.raises(OutputError, match="a.ttl: is read"):
        protect_inputs([tmp_path / "lv2" / "deep" / "a.ttl"], [tmp_path / "lv2"], "is read")
    protect_inputs([tmp_path / "lv2" / "new.json"], [tmp_path / "lv2"], "is read")


def test_every_file_of_a_model_is_known():
    assert {ENCODER_FILE, STATISTICS_FILE} <= set(MODEL_FILES)


def test_other_outputs_are_still_replaced(tmp_path, take):
    preset = write_preset(tmp_path / "p.json", QUIETER)
    done("apply", take, preset, "-o", tmp_path / "x.wav")
    done("apply", take, preset, "-o", tmp_path / "x.wav", "--force")


# A file that appears at the last moment


@pytest.mark.parametrize("missing", ["", "links", "links and exclusive renames"])
def test_a_file_that_appears_between_check_and_rename_survives(tmp_path, monkeypatch, missing):
    """Also where the file system has no links, as FAT, and no renames that refuse to replace."""
    if missing:

        def refuse(*_args, **_kwargs):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    if missing == "links and exclusive renames":
        monkeypatch.setattr("diffconsole.files.filesets._renameat2", lambda: None)
    for exists in (False, True):
        temporary, target = tmp_path / "new", tmp_path / f"target {exists}"
        temporary.write_text("mine")
        if exists:
            target.write_text("theirs")
            with pytest.raises(FileExistsError):
                place_new(temporary, target)
            assert target.read_text() == "theirs"
            assert temporary.exists()
        else:
            place_new(temporary, target)
            assert target.read_text() == "mine"
            assert not temporary.exists()


@pytest.mark.skipif(os.name != "posix", reason="Windows renames never replace")
def test_nothing_comes_between_the_last_look_and_the_name(tmp_path, monkeypatch):
    """Somebody writes the file just when no check can follow."""
    target = tmp_path / "out.json"
    plain = os.link

    def late(source, destination, **others):
        Path(destination).write_text("theirs")
        plain(source, destination, **others)

    def late_replace(source, destination):
        pytest.fail("replaces whatever is there")

    monkeypatch.setattr(os, "link", late)
    monkeypatch.setattr(os, "replace", late_replace)
    with (
        pytest.raises(OutputError, match="exists already; add --force"),
        atomic_path(target) as temporary,
    ):
        temporary.write_text("mine")
    assert target.read_text() == "theirs"
    assert os.listdir(tmp_path) == ["out.json"]
