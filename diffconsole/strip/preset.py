"""The channel-strip preset: read, validate, write, and scale by an amount.

JSON, format ``diffconsole.channel-strip``, version 1.x. Every module and EQ band may hold
``enabled``, true by default where the object is present; an absent module or band is off; a key
missing inside a present one takes the table's default. Numbers are written to 0.001 dB, the
pre-delay to 10 ns, all else to five significant digits; readers never round. What the format
allows stands in :mod:`.schema`, which minor version brought what in :mod:`.versions`.
"""

from __future__ import annotations

import copy
import difflib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import PresetError
from ..files.small_files import read_small
from .amount import MOST_AMOUNT, at_amount
from .channel_strip import ChannelStrip, checked_switches
from .factory import factory_folder, factory_presets, find_preset
from .nested import is_present, look_up, make_place
from .parameters import BY_KEY, CHAIN, MODULES, PARAMETERS, SWITCHES, default_settings
from .schema import FORMAT, SCHEMA_ID, VERSION, check, check_finite, known_part, path_of, walk
from .versions import NEWEST, SINCE, version_of
from .written import in_chain_order, is_at_rest, is_within, remove, without_overshoot

__all__ = ["Preset", "factory_folder", "factory_presets", "find_preset"]

LARGEST_BYTES = 1 << 20
MOST_NAMED = 8
ALWAYS_WRITTEN = tuple(switch for module in CHAIN for switch in module.always_written)


