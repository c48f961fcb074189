"""A process that does works: task and works come as lines of JSON, outcomes go back as lines.

It ends when its standard input does, in the middle of a work too: then the process that started it
is gone, or has been stopped. What it was writing is then undone.
"""

from __future__ import annotations

import _thread
import functools
import json
import os
import queue
import signal
import sys
import threading
import time
from dataclasses import replace
from typing import BinaryIO

from ...errors import explained
from ...files.signals import like_ctrl_c
from .registry import NotLoaded, prepare, run_work
from .work import Task, Work

__all__ = ["ERROR", "READY", "main"]

READY = b'{"ready": true}\n'
"""What the worker writes when its model is loaded, before the first outcome that needs it."""

ERROR = b'{"error"'
"""How an answer begins that is no outcome: no work can be done, and why."""

GRACE_SECONDS = 10.0


def main() -> None:
    """Do what standard input asks for, and leave."""
    # Libraries may print; what they print must not stand between the outcomes.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # Only this process's own messages count: Ctrl-C at the terminal is for who started it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, lines), daemon=True).start()
    try:
        try:
            with like_ctrl_c():
                _work(lines, answers)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    # Threads of libraries are not waited for: everything is written.
    sys.stderr.flush()
    os._exit(0)


def _work(lines: queue.SimpleQueue[bytes], answers: BinaryIO) -> None:
    first = lines.get()
    if not first:
        return
    task = Task.from_json(first)
    try:
        runner = prepare(task)
    except Exception as error:
        reason = explained(error) or f"unexpected {type(error).__name__}: {error}"
        _answer(answers, json.dumps({"error": reason}).encode() + b"\n")
        return

    @functools.cache
    def load() -> None:
        runner.load()
        _answer(answers, READY)

    loading = replace(runner, load=load)
    while line := lines.get():
        try:
            outcome = run_work(loading, task, Work.from_json(line))
        except NotLoaded as error:
            _answer(answers, json.dumps({"error": error.reason}).encode() + b"\n")
            return
        _answer(answers, outcome.to_json().encode() + b"\n")


def _answer(answers: BinaryIO, line: bytes) -> None:
    answers.write(line)
    answers.flush()


def _read(source: BinaryIO, lines: queue.SimpleQueue[bytes]) -> None:
    """Hand lines on; at their end interrupt the work in hand, and insist after a while."""
    for line in source:
        lines.put(line)
    lines.put(b"")
    main_thread = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main_thread is not None:
        signal.pthread_kill(main_thread, signal.SIGINT)
    else:
        _thread.interrupt_main()
    time.sleep(GRACE_SECONDS)
    # As it was started, it leads a group of its own, to which the programs that it runs belong.
    if os.name == "posix" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
