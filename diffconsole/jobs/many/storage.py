"""Archives in a storage that fsspec reaches: S3, Google Cloud, Azure, SFTP and others.

A command plans with paths. For what lies in a storage it gets a folder of empty files that has the
storage's names (:class:`Places`); contents stay where they are. Where a work runs its inputs are
downloaded, it is done with local paths, and its results are uploaded, each whole or not at all.
"""

from __future__ import annotations

import re
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from ...errors import DiffconsoleError, OutputError, SettingsError
from .manifest import NAME
from .registry import NotLoaded, Runner, run_work
from .work import FAILED, KEPT, Outcome, Task, Work

__all__ = ["Places", "run_stored", "url_in"]

URL = re.compile(r"([a-z][a-z0-9+.\-]+):/(?:/)?(.*)", re.DOTALL)
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "memory"}
"""Where what is written appears when it is whole; elsewhere it is written beside and renamed."""

MOST_FILES = 5_000_000
LARGEST_FILE_BYTES = 1 << 34
LARGEST_SMALL_BYTES = 1 << 20
KEEP_SECONDS = 15.0
EXISTS = "exists already; add --resume to keep what is done, or --force to replace it"


def url_in(path: Path | str) -> str | None:
    """Return the URL that a path on the command line is, or None: it is an ordinary path.

    A path has lost one of the URL's slashes.

    Examples
    --------
    >>> url_in(Path("s3://bucket/voices"))
    's3://bucket/voices'
    >>> url_in(Path("voices/a.wav")) is None
    True
    """
    text = path if isinstance(path, str) else path.as_posix()
    match = URL.fullmatch(text)
    if match is None or (isinstance(path, Path) and path.exists()):
        return None
    protocol, rest = match[1], match[2]
    if protocol in ("file", "local"):
        return f"file:///{rest.lstrip('/')}"
    return f"{protocol}://{rest.lstrip('/')}"


class Places:
    """Folders of this machine that stand for folders of a storage while a command plans.

    Attributes
    ----------
    roots : dict of Path to str
        The URL that each folder stands for.
    """

    def __init__(self) -> None:
        self.roots: dict[Path, str] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._kept: dict[Path, int] = {}
        self._last = time.monotonic()

    def __enter__(self) -> Places:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def lay_out(self, url: str, *, recursive: bool, is_output: bool = False) -> Path:
        """Make the folder, or the file, that stands for a URL, with the names of what is there.

        Parameters
        ----------
        url : str
            Of a file, or of a folder.
        recursive : bool
            Whether the folders below count.
        is_output : bool
            Whether results go there; it need not exist, and its manifests are downloaded.

        Raises
        ------
        SettingsError
            Nothing is there, the storage cannot be reached or has more than five million files.
        """
        if "::" in url or any(mark in url for mark in "*?["):
            raise SettingsError(f"{url}: give a folder or a file; patterns are for local paths")
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="diffconsole-")
        place = Path(self._folder.name) / str(len(self.roots))
        place.mkdir()
        try:
            fs, root = _opened(url)
            if not is_output and fs.isfile(root):
                folder, _, name = root.rpartition("/")
                self.roots[place] = url.rpartition("/")[0]
                made = _inside(place, name)
                made.touch()
                if name.endswith(".json"):
                    _download(fs, root, made, LARGEST_SMALL_BYTES)
                return made
            self.roots[place] = url.rstrip("/")
            if not fs.exists(root):
                if is_output:
                    return place
                raise FileNotFoundError("nothing is there")
            found = fs.find(root, maxdepth=None if recursive or is_output else 1)
            if len(found) > MOST_FILES:
                raise SettingsError(f"{url}: more than {MOST_FILES} files; give a part of it")
            for path in found:
                name = path.removeprefix(f"{root}/")
                if name and name != path:
                    made = _inside(place, name)
                    made.parent.mkdir(parents=True, exist_ok=True)
                    made.touch()
                    if is_output and made.parent == place and made.name.startswith(NAME):
                        _download(fs, path, made, LARGEST_FILE_BYTES)
        except DiffconsoleError:
            raise
        except Exception as error:
            raise SettingsError(f"{url}: cannot be read ({_short(error)})") from None
        if is_output:
            self._kept = {path: path.stat().st_size for path in place.glob(f"{NAME}*")}
        return place

    def url_of(self, path: str) -> str:
        """Return the URL that a path stands for; an ordinary path as it is."""
        for root, url in self.roots.items():
            if Path(path).is_relative_to(root):
                rest = Path(path).relative_to(root).as_posix()
                return url if rest == "." else f"{url}/{rest}"
        return path

    def shown(self, text: str) -> str:
        """Return a message with the URLs instead of what stands for them."""
        for root, url in self.roots.items():
            text = text.replace(str(root), url)
        return text

    def stored(self, work: Work) -> Work:
        """Return a work with the URLs of its files."""
        if not self.roots:
            return work
        return replace(
            work,
            name=self.url_of(work.name),
            inputs={role: self.url_of(path) for role, path in work.inputs.items()},
            outputs={role: self.url_of(path) for role, path in work.outputs.items()},
        )

    def keep_manifest(self, *, now: bool = False) -> None:
        """Upload the manifests that have grown, at most every quarter of a minute."""
        if not self.roots or not (now or time.monotonic() - self._last > KEEP_SECONDS):
            return
        for root, url in self.roots.items():
            for path in root.glob(f"{NAME}*"):
                size = path.stat().st_size
                if self._kept.get(path) != size:
                    _upload(path, f"{url}/{path.name}", force=True)
                    self._kept[path] = size
        self._last = time.monotonic()


