"""Voices in shards: what is read, what is refused, and examples by their number alone."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from diffconsole.errors import AudioError, ModelError, OutputError
from diffconsole.training.distributed import Workers
from diffconsole.training.pretraining import shards
from diffconsole.training.pretraining.examples import Schedule, Stream
from diffconsole.training.pretraining.material import load_material
from diffconsole.training.pretraining.pretrain import PretrainOptions, pretrain
from diffconsole.training.pretraining.pretrain_model import PretrainModel
from diffconsole.training.pretraining.shard_voices import (
    CLIP_SECONDS,
    WINDOW,
    ShardVoices,
    clip_spectrum_db,
    finished_target_db,
    sample_clips,
)
from diffconsole.training.pretraining.shards import ShardTable, read_table, shards_of
from diffconsole.training.pretraining.simulate import SAMPLE_RATE, _spectrum_db
from diffconsole.training.pretraining.strips import Strips
from diffconsole.training.pretraining.write_shards import main, write_shards

from ...synthetic import RATE, small_encoders, voice, write_people
from .short_examples import short_examples

PEOPLE = {f"p{i:02d}": i for i in range(10)}


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    """What is learnt is not looked at."""
    with pytest.MonkeyPatch.context() as patch:
        small_encoders(patch.setattr)
        short_examples(patch.setattr)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten speakers with two clips each, in shards of three clips or so."""
    base = tmp_path_factory.mktemp("data")
    voices = write_people(base / "voices", PEOPLE, 2.0)
    for name, seed in PEOPLE.items():
        soundfile.write(voices / name / "more.take.flac", voice(1.5, 100 + seed), RATE)
    write_shards(voices, base / "shards", 0.5)
    return base / "shards"


@pytest.fixture(scope="module")
def table(folder: Path) -> ShardTable:
    return read_table(shards_of(str(folder)) or [])


def streamed(table: ShardTable, streams: int = 2, fresh: int = 1) -> ShardVoices:
    places = table.clips_of(table.speakers)
    target = finished_target_db(sample_clips(table, places, 0, 4))
    return ShardVoices(table, places, 3, streams, fresh, target, ())


def tar(path: Path, members: Mapping[str, bytes]) -> str:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return str(path)


def wav(seconds: float = 1.2, seed: int = 1) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, voice(seconds, seed), RATE, format="WAV")
    return file.getvalue()


def test_what_is_written_is_read(folder: Path, table: ShardTable) -> None:
    assert table.speakers == sorted(PEOPLE)
    assert Counter(table.speaker.tolist()) == dict.fromkeys(range(10), 2)
    assert len(table.names) == len(list(folder.glob("*.tar"))) > 3
    assert table.speaker.tolist() != sorted(table.speaker.tolist()), "in a shuffled order"
    for place in range(4):
        with open(table.names[table.shard[place]], "rb") as file:
            file.seek(table.offset[place])
            content = file.read(table.size[place])
        name = table.speakers[table.speaker[place]]
        clips = {p.read_bytes() for p in (folder.parent / "voices" / name).iterdir()}
        assert content in clips


def test_the_same_voices_give_the_same_shards(folder: Path, tmp_path: Path) -> None:
    voices = folder.parent / "voices"
    again = write_shards(voices, tmp_path / "again", 0.5)
    assert [p.read_bytes() for p in again] == [p.read_bytes() for p in sorted(folder.iterdir())]
    other = write_shards(voices, tmp_path / "other", 0.5, seed=1)
    assert (
        read_table([str(p) for p in other]).digest() != read_table([str(p) for p in again]).digest()
    )
    with pytest.raises(OutputError, match="holds .tar files already"):
        write_shards(voices, tmp_path / "other")
    (tmp_path / "foreign" / "anna").mkdir(parents=True)
    (tmp_path / "foreign" / "anna" / "a.m4a").write_bytes(b"x")
    with pytest.raises(AudioError, match=r"a\.m4a: is of a kind that no shard holds"):
        write_shards(tmp_path / "foreign", tmp_path / "none")


