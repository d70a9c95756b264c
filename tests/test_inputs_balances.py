"""Balances of releases and of tables of one's own: units by table, glacier and row, missing values, periods, ZIPs."""

from __future__ import annotations

import json
import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest

from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.inputs.balances import read_observations


def table(glaciers=4, years=6, seed=0):
    """Balances in mm w.e., as whole numbers."""
    rng = np.random.default_rng(seed)
    g, y = (a.ravel() for a in np.indices((glaciers, years)))
    values = (rng.normal(-600, 250, glaciers)[g] + rng.normal(0, 400, g.size)).round()
    return pd.DataFrame({"WGMS_ID": 100 + g, "YEAR": 2001 + y, "ANNUAL_BALANCE": values})


def read(frame, tmp_path, units="mm w.e.", **options):
    frame.to_csv(tmp_path / "balance.csv", index=False)
    return read_observations(tmp_path / "balance.csv", units=units, **options)


def quietly(frame, tmp_path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read(frame, tmp_path, **options)


def refusal(frame, tmp_path, **options) -> str:
    frame.to_csv(tmp_path / "balance.csv", index=False)
    return refusal_of(tmp_path / "balance.csv", **{"units": "mm w.e.", **options})


def refusal_of(path, **options) -> str:
    with pytest.raises((InputError, InputErrors)) as raised:
        read_observations(path, **options)
    for part in ("expected:", "found:", "remedy:"):
        assert part in str(raised.value)
    return str(raised.value)


def with_dates(frame, begin="{}-10-01", end="{}-09-30", back=1):
    years = frame["YEAR"]
    return frame.assign(BEGIN_DATE=[begin.format(y - back) for y in years], END_DATE=[end.format(y) for y in years])


# --- units -----------------------------------------------------------------------------------------------------------

FEW, MANY = (4, 6), (12, 25)


@pytest.mark.parametrize("size", [FEW, MANY])
def test_one_glacier_in_metres_among_millimetres(tmp_path, size):
    frame = table(*size)
    mine = frame["WGMS_ID"] == 101
    frame.loc[mine, "ANNUAL_BALANCE"] /= 1000
    said = refusal(frame, tmp_path)
    assert "glacier '101'" in said
    assert "as if in m w.e." in said


@pytest.mark.parametrize("size", [FEW, MANY])
def test_one_glacier_in_centimetres_among_millimetres(tmp_path, size):
    frame = table(*size)
    mine = frame["WGMS_ID"] == 101
    frame.loc[mine, "ANNUAL_BALANCE"] = (frame.loc[mine, "ANNUAL_BALANCE"] / 10).round()
    said = refusal(frame, tmp_path)
    assert "glacier '101'" in said
    assert "as if in cm w.e." in said


@pytest.mark.parametrize("size", [FEW, MANY])
@pytest.mark.parametrize("step", [2, 3, 5])
def test_rows_in_metres_among_millimetres(tmp_path, size, step):
    frame = table(*size)
    frame.loc[::step, "ANNUAL_BALANCE"] /= 1000
    said = refusal(frame, tmp_path)
    assert "as if in m w.e." in said


def test_years_of_a_later_release_in_metres(tmp_path):
    frame = table()
    frame.loc[frame["YEAR"] >= 2005, "ANNUAL_BALANCE"] /= 1000
    assert "8 of 24 below 8 mm w.e." in refusal(frame, tmp_path)


def test_two_of_four_rows_in_metres(tmp_path):
    frame = table().head(4)
    frame["ANNUAL_BALANCE"] = [-500, -0.45, -0.6, -700]
    assert "2 of 4 below 8 mm w.e., as if in m w.e., such as -0.45, -0.6" in refusal(frame, tmp_path)


def test_one_row_in_metres_among_whole_millimetres(tmp_path):
    frame = table()
    frame.loc[7, "ANNUAL_BALANCE"] = -0.412
    assert "line(s) 9" in refusal(frame, tmp_path)


def test_rows_in_centimetres_are_told(tmp_path):
    frame = table(*MANY)
    frame.loc[::3, "ANNUAL_BALANCE"] = (frame.loc[::3, "ANNUAL_BALANCE"] / 10).round()
    with pytest.warns(UserWarning, match=r"within 0\.1 m w\.e\..*are they in cm w\.e\.\?"):
        read(frame, tmp_path)


def test_millimetres_among_metres(tmp_path):
    frame = table()
    frame["ANNUAL_BALANCE"] /= 1000
    mine = frame["WGMS_ID"] == 102
    frame.loc[mine, "ANNUAL_BALANCE"] *= 1000
    assert "most balances of '102'" in refusal(frame, tmp_path, units="m w.e.")


def test_a_table_in_centimetres(tmp_path):
    frame = table()
    expected = quietly(frame, tmp_path)["mass_balance"]
    frame["ANNUAL_BALANCE"] /= 10
    assert "units: cm w.e." in refusal(frame, tmp_path)
    assert "units: mm w.e." in refusal(frame, tmp_path, units="m w.e.")
    np.testing.assert_allclose(quietly(frame, tmp_path, units="cm w.e.")["mass_balance"], expected)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [(1, 5), FEW, MANY])