def run_stored(runner: Runner, task: Task, work: Work) -> Outcome:
    """Do one work as :func:`.registry.run_work`, its files of a storage by way of local ones."""
    remote = {
        path for path in (*work.inputs.values(), *work.outputs.values()) if url_in(path) is not None
    }
    if not remote:
        return run_work(runner, task, work)
    with tempfile.TemporaryDirectory(prefix="diffconsole-") as folder:
        local = {
            path: str(_inside(Path(folder) / str(number), path.rpartition("/")[2]))
            for number, path in enumerate(sorted(remote))
        }
        for path in local.values():
            Path(path).parent.mkdir()
        here = replace(
            work,
            inputs={role: local.get(path, path) for role, path in work.inputs.items()},
            outputs={role: local.get(path, path) for role, path in work.outputs.items()},
        )
        back = {path: url for url, path in local.items()}
        try:
            for path in work.inputs.values():
                if path in local:
                    _download(*_opened(path), Path(local[path]), LARGEST_FILE_BYTES)
            _fetch_results(work, local)
            outcome = run_work(runner, task, here)
            if outcome.state not in (KEPT, FAILED):
                for path in work.outputs.values():
                    if path in local:
                        _upload_all(Path(local[path]), path, force=work.replace)
        except NotLoaded:
            raise
        except Exception as error:
            line = _short(error)
            return Outcome.failed(
                work, line if line.startswith(work.name) else f"{work.name}: {line}"
            )
        return _renamed(outcome, work, back)


def _fetch_results(work: Work, local: Mapping[str, str]) -> None:
    """Download what an earlier run wrote, to be compared; refuse what is there without one."""
    for path in work.outputs.values():
        if path not in local:
            continue
        fs, name = _opened(path)
        if work.earlier is not None and fs.isfile(name):
            _download(fs, name, Path(local[path]), LARGEST_FILE_BYTES)
        elif not work.replace and fs.exists(name):
            raise OutputError(f"{path}: {EXISTS}")


def _renamed(outcome: Outcome, work: Work, back: Mapping[str, str]) -> Outcome:
    """Return an outcome that names the storage's files."""

    def named(value: Any) -> Any:
        if isinstance(value, str):
            for path, url in back.items():
                value = value.replace(path, url)
            return value
        if isinstance(value, Mapping):
            return {key: named(each) for key, each in value.items()}
        return [named(each) for each in value] if isinstance(value, (list, tuple)) else value

    return replace(
        outcome,
        name=work.name,
        failure=named(outcome.failure),
        notices=tuple(named(outcome.notices)),
        row=named(outcome.row),
        data=named(outcome.data),
        inputs=named(outcome.inputs),
        outputs=named(outcome.outputs),
    )


def _opened(url: str) -> tuple[Any, str]:
    """Return the file system of a URL and the path in it."""
    try:
        import fsspec
    except ImportError:
        raise SettingsError(
            f"{url}: needs the extra: pip install 'diffconsole[ray]', on each node"
        ) from None
    try:
        fs, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise SettingsError(f"{url}: {_short(error)}; on each node") from None
    except ValueError as error:
        raise SettingsError(f"{url}: no storage that is known ({_short(error)})") from None
    return fs, path.rstrip("/")


def _download(fs: Any, path: str, target: Path, largest_bytes: int) -> None:
    size = fs.size(path)
    if size is None or size > largest_bytes:
        raise SettingsError(f"{path}: has {size} bytes, more than {largest_bytes}")
    fs.get_file(path, str(target))


def _upload_all(source: Path, url: str, *, force: bool) -> None:
    """Upload a file, or a folder of files."""
    if not source.is_dir():
        if source.exists():
            _upload(source, url, force=force)
        return
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        _upload(path, f"{url}/{path.relative_to(source).as_posix()}", force=force)


def _upload(source: Path, url: str, *, force: bool) -> None:
    """Write a file to a storage, whole or not at all."""
    fs, path = _opened(url)
    if not force and fs.exists(path):
        raise OutputError(f"{url}: {EXISTS}")
    folder, _, name = path.rpartition("/")
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
    if protocols & OBJECT_STORES:
        fs.put_file(str(source), path)
        return
    if folder:
        fs.makedirs(folder, exist_ok=True)
    beside = f"{folder}/.diffconsole-{uuid.uuid4().hex}"
    try:
        fs.put_file(str(source), beside)
        if "file" in protocols:
            # The other systems' rename replaces a file; the local one's does not say that it does.
            Path(beside).replace(path)
        else:
            fs.mv(beside, path)
    except BaseException:
        if fs.exists(beside):
            fs.rm_file(beside)
        raise


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a name in a folder.

    Raises
    ------
    SettingsError
        The name leads out of it, or is none on this machine.
    """
    parts = PurePosixPath(name).parts
    wrong = not parts or name.startswith("/") or ".." in parts or "\0" in name or "\\" in name
    if wrong or any(len(part.encode()) > 255 for part in parts):
        raise SettingsError(f"{name[:80]!r}: no name for a file on this machine; leave it out")
    return folder.joinpath(*parts)


def _short(error: object) -> str:
    text = " ".join(str(error).split())
    return (text or type(error).__name__)[:300]