def test_the_command(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["write_shards", str(folder.parent / "voices"), "-o", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", words)
    assert main() == 0
    assert capsys.readouterr().out.endswith("voices-000000.tar: 1 shard\n")
    assert main() == 1
    assert capsys.readouterr().err.count("Error:") == 1
    for size in ("0", "-1", "nan"):
        monkeypatch.setattr("sys.argv", [*words[:3], str(tmp_path / "none"), "--megabytes", size])
        assert main() == 1
        assert "above 0" in capsys.readouterr().err


def test_each_pass_has_every_clip_once(table: ShardTable) -> None:
    voices = streamed(table, streams=2)
    # Windows that follow each other without a gap: 16 clips are eight examples of a stream.
    seen: Counter[tuple[int, int]] = Counter()
    for stream in range(2):
        for turn in range(0, 40, 8):
            seen.update(voices.window(2 * turn + stream))
    counts = Counter(turn for _, turn in seen)
    whole = [turn for turn in counts if counts[turn] == len(table.size)]
    assert len(whole) >= 6
    assert max(seen.values()) == 1
    orders = [voices._order(turn).tolist() for turn in whole]
    assert len({tuple(order) for order in orders}) > 1
    assert all(sorted(order) == list(range(20)) for order in orders)


def test_an_example_depends_on_its_number_alone(table: ShardTable) -> None:
    """Whatever was made before, by whom, and by how many."""
    schedule, strips = Schedule(3, fresh=2, size=4), Strips.around_anchor()
    mel = PretrainModel(False).model.encoder.mel

    def made(turn: tuple[int, int], first: int, count: int) -> dict[int, Any]:
        stream = Stream(streamed(table, 2, 2), [], strips, mel, 3, first, schedule, turn)
        found: dict[int, Any] = {}
        for _, some in zip(range(count), iter(stream), strict=False):
            found.update(some)
        return found

    alone = made((0, 1), 0, 3)
    assert sorted(alone) == list(range(6))
    shared = made((0, 2), 0, 2) | made((1, 2), 0, 1)
    # The third step again, with what it uses of those before, as after an interruption.
    resumed = made((0, 1), 2, 1)
    assert set(resumed) > {4, 5}
    for other in (shared, resumed):
        for number, example in other.items():
            assert all(torch.equal(a, b) for a, b in zip(example, alone[number], strict=True))
    assert not torch.equal(alone[0][1], alone[1][1])


def test_spectrum_is_the_one_of_voices_in_folders() -> None:
    mono = voice(3.0, 5)
    assert np.abs(clip_spectrum_db(mono) - _spectrum_db(mono)).max() < 1e-3


def test_speakers_by_json_or_folder(tmp_path: Path) -> None:
    name = tar(tmp_path / "a.tar", {
        "x/1.wav": wav(), "x/1.json": json.dumps({"speaker": "zoë"}).encode(),
        "train/ben/2.v1.wav": wav(), "train/ben/2.v1.json": b"{}",
        "x/3.txt": b"no audio", "__meta__.json": b"?", "x/._4.wav": b"left behind",
    })  # fmt: skip
    found = read_table([name])
    assert [found.speakers[i] for i in found.speaker] == ["zoë", "ben"]


def hostile(path: Path, kind: str) -> None:
    content = {"anna/1.wav": wav()}
    if kind == "compressed":
        tar(path, content)
        path.write_bytes(gzip.compress(path.read_bytes()))
    elif kind == "truncated":
        tar(path, {**content, "anna/2.wav": wav()})
        path.write_bytes(path.read_bytes()[:150_000])
    elif kind in ("large header", "backwards"):
        member = tarfile.TarInfo("././@LongLink" if kind == "large header" else "anna/1.wav")
        member.type = tarfile.GNUTYPE_LONGNAME if kind == "large header" else tarfile.REGTYPE
        member.size = 1 << 40 if kind == "large header" else -1024
        path.write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    elif kind == "large member":
        member = tarfile.TarInfo("anna/1.wav")
        member.size = 1 << 40
        path.write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    elif kind == "no speaker":
        tar(path, {"1.wav": wav()})
    elif kind == "a name of control characters":
        tar(path, {"a\x1b[2J\n/1.wav": wav()})
    elif kind == "no json":
        tar(path, {**content, "anna/1.json": b"{"})
    elif kind == "nothing":
        tar(path, {"anna/1.txt": b""})
    elif kind == "link":
        with tarfile.open(path, "w") as archive:
            member = tarfile.TarInfo("anna/1.wav")
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(member)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("compressed", "not an uncompressed tar"),
        ("truncated", "not an uncompressed tar archive, or damaged"),
        ("large header", "a header is over 1 MB"),
        ("backwards", "not an uncompressed tar archive, or damaged"),
        ("large member", "MB, 128 are allowed|damaged"),
        ("no speaker", "names no speaker"),
        ("a name of control characters", "names no speaker"),
        ("no json", "is no JSON"),
        ("nothing", "no audio in the shards"),
        ("link", "no audio in the shards"),
        ("missing", "cannot be read"),
    ],
)
def test_refuses_in_one_line(tmp_path: Path, kind: str, words: str) -> None:
    hostile(tmp_path / "a.tar", kind)
    with pytest.raises(AudioError, match=words) as caught:
        read_table([str(tmp_path / "a.tar")])
    line = str(caught.value)
    assert line.startswith(str(tmp_path / "a.tar"))
    assert line.isprintable()