def test_tables_in_one_unit_are_read_without_a_word(tmp_path, size, seed):
    frame = table(*size, seed=seed)
    frame.loc[2, "ANNUAL_BALANCE"] = 0
    frame.loc[3, "ANNUAL_BALANCE"] = -4
    found = quietly(frame, tmp_path)
    np.testing.assert_allclose(found["mass_balance"], frame["ANNUAL_BALANCE"] / 1000)
    frame["ANNUAL_BALANCE"] /= 1000
    np.testing.assert_allclose(quietly(frame, tmp_path, units="m w.e.")["mass_balance"], found["mass_balance"])


@pytest.mark.real
@pytest.mark.parametrize("name", ["wgms_annual_mass_balance", "fog_EE_mass_balance_extract"])
def test_no_false_alarm_in_real_tables(real_data, name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_observations(real_data / "observations" / f"{name}.csv", units="mm w.e.")
    assert len(found) > 500


# --- missing values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [-999, -9999, 9999, -99999, -32768, 1e20])
def test_codes_for_missing_values_are_no_balances(tmp_path, code):
    frame = table()
    frame.loc[5, "ANNUAL_BALANCE"] = code
    said = refusal(frame, tmp_path)
    assert "line(s) 7" in said
    found = quietly(frame, tmp_path, missing=[code])
    assert len(found) == 23


@pytest.mark.parametrize("code", [-999, -99.9, -9.99])
def test_codes_among_metres(tmp_path, code):
    frame = table()
    frame["ANNUAL_BALANCE"] /= 1000
    frame.loc[5, "ANNUAL_BALANCE"] = code
    assert "missing-value codes" in refusal(frame, tmp_path, units="m w.e.")


def test_a_measured_999(tmp_path):
    frame = table()
    frame.loc[5, "ANNUAL_BALANCE"] = -999
    assert "missing: []" in refusal(frame, tmp_path)
    assert quietly(frame, tmp_path, missing=[])["mass_balance"][5] == -0.999
    many = table(40, 40)
    many = many[many["ANNUAL_BALANCE"] != -999].reset_index(drop=True)
    many.loc[5, "ANNUAL_BALANCE"] = -999
    with pytest.warns(UserWarning, match="-999 in line.* taken for measured"):
        read(many, tmp_path)
    many.loc[5:11, "ANNUAL_BALANCE"] = -99
    assert "missing-value codes -99.0" in refusal(many, tmp_path)


# --- periods ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begin", "end"),
    [("{}-10-01", "{}-09-30"), ("{}1001", "{}0930"), ("{}-09-12", "{}-10-20T00:00"), ("{}1099", "{}9999")],
)
def test_dates_of_hydrological_years_are_kept(tmp_path, begin, end):
    found = quietly(with_dates(table(), begin, end), tmp_path)
    assert len(found) == 24
    first = found.iloc[0]
    assert first["begin"] == {"{}1099": "2000-10-15", "{}-09-12": "2000-09-12"}.get(begin, "2000-10-01")
    assert first["end"] == {"{}9999": "", "{}-10-20T00:00": "2001-10-20"}.get(end, "2001-09-30")


def test_a_balance_of_five_years_is_no_annual_one(tmp_path):
    frame = with_dates(table())
    frame.loc[4, ["BEGIN_DATE", "ANNUAL_BALANCE"]] = ["2000-10-01", -2500]
    said = refusal(frame, tmp_path)
    assert "2000-10-01 to 2005-09-30" in said
    assert "line(s) 6" in said
    with pytest.warns(UserWarning, match="left out 1 balances"):
        found = read(frame, tmp_path, periods="leave_out")
    assert len(found) == 23
    assert ((found["site"] == "100") & (found["year"] == 2005)).sum() == 0


def test_a_winter_balance_is_no_annual_one(tmp_path):
    assert "a part of a year" in refusal(with_dates(table(), end="{}-04-30"), tmp_path)


