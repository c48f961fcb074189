"""The site builds strictly, and holds what is generated for it."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from diffconsole.docs.equations import forget_equations, hide_equations, show_equations
from diffconsole.docs.site import is_installed
from diffconsole.export import formats
from diffconsole.strip.parameters import PARAMETERS
from tests.docs.documents import ROOT, documents, named, pages

NEEDS_EXTRA = 'the extra "docs" is not installed (Python 3.11 and later): pip install -e ".[docs]"'


class Page(HTMLParser):
    """Links, pictures and anchors of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if found.get("id"):
            self.anchors.add(found["id"])
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        elif found.get("src") or (tag == "link" and found.get("href")):
            self.loads.append(found.get("src") or found["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if not is_installed():
        pytest.skip(NEEDS_EXTRA)
    folder = tmp_path_factory.mktemp("documentation") / "site"
    command = [sys.executable, "-m", "diffconsole.docs", "-o", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def built(site):
    return {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_every_page_is_built(site):
    for page in pages():
        made = named(page).removeprefix("diffconsole/docs/pages/").replace(".md", ".html")
        assert (site / made).is_file()


def test_links_lead_somewhere_and_nothing_is_loaded_from_a_network(site, built):
    for path, page in built.items():
        if path.name == "404.html":  # Its links are from the root of a server.
            continue
        assert not [load for load in page.loads if urlsplit(load).netloc], path
        for link in (*page.links, *page.loads):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            assert target.is_file(), f"{path.name}: {link}"
            if parts.fragment and target in built:
                anchors = built[target].anchors
                assert unquote(parts.fragment) in anchors or parts.fragment.startswith("__"), link


def test_each_parameter_stands_with_its_range(site):
    text = "".join(path.read_text(encoding="utf-8") for path in (site / "strip").glob("*.html"))
    for parameter in PARAMETERS:
        shown = f"{parameter.low:g} … {parameter.high:g}".replace("-", "−")
        shown = shown.replace(" ", "\N{NO-BREAK SPACE}")
        assert parameter.meaning in text
        assert shown in text


def test_each_format_stands_with_its_figures_and_losses(site):
    text = (site / "export-formats.html").read_text(encoding="utf-8")
    for form in formats().values():
        assert f'id="format-{form.key}"' in text
        for figure in form.figures:
            assert str(figure) in text


def test_pages_hold_equations_figures_and_functions(site):
    for name in ("gain", "equalizer", "compressor", "pan", "reverb"):
        text = (site / "strip" / f"{name}.html").read_text(encoding="utf-8")
        assert '<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">' in text
        assert f"figures/{name}.svg" in text
        assert (site / "figures" / f"{name}.svg").read_bytes().startswith(b"<?xml")
        assert "doc-signature" in text
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert "Generated when the site is built" not in text
        assert not re.search(r"latex(block|inline)[0-9a-f]", text)
        assert ":func:" not in text


def test_another_folder_is_not_replaced(tmp_path):
    if not is_installed():
        pytest.skip(NEEDS_EXTRA)
    (tmp_path / "song.wav").write_bytes(b"RIFF")
    command = [sys.executable, "-m", "diffconsole.docs", "-o", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "something else than a site" in done.stderr
    assert (tmp_path / "song.wav").exists()


def test_equations_become_mathml_outside_code():
    pytest.importorskip("latex2mathml", reason=NEEDS_EXTRA)
    source = "A gain $g$ of `$x$`:\n\n$$y = x \\cdot 10^{g/20}$$\n\n```sh\necho $HOME $PATH\n```\n"
    hidden = hide_equations(source)
    assert "`$x$`" in hidden
    assert "echo $HOME $PATH" in hidden
    assert "10^" not in hidden
    assert show_equations(hidden).count("<math") == 2
    assert "latex" not in forget_equations(hidden)


@pytest.mark.parametrize("path", documents(), ids=named)
def test_links_and_paths_in_the_sources_exist(path: Path):
    """On a page of the repository, without the site: files, and anchors of headings."""
    text = path.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        target = link.partition("#")[0]
        made = target.startswith(("../figures/", "pictures/")) or target.endswith(".schema.json")
        if target and "://" not in target and not made:
            assert (path.parent / target).exists(), link
    for link in re.findall(r"\]\((?:\.\./)?pictures/([^)\s]+)\)", prose):
        assert (ROOT / "examples" / "pictures" / link).is_file()
    for place in re.findall(r"`((?:diffconsole|tests|examples)/[\w./-]+)`", prose):
        assert (ROOT / place).exists(), place
