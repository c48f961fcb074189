"""Minor versions of the format: what a file states, and what is read of a newer one."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as configure
from hypothesis import strategies as st

import diffconsole
from diffconsole import Preset
from diffconsole.errors import PresetError
from diffconsole.strip.chain import CHAIN
from diffconsole.strip.channel_strip import ChannelStrip
from diffconsole.strip.factory import factory_presets
from diffconsole.strip.later import LATER
from diffconsole.strip.schema import check
from diffconsole.strip.versions import is_newer, minor_version

from .. import strategies

HEAD = {"format": "diffconsole.channel-strip", "version": "1.0"}
NEWER = {
    **HEAD,
    "version": "1.7",
    "name": "made up",
    "de_esser": {"enabled": True, "bands": [{"freq_hz": float("inf")}]},
    "eq": {"peak_1": {"gain_db": 3.0, "slope": "steep"}, "peak_9": {"gain_db": 1.0}},
    "compressor": {"ratio": 2.0, "lookahead_ms": 5.0},
    "provenance": {"anything": {"goes": 1}},
}
KNOWN = {
    "eq": {"peak_1": {"gain_db": 3.0}},
    "compressor": {"ratio": 2.0},
}
UNKNOWN = "de_esser, eq.peak_1.slope, eq.peak_9, compressor.lookahead_ms"


def test_of_a_newer_file_the_known_part_is_read_and_one_notice_names_the_rest():
    preset = Preset.from_json(json.dumps(NEWER))
    assert preset == Preset(KNOWN, "made up", {"anything": {"goes": 1}})
    (notice,) = preset.notices
    assert notice.endswith(f"; left out: {UNKNOWN}")
    assert "version 1.7" in notice
    Preset.validate(NEWER)


def test_the_notice_names_the_file_and_stays_with_the_preset(tmp_path: Path):
    path = tmp_path / "newer.json"
    path.write_text(json.dumps(NEWER))
    preset = Preset.read(path)
    assert preset.notices[0].startswith(f"{path}: states version 1.7")
    for changed in (
        preset.without({"eq"}), preset.at_amount(0.5), preset.at_amount(0.0),
        preset.with_provenance({"a": 1}),
    ):  # fmt: skip
        assert changed.notices == preset.notices
    # What was left out is not in the copy, which any program can read.
    preset.write(tmp_path / "known.json")
    written = json.loads((tmp_path / "known.json").read_text())
    assert written["version"] == "1.0"
    assert "de_esser" not in written
    assert Preset.read(tmp_path / "known.json").notices == ()


@pytest.mark.parametrize("version", ["1.0", "2.0", "2.7", "1.07", "0.9", "1.-7", "1.x", 1.7, None])
def test_of_any_other_version_the_unknown_is_refused(version):
    with pytest.raises(PresetError, match=r"\$\.(version|de_esser)"):
        Preset.from_dict({**NEWER, "version": version})


def test_of_a_newer_file_a_value_out_of_range_is_still_refused():
    with pytest.raises(PresetError, match=r"\$\.compressor\.ratio is 99; allowed: 1 to 20:1"):
        Preset.from_dict({**NEWER, "compressor": {"ratio": 99}})
    with pytest.raises(PresetError, match=r"\$\.eq is 3"):
        Preset.from_dict({**NEWER, "eq": 3})
    with pytest.raises(PresetError, match=r"\$\.format is missing"):
        Preset.from_dict({"version": "1.7", "de_esser": {}})


def test_a_notice_is_one_short_line_whatever_the_file_holds():
    odd = {f"module\n{'x' * 200}{i}": {} for i in range(500)}
    (notice,) = Preset.from_dict({**HEAD, "version": "1." + "9" * 5000, **odd}).notices
    assert "\n" not in notice
    assert len(notice) < 900
    assert notice.endswith("492 more")


def test_a_newer_file_without_anything_new_says_nothing():
    assert Preset.from_dict({**HEAD, "version": "1.7", **KNOWN}).notices == ()


def test_minor_versions_are_read():
    assert [minor_version(v) for v in ("1.0", "1.7", "1.12")] == [0, 7, 12]
    assert [minor_version(v) for v in ("1", "1.", "1.01", "2.0", "1.1 ", "1.²", 1.0)] == [None] * 7
    assert is_newer("1." + "9" * 5000)
    assert not is_newer("1.0")


@configure(max_examples=40, deadline=None)
@given(preset=strategies.presets())
def test_a_strip_says_the_lowest_version_that_holds_it(preset: Preset):
    written = preset.to_dict()
    since = {module.key: module.since for module in CHAIN}
    minors = [since[key] for key in LATER & set(written)]
    minors += [2] if "mix" in written.get("compressor", {}) else []
    assert written["version"] == f"1.{max(minors, default=0)}"
    first = {k: v for k, v in preset.strip.items() if k not in LATER}
    if "compressor" in first:
        first["compressor"] = {k: v for k, v in first["compressor"].items() if k != "mix"}
    assert Preset(first).to_dict()["version"] == "1.0"


def test_a_mix_at_its_default_is_left_out_and_the_file_is_as_before():
    preset = Preset({"compressor": {"ratio": 4.0, "mix": 100.0}})
    assert preset == Preset({"compressor": {"ratio": 4.0}})
    assert preset.to_dict()["version"] == "1.0"
    parallel = Preset({"compressor": {"ratio": 4.0, "mix": 60.0}}).to_dict()
    assert (parallel["version"], parallel["compressor"]["mix"]) == ("1.2", 60.0)
    settings = {k: v for k, v in preset.settings().items() if k != "compressor.mix"}
    assert ChannelStrip(settings, preset.bypass()) == preset.channel_strip


def test_factory_presets_state_the_lowest_version_that_holds_them():
    stated = {key: preset.to_dict()["version"] for key, preset in factory_presets().items()}
    assert {key for key, version in stated.items() if version == "1.0"} == {
        "dry_controlled", "folk_natural",
    }  # fmt: skip
    assert {key for key, version in stated.items() if version == "1.1"} == {
        "airy_female", "backing_vocals", "podcast",
    }  # fmt: skip
    assert set(stated.values()) == {"1.0", "1.1", "1.2"}


@configure(max_examples=40, deadline=None)
@given(
    preset=strategies.presets(),
    amount=st.floats(0.0, 1.5),
    off=st.sets(st.sampled_from(diffconsole.strip.parameters.SWITCHES)),
)
def test_what_is_made_without_the_schema_is_valid(preset: Preset, amount: float, off):
    """Presets that are made of valid ones are not checked against it again."""
    changed = preset.at_amount(amount).without(off)
    check(changed.to_dict(rounded=False))
    check(changed.to_dict())
    made = Preset.from_settings(changed.settings(), bypass=changed.bypass())
    check(made.to_dict(rounded=False))
    check(made.with_provenance(preset.provenance).to_dict())


def test_a_preset_that_is_made_of_another_shares_nothing_with_it():
    preset = Preset(KNOWN, provenance={"a": [1]})
    for made in (preset.without({"eq"}), preset.at_amount(0.5), preset.with_provenance({"a": [1]})):
        made.strip["eq"]["peak_1"]["gain_db"] = 9.0
        made.provenance["a"].append(2)
    assert preset.strip == KNOWN
    assert preset.provenance == {"a": [1]}


# --- a module of a newer version, in a process of its own


def in_chain(code: str) -> None:
    """Run code where the toy module is in the chain; it must succeed."""
    text = "from tests.strip import toy_module\ntoy_module.insert()\n" + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", text],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_module_of_a_newer_version():
    in_chain(
        """
        import json
        import jsonschema
        import pytest
        from diffconsole import Preset
        from diffconsole.errors import PresetError
        from diffconsole.strip.factory import factory_folder, factory_presets
        from diffconsole.strip.later import first_settings
        from diffconsole.strip.parameters import default_settings, neutral_settings
        from diffconsole.strip.schema import SCHEMA_PATH, preset_schema

        def version(preset):
            text = preset.to_json()
            again = Preset.from_json(text)
            assert again.settings() == preset.settings() and again.bypass() == preset.bypass()
            assert again.to_json() == text
            return json.loads(text)["version"]

        # Without the module a file is one of the first version, and what it was before.
        old = Preset({"eq": {"peak_1": {"gain_db": 3.0}}, "pan": {"position": 0.5}})
        assert version(old) == "1.0" and "slope" in old.bypass()
        for path, preset in factory_presets().items():
            stated = json.loads((factory_folder() / f"{path}.json").read_text())["version"]
            assert version(preset) == stated, path

        # With it, the lowest version that holds it; a newer setting at its default is left out.
        new = Preset({**old.strip, "slope": {"gain_db": 6.0, "blend": 1.0}})
        assert version(new) == "1.2"
        assert new.to_dict()["slope"] == {"gain_db": 6.0}
        assert list(new.to_dict())[3:] == ["eq", "slope", "pan"]
        assert version(Preset({"slope": {"blend": 0.5}})) == "1.3"
        # Rounded to its default by the file, it is left out there too.
        assert Preset({"slope": {"blend": 0.9999999}}).to_dict()["version"] == "1.2"
        assert version(new.at_amount(0.5)) == "1.2"
        assert new.at_amount(0.5).settings()["slope.gain_db"] == 3.0
        assert version(new.without({"slope"})) == "1.2"

        # Made from settings: on it is written, off and at rest it is left out.
        slope = {k: v for k, v in default_settings().items() if k.startswith("slope.")}
        settings = {**first_settings(default_settings()), **slope}
        assert version(Preset.from_settings(settings)) == "1.2"
        assert version(Preset.from_settings(settings, bypass={"slope"})) == "1.0"
        neutral = {**settings, **neutral_settings("slope")}
        assert neutral != settings
        assert Preset.from_settings(neutral, bypass={"slope"}).to_dict()["version"] == "1.0"
        kept = Preset.from_settings({**settings, "slope.gain_db": 5.0}, bypass={"slope"})
        assert version(kept) == "1.2" and kept.strip["slope"]["enabled"] is False

        # What a file states may be too low; what it holds is read.
        head = {"format": "diffconsole.channel-strip", "version": "1.0"}
        assert Preset.from_dict({**head, **new.strip}) == new
        # 1.3 is known: what it does not hold is refused. Of 1.4 the rest is read.
        odd = {**head, "slope": {"gain_db": 1.0, "skew": 1.0}}
        with pytest.raises(PresetError, match="slope.skew"):
            Preset.from_dict({**odd, "version": "1.3"})
        (notice,) = Preset.from_dict({**odd, "version": "1.4"}).notices
        assert "up to 1.3" in notice and notice.endswith("left out: slope.skew")

        # The schema says since when, and is else the one that is shipped.
        schema = preset_schema()
        jsonschema.Draft202012Validator.check_schema(schema)
        slope = schema["properties"].pop("slope")
        assert slope["description"].endswith("since version 1.2)")
        assert slope["properties"]["blend"]["description"] == "Share of it (since version 1.3)"
        assert schema == json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
        """
    )


def test_a_module_of_a_newer_version_is_processed():
    in_chain(
        """
        import numpy as np
        from diffconsole import Preset
        from diffconsole.console.render import render
        from diffconsole.export.base import Strip
        from diffconsole.plots.strip import StripView, arrays, checked

        audio = np.full((1, 16000), 0.1, np.float32)
        preset = Preset({"slope": {"gain_db": 6.0}})
        louder = render(audio, 16000, preset).samples
        np.testing.assert_allclose(louder, audio * 10 ** (6 / 20), rtol=1e-6)
        half = render(audio, 16000, Preset({"slope": {"gain_db": 6.0, "blend": 0.5}})).samples
        np.testing.assert_allclose(half, audio * 10 ** (3 / 20), rtol=1e-6)
        assert Strip(preset).on("slope") and Strip(preset).of("slope")["gain_db"] == 6.0
        view = checked(StripView("a", preset.settings(), preset.bypass()))
        assert arrays(view)["slope.gain_db"].tolist() == [6.0]
        """
    )