@pytest.mark.parametrize("latitude", [None, 46.0, -46.0])
def test_calendar_years_are_told(tmp_path, latitude):
    frame = with_dates(table(), "{}-01-01", "{}-12-31", back=0)
    if latitude is not None:
        frame = frame.assign(LATITUDE=latitude, LONGITUDE=10.0)
    with pytest.warns(
        UserWarning, match=r"24 of 24 balances are of periods such as 2001-01-01 to 2001-12-31.*first_month: 1"
    ):
        read(frame, tmp_path)


def test_southern_years(tmp_path):
    frame = with_dates(table(), "{}-04-01", "{}-03-31")
    quietly(frame.assign(LATITUDE=-46.0, LONGITUDE=-70.0), tmp_path)
    with pytest.warns(UserWarning, match="first_month: 4"):
        read(frame.assign(LATITUDE=46.0, LONGITUDE=10.0), tmp_path)


def test_years_named_by_their_beginning(tmp_path):
    frame = with_dates(table()).assign(YEAR=lambda f: f["YEAR"] - 1)
    assert "2001-09-30 named 2000" in refusal(frame, tmp_path)
    frame = with_dates(table())
    frame.loc[3, "BEGIN_DATE"], frame.loc[3, "END_DATE"] = "2005-10-01", "2006-09-30"
    with pytest.warns(UserWarning, match="1 of 24 balances end in another year"):
        read(frame, tmp_path)
    named = quietly(with_dates(table()).drop(columns="YEAR"), tmp_path)
    assert named["year"].tolist() == table()["YEAR"].tolist()


@pytest.mark.parametrize("text", ["30.09.2001", "09/30/2001", "2001-13-01", "autumn"])
def test_other_dates_are_named(tmp_path, text):
    frame = with_dates(table())
    frame.loc[0, "END_DATE"] = text
    assert f"{text!r} in line(s) 2" in refusal(frame, tmp_path)


# --- identifiers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", [("G001", "g001"), ("G 1", "G_1"), ("G1", "G1\u200b"), ("G1", "G1\0")])
def test_one_glacier_under_two_identifiers(tmp_path, pair):
    frame = table(2, 6)
    frame["WGMS_ID"] = [pair[n - 100] for n in frame["WGMS_ID"]]
    frame["YEAR"] += np.where(frame["WGMS_ID"] == pair[0], 0, 10)
    if pair[0].casefold() != pair[1].casefold() and pair[0] == pair[1].strip("\u200b\0"):
        assert set(quietly(frame, tmp_path)["site"]) == {"G1"}  # what cannot be seen is dropped: one glacier
    else:
        assert "differ only in case" in refusal(frame, tmp_path)


# --- names of columns ------------------------------------------------------------------------------------------------


def test_any_names_of_columns(tmp_path):
    frame = table().rename(columns={"WGMS_ID": "Gletscher", "YEAR": "Jahr", "ANNUAL_BALANCE": "Ba", "x": "y"})
    frame = frame.assign(Sigma=100, bis=[f"{y}-09-30" for y in frame["Jahr"]], id=0)
    roles = {"site": "gletscher", "year": "JAHR", "mass_balance": "Ba", "uncertainty": "Sigma", "end": "bis"}
    found = quietly(frame, tmp_path, columns=roles)
    assert found["site"].tolist() == [str(g) for g in frame["Gletscher"]]
    assert found["uncertainty"].tolist() == [0.1] * 24
    assert found["end"][0] == "2001-09-30"
    assert "columns: {uncertainty: Sigmaa}" in refusal(frame, tmp_path, columns={**roles, "uncertainty": "Sigmaa"})
    assert "columns: {year: COLUMN}" in refusal(frame.drop(columns="bis"), tmp_path, columns={"site": "Gletscher"})


@pytest.mark.parametrize("text", ["-1,173", "-1,173.5", "-1 173", "-1'173", "-1.173,5"])
def test_thousands_separators_are_named(tmp_path, text):
    frame = table().astype({"ANNUAL_BALANCE": object})
    frame.loc[0, "ANNUAL_BALANCE"] = text
    assert "thousands without a separator" in refusal(frame, tmp_path)


def test_a_column_called_line(tmp_path):
    found = quietly(table().assign(line=7), tmp_path)
    assert found["line"].tolist() == list(range(2, 26))


# --- releases --------------------------------------------------------------------------------------------------------

