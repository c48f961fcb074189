"""Runs a JSFX file: its sections, translated from EEL2 to Python, on audio.

Only the part of EEL2 that the package's effect uses, by REAPER's "JSFX Programming Reference";
anything else is an error, so that a construct whose meaning is not certain does not slip in.
What the program around it gives is in :mod:`.jsfx_host`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .jsfx_host import Host

Node = tuple[Any, ...]

TOKEN = re.compile(
    r"\s+|//[^\n]*|/\*.*?\*/"
    r"|(?P<number>\d+\.?\d*|\.\d+)|(?P<text>\"[^\"]*\")|(?P<code>'[^']{1,4}')"
    r"|(?P<name>[#$]?[A-Za-z_][A-Za-z0-9_.]*)"
    r"|(?P<sign>&&|\|\||[<>=!+\-*/]=|[-+*/%^()\[\],;?:<>=!])",
    re.DOTALL,
)
LEVELS = (("||",), ("&&",), ("<", ">", "<=", ">=", "==", "!="), ("+", "-"), ("*", "/"), ("%", "^"))
NUMERIC = {
    "sin": "sin", "cos": "cos", "exp": "exp", "log": "log", "sqrt": "sqrt", "abs": "abs",
    "min": "min", "max": "max", "floor": "floor", "ceil": "ceil", "sqr": "square",
}  # fmt: skip
HOST = {
    "memset", "memcpy", "fft", "ifft", "convolve_c",
    "file_open", "file_close", "file_avail", "file_mem",
}  # fmt: skip


def tokens(code: str) -> list[tuple[str, str]]:
    """Kinds and texts; an unknown sign is an error."""
    found, at = [], 0
    while at < len(code):
        match = TOKEN.match(code, at)
        if match is None:
            raise SyntaxError(f"not EEL2: {code[at : at + 30]!r}")
        if match.lastgroup:
            found.append((match.lastgroup, match[0]))
        at = match.end()
    return [*found, ("end", "")]


class Parser:
    """Recursive descent over the tokens of one section."""

    def __init__(self, code: str) -> None:
        self.tokens = tokens(code)
        self.at = 0

    def peek(self) -> str:
        kind, text = self.tokens[self.at]
        return text if kind != "text" else ""

    def take(self, expected: str | None = None) -> str:
        _, text = self.tokens[self.at]
        if expected is not None and text != expected:
            raise SyntaxError(f"{expected!r} expected, not {text!r} (token {self.at})")
        self.at += 1
        return text

    def statements(self, *ends: str) -> list[Node]:
        found = []
        while self.peek() not in ends:
            found.append(self.function() if self.peek() == "function" else self.assignment())
            if self.peek() not in ends:
                self.take(";")
            while self.peek() == ";":
                self.take()
        return found

    def function(self) -> Node:
        self.take("function")
        name, arguments = self.take(), self.names()
        clauses: dict[str, list[str]] = {"instance": [], "local": []}
        while self.peek() in clauses:
            clauses[self.take()] += self.names()
        self.take("(")
        body = self.statements(")")
        self.take(")")
        return ("function", name, arguments, clauses["instance"], clauses["local"], body)

    def names(self) -> list[str]:
        found = []
        self.take("(")
        while self.peek() != ")":
            found.append(self.take())
            if self.peek() == ",":
                self.take()
        self.take(")")
        return found

    def assignment(self) -> Node:
        left = self.choice()
        sign = self.peek()
        if sign in ("=", "+=", "-=", "*=", "/="):
            if left[0] not in ("name", "memory"):
                raise SyntaxError(f"assignment to {left}")
            self.take()
            return ("assign", sign, left, self.assignment())
        return left

    def choice(self) -> Node:
        condition = self.level(0)
        if self.peek() != "?":
            return condition
        self.take()
        yes = self.assignment()
        no = None
        if self.peek() == ":":
            self.take()
            no = self.assignment()
        return ("choice", condition, yes, no)

    def level(self, depth: int) -> Node:
        if depth == len(LEVELS):
            return self.unary()
        left = self.level(depth + 1)
        while self.peek() in LEVELS[depth]:
            sign = self.take()
            right = self.level(depth + 1)
            # EEL2 binds these more tightly than signs, and % than *: only where that is no matter.
            if sign in ("%", "^") and any(side[0] in ("minus", "binary") for side in (left, right)):
                raise SyntaxError(f"put the sides of {sign} into parentheses")
            left = ("binary", sign, left, right)
        return left

    def unary(self) -> Node:
        if self.peek() in ("-", "!"):
            return ("minus" if self.take() == "-" else "not", self.unary())
        return self.indexed()

    def indexed(self) -> Node:
        node = self.primary()
        while self.peek() == "[":
            self.take()
            place = self.assignment()
            self.take("]")
            node = ("memory", node, place)
        return node

    def primary(self) -> Node:
        kind, text = self.tokens[self.at]
        self.at += 1
        if kind == "number":
            return ("number", text)
        if kind == "text":
            return ("text", text[1:-1])
        if kind == "code":
            return ("number", str(int.from_bytes(text[1:-1].encode(), "big")))
        if kind == "name" and text.lower() == "$pi":
            return ("number", repr(math.pi))
        if kind == "name" and self.peek() == "(":
            self.take()
            arguments = []
            while self.peek() != ")":
                arguments.append(("block", self.statements(",", ")")))
                if self.peek() == ",":
                    self.take()
            self.take(")")
            return ("call", text, arguments)
        if kind == "name":
            return ("name", text)
        if text == "(":
            inside = self.statements(")")
            self.take(")")
            return ("block", inside)
        raise SyntaxError(f"unexpected {text!r} (token {self.at})")


class Translator:
    """Python source for the sections, one function for each function and namespace."""

    def __init__(self) -> None:
        self.functions: dict[str, Node] = {}
        self.made: dict[str, list[str]] = {}
        self.variables: set[str] = set()

    def section(self, name: str, code: str, *, loop: bool = False) -> list[str]:
        body = []
        for node in Parser(code).statements(""):
            if node[0] == "function":
                self.functions[node[1].lower()] = node
            else:
                body += self.statement(node, Scope())
        if loop:
            body = ["v_spl0 = left[n]", "v_spl1 = right[n]", *body]
            body += ["left[n] = v_spl0", "right[n] = v_spl1"]
            body = ["for n in range(len(left)):", *indent(body)]
        return [f"def section_{name}(left=(), right=()):", *indent(["#globals", *body, "return"])]

    def statement(self, node: Node, scope: Scope) -> list[str]:
        if node[0] == "block":
            return [line for inner in node[1] for line in self.statement(inner, scope)]
        if node[0] == "assign":
            return [f"{self.place(node[2], scope)} {node[1]} {self.value(node[3], scope)}"]
        if node[0] == "choice":
            lines = [f"if {self.truth(node[1], scope)}:"]
            lines += indent([*self.statement(node[2], scope), "pass"])
            if node[3] is not None:
                lines += ["else:", *indent([*self.statement(node[3], scope), "pass"])]
            return lines
        if node[0] == "call" and node[1] == "loop":
            body = [line for part in node[2][1:] for line in self.statement(part, scope)]
            return [f"for _ in range(int({self.value(node[2][0], scope)})):", *indent(body)]
        if node[0] == "call" and node[1] == "sprintf":
            target, *rest = (self.value(part, scope) for part in node[2])
            return [f"{target} = host.sprintf({', '.join(rest)})"]
        if node[0] == "call" and node[1] == "file_riff":
            handle, channels, rate = (self.value(part, scope) for part in node[2])
            return [f"{channels}, {rate} = host.file_riff({handle}, {channels}, {rate})"]
        return [self.value(node, scope)]

    def place(self, node: Node, scope: Scope) -> str:
        if node[0] == "memory":
            base, offset = self.value(node[1], scope), self.value(node[2], scope)
            return f"memory[int({base} + {offset} + 0.00001)]"
        return self.name(node[1], scope)

    def name(self, text: str, scope: Scope) -> str:
        text = text.lower()
        if text in scope.own:
            return f"l_{text}"
        if text.startswith("this.") or text in scope.instance:
            text = f"{scope.namespace}.{text.removeprefix('this.')}"
        found = "v_" + text.replace("#", "text_").replace(".", "__")
        self.variables.add(found)
        return found

    def truth(self, node: Node, scope: Scope) -> str:
        if node[0] == "block" and len(node[1]) == 1:
            return self.truth(node[1][0], scope)
        if node[0] == "not":
            return f"not {self.truth(node[1], scope)}"
        if node[0] == "binary" and node[1] in ("&&", "||"):
            word = "and" if node[1] == "&&" else "or"
            return f"({self.truth(node[2], scope)} {word} {self.truth(node[3], scope)})"
        if node[0] == "binary" and node[1] in ("<", ">", "<=", ">="):
            return f"({self.value(node[2], scope)} {node[1]} {self.value(node[3], scope)})"
        if node[0] == "binary" and node[1] in ("==", "!="):
            sign = "<" if node[1] == "==" else ">="
            left, right = self.value(node[2], scope), self.value(node[3], scope)
            return f"(abs({left} - {right}) {sign} 0.00001)"
        return f"(abs({self.value(node, scope)}) > 0.00001)"

    def value(self, node: Node, scope: Scope) -> str:
        kind = node[0]
        if kind == "number":
            return f"{float(node[1])!r}"
        if kind == "text":
            return repr(node[1])
        if kind in ("name", "memory"):
            return self.place(node, scope)
        if kind == "minus":
            return f"(-{self.value(node[1], scope)})"
        if kind == "block" and len(node[1]) == 1:
            return self.value(node[1][0], scope)
        if kind == "choice" and node[3] is not None:
            yes, no = self.value(node[2], scope), self.value(node[3], scope)
            return f"({yes} if {self.truth(node[1], scope)} else {no})"
        if kind == "not" or (kind == "binary" and node[1] in sum(LEVELS[:3], ())):
            return f"(1.0 if {self.truth(node, scope)} else 0.0)"
        if kind == "binary" and node[1] in "+-*/^":
            sign = "**" if node[1] == "^" else node[1]
            return f"({self.value(node[2], scope)} {sign} {self.value(node[3], scope)})"
        if kind == "call":
            return self.call(node, scope)
        raise SyntaxError(f"no value: {node}")

    def call(self, node: Node, scope: Scope) -> str:
        arguments = ", ".join(self.value(part, scope) for part in node[2])
        namespace, _, name = node[1].lower().rpartition(".")
        if not namespace and name in NUMERIC:
            return f"{NUMERIC[name]}({arguments})"
        if not namespace and (name in HOST or name.startswith("gfx_")):
            return f"host.{name}({arguments})"
        if name not in self.functions:
            raise SyntaxError(f"no function {node[1]!r}")
        found = scope.namespace if namespace == "this" else namespace
        return f"{self.function(name, found)}({arguments})"

    def function(self, name: str, namespace: str) -> str:
        made = f"f_{name}__{namespace}"
        if made not in self.made:
            _, _, arguments, instance, local, body = self.functions[name]
            scope = Scope({*arguments, *local}, {*instance}, namespace)
            lines = [f"l_{word} = 0.0" for word in local]
            self.made[made] = []
            lines += [line for inner in body for line in self.statement(inner, scope)]
            head = ", ".join(f"l_{word}" for word in arguments)
            self.made[made] = [f"def {made}({head}):", *indent(["#globals", *lines, "return 0.0"])]
        return made


class Scope:
    """What a name means: a local, one of the namespace's, or a global."""

    def __init__(self, own: Any = (), instance: Any = (), namespace: str = "") -> None:
        self.own, self.instance, self.namespace = set(own), set(instance), namespace