def test_clips_that_cannot_be_used_are_passed_over(tmp_path: Path) -> None:
    quiet = io.BytesIO()
    soundfile.write(quiet, np.zeros(2 * RATE), RATE, format="WAV")
    members = {"anna/1.wav": b"no audio", "ben/2.wav": wav(0.5), "carla/3.wav": quiet.getvalue()}
    bad = read_table([tar(tmp_path / "bad.tar", members)])
    with pytest.raises(AudioError, match=r"bad\.tar: 16 clips in turn are silent"):
        ShardVoices(bad, np.arange(3), 0, 1, 1, np.zeros(513), ()).at(0)
    with pytest.raises(AudioError, match="of 3 clips all are silent"):
        sample_clips(bad, np.arange(3), 0)
    long = tar(tmp_path / "more.tar", {**members, "dora/4.wav": wav(CLIP_SECONDS + 3.0)})
    some = read_table([long])
    found = ShardVoices(some, np.arange(4), 0, 1, 1, np.zeros(513), ()).at(0)
    assert set(found.clips) == {"dora"}
    assert 1 <= len(found.clips["dora"]) < WINDOW
    assert all(len(clip) == round(CLIP_SECONDS * SAMPLE_RATE) for clip in found.clips["dora"])


def test_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shards_of("v-{008..010}.tar") == ["v-008.tar", "v-009.tar", "v-010.tar"]
    assert shards_of("{a,b}-{1..2}.tar") == ["a-1.tar", "a-2.tar", "b-1.tar", "b-2.tar"]
    assert shards_of("s3://b/v-{0..1}.tar") == ["s3://b/v-0.tar", "s3://b/v-1.tar"]
    assert shards_of("one.tar") == ["one.tar"]
    (tmp_path / "anna").mkdir()
    assert shards_of(str(tmp_path)) is None
    for pattern in ("v-{5..2}.tar", "v-{0..999999999}.tar", "{0..9999}{0..9999}.tar"):
        with pytest.raises(AudioError, match="name 1 to 100000"):
            shards_of(pattern)
    with pytest.raises(AudioError, match="braces do not close"):
        shards_of("v-{0..1.tar")
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(AudioError, match="addresses need the package fsspec"):
        shards.open_shard("s3://b/v-0.tar")