NEW = (
    "country,glacier_name,glacier_id,outline_id,year,time_system,begin_date,begin_date_unc,end_date,end_date_unc,"
    "annual_balance,annual_balance_unc,remarks\n"
    "AT,ÖTZTAL F.,491,,2021,FXD,2020-10-01,0,2021-09-30,0,-1.173,0.2,\n"
    "AT,ÖTZTAL F.,491,,2022,FXD,2021-10-01,0,2022-09-30,0,-3.319,0.2,\n"
    "AT,KESSELWAND F.,507,,2022,STR,2021-10-01,0,2022-09-30,0,-2.8,,\n"
    "AT,KESSELWAND F.,507,,2023,STR,,,,,,,not measured\n"
)
GLACIERS = (
    "country,short_name,id,latitude,longitude,rgi60_ids\nAT,ÖTZTAL F.,491,46.8,10.77,\nAT,KESSELWAND,507,46.84,10.79,\n"
)
OLD = (
    "POLITICAL_UNIT,NAME,WGMS_ID,YEAR,LOWER_BOUND,UPPER_BOUND,AREA,ANNUAL_BALANCE,ANNUAL_BALANCE_UNC,REMARKS\n"
    "AT,ÖTZTAL F.,00491,2001,9999,9999,8,-1173,200,\n"
    "AT,ÖTZTAL F.,00491,2001,2500,2600,1,-4000,,\n"
    "AT,ÖTZTAL F.,00491,2002,9999,9999,8,-647,,\n"
)
OVERVIEW = (
    "POLITICAL_UNIT,NAME,WGMS_ID,YEAR,TIME_SYSTEM,BEGIN_PERIOD,END_WINTER,END_PERIOD\n"
    "AT,ÖTZTAL F.,491,2001,FXD,20001001,20010430,20010930\n"
)
POSITIONS = "POLITICAL_UNIT,NAME,WGMS_ID,LATITUDE,LONGITUDE\nAT,ÖTZTAL F.,00491,46.8,10.77\n"


def package(unit, table="mass_balance.csv", key="units"):
    fields = [{"name": "year", "type": "year"}, {"name": "annual_balance", "type": "number", key: unit}]
    other = {"path": "data/mass_balance_band.csv", "schema": {"fields": [{"name": "annual_balance", key: "K"}]}}
    return json.dumps({"resources": [other, {"path": f"data/{table}", "schema": {"fields": fields}}]})


def release(folder, files, encoding="utf-8", as_zip=True):
    if not as_zip:
        for name, text in files.items():
            path = folder / "fog" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode(encoding))
        return folder / "fog"
    with zipfile.ZipFile(folder / "DOI-WGMS-FoG.zip", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text.encode(encoding))
    return folder / "DOI-WGMS-FoG.zip"


NEW_FILES = {
    "datapackage.json": package("m w.e."),
    "data/mass_balance.csv": NEW,
    "data/mass_balance_band.csv": "glacier_id,year\n",
    "data/glacier.csv": GLACIERS,
}
OLD_FILES = {
    "WGMS-FoG-2021-05-A-GLACIER.csv": POSITIONS,
    "WGMS-FoG-2021-05-E-MASS-BALANCE-OVERVIEW.csv": OVERVIEW,
    "WGMS-FoG-2021-05-EE-MASS-BALANCE.csv": OLD,
    "WGMS-FoG-2021-05-EEE-MASS-BALANCE-POINT.csv": "WGMS_ID,YEAR\n",
    "README.txt": "see the web page",
}


@pytest.mark.parametrize("as_zip", [True, False])
def test_a_release_since_2025_with_its_unit(tmp_path, as_zip):
    found = read_observations(release(tmp_path, NEW_FILES, as_zip=as_zip))
    assert found["mass_balance"].tolist() == [-1.173, -3.319, -2.8]
    assert found["uncertainty"].tolist() == [0.2, 0.2, 0.2]
    assert found["uncertainty_given"].tolist() == [True, True, False]
    assert found["time_system"].tolist() == ["FXD", "FXD", "STR"]
    assert found["end"].tolist() == ["2021-09-30", "2022-09-30", "2022-09-30"]
    assert found["name"].tolist()[0] == "ÖTZTAL F."
    assert found["latitude"].tolist() == [46.8, 46.8, 46.84]
    assert found["line"].tolist() == [2, 3, 4]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
@pytest.mark.parametrize("as_zip", [True, False])
def test_a_release_to_2022(tmp_path, encoding, as_zip):
    found = read_observations(release(tmp_path, OLD_FILES, encoding, as_zip), units="mm w.e.")
    assert found["mass_balance"].tolist() == [-1.173, -0.647]
    assert found["site"].tolist() == ["491", "491"]
    assert found["name"].tolist() == ["ÖTZTAL F."] * 2
    assert found["begin"].tolist() == ["2000-10-01", ""]
    assert found["time_system"].tolist() == ["FXD", ""]
    assert found["longitude"].tolist() == [10.77, 10.77]
    assert "none declared" in refusal_of(release(tmp_path, OLD_FILES, encoding, as_zip))


