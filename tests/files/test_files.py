"""Outputs are written whole or not at all."""

import errno
import os
import stat
from pathlib import Path

import pytest

from diffconsole.errors import OutputError
from diffconsole.files import atomic_path, check_folder, check_output, results_folder

from ..commands import contents


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_file_appears_only_at_the_end(tmp_path):
    target = tmp_path / "out.wav"
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"half")
        assert not target.exists()
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".wav"
        assert temporary.name.startswith(".")
        temporary.write_bytes(b"whole")
    assert target.read_bytes() == b"whole"
    assert _names(tmp_path) == ["out.wav"]


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()])
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "out.json"
    target.write_text("old")
    with pytest.raises(type(error)), atomic_path(target, force=True) as temporary:
        temporary.write_text("new, half")
        raise error
    assert target.read_text() == "old"
    assert _names(tmp_path) == ["out.json"]


def test_force_replaces(tmp_path):
    target = tmp_path / "out.json"
    target.write_text("old")
    with atomic_path(target, force=True) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"


def test_existing_target_needs_force(tmp_path):
    target = tmp_path / "out.json"
    target.write_text("old")
    with pytest.raises(OutputError, match=r"out\.json: exists already; add --force"):
        check_output(target)
    with (
        pytest.raises(OutputError, match=r"out\.json: exists already; add --force"),
        atomic_path(target),
    ):
        pytest.fail("the block must not start")
    assert target.read_text() == "old"


def test_target_that_appears_meanwhile_is_kept(tmp_path):
    target = tmp_path / "out.json"
    with (
        pytest.raises(OutputError, match="exists already"),
        atomic_path(target) as temporary,
    ):
        temporary.write_text("mine")
        target.write_text("theirs")
    assert target.read_text() == "theirs"
    assert _names(tmp_path) == ["out.json"]


def test_missing_folder(tmp_path):
    with pytest.raises(OutputError, match=r"the folder .*absent does not exist; create it first"):
        check_output(tmp_path / "absent" / "out.wav")


def test_folder_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file is not a folder"):
        check_output(tmp_path / "file" / "out.wav")
    with pytest.raises(OutputError, match="inner is not a folder"):
        check_output(tmp_path / "file" / "inner" / "out.wav")


@pytest.mark.parametrize("force", [False, True])
def test_target_is_a_folder(tmp_path, force):
    with pytest.raises(OutputError, match="is a folder; give the name of a file"):
        check_output(tmp_path, force=force)


@pytest.mark.skipif(os.name != "posix", reason="devices are files on POSIX only")
def test_devices_are_never_replaced():
    with pytest.raises(OutputError, match="/dev/null: is not an ordinary file"):
        check_output("/dev/null", force=True)


def test_name_too_long(tmp_path):
    with pytest.raises(OutputError, match="cannot be written.*choose another name"):
        check_output(tmp_path / ("x" * 300 + ".wav"))


def test_longest_name_fits(tmp_path):
    target = tmp_path / ("x" * 251 + ".wav")
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
    assert target.read_text() == "whole"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EFBIG, "the file grows larger than the system allows"),
    ],
)
def test_no_room(tmp_path, number, words):
    target = tmp_path / "out.wav"
    target.write_text("old")
    with pytest.raises(OutputError) as caught, atomic_path(target, force=True) as temporary:
        temporary.write_bytes(b"half")
        raise OSError(number, os.strerror(number))
    assert str(caught.value).startswith(f"{target}: {words}")
    assert "\n" not in str(caught.value)
    assert target.read_text() == "old"
    assert _names(tmp_path) == ["out.wav"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_folder_without_permission(tmp_path, monkeypatch, number):
    """As the system refuses it: the superuser may write anywhere, so it cannot be set up."""

    def refuse(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with (
        pytest.raises(OutputError, match="out.wav: no permission to write there"),
        atomic_path(tmp_path / "out.wav"),
    ):
        pytest.fail("the block must not start")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere"
)
def test_read_only_folder(tmp_path):
    tmp_path.chmod(0o555)
    try:
        with (
            pytest.raises(OutputError, match="no permission to write there"),
            atomic_path(tmp_path / "out.wav"),
        ):
            pytest.fail("the block must not start")
    finally:
        tmp_path.chmod(0o755)


def test_error_about_another_file_passes(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "out.wav"):
        (tmp_path / "input.wav").read_bytes()
    assert _names(tmp_path) == []


def test_vanished_temporary_file_is_told(tmp_path):
    with (
        pytest.raises(OutputError, match="out.wav: cannot be written"),
        atomic_path(tmp_path / "out.wav") as temporary,
    ):
        temporary.unlink()


@pytest.mark.skipif(os.name != "posix", reason="permissions and links as on POSIX")
def test_permissions_and_links(tmp_path):
    """A new file gets the umask's permissions, a replaced one keeps its own; a link stays one."""
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    before = os.umask(0o027)
    try:
        with atomic_path(real) as temporary:
            temporary.write_text("one")
    finally:
        os.umask(before)
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    real.chmod(0o604)
    link.symlink_to(real)
    with atomic_path(link, force=True) as temporary:
        temporary.write_text("two")
    assert link.is_symlink()
    assert real.read_text() == "two"
    assert stat.S_IMODE(real.stat().st_mode) == 0o604


def test_plain_name_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with atomic_path("out.txt") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "out.txt").read_text() == "whole"


def test_a_folder_left_empty_goes_again(tmp_path):
    deep = tmp_path / "a" / "b"
    with results_folder(deep):
        assert deep.is_dir()
    assert contents(tmp_path) == {}
    with pytest.raises(KeyboardInterrupt), results_folder(deep):
        raise KeyboardInterrupt
    assert contents(tmp_path) == {}
    with results_folder(deep):
        (deep / "result").write_text("x")
    assert (deep / "result").is_file()
    deep.joinpath("result").unlink()
    with results_folder(deep):  # it was there before: it stays
        pass
    assert deep.is_dir()
    with results_folder(None):
        pass


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match=r"file: is a file; results need a folder"):
        check_folder(tmp_path / "file")
    with pytest.raises(OutputError, match=r"deep: .*file is a file"):
        check_folder(tmp_path / "file" / "deep")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError), results_folder(tmp_path / "link"):
        pytest.fail("a link to nothing is no folder")
    check_folder(tmp_path / "new" / "one")
    assert not (tmp_path / "new").exists()
