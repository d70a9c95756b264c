"""Observations and links written by hand in the layouts of the World Glacier Monitoring Service."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.inputs.balances import read_observations
from glacmb_grid.inputs.links import link
from glacmb_grid.inputs.links.names import are_spellings, can_be_same
from glacmb_grid.inputs.links.tables import read_link_table
from glacmb_grid.inputs.links.versions import read_versions
from glacmb_grid.inputs.outlines import read_outlines
from glacmb_grid.report.check import unmatched_lines

SHARED = """YEAR,WGMS_ID,POLITICAL_UNIT,NAME,AREA,WINTER_BALANCE,SUMMER_BALANCE,ANNUAL_BALANCE,REMARKS,RGI_ID
2001,491,AT,HINTEREIS,8.0,,,-1173.0,,RGI50-11.00897
2002,491,AT,HINTEREIS,8.0,,,-647.0,"windy, cold",RGI50-11.00897
2001,489,AT,VERNAGT,8.7,,,-215.0,,RGI60-11.00719
"""
EE = """POLITICAL_UNIT,NAME,WGMS_ID,YEAR,LOWER_BOUND,UPPER_BOUND,AREA,WINTER_BALANCE,ANNUAL_BALANCE,ANNUAL_BALANCE_UNC,X
AR,AGUA NEGRA,04532,2015,9999,9999,1.02,1308,-793,500.0,
AR,AGUA NEGRA,04532,2015,4750,4800,0.03,250,-2778,500.0,
AR,AGUA NEGRA,04532,2015,4800,4850,0.03,250,-1778,500.0,
AR,AGUA NEGRA,04532,2016,9999,9999,1.02,1308,-418,,
AR,AGUA NEGRA,04532,2017,9999,9999,1.02,1308,,,
"""
NEWER = """country,glacier_name,glacier_id,outline_id,year,time_system,begin_date,annual_balance,annual_balance_unc
AT,Hintereisferner,491,8,2001,FXD,2000-10-01,-1.173,0.2
AT,Hintereisferner,491,8,2002,STR,2001-10-05,-0.647,
"""


def write(tmp_path, text, name="balance.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def read(tmp_path, text=SHARED, units="mm w.e.", **options):
    return read_observations(write(tmp_path, text, **options), units=units)


def refused(tmp_path, text, units="mm w.e.", **options) -> str:
    with pytest.raises((InputError, InputErrors)) as raised:
        read(tmp_path, text, units, **options)
    found = str(raised.value)
    for part in ("balance.csv", "expected:", "found:", "remedy:"):
        assert part in found
    return found


# --- layouts ---------------------------------------------------------------------------------------------------------


def test_the_table_that_regional_models_share(tmp_path):
    found = read(tmp_path)
    assert found["site"].tolist() == ["491", "491", "489"]
    assert found["year"].tolist() == [2001, 2002, 2001]
    assert found["mass_balance"].tolist() == pytest.approx([-1.173, -0.647, -0.215])
    assert found["rgi_id"].tolist() == ["RGI50-11.00897"] * 2 + ["RGI60-11.00719"]
    assert found["line"].tolist() == [2, 3, 4]
    assert found["uncertainty"].tolist() == [0.2] * 3
    assert not found["uncertainty_given"].any()
    assert found[["longitude", "latitude"]].isna().all(axis=None)


def test_only_the_glacier_wide_rows_of_the_fog_table(tmp_path):
    found = read(tmp_path, EE)
    assert found["year"].tolist() == [2015, 2016]
    assert found["site"].tolist() == ["4532"] * 2
    assert found["mass_balance"].tolist() == pytest.approx([-0.793, -0.418])
    assert found["uncertainty"].tolist() == pytest.approx([0.5, 0.2])
    assert found["uncertainty_given"].tolist() == [True, False]


def test_a_table_of_bands_only(tmp_path):
    bands = "\n".join(line for line in EE.splitlines() if "9999" not in line)
    assert "9999" in refused(tmp_path, bands)


def test_the_newer_layout_in_metres(tmp_path):
    found = read(tmp_path, NEWER, "m w.e.")
    assert found["mass_balance"].tolist() == pytest.approx([-1.173, -0.647])
    assert found["time_system"].tolist() == ["FXD", "STR"]
    assert found["uncertainty"].tolist() == pytest.approx([0.2, 0.2])
    assert found["name"].tolist() == ["Hintereisferner"] * 2


def test_kilograms(tmp_path):
    assert read(tmp_path, units="kg m-2")["mass_balance"].tolist() == read(tmp_path)["mass_balance"].tolist()


@pytest.mark.parametrize(
    "text",
    [
        SHARED.replace("\n", "\r\n"),
        "\ufeff" + SHARED,
        SHARED + "\n\n  \n,,,,,,,,,\n",
        SHARED.replace(",", ";").replace('"windy; cold"', "windy"),
        SHARED.replace(",", "\t").replace('"windy\t cold"', "windy"),
        SHARED.replace("YEAR", " year ").replace("WGMS_ID", "Wgms_Id"),
        SHARED.replace(",491,", ",00491,"),
        SHARED.replace(",491,", ",491.0,"),
        "\n" + SHARED,
    ],
)
def test_the_same_table_written_otherwise(tmp_path, text):
    expected, found = read(tmp_path), read(tmp_path, text)
    columns = ["site", "year", "mass_balance", "rgi_id"]
    assert found[columns].to_numpy().tolist() == expected[columns].to_numpy().tolist()


def test_lines_are_those_of_the_file(tmp_path):
    text = SHARED.replace("2001,489", '\n2003,491,AT,X,8,,,-100,"two\nlines",\n\n2001,489')
    assert read(tmp_path, text)["line"].tolist() == [2, 3, 6, 8]


# --- bad cells -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["9999", "-9999", "9999.0", "99999"])
@pytest.mark.parametrize("units", ["mm w.e.", "m w.e."])
def test_codes_for_missing_values_are_no_balances(tmp_path, code, units):
    text = refused(tmp_path, SHARED.replace("-647.0", code), units)
    assert "in line(s) 3" in text
    assert "9999" in text


def test_codes_for_missing_values_are_no_uncertainties(tmp_path):
    assert "in line(s) 2" in refused(tmp_path, EE.replace("-793,500.0", "-793,9999"))


def test_millimetres_declared_as_metres(tmp_path):
    assert "units: mm w.e." in refused(tmp_path, SHARED, "m w.e.")


@pytest.mark.parametrize("units", ["mm w.e.", "kg m-2"])
def test_metres_declared_as_millimetres(tmp_path, units):
    assert "units: m w.e." in refused(tmp_path, NEWER, units)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("-647.0", "about -600", "'about -600' in line(s) 3"),
        ("-647.0", '"-647,0"', "point for decimals"),
        ("-647.0", "inf", "line(s) 3"),
        ("2002,491", ",491", "year"),
        ("2002,491", "2002.5,491", "2002.5"),
        ("2002,491", "-2002,491", "-2002"),
        ("2002,491", "02,491", "'02'"),
        ("2002,491", "2001/02,491", "2001/02"),
        ("2002,491", "2002,", "blank in line(s) 3"),
        ("2002,491", "2001,491", "491 in 2001 (lines 2, 3)"),
        ("-647.0", '"-647.0', "quotes"),
        (",-647.0,", ",-647,0,", "11"),
        (",-647.0", "", "10 cells"),
        ("ANNUAL_BALANCE", "BALANCE", "annual_balance or mass_balance"),
        ("AREA", "YEAR", "more than once: year"),
    ],
)
def test_a_broken_cell_is_named(tmp_path, old, new, says):
    assert SHARED.count(old) == 1
    assert says in refused(tmp_path, SHARED.replace(old, new))


def test_all_broken_columns_come_at_once(tmp_path):
    text = refused(tmp_path, SHARED.replace("-647.0", "x").replace("2001,489", "y,489").replace("2001,491", "2001,"))
    for part in ("3 problems", "mass_balance", "year", "site"):
        assert part in text


def test_several_missing_columns_come_at_once(tmp_path):
    text = refused(tmp_path, "A,B\n1,2\n")
    assert "balance.csv: site, year, mass_balance" in text
    assert "observations: {columns: {site: COLUMN, year: COLUMN, mass_balance: COLUMN}}" in text


def test_words_for_nothing_are_blank(tmp_path):
    found = read(tmp_path, SHARED.replace("-647.0", "NaN"))
    assert found["year"].tolist() == [2001, 2001]


@pytest.mark.parametrize("text", ["", "\n\n", SHARED.splitlines()[0]])
def test_an_empty_table(tmp_path, text):
    refused(tmp_path, text)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8", "utf-8-sig"])
def test_encodings_of_spreadsheets_and_older_releases(tmp_path, encoding):
    found = read(tmp_path, SHARED.replace("VERNAGT", "ÖTZTAL"), encoding=encoding)
    assert found["name"].tolist()[2] == "ÖTZTAL"
    assert found["mass_balance"].tolist() == pytest.approx([-1.173, -0.647, -0.215])


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"PK\x03\x04....[Content_Types].xml", "a spreadsheet (.xlsx)"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "an old spreadsheet"),
        (SHARED.encode("utf-16-le"), "without its mark"),
        (b"%PDF-1.7", "PDF"),
    ],
)
def test_what_is_no_text_is_named(tmp_path, raw, what):
    (tmp_path / "balance.csv").write_bytes(raw)
    with pytest.raises(InputError, match=r"save it as CSV|give the table as CSV") as raised:
        read_observations(tmp_path / "balance.csv", units="mm w.e.")
    assert what in str(raised.value)


@pytest.mark.parametrize(("east", "north"), [("632000", "5180000"), ("10.7", "95"), ("-181", "46")])
def test_positions_that_are_no_degrees(tmp_path, east, north):
    text = f"YEAR,WGMS_ID,ANNUAL_BALANCE,LON,LAT\n2001,1,-500,{east},{north}\n"
    assert "degrees" in refused(tmp_path, text)


def test_a_folder_is_no_table(tmp_path):
    (tmp_path / "balance.csv").mkdir()
    with pytest.raises(InputError, match=r"balance\.csv"):
        read_observations(tmp_path / "balance.csv", units="mm w.e.")


# --- link tables -----------------------------------------------------------------------------------------------------

LINKS = """RGI glaciers with mass-balance measurements,
Someone, 2015; someone else, 2016
RGIId,GLIMSId,Name,Area,CenLon,CenLat,FoGId,PolUnit
RGI60-11.00897,G0,Hintereis ,8.0, 10.71,46.81, 0491,AT
RGI60-11.00719,G1,Vernagt,8.7,10.81,46.81,0489,AT
"""
POSITIONS = """POLITICAL_UNIT,NAME,WGMS_ID,LATITUDE,LONGITUDE
AT,HINTEREIS,00491,46.81,10.71
AT,VERNAGT,00489,46.81,10.81
AT,NOWHERE,00500,,
"""


def test_the_table_of_links_starts_with_remarks(tmp_path):
    found = read_link_table(write(tmp_path, LINKS))
    assert found["site"].tolist() == ["491", "489"]
    assert found["rgi_id"].tolist() == ["RGI60-11.00897", "RGI60-11.00719"]
    assert found["longitude"].tolist() == [10.71, 10.81]


def test_the_table_of_glaciers_has_positions(tmp_path):
    found = read_link_table(write(tmp_path, POSITIONS))
    assert found["site"].tolist() == ["491", "489", "500"]
    assert found["longitude"].tolist()[:2] == pytest.approx([10.71, 10.81])
    assert found.loc[2, ["longitude", "latitude"]].isna().all()


def test_longitudes_beyond_180_are_negative_ones(tmp_path):
    found = read_link_table(write(tmp_path, POSITIONS.replace(",10.71", ",290")))
    assert found["longitude"].tolist()[:2] == pytest.approx([-70, 10.81])


@pytest.mark.parametrize(
    ("text", "says"), [("", "empty"), ("a,b\n1,2\n", "fogid"), (LINKS.replace(" 10.71", "ten"), "'ten' in line(s) 4")]
)
def test_a_broken_link_table(tmp_path, text, says):
    with pytest.raises(InputError) as raised:
        read_link_table(write(tmp_path, text))
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("header", "row", "what"),
    [
        ("country,glacier_name,glacier_id,year,annual_balance", "AT,H,491,2022,-3.3", "a table of mass balances"),
        ("glacier_id,year,latitude,longitude,elevation,balance", "491,2022,46.8,10.7,2600,-4", "balances at points"),
        (
            "glacier_id,begin_date,end_date,area,elevation_change",
            "491,2000,2019,8036000,-19",
            "changes between surveys",
        ),
        ("wgms_id,rgi_id,name,latitude,longitude", "491,,H,,", "neither of them"),
        ("wgms_id,country", "491,AT", "neither of them"),
    ],
)
def test_what_is_no_table_of_links(tmp_path, header, row, what):
    with pytest.raises(InputError) as raised:
        read_link_table(write(tmp_path, f"{header}\n{row}\n"))
    said = str(raised.value)
    assert what in said
    assert "columns " + header.lower().split(",")[0] in said
    assert "glacier.csv" in said


def test_links_between_versions_are_named_as_such(tmp_path):
    text = "rgi7_id,rgi6_id,rgi7_area_fraction\nRGI2000-v7.0-G-11-03116,RGI60-11.00897,0.99\n"
    with pytest.raises(InputError, match=r"links: \{versions: FILE\}"):
        read_link_table(write(tmp_path, text))


def test_balances_with_identifiers_are_a_table_of_links_too(tmp_path):
    assert read_link_table(write(tmp_path, SHARED))["rgi_id"].tolist()[0] == "RGI50-11.00897"


# --- linking ---------------------------------------------------------------------------------------------------------

HINTEREIS, VERNAGT = shapely.box(10.70, 46.80, 10.72, 46.82), shapely.box(10.80, 46.80, 10.82, 46.82)


def outlines(tmp_path, ids=("RGI50-11.00897", "RGI50-11.00719"), shapes=(HINTEREIS, VERNAGT)):
    path = tmp_path / "outlines.gpkg"
    gpd.GeoDataFrame({"RGIId": list(ids)}, geometry=list(shapes), crs=4326).to_file(path)
    return read_outlines(path)


def observed(*sites, year=2001):
    """Rows of (site, rgi_id, longitude, latitude)."""
    return pd.DataFrame(
        [
            {"site": s, "name": "", "year": year, "mass_balance": -0.5, "rgi_id": i, "longitude": x, "latitude": y}
            | {"line": n}
            for n, (s, i, x, y) in enumerate(sites, 2)
        ]
    )


IN_HINTEREIS, IN_VERNAGT, NOWHERE, UNKNOWN = (10.71, 46.81), (10.81, 46.81), (11.9, 47.9), (np.nan, np.nan)


def only(linked):
    """Outline, kind and reason of the only site."""
    if len(linked.observations):
        return linked.observations["glacier"].iloc[0], linked.observations["link"].iloc[0], ""
    return "", "", linked.unmatched["reason"].iloc[0]


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        (("1", "RGI50-11.00897", *UNKNOWN), ("RGI50-11.00897", "exact")),
        (("1", "RGI50-11.00897", *IN_HINTEREIS), ("RGI50-11.00897", "exact")),
        (("1", "RGI60-11.00897", *IN_HINTEREIS), ("RGI50-11.00897", "suffix")),
        (("1", "RGI60-11.00897", 10.73, 46.81), ("RGI50-11.00897", "suffix")),  # 0.8 km outside
        (("1", "", *IN_VERNAGT), ("RGI50-11.00719", "position")),
        (("1", "RGI40-11.00897", *IN_VERNAGT), ("RGI50-11.00719", "position")),  # version 4 numbers otherwise
    ],
)
def test_kinds_of_links(tmp_path, site, expected):
    assert only(link(observed(site), outlines(tmp_path)))[:2] == expected


def test_links_show_what_was_linked_and_what_was_not(tmp_path):
    sites = [("1", "RGI50-11.00897", *UNKNOWN), ("2", "", *IN_VERNAGT), ("3", "", *NOWHERE)]
    linked = link(observed(*sites), outlines(tmp_path))
    line = "<Linked: 2 observations of 2 glaciers (1 by exact, 1 by position), 1 unmatched, 67% linked>"
    assert repr(linked) == line
    html = linked._repr_html_()
    assert html.startswith(f"<code>&lt;{line[1:-1]}&gt;</code>")
    assert "its position is outside all outlines" in html
    nothing = link(observed(("1", "", *NOWHERE)), outlines(tmp_path))
    assert repr(nothing) == "<Linked: 0 observations of 0 glaciers (none), 1 unmatched, 0% linked>"


@pytest.mark.parametrize(
    ("site", "reason"),
    [
        (("1", "RGI60-11.00897", *UNKNOWN), "no position to confirm"),
        (("1", "RGI60-11.00897", *NOWHERE), "km away"),
        (("1", "RGI60-11.00897", *IN_VERNAGT), "7 km away"),  # and never silently the other outline
        (("1", "RGI60-11.99999", *UNKNOWN), "no outline with this identifier"),
        (("1", "", *UNKNOWN), "neither an outline's identifier nor a position"),
        (("1", "", *NOWHERE), "outside all outlines"),
    ],
)
def test_reasons_of_the_unmatched(tmp_path, site, reason):
    linked = link(observed(site), outlines(tmp_path))
    assert len(linked.observations) == 0
    assert reason in only(linked)[2]
    assert linked.unmatched["site"].tolist() == ["1"]


def test_kinds_can_be_switched_off(tmp_path):
    sites = observed(("1", "RGI60-11.00897", *IN_HINTEREIS))
    assert only(link(sites, outlines(tmp_path), suffix=False))[1] == "position"
    assert only(link(sites, outlines(tmp_path), suffix=False, position=False))[1] == ""


def test_the_distance_can_be_set(tmp_path):
    site = ("1", "RGI60-11.00897", 10.76, 46.81)  # 3 km outside
    assert only(link(observed(site), outlines(tmp_path)))[1] == ""
    assert only(link(observed(site), outlines(tmp_path), max_distance_km=4))[1] == "suffix"


def test_outlines_of_rgi_7_are_never_matched_by_suffix(tmp_path):
    glaciers = outlines(tmp_path, ("RGI2000-v7.0-G-11-00897", "RGI2000-v7.0-G-11-00719"))
    assert only(link(observed(("1", "RGI60-11.00897", *UNKNOWN)), glaciers))[1] == ""
    # the same number, and a position in the other outline: only the position counts
    linked = only(link(observed(("1", "RGI60-11.00897", *IN_VERNAGT)), glaciers))
    assert linked[:2] == ("RGI2000-v7.0-G-11-00719", "position")
    assert only(link(observed(("1", "RGI2000-v7.0-G-11-00897", *UNKNOWN)), glaciers))[1] == "exact"


def test_tables_complete_what_the_observations_lack(tmp_path):
    table = read_link_table(write(tmp_path, LINKS))
    sites = observed(("491", "", *UNKNOWN), ("489", "RGI60-11.00719", *UNKNOWN))
    linked = link(sites, outlines(tmp_path), table=table)
    assert linked.observations[["glacier", "link"]].to_numpy().tolist() == [
        ["RGI50-11.00897", "suffix"],
        ["RGI50-11.00719", "suffix"],
    ]
    positions = read_link_table(write(tmp_path, POSITIONS))
    assert link(sites, outlines(tmp_path), positions=positions).observations["link"].tolist() == ["position", "suffix"]


def test_a_mapping_comes_first(tmp_path):
    sites = observed(("491", "RGI50-11.00897", *IN_HINTEREIS))
    for key in ("491", "0491"):
        linked = only(link(sites, outlines(tmp_path), mapping={key: "RGI50-11.00719"}))
        assert linked[:2] == ("RGI50-11.00719", "mapping")


def test_a_mapping_of_or_to_something_unknown_is_an_error(tmp_path):
    sites = observed(("491", "RGI50-11.00897", *IN_HINTEREIS))
    with pytest.raises(InputErrors) as raised:
        link(sites, outlines(tmp_path), mapping={"491": "RGI50-11.99999", "492": "RGI50-11.00719"})
    assert "RGI50-11.99999" in str(raised.value)
    assert "'492'" in str(raised.value)


@pytest.mark.parametrize("position", [IN_VERNAGT, NOWHERE])
def test_an_identifier_and_a_position_that_contradict(tmp_path, position):
    with pytest.raises(InputError, match="site 491") as raised:
        link(observed(("491", "RGI50-11.00897", *position)), outlines(tmp_path))
    assert "links: {mapping: {'491': ID}}" in str(raised.value)


def test_a_position_inside_two_outlines(tmp_path):
    with pytest.warns(UserWarning, match="a and b"):
        glaciers = outlines(tmp_path, ("a", "b"), (HINTEREIS, shapely.box(10.70, 46.80, 10.75, 46.82)))
    with pytest.raises(InputError, match="inside a, b"):
        link(observed(("491", "", *IN_HINTEREIS)), glaciers)


def test_two_sites_on_one_outline_in_the_same_year(tmp_path):
    sites = (("491", "RGI50-11.00897", *UNKNOWN), ("492", "", *IN_HINTEREIS))
    with pytest.raises(InputError, match="sites 491, 492"):
        link(observed(*sites), outlines(tmp_path))
    in_turn = pd.concat([observed(sites[0]), observed(sites[1], year=2002)], ignore_index=True)
    assert len(link(in_turn, outlines(tmp_path)).observations) == 2


def test_identifiers_of_several_outlines(tmp_path):
    sites = pd.concat([observed(("491", "RGI50-11.00897", *UNKNOWN)), observed(("491", "RGI50-11.00719", *UNKNOWN))])
    with pytest.raises(InputError, match="several"):
        link(sites.assign(year=[2001, 2002]), outlines(tmp_path))


def test_all_ambiguous_sites_come_at_once(tmp_path):
    sites = observed(("1", "RGI50-11.00897", *IN_VERNAGT), ("2", "RGI50-11.00719", *IN_HINTEREIS))
    with pytest.raises(InputErrors) as raised:
        link(sites, outlines(tmp_path))
    assert len(raised.value.problems) == 2


def test_a_position_across_the_antimeridian(tmp_path):
    glaciers = outlines(tmp_path, ("RGI60-19.00001",), (shapely.box(179.99, -70.0, 180.0, -69.99),))
    assert only(link(observed(("1", "RGI50-19.00001", -179.999, -69.995)), glaciers))[1] == "suffix"


# --- names, versions, lists of identifiers


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("HINTEREIS F.", "Hintereisferner", True),
        ("VERNAGT FERNER", "Vernagtferner", True),
        ("KESSELWAND F.", "Hintereisferner", False),
        ("STORBREEN", "Storbreen (Storbrean)", True),
        ("STORGLACIAEREN", "Storglaci\u00e4ren", True),
        ("ISFALLSGLACIAEREN", "Storglaci\u00e4ren", False),
        ("URUMQI GLACIER NO. 1 E-BRANCH", "Urumqi Glacier No. 1", True),
        ("GLACIER NO. 50", "Glacier No. 46", False),
        ("TS.TUYUKSUYSKIY", "Tsentralniy Tuyuksuyskiy", True),
        ("GRIES", "Griesgletscher", True),
        ("GRIES", "Rhonegletscher", False),
        ("AALFOTBREEN", "\u00c5lfotbreen", True),
        ("SILVRETTA", "", True),
        ("SILVRETTA", "AT4J143OE125", True),
    ],
)
def test_names_of_one_glacier_in_several_spellings(one, other, same):
    assert can_be_same(one, other) == can_be_same(other, one) == same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("HINTEREIS", "Hintereisferner", True),
        ("SILVRETTA GL.", "Silvrettagletscher", True),
        ("KESSJEN", "Kesselwandferner", False),
        ("VERMUNT G.", "Vernagtferner", False),
        ("ESPERANZA", "Kesselwandferner", False),
        ("", "Vernagtferner", False),
    ],
)
def test_a_name_alone_suggests_its_own_spellings_only(one, other, same):
    assert are_spellings(one, other) == are_spellings(other, one) == same


def named(tmp_path, *names):
    return outlines(tmp_path).assign(name=list(names))


def test_a_position_inside_a_neighbour_of_another_name_is_not_linked(tmp_path):
    """Sorted: RGI50-11.00719 is Vernagtferner, RGI50-11.00897 Hintereisferner."""
    glaciers = named(tmp_path, "Vernagtferner", "Hintereisferner")
    site = observed(("491", "", *IN_VERNAGT))
    found = only(link(site.assign(name="KESSELWAND F."), glaciers))
    assert found[0] == ""
    assert "inside RGI50-11.00719 (Vernagtferner), but the site is called KESSELWAND F." in found[2]
    assert "`observations: {links: {mapping: {'491': RGI50-11.00719}}}`" in found[2]
    assert only(link(site.assign(name="VERNAGT FERNER"), glaciers))[:2] == ("RGI50-11.00719", "position")
    assert only(link(site, glaciers))[:2] == ("RGI50-11.00719", "position")  # nothing says that it is another
    table = pd.DataFrame({"site": ["491"], "rgi_id": "", "name": ["KESSELWAND"], "longitude": 10.81, "latitude": 46.81})
    assert only(link(observed(("491", "", *UNKNOWN)), glaciers, positions=table))[0] == ""


def test_a_position_inside_an_unnamed_neighbour_of_the_named_one_is_not_linked(tmp_path):
    beside = shapely.box(10.721, 46.80, 10.74, 46.82)
    glaciers = outlines(tmp_path, shapes=(HINTEREIS, beside)).assign(name=["", "Hintereisferner"])
    found = only(link(observed(("491", "", 10.73, 46.81)).assign(name="HINTEREIS F."), glaciers))
    assert found[0] == ""
    assert "RGI50-11.00897 (Hintereisferner) has a similar name" in found[2]
    assert "mapping: {'491': RGI50-11.00897}" in found[2]
    assert only(link(observed(("1", "", 10.73, 46.81)).assign(name="OTHER"), glaciers))[1] == "position"


def test_a_suffix_whose_outline_has_another_name_is_not_linked(tmp_path):
    site = observed(("491", "RGI60-11.00897", *IN_HINTEREIS)).assign(name="GRIES")
    assert "Hintereisferner" in only(link(site, named(tmp_path, "x", "Hintereisferner")))[2]
    assert only(link(site, named(tmp_path, "x", "Griesgletscher")))[1] == "suffix"


def test_the_nearest_outline_is_offered_to_a_site_beside_it(tmp_path):
    reason = only(link(observed(("491", "", 10.725, 46.81)), outlines(tmp_path)))[2]
    assert reason.startswith("its position is outside all outlines; RGI50-11.00897 is 0.4 km away")
    assert "mapping: {'491': RGI50-11.00897}" in reason


def test_pieces_of_the_outline_with_the_identifier_are_told(tmp_path):
    glaciers = outlines(tmp_path, ("RGI50-11.00897_d01", "RGI50-11.00897_d02"))
    assert "merge_pieces: true" in only(link(observed(("1", "RGI50-11.00897", *UNKNOWN)), glaciers))[2]


OF_2025 = """country,short_name,names,id,latitude,longitude,gtng_region,glims_id,rgi50_ids,rgi60_ids,rgi70_ids,remarks
AT,HINTEREIS F.,Hintereisferner,491,46.8,10.77,11,G0,RGI50-11.00897,RGI60-11.00897,RGI2000-v7.0-G-11-03116,
AT,TWO,,0507,46.83,10.8,11,,,RGI60-11.00787|RGI60-11.00788,"RGI2000-v7.0-G-11-00001, RGI2000-v7.0-G-11-00002",
AT,NONE,,9,,,11,,,,,
"""


def test_the_glaciers_of_the_releases_since_2025(tmp_path):
    found = read_link_table(write(tmp_path, OF_2025))
    assert found.groupby("site", sort=False)["rgi_id"].agg(list).to_dict() == {
        "491": ["RGI50-11.00897", "RGI60-11.00897", "RGI2000-v7.0-G-11-03116"],
        "507": ["RGI60-11.00787", "RGI60-11.00788", "RGI2000-v7.0-G-11-00001", "RGI2000-v7.0-G-11-00002"],
        "9": [""],
    }
    glaciers = outlines(tmp_path, ("RGI2000-v7.0-G-11-03116", "RGI2000-v7.0-G-11-00002"))
    linked = link(observed(("491", "", *UNKNOWN), ("507", "", *UNKNOWN)), glaciers, table=found)
    assert linked.observations["link"].tolist() == ["exact", "exact"]
    assert linked.observations["glacier"].tolist() == ["RGI2000-v7.0-G-11-03116", "RGI2000-v7.0-G-11-00002"]


VERSIONS = """rgi7_id,rgi6_id,rgi7_reg,rgi6_reg,km2,rgi7_area_fraction,rgi6_area_fraction,n_rgi7,n_rgi6
RGI2000-v7.0-G-11-03116,RGI60-11.00897,11,11,8.0,0.99,0.98,1,1
RGI2000-v7.0-G-11-00001,RGI60-11.00719,11,11,4.0,0.99,0.45,2,1
RGI2000-v7.0-G-11-00002,RGI60-11.00719,11,11,4.0,0.99,0.55,2,1
"""


def test_identifiers_of_rgi_6_find_outlines_of_rgi_7_and_back(tmp_path):
    versions = read_versions(write(tmp_path, VERSIONS))
    glaciers = outlines(tmp_path, ("RGI2000-v7.0-G-11-03116", "RGI2000-v7.0-G-11-00002"))
    linked = link(observed(("491", "RGI60-11.00897", *UNKNOWN)), glaciers, versions=versions)
    assert only(linked)[:2] == ("RGI2000-v7.0-G-11-03116", "version")
    part = only(link(observed(("489", "RGI60-11.00719", *UNKNOWN)), glaciers, versions=versions))
    assert part[0] == ""
    assert "RGI2000-v7.0-G-11-00002 shares 55% of it, which are 99% of RGI2000-v7.0-G-11-00002" in part[2]
    back = link(observed(("1", "RGI2000-v7.0-G-11-03116", *UNKNOWN)), outlines(tmp_path, ("RGI60-11.00897", "b")),
                versions=versions)  # fmt: skip
    assert only(back)[:2] == ("RGI60-11.00897", "version")
    with pytest.raises(InputError, match="rgi6_links"):
        read_versions(write(tmp_path, "rgi7_id,rgi6_id\na,b\n"))


def test_outlines_of_another_version_tell_which_is_which(tmp_path):
    old = gpd.GeoDataFrame(
        {"RGIId": ["RGI60-11.00897", "RGI60-11.00719"]},
        geometry=[shapely.box(10.70, 46.80, 10.722, 46.82), shapely.box(10.80, 46.80, 10.86, 46.82)],
        crs=4326,
    )
    old.to_file(tmp_path / "rgi6.gpkg")
    glaciers = outlines(tmp_path, ("RGI2000-v7.0-G-11-03116", "RGI2000-v7.0-G-11-00002"))
    versions = read_versions(tmp_path / "rgi6.gpkg")
    sites = observed(("491", "RGI60-11.00897", *UNKNOWN), ("489", "RGI60-11.00719", *UNKNOWN))
    linked = link(sites, glaciers, versions=versions)
    assert linked.observations[["glacier", "link"]].to_numpy().tolist() == [["RGI2000-v7.0-G-11-03116", "version"]]
    assert "shares 33% of it" in linked.unmatched["reason"][0]


# --- real data -------------------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.filterwarnings("ignore:.*repaired invalid rings")
def test_the_real_observations_of_the_oetztal_alps(real_data):
    glaciers = read_outlines(real_data / "oetztal" / "rgi_oetztal.shp", merge_pieces=True)
    folder = real_data / "observations"
    rows = read_observations(folder / "wgms_annual_mass_balance.csv", units="mm w.e.")
    assert len(rows) == 6537
    assert rows["site"].nunique() == 290
    linked = link(rows, glaciers, table=read_link_table(folder / "rgi60_links.csv"))
    usable = linked.observations[linked.observations["year"].between(1982, 2018)]
    assert len(usable) == 111
    kinds = usable.groupby("site")["link"].unique().map(list).to_dict()
    assert kinds == {"489": ["suffix"], "491": ["suffix"], "507": ["exact"]}
    assert set(usable.groupby("site")["year"].nunique()) == {37}
    assert len(linked.unmatched) == len(rows) - len(linked.observations)


@pytest.mark.real
def test_the_real_fog_table_gives_glacier_wide_rows_only(real_data):
    path = real_data / "observations" / "fog_EE_mass_balance_extract.csv"
    raw = pd.read_csv(path)
    whole = raw[(raw["LOWER_BOUND"] == 9999) & (raw["UPPER_BOUND"] == 9999) & raw["ANNUAL_BALANCE"].notna()]
    found = read_observations(path, units="mm w.e.")
    assert len(found) == len(whole) < len(raw)
    np.testing.assert_allclose(found["mass_balance"], whole["ANNUAL_BALANCE"] / 1000)
    assert len(read_link_table(real_data / "observations" / "fog_A_glacier_extract.csv")) > 1000


@pytest.mark.real
def test_the_real_chinese_table_has_one_glacier_thrice(real_data, tmp_path):
    rows = read_observations(real_data / "observations" / "china_annual_mass_balance_merged.csv", units="mm w.e.")
    assert len(rows) == 249
    assert rows["site"].nunique() == 23
    urumqi = rows[rows["name"].str.contains("URUMQI")]
    assert urumqi["site"].nunique() == 3
    x, y = urumqi["longitude"].mean(), urumqi["latitude"].mean()
    glaciers = outlines(tmp_path, ("RGI60-13.45335",), (shapely.box(x - 0.05, y - 0.05, x + 0.05, y + 0.05),))
    with pytest.raises(InputError, match="a glacier and its branches"):
        link(rows, glaciers)
    one = urumqi["site"].iloc[0]
    linked = link(rows[rows["site"].eq(one) | ~rows["site"].isin(urumqi["site"])], glaciers)
    assert set(linked.observations["site"]) == {one}


def test_a_site_that_is_an_outlines_own_identifier_is_linked_without_a_column_of_its_own(tmp_path):
    glaciers = outlines(tmp_path, ("KG5210", "KG5042"))
    assert only(link(observed(("KG5210", "", *UNKNOWN)), glaciers)) == ("KG5210", "exact", "")
    assert only(link(observed(("kg5042", "", *UNKNOWN)), glaciers))[0] == "KG5042"
    told = only(link(observed(("KG5210", "KG5042", *UNKNOWN)), glaciers))
    assert told[0] == "KG5042", "what stands in the column of outlines' identifiers comes before"


def test_a_bare_number_may_be_of_another_numbering(tmp_path):
    """Site 17 of the Fluctuations of Glaciers is not outline 17 of one's own inventory."""
    found = only(link(observed(("17", "", *UNKNOWN)), outlines(tmp_path, ("17", "18"))))
    assert found[0] == ""
    assert "columns: {rgi_id: COLUMN}" in found[2]
    assert only(link(observed(("17", "17", *UNKNOWN)), outlines(tmp_path, ("17", "18"))))[:2] == ("17", "exact")


def test_sites_that_are_names_of_outlines_are_offered_in_one_line(tmp_path):
    glaciers = named(tmp_path, "Glacier No. 354", "Golubin")
    linked = link(observed(("golubin", "", *UNKNOWN), ("Glacier No. 354", "", *UNKNOWN)), glaciers)
    assert len(linked.unmatched) == 2, "a name alone links nothing"
    first, second = glaciers.index
    assert linked.meant == {"Glacier No. 354": first, "golubin": second}
    line = unmatched_lines(linked)[-1]
    assert f"mapping: {{'Glacier No. 354': {first}, 'golubin': {second}}}" in line
    assert not link(observed(("golubin", "", *UNKNOWN)), glaciers, mapping={"golubin": second}).meant
