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
from glacmb_grid.fetching.http import BUSY, TRIES, Sleep, download
from glacmb_grid.fetching.record import Record

if TYPE_CHECKING:
    from ecmwf.datastores import Client, Remote

URL = "https://cds.climate.copernicus.eu/api"
_RETRY_AFTER = 10.0  # s, when the data store is busy
_LONGEST_PAUSE = 120.0  # s, between two looks at a request
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
    logging.getLogger("ecmwf.datastores").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = Client(url=_url(), progress=False, retry_after=_RETRY_AFTER, maximum_tries=30)
    if made.key is None:
        raise InputError(
            "fetch: the Climate Data Store",
            expected="your key of the data store",
            found="none",
            remedy=f"register there, then set ECMWF_DATASTORES_KEY, or write `url: {URL}` and `key: ...` to "
            "~/.ecmwfdatastoresrc",
        )
    return made


def _url() -> str:
    import os

    from ecmwf.datastores import config

    if os.environ.get("ECMWF_DATASTORES_URL"):
        return os.environ["ECMWF_DATASTORES_URL"]
    try:
        return str(config.get_config("url"))
    except (KeyError, FileNotFoundError):
        return URL


def without_extra(library: str) -> InputError:
    """The error for a library of the extra that is not installed."""
    return InputError(
        "fetch",
        expected=f"the library {library}",
        found="not installed",
        remedy='install what fetches: pip install "glacmb_grid[fetch]"',
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
    if known.get("id") and _alive(store, known["id"]):
        say(f"{item.name}: request {known['id']} goes on")
        return str(known["id"])
    if known.get("asking") and (found := _found_among_jobs(store, item)):  # killed before it was noted
        record.note(item, id=found)
        say(f"{item.name}: request {found} goes on")
        return found
    record.note(item, asking=True, id="")
    with _in_words(item):
        identifier = _submit(store, item, say, sleep)
    record.note(item, id=identifier, asking=False)
    say(f"{item.name}: request {identifier}")
    return identifier


def _submit(store: Client, item: Item, say: Say, sleep: Sleep) -> str:
    """Submit a request once: the client's own tries would submit it again where only the answer was lost."""
    import requests

    once = copy.copy(store)
    once.maximum_tries = 1
    vars(once).pop("_retrieve_api", None)  # which keeps the number of tries
    for attempt in range(TRIES):
        try:
            return str(once.submit(item.collection, dict(item.request)).request_id)
        except requests.HTTPError as error:
            if error.response is None or error.response.status_code not in BUSY or attempt == TRIES - 1:
                raise
        except (requests.ConnectionError, requests.Timeout):
            if found := _found_among_jobs(store, item):
                return found
            if attempt == TRIES - 1:
                raise
        say(f"{item.name}: the data store is busy; asked again in {2.0**attempt:.0f} s")
        sleep(2.0**attempt)
    raise AssertionError


def collect(store: Client, item: Item, path: Path, record: Record, say: Say, sleep: Sleep = time.sleep) -> int:
    """Wait for a request and fetch its file; gives its bytes."""
    identifier = ask(store, item, record, say, sleep)
    with _in_words(item):
        remote = store.get_remote(identifier)
        _wait(remote, item, record, say, sleep)
        results = remote.get_results()
        checksum = str(results.asset.get("file:checksum", ""))
        checksum = checksum if ":" in checksum else f"md5:{checksum}" if len(checksum) == 32 else ""
        return download(
            results.location,
            path,
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
        return store.get_remote(identifier).status in ("accepted", "running", "successful")
    except requests.HTTPError as error:
        if error.response is not None and error.response.status_code == 404:
            return False
        raise


def _found_among_jobs(store: Client, item: Item) -> str:
    """The user's last request of the same content that the data store has; empty if none."""
    wanted = json.dumps(item.request, sort_keys=True, default=list)
    for identifier in store.get_jobs(limit=_LOOKED_AT, sortby="-created").request_ids:
        remote = store.get_remote(identifier)
        reply: dict[str, Any] = remote.json
        asked = reply.get("metadata", {}).get("request", {}).get("ids", {})
        same = json.dumps(asked, sort_keys=True) == wanted
        if same and reply["processID"] == item.collection and reply["status"] in ("accepted", "running", "successful"):
            return str(identifier)
    return ""


@contextmanager
def _in_words(item: Item) -> Iterator[None]:
    """Answers that refuse a request as errors that say what to do; licences are never accepted here."""
    import requests

    try:
        yield
    except requests.HTTPError as error:
        text = " ".join(str(error).split())
        code = error.response.status_code if error.response is not None else 0
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
    except requests.ConnectionError as error:
        raise InputError(
            f"fetch: {item.name}",
            expected="the data store",
            found=type(error).__name__,
            remedy="call the same command later: requests that were made go on",
        ) from error
