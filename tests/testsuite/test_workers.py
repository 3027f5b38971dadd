"""Work in other processes: in order, bounded in time, and what crashes is lost alone."""

import os
from typing import Any

import pytest

from sbmlgrad.testsuite import workers
from sbmlgrad.testsuite.workers import Lost, in_workers


def test_a_process_is_used_for_some_items_only(stand_in: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "ITEMS_OF_A_PROCESS", 3)
    results = list(in_workers(stand_in.process_of, range(5), limit=30, processes=1))
    items, processes = zip(*(result for result in results if not isinstance(result, Lost)), strict=True)
    assert items == (0, 1, 2, 3, 4)
    assert len({os.getpid(), *processes}) == 3
    assert len(set(processes[:3])) == 1


def test_no_items_need_no_processes() -> None:
    assert list(in_workers(abs, [], limit=1)) == []
