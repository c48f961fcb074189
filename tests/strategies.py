"""What hypothesis draws: settings and presets that the format allows."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from diffconsole import Preset
from diffconsole.strip.parameters import EQ_BANDS, MODULES, PARAMETERS, Parameter


def values(parameter: Parameter) -> st.SearchStrategy[float]:
    """Anything in the range; its ends and the default often."""
    ends = st.sampled_from((parameter.low, parameter.high, parameter.default))
    return ends | st.floats(parameter.low, parameter.high)


def settings() -> st.SearchStrategy[dict[str, float]]:
    """A value for every parameter."""
    return st.fixed_dictionaries({p.key: values(p) for p in PARAMETERS})


def _section(name: str) -> st.SearchStrategy[dict[str, Any]]:
    optional: dict[str, Any] = {p.name: values(p) for p in PARAMETERS if p.section == name}
    optional["enabled"] = st.booleans()
    if name == "eq":
        optional.update({band: _section(f"eq.{band}") for band in EQ_BANDS})
    return st.fixed_dictionaries({}, optional=optional)


def strips() -> st.SearchStrategy[dict[str, Any]]:
    """Modules present or absent, switched or not, with any of their keys."""
    return st.fixed_dictionaries({}, optional={module: _section(module) for module in MODULES})


# Everything that JSON holds; lone surrogates too, as file names may.
FREE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def presets() -> st.SearchStrategy[Preset]:
    """Whole presets."""
    return st.builds(Preset, strips(), st.text(), st.dictionaries(st.text(), FREE, max_size=3))
