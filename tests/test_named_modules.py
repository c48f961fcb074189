"""Every file that names a module of the strip outside its folder has a reason, and no other has."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.named_modules import REASONS, named_modules, problems


def test_whoever_names_a_module_has_a_reason():
    assert problems() == []


def test_the_command_lists_every_place_with_the_reason_of_its_file():
    done = subprocess.run(
        [sys.executable, "-m", "tests.named_modules", "--places"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for file, reason in REASONS.items():
        assert any(
            line.startswith(f"{file} (") and line.endswith(f": {reason}")
            for line in done.stdout.splitlines()
        ), file
    assert f"{len(named_modules())} places in {len(REASONS)} files" in done.stdout


@pytest.mark.parametrize(
    ("file", "text", "names"),
    [
        ("a.py", 'x = "compressor"', ["'compressor'"]),
        ("a.py", "x = 'eq.peak_1.q'", ["'eq.peak_1.q'"]),
        ("a.py", 'x = band == "low_shelf"', ["'low_shelf'"]),
        ("a.py", 'x = f"eq.{band}.q"', ["'eq.'"]),
        ("a.py", "from ..modules.reverb.process import x", ["import from modules.reverb.process"]),
        ("a.py", "from ..modules import reverb", ["import from modules"]),
        ("a.py", "import diffconsole.modules.reverb", ["import of diffconsole.modules.reverb"]),
        ("a.py", "from .parameters import EQ_BANDS", ["import of EQ_BANDS"]),
        ("a.py", '"""The compressor."""\nx = "a compressor of dynamics"  # "eq"', []),
        ("a.py", 'def f():\n    """eq"""\nx = "equal.ly"', []),
        ("a.js", 'run("pan"); strip.reverb.wet', ['"pan"', ".reverb"]),
        ("a.js", "const key = `eq.${band}.q`;", ["`eq.${band}.q`"]),
        ("a.js", 'import { x } from "../equalizer.js";', ["/equalizer.js"]),
        ("a.js", '// "eq" and strip.reverb\n/* "pan" */ x = "a pan of y" + span.panels', []),
        ("a.html", '<div data-module="eq"><!-- "pan" --></div>', ['"eq"']),
        ("a.jsfx", "slider1:0<0,1>Reverb\n// compressor", ["Reverb"]),
        ("modules/eq/a.py", 'x = "eq"', []),
        ("docs/a.py", 'x = "eq"', []),
        ("a.txt", '"eq"', []),
    ],
)
def test_what_counts_as_naming_one(tmp_path, file, text, names):
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    assert [place.name for place in named_modules(tmp_path)] == names
    wrong = [f"{file}: names a module without a reason in named_modules.py"] if names else []
    assert problems(tmp_path, {}) == wrong


def test_a_reason_that_is_needed_no_longer_is_found(tmp_path):
    (tmp_path / "a.py").write_text("x = 1", encoding="utf-8")
    assert problems(tmp_path, {"a.py": "as an example"}) == [
        "a.py: names no module; remove its reason from named_modules.py"
    ]


def test_lines_are_counted_past_comments(tmp_path):
    (tmp_path / "a.js").write_text('/* one\ntwo */\n// three\nx = "eq";', encoding="utf-8")
    assert [place.line for place in named_modules(tmp_path)] == [4]
