"""Models by their BioModels id: downloaded once, checked, and kept."""

from __future__ import annotations

import contextlib
import json
import os
import re
import ssl
import threading
from collections.abc import Callable
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, TypeVar
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from sbmlgrad.about import __version__
from sbmlgrad.errors import SbmlError, SbmlgradError
from sbmlgrad.files import replacing, user_cache

T = TypeVar("T")

_ID = re.compile(r"(BIOMD|MODEL)[0-9]{10}")
_SERVICE = "https://www.ebi.ac.uk/biomodels"
_SCHEMES = {"http", "https"}
_TIMEOUT = 30.0  # seconds in which nothing arrives
_LONGEST = 300.0  # seconds until the whole is there
_LARGEST = 200_000_000  # bytes; the largest models there have some tens of millions


def is_biomodels_id(text: str) -> bool:
    """Whether a text has the form of a BioModels id; nothing else goes into addresses and file names here."""
    return _ID.fullmatch(text) is not None


def read_biomodels(identifier: str, check: Callable[[bytes, str], T]) -> T:
    """What ``check`` makes of a model's SBML file, which is downloaded where the cache does not have it.

    The cache is the folder ``biomodels`` in that which the environment variable SBMLGRAD_CACHE names, else in
    the user's cache folder. SBMLGRAD_BIOMODELS_URL names a mirror. A file that is in the cache is used without
    asking the network; one that was damaged there is downloaded again.

    Parameters
    ----------
    identifier
        A text for which :func:`is_biomodels_id` is true.
    check
        Takes the bytes of a file and a name for it in messages; raises SbmlError for what is not SBML, which
        is then not kept.

    Raises
    ------
    SbmlError
        There is no such model, no SBML file of it, no connection, or no place to keep the file.
    """
    path = _cache() / f"{identifier}.xml"
    with contextlib.suppress(OSError, SbmlError):
        return check(path.read_bytes(), identifier)
    base = _base(identifier)
    name = _file_name(identifier, f"{base}/model/files/{identifier}?format=json")
    url = f"{base}/model/download/{identifier}?filename={quote(name, safe='', errors='replace')}"
    content = _get(identifier, url)
    try:
        checked = check(content, identifier)
    except SbmlError as error:
        problem = _without_remedy(error).removeprefix(f"{identifier}: ")
        raise _failed(identifier, url, f"what it sent is not SBML ({problem})") from None
    _keep(identifier, path, content)
    return checked


# ---- the cache -----------------------------------------------------------------------------------------


def _cache() -> Path:
    return user_cache() / "biomodels"


def _keep(identifier: str, path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_bytes(content)
    except (OSError, SbmlgradError) as error:
        raise SbmlError(
            f"{identifier}: the download cannot be kept in {path.parent} ({_without_remedy(error)});"
            " set SBMLGRAD_CACHE to a folder that can be written"
        ) from None


# ---- the service ---------------------------------------------------------------------------------------


def _base(identifier: str) -> str:
    base = os.environ.get("SBMLGRAD_BIOMODELS_URL") or _SERVICE
    scheme, _, rest = base.partition("://")
    if scheme.lower() not in _SCHEMES or not rest:
        raise SbmlError(
            f"{identifier}: SBMLGRAD_BIOMODELS_URL is {base!r}; it must begin with http:// or https://, or be unset"
        )
    return base.rstrip("/")


def _file_name(identifier: str, url: str) -> str:
    """The name of a model's SBML file, from the list of its files."""
    content = _get(identifier, url)
    try:
        listing = json.loads(content)
    except (ValueError, RecursionError):
        raise _failed(identifier, url, "what it sent is no list of files") from None
    files = listing.get("main") if isinstance(listing, dict) else None
    names = [
        file["name"]
        for file in (files if isinstance(files, list) else [])
        if isinstance(file, dict) and isinstance(file.get("name"), str)
    ]
    sbml = [name for name in names if name.lower().endswith((".xml", ".sbml"))]
    if sbml or len(names) == 1:
        return (sbml or names)[0]
    listed = ", ".join(map(repr, names[:5])) or "none are listed"
    raise SbmlError(
        f"{identifier}: BioModels has no SBML file among its main files ({listed}); look at {_SERVICE}/{identifier}"
        " and give the path of an SBML file"
    )


def _get(identifier: str, url: str) -> bytes:
    """The whole of what a server sends, or an error that names what was wrong; either comes in time."""
    answer: list[bytes | BaseException] = []

    def get() -> None:
        try:
            answer.append(_received(identifier, url))
        except BaseException as error:
            answer.append(error)

    # a server that sends a byte now and then is never silent for long, so the whole has a limit of its own
    thread = threading.Thread(target=get, daemon=True)
    thread.start()
    thread.join(_LONGEST)
    if not answer:
        raise _failed(identifier, url, f"it was not there after {_LONGEST:g} s")
    if isinstance(answer[0], BaseException):
        raise answer[0]
    return answer[0]


def _received(identifier: str, url: str) -> bytes:
    opener = build_opener(_WebOnly, HTTPSHandler(context=ssl.create_default_context()))
    try:
        request = Request(url, headers={"User-Agent": f"sbmlgrad/{__version__}"})
        with opener.open(request, timeout=_TIMEOUT) as response:
            announced = response.length or 0  # None where the server does not say
            content: bytes = response.read(_LARGEST + 1)
    except HTTPError as error:
        error.close()
        if error.code == 404:
            raise SbmlError(f"{identifier}: BioModels has no such model (nothing at {url}); check the id") from None
        raise _failed(identifier, url, f"it answered with status {error.code} {_one_line(error.reason)}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise _failed(identifier, url, _connection(error)) from None
    if max(announced, len(content)) > _LARGEST:
        raise _failed(identifier, url, f"the file has more than {_LARGEST // 10**6} MB")
    if len(content) < announced:  # http.client says nothing when it was asked for so many bytes
        raise _failed(identifier, url, f"the connection broke after {len(content)} of {announced} bytes")
    return content


class _WebOnly(HTTPRedirectHandler):
    """Redirects stay on the web: urllib alone would follow them to FTP."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if urlsplit(newurl).scheme not in _SCHEMES:
            raise HTTPError(req.full_url, code, f"{msg}, but not on the web: {newurl!r}", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


# ---- errors --------------------------------------------------------------------------------------------


def _failed(identifier: str, url: str, problem: str) -> SbmlError:
    return SbmlError(
        f"{identifier}: cannot be downloaded from {url}: {problem}; try again later, or get its SBML file by hand"
        f" from {_SERVICE}/{identifier} and give the path of that file"
    )


def _connection(error: BaseException) -> str:
    """Why there was no whole answer."""
    reason = getattr(error, "reason", None)  # urllib's errors wrap another error or a text
    cause = reason if isinstance(reason, BaseException) else error
    if isinstance(cause, TimeoutError):
        return f"no answer within {_TIMEOUT:g} s"
    said = _one_line(getattr(cause, "strerror", None) or reason or cause)
    return f"the server cannot be reached, or broke off ({said or type(cause).__name__})"


def _one_line(said: object) -> str:
    return " ".join(str(said).split())


def _without_remedy(error: Exception) -> str:
    """What an error says is wrong; its remedy is meant for a file that the user named."""
    return _one_line(error).partition("; ")[0]
