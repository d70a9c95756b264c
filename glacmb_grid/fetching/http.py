"""Downloads that end whole or not at all, and go on after a broken connection or a killed process."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glacmb_grid.disk import Say, sync
from glacmb_grid.errors import InputError

if TYPE_CHECKING:
    import requests

Sleep = Callable[[float], None]
TRIES = 8  # without a byte of progress
_PIECE = 1 << 16
BUSY = (429, 500, 502, 503, 504)
_LONGEST_WAIT = 600.0  # s
_TIMEOUT = (30, 120)  # s, to connect and between two pieces
_CHECKSUMS = {"md5": hashlib.md5, "sha256": hashlib.sha256, "sha512": hashlib.sha512, "sha1": hashlib.sha1}


class Missing(Exception):  # noqa: N818 - no error where a file may lack
    """The server says that there is no such file."""


def download(
    url: str,
    path: Path,
    part: Path,
    *,
    session: requests.Session,
    say: Say,
    size: int = 0,
    checksum: str = "",
    sleep: Sleep = time.sleep,
    going: Callable[[], None] = lambda: None,
) -> int:
    """Fetch a file; gives its bytes.

    What has come is kept in `part`, and the rest is asked for by a range, if the file has not changed meanwhile. `path`
    appears only when everything is there and the checksum is right.

    Parameters
    ----------
    url : str
    path, part : Path
        Where the file goes, and where it grows: both on one file system.
    session : requests.Session
        With the user's credentials.
    say : callable
        Told of waiting.
    size : int
        Bytes that are expected; 0 if unknown.
    checksum : str
        `md5:...` or another of hashlib; empty if unknown.
    sleep : callable
        Waits for seconds.
    going : callable
        Called before each piece; what it raises ends the download, and what has come is kept.

    Raises
    ------
    Missing
        The server says 404 or 410.
    InputError
        Access refused, a wrong checksum twice, or no progress in `TRIES` tries.
    """
    for folder in (path.parent, part.parent):
        folder.mkdir(parents=True, exist_ok=True)
    for again in (True, False):
        _complete(url, part, session, say, size, sleep, going)
        wrong = _wrong(part, checksum)
        if not wrong:
            sync(part)
            part.replace(path)
            _tag(part).unlink(missing_ok=True)
            return path.stat().st_size
        part.unlink()
        _tag(part).unlink(missing_ok=True)
        if again:
            say(f"{path.name}: {wrong}; fetched again")
    raise InputError(
        url,
        expected=f"the checksum {checksum}",
        found=wrong,
        remedy="try again later, or tell the agency; nothing was kept",
    )


def _complete(
    url: str, part: Path, session: requests.Session, say: Say, size: int, sleep: Sleep, going: Callable[[], None]
) -> None:
    """Fetch until all bytes are there."""
    import requests

    idle, trouble = 0, ""
    while idle < TRIES:
        going()
        have = part.stat().st_size if part.exists() else 0
        if size and have == size:
            return
        wait = min(2.0**idle, _LONGEST_WAIT)
        try:
            with session.get(url, stream=True, timeout=_TIMEOUT, headers=_range(part, have)) as answer:
                if answer.status_code in BUSY:
                    trouble = f"{answer.status_code} {answer.reason}"
                    wait = _asked_wait(answer.headers.get("Retry-After", ""), wait)
                elif answer.status_code == 416 and have == _length_of(answer.headers.get("Content-Range", "")):
                    return
                elif answer.status_code == 416:
                    trouble = "a range that the server does not have"
                    part.unlink(missing_ok=True)
                elif answer.status_code == 206 and not _continues(answer, have):
                    trouble = f"another range than was asked for, {answer.headers.get('Content-Range', 'none')}"
                    part.unlink(missing_ok=True)
                else:
                    _refuse(answer, url)
                    whole = _store(answer, part, have, going)
                    have_now = part.stat().st_size
                    if have_now == (size or whole or have_now):
                        return
                    trouble = f"{have_now} of {size or whole} bytes"
                    if have_now > (size or whole):
                        part.unlink()
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            trouble = type(error).__name__
        now = part.stat().st_size if part.exists() else 0
        idle = 0 if now > have else idle + 1
        say(f"{part.name.removesuffix('.part')}: {trouble}; goes on at byte {now} in {wait:.0f} s")
        sleep(wait)
    raise InputError(
        url,
        expected="an answer with the file",
        found=f"{trouble}, {TRIES} times",
        remedy="call the same command later: it goes on where it stopped",
    )


def _range(part: Path, have: int) -> dict[str, str]:
    tag = _tag(part)
    if not have or not tag.exists():
        part.unlink(missing_ok=True)
        return {"Accept-Encoding": "identity"}
    return {"Accept-Encoding": "identity", "Range": f"bytes={have}-", "If-Range": tag.read_text(encoding="utf-8")}


def _tag(part: Path) -> Path:
    """Where the validator of a started file is kept: without one it cannot be gone on with."""
    return part.with_name(f"{part.name}.tag")


def _store(answer: requests.Response, part: Path, have: int, going: Callable[[], None]) -> int:
    """Write what comes; gives the length of the whole file, 0 if unknown."""
    headers = answer.headers
    goes_on = answer.status_code == 206
    if not goes_on:
        tag = headers.get("ETag", "") or headers.get("Last-Modified", "")
        if tag and not tag.startswith("W/"):
            _tag(part).write_text(tag, encoding="utf-8")
        else:
            _tag(part).unlink(missing_ok=True)
    with part.open("ab" if goes_on else "wb") as file:
        for piece in answer.iter_content(_PIECE):
            going()
            file.write(piece)
    return _length_of(headers.get("Content-Range", "")) if goes_on else int(headers.get("Content-Length", 0))


def _continues(answer: requests.Response, have: int) -> bool:
    return have > 0 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")


def _length_of(content_range: str) -> int:
    """The length of the whole file that `bytes 10-19/20` and `bytes */20` tell; 0 if none."""
    last = content_range.rpartition("/")[2]
    return int(last) if last.isdigit() else 0


def _asked_wait(text: str, otherwise: float) -> float:
    """Seconds that the server asks to wait: a number, or a date."""
    if text.strip().isdigit():
        return min(float(text), _LONGEST_WAIT)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return otherwise
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(max((until - datetime.now(UTC)).total_seconds(), 0.0), _LONGEST_WAIT)


def _refuse(answer: requests.Response, url: str) -> None:
    if answer.status_code in (404, 410):
        raise Missing(url)
    kind = answer.headers.get("Content-Type", "")
    page = answer.status_code == 200 and kind.startswith("text/html") and not url.endswith((".html", "/"))
    if answer.status_code < 400 and not page:
        return
    raise InputError(
        url,
        expected="the file",
        found=f"a web page, as servers show who is not logged in ({kind})" if page else _status(answer),
        remedy="check your credentials and, in your profile, the applications and licences that you have approved",
    )


def _status(answer: requests.Response) -> str:
    text: Any = answer.reason
    return f"{answer.status_code} {text}"


def _wrong(path: Path, checksum: str) -> str:
    """What is wrong with a file's checksum; empty if nothing."""
    name, _, value = checksum.partition(":")
    if name.lower() not in _CHECKSUMS:
        return ""
    found = _CHECKSUMS[name.lower()]()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            found.update(piece)
    return "" if found.hexdigest() == value.lower() else f"{name.lower()}:{found.hexdigest()}"
