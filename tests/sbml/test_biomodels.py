"""Models come from BioModels once, whole and checked, or not at all; the service is one on this machine."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sbmlgrad import files
from sbmlgrad.cli import main
from sbmlgrad.errors import SbmlError
from sbmlgrad.sbml import biomodels
from sbmlgrad.sbml.read import read_sbml
from sbmlgrad.sbml.write import write_sbml

ID = "BIOMD0000000035"
LIST = f"/model/files/{ID}?format=json"
FILE = f"/model/download/{ID}?filename={ID}_url.xml"
BY_HAND = f"get its SBML file by hand from https://www.ebi.ac.uk/biomodels/{ID} and give the path of that file"
SBML = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1"><model id="m"'
    ' substanceUnits="item" extentUnits="item"><listOfParameters>'
    '<parameter id="k" value="2" constant="true"/></listOfParameters></model></sbml>\n'
)
PAGE = b"<!DOCTYPE html>\n<html><body><h1>We are down; please wait</h1></body></html>"


def listing(*names: object) -> bytes:
    """A list of main files as BioModels sends it."""
    main_files = [{"name": name, "fileSize": "1"} for name in names]
    return json.dumps({"main": main_files, "additional": [{"name": "other.xml", "fileSize": "1"}]}).encode()


@dataclass
class Answer:
    """What the service sends for an address; ``length`` is what it announces, where that is not the truth.

    One that ``drips`` sends a byte now and then until the test is over.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    drips: bool = False


class Service(ThreadingHTTPServer):
    """Answers by address, and the requests that came; an answer of None is none until the test is over."""

    daemon_threads = False  # server_close waits for them, so none outlives its test

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[str] = []
        self.agents: set[str | None] = set()
        self.over = threading.Event()
        self.answers: dict[str, Answer | None] = {
            LIST: Answer(listing(f"{ID}_url.xml")),
            FILE: Answer(SBML.encode()),
        }


