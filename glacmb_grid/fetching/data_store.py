"""Files that the Climate Data Store makes on request, through ECMWF's own client, each asked for once only."""

from __future__ import annotations

import copy
import json
import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glacmb_grid.disk import Say
from glacmb_grid.errors import InputError
from glacmb_grid.fetching.contract import Item
from glacmb_grid.fetching.http import BUSY, TRIES, Missing, Sleep, download
from glacmb_grid.fetching.record import Record

if TYPE_CHECKING:
    from ecmwf.datastores import Client, Remote

URL = "https://cds.climate.copernicus.eu/api"
_RETRY_AFTER = 10.0  # s, when the data store is busy
_LONGEST_PAUSE = 120.0  # s, between two looks at a request
_REFUSED, _GONE = 429, (404, 410)
_ALIVE = ("accepted", "running", "successful")
_LOOKED_AT = 50  # of the user's last requests


def client() -> Client:
    """The client with the user's key.

    Raises
    ------
    InputError
        Without a key, or without the client.
    """
    try:
        from ecmwf.datastores import Client
    except ImportError as error:
        raise without_extra("ecmwf-datastores-client") from error
    for name, level in (("ecmwf.datastores", logging.WARNING), ("multiurl", logging.ERROR)):
        logging.getLogger(name).setLevel(level)
    key = _configured("key")
    if not key:
        raise InputError(
            "fetch: the Climate Data Store",
            expected="your key of the data store",
            found="none",
            remedy=f"register there, then set ECMWF_DATASTORES_KEY, or write `url: {URL}` and `key: ...` to "
            "~/.ecmwfdatastoresrc",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for messages of the day, and tells where there are none
        made = Client(url=_configured("url") or URL, key=key, progress=False, retry_after=_RETRY_AFTER, maximum_tries=1)
    made.maximum_tries = 30
    return made


def _configured(name: str) -> str:
    """What the environment or the user's file says; empty if neither does."""
    from ecmwf.datastores import config

    try:
        return str(config.get_config(name))
    except (KeyError, FileNotFoundError):
        return ""


def without_extra(library: str) -> InputError:
    """The error for a library of the extra that is not installed."""
    return InputError(
        "fetch",
        expected=f"the library {library}",
        found="not installed",
        remedy='install what fetches, in the project: pip install ".[fetch]"',
    )


def cost(store: Client, item: Item) -> tuple[float, float] | None:
    """Cost of a request and its limit, in units of the data store; None if it does not tell."""
    with _in_words(item):
        told = store.estimate_costs(item.collection, dict(item.request))
    if "cost" not in told or "limit" not in told:
        return None
    return float(told["cost"]), float(told["limit"])


def ask(store: Client, item: Item, record: Record, say: Say, sleep: Sleep = time.sleep) -> str:
    """Submit a request unless it was; gives its identifier."""
    known = record.of(item)
    with _in_words(item):
        if known.get("id") and _alive(store, known["id"]):
            say(f"{item.name}: request {known['id']} goes on")
            return str(known["id"])
        # killed before it was noted, or asked for from elsewhere
        gone = str(known.get("expired", ""))
        identifier = _found_among_jobs(store, item, gone) if not known.get("id") else ""
        identifier = identifier or _submit(store, item, gone, say, sleep)
    record.note(item, id=identifier)
    say(f"{item.name}: request {identifier}")
    return identifier


def _submit(store: Client, item: Item, gone: str, say: Say, sleep: Sleep) -> str:
    """Submit a request once: the client's own tries would submit it again where only the answer was lost."""
    import requests

    once = copy.copy(store)
    once.maximum_tries = 1
    vars(once).pop("_retrieve_api", None)  # which keeps the number of tries
    for attempt in range(TRIES):
        try:
            return str(once.submit(item.collection, dict(item.request)).request_id)
        except (requests.HTTPError, requests.ConnectionError, requests.Timeout) as error:
            code = error.response.status_code if error.response is not None else 0
            if attempt == TRIES - 1 or (code and code not in BUSY):
                raise
        say(f"{item.name}: the data store is busy; asked again in {2.0**attempt:.0f} s")
        sleep(2.0**attempt)
        if code != _REFUSED and (found := _found_among_jobs(store, item, gone)):  # only the answer was lost
            return found
    raise AssertionError


def collect(
    store: Client, item: Item, path: Path, part: Path, record: Record, say: Say, sleep: Sleep = time.sleep
) -> int:
    """Wait for a request and fetch its file; gives its bytes. A result that has expired is asked for once more."""
    import requests

    for again in (True, False):
        try:
            return _collected(store, item, path, part, record, say, sleep)
        except (Missing, requests.HTTPError) as error:  # others are told in words already
            record.note(item, id="", expired=record.of(item).get("id", ""))
            if not again:
                raise InputError(
                    f"fetch: {item.name}",
                    expected="the result of a request that was fulfilled",
                    found="none, twice",
                    remedy="call the same command later",
                ) from error
            say(f"{item.name}: its result has expired; asked for again")
            part.unlink(missing_ok=True)
    raise AssertionError


def _collected(store: Client, item: Item, path: Path, part: Path, record: Record, say: Say, sleep: Sleep) -> int:
    identifier = ask(store, item, record, say, sleep)
    with _in_words(item, gone=True):
        remote = store.get_remote(identifier)
        _wait(remote, item, record, say, sleep)
        results = remote.get_results()
        checksum = str(results.asset.get("file:checksum", ""))
        checksum = checksum if ":" in checksum else f"md5:{checksum}" if len(checksum) == 32 else ""
        return download(
            results.location,
            path,
            part,
            session=store.session,
            say=say,
            size=results.content_length,
            checksum=checksum,
            sleep=sleep,
        )


def _wait(remote: Remote, item: Item, record: Record, say: Say, sleep: Sleep) -> None:
    from ecmwf.datastores.processing import ProcessingFailedError

    pause, told = 1.0, ""
    while True:
        status = remote.status
        if status != told:
            say(f"{item.name}: {status}")
            told = status
        try:
            if remote.results_ready:
                return
        except ProcessingFailedError as error:
            record.forget(item)
            raise InputError(
                f"fetch: {item.name}",
                expected="a request that the data store can fulfil",
                found=" ".join(str(error).split()),
                remedy="call the same command again; if it is refused again, ask for fewer years or a smaller region",
            ) from error
        sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def _alive(store: Client, identifier: str) -> bool:
    """Whether the data store still knows a request, and has not dropped it."""
    import requests

    try:
        return store.get_remote(identifier).status in _ALIVE
    except requests.HTTPError as error:
        if error.response is not None and error.response.status_code == 404:
            return False
        raise


def _found_among_jobs(store: Client, item: Item, gone: str) -> str:
    """The user's last request of the same content that the data store has, but one that is gone; empty if none."""
    wanted = json.dumps(item.request, sort_keys=True, default=list)
    for job in store.get_jobs(limit=_LOOKED_AT, sortby="-created").json["jobs"]:
        if job["jobID"] == gone or job.get("processID") != item.collection or job.get("status") not in _ALIVE:
            continue
        reply: dict[str, Any] = store.get_remote(job["jobID"]).json
        asked = reply.get("metadata", {}).get("request", {}).get("ids", {})
        if json.dumps(asked, sort_keys=True) == wanted:
            return str(job["jobID"])
    return ""


@contextmanager
def _in_words(item: Item, *, gone: bool = False) -> Iterator[None]:
    """Answers that refuse a request as errors that say what to do; licences are never accepted here.

    With `gone` those that say that there is no such thing are left as they are.
    """
    import requests

    try:
        yield
    except requests.HTTPError as error:
        text = " ".join(str(error).split())
        code = error.response.status_code if error.response is not None else 0
        if gone and code in _GONE:
            raise
        remedy = "check the request on the page of the data set"
        if "licence" in text.lower():
            remedy = (
                f"read and accept the licence yourself: {URL.removesuffix('/api')}/datasets/{item.collection}"
                "?tab=download#manage-licences; then call the same command again"
            )
        elif code in (401, 403):
            remedy = "check your key: ECMWF_DATASTORES_KEY, or `key:` in ~/.ecmwfdatastoresrc"
        raise InputError(
            f"fetch: {item.name}",
            expected="a request that the data store accepts",
            found=text,
            remedy=remedy,
        ) from error
    except (requests.ConnectionError, requests.Timeout) as error:
        raise InputError(
            f"fetch: {item.name}",
            expected="the data store",
            found=type(error).__name__,
            remedy="call the same command later: requests that were made go on",
        ) from error
