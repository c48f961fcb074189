"""Works on a Ray cluster: the results of one process, also when a node dies in the middle."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

pytest.importorskip("ray", reason="needs the extra ray")

import ray

import diffconsole
from diffconsole.errors import DiffconsoleError, SettingsError
from diffconsole.jobs.many import InThisProcess, Task, Work
from diffconsole.jobs.many import on_ray as module
from diffconsole.jobs.many.on_ray import OnRay

from ...commands import QUIETER, contents, done, write_model, write_preset, write_take

SLOW_COPY = """
import os, shutil, sys, time
busy = os.path.join(os.path.dirname(__file__), "busy." + os.environ.get("RAY_RAYLET_PID", "none"))
open(busy, "w").close()
time.sleep(0.6)
shutil.copy(*sys.argv[1:])
os.unlink(busy)
"""
"""A program that cleans a take, needs its time for it, and shows on which node it runs."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes with a core each, and a head that does no work."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        made.nodes = [made.add_node(num_cpus=1) for _ in range(2)]
        made.wait_for_nodes()
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


def slow_works(tmp_path: Path, count: int) -> tuple[Task, list[Work]]:
    """Predictions that take half a second each; the model lies in a folder."""
    model = write_model(tmp_path / "model")
    (tmp_path / "slow.py").write_text(SLOW_COPY)
    takes = [write_take(tmp_path / f"{i}.wav", 0.3, seed=i) for i in range(count)]
    takes[2].write_bytes(b"")
    works = [
        Work(i, str(take), {"raw": str(take)}, {"preset": str(tmp_path / "out" / f"{i}.json")})
        for i, take in enumerate(takes)
    ]
    command = f"{sys.executable} {tmp_path / 'slow.py'} {{in}} {{out}}"
    options = {
        "model": str(model), "model_name": "small", "full": True,
        "enhancer": {"command": command, "timeout_seconds": None},
    }  # fmt: skip
    return Task("predict", options), works


@pytest.mark.slow
def test_a_node_that_dies_loses_nothing(cluster, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    task, works = slow_works(tmp_path, 14)
    alone = {o.number: o for o in InThisProcess().run(task, works)}
    expected = contents(tmp_path / "out")
    assert len(expected) == 13
    for path in (tmp_path / "out").iterdir():
        path.unlink()

    lost: list[int] = []
    lose = module._Cluster._lost

    def note(self, work, what, error):
        lost.append(work.number)
        return lose(self, work, what, error)

    monkeypatch.setattr(module._Cluster, "_lost", note)
    node = cluster.nodes.pop()
    (raylet,) = node.all_processes["raylet"]
    busy = tmp_path / f"busy.{raylet.process.pid}"

    def kill() -> None:
        while not busy.exists():
            time.sleep(0.01)
        cluster.remove_node(node, allow_graceful=False)

    killer = Thread(target=kill, daemon=True)
    killer.start()
    outcomes = {}
    # The model comes from where the works are handed out: its folder is not read by the nodes.
    for outcome in OnRay(cluster.address).run(task, works):
        assert outcome.number not in outcomes
        outcomes[outcome.number] = outcome
    killer.join(20.0)
    assert not killer.is_alive(), "the second node got no work"
    assert not ray.is_initialized()
    assert lost, "a work was in hand on the node that died"
    assert contents(tmp_path / "out") == expected
    assert set(outcomes) == set(range(14))
    for number, outcome in outcomes.items():
        other = alone[number]
        assert (outcome.state, outcome.failure) == (other.state, other.failure)
        assert (outcome.inputs, outcome.outputs) == (other.inputs, other.outputs)
    assert "is empty" in outcomes[2].failure
    assert "raylet" not in capfd.readouterr().out, "standard output is for results"

    # What stops all works is one error, and what runs is stopped when the iterator is closed.
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "model.json").write_text("{}")
    (damaged / "model.safetensors").write_bytes(b"")
    with pytest.raises(DiffconsoleError, match="damaged model"):
        list(
            OnRay(cluster.address).run(
                Task("predict", {**task.options, "model": str(damaged)}), works
            )
        )
    monkeypatch.setattr(module, "__version__", "99.0")
    with pytest.raises(DiffconsoleError, match=r"a node has diffconsole .*, not 99.0"):
        list(OnRay(cluster.address).run(task, works))
    monkeypatch.setattr(module, "__version__", diffconsole.__version__)
    outcomes = OnRay(cluster.address).run(
        task, [w.__class__(**{**w.__dict__, "replace": True}) for w in works]
    )
    next(outcomes)
    outcomes.close()
    assert not ray.is_initialized()

    # The command, from a storage into a storage.
    for place in ("in", "remote"):
        (tmp_path / place).mkdir()
    preset = write_preset(tmp_path / "p.json", QUIETER)
    for seed in range(3):
        write_take(tmp_path / "in" / f"{seed}.wav", 0.2, seed=seed)
    local = ("apply", tmp_path / "in", preset)
    done(*local, "-o", tmp_path / "local")
    far = ("apply", f"file://{tmp_path}/in", preset, "-o", f"file://{tmp_path}/remote")
    result = done(*far, "--ray", cluster.address)
    assert "done    3" in result.stdout
    ours, theirs = contents(tmp_path / "remote"), contents(tmp_path / "local")
    names = {f"{seed}.processed.wav" for seed in range(3)}
    assert {k: v for k, v in ours.items() if k in names} == {
        k: v for k, v in theirs.items() if k in names
    }
    assert set(ours) == set(theirs)
    kept = done(*far, "--ray", cluster.address, "--resume")
    assert "kept    3" in kept.stdout


def test_without_a_cluster_the_error_says_how_to_start_one(monkeypatch):
    def none(**_):
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(ray, "init", none)
    with pytest.raises(SettingsError, match=r"--ray auto: no cluster there .*ray start --head"):
        next(OnRay("auto").run(Task("apply", {"audio": {}, "preset": "{}"}), []))


def test_without_the_extra_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SettingsError, match=r"pip install 'diffconsole\[ray\]'"):
        next(OnRay("auto").run(Task("apply", {}), []))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "[::1]:1"])
def test_an_address_where_nobody_answers_is_named_at_once(address, monkeypatch):
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray would try for minutes"))
    with (
        pytest.raises(SettingsError, match="no cluster there .*ray start --head"),
        module._joined(address),
    ):
        pass
