"""Files that would take an importer's time or memory: one line, soon, whatever they hold."""

from __future__ import annotations

import os
import struct
import threading
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from diffconsole import Preset
from diffconsole.errors import ExportError, PresetError
from diffconsole.export import export_preset, formats, import_preset
from diffconsole.export.lv2_read import _from_recipe
from diffconsole.strip.preset import find_preset

MANY = 900_000
TEXTS = {
    "spaces": " " * MANY,
    "letters": "a" * MANY,
    "digits": "1" * MANY,
    "a filter of spaces": "Filter" + " " * MANY,
    "a filter of digits": "Filter " + "1" * MANY,
    "a filter of values": "Filter 1: ON PK Fc 1" + " " * MANY + "x",
    "a level of spaces": "Preamp:" + " " * MANY,
    "quotes": '"\\' * (MANY // 2),
    "brackets": "[" * MANY,
    "a graph of letters": "aformat=sample_fmts=dblp," + "a" * MANY,
    "a graph of digits": "aformat=sample_fmts=dblp,aeval@pan=" + "1" * MANY,
    "words": "a " * (MANY // 2),
}
READABLE = [key for key, form in formats().items() if form.read is not None]


def write_text(key: str, folder: Path, content: bytes) -> Path:
    """The file that an importer reads, with other content."""
    form = formats()[key]
    if not form.is_folder:
        path = folder / f"a{form.ending}"
        path.write_bytes(content)
        return path
    export_preset(find_preset("rap").without(["reverb"]), key, folder / "a")
    endings = {"ffmpeg": "filter.txt", "lv2": "equalizer.ttl", "pedalboard": "*.py"}
    endings |= {"reaper": "*.RfxChain"}
    (path,) = (folder / "a").rglob(endings.get(key, "*.txt"))
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("key", [key for key in READABLE if key != "dawproject"])
@pytest.mark.parametrize("name", TEXTS)
def test_long_texts_take_no_time(key: str, name: str, tmp_path: Path) -> None:
    path = write_text(key, tmp_path, TEXTS[name].encode())
    start = time.process_time()
    try:
        import_preset(path, key)
        said = ""
    except ExportError as error:
        said = str(error)
    assert time.process_time() - start < 3.0
    assert "\n" not in said and len(said) < 1000


@pytest.mark.parametrize("text", ["a" * MANY, "a " + "1" * MANY + "x", "a 1" * (MANY // 3)])
def test_a_comment_of_a_reverb_takes_no_time(text: str) -> None:
    start = time.process_time()
    with pytest.raises(ExportError, match="rdfs:comment"):
        _from_recipe(text)
    assert time.process_time() - start < 3.0


def test_brackets_take_no_memory(tmp_path: Path) -> None:
    path = write_text("lv2", tmp_path, TEXTS["brackets"].encode())
    tracemalloc.start()
    try:
        with pytest.raises(ExportError, match="brackets"):
            import_preset(path, "lv2")
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()


def archive(path: Path, content: bytes = b"<Project/>", method: int = zipfile.ZIP_STORED) -> bytes:
    with zipfile.ZipFile(path, "w", method) as made:
        made.writestr("project.xml", content)
    return path.read_bytes()


def patched(data: bytes, *, flags: int | None = None, method: int | None = None) -> bytes:
    """Change a field of the only member, in its own header and in the table of contents."""
    made = bytearray(data)
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.index(magic) + at
        if flags is not None:
            made[place : place + 2] = struct.pack("<H", flags)
        if method is not None:
            made[place + 2 : place + 4] = struct.pack("<H", method)
    return bytes(made)


def damaged_archives(folder: Path) -> dict[str, bytes]:
    stored = archive(folder / "stored.zip")
    deflated = archive(folder / "deflated.zip", b"<Project/>" * 500, zipfile.ZIP_DEFLATED)
    packed = archive(folder / "lzma.zip", b"<Project/>" * 500, zipfile.ZIP_LZMA)
    broken = bytearray(packed)
    broken[60:80] = b"\xff" * 20
    wrong_sum = bytearray(stored)
    wrong_sum[stored.index(b"<Project/>") + 1] ^= 1
    torn = bytearray(deflated)
    torn[50:70] = bytes(20)
    end = stored.index(b"PK\x05\x06")
    table = bytearray(b"\0" * (40 << 20)) + stored[end:]
    table[-10:-6] = struct.pack("<I", 40 << 20)
    table[-6:-2] = struct.pack("<I", 0)
    return {
        "lzma": bytes(broken),
        "lzma cut": patched(stored, method=14),
        "bzip2": patched(stored, method=12),
        "deflate64": patched(stored, method=9),
        "unknown method": patched(stored, method=98),
        "encrypted": patched(stored, flags=1),
        "checksum": bytes(wrong_sum),
        "deflate": bytes(torn),
        "cut": stored[: len(stored) // 2],
        "table of contents": bytes(table),
        "empty": b"",
    }


@pytest.mark.parametrize("name", [
    "lzma", "lzma cut", "bzip2", "deflate64", "unknown method", "encrypted", "checksum", "deflate",
    "cut", "table of contents", "empty",
])  # fmt: skip
def test_damaged_archives_are_one_line(name: str, tmp_path: Path) -> None:
    content = damaged_archives(tmp_path)[name]
    path = tmp_path / "a.dawproject"
    path.write_bytes(content)
    for key in (None, "dawproject"):
        tracemalloc.start()
        try:
            with pytest.raises(ExportError) as error:
                import_preset(path, key)
            assert tracemalloc.get_traced_memory()[1] < 20 << 20
        finally:
            tracemalloc.stop()
        assert "\n" not in str(error.value) and str(error.value).startswith(str(path))


def test_an_archive_that_states_a_small_size_is_not_believed(tmp_path: Path) -> None:
    """What is unpacked is bounded, not what the archive says."""
    path = tmp_path / "a.dawproject"
    data = bytearray(archive(path, b" " * (60 << 20), zipfile.ZIP_DEFLATED))
    for magic, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = data.index(magic) + at
        data[place : place + 4] = struct.pack("<I", 100)
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(ExportError):
            import_preset(path)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_a_sparse_giant_is_one_line(tmp_path: Path) -> None:
    for size in (900 << 20, 3 << 30):
        path = tmp_path / f"{size}.dawproject"
        with open(path, "wb") as file:
            file.truncate(size)
        start = time.process_time()
        with pytest.raises(ExportError):
            import_preset(path)
        assert time.process_time() - start < 3.0


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero on this system")
@pytest.mark.parametrize("key", READABLE)
def test_devices_do_not_hang(key: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{formats()[key].ending}"
    path.symlink_to("/dev/zero")
    with pytest.raises(ExportError) as error:
        import_preset(path, key)
    assert "\n" not in str(error.value)
    with pytest.raises(PresetError, match="over 1 MB"):
        Preset.read(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
@pytest.mark.parametrize("key", READABLE)
def test_a_pipe_without_a_writer_does_not_hang(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffconsole.files.small_files.PATIENCE_SECONDS", 0.1)
    path = tmp_path / f"a{formats()[key].ending}"
    os.mkfifo(path)
    with pytest.raises(ExportError) as error:
        import_preset(path, key)
    assert str(error.value).startswith(str(path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_preset_comes_through_a_pipe(tmp_path: Path) -> None:
    """As from a shell's ``<(…)``, whose writer may take its time."""
    path = tmp_path / "preset.json"
    os.mkfifo(path)
    text = tmp_path / "real.json"
    find_preset("rap").write(text)

    def write() -> None:
        time.sleep(0.2)
        content = text.read_bytes()
        with open(path, "wb") as pipe:
            pipe.write(content[:100])
            pipe.flush()
            time.sleep(0.1)
            pipe.write(content[100:])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert Preset.read(path) == find_preset("rap")
    finally:
        writer.join()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
@pytest.mark.parametrize("key", [None, "easyeffects"])
def test_another_programs_preset_comes_through_a_pipe(tmp_path: Path, key: str | None) -> None:
    """What can be read once is read once, whichever formats are tried."""
    strip = find_preset("rap").without(["reverb", "pan"])
    export_preset(strip, "easyeffects", tmp_path / "file.json", channels=2)
    wanted, _ = import_preset(tmp_path / "file.json")
    content, path = (tmp_path / "file.json").read_bytes(), tmp_path / "pipe.json"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(content), daemon=True)
    writer.start()
    found, form = import_preset(path, key)
    writer.join(10)
    assert form == "easyeffects"
    assert found.settings() == wanted.settings()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_what_is_wrong_in_a_pipe_names_the_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe.json"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(b"{}"), daemon=True)
    writer.start()
    with pytest.raises(ExportError) as caught:
        import_preset(path, "easyeffects")
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).count(str(path.parent)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "aformat=sample_fmts=dblp,anull",
        "aformat=sample_fmts=dblp" + "a" * 1000,
        "aformat=sample_fmts=dblp,lowpass=f=300",
        "[0:a]aformat=sample_fmts=dblp[out]",
    ],
)
def test_a_graph_without_a_filter_of_ours_is_no_strip(tmp_path: Path, text: str) -> None:
    path = write_text("ffmpeg", tmp_path, text.encode())
    with pytest.raises(ExportError, match="holds no filter of a strip"):
        import_preset(path.parent, "ffmpeg")


def test_a_strip_that_does_nothing_comes_back_from_ffmpeg(tmp_path: Path) -> None:
    text = "aformat=sample_fmts=dblp:sample_rates=48000:channel_layouts=mono|stereo\n"
    path = write_text("ffmpeg", tmp_path, text.encode())
    preset, _ = import_preset(path.parent, "ffmpeg")
    assert not preset.bypass() or preset.settings()


def test_a_folder_is_searched_for_chains_to_a_bounded_depth(tmp_path: Path) -> None:
    export_preset(find_preset("rap").without(["reverb"]), "reaper", tmp_path / "a")
    (chain,) = (tmp_path / "a").rglob("*.RfxChain")
    import_preset(tmp_path / "a", "reaper")
    deep = tmp_path / "b" / "1" / "2" / "3" / "4" / "5"
    deep.mkdir(parents=True)
    chain.rename(deep / chain.name)
    with pytest.raises(ExportError, match="0 FX chains"):
        import_preset(tmp_path / "b", "reaper")
    assert import_preset(deep, "reaper")


def test_a_folder_of_very_many_files_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffconsole.export import reaper

    monkeypatch.setattr(reaper, "MOST_NAMES", 50)
    for number in range(60):
        (tmp_path / f"{number}.txt").touch()
    with pytest.raises(ExportError, match="over 50 files and folders"):
        import_preset(tmp_path, "reaper")