@dataclass(frozen=True)
class Preset:
    """A channel strip as people keep it; always valid, and a copy of what it was made from.

    Attributes
    ----------
    strip : dict
        The modules as the file holds them: ``{"eq": {"peak_1": {"gain_db": 3.0}}}``, in chain
        order.
    name : str
        What people call it.
    provenance : dict
        Free-form, whatever JSON holds: model, source, date, uncertainty of each setting. In a
        factory preset ``description`` says in one line what it is for.
    notices : tuple of str
        What the user should know of the file that it was read from, one line each: what a newer
        version of the format holds that this program does not know. Not written, nor compared.

    Raises
    ------
    PresetError
        Something that the format does not allow; names the JSON path, the value and what is
        allowed there.

    Examples
    --------
    >>> preset = Preset({"output_gain": {"gain_db": -3.0}})
    >>> preset.settings()["output_gain.gain_db"]
    -3.0
    >>> "reverb" in preset.bypass()
    True
    """

    strip: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)
    notices: tuple[str, ...] = field(default=(), compare=False, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        strip = _json_copy(self.strip, "$")
        provenance = _json_copy(self.provenance, "$.provenance")
        check(_file(strip, self.name, provenance))
        object.__setattr__(self, "strip", in_chain_order(strip))
        object.__setattr__(self, "provenance", provenance)

    @classmethod
    def _of_valid(
        cls,
        strip: Mapping[str, Any],
        name: str,
        provenance: Mapping[str, Any],
        notices: tuple[str, ...] = (),
    ) -> Preset:
        """Build of a copy of what is known to be valid, without a check against the schema."""
        made = cls.__new__(cls)
        object.__setattr__(made, "strip", in_chain_order(strip))
        object.__setattr__(made, "name", name)
        object.__setattr__(made, "provenance", copy.deepcopy(dict(provenance)))
        object.__setattr__(made, "notices", notices)
        return made

    @classmethod
    def read(cls, path: str | Path) -> Preset:
        """Read and validate a preset file, as :meth:`from_dict` does.

        Raises
        ------
        PresetError
            Missing, not JSON, of another version, or with a value that the format does not
            allow; names the file, the JSON path, the value and the allowed range.
        """
        try:
            if Path(path).is_dir():
                raise PresetError(f"{path}: is a folder; give a preset file")
            content = read_small(path, LARGEST_BYTES)
        except FileNotFoundError:
            raise PresetError(
                f"{path}: no such file; 'diffconsole presets list' shows what is there"
            ) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise PresetError(f"{path}: cannot be read ({reason})") from None
        if content is None:
            raise PresetError(f"{path}: over 1 MB, which no preset is; give a preset file")
        try:
            found = cls.from_json(content.decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise PresetError(f"{path}: not a text file; a preset is JSON in UTF-8") from None
        except PresetError as error:
            raise PresetError(f"{path}: {error}") from None
        notices = tuple(f"{path}: {line}" for line in found.notices)
        return cls._of_valid(found.strip, found.name, found.provenance, notices)

    @classmethod
    def from_json(cls, text: str) -> Preset:
        """Parse and validate the text of a preset.

        Raises
        ------
        PresetError
            Not JSON (names line and column), or as :meth:`validate`.
        """
        try:
            data = json.loads(text, object_pairs_hook=_Object)
        except json.JSONDecodeError as error:
            raise PresetError(
                f"not JSON: {error.msg} in line {error.lineno}, column {error.colno}"
            ) from None
        except RecursionError:
            raise PresetError("nested too deeply for a preset") from None
        except ValueError:  # Python refuses to read integers of thousands of digits
            raise PresetError("a number has more digits than any setting; shorten it") from None
        for path, value in walk(data):
            if isinstance(value, _Object) and value.twice is not None:
                twice = path_of((*path, value.twice))
                raise PresetError(f"{twice} stands twice in its object; remove one")
        return cls.from_dict(data)

    @classmethod
    def from_dict(cls, data: Any) -> Preset:
        """Build from the parsed JSON, validated as by :meth:`validate`.

        Of a file that states a newer minor version than this program knows, modules, bands and
        parameters that the program does not know are left out, and :attr:`notices` names them. A
        file may hold what is newer than the version that it states.
        """
        known, unknown = known_part(data)
        check(known)
        notices = (_left_out(data["version"], unknown),) if unknown else ()
        strip = {module: known[module] for module in MODULES if module in known}
        return cls._of_valid(
            _json_copy(strip, "$"),
            known.get("name", ""),
            _json_copy(known.get("provenance", {}), "$.provenance"),
            notices,
        )

    @staticmethod
    def validate(data: Any) -> None:
        """Check parsed JSON against the format.

        Raises
        ------
        PresetError
            Names the JSON path, the value and what is allowed there. What this program does not
            know is refused unless the file states a newer minor version.
        """
        check(known_part(data)[0])

    @classmethod
    def from_settings(
        cls,
        settings: Mapping[str, float],
        *,
        bypass: Collection[str] = (),
        name: str = "",
        provenance: Mapping[str, Any] | None = None,
    ) -> Preset:
        """Build from physical settings by key.

        Modules and bands with no key here are left out and so are off; those that `bypass`
        names keep their settings and are written as not enabled. Of them those that a minor
        version of the format brought are left out while their settings are the table's defaults,
        or those that change nothing: so every program that can read the rest can read the file.

        Raises
        ------
        PresetError
            A setting is out of its range, or a name does not exist.
        """
        bypass = checked_switches(bypass, PresetError)
        strip: dict[str, Any] = {}
        for key, value in settings.items():
            if key not in BY_KEY:
                raise PresetError(f"unknown setting {key!r}{_hint(key, BY_KEY)}")
            place = make_place(strip, BY_KEY[key].section)
            place[BY_KEY[key].name] = without_overshoot(BY_KEY[key], float(value))
        for switch in SWITCHES:
            if not is_present(strip, switch):
                continue
            if SINCE[switch] and switch in bypass and is_at_rest(strip, switch):
                remove(strip, switch)
            elif switch in bypass or switch in ALWAYS_WRITTEN:
                look_up(strip, switch)["enabled"] = switch not in bypass
        found = _json_copy(dict(provenance or {}), "$.provenance")
        if not isinstance(name, str) or not is_within(strip):
            check(_file(strip, name, found))
        check_finite({"provenance": found})
        return cls._of_valid(strip, name, found)

    def settings(self) -> dict[str, float]:
        """Return every parameter by key; what is missing has the table's default."""
        found = default_settings()
        for parameter in PARAMETERS:
            value = look_up(self.strip, parameter.section).get(parameter.name)
            if value is not None:
                found[parameter.key] = float(value)
        return found

    def bypass(self) -> frozenset[str]:
        """Return the modules and EQ bands that are off, absent ones included."""
        return frozenset(
            switch
            for switch in SWITCHES
            if not is_present(self.strip, switch)
            or not look_up(self.strip, switch).get("enabled", True)
        )

    @property
    def channel_strip(self) -> ChannelStrip:
        """The settings of all modules, and what is off."""
        return ChannelStrip(self.settings(), self.bypass())

    def without(self, modules: Collection[str]) -> Preset:
        """Return the preset with some modules or bands switched off.

        Raises
        ------
        PresetError
            A name that is neither a module nor a band (``"eq.peak_1"``).
        """
        strip = copy.deepcopy(self.strip)
        for switch in checked_switches(modules, PresetError):
            if is_present(strip, switch):
                look_up(strip, switch)["enabled"] = False
        return self._of_valid(strip, self.name, self.provenance, self.notices)

    def with_provenance(self, provenance: Mapping[str, Any]) -> Preset:
        """Return the preset with another provenance.

        Raises
        ------
        PresetError
            Something in it that JSON does not hold.
        """
        found = _json_copy(dict(provenance), "$.provenance")
        check_finite({"provenance": found})
        return self._of_valid(self.strip, self.name, found, self.notices)

    def at_amount(self, amount: float) -> Preset:
        """Return the strip with less or more of what it does.

        0 leaves the audio bit-identical, 1 is the preset, up to 1.5 exaggerates. Gains in dB and
        the pan scale with the amount; the threshold follows the input gain, so the compressor keeps
        its place in the signal; the ratio scales on the logarithm (4:1 becomes 8:1 at 1.5, 2:1 at
        0.5) and the reverb in amplitude; the cuts move towards the ends of the spectrum, below 1
        without their resonance. Values stop at their range's ends. The rules are those of
        :mod:`.amount`.

        Raises
        ------
        PresetError
            An amount outside 0…1.5.
        """
        if not 0.0 <= amount <= MOST_AMOUNT:
            raise PresetError(f"amount {amount}; it goes from 0 to {MOST_AMOUNT:g}")
        if amount == 1.0:
            return self
        if amount == 0.0:
            return self._of_valid({}, self.name, self.provenance, self.notices)
        before, off = self.settings(), self.bypass()
        after = at_amount(before, off, amount, BY_KEY)
        strip = copy.deepcopy(self.strip)
        for key, value in after.items():
            if is_present(strip, BY_KEY[key].section):
                look_up(strip, BY_KEY[key].section)[BY_KEY[key].name] = value
        return self._of_valid(strip, self.name, self.provenance, self.notices)

    def to_dict(self, *, rounded: bool = True) -> dict[str, Any]:
        """Return what the file holds, keys in chain order.

        It states the lowest minor version that holds the strip, and leaves out settings that came
        later than their module and stand at their default.
        """
        strip = in_chain_order(self.strip, rounded=rounded)
        return _file(strip, self.name, self.provenance, version_of(strip))

    def to_json(self) -> str:
        """Return the text of the file."""
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        # A file name that is not valid UTF-8 may stand in the provenance, as lone surrogates;
        # their backslash form is JSON's too, and reads back the same.
        return text.encode("utf-8", "backslashreplace").decode("utf-8")

    def write(self, path: str | Path, *, force: bool = False) -> None:
        """Write the preset, whole or not at all, the same bytes on every system.

        Raises
        ------
        OutputError
            The file exists and `force` is not set, or cannot be written.
        """
        from ..files import atomic_path

        content = self.to_json().encode("utf-8")
        with atomic_path(Path(path), force=force) as temporary:
            temporary.write_bytes(content)


class _Object(dict[str, Any]):
    """A JSON object that remembers the first key that stands twice in it."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.twice: str | None = None
        if len(self) != len(pairs):
            counts = Counter(key for key, _ in pairs)
            self.twice = next(key for key in counts if counts[key] > 1)


def _file(
    strip: Mapping[str, Any], name: str, provenance: Mapping[str, Any], version: str = VERSION
) -> dict[str, Any]:
    """Return what the file holds."""
    data: dict[str, Any] = {"$schema": SCHEMA_ID, "format": FORMAT, "version": version}
    if name != "":
        data["name"] = name
    data.update(strip)
    if provenance != {}:
        data["provenance"] = provenance
    return data


def _json_copy(value: Any, path: str) -> Any:
    """Copy what JSON can hold; single numbers of NumPy and torch become plain ones."""
    try:
        return json.loads(json.dumps(value, default=float))
    except (TypeError, ValueError, RecursionError) as error:
        raise PresetError(f"{path} holds what JSON cannot: {error}") from None


def _hint(word: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _left_out(version: str, unknown: Sequence[str]) -> str:
    """Say what of a newer file is not known here."""
    more = len(unknown) - MOST_NAMED
    names = [*unknown[:MOST_NAMED], *([f"{more} more"] if more > 0 else [])]
    return (
        f"states version {version[:12]} of the format, and this program knows up to 1.{NEWEST}; "
        f"left out: {', '.join(names)}"
    )
