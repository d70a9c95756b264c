"""NASA's archives through earthaccess, with the user's Earthdata login."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from glacmb_grid.errors import InputError, listing
from glacmb_grid.fetching.contract import Area, Item
from glacmb_grid.fetching.data_store import without_extra

if TYPE_CHECKING:
    import requests

_DIGESTS = {"MD5": "md5", "SHA-256": "sha256", "SHA-512": "sha512", "SHA-1": "sha1"}
_BYTES = {"B": 1.0, "KB": 1024.0, "MB": 1024.0**2, "GB": 1024.0**3}


def session() -> requests.Session:
    """A session with the user's login, from the environment or ~/.netrc.

    Raises
    ------
    InputError
        Without a login, or without earthaccess.
    """
    try:
        import earthaccess
    except ImportError as error:
        raise without_extra("earthaccess") from error
    remedy = (
        "register at urs.earthdata.nasa.gov; then set EARTHDATA_USERNAME and EARTHDATA_PASSWORD, or write `machine "
        "urs.earthdata.nasa.gov login ... password ...` to ~/.netrc"
    )
    troubles = []
    for strategy in ("environment", "netrc"):
        try:
            if earthaccess.login(strategy=strategy).authenticated:
                return earthaccess.get_requests_https_session()
        except Exception as error:  # noqa: BLE001 - it raises many kinds of its own
            troubles.append(f"{strategy}: {' '.join(str(error).split())}")
    found = "; ".join(troubles) or "none"
    raise InputError("fetch: Earthdata", expected="your Earthdata login", found=found, remedy=remedy)


def granules(product: str, version: str, area: Area, begin: str, end: str) -> list[Any]:
    """Granules of a product over an area from one day to another, as its catalogue lists them."""
    try:
        import earthaccess
    except ImportError as error:
        raise without_extra("earthaccess") from error
    found = []
    for west, east in area.spans:
        box = (west, area.south, east, area.north)
        try:
            found += earthaccess.search_data(
                short_name=product, version=version, bounding_box=box, temporal=(begin, end), count=-1
            )
        except (RuntimeError, OSError) as error:
            raise InputError(
                f"fetch: {product}",
                expected="an answer of NASA's catalogue",
                found=f"{type(error).__name__}: {error}",
                remedy="call the same command later",
            ) from error
    return found


def items_of(granules: Iterable[Any], folder: str) -> list[Item]:
    """The data files of granules, each once, in the order of their names."""
    found = {}
    for granule in granules:
        links = [u for u in granule.data_links(access="external") if u.startswith("http")]
        files = {f["Name"]: f for f in _files(granule["umm"])}
        for link in links:
            name = link.rpartition("/")[2]
            if not name.endswith((".hdf", ".h5", ".nc")):
                continue
            known = files.get(name, {})
            size = known.get("SizeInBytes") or known.get("Size", 0) * _BYTES.get(known.get("SizeUnit", "B").upper(), 0)
            given = known.get("Checksum", {})
            algorithm = _DIGESTS.get(given.get("Algorithm", ""), "")
            found[name] = Item(
                f"{folder}/{name}",
                "earthdata",
                link,
                size=round(size),
                exact="SizeInBytes" in known,
                checksum=f"{algorithm}:{given['Value']}" if algorithm else "",
            )
    return [found[n] for n in sorted(found)]


def _files(umm: dict[str, Any]) -> list[dict[str, Any]]:
    """What the catalogue knows of the files of a granule, with those inside packages."""
    listed = umm.get("DataGranule", {}).get("ArchiveAndDistributionInformation", [])
    return [*listed, *(f for entry in listed for f in entry.get("Files", []))]


def nothing(product: str, area: Area, years: tuple[int, int]) -> InputError:
    """The error for a search that found no granule."""
    return InputError(
        f"fetch: {product}",
        expected="granules over the region",
        found=f"none over {area} in {listing(years, 2)}",
        remedy="check the region (west, south, east, north) and the years: MODIS begins in 2000",
    )