def test_a_release_of_2023_in_millimetres(tmp_path):
    found = read_observations(release(tmp_path, {"data/mass_balance.csv": OLD}), units="mm w.e.")
    assert found["mass_balance"].tolist() == [-1.173, -0.647]


def test_the_unit_of_the_datapackage_wins_over_none_and_contradicts_another(tmp_path):
    path = release(tmp_path, NEW_FILES)
    assert "m w.e., as the release's datapackage.json says" in refusal_of(path, units="mm w.e.")
    for unit, key in (("kg m-2", "unit"), ("mm w.e.", "units"), ("mm we", "units")):
        table = NEW.replace("-1.173,0.2", "-1173,200").replace("-3.319,0.2", "-3319,200").replace("-2.8,", "-2800,")
        files = {**NEW_FILES, "data/mass_balance.csv": table, "datapackage.json": package(unit, key=key)}
        found = read_observations(release(tmp_path, files))
        assert found["mass_balance"].tolist() == pytest.approx([-1.173, -3.319, -2.8])
    assert "furlong" in refusal_of(release(tmp_path, {**NEW_FILES, "datapackage.json": package("furlong")}))


def test_a_table_beside_its_datapackage(tmp_path):
    folder = release(tmp_path, NEW_FILES, as_zip=False)
    assert read_observations(folder / "data" / "mass_balance.csv")["mass_balance"].tolist() == [-1.173, -3.319, -2.8]


def test_archives_without_balances_or_damaged(tmp_path):
    assert "mass_balance.csv or a table EE" in refusal_of(
        release(tmp_path, {"a.txt": "x", "b.txt": "y"}), units="m w.e."
    )
    whole = release(tmp_path, NEW_FILES).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    assert "download it again" in refusal_of(tmp_path / "cut.zip")


@pytest.mark.real
def test_the_current_release_agrees_with_an_older_one(real_data):
    new = read_observations(real_data / "agency_files" / "fog2026_mass_balance_5columns.csv", units="m w.e.")
    old = read_observations(real_data / "observations" / "wgms_annual_mass_balance.csv", units="mm w.e.")
    both = new.merge(old, on=["site", "year"], suffixes=("_new", "_old"))
    close = (both["mass_balance_new"] - both["mass_balance_old"]).abs() < 1e-9
    assert len(both) > 100
    assert (~close).sum() == 1


SPREADSHEET = "Glacier;Year;Ba (mm w.e.)\nKG1;2001;-1180\nKG1;2002;-1027\nKG2;2001;-704\n"


@pytest.mark.parametrize(
    ("heading", "unit"),
    [
        ("Ba (mm w.e.)", "mm w.e."),
        ("Annual balance [mm w.e. a-1]", "mm w.e."),
        ("MB (kg m-2)", "kg m-2"),
        ("annual_mass_balance (mm w.e./yr)", "mm w.e."),
    ],
)
def test_the_headings_of_a_spreadsheet_are_understood(tmp_path, heading, unit):
    path = tmp_path / "balance.csv"
    path.write_text(SPREADSHEET.replace("Ba (mm w.e.)", heading))
    found = read_observations(path)
    assert found[["site", "year"]].to_numpy().tolist() == [["KG1", 2001], ["KG1", 2002], ["KG2", 2001]]
    np.testing.assert_allclose(found["mass_balance"], [-1.180, -1.027, -0.704])
    with pytest.raises(InputError, match=f"{unit}, as the heading"):
        read_observations(path, units="m w.e.")


def test_usual_names_come_before_those_of_a_spreadsheet(tmp_path):
    path = tmp_path / "balance.csv"
    path.write_text("glacier,glacier_id,year,ba,mass_balance\nNorth,7,2001,5,-1.5\nSouth,8,2001,6,-0.5\n")
    found = read_observations(path, units="m w.e.")
    assert found["site"].tolist() == ["7", "8"]
    assert found["mass_balance"].tolist() == [-1.5, -0.5]


def test_a_heading_that_states_no_unit_of_balances_leaves_it_to_be_declared(tmp_path):
    path = tmp_path / "balance.csv"
    path.write_text(SPREADSHEET.replace("(mm w.e.)", "(per year)"))
    with pytest.raises(InputError, match="heading of the column"):
        read_observations(path)
    assert read_observations(path, units="mm w.e.")["mass_balance"][0] == -1.18
