"""Files are written completely or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbmlgrad.errors import SbmlgradError
from sbmlgrad.files import replacing, user_cache, write_text


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