class Handler(BaseHTTPRequestHandler):
    server: Service
    timeout = 10

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.agents.add(self.headers["User-Agent"])
        answer = self.server.answers.get(self.path, Answer(PAGE, 404))
        if answer is None:
            self.server.over.wait(10)
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
        self.end_headers()
        if answer.drips:
            while not self.server.over.wait(0.02):
                self.wfile.write(b"x")
        self.wfile.write(answer.body)

    def log_message(self, format: str, *_: Any) -> None:
        """Nothing on stderr."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, with the cache beside it and nothing from the user's environment."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("SBMLGRAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    return work


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("SBMLGRAD_BIOMODELS_URL", server.url)
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def down(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server at the address of the service."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        monkeypatch.setenv("SBMLGRAD_BIOMODELS_URL", f"http://127.0.0.1:{server.server_port}")


@pytest.fixture
def cached(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "biomodels" / f"{ID}.xml"


def refused(message: str) -> str:
    """The one line in which reading the model fails."""
    with pytest.raises(SbmlError, match=message) as caught:
        read_sbml(ID)
    text = str(caught.value)
    assert text.startswith(f"{ID}: ")
    assert "\n" not in text
    return text


# ---- what works ----------------------------------------------------------------------------------------


def test_a_model_is_downloaded_once(service: Service, cached: Path, tmp_path: Path) -> None:
    model = read_sbml(ID)
    assert service.asked == [LIST, FILE]
    assert service.agents == {f"sbmlgrad/{biomodels.__version__}"}
    assert model.elements.source.path == ID
    assert model.elements.parameters["k"].value == 2
    assert cached.read_text(encoding="utf-8") == SBML
    assert [path.name for path in cached.parent.iterdir()] == [cached.name]
    assert read_sbml(ID).elements.source == model.elements.source
    assert len(service.asked) == 2
    write_sbml(model, tmp_path / "same.xml")
    write_sbml(model.with_parameters({"k": 3}), tmp_path / "fitted.xml")
    assert (tmp_path / "same.xml").read_text(encoding="utf-8") == SBML
    assert read_sbml(tmp_path / "fitted.xml").elements.parameters["k"].value == 3


@pytest.mark.usefixtures("down")
def test_what_is_kept_needs_no_network(cached: Path) -> None:
    cached.parent.mkdir(parents=True)
    cached.write_text(SBML, encoding="utf-8")
    assert read_sbml(ID).elements.source.path == ID


@pytest.mark.parametrize("damaged", [b"", b" \n", SBML.encode()[:-20], PAGE, b"\xff\xfe\xff"])
def test_what_was_damaged_is_downloaded_again(service: Service, cached: Path, damaged: bytes) -> None:
    cached.parent.mkdir(parents=True)
    cached.write_bytes(damaged)
    read_sbml(ID)
    assert service.asked == [LIST, FILE]
    assert cached.read_text(encoding="utf-8") == SBML


@pytest.mark.parametrize("source", [str, Path])
def test_a_file_of_that_name_goes_first(
    service: Service, cached: Path, folder: Path, source: Callable[[str], str | Path]
) -> None:
    (folder / ID).write_text(SBML.replace('value="2"', 'value="5"'), encoding="utf-8")
    assert read_sbml(source(ID)).elements.parameters["k"].value == 5
    assert service.asked == []
    assert not cached.exists()


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["notes.pdf", "Model v2 & more.XML"], "Model%20v2%20%26%20more.XML"),
        (["model.sbml", "second.xml"], "model.sbml"),
        (["../../etc/passwd.xml"], "..%2F..%2Fetc%2Fpasswd.xml"),
        (["model"], "model"),  # the only one
        (["\ud800.xml"], "%3F.xml"),
    ],
)
def test_the_sbml_file_is_found(service: Service, cached: Path, names: list[str], chosen: str) -> None:
    service.answers = {
        LIST: Answer(listing(*names)),
        f"/model/download/{ID}?filename={chosen}": service.answers[FILE],
    }
    read_sbml(ID)
    assert len(service.asked) == 2
    assert [path.name for path in cached.parent.iterdir()] == [cached.name]


def test_a_redirect_on_the_web_is_followed(service: Service) -> None:
    service.answers["/moved"] = service.answers[FILE]
    service.answers[FILE] = Answer(status=302, headers={"Location": "/moved"})
    read_sbml(ID)
    assert service.asked == [LIST, FILE, "/moved"]


def test_where_models_come_from_and_go_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SBMLGRAD_CACHE")
    monkeypatch.delenv("SBMLGRAD_BIOMODELS_URL", raising=False)
    monkeypatch.setattr(files, "user_cache_dir", lambda name, appauthor: str(tmp_path / name))
    sent = iter([listing("a.xml"), SBML.encode()])
    asked = []

    def get(_: str, url: str) -> bytes:
        asked.append(url)
        return next(sent)

    monkeypatch.setattr(biomodels, "_get", get)
    read_sbml("MODEL0123456789")
    assert asked == [
        "https://www.ebi.ac.uk/biomodels/model/files/MODEL0123456789?format=json",
        "https://www.ebi.ac.uk/biomodels/model/download/MODEL0123456789?filename=a.xml",
    ]
    assert (tmp_path / "sbmlgrad" / "biomodels" / "MODEL0123456789.xml").is_file()


@pytest.mark.parametrize(
    "text",
    ["BIOMD35", f"{ID}0", f"{ID}.xml", f"./{ID}", f"../{ID}", ID.lower(), "BIOMD٠٠٠٠٠٠٠٠٣٥", f"BIOMD{' ' * 10}"],
)
def test_what_is_no_id_is_a_path(service: Service, text: str) -> None:
    with pytest.raises(SbmlError, match="there is no such file"):
        read_sbml(text)
    assert service.asked == []


# ---- what goes wrong -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("down")
def test_no_server() -> None:
    message = refused(f"cannot be downloaded from http://127.0.0.1:.*{ID}.*the server cannot be reached")
    assert message.endswith(BY_HAND)


@pytest.mark.parametrize("address", [LIST, FILE])
def test_no_answer(service: Service, address: str, cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(biomodels, "_TIMEOUT", 0.1)
    service.answers[address] = None
    assert refused("no answer within 0.1 s").endswith(BY_HAND)
    assert not cached.parent.exists()


def test_no_such_model(service: Service) -> None:
    del service.answers[LIST]
    assert refused("BioModels has no such model").endswith("check the id")


@pytest.mark.parametrize(
    ("address", "answer", "message"),
    [
        (LIST, Answer(PAGE, 503), "it answered with status 503 Service Unavailable; try again later"),
        (FILE, Answer(PAGE, 500), "it answered with status 500 "),
        (FILE, Answer(status=302, headers={"Location": "file:///etc/passwd"}), "status 302 .*not allowed"),
        (FILE, Answer(status=302, headers={"Location": "ftp://127.0.0.1/x"}), "status 302 .*not on the web: 'ftp:"),
        (FILE, Answer(status=302, headers={"Location": FILE}), "status 302 .*infinite loop"),
        (LIST, Answer(PAGE), "what it sent is no list of files"),
        (LIST, Answer(b"[" * 100_000), "what it sent is no list of files"),
        (LIST, Answer(listing("x"), length=1000), r"the connection broke after \d+ of 1000 bytes|broke off"),
        (FILE, Answer(SBML.encode(), length=1000), r"the connection broke after \d+ of 1000 bytes|broke off"),
        (FILE, Answer(PAGE), "what it sent is not SBML"),
        (FILE, Answer(b"<html><body/></html>"), r"not SBML \(XML but not SBML: the root is <html>\); try again later"),
        (FILE, Answer(b""), r"not SBML \(the file is empty\)"),
        (FILE, Answer(SBML.encode()[:-20]), r"not SBML \(not XML: "),
        (FILE, Answer(gzip.compress(SBML.encode(), mtime=0)), r"not SBML \(the file is compressed \(gzip\)\)"),
        (FILE, Answer(length=10**12), "more than 200 MB"),
    ],
)
def test_answers_that_are_no_model(service: Service, cached: Path, address: str, answer: Answer, message: str) -> None:
    service.answers[address] = answer
    assert refused(message).endswith(BY_HAND)
    assert not cached.parent.exists()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (listing("model.pdf", "model.m"), r"no SBML file among its main files \('model.pdf', 'model.m'\)"),
        (listing(), r"\(none are listed\)"),
        (listing(1, None, ["x.xml"]), r"\(none are listed\)"),
        (b'{"errorMessage": "gone"}', r"\(none are listed\)"),
        (b'{"main": {"name": "x.xml"}}', r"\(none are listed\)"),
        (b'["x.xml"]', r"\(none are listed\)"),
        (listing("a\nb", "c"), r"\('a\\nb', 'c'\)"),
    ],
)
def test_models_without_an_sbml_file(service: Service, body: bytes, message: str) -> None:
    service.answers[LIST] = Answer(body)
    assert f"look at https://www.ebi.ac.uk/biomodels/{ID}" in refused(message)
    assert service.asked == [LIST]


def test_a_file_that_is_too_large(service: Service, cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(biomodels, "_LARGEST", len(SBML) - 1)
    refused("the file has more than")
    assert not cached.exists()
    monkeypatch.setattr(biomodels, "_LARGEST", len(SBML))
    read_sbml(ID)
    assert cached.exists()


def test_a_server_without_encryption_is_no_https_server(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SBMLGRAD_BIOMODELS_URL", service.url.replace("http:", "https:"))
    refused("the server cannot be reached.*SSL")
    assert service.asked == []


@pytest.mark.parametrize("url", ["file:///tmp", "ftp://127.0.0.1", "www.ebi.ac.uk/biomodels", "/", "https://"])
def test_the_service_is_on_the_web(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SBMLGRAD_BIOMODELS_URL", url)
    refused("SBMLGRAD_BIOMODELS_URL is .*; it must begin with http:// or https://")


@pytest.mark.parametrize("url", ["http:///", "http://[::1", "http://127.0.0.1:port", "http://127.0.0.1:1/a b"])
def test_addresses_that_are_none(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SBMLGRAD_BIOMODELS_URL", url)
    assert refused(r"the server cannot be reached, or broke off \(.+\)").endswith(BY_HAND)


@pytest.mark.usefixtures("service")
def test_no_place_to_keep_a_model(tmp_path: Path, cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remedy = "; set SBMLGRAD_CACHE to a folder that can be written"
    cached.mkdir(parents=True)
    assert refused("the download cannot be kept in").endswith(remedy)
    assert [path.name for path in cached.parent.iterdir()] == [cached.name]
    (tmp_path / "file").touch()
    monkeypatch.setenv("SBMLGRAD_CACHE", str(tmp_path / "file"))
    assert refused("the download cannot be kept in").endswith(remedy)


# ---- on the command line -------------------------------------------------------------------------------


def info() -> Result:
    return CliRunner().invoke(main, ["info", ID])


def test_the_command_line_takes_an_id(service: Service) -> None:
    result = info()
    assert (result.exit_code, result.stderr) == (0, "")
    assert ID in result.stdout
    assert info().stdout == result.stdout
    assert len(service.asked) == 2


@pytest.mark.usefixtures("down")
def test_the_command_line_without_a_network() -> None:
    result = info()
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: {ID}: cannot be downloaded from ")
    assert result.stderr.endswith(f"{BY_HAND}\n")
    assert len(result.stderr.splitlines()) == 1


def test_a_server_that_drips_is_given_up(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is never silent for long: the whole has a limit of its own."""
    monkeypatch.setattr(biomodels, "_LONGEST", 0.3)
    service.answers[FILE] = Answer(length=10**6, drips=True)
    with pytest.raises(SbmlError, match=r"it was not there after 0\.3 s; try again later"):
        read_sbml(ID)
    assert not (files.user_cache() / "biomodels").exists()
