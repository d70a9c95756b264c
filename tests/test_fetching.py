"""Fetching, from a server on this machine that speaks the agencies' protocols, with their faults."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest
import requests

from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.fetching import Area, Item, Plan, data_store, earthdata, fetch, plan, sources
from glacmb_grid.fetching.earthdata import items_of
from glacmb_grid.fetching.http import TRIES, Missing, download
from glacmb_grid.fetching.record import FOLDER, Record

CONTENT = np.random.default_rng(0).integers(0, 256, 3_000_000, np.uint8).tobytes()
MD5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
PYRENEES = Area(-1, 42, 1.2, 43)
LICENCE = "licence-to-use-copernicus-products"


class Server(ThreadingHTTPServer):
    """Files under /file, and a data store under /api; `faults` are taken one by one from the front."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.content, self.tag = CONTENT, '"one"'
        self.faults, self.ranges = [], []
        self.faults_of, self.together = {}, None
        self.jobs, self.submitted, self.licence, self.limit = {}, [], True, 1e9
        self.polls_until_done = 2
        self.die_after_submission, self.busy, self.gateway = False, 0, 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def listed(self):
        of = {"processID": sources.ERA5_LAND}
        return [{"jobID": i, "status": j["status"], **of} for i, j in reversed(self.jobs.items())]


