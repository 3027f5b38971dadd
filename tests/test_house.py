"""What the files around the package say is true: one version everywhere, and commands that exist."""

import pickle
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import sbmlgrad
from sbmlgrad.cli import main

ROOT = Path(__file__).resolve().parents[1]
READMES = [ROOT / "README.md", *sorted((ROOT / "models").glob("*/README.md"))]
NOT_SHELL = {"python", "py", "xml", "csv", "json", "yaml", "toml", "bibtex", "mermaid"}
RUNNER = re.compile(r"\$|time|python3?|-m|\w+=\S*")  # what may stand before `sbmlgrad` in a command


def test_the_citation_has_the_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (\S+)$", citation, re.M) == [sbmlgrad.__version__]


def test_the_changelog_begins_with_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\] - (Unreleased|\d{4}-\d\d-\d\d)$", changelog, re.M)
    assert headings[0][0] == sbmlgrad.__version__


@pytest.mark.parametrize("name", sbmlgrad.__all__)
def test_public_names_go_to_other_processes(name: str) -> None:
    value = getattr(sbmlgrad, name)
    assert pickle.loads(pickle.dumps(value)) == value  # as every pool of processes does it


def shell_commands(markdown: str) -> Iterator[list[str]]:
    """Arguments of each sbmlgrad command in fenced shell code, as the shell would pass them."""
    for language, block in re.findall(r"^ *```(\S*)[^\n]*\n(.*?)^ *```", markdown, re.M | re.S):
        if language.lower() in NOT_SHELL:
            continue
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            if re.search(r"\bsbmlgrad\s", line):
                yield from commands_of_line(line)


def commands_of_line(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(re.sub(r"\d?[<>]+ *\S+", "", line), posix=True, punctuation_chars="&|;")
    lexer.whitespace_split = True
    command: list[str] = []
    for token in [*lexer, ";"]:
        if not set(token) <= set("&|;"):
            command.append(token)
            continue
        if "sbmlgrad" in command:
            start = command.index("sbmlgrad")
            if all(RUNNER.fullmatch(word) for word in command[:start]):
                yield command[start + 1 :]
        command = []


def spans(markdown: str) -> Iterator[list[str]]:
    """Words of each sbmlgrad command in running text, which may leave arguments out."""
    text = re.sub(r"^ *```.*?^ *```", "", markdown, flags=re.M | re.S)
    for span in re.findall(r"`sbmlgrad\s+([^`]+)`", text):
        yield span.split()


def check_command(arguments: list[str], *, complete: bool = True) -> None:
    """Parse as click does, without running anything or asking whether the files exist.

    Raises click.UsageError for an unknown command or option, a value of the wrong type and, where the
    command is ``complete``, for a missing or superfluous argument.
    """
    given, rest = parse(main, arguments)
    if given.keys() & {"help", "version"}:
        return
    command = main.get_command(click.Context(main), rest[0]) if rest else None
    if command is None:
        raise click.UsageError(f"no such command: {rest}")
    given, rest = parse(command, rest[1:])
    if not complete or given.keys() & {"help"}:
        return
    missing = [p.name for p in command.params if p.required and given.get(p.name) in (None, (), [])]
    if rest or missing:
        raise click.UsageError(f"superfluous: {rest}, missing: {missing}")


def parse(command: click.Command, arguments: list[str]) -> tuple[dict[str, object], list[str]]:
    """Options and arguments by name, and what is left over."""
    context = click.Context(command)
    given, rest, _ = command.make_parser(context).parse_args(list(arguments))
    given = {name: value for name, value in given.items() if isinstance(value, str | bool | list | tuple)}
    for parameter in command.params:
        if parameter.name in given and not isinstance(parameter.type, click.Path | click.File):
            parameter.type_cast_value(context, given[parameter.name])
    return given, rest


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_readmes_are_accepted(readme: Path) -> None:
    markdown = readme.read_text(encoding="utf-8")
    commands = list(shell_commands(markdown))
    assert commands, "no sbmlgrad command in a fenced block: show how to run it"
    for arguments in commands:
        check_command(arguments)
    for arguments in spans(markdown):
        check_command(arguments, complete=False)


def test_shell_commands_are_found() -> None:
    markdown = """
```sh
pip install sbmlgrad && sbmlgrad fit model.xml data.csv \\
    -p k=1:2 > log.txt   # a comment
$ JAX_PLATFORMS=cpu python -m sbmlgrad info model.xml | less
cd sbmlgrad
```
```python
import sbmlgrad as sg
```
"""
    assert list(shell_commands(markdown)) == [
        ["fit", "model.xml", "data.csv", "-p", "k=1:2"],
        ["info", "model.xml"],
    ]


@pytest.mark.parametrize(
    "line",
    ["fly model.xml", "info", "info model.xml --no-such-option", "simulate m.xml --end ten --points 5"],
)
def test_a_wrong_command_is_refused(line: str) -> None:
    with pytest.raises(click.UsageError):
        check_command(line.split())
