"""Files are written completely or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sbmlgrad.errors import SbmlgradError
from sbmlgrad.files import read_bytes, replacing, user_cache, write_text


def test_a_block_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old\r\n")
    with pytest.raises(UnicodeEncodeError), replacing(path) as part:
        part.write_text("new \ud800", encoding="utf-8")
    assert [(item.name, item.read_bytes()) for item in tmp_path.iterdir()] == [("a.txt", b"old\r\n")]


def test_mode_and_links_are_kept(tmp_path: Path) -> None:
    path, link = tmp_path / "a.txt", tmp_path / "link"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    write_text(link, "new")
    assert link.is_symlink()
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o640)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SbmlgradError, match=r"cannot be written: [^\n]+; choose another place$"):
        write_text(tmp_path, "text")
    assert list(tmp_path.parent.glob(f".{tmp_path.name}.*")) == []


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SBMLGRAD_CACHE", str(tmp_path))
    assert user_cache() == tmp_path
    monkeypatch.setenv("SBMLGRAD_CACHE", "")
    assert user_cache().name == "sbmlgrad"


def test_two_threads_on_one_path_do_not_mix(tmp_path: Path) -> None:
    """Both are at work at once; what is there in the end is all of one of them."""
    path, met = tmp_path / "a.txt", threading.Barrier(2)

    def write(letter: str) -> None:
        with replacing(path) as part:
            part.write_text(letter * 10)
            met.wait(10)
            with part.open("a") as file:
                file.write(letter * 10)
            met.wait(10)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert path.read_text() in ("a" * 20, "b" * 20)
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_what_a_killed_process_left_is_removed_and_no_other_s(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    code = "import os, sys; from sbmlgrad.files import replacing\nwith replacing(sys.argv[1]): os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, str(path)], check=False, timeout=60)
    (left,) = tmp_path.iterdir()
    other = tmp_path / left.name.replace(f".{left.name.split('.')[-3]}.", f".{os.getpid()}.")
    other.write_text("of a process that runs")
    mine = tmp_path / ".a.txt.tmp"
    mine.write_text("of somebody else")
    write_text(path, "new")
    assert {item.name for item in tmp_path.iterdir()} == {"a.txt", other.name, mine.name}


def test_a_name_as_long_as_can_be_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".csv")
    write_text(path, "text")
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_pipes_are_read_to_their_end_and_devices_are_not(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert read_bytes(pipe) == b"", "nobody writes to it"
    reading, writing = os.pipe()
    os.write(writing, b"text")
    os.close(writing)
    assert read_bytes(f"/dev/fd/{reading}") == b"text"
    os.close(reading)
    with pytest.raises(ValueError, match="a device, not a file"):
        read_bytes("/dev/zero")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes of this kind here")
def test_a_pipe_that_stays_open_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sbmlgrad.files._LONGEST_WAIT", 0.05)
    reading, writing = os.pipe()
    with pytest.raises(ValueError, match=r"still open after 0\.05 s"):
        read_bytes(f"/dev/fd/{reading}")
    os.close(reading)
    os.close(writing)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**30 + 1)
    with pytest.raises(ValueError, match="more than 1 GiB"):
        read_bytes(tmp_path / "large")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_is_written_to_where_somebody_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        write_text(pipe, "text")
        assert reader.communicate(timeout=10)[0] == b"text"
    monkeypatch.setattr("sbmlgrad.files._LONGEST_WAIT", 0.05)
    with pytest.raises(SbmlgradError, match="pipe: cannot be written: nobody reads from this pipe; choose another"):
        write_text(pipe, "text")
