"""Which files of the package name a module of the strip, or a band of one, and why.

``python -m tests.named_modules`` lists them with their reasons, ``--places`` with every line. A new
module needs no entry anywhere: what is named here is special treatment that others fall through.
Left out are the modules' own folders, the documentation and the factory presets.

A place is a text that is a key (``"compressor"``, ``"eq.peak_1.q"``, ``"peak_1"``) or begins with
one (``f"eq.{band}"``), an import from a module's folder, an import of ``EQ_BANDS``; in JavaScript
and HTML a text, or a property of that name (``strip.reverb``). Docstrings and comments are none.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import diffconsole
from diffconsole.strip.parameters import BY_KEY, CHAIN, MODULES, SWITCHES

__all__ = ["REASONS", "Place", "named_modules", "problems"]

PACKAGE = Path(diffconsole.__file__).parent
LEFT_OUT = ("modules", "docs", "factory")
BANDS = {band for module in CHAIN for band in module.bands}
NAMES = {*MODULES, *SWITCHES, *BY_KEY, *BANDS}
FOLDERS = {
    module.implementation.split(".")[2]
    for module in CHAIN
    if module.implementation.startswith("diffconsole.modules.")
}
BEGINS = re.compile(rf"({'|'.join(sorted(map(re.escape, MODULES)))})\.[a-z0-9_.]*")
BANDS_OF = re.compile(rf"({'|'.join(key.upper() for key in MODULES)})_BANDS")

REASONS: dict[str, str] = {
    "audition/console.js":
        "the twins of the built-in modules, in the order that the worklet runs them",
    "audition/loudness.js": "the filters of the loudness meter are cookbook sections",
    "audition/offline.js": "'pan' is a place in the signal flow",
    "audition/ui/curves.js": "drawings of the compressors and the reverb",
    "audition/ui/eq_panel.js": "the EQ's curve, whose bands are dragged",
    "audition/ui/panels.js": "panels with a drawing of their own: EQ, compressors, reverb",
    "cli/match.py": "the time of a delay is reported as a note value",
    "console/__init__.py": "exports the modules' functions to users",
    "console/flow.py":
        "the gain that is added where no pass takes it along; 'pan' is a place",
    "console/streams.py":
        "names the modules whose input and output the plots of a recording show",
    "encoders/program.py": "'eq' is an operator of exported networks, not the module",
    "export/base.py":
        "shortcuts for writers: the EQ's bands, the two gains, the reverb's response",
    "export/dawproject.py": "which responses lie in the file; where the gains stand",
    "export/dawproject_map.py": "what the format calls our settings",
    "export/dawproject_read.py": "a band's kind and the gate's hold, where the format has none",
    "export/easyeffects.py": "what EasyEffects calls our settings",
    "export/easyeffects_read.py": "what EasyEffects calls our settings",
    "export/effect.py": "the file of the reverb's response; how the pan's slider is labelled",
    "export/equalizerapo.py": "what Equalizer APO calls our EQ; what it leaves out",
    "export/ffmpeg.py": "the response of the sends lies in a file of its own",
    "export/ffmpeg_graph.py": "which filters of ffmpeg hold our settings",
    "export/ffmpeg_saturation.py": "the saturation's branches in ffmpeg's graph",
    "export/fit.py": "fits filters of other equalizers to the EQ's bands",
    "export/ir.py": "writes the reverb's response, and nothing else",
    "export/gate_hold.py": "what stands for the gate's hold",
    "export/lsp.py": "which filters of LSP's equalizer are the EQ's bands; its compressors",
    "export/lsp_gate.py": "what LSP's gate calls our gate's settings",
    "export/lv2.py": "which responses lie in the preset's folder",
    "export/lv2_ports.py": "what LSP's plug-ins call our settings",
    "export/lv2_read.py": "what LSP's plug-ins call our settings",
    "export/pedalboard.py": "which of pedalboard's processors hold our settings",
    "export/reaper.py": "the reverb's response lies in a file of its own",
    "export/sends.py": "the response of delay and reverb together",
    "export/sox.py": "which of SoX's effects hold our settings; what it leaves out",
    "export/sox_compand.py": "which modules are a curve of gain over SoX's detector",
    "export/strip_frame.jsfx": "'pan' is a place in the signal flow; tags of the effect",
    "losses/distance.py": "its filters run on the EQ's sections",
    "model/levelling.py": "the input gain levels the vocal",
    "model/estimate.py": "the reverb's level is chosen on the safe side",
    "model/reference/descent.py": "where the search begins that copies a finished vocal",
    "model/reference/prediction.py": "which modules follow which aspect of a finished vocal",
    "model/reference/target.py": "a finished vocal says nothing of pan and output gain",
    "model/timeline.py": "the input gain levels the vocal",
    "pairs/evaluation.py": "measures levels without the gains of the strip",
    "plots/__init__.py": "the EQ's panel, over the width of the page",
    "plots/curves.py": "drawings of the EQ, the compressor and the reverb",
    "plots/match.py": "the EQ's panel, over the width of the page",
    "plots/multiples.py": "small panels of the EQ and the compressor have other axes",
    "plots/over_time.py": "the EQ as a map; which settings of the built-in modules get a line",
    "plots/signals.py": "the compressors' gain reduction",
    "plots/strip.py": "places of the blocks of the EQ, the compressor and the reverb",
    "simplify/eq_fit.py": "fits fewer EQ bands to a curve",
    "simplify/eq_search.py": "chooses EQ bands that are as good as all",
    "simplify/low_end.py": "the EQ lifts nothing below the voice",
    "simplify/comparison.py": "an EQ without bands is off",
    "simplify/rounded_values.py": "levels and times are rounded less than the rest",
    "simplify/strip.py": "which settings are tried without, and which make up for them",
    "strip/chain.py": "the table itself",
    "strip/channel_strip.py": "'pan' is a place in the signal flow",
    "strip/checks.py": "the modules of version 1.0, which need no version of their own",
    "strip/module.py": "'pan' is a place in the signal flow",
    "strip/parameters.py": "hands on the EQ's bands, in the order of the signal",
    "strip/statistics.py": "where our parameters stand in DiffVox's fitted mixes",
    "training/finetuning/cross_validation.py": "the input gain levels the vocal",
    "training/finetuning/engineers.py": "rules by which simulated engineers choose settings",
    "training/finetuning/engineer_prior.py": "the EQ as a curve over frequencies",
    "training/finetuning/labels.py":
        "values of a label at which a module changes nothing; level goes to the make-up",
    "training/finetuning/ridge.py": "which features of a voice count how much for which module",
    "training/finetuning/shared_settings.py": "the gains in which a label holds the mix's level",
    "training/finetuning/studio_strip.py":
        "the middle of several strips, by their EQ and compressor curves",
    "training/matching/search_result.py":
        "level goes to the make-up; the gains that the files need",
    "training/matching/objective.py": "gains are found beside the search; what makes two sides",
    "training/matching/kept_results.py": "the rooms of a search are the reverb's",
    "training/matching/polish.py": "the reverb's return alone is compared to find its pre-delay",
    "training/matching/samples.py": "'pan' is a place in the signal flow",
    "training/matching/between.py":
        "the return's pre-delay is tried; the search kicks modules one by one",
    "training/matching/starts.py":
        "where the search begins, by the spectrum and the decay of the mix",
    "training/matching/postprocess.py": "in which order modules and bands are tried without",
    "training/pretraining/processed.py": "ranges by which a processed vocal is undone",
    "training/pretraining/simulate.py": "how an engineer's strip is drawn and undone",
    "training/pretraining/undone.py": "what lies before the EQ is undone in the raw vocal itself",
    "training/pretraining/strips.py": "the level of DiffVox's reverb counts as its wet level",
    "training/pretraining/style_pairs.py":
        "the finished vocal of an example has no input gain and no pan",
    "training/pretraining/targets.py": "targets that say that a module or band is off",
}  # fmt: skip
"""By file below the package: why it names one. One line each."""


class Place(NamedTuple):
    """Where a module is named.

    Attributes
    ----------
    file : str
        Below the package, with ``/``.
    line : int
        From 1.
    name : str
        What stands there.
    """

    file: str
    line: int
    name: str


def named_modules(package: Path = PACKAGE) -> list[Place]:
    """Return every place, file by file."""
    found = []
    for path in sorted(package.rglob("*")):
        inside = path.relative_to(package)
        read = READERS.get(path.suffix)
        if read is not None and inside.parts[0] not in LEFT_OUT:
            places = sorted(set(read(path.read_text(encoding="utf-8"))))
            found += [Place(inside.as_posix(), line, name) for line, name in places]
    return found


def problems(package: Path = PACKAGE, reasons: dict[str, str] = REASONS) -> list[str]:
    """Return what is wrong with the reasons: a file that has none, one that needs none."""
    named = {place.file for place in named_modules(package)}
    return [
        *(f"{file}: names a module without a reason in {Path(__file__).name}"
          for file in sorted(named - set(reasons))),
        *(f"{file}: names no module; remove its reason from {Path(__file__).name}"
          for file in sorted(set(reasons) - named)),
    ]  # fmt: skip


def _in_python(text: str) -> Iterator[tuple[int, str]]:
    tree = ast.parse(text)
    documentation = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in documentation and _is_name(node.value):
                yield node.lineno, repr(node.value)
        elif isinstance(node, ast.ImportFrom):
            parts = (node.module or "").split(".")
            names = [alias.name for alias in node.names]
            if "modules" in parts and FOLDERS & {*parts, *names}:
                yield node.lineno, f"import from {'.'.join(parts)}"
            for name in names:
                if BANDS_OF.fullmatch(name):
                    yield node.lineno, f"import of {name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if "modules" in alias.name and FOLDERS & set(alias.name.split(".")):
                    yield node.lineno, f"import of {alias.name}"


def _is_name(text: str) -> bool:
    return text in NAMES or BEGINS.fullmatch(text) is not None


SCRIPT_COMMENT = re.compile(r"/\*.*?\*/|<!--.*?-->|(?<![:\"'`])//[^\n]*", re.DOTALL)
QUOTED = re.compile(r"([\"'`])((?:[a-z0-9_.]|\$\{[^}]*\})+)\1")
PROPERTY = re.compile(rf"\.({'|'.join(sorted(NAMES - BY_KEY.keys()))})\b(?!\.js)")
PART_FILE = re.compile(rf"/({'|'.join(sorted(FOLDERS))})\.js\b")


def _in_script(text: str) -> Iterator[tuple[int, str]]:
    # Lines keep their numbers.
    text = SCRIPT_COMMENT.sub(lambda found: "\n" * found[0].count("\n"), text)
    for found in QUOTED.finditer(text):
        if _is_name(re.sub(r"\$\{[^}]*\}.*", "", found[2])):
            yield _line(text, found), found[0]
    for pattern in (PROPERTY, PART_FILE):
        for found in pattern.finditer(text):
            yield _line(text, found), found[0]


def _in_effect(text: str) -> Iterator[tuple[int, str]]:
    text = re.sub(r"//[^\n]*", "", text)
    for found in re.finditer(rf"\b(?:{'|'.join((*MODULES, *BANDS))})\b", text, re.IGNORECASE):
        yield _line(text, found), found[0]


def _line(text: str, found: re.Match[str]) -> int:
    return text.count("\n", 0, found.start()) + 1


READERS = {
    ".py": _in_python, ".js": _in_script, ".html": _in_script, ".jsfx": _in_effect,
}  # fmt: skip


def main() -> int:
    """List the files with their reasons; 1 if one has none or needs none."""
    parser = argparse.ArgumentParser(
        description="List what names a module of the strip outside its folder, and why.",
        epilog="Example: python -m tests.named_modules --places",
    )
    parser.add_argument("--places", action="store_true", help="every line, not only the files")
    wants_places = parser.parse_args().places
    places = named_modules()
    for file in dict.fromkeys(place.file for place in places):
        own = [place for place in places if place.file == file]
        print(f"{file} ({len(own)}): {REASONS.get(file, 'NO REASON')}")
        for place in own if wants_places else ():
            print(f"    {place.line}: {place.name}")
    wrong = problems()
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print(f"{len(places)} places in {len({p.file for p in places})} files")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
