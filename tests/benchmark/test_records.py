"""The page of records says what the records say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("records")


def test_the_page_is_up_to_date(script: ModuleType) -> None:
    page = (ROOT / "docs" / "records.md").read_text(encoding="utf-8")
    assert page == script.page(), f"benchmarks/results has changed; make the page again with: {script.COMMAND}"


def test_a_record_stands_there_with_its_command_and_machine(script: ModuleType, tmp_path: Path) -> None:
    rows = [{"case": "a | b", "seconds": 1.23456, "good": True, "each": [1, 2]}, {"case": "c", "more": 5}]
    facts = {"command": "python x.py", "processor": "Fast", "cores": "2", "jax": "1.0", "note": "on a\nbusy machine"}
    record = {"facts": facts, "rows": rows * 7, "summary": {"files": 3, "by": {"kind": {"n": 2}}}}
    (tmp_path / "2026-01-02-some-speed.json").write_text(json.dumps(record))
    (tmp_path / "2026-01-03-other.json").write_text(json.dumps({"date": "2026-01-03", "rows": [{"value": 1}]}))
    page = script.page(tmp_path)
    assert page.index("## other, 2026-01-03") < page.index("## some speed, 2026-01-02")
    assert "- **Command**: not recorded\n- **Machine**: not recorded" in page
    assert "- **Command**: `python x.py`\n- **Machine**: processor Fast, cores 2\n" in page
    assert "- **Versions and settings**: jax 1.0\n- **Note**: on a busy machine\n" in page
    assert "rows (the first 12 of 14):\n\n| case | seconds | good | more |\n" in page
    assert "\n| a \\| b | 1.235 | yes |  |\n| c |  |  | 5 |\n" in page
    assert "summary: files 3\n" in page
    assert "| by, kind | 2 |" in page


def test_it_is_written(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["-o", str(tmp_path / "page.md")]) == 0
    assert script.main([]) == 0
    assert capsys.readouterr().out == (tmp_path / "page.md").read_text(encoding="utf-8")
