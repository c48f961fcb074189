"""Models on the Hugging Face Hub: data of known names and bounded sizes, never code.

A model's repository holds what a model's folder holds. Of a repository only these files are
downloaded, all of one commit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import ModelError
from ..files.results import MODEL_FILES

__all__ = ["download_model", "is_hub_id", "upload_model"]

LARGEST_BYTES = {
    "model.json": 1 << 20,
    "README.md": 1 << 20,
    "style_statistics.safetensors": 1 << 26,
}
LARGEST_OTHER_BYTES = 1 << 34
"""Of weights and of an encoder's own file."""

TIMEOUT_SECONDS = 20.0

FRONT_MATTER = """---
library_name: diffconsole
pipeline_tag: audio-to-audio
tags:
- vocals
- mixing
---

"""
"""What the Hub reads of a card."""


def is_hub_id(name: str) -> bool:
    """Return whether a text is an owner and a name, such as ``studio/warm-vocals``."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name, re.ASCII) is not None


def download_model(
    hub_id: str,
    revision: str | None = None,
    *,
    token: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> tuple[Path, str]:
    """Download the files of a model, as far as they are not in the cache.

    Parameters
    ----------
    hub_id : str
        ``owner/name``.
    revision : str, optional
        A commit, a branch or a tag; by default the newest commit of the main branch.
    token : str, optional
        By default the one that ``hf auth login`` kept.
    cache_dir : str or Path, optional
        By default the cache that all programs share which read from the Hub.
    local_files_only : bool
        Connect to nothing; use what the cache holds.

    Returns
    -------
    folder : Path
        In the cache.
    commit : str
        What was downloaded; as `revision` it gives the same files again.

    Raises
    ------
    ModelError
        There is no such model, it is of another kind or too large, the extra ``hub`` is not
        installed, or the Hub cannot be reached and the cache does not hold the model.
    """
    unreachable = ""
    with _hub_errors(hub_id):
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        api, commit = _api(token), None
        if not local_files_only:
            try:
                about = api.model_info(
                    hub_id, revision=revision, files_metadata=True, timeout=TIMEOUT_SECONDS
                )
            except _network_errors() as error:
                if _is_refusal(error):
                    raise
                unreachable = _short(error)
            else:
                _check_files(hub_id, {each.rfilename: each.size for each in about.siblings or ()})
                commit = about.sha
        try:
            place = snapshot_download(
                hub_id,
                revision=revision,
                allow_patterns=list(MODEL_FILES),
                cache_dir=cache_dir,
                token=token,
                library_name="diffconsole",
                library_version=__version__,
                local_files_only=local_files_only or bool(unreachable),
                endpoint=api.endpoint,
            )
        except LocalEntryNotFoundError:
            cause = "; leave local_files_only out to download it"
            if unreachable:
                cause = f", and the Hub cannot be reached ({unreachable}); connect once"
            raise ModelError(f"{hub_id}: is not in the cache{cause}") from None
    # By the name that was asked for, so that the cache knows it without a network.
    if commit not in (None, Path(place).name):
        raise ModelError(f"{hub_id}: was changed while it was downloaded; try again")
    return Path(place), Path(place).name


def upload_model(
    folder: Path,
    hub_id: str,
    *,
    private: bool,
    token: str | None = None,
    revision: str | None = None,
    message: str = "Upload a model of diffconsole",
    create_pr: bool = False,
) -> str:
    """Upload the files of a model's folder as one commit and return its name.

    Parameters
    ----------
    folder : Path
        What :meth:`diffconsole.Predictor.save` wrote.
    hub_id : str
        ``owner/name``; made if it does not exist.
    private : bool
        Who may read it, if it is made.
    token : str, optional
        By default the one that ``hf auth login`` kept.
    revision : str, optional
        The branch; by default the main branch.
    message : str
        Of the commit.
    create_pr : bool
        Propose the commit instead of making it.

    Raises
    ------
    ModelError
        As :func:`download_model`, or it may not be written.
    """
    if not is_hub_id(hub_id):
        raise ModelError(f"{hub_id}: give the owner and a name, such as studio/warm-vocals")
    with _hub_errors(hub_id):
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        api = _api(token)
        api.create_repo(hub_id, private=private, exist_ok=True)
        # What the model that was there had beside, this one may not have. One commit: weights of
        # one model and the JSON of another would make a third.
        former = set(api.list_repo_files(hub_id, revision=None if create_pr else revision))
        operations: list[Any] = [
            CommitOperationAdd(name, folder / name)
            if (folder / name).is_file()
            else CommitOperationDelete(name)
            for name in MODEL_FILES
            if (folder / name).is_file() or name in former
        ]
        commit = api.create_commit(
            hub_id,
            operations,
            commit_message=message,
            revision=revision,
            create_pr=create_pr,
        )
    return str(commit.oid)


def _check_files(hub_id: str, sizes: dict[str, int | None]) -> None:
    for name in ("model.json", "model.safetensors"):
        if name not in sizes:
            raise ModelError(
                f"{hub_id}: no model of diffconsole ({name} is missing); give one that "
                "push_to_hub uploaded"
            )
    for name in sizes.keys() & set(MODEL_FILES):
        size, most = sizes[name], LARGEST_BYTES.get(name, LARGEST_OTHER_BYTES)
        if size is None or size > most:
            found = "of unknown size" if size is None else f"of {size} bytes"
            raise ModelError(f"{hub_id}: no model of diffconsole ({name} {found}, at most {most})")


def _api(token: str | None) -> Any:
    from huggingface_hub import HfApi

    return HfApi(token=token, library_name="diffconsole", library_version=__version__)


def _network_errors() -> tuple[type[Exception], ...]:
    """What the library raises where it reaches nothing; its HTTP client differs by version."""
    from huggingface_hub import errors

    return (OSError, errors.HTTPError)


def _is_refusal(error: Exception) -> bool:
    """Return whether the Hub answered and refused; it may also be silent or out of order."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status is not None and 400 <= status < 500


def _short(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


@contextmanager
def _hub_errors(hub_id: str) -> Iterator[None]:
    """Turn the errors of the Hub's library into ours."""
    try:
        import huggingface_hub  # noqa: F401 - the extra
        from huggingface_hub import errors
    except ImportError:
        raise ModelError(
            f"{hub_id}: a model on the Hub needs the extra: pip install 'diffconsole[hub]'; for a "
            "model on disk, no folder has this name"
        ) from None
    try:
        yield
    except errors.GatedRepoError:
        raise ModelError(
            f"{hub_id}: its owner has to let you in; ask on its page, then run hf auth login"
        ) from None
    except errors.RevisionNotFoundError:
        raise ModelError(f"{hub_id}: has no such revision; give a commit, branch or tag") from None
    except errors.RepositoryNotFoundError:
        raise ModelError(
            f"{hub_id}: no such model on the Hub, or it is private; check the name, or run hf auth "
            "login"
        ) from None
    except errors.HFValidationError as error:
        raise ModelError(f"{hub_id}: no name of a model on the Hub ({_short(error)})") from None
    except _network_errors() as error:
        raise ModelError(f"{hub_id}: was not transferred ({_short(error)})") from None
