"""Which files folders and patterns stand for, and where their results may go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from diffconsole.errors import OutputError, PairError, SettingsError
from diffconsole.jobs.many import Work
from diffconsole.jobs.many.pair_paths import find_pairs_below
from diffconsole.jobs.many.paths import PRESETS, find_inputs, is_many, parse_shard
from diffconsole.jobs.many.plan import outputs_at, plan_works

NAMES = (
    "b.wav", "a.flac", "a.processed.wav", ".hidden.wav", "notes.txt", "a.preset.json",
    "disc/z.WAV", "disc/deep/y.mp3", ".cache/x.wav", "out/w.wav",
)  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name in NAMES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def places(given, **options):
    return [str(found.place) for found in find_inputs(given, **options).inputs]


def test_a_folder_without_and_with_what_lies_below(tree):
    assert places([tree]) == ["a.flac", "b.wav"]
    deep = places([tree], recursive=True, output=tree / "out")
    assert deep == ["a.flac", "b.wav", "disc/z.WAV", "disc/deep/y.mp3"]
    # Results that lie beside their takes do not hide them.
    assert places([tree], output=tree) == ["a.flac", "b.wav"]
    assert places([tree], kind=PRESETS) == ["a.preset.json"]


def test_patterns_and_names_each_file_once(tree):
    assert places([tree / "*.wav"]) == ["b.wav"]
    assert places([tree / "**" / "*.[wW][aA]*"], output=tree / "out") == ["b.wav", "disc/z.WAV"]
    assert places([tree / "d*"], recursive=True) == ["disc/z.WAV", "disc/deep/y.mp3"]
    # What is named counts whatever it is called, also where it is missing or looks like a pattern.
    named = [tree / "a.processed.wav", tree / "gone.wav", tree / "b.wav", tree]
    assert places(named) == ["a.processed.wav", "gone.wav", "b.wav", "a.flac"]
    (tree / "x[1].wav").write_bytes(b"")
    assert places([tree / "x[1].wav"]) == ["x[1].wav"]
    assert not is_many([tree / "x[1].wav", tree / "gone.wav"])
    assert is_many([tree]) and is_many([tree / "*.wav"])


def test_nothing_there_is_an_error(tree):
    below = tree / "empty" / "one"
    below.mkdir(parents=True)
    for recursive in (False, True):
        with pytest.raises(SettingsError, match=r"is a folder; give one that has audio.*…\)$"):
            find_inputs([tree / "empty"], recursive=recursive)
    (below / "take.wav").write_bytes(b"")
    with pytest.raises(SettingsError, match="audio files in the folders below it alone; add --rec"):
        find_inputs([tree / "empty"])
    assert [entry.path for entry in find_inputs([tree / "empty"], recursive=True).inputs] == [
        below / "take.wav"
    ]
    with pytest.raises(SettingsError, match=r"\*\.aiff: no audio file matches"):
        find_inputs([tree / "*.aiff"])


@pytest.mark.skipif(os.name != "posix", reason="links and pipes of POSIX systems")
def test_links_and_pipes(tree, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "far.wav").write_bytes(b"")
    (tree / "disc" / "circle").symlink_to(tree)
    (tree / "disc" / "far").symlink_to(elsewhere)
    (tree / "linked.wav").symlink_to(elsewhere / "far.wav")
    (tree / "broken.wav").symlink_to(elsewhere / "gone.wav")
    os.mkfifo(tree / "pipe.wav")
    found = places([tree], recursive=True, output=tree / "out")
    # A link to a file is a file; one that leads nowhere is found, so that it is reported.
    assert found == [
        "a.flac", "b.wav", "broken.wav", "linked.wav", "disc/z.WAV", "disc/deep/y.mp3",
    ]  # fmt: skip
    assert "disc/far/far.wav" not in places([tree / "**" / "*.wav"])


def work(number: int, raw: Path, *outputs: Path) -> Work:
    return Work(
        number, str(raw), {"raw": str(raw)}, {f"o{i}": str(p) for i, p in enumerate(outputs)}
    )


def plan(works, out, **options):
    return plan_works(works, out, out, **{"force": False, "resume": False, **options})


def test_results_mirror_the_tree(tree, tmp_path):
    (found,) = (f for f in find_inputs([tree], recursive=True).inputs if f.path.name == "y.mp3")
    endings = {"preset": ".preset.json", "audio": ".processed.wav"}
    assert outputs_at(tmp_path / "o", found.path, found.place, endings) == {
        "preset": str(tmp_path / "o" / "disc" / "deep" / "y.preset.json"),
        "audio": str(tmp_path / "o" / "disc" / "deep" / "y.processed.wav"),
    }
    beside = outputs_at(None, found.path, found.place, endings)
    assert beside["preset"] == str(found.path.parent / "y.preset.json")


def test_what_is_refused_before_any_work(tree, tmp_path):
    out = tmp_path / "out"
    first, second = work(0, tree / "a.wav", out / "a.json"), work(1, tree / "a.mp3", out / "a.json")
    with pytest.raises(OutputError, match=r"a\.wav and .*a\.mp3 would both write"):
        plan([first, second], out)
    # The other one may be another machine's, and is refused all the same.
    with pytest.raises(OutputError, match="would both write"):
        plan([first, second], out, shard=(1, 2))
    with pytest.raises(OutputError, match="is an input and would be replaced"):
        plan_works([work(0, tree / "b.wav", tree / "b.wav")], tree, tree, force=True, resume=False)
    out.mkdir()
    (out / "a.json").write_text("somebody's")
    with pytest.raises(OutputError, match="exists already; add --resume .* or --force"):
        plan([first], out)
    with pytest.raises(OutputError, match="no earlier run of this command wrote it"):
        plan([first], out, resume=True)
    assert plan([first], out, force=True).works[0].replace


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX systems")
def test_no_result_leaves_its_folder(tree, tmp_path):
    out, outside = tmp_path / "out", tmp_path / "outside"
    out.mkdir()
    outside.mkdir()
    (out / "disc").symlink_to(outside)
    (out / "a.json").symlink_to(outside / "a.json")
    (outside / "a.json").write_text("")
    for target in (out / "disc" / "z.json", out / ".." / "z.json", out / "a.json"):
        with pytest.raises(OutputError, match="leads out of"):
            plan([work(0, tree / "b.wav", target)], out, force=True)


def test_shards_are_the_whole_list_once(tree, tmp_path):
    works = [work(i, tree / f"{i}.wav", tmp_path / "o" / f"{i}.json") for i in range(11)]
    parts = [plan(works, tmp_path / "o", shard=parse_shard(f"{i}/3")).works for i in (1, 2, 3)]
    assert sorted(w.number for part in parts for w in part) == list(range(11))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for wrong in ("0/3", "4/3", "1", "a/b", "-1/3", "1/0", "²/3"):
        with pytest.raises(SettingsError, match="give I/N"):
            parse_shard(wrong)


def test_pairs_in_trees(tmp_path):
    raw, mixed = tmp_path / "raw", tmp_path / "mixed"
    for path in ("raw/a.wav", "mixed/a_mix.wav", "raw/d/b.wav", "mixed/d/b.flac", "raw/e/c.wav",
                 "raw/d/alone.wav", "raw/out/r.wav", "mixed/out/r.wav"):  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    found, left_over = find_pairs_below(raw, mixed, (raw / "out",))
    assert [(str(place), pair.name) for place, pair in found] == [(".", "a"), ("d", "b")]
    assert len(left_over) == 2 and "alone.wav" in left_over[0] and "e: no folder" in left_over[1]
    with pytest.raises(PairError, match="not a folder"):
        find_pairs_below(tmp_path / "gone", mixed)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(PairError, match="partner"):
        find_pairs_below(raw, tmp_path / "nothing")
