"""What the repository's host reads agrees with the package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from diffconsole import Preset, __version__
from diffconsole.export import formats
from tests.docs.documents import COMMUNITY, PAGES, README, ROOT, blocks

INPUTS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}
FORMS = sorted(
    path for path in (COMMUNITY / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config"
)


def read(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_are_forms(path):
    form = read(path)
    assert form["name"]
    assert form["description"]
    names = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert len(names) == len(set(names))
    for field in form["body"]:
        assert field["type"] in INPUTS
        attributes = field["attributes"]
        assert attributes.get("label") or attributes.get("value")
        if field["type"] == "dropdown":
            options = attributes["options"]
            assert len(options) == len(set(options))
            # The host refuses a form with this answer: it offers it by itself.
            assert "None" not in options
    assert any(field.get("validations", {}).get("required") for field in form["body"])


def test_the_workflow_runs_everything_on_each_python_that_is_supported():
    job = read(COMMUNITY / "workflows" / "test.yml")["jobs"]["test"]
    classifiers = re.findall(
        r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text()
    )
    assert job["strategy"]["matrix"]["python"] == classifiers
    assert classifiers[0] == "3.10"
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_citation_and_changes_are_of_this_version():
    assert read(COMMUNITY / "CITATION.cff")["version"] == __version__
    changes = (PAGES / "changes.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)", changes, re.MULTILINE)[0] == __version__


def test_the_readme_is_short():
    assert len(README.read_text(encoding="utf-8").split()) < 900


def test_what_is_counted_in_words_is_counted_right():
    numbers = {"ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13}
    for path in (README, PAGES / "changes.md"):
        text = path.read_text(encoding="utf-8")
        (count,) = re.findall(r"(\w+) formats for other software", text)
        assert numbers[count] == len(formats())


def test_the_printed_preset_is_one():
    printed = blocks(PAGES / "preset-format.md", "json")
    assert printed
    for text in printed:
        preset = Preset.from_json(text)
        assert preset.settings()["compressor.ratio"] == 3.3
        assert "eq.low_pass" in preset.bypass()


def test_the_package_is_marked_as_typed():
    assert (ROOT / "diffconsole" / "py.typed").is_file()
    assert "Typing :: Typed" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_extras_that_are_named_exist():
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for path in (README, *PAGES.rglob("*.md"), *COMMUNITY.rglob("*.md")):
        for named in re.findall(
            r"(?:diffconsole|\.)\[([\w,]+)\]", path.read_text(encoding="utf-8")
        ):
            for extra in named.split(","):
                assert f"\n{extra} = [" in pyproject, f"{path.name}: {extra}"