class Gathering:
    """Holds back answers until so many requests are there at the same time."""

    def __init__(self, count):
        self._barrier = threading.Barrier(count)

    def arrive(self):
        """Whether the others came too."""
        try:
            self._barrier.wait(timeout=60)
        except threading.BrokenBarrierError:
            return False
        return True


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def hang_up(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def reply(self, content, status=200):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        path = urlparse(self.path)
        if path.path.startswith("/api/"):
            self.api_get(path.path.removeprefix("/api"), parse_qs(path.query))
        elif path.path.startswith("/file"):
            self.file()
        else:
            self.reply({"title": "not found"}, 404)

    def file(self):
        server = self.server
        asked = self.headers.get("Range")
        server.ranges.append(asked)
        if server.together is not None and not server.together.arrive():
            self.reply({"title": "nobody else came"}, 500)
            return
        fault = server.faults.pop(0) if server.faults else ("none",)
        fault = server.faults_of.get(self.path, fault)
        if fault[0] == "status":
            self.send_response(fault[1])
            for name, value in fault[2].items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content, begin = server.content, 0
        fresh = self.headers.get("If-Range", server.tag) == server.tag
        if asked and fault[0] == "other range":
            self.send_response(206)
            self.send_header("Content-Range", f"bytes 0-9/{len(content)}")
            self.send_header("Content-Length", "10")
            self.end_headers()
            self.wfile.write(content[:10])
            return
        if asked and fresh and fault[0] != "no ranges":
            begin = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if begin >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = fault[1] if fault[0] == "body" else content[begin:]
        self.send_header("ETag", server.tag)
        self.send_header("Content-Type", "text/html" if fault[0] == "body" else "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault[0] == "break":
            self.wfile.write(body[: fault[1]])
            self.wfile.flush()
            self.hang_up()
            return
        self.wfile.write(body)

    def api_get(self, path, query):
        server = self.server
        if match := re.fullmatch(r"/retrieve/v1/processes/([\w-]+)", path):
            self.reply({"id": match[1], "links": []})
        elif path == "/retrieve/v1/jobs":
            self.reply({"jobs": server.listed()[: int(query["limit"][0])], "links": []})
        elif match := re.fullmatch(r"/retrieve/v1/jobs/(\w+)", path):
            job = server.jobs.get(match[1])
            if job is None:
                self.reply({"title": "job not found"}, 404)
                return
            job["polls"] += 1
            if job["status"] in ("accepted", "running") and job["polls"] > server.polls_until_done:
                job["status"] = "successful"
            about = {"request": {"ids": job["request"]}}
            self.reply(
                {
                    "jobID": match[1],
                    "status": job["status"],
                    "processID": sources.ERA5_LAND,
                    "metadata": about,
                    "links": [{"rel": "self", "href": server.url + self.path}],
                }
            )
        elif match := re.fullmatch(r"/retrieve/v1/jobs/(\w+)/results", path):
            if server.jobs[match[1]].get("expired"):
                self.reply({"title": "results expired"}, 404)
                return
            if server.jobs[match[1]]["status"] == "failed":
                self.reply({"title": "The job has failed", "detail": "MARS said no"}, 400)
                return
            value = {
                "href": f"{server.url}/file/{match[1]}.nc",
                "file:size": len(server.content),
                "type": "application/netcdf",
            }
            self.reply({"asset": {"value": value | {"file:checksum": MD5.removeprefix("md5:")}}})
        else:
            self.reply({"title": "not found"}, 404)

    def do_POST(self):
        server = self.server
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["inputs"]
        if self.path.endswith("/costing"):
            self.reply({"cost": len(request["year"]) * 12.0, "limit": server.limit})
        elif server.busy:
            server.busy -= 1
            self.reply({"title": "too many requests"}, 429)
        elif self.headers.get("PRIVATE-TOKEN") != "secret":
            self.reply({"title": "authentication failed"}, 401)
        elif not server.licence:
            detail = f"please accept the following licences to proceed: [{{'id': '{LICENCE}'}}]"
            self.reply({"title": "required licences not accepted", "detail": detail}, 403)
        else:
            identifier = f"job{len(server.jobs)}"
            server.jobs[identifier] = {"status": "accepted", "polls": 0, "request": request}
            server.submitted.append(request)
            if server.gateway:
                server.gateway -= 1
                self.reply({"title": "bad gateway"}, 502)
                return
            if server.die_after_submission:
                server.die_after_submission = False
                self.hang_up()
                return
            link = {"rel": "monitor", "href": f"{server.url}/api/retrieve/v1/jobs/{identifier}"}
            self.reply({"jobID": identifier, "status": "accepted", "links": [link]}, 201)


@pytest.fixture
def server(monkeypatch):
    made = Server()
    monkeypatch.setenv("ECMWF_DATASTORES_URL", f"{made.url}/api")
    monkeypatch.setenv("ECMWF_DATASTORES_KEY", "secret")
    monkeypatch.setattr(data_store, "_RETRY_AFTER", 0.01)
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def slept():
    return []


def got(server, path, slept, **options):
    said = []
    part = part_of(path)
    session = requests.Session()
    size = download(f"{server.url}/file", path, part, session=session, say=said.append, sleep=slept.append, **options)
    assert path.read_bytes() == CONTENT
    assert size == len(CONTENT)
    assert [p.name for p in path.parent.iterdir() if p.is_file()] == [path.name]  # nothing else is left
    assert list(part.parent.iterdir()) == []
    return said


def part_of(path):
    return path.parent / "parts" / path.name


def started(path, content, tag):
    part = part_of(path)
    part.parent.mkdir(exist_ok=True)
    part.write_bytes(content)
    if tag:
        part.with_name(f"{part.name}.tag").write_text(tag)


# ---- downloads ----


def test_a_file_comes_whole(server, tmp_path, slept):
    assert got(server, tmp_path / "x", slept, checksum=MD5) == []
    assert slept == []


def test_busy_servers_are_waited_for_as_long_as_they_ask(server, tmp_path, slept):
    server.faults = [
        ("status", 429, {"Retry-After": "7"}),
        ("status", 503, {}),
        ("status", 503, {"Retry-After": "Thu, 01 Jan 2015 00:00:00 GMT"}),
    ]
    said = got(server, tmp_path / "x", slept)
    assert slept == [7.0, 2.0, 0.0]
    assert "429" in said[0]


def test_a_broken_connection_goes_on_where_it_broke(server, tmp_path, slept):
    server.faults = [("break", 1_000_000), ("break", 500_000)]
    got(server, tmp_path / "x", slept, checksum=MD5)
    begins = [int(r.removeprefix("bytes=").rstrip("-")) for r in server.ranges[1:]]
    assert server.ranges[0] is None
    assert begins == sorted(begins)
    assert 0 < begins[0] <= 1_000_000 < begins[1] <= 1_500_000


def test_a_file_that_changed_meanwhile_is_not_pieced_together(server, tmp_path, slept):
    server.faults = [("break", 1_000_000)]
    server.content = b"old" * 1_000_000

    def change(_):
        server.content, server.tag = CONTENT, '"two"'

    download(
        f"{server.url}/file",
        tmp_path / "x",
        part_of(tmp_path / "x"),
        session=requests.Session(),
        say=slept.append,
        sleep=change,
    )
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_servers_without_ranges_send_all_again(server, tmp_path, slept):
    server.faults = [("break", 1_000_000), ("no ranges",)]
    got(server, tmp_path / "x", slept)


def test_a_range_that_was_not_asked_for_is_not_taken(server, tmp_path, slept):
    server.faults = [("break", 1_000_000), ("other range",)]
    said = got(server, tmp_path / "x", slept)
    assert any("another range" in line for line in said)


def test_a_part_of_an_earlier_call_is_gone_on_with(server, tmp_path, slept):
    started(tmp_path / "x", CONTENT[:2_000_000], server.tag)
    got(server, tmp_path / "x", slept, checksum=MD5)
    assert server.ranges == ["bytes=2000000-"]
    started(tmp_path / "x", CONTENT, server.tag)  # killed before it was renamed
    got(server, tmp_path / "x", slept)
    started(tmp_path / "x", b"of nobody knows what", "")
    got(server, tmp_path / "x", slept)


def test_a_wrong_checksum_is_fetched_again_and_then_refused(server, tmp_path, slept):
    server.faults = [("body", bytes(len(CONTENT)))]
    with pytest.raises(InputError, match="a web page"):
        got(server, tmp_path / "x", slept)
    server.content = bytes(3_000_000)
    said = []

    def mend(text):
        said.append(text)
        server.content = CONTENT

    download(
        f"{server.url}/file",
        tmp_path / "x",
        part_of(tmp_path / "x"),
        session=requests.Session(),
        say=mend,
        checksum=MD5,
    )
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert "fetched again" in said[0]
    wrong = MD5[:-1] + ("0" if MD5[-1] != "0" else "1")
    with pytest.raises(InputError, match="checksum") as raised:
        download(
            f"{server.url}/file",
            tmp_path / "y",
            part_of(tmp_path / "y"),
            session=requests.Session(),
            say=said.append,
            checksum=wrong,
        )
    assert MD5 in str(raised.value)
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["x"]


def test_a_server_that_never_answers_is_given_up_with_what_came_kept(server, tmp_path, slept):
    server.faults = [("break", 1_000_000), *[("status", 503, {})] * TRIES]
    with pytest.raises(InputError, match="goes on where it stopped"):
        got(server, tmp_path / "x", slept)
    assert not (tmp_path / "x").exists()
    assert 0 < part_of(tmp_path / "x").stat().st_size <= 1_000_000


@pytest.mark.parametrize(("status", "told"), [(403, "403"), (401, "credentials")])
def test_refused_access_says_so(server, tmp_path, slept, status, told):
    server.faults = [("status", status, {})]
    with pytest.raises(InputError, match=told):
        got(server, tmp_path / "x", slept)


def test_no_such_file(server, tmp_path, slept):
    server.faults = [("status", 404, {})]
    with pytest.raises(Missing):
        got(server, tmp_path / "x", slept)


# ---- the data store ----


def land(years=(2000, 2001)):
    return plan("era5-land", PYRENEES, years)


def test_a_request_is_submitted_waited_for_and_its_file_fetched(server, tmp_path, slept):
    said = []
    (path,) = fetch(land(), tmp_path, say=said.append, sleep=slept.append)
    assert path.read_bytes() == CONTENT
    assert re.fullmatch(r"era5_land/era5_land_[0-9a-f]{6}_2000-2001\.nc", path.relative_to(tmp_path).as_posix())
    (request,) = server.submitted
    assert request["variable"] == ["2m_temperature", "total_precipitation"]
    assert request["year"] == ["2000", "2001"]
    assert request["area"] == [43.3, -1.3, 41.7, 1.5]
    assert any(line.endswith(": successful") for line in said)
    assert fetch(land(), tmp_path, say=said.append, sleep=slept.append) == [path]
    assert len(server.submitted) == len(server.ranges) == 1  # nothing is asked again


def test_killed_in_the_queue_it_attaches_to_the_same_request(server, tmp_path):
    """A process of its own, killed with no chance to tidy up; then again."""
    server.polls_until_done = 10**9
    code = "import sys; from glacmb_grid.fetching import *; "
    code += "fetch(plan('era5-land', Area(-1, 42, 1.2, 43), (2000, 2001)), sys.argv[1])"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env={**os.environ})
    until = time.monotonic() + 120
    while not (server.jobs and next(iter(server.jobs.values()))["polls"] > 2):
        assert time.monotonic() < until
        time.sleep(0.05)
    process.kill()
    process.wait()
    server.polls_until_done = 0
    said = []
    (path,) = fetch(land(), tmp_path, say=said.append, sleep=lambda _: None)
    assert path.read_bytes() == CONTENT
    assert len(server.submitted) == 1
    assert any("job0 goes on" in s for s in said)


def test_killed_before_the_answer_came_it_finds_its_request_among_the_users(server, tmp_path):
    made = land()
    store = data_store.client()
    store.submit(made.items[0].collection, dict(made.items[0].request))
    (tmp_path / FOLDER).mkdir()
    Record(tmp_path).note(made.items[0], asking=True, id="")
    fetch(made, tmp_path, say=lambda _: None, sleep=lambda _: None)
    assert len(server.submitted) == 1


def test_a_lost_answer_does_not_submit_a_request_twice(server, tmp_path):
    server.die_after_submission = True
    fetch(land(), tmp_path, say=lambda _: None, sleep=lambda _: None)
    assert len(server.submitted) == 1


def test_a_busy_data_store_is_asked_again(server, tmp_path, slept):
    server.busy = 2
    fetch(land(), tmp_path, say=lambda _: None, sleep=slept.append)
    assert len(server.submitted) == 1
    assert slept[:2] == [1.0, 2.0]


def test_a_request_that_the_data_store_dropped_is_made_again(server, tmp_path):
    made = land()
    (tmp_path / FOLDER).mkdir()
    Record(tmp_path).note(made.items[0], id="gone")
    fetch(made, tmp_path, say=lambda _: None, sleep=lambda _: None)
    assert len(server.submitted) == 1


def test_a_failed_request_is_told_and_forgotten(server, tmp_path):
    made = land()
    server.jobs["job9"] = {"status": "running", "polls": 0, "request": {}}
    server.polls_until_done = 10**9
    (tmp_path / FOLDER).mkdir()
    Record(tmp_path).note(made.items[0], id="job9")

    def fail(_):
        server.jobs["job9"]["status"] = "failed"
        server.polls_until_done = 0

    with pytest.raises(InputError, match="MARS said no"):
        fetch(made, tmp_path, say=lambda _: None, sleep=fail)
    fetch(made, tmp_path, say=lambda _: None, sleep=lambda _: None)
    assert len(server.submitted) == 1


def test_a_licence_is_named_and_never_accepted(server, tmp_path):
    server.licence = False
    with pytest.raises(InputError, match=LICENCE) as raised:
        fetch(land(), tmp_path, say=lambda _: None)
    assert f"datasets/{sources.ERA5_LAND}" in str(raised.value)
    assert "accept the licence yourself" in str(raised.value)
    server.licence = True
    fetch(land(), tmp_path, say=lambda _: None, sleep=lambda _: None)
    assert len(server.submitted) == 1


def test_a_wrong_key_and_none_are_told(server, tmp_path, monkeypatch):
    monkeypatch.setenv("ECMWF_DATASTORES_KEY", "wrong")
    with pytest.raises(InputError, match="check your key"):
        fetch(land(), tmp_path, say=lambda _: None)
    monkeypatch.delenv("ECMWF_DATASTORES_KEY")
    monkeypatch.setenv("ECMWF_DATASTORES_RC_FILE", str(tmp_path / "none"))
    with pytest.raises(InputError, match="ECMWF_DATASTORES_KEY"):
        fetch(land(), tmp_path, say=lambda _: None)


def test_requests_above_the_limit_are_halved(server, tmp_path, monkeypatch):
    server.limit = 50.0  # four years
    paths = fetch(land((2000, 2011)), tmp_path, say=lambda _: None, sleep=lambda _: None)
    years = [r["year"] for r in server.submitted]
    assert sorted(y for part in years for y in part) == [str(y) for y in range(2000, 2012)]
    assert max(map(len, years)) <= 4
    assert len(paths) == len(years) == 5
    monkeypatch.setattr(data_store, "cost", None)  # a fetch that is complete asks nothing
    assert fetch(land((2000, 2011)), tmp_path, say=lambda _: None, sleep=lambda _: None) == paths
    assert len(server.submitted) == 5
    monkeypatch.undo()
    monkeypatch.setenv("ECMWF_DATASTORES_URL", f"{server.url}/api")
    monkeypatch.setenv("ECMWF_DATASTORES_KEY", "secret")
    server.limit = 5.0
    with pytest.raises(InputError, match="smaller region"):
        fetch(land((1990, 1991)), tmp_path, say=lambda _: None)


def test_another_request_has_another_file_and_the_same_decade_the_same(server, tmp_path):
    (first,) = fetch(land(), tmp_path, say=lambda _: None, sleep=lambda _: None)
    other = plan("era5-land", PYRENEES, (2000, 2001), variables=["t2m"])
    (second,) = fetch(other, tmp_path, say=lambda _: None, sleep=lambda _: None)
    assert first.exists()
    assert first != second
    assert [r["variable"] for r in server.submitted][1] == ["2m_temperature"]
    names = [{i.name for i in land((begin, 2024)).items} for begin in (1995, 2000)]
    assert names[1] < names[0]


def test_a_result_that_has_expired_is_asked_for_again(server, tmp_path):
    made = land()
    (tmp_path / FOLDER).mkdir()
    Record(tmp_path).note(made.items[0], id="old")
    same = dict(made.items[0].request)  # the store lists it still
    server.jobs["old"] = {"status": "successful", "polls": 0, "request": same, "expired": True}
    said = []
    fetch(made, tmp_path, say=said.append, sleep=lambda _: None)
    assert len(server.submitted) == 1
    assert any("has expired" in line for line in said)


def test_a_busy_gateway_that_passed_the_request_on_does_not_make_it_twice(server, tmp_path):
    server.gateway = 1
    fetch(land(), tmp_path, say=lambda _: None, sleep=lambda _: None)
    assert len(server.submitted) == 1


def test_a_failed_request_is_not_made_again_while_looking_ahead(server, tmp_path):
    made = land((1990, 2024))
    (tmp_path / FOLDER).mkdir()
    record = Record(tmp_path)
    server.jobs["bad"] = {"status": "failed", "polls": 0, "request": {}}
    record.note(made.items[1], id="bad")
    fetch(made, tmp_path, say=lambda _: None, sleep=lambda _: None)
    assert len(server.submitted) == len(made.items)  # the failed one once more


def test_a_damaged_record_costs_no_request(server, tmp_path):
    server.polls_until_done = 10**9
    made = land()
    store = data_store.client()
    data_store.ask(store, made.items[0], _record(tmp_path), lambda _: None)
    (tmp_path / FOLDER / "record.jsonl").write_text('{"name": "cut o')
    server.polls_until_done = 0
    fetch(made, tmp_path, say=lambda _: None, sleep=lambda _: None)
    assert len(server.submitted) == 1


def _record(folder):
    (folder / FOLDER).mkdir()
    return Record(folder)


def test_two_calls_do_not_share_a_folder(server, tmp_path):
    def nested(_):
        with pytest.raises(InputError):
            fetch(land(), tmp_path, say=lambda _: None)

    fetch(land(), tmp_path, say=lambda _: None, sleep=nested)


# ---- several at a time ----


def granules(server, count):
    """A plan of granules in the archive, of which each is its own file."""
    names = [f"g{n}.hdf" for n in range(count)]
    items = tuple(Item(f"albedo/{n}", "earthdata", f"{server.url}/file/{n}", checksum=MD5) for n in names)
    return Plan("mod10a1", items, "free", "cite", "albedo: {files: albedo/*.hdf}")


@pytest.fixture
def archive(server, monkeypatch):
    """The server as an archive for which a login was given; how many sessions were opened."""
    opened = []

    def session():
        opened.append(threading.get_ident())
        return requests.Session()

    monkeypatch.setattr(earthdata, "session", session)
    server.opened = opened
    return server


def names(folder):
    return sorted(p.name for p in (folder / "albedo").iterdir())


def test_four_granules_come_at_the_same_time(archive, tmp_path):
    archive.together = Gathering(4)  # no answer before four have asked
    mine, said = threading.get_ident(), []
    paths = fetch(granules(archive, 8), tmp_path, say=lambda line: said.append((line, threading.get_ident())))
    assert [p.name for p in paths] == [f"g{n}.hdf" for n in range(8)], "in the order of the plan"
    assert all(p.read_bytes() == CONTENT for p in paths)
    assert len(archive.opened) == len(set(archive.opened)) == 4, "a session for each thread"
    assert sorted(line for line, _ in said) == [f"albedo/g{n}.hdf: 3.0 MB" for n in range(8)]
    assert {thread for _, thread in said} == {mine}
    archive.ranges.clear()
    assert fetch(granules(archive, 8), tmp_path, say=lambda _: None) == paths
    assert archive.ranges == [], "nothing is asked again"


def test_one_at_a_time_where_that_is_asked_for(archive, tmp_path):
    asked = []
    archive.together = SimpleNamespace(arrive=lambda: asked.append(len(names(tmp_path))) or True)
    (tmp_path / "albedo").mkdir()
    fetch(granules(archive, 4), tmp_path, at_once=1, say=lambda _: None)
    assert asked == [0, 1, 2, 3], "each is asked for when the one before is there"
    with pytest.raises(InputError, match="at_once"):
        fetch(granules(archive, 4), tmp_path, at_once=0)


def test_a_granule_that_fails_is_named_and_the_others_stay(archive, tmp_path):
    archive.faults_of = {"/file/g1.hdf": ("status", 403, {})}
    archive.together = Gathering(4)
    with pytest.raises(InputError, match=r"file/g1\.hdf"):
        fetch(granules(archive, 4), tmp_path, say=lambda _: None)
    assert names(tmp_path) == ["g0.hdf", "g2.hdf", "g3.hdf"]
    archive.faults_of, archive.together = {}, None
    archive.ranges.clear()
    assert len(fetch(granules(archive, 4), tmp_path, say=lambda _: None)) == 4
    assert len(archive.ranges) == 1, "only the one that failed is asked for again"


def test_after_a_failure_no_more_are_begun_and_each_that_failed_is_named(archive, tmp_path):
    archive.faults_of = {f"/file/g{n}.hdf": ("status", 403, {}) for n in (0, 1)}
    archive.together = Gathering(2)
    with pytest.raises(InputErrors) as raised:
        fetch(granules(archive, 40), tmp_path, at_once=2, say=lambda _: None)
    assert all(f"file/g{n}.hdf" in str(raised.value) for n in (0, 1))
    assert len(archive.ranges) == 2


def test_without_a_login_it_is_told_once(server, tmp_path, monkeypatch):
    tries = []

    def refused():
        tries.append(1)
        raise InputError("fetch: Earthdata", expected="your Earthdata login", found="none", remedy="register")

    monkeypatch.setattr(earthdata, "session", refused)
    with pytest.raises(InputError, match="Earthdata login"):
        fetch(granules(server, 8), tmp_path, say=lambda _: None)
    assert server.ranges == []
    assert len(tries) == 1, "a wrong password is not tried by every thread"


def test_an_interrupt_ends_all_of_them_and_what_came_is_gone_on_with(archive, tmp_path):
    archive.faults_of = {f"/file/g{n}.hdf": ("break", 1_000_000) for n in (1, 2, 3)}
    archive.together = Gathering(4)
    pausing, wake = threading.Semaphore(0), threading.Event()

    def say(line):
        if line.startswith("albedo/g0.hdf"):
            for _ in range(3):
                assert pausing.acquire(timeout=60)
            raise KeyboardInterrupt

    def sleep(_):
        pausing.release()
        wake.wait(60)

    with pytest.raises(KeyboardInterrupt):
        fetch(granules(archive, 40), tmp_path, say=say, sleep=sleep)
    wake.set()
    assert names(tmp_path) == ["g0.hdf"]
    parts = [p for p in (tmp_path / FOLDER / "parts" / "albedo").iterdir() if p.suffix == ".hdf"]
    assert sorted(p.name for p in parts) == ["g1.hdf", "g2.hdf", "g3.hdf"]
    assert all(0 < p.stat().st_size <= 1_000_000 for p in parts)
    archive.faults_of, archive.together = {}, None
    archive.ranges.clear()
    fetch(granules(archive, 4), tmp_path, say=lambda _: None)
    assert all(re.fullmatch(r"bytes=[1-9]\d*-", r) for r in archive.ranges)
    assert len(archive.ranges) == 3


# ---- plans ----


def test_tiles_of_the_elevation_model_by_hand():
    made = plan("dem", Area(-0.5, -0.5, 0.5, 1.0), (2000, 2000))
    names = [i.name for i in made.items]
    assert names == [
        "dem/Copernicus_DSM_COG_10_N00_00_E000_00_DEM.tif",
        "dem/Copernicus_DSM_COG_10_N00_00_W001_00_DEM.tif",
        "dem/Copernicus_DSM_COG_10_S01_00_E000_00_DEM.tif",
        "dem/Copernicus_DSM_COG_10_S01_00_W001_00_DEM.tif",
    ]
    assert made.items[0].url.endswith(
        "/Copernicus_DSM_COG_10_N00_00_E000_00_DEM/Copernicus_DSM_COG_10_N00_00_E000_00_DEM.tif"
    )


def test_areas_across_the_antimeridian():
    area = Area(179.2, 65, -179.3, 66)
    names = [i.name for i in plan("dem", area, (2000, 2000)).items]
    assert [n[26:].partition("_DEM")[0] for n in names] == ["N65_00_E179_00", "N65_00_W180_00"]
    made = plan("era5-land", area, (2000, 2000))
    assert [i.request["area"] for i in made.items] == [[66.3, 178.9, 64.7, 180.0], [66.3, -180.0, 64.7, -179.0]]
    assert len({i.name for i in made.items}) == 2


def test_wide_areas_stay_wide_and_crossing_ones_are_told():
    assert Area(-180, -60, 180, 80).wider(0.3) == Area(-180, -60.3, 180, 80.3)
    assert Area(179, 0, -179, 1).wider(0.5) == Area(178.5, -0.5, -178.5, 1.5)
    assert any("359 degrees wide" in n for n in plan("dem", Area(11, 46, 10, 47), (2000, 2000)).notes)


def test_a_tile_of_the_sea_may_lack(server, tmp_path):
    sea = Item("dem/a.tif", "http", f"{server.url}/none", may_lack="open sea")
    land = Item("dem/b.tif", "http", f"{server.url}/file")
    said = []
    made = Plan("dem", (sea, land), "", "", "")
    assert fetch(made, tmp_path, say=said.append) == [tmp_path / "dem/b.tif"]
    assert "dem/a.tif: open sea" in said
    count = len(server.ranges)
    fetch(made, tmp_path, say=said.append)
    assert len(server.ranges) == count
    (tmp_path / "dem" / "b.tif").write_text("edited")
    fetch(made, tmp_path, say=said.append)
    assert (tmp_path / "dem" / "b.tif").read_bytes() == CONTENT
    assert (tmp_path / "dem" / "b.tif.yours-1").read_text() == "edited"
    with pytest.raises(InputError, match="none there"):
        fetch(Plan("x", (Item("c", "http", f"{server.url}/none"),), "", "", ""), tmp_path)


@pytest.mark.parametrize(
    ("area", "regions"),
    [
        (Area(10, 46, 11, 47), ["11_central_europe"]),
        (Area(66, 25, 105, 45), ["13_central_asia", "14_south_asia_west", "15_south_asia_east"]),
        (Area(-74, -50, -73, -48), ["17_southern_andes", "19_subantarctic_antarctic_islands"]),
        (Area(-20, 64, -19, 65), ["06_iceland"]),
    ],
)
def test_regions_of_the_inventory(area, regions):
    made = plan("rgi", area, (2000, 2000))
    assert [i.name for i in made.items] == [f"rgi/RGI2000-v7.0-G-{n}.zip" for n in regions]


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of earthaccess about itself
def test_granules_give_files_with_sizes_and_checksums():
    earthaccess = pytest.importorskip("earthaccess")
    name = "MOD10A1.A2019182.h18v04.061.2020302123456.hdf"
    umm = {
        "DataGranule": {
            "ArchiveAndDistributionInformation": [
                {
                    "Name": name,
                    "Size": 2.5,
                    "SizeUnit": "MB",
                    "SizeInBytes": 2621441,
                    "Checksum": {"Value": "AB" * 16, "Algorithm": "MD5"},
                }
            ]
        },
        "RelatedUrls": [
            {"URL": f"https://data.example.org/{name}", "Type": "GET DATA"},
            {"URL": f"https://data.example.org/{name}.xml", "Type": "EXTENDED METADATA"},
        ],
    }
    granule = earthaccess.DataGranule({"umm": umm, "meta": {"concept-id": "G1"}}, cloud_hosted=False)
    (item,) = items_of([granule, granule], "albedo")
    assert item == Item(
        f"albedo/{name}", "earthdata", f"https://data.example.org/{name}", 2621441, True, f"md5:{'AB' * 16}"
    )


def test_what_would_be_asked_is_told():
    lines = land((1950, 2024)).lines()
    assert lines[0].startswith("era5-land: 8 files, about ")
    assert any("CC-BY-4.0" in line for line in lines)
    assert any("reanalysis-era5-land-monthly-means" in line and "1950" in line for line in lines)
    assert "geopotential" in "\n".join(lines)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: plan("era5", PYRENEES, (2000, 2001)), "era5-land"),
        (lambda: plan("dem", PYRENEES, (2001, 2000)), "2001-2000"),
        (lambda: plan("era5-land", PYRENEES, (2000, 2001), variables=["t2"]), "t2m"),
        (lambda: plan("rgi", Area(-30, 0, -25, 5), (2000, 2000)), "no region of RGI 7"),
        (lambda: plan("era5-land", PYRENEES, (1940, 2001)), "1950"),
        (lambda: Area(10, 47, 11, 46), "south below north"),
        (lambda: Area(10, 46, 370, 47), "-180..180"),
    ],
)
def test_what_cannot_be_planned_is_refused(call, told):
    with pytest.raises(InputError) as raised:
        call()
    assert told in str(raised.value)
