"""Gets the files of a plan into a folder, and goes on where an earlier call stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from glacmb_grid.checking import Limits, checking_arguments
from glacmb_grid.disk import Say, put_aside
from glacmb_grid.errors import InputError
from glacmb_grid.fetching import data_store
from glacmb_grid.fetching.contract import Item, Plan
from glacmb_grid.fetching.http import Missing, Sleep, download
from glacmb_grid.fetching.record import FOLDER, PARTS, Record
from glacmb_grid.fetching.side_by_side import Going, Sessions, side_by_side
from glacmb_grid.fetching.sources import halves
from glacmb_grid.stores.locks import holding

if TYPE_CHECKING:
    from ecmwf.datastores import Client

Get = Callable[[Item, Path, Path], int]
_ASKED_AHEAD = 4  # requests that wait in the queue of the data store at a time


@checking_arguments
def fetch(
    plan: Plan,
    folder: str | Path,
    *,
    at_once: Annotated[int, Limits(least=1)] = 4,
    say: Say = print,
    sleep: Sleep = time.sleep,
) -> list[Path]:
    """Fetch the files of a plan.

    Parameters
    ----------
    plan : Plan
        From `plan`.
    folder : str or Path
        Where they go. Files that came earlier are kept, started ones are gone on with, and requests that wait at a data
        store are taken up again, by a record in its folder `.glacmb_fetch`.
    at_once : int
        How many files that lie ready are fetched at a time.
    say : callable
        Told what happens, always in the thread that called.
    sleep : callable
        Waits for seconds, in any thread.

    Returns
    -------
    list of Path
        The files that are there now; those that may lack and do are not among them.

    Raises
    ------
    InputError or InputErrors
        No credentials, a licence that is not accepted, a file that cannot be had. Files that are under way by then come
        to their end, no others are begun, and all that are there stay.
    """
    folder = Path(folder)
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    with holding(folder / FOLDER, folder, instead="name another folder by --to"):
        return _Fetching(folder, say, sleep).all(plan.items, at_once)


class _Fetching:
    """One call: its record, and sessions that are opened when they are needed first."""

    def __init__(self, folder: Path, say: Say, sleep: Sleep) -> None:
        self._folder, self._say, self._sleep = folder, say, sleep
        self._record = Record(folder)
        self._sessions = Sessions()
        self._store: Client | None = None

    def all(self, items: tuple[Item, ...], at_once: int) -> list[Path]:
        """Every file that is not there yet: a few at a time of those that lie ready, then those that are made."""
        made = [i for i in items if i.way == "data store"]
        ready = [i for i in items if i.way != "data store"]
        done = [p for paths in side_by_side(self._ready, ready, at_once=at_once, say=self._say) for p in paths]
        whole = [part for item in made for part in self._within_limits(item)]
        for place, item in enumerate(whole):
            for ahead in whole[place : place + _ASKED_AHEAD]:
                if not self._record.has(ahead) and not self._record.of(ahead).get("id"):
                    data_store.ask(self._client(), ahead, self._record, _quiet, self._sleep)
            done += self._one(item, self._say, self._collected)
        return done

    def _one(self, item: Item, say: Say, get: Get) -> list[Path]:
        path = self._folder / item.name
        if not self._record.has(item):
            if item.exact and path.is_file() and path.stat().st_size == item.size:  # killed before it was noted
                self._record.note(item, bytes=item.size)
                return [path]
            if path.exists():
                say(f"{item.name} is not what is fetched: kept as {put_aside(path, 'yours').name}")
            part = self._folder / FOLDER / PARTS / item.name
            try:
                size = get(item, path, part)
            except Missing as error:
                if not item.may_lack:
                    raise InputError(
                        f"fetch: {item.name}",
                        expected=f"a file at {item.url}",
                        found="none there",
                        remedy="look whether a newer version has another name, and tell us",
                    ) from error
                say(f"{item.name}: {item.may_lack}")
                return []
            self._record.note(item, bytes=size)
            say(f"{item.name}: {size / 1e6:.1f} MB")
        return [path] if path.exists() else []

    def _collected(self, item: Item, path: Path, part: Path) -> int:
        return data_store.collect(self._client(), item, path, part, self._record, self._say, self._sleep)

    def _ready(self, item: Item, say: Say, going: Going) -> list[Path]:
        """A file that lies ready, in any thread."""

        def get(item: Item, path: Path, part: Path) -> int:
            return download(
                item.url,
                path,
                part,
                session=self._sessions.of(item.way),
                say=say,
                size=item.size if item.exact else 0,
                checksum=item.checksum,
                sleep=self._sleep,
                going=going,
            )

        return self._one(item, say, get)

    def _within_limits(self, item: Item) -> list[Item]:
        """A request, or its halves where it costs more than the data store allows."""
        known = self._record.of(item)
        if known.get("split"):
            return [part for half in halves(item) for part in self._within_limits(half)]
        if known:
            return [item]
        told = data_store.cost(self._client(), item)
        if told is None or told[0] <= told[1]:
            return [item]
        if len(item.request["year"]) == 1:
            raise InputError(
                f"fetch: {item.name}",
                expected=f"a request of a cost of at most {told[1]:g}",
                found=f"{told[0]:g} for one year",
                remedy="ask for fewer variables or a smaller region",
            )
        self._record.note(item, split=True)
        return [part for half in halves(item) for part in self._within_limits(half)]

    def _client(self) -> Client:
        if self._store is None:
            self._store = data_store.client()
        return self._store


def _quiet(_: str) -> None:
    """Say nothing."""
