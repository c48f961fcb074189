"""Pictures of several presets, of odd takes, and as text: what can be read off them."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffconsole.export import Strip, formats
from diffconsole.export.reaper import slider_name
from diffconsole.plots import StripView, draw_presets, plot_presets
from diffconsole.plots.names import apart, numbered
from diffconsole.plots.times import time_axis
from diffconsole.strip.later import start_settings
from diffconsole.strip.parameters import BY_KEY, EQ_BANDS, section_name
from diffconsole.strip.preset import find_preset
from tests.commands import call

RATE = 16000
BOOSTS = {f"eq__{band}__gain_db": 15.0 for band in EQ_BANDS if not band.endswith("pass")}


def view(name: str = "a vocal", bypass: tuple[str, ...] = (), **changes: float) -> StripView:
    changed = {key.replace("__", "."): value for key, value in changes.items()}
    return StripView(name, start_settings() | changed, bypass)


def panels(figure: Figure, label: str) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_label() == label]


def words(figure: Figure) -> list[str]:
    """Every text of a figure, the panels' titles with them."""
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [text.get_text() for text in axes.texts]
        found.append(axes.get_title(loc="left"))
    return found


def tone(seconds: float, level: float = 0.1) -> np.ndarray:
    time = np.arange(int(seconds * RATE)) / RATE
    return (level * np.sin(2.0 * np.pi * 300.0 * time)).astype(np.float32)[None]


@pytest.mark.parametrize("many", [2, 3, 6])
def test_one_preset_does_not_flatten_the_others(many: int) -> None:
    hot = view("hot", **BOOSTS)
    figure = draw_presets([view(f"{n}", eq__peak_2__gain_db=3.0) for n in range(many - 1)] + [hot])
    for axes in panels(figure, "eq"):
        assert axes.get_ylim() == (-18.0, 18.0)
        assert 6.0 in axes.get_yticks()
    highest = max(
        float(np.max(line.get_ydata()))
        for axes in panels(figure, "eq")
        for line in axes.get_lines()
        if (line.get_gid() or "").startswith("eq.sum")
    )
    assert highest > 20.0, "the curve leaves the panel"


def test_the_axis_is_closer_where_all_curves_fit() -> None:
    (axes,) = panels(draw_presets([view("a", eq__peak_2__gain_db=3.0), view("b")]), "eq")
    assert axes.get_ylim() == (-12.0, 12.0)


def test_more_than_four_presets_have_panels_of_their_own() -> None:
    names = [f"take {n}" for n in range(5)]
    four = draw_presets([view(name) for name in names[:4]])
    assert len(panels(four, "eq")) == 1
    figure = draw_presets(
        [view(name, eq__peak_2__gain_db=2.0 * n) for n, name in enumerate(names)],
        raw=(tone(0.5), RATE),
    )
    for label in ("eq", "compressor", "decay_by_band", "decay_over_time", "levels",
                  "gain_reduction", "spectra"):  # fmt: skip
        found = panels(figure, label)
        assert len(found) == 5, label
        assert len({axes.get_ylim() for axes in found}) == 1, "comparable by eye"
    assert [axes.get_title(loc="left") for axes in panels(figure, "eq")] == names
    for n, axes in enumerate(panels(figure, "eq")):
        ids = {line.get_gid() for line in axes.get_lines() if line.get_gid()}
        assert f"eq.sum.{n}" in ids
        assert {gid.rpartition(".")[2] for gid in ids} == {str(n)}
    boxes = [axes.get_position() for axes in figure.axes]
    for i, one in enumerate(boxes):
        for other in boxes[i + 1 :]:
            wide = min(one.x1, other.x1) - max(one.x0, other.x0)
            assert wide <= 0 or min(one.y1, other.y1) - max(one.y0, other.y0) <= 0


DRY = ("reverb", "pan")


