"""What is compiled is kept for the next process, unless somebody says otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FOLDER = "JAX_COMPILATION_CACHE_DIR"
SCRIPT = """
import sbmlgrad as sg
from sbmlgrad.network import ReactionNetwork
import jax
network = ReactionNetwork([[1, -1]], lambda x, p: jax.numpy.array([p["k"], x[0]]), [0.0], {"k": 2.0})
print(sg.simulate(network, [0.0, 5.0], n=16).mean.iloc[-1, 0], jax.config.jax_compilation_cache_dir)
"""


def run(folder: Path, **environment: str) -> tuple[float, str]:
    """The mean that a process of its own simulates, and the cache folder of JAX in it."""
    own = {name: value for name, value in os.environ.items() if name not in ("JAX_ENABLE_X64", FOLDER)}
    variables = {**own, "SBMLGRAD_CACHE": str(folder), **environment}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=variables, capture_output=True, text=True, check=True)
    assert not done.stderr
    mean, cache = done.stdout.split()
    return float(mean), cache


def kept(folder: Path) -> set[str]:
    """Of what is kept, the loop: smaller functions compile in about the time from which they are worth it."""
    return {path.name for path in (folder / "compiled").rglob("*advance*-cache")}


def test_the_second_process_finds_what_the_first_compiled(tmp_path: Path) -> None:
    first, folder = run(tmp_path, SBMLGRAD_COMPILED_MB="64")
    compiled = kept(tmp_path)
    assert compiled
    assert Path(folder).is_relative_to(tmp_path / "compiled")
    assert run(tmp_path, SBMLGRAD_COMPILED_MB="64") == (first, folder)
    assert kept(tmp_path) == compiled


def test_nothing_is_kept_where_it_is_not_wanted(tmp_path: Path) -> None:
    assert run(tmp_path, SBMLGRAD_COMPILED_MB="0")[1] == "None"
    own = str(tmp_path / "own")
    assert run(tmp_path, SBMLGRAD_COMPILED_MB="64", **{FOLDER: own})[1] == own
    assert not kept(tmp_path)


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert run(tmp_path / "file", SBMLGRAD_COMPILED_MB="64")[1] == "None"
