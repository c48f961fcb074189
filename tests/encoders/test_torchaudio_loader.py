"""torchaudio loads, also where its compiled extension does not."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from diffconsole.encoders.torchaudio_loader import load_torchaudio

# A package as PyPI's: the extension needs libraries that are not there, and the rest asks it.
FAKE = {
    "__init__.py": "from torchaudio import _extension, functional, transforms\n",
    "_extension/__init__.py": "raise OSError('libcudart.so.13: cannot open shared object file')\n",
    "transforms/__init__.py": "MelSpectrogram = 'mel'\n",
    "functional/__init__.py": """
        from torchaudio._extension import _IS_ALIGN_AVAILABLE, fail_if_no_align

        @fail_if_no_align
        def forced_align():
            return _IS_ALIGN_AVAILABLE
    """,
}


def write_fake(folder: Path, **changed: str) -> Path:
    for name, text in {**FAKE, **changed}.items():
        path = folder / "torchaudio" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return folder


def run(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that finds `folder` first."""
    start = f"import sys; sys.path.insert(0, {str(folder)!r})\n"
    command = [sys.executable, "-c", start + textwrap.dedent(code)]
    root = Path(__file__).parents[2]
    return subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)


def test_the_installed_one_works() -> None:
    torchaudio = load_torchaudio()
    assert load_torchaudio() is torchaudio
    # Resampling keeps a sine's level and halves its samples.
    sine = torch.sin(2 * torch.pi * 1000.0 / 48000.0 * torch.arange(48000))
    half = torchaudio.functional.resample(sine, 48000, 24000)
    assert len(half) == 24000
    assert float(half[2000:-2000].square().mean()) == pytest.approx(0.5, rel=1e-3)
    bank = torchaudio.functional.melscale_fbanks(513, 20.0, 8000.0, 40, 16000)
    assert bank.shape == (513, 40)
    assert torchaudio.transforms.MelSpectrogram and torchaudio.models and torchaudio.pipelines


def test_an_extension_that_does_not_load_is_stood_in_for(tmp_path: Path) -> None:
    done = run(
        write_fake(tmp_path),
        """
        from diffconsole.encoders.torchaudio_loader import load_torchaudio
        torchaudio = load_torchaudio()
        assert torchaudio is sys.modules["torchaudio"] is load_torchaudio()
        assert torchaudio.transforms.MelSpectrogram == "mel"
        assert torchaudio.functional.forced_align() is False
        import torchaudio.transforms as transforms
        print(transforms.MelSpectrogram)
        """,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "mel\n"


def test_an_extension_that_loads_is_used(tmp_path: Path) -> None:
    working = "_IS_ALIGN_AVAILABLE = True\ndef fail_if_no_align(f):\n    return f\n"
    done = run(
        write_fake(tmp_path, **{"_extension/__init__.py": working}),
        """
        from diffconsole.encoders.torchaudio_loader import load_torchaudio
        print(load_torchaudio().functional.forced_align())
        """,
    )
    assert done.stdout == "True\n", done.stderr


def test_another_error_is_not_hidden(tmp_path: Path) -> None:
    done = run(
        write_fake(tmp_path, **{"functional/__init__.py": "raise RuntimeError('too old')\n"}),
        """
        from diffconsole.encoders.torchaudio_loader import load_torchaudio
        load_torchaudio()
        """,
    )
    assert done.returncode == 1
    assert "RuntimeError: too old" in done.stderr


def test_importing_the_package_does_not_load_it() -> None:
    done = run(
        Path(__file__).parent,
        """
        import diffconsole, diffconsole.encoders.torchaudio_loader
        print([n for n in ("torch", "torchaudio", "scipy", "matplotlib") if n in sys.modules])
        """,
    )
    assert done.stdout == "[]\n", done.stderr