@pytest.mark.parametrize("many", [2, 3, 5])
def test_what_is_off_in_all_presets_takes_no_room(many: int) -> None:
    wet = [view(f"{n}") for n in range(many)]
    dry = [view(f"{n}", bypass=DRY) for n in range(many)]
    whole, without = draw_presets(wet), draw_presets(dry)
    for label in ("decay_by_band", "decay_over_time"):
        assert panels(whole, label) and not panels(without, label)
    assert "Reverb off" not in words(without)
    # With one preset that has it, all have their panels.
    both = draw_presets([*dry[:-1], wet[-1]])
    assert len(panels(both, "decay_by_band")) == len(panels(whole, "decay_by_band"))
    one = draw_presets([view(bypass=DRY)])
    assert panels(one, "decay_by_band"), "a single preset says what is off"


def test_panels_move_up_to_where_others_are_off() -> None:
    gates = {"gate__threshold_db": -40.0}
    later = ("compressor_2", "deesser", "saturation", "delay")
    dry = [view(f"{n}", bypass=(*DRY, *later), **gates) for n in range(2)]
    figure = draw_presets(dry)
    (compressor,), (gate,) = panels(figure, "compressor"), panels(figure, "gate")
    assert gate.get_position().y0 == compressor.get_position().y0
    wet = draw_presets([view(f"{n}", bypass=later, **gates) for n in range(2)])
    assert figure.get_size_inches()[1] < wet.get_size_inches()[1] - 2.0
    # Nothing but the EQ: no row below it is left, and no gain reduction.
    flat = [view(f"{n}", bypass=("compressor", "gate", *DRY, *later)) for n in range(2)]
    alone = draw_presets(flat, raw=(tone(0.5), RATE))
    labels = [axes.get_label() for axes in alone.axes]
    assert labels == ["eq", "levels", "spectra"]
    without_eq = [view(f"{n}", bypass=("eq", *DRY, *later), **gates) for n in range(2)]
    assert not panels(draw_presets(without_eq), "eq")


def test_values_of_what_is_off_in_a_preset_take_a_line() -> None:
    gates = {"gate__threshold_db": -40.0}
    later = ("compressor_2", "deesser", "saturation", "delay")
    on = view("on", bypass=later, **gates)
    off = view("off", bypass=("gate", *later))
    both, mixed = draw_presets([on, on]), draw_presets([on, off])
    assert mixed.get_size_inches()[1] < both.get_size_inches()[1] - 0.5


def test_names_that_are_alike_are_told_apart() -> None:
    assert numbered(["raw", "b", "raw", "raw"]) == ["raw (1)", "b", "raw (2)", "raw (3)"]
    paths = [Path("/x/one/raw.json"), Path("/x/two/raw.json"), Path("/x/b.json")]
    assert apart(["raw", "raw", "b"], paths) == ["raw (one/raw.json)", "raw (two/raw.json)", "b"]
    files = [Path("/x/first.json"), Path("/x/second.json")]
    assert apart(["raw", "raw"], files) == ["raw (first.json)", "raw (second.json)"]
    twice = apart(["raw", "raw"], [files[0]] * 2)
    assert [name[-4:] for name in twice] == [" (1)", " (2)"] and "first.json" in twice[0]
    figure = draw_presets([view("raw"), view("raw"), view("raw")])
    shown = words(figure)
    assert all(shown.count(f"raw ({n})") == 2 for n in (1, 2, 3)), "legend and values"