def test_shards_in_a_store(folder: Path, table: ShardTable) -> None:
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    for path in sorted(folder.glob("*.tar")):
        store.pipe(f"/bucket/{path.name}", path.read_bytes())
    names = shards_of("memory://bucket/")
    assert names is not None and len(names) == len(table.names)
    there = read_table(names)
    assert there.digest() == table.digest()
    ours, theirs = streamed(table).at(5), streamed(there).at(5)
    assert ours.clips.keys() == theirs.clips.keys()
    for name, clips in ours.clips.items():
        assert all(np.array_equal(a, b) for a, b in zip(clips, theirs.clips[name], strict=True))
    with pytest.raises(AudioError, match=r"memory://none/x\.tar: cannot be opened"):
        read_table(["memory://none/x.tar"])
    with pytest.raises(AudioError, match="holds 0 .tar files"):
        shards_of("memory://none/")


def test_who_is_held_out_is_in_no_example(folder: Path) -> None:
    options = PretrainOptions(str(folder), held_out=("p01",), validation=("p02",))
    material = load_material(options)
    assert material.people == [p for p in PEOPLE if p not in ("p01", "p02")]
    assert set(material.strangers.clips) == {"p02"}
    assert set(material.known.clips) == set(material.people)
    assert isinstance(material.training, ShardVoices)
    drawn = {name for n in range(0, 60, 3) for name in material.training.at(n).clips}
    assert drawn == set(material.people)
    with pytest.raises(ModelError, match="no speaker 'dora' to hold out"):
        load_material(PretrainOptions(str(folder), held_out=("dora",)))
    with pytest.raises(AudioError, match="no speaker 'dora', whom the reference names"):
        load_material(PretrainOptions(str(folder), reference=("dora",)))


def test_processes_read_the_table_together(table: ShardTable) -> None:
    class Joined(Workers):
        def gather(self, value: Any) -> list[Any]:
            parts.append(value)
            return parts if len(parts) == 2 else [value]

    parts: list[Any] = []
    with pytest.raises(KeyError):
        read_table(table.names, Joined(0, 2))
    assert read_table(table.names, Joined(1, 2)).digest() == table.digest()


@pytest.mark.slow
def test_a_run_on_shards_resumes_and_ends(folder: Path, tmp_path: Path) -> None:
    options = PretrainOptions(
        str(folder),
        held_out=("p01",),
        batch=6,
        steps=3,
        style_strips=0,
        module_examples=0,
        streams=2,
    )

    def run(where: Path, stop: int = 0) -> list[float]:
        losses: list[float] = []

        def report(event: dict[str, Any]) -> None:
            losses.extend([event["loss"]] if "loss" in event else [])
            if losses and event["step"] == stop:
                raise KeyboardInterrupt

        pretrain(options, where, report=report, validation=2)
        return losses

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", 1)
    (tmp_path / "moved").mkdir()
    moved = write_shards(folder.parent / "voices", tmp_path / "moved" / "shards", 0.7)
    other = PretrainOptions(**{**vars(options), "voices": str(moved[0].parent)})
    with pytest.raises(ModelError, match="unfinished run with other data"):
        pretrain(other, tmp_path / "stopped", validation=2)
    assert run(tmp_path / "stopped") == pytest.approx(whole[1:], abs=1e-6)


def test_what_a_maker_cannot_read_ends_the_run_in_one_line(tmp_path: Path) -> None:
    """Clips that decode to nothing, found by the process that makes examples."""
    members = {f"anna/{n:02d}.wav": b"no audio" for n in range(40)}
    members |= {f"{name}/1.wav": wav() for name in ("ben", "carla")}
    options = PretrainOptions(
        tar(tmp_path / "a.tar", members), held_out=("ben",), batch=6, steps=40, streams=1
    )
    with pytest.raises(AudioError) as caught:
        pretrain(options, tmp_path / "model", validation=1)
    assert str(caught.value) == (
        f"{tmp_path / 'a.tar'}: 16 clips in turn are silent, under a second or cannot be decoded; "
        "write the shards again"
    )