def indent(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]


def sections(text: str) -> dict[str, str]:
    """The code by section; the description lines under an empty name."""
    found, name = {"": ""}, ""
    for line in text.splitlines(keepends=True):
        if line.startswith("@"):
            name = line[1:].split()[0]
            found[name] = ""
        else:
            found[name] += line
    return found


def sliders(text: str) -> dict[int, tuple[float, float, float, str, str]]:
    """Default, lowest, highest, what follows them, and the name of each slider by number."""
    line = re.compile(r"slider(\d+):([-\d.]+)<([-\d.]+),([-\d.]+),([^>]*)>(.+)")
    return {
        int(m[1]): (float(m[2]), float(m[3]), float(m[4]), m[5], m[6])
        for m in line.finditer(sections(text)[""])
    }


class Effect:
    """A JSFX effect's text, translated once and run as often as wanted.

    Attributes
    ----------
    variables : dict
        Of the last run, by the names ``v_…``.
    """

    def __init__(self, text: str, folder: Path) -> None:
        self.folder = folder
        self.sliders = sliders(text)
        parts = sections(text)
        made = Translator()
        lines = []
        for name in ("init", "slider", "sample", "gfx"):
            lines += made.section(name, parts[name], loop=name == "sample")
        for function in made.made.values():
            lines += function
        names = ", ".join(sorted(made.variables))
        source = "\n".join(lines).replace("#globals", f"global {names}")
        self.code = compile(source, "effect", "exec")
        self.names = made.variables

    def run(
        self,
        audio: np.ndarray,
        rate: float,
        values: Mapping[int, float],
        folder: Path | None = None,
        changes: Mapping[int, Mapping[int, float]] | None = None,
    ) -> np.ndarray:
        """``(2, samples)`` from ``(2, samples)``: @init, @slider, then @sample on each.

        `values` by slider number; the others have their defaults. `folder` holds the files that
        the effect opens. `changes` are sliders that are moved before a sample, by its number.
        """
        memory = [0.0] * 65536
        self.variables: dict[str, Any] = dict.fromkeys(self.names, 0.0)
        self.variables.update(
            sin=math.sin, cos=math.cos, exp=math.exp, log=math.log, sqrt=math.sqrt,
            floor=math.floor, ceil=math.ceil, square=lambda x: x * x,
            memory=memory, host=Host(folder or self.folder, memory), v_srate=float(rate),
        )  # fmt: skip
        for number, slider in self.sliders.items():
            self.variables[f"v_slider{number}"] = float(values.get(number, slider[0]))
        exec(self.code, self.variables)
        self.variables["section_init"]()
        self.variables["section_slider"]()
        changes = changes or {}
        done: list[np.ndarray] = []
        for start, part in zip((0, *changes), np.split(audio, list(changes), axis=1), strict=True):
            for number, value in changes.get(start, {}).items():
                self.variables[f"v_slider{number}"] = float(value)
            if start in changes:
                self.variables["section_slider"]()
            left, right = (side.astype(np.float64).tolist() for side in part)
            self.variables["section_sample"](left, right)
            done.append(np.array([left, right]))
        return np.concatenate(done, axis=1)