def test_the_command_names_files_of_presets_that_are_alike(tmp_path: Path) -> None:
    preset = find_preset("rap")
    for folder in ("monday", "friday"):
        (tmp_path / folder).mkdir()
        preset.write(tmp_path / folder / "raw.preset.json")
    files = [tmp_path / folder / "raw.preset.json" for folder in ("monday", "friday")]
    result = call("plot", *files, "-o", tmp_path / "both.svg")
    assert result.exit_code == 0
    text = (tmp_path / "both.svg").read_text(encoding="utf-8")
    assert "monday/raw.preset.json" in text and "friday/raw.preset.json" in text


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.2, ["0", "0.05", "0.1", "0.15", "0.2"]),
        (3.0, ["0", "0.5", "1", "1.5", "2", "2.5", "3"]),
        (50.0, ["0", "10", "20", "30", "40", "50"]),
        (60.0, ["0:00", "0:15", "0:30", "0:45", "1:00"]),
        (100.0, ["0:00", "0:15", "0:30", "0:45", "1:00", "1:15", "1:30"]),
        (110.0, ["0:00", "0:30", "1:00", "1:30"]),
        (180.0, ["0:00", "0:30", "1:00", "1:30", "2:00", "2:30", "3:00"]),
        (215.0, ["0:00", "1:00", "2:00", "3:00"]),
        (1800.0, ["0:00", "5:00", "10:00", "15:00", "20:00", "25:00", "30:00"]),
    ],
)
def test_times_stand_where_people_count(seconds: float, expected: list[str]) -> None:
    axes = Figure().add_subplot()
    time_axis(axes, seconds)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == expected
    assert axes.get_xlabel() == ("min:s" if seconds >= 60.0 else "s")
    assert axes.get_xlim() == (0.0, seconds)


def test_a_file_has_one_way_to_write_its_times() -> None:
    for seconds, unit in ((2.0, "s"), (90.0, "min:s")):
        figure = draw_presets([view(bypass=("reverb",))], raw=(tone(seconds), RATE))
        for label in ("levels", "gain_reduction"):
            (axes,) = panels(figure, label)
            assert axes.get_xlabel() == unit


def test_empty_panels_say_why() -> None:
    silent = words(draw_presets([view()], raw=(np.zeros((1, RATE), np.float32), RATE)))
    for part in ("the vocal is silent", "nothing for the compressor", "no spectrum"):
        assert any(part in text for text in silent), part
    short = words(draw_presets([view(bypass=("reverb",))], raw=(tone(0.02), RATE)))
    assert any(text.startswith("too short for levels over time: 20 ms") for text in short)
    assert any(text.startswith("only 20 ms: not resolved below 4") for text in short)
    usual = words(draw_presets([view()], raw=(tone(1.0), RATE)))
    assert not any("silent" in text or "short" in text or "only" in text for text in usual)


def test_texts_of_an_svg_are_texts(tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    plot_presets([view("Strophe & Refrain"), view("ボーカル")], path)
    root = ElementTree.parse(path).getroot()
    found = {
        "".join(element.itertext()): element
        for element in root.iter("{http://www.w3.org/2000/svg}text")
    }
    for text in ("Strophe & Refrain", "ボーカル", "Peak 1", "Compressor", "Hz"):
        assert text in found, text
    style = found["Peak 1"].attrib["style"]
    assert "DejaVu Sans" in style and "sans-serif" in style


def test_texts_of_a_pdf_are_set_in_true_type(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    plot_presets([view()], path)
    content = path.read_bytes()
    assert b"/FontFile2" in content and b"/Type3" not in content
    assert matplotlib.rcParams["pdf.fonttype"] == 3, "the user's own settings stay"


def test_a_band_has_one_name_everywhere() -> None:
    names = [section_name(f"eq.{band}") for band in EQ_BANDS]
    assert names[2] == "Peak 1" and names[0] == "High pass"
    shown = words(draw_presets([view()]))
    sheet = formats()["markdown"].write(Strip(find_preset("rap")))[""].decode()
    for band, name in zip(EQ_BANDS, names, strict=True):
        assert name in shown
        assert slider_name(f"eq.{band}") == name
        assert f"EQ, {name.lower()}" in sheet
    assert not any("bell" in parameter.meaning for parameter in BY_KEY.values())
    page = Path(__file__).parents[2] / "diffconsole" / "audition" / "ui" / "fields.js"
    assert "bell" not in page.read_text(encoding="utf-8")
