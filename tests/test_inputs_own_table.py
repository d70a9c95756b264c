"""A user's own table: written here by hand in the dialects of people and programs, good and bad."""

from __future__ import annotations

import calendar
import csv
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml

from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.inputs.own_table import read_samples_table
from glacmb_grid.physics import positive_temperature, snow_fraction
from glacmb_grid.samples import operator_of
from glacmb_grid.vocabulary import Meaning, meanings_of
from glacmb_grid.years import SEASONS

ROLES = {"glacier": "gid", "year": "year", "target": "mb", "target_units": "m w.e."}
SMALL = """gid,year,mb,height,slope
007,2001,-0.50,3000,10.5
007,2002,0.25,3000,11
12,2001,-1.25,,12
12,2003,-0.75,3200,9
"""
MONTHS = [f"{m:02d}" for m in range(1, 13)]


def put(tmp_path, text, name="table.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def read(tmp_path, text=SMALL, **options):
    return read_samples_table(put(tmp_path, text), **{**ROLES, **options})


def refused(tmp_path, text=SMALL, **options) -> str:
    with pytest.raises((InputError, InputErrors)) as raised:
        read(tmp_path, text, **options)
    for part in ("expected:", "found:", "remedy:"):
        assert part in str(raised.value)
    return str(raised.value)


def monthly_frame(rows=40, seed=0, **series):
    """A table of glacier-years with twelve columns of every series, drawn around the given monthly means."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "gid": [f"g{i % 8}" for i in range(rows)],
            "year": 2000 + np.arange(rows) // 8,
            "mb": rng.normal(-0.5, 0.5, rows).round(4),
        }
    )
    for pattern, (mean, spread) in series.items():
        drawn = np.asarray(mean) + spread * rng.standard_normal((rows, 12))
        for m in range(12):
            frame[pattern.format(m + 1)] = drawn[:, m]
    return frame


def of(frame, tmp_path, name="table.csv", **options):
    path = tmp_path / name
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    return read_samples_table(path, **{**ROLES, **options})


def quietly(frame, tmp_path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return of(frame, tmp_path, **options)


CELSIUS = 5 - 12 * np.cos(2 * np.pi * (np.arange(12) - 0.5) / 12)  # -7 in January, 17 in July
RAIN = np.full(12, 0.08)


def column(samples, name):
    return samples["predictors"].sel(predictor=name).values


# --- shape -----------------------------------------------------------------------------------------------------------


def test_a_small_table(tmp_path):
    samples = read(tmp_path)
    assert samples["mass_balance"].values.tolist() == [-0.5, 0.25, -1.25, -0.75]
    assert samples["mass_balance_uncertainty"].values.tolist() == [0.2] * 4
    assert not samples["uncertainty_given"].values.any()
    assert samples["sample"].values.tolist() == ["007:2001", "007:2002", "12:2001", "12:2003"]
    assert samples["glacier"].values.tolist() == samples["row_glacier"].values.tolist() == ["007", "007", "12", "12"]
    assert samples["group"].values.tolist() == ["007", "007", "12", "12"]
    assert samples["year"].values.tolist() == samples["row_year"].values.tolist() == [2001, 2002, 2001, 2003]
    assert samples["predictor"].values.tolist() == ["height", "slope"]
    assert samples["predictors"].dims == ("row", "predictor")
    np.testing.assert_array_equal(column(samples, "height"), np.float32([3000, 3000, np.nan, 3200]))
    assert meanings_of(samples) == (Meaning("height", "table"), Meaning("slope", "table"))
    assert set(samples["source"].values) == {"table"}
    assert operator_of(samples).is_identity
    assert "height (1)" in samples.attrs["notes"]
    assert not {"region", "longitude", "fold_logo", "name", "area"} & set(samples.coords)


def test_every_role(tmp_path):
    text = (
        "GID,Year,MB,unc,cell,land,lat,lon,lf,yf,label,km2,system,x\n"
        "1.0,2001.0,-500,150,a,CN,43.1,86.8,3,1,One,1.5,FXD,1\n"
        "2,2001,250,,,,-30,290,1,2,,,,2\n"
    )
    samples = read(
        tmp_path,
        text,
        target_units="mm w.e.",
        uncertainty="unc",
        group="cell",
        region="land",
        latitude="lat",
        longitude="lon",
        folds={"logo": "lf", "loyo": "yf"},
        name="label",
        area="km2",
        time_system="system",
        default_uncertainty=0.3,
    )
    assert samples["glacier"].values.tolist() == ["1", "2"]
    assert samples["mass_balance"].values.tolist() == [-0.5, 0.25]
    assert samples["mass_balance_uncertainty"].values.tolist() == pytest.approx([0.15, 0.3])
    assert samples["uncertainty_given"].values.tolist() == [True, False]
    assert samples["group"].values.tolist() == ["a", "2"]
    assert samples["region"].values.tolist() == ["CN", ""]
    assert samples["latitude"].values.tolist() == samples["row_latitude"].values.tolist() == [43.1, -30]
    assert samples["longitude"].values.tolist() == samples["row_longitude"].values.tolist() == [86.8, -70]
    assert samples["fold_logo"].values.tolist() == ["3", "1"]
    assert samples["fold_loyo"].values.tolist() == ["1", "2"]
    assert samples["name"].values.tolist() == ["One", ""]
    assert samples["time_system"].values.tolist() == ["FXD", ""]
    np.testing.assert_array_equal(samples["area"].values, [1.5, np.nan])
    assert samples["predictor"].values.tolist() == ["km2", "x"]  # the size of a glacier is known everywhere
    assert "1 rows without a region" in samples.attrs["notes"]


def test_positions_become_predictors_only_when_asked_for(tmp_path):
    text = "gid,year,mb,lat,lon,x\na,2001,-1,40,80,1\nb,2001,-2,41,81,2\n"
    where = {"latitude": "lat", "longitude": "lon"}
    assert read(tmp_path, text, **where)["predictor"].values.tolist() == ["x"]
    with pytest.warns(UserWarning, match="lat, lon not used"):
        assert read(tmp_path, text)["predictor"].values.tolist() == ["x"]
    asked = read(tmp_path, text, **where, coordinates=True)
    assert asked["predictor"].values.tolist() == ["x", "lon", "lat"]
    assert column(asked, "lat").tolist() == [40, 41]
    assert read(tmp_path, text, predictors=["x", "LAT"])["predictor"].values.tolist() == ["lat", "x"]
    assert read(tmp_path, text, predictors=["x", "lat"], **where)["predictor"].values.tolist() == ["x", "lat"]


def test_stakes_and_repeated_rows(tmp_path):
    text = SMALL + "12,2003,-0.70,3300,9\n12,2003,-0.75,3200,9\n"
    samples = read(tmp_path, text)
    assert samples["sample"].values.tolist()[3:] == ["12:2003", "12:2003#2", "12:2003#3"]
    assert "3 rows share their glacier and year" in samples.attrs["notes"]
    assert "1 of them are identical to another row" in samples.attrs["notes"]


# --- dialects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        SMALL.replace("\n", "\r\n"),
        "\ufeff" + SMALL,
        SMALL.replace(",", ";"),
        SMALL.replace(",", "\t"),
        SMALL.replace(",", " , "),
        SMALL.replace("gid", "GID").replace("mb", " Mb "),
        "# made by hand\n\n" + SMALL,
        SMALL + "\n\n,,,,\n",
        SMALL.replace("\n12,2001", "\n\n12,2001"),
        SMALL.replace("3000,", '"3000",').replace("007", '"007"'),
        SMALL.replace("2001,", "2001.0,").replace("\n12,", "\n12.0,"),
        SMALL.replace(",,", ",NA,"),
        SMALL.replace(",,", ",NaN,"),
        SMALL.replace(",,", ",-9999,"),
        SMALL.replace(",,", ", ,"),
        SMALL.replace("slope", "slope,,").replace("\n", ",,\n").replace("slope,,,,", "slope,,"),
        "\n".join(line + "," for line in SMALL.splitlines()),
    ],
)
def test_the_same_table_written_otherwise(tmp_path, text):
    expected, found = read(tmp_path), read(tmp_path, text)
    for name in ("sample", "year", "mass_balance", "predictors", "predictor"):
        np.testing.assert_array_equal(found[name].values, expected[name].values)


def test_written_by_csv_and_pandas_and_parquet(tmp_path):
    frame = monthly_frame(**{"v_{:02d}": (0.0, 1.0)}).assign(flag=lambda f: f["year"] > 2002)
    rows = [list(frame), *frame.to_numpy().tolist()]
    with (tmp_path / "quoted.csv").open("w", newline="") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL, delimiter=";").writerows(rows)
    expected = of(frame, tmp_path)
    quoted = read_samples_table(tmp_path / "quoted.csv", **ROLES)
    packed = of(frame.astype({"gid": "category"}), tmp_path, name="table.parquet")
    for other in (quoted, packed):
        assert other["sample"].values.tolist() == expected["sample"].values.tolist()
        assert other["predictor"].values.tolist() == expected["predictor"].values.tolist()
        np.testing.assert_array_equal(other["predictors"].values, expected["predictors"].values)
    np.testing.assert_array_equal(column(expected, "flag"), (frame["year"] > 2002).astype(float))


def test_parquet_identifiers_of_any_type(tmp_path):
    frame = pd.read_csv(put(tmp_path, SMALL))
    for kind in ("int64", "float64", "str"):
        samples = of(frame.astype({"gid": kind}), tmp_path, name="table.parquet")
        assert samples["glacier"].values.tolist() == ["7", "7", "12", "12"]


def test_the_row_numbers_that_pandas_writes(tmp_path):
    frame = pd.read_csv(put(tmp_path, SMALL), dtype={"gid": str})
    frame.to_csv(tmp_path / "table.csv")
    with pytest.warns(UserWarning, match="unnamed 1 not used as predictors"):
        samples = read_samples_table(tmp_path / "table.csv", **ROLES)
    assert samples["predictor"].values.tolist() == ["height", "slope"]
    assert samples["glacier"].values[0] == "007"


def test_integers_that_become_decimals_far_down(tmp_path):
    text = "gid,year,mb,x\n" + "".join(f"g{i % 9},{1990 + i % 30},{-i % 7}.5,0\n" for i in range(400))
    samples = read(tmp_path, text + "g1,2001,-1,0.25\n")
    assert column(samples, "x")[-1] == 0.25


def test_a_large_table_reads_right(tmp_path):
    rng = np.random.default_rng(3)
    size = 20_000
    frame = pd.DataFrame(rng.normal(size=(size, 57)).astype("float32"), columns=[f"q{i}x" for i in range(57)])
    frame.insert(0, "gid", [f"{i:05d}" for i in rng.integers(0, 900, size)])
    frame.insert(1, "year", rng.integers(1980, 2020, size))
    frame.insert(2, "mb", rng.normal(-0.5, 0.5, size).round(4))
    frame.loc[::97, "q5x"] = np.nan
    samples = of(frame, tmp_path)
    assert samples.sizes["row"] == size
    assert samples["glacier"].values.tolist() == frame["gid"].tolist()
    np.testing.assert_array_equal(samples["mass_balance"].values, frame["mb"].to_numpy())
    np.testing.assert_array_equal(samples["predictors"].values, frame.iloc[:, 3:].to_numpy())
    assert len(set(samples["sample"].values)) == size
    text = (tmp_path / "table.csv").read_text().splitlines()
    text[15_000] = text[15_000].replace(",", ",x", 3)  # line 15,001
    with pytest.raises(InputError, match=r"mb\n.*\n.*in line\(s\) 15001"):
        read(tmp_path, "\n".join(text))


# --- rows ------------------------------------------------------------------------------------------------------------


def test_rows_are_chosen_by_their_values(tmp_path):
    text = "gid,year,mb,kind,x\na,2001,-1,True,1\nb,2001,-2,FALSE,2\nc,2001,-3,true,3\nd,2001,-3,,4\n"
    assert read(tmp_path, text, where={"Kind": True})["glacier"].values.tolist() == ["a", "c"]
    assert read(tmp_path, text, where={"kind": ["true", "false"]})["glacier"].values.tolist() == ["a", "b", "c"]
    numbers = read(
        tmp_path,
        text.replace(",x", ",x,y").replace("\n", ",7\n").replace(",y,7", ",y"),
        where={"x": [1, 4.0]},
        exclude=["kind"],
    )
    assert numbers["glacier"].values.tolist() == ["a", "d"]
    assert "kind" not in read(tmp_path, text, where={"kind": True})["predictor"].values
    assert "'True', 'FALSE'" in refused(tmp_path, text, where={"kind": "maybe"})
    assert "did you mean 'kind'" in refused(tmp_path, text, where={"kin": True})


def test_rows_without_a_balance_are_left_out_and_told(tmp_path):
    with pytest.warns(UserWarning, match=r"left out 2 of 4 rows whose mb is blank, in line\(s\) 3, 5"):
        samples = read(tmp_path, SMALL.replace("0.25", "").replace("-0.75", "NA"))
    assert samples["sample"].values.tolist() == ["007:2001", "12:2001"]
    assert "left out 2" in samples.attrs["notes"]


def test_no_balance_at_all(tmp_path):
    blank = "gid,year,mb,x\na,2001,,1\nb,2002,,2\n"
    assert "only blank cells in 2 rows" in refused(tmp_path, blank)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (SMALL.replace("\n12,2001", "\n,2001"), ("table.csv: gid", "blank in line(s) 4")),
        (SMALL.replace("12,2001,", "12,,"), ("table.csv: year", "line(s) 4")),
        (SMALL.replace("2002", "2001/02"), ("table.csv: year", "'2001/02' in line(s) 3")),
        (SMALL.replace("2002", "202"), ("table.csv: year", "'202' in line(s) 3")),
        (SMALL.replace("-1.25", "little"), ("table.csv: mb", "'little' in line(s) 4")),
        (SMALL.replace("-1.25", '"-1,25"'), ("table.csv: mb", "'-1,25' in line(s) 4", "point for decimals")),
        (SMALL.replace("-1.25", "9999"), ("table.csv: mb", "missing-value codes 9999.0 in line(s) 4")),
        (SMALL.replace("-1.25", "inf"), ("table.csv: mb",)),
        (SMALL.replace("-1.25", "-1250"), ("table.csv: mb", "line(s) 4", "target_units: mm w.e.")),
        (SMALL.replace("10.5", "inf"), ("table.csv: slope", "infinite values in line(s) 2")),
        (SMALL.replace("10.5", "steep"), ("table.csv: slope", "'steep' in line(s) 2")),
        (SMALL.replace("10.5", "10.5,1"), ("table.csv: line 2", "5 cells")),
        (SMALL.replace("slope", "height"), ("table.csv: header", "height")),
        (SMALL.replace("slope", "Gid").replace("gid", "GID"), ("differ only in case",)),
        (SMALL.replace("10.5", '"10.5'), ("table.csv", "quote")),
        ("gid,year,mb,x\n", ("table.csv", "only a header")),
        ("", ("table.csv", "empty")),
        ("gid,year,mb\na,2001,-1\nb,2001,-2\n", ("table.csv: predictors", "at least one column of numbers")),
    ],
)
def test_bad_tables(tmp_path, text, parts):
    found = refused(tmp_path, text)
    for part in parts:
        assert part in found


def test_wrong_units(tmp_path):
    metres = "gid,year,mb,x\na,2001,-0.5,1\nb,2001,-2,2\n"
    found = refused(tmp_path, metres, target_units="mm w.e.")
    assert "none beyond 0.002 m w.e." in found
    assert "target_units: m w.e." in found
    assert "target_units: mm w.e." in refused(tmp_path, metres.replace("-2,", "-2000,"))
    zero = metres.replace("-0.5", "0").replace("-2", "0")
    assert read(tmp_path, zero)["mass_balance"].values.tolist() == [0, 0]


def test_missing_columns_are_told_together(tmp_path):
    found = refused(tmp_path, SMALL, target="mass", glacier="gidd", group="cell")
    assert "3 problems" in found
    assert "did you mean 'gid'" in found
    assert "group: cell" in found
    assert "folds: {logo: heigth}" in refused(tmp_path, SMALL, folds={"logo": "heigth"})


def test_bad_positions_and_uncertainties(tmp_path):
    text = "gid,year,mb,lat,lon,u,x\na,2001,-1,4800000,80,0.1,1\nb,2001,-2,41,81,-3,2\n"
    roles = {"latitude": "lat", "longitude": "lon"}
    assert "table.csv: lat" in refused(tmp_path, text, **roles)
    assert "line(s) 3" in refused(tmp_path, text, uncertainty="u", exclude=["lat", "lon"])


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"PK\x03\x04xx", "spreadsheet"), (b"\x1f\x8bxx", "gunzip"), (b"PAR1 cut off", "Parquet")],
)
def test_other_files(tmp_path, content, what):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=what):
        read_samples_table(path, **ROLES)
    with pytest.raises(InputError, match="no such file"):
        read_samples_table(tmp_path / "other.csv", **ROLES)


# --- which predictors ------------------------------------------------------------------------------------------------


def test_text_columns_are_left_out_and_told(tmp_path):
    text = "gid,year,mb,remark,x\na,2001,-1,windy,1\nb,2001,-2,,2\n"
    with pytest.warns(UserWarning, match="columns with text are not used as predictors: remark"):
        assert read(tmp_path, text)["predictor"].values.tolist() == ["x"]
    assert read(tmp_path, text, exclude=["REM*"])["predictor"].values.tolist() == ["x"]
    assert "'windy' in line(s) 2" in refused(tmp_path, text, predictors=["remark", "x"])


def test_names_and_patterns_in_any_case(tmp_path):
    text = "gid,year,mb,T_mean,t_max,Q\na,2001,-1,1,2,3\nb,2001,-2,2,3,5\n"
    assert read(tmp_path, text, predictors=["T_*"])["predictor"].values.tolist() == ["T_mean", "t_max"]
    assert read(tmp_path, text, predictors=["q", "t_MEAN"])["predictor"].values.tolist() == ["T_mean", "Q"]
    assert read(tmp_path, text, exclude=["t_*"])["predictor"].values.tolist() == ["Q"]
    assert "did you mean 'T_mean'" in refused(tmp_path, text, predictors=["t_meen"])
    assert "samples: exclude" in refused(tmp_path, text, exclude=["albedo*"])
    assert "target" in refused(tmp_path, text, predictors=["mb", "q"])
    assert read(tmp_path, text, predictors=["year", "q"])["predictor"].values.tolist() == ["Q", "year"]


def test_numbers_of_things_are_no_predictors(tmp_path):
    text = "gid,year,mb,wgms_id,fold,melt_index,x\na,2001,-1,3,0,2,1\nb,2001,-2,4,1,2,2\n"
    with pytest.warns(UserWarning, match="wgms_id, fold not used"):
        assert read(tmp_path, text)["predictor"].values.tolist() == ["melt_index", "x"]


def test_gaps_codes_and_constants_stay_and_are_noted(tmp_path):
    text = "gid,year,mb,a,b,c,d\ng,2001,-1,-9999,,5,-9000\nh,2001,-2,1,,5,-9999\ni,2002,-1,2,,5,-12000\n"
    samples = read(tmp_path, text)
    assert samples["predictor"].values.tolist() == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(column(samples, "a"), [np.nan, 1, 2])
    assert column(samples, "d").tolist() == [-9000, -9999, -12000]  # a value like any other there
    notes = samples.attrs["notes"]
    assert "missing-value codes such as -9999 read as missing in a (1)" in notes
    assert "a (1), b (3)" in notes
    assert "no values, dropped within each fold: b" in notes
    assert "one value in all rows, dropped within each fold: c" in notes


# --- leaks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "rows"), [(1.0, 4), (1000.0, 4), (1.0, 60), (1000.0, 60), (-1.0, 60)])
def test_a_copy_of_the_target_is_refused(tmp_path, scale, rows):
    frame = monthly_frame(rows).assign(copy=lambda f: (f["mb"] * scale).round(6), x=np.arange(rows) % 7)
    for options in ({}, {"predictors": ["copy", "x"]}):
        with pytest.raises(InputError, match="the target itself"):
            of(frame, tmp_path, **options)
    assert of(frame, tmp_path, exclude=["copy"])["predictor"].values.tolist() == ["x"]


@pytest.mark.parametrize("name", ["winter_balance", "SMB", "smb_model", "Bw", "MASS_BALANCE_prev", "annual_mb", "ELA"])
def test_columns_named_like_a_balance_must_be_asked_for(tmp_path, name):
    frame = monthly_frame().assign(**{name: np.arange(40) % 6, "x": np.arange(40) % 7})
    with pytest.raises(InputError, match=name):
        of(frame, tmp_path)
    with pytest.warns(UserWarning, match="named like a mass balance"):
        assert of(frame, tmp_path, predictors=["*", name])["predictor"].values.tolist() == [name, "x"]
    assert of(frame, tmp_path, exclude=[name])["predictor"].values.tolist() == ["x"]


def test_other_balances_are_predictors(tmp_path):
    frame = monthly_frame().assign(energy_balance=np.arange(40) % 6, ambient=1.0 * np.arange(40))
    assert of(frame, tmp_path)["predictor"].values.tolist() == ["energy_balance", "ambient"]


def test_one_climate_in_two_groups_is_told(tmp_path):
    frame = monthly_frame(**{"v_{:02d}": (0.0, 1.0)})
    columns = [c for c in frame if c.startswith("v_")]
    frame.loc[frame["gid"] == "g1", columns] = frame.loc[frame["gid"] == "g0", columns].to_numpy()
    frame["cell"] = frame["gid"].replace("g1", "g0")
    with pytest.warns(UserWarning, match="10 of 40 rows have the same climate as another group"):
        of(frame, tmp_path, exclude=["cell"])
    of(frame, tmp_path, group="cell")  # without a warning


# --- monthly series --------------------------------------------------------------------------------------------------


SPELLINGS = [
    lambda m: f"v_{m:02d}",
    lambda m: f"v_{m}",
    lambda m: f"v{m:02d}",
    lambda m: f"v-{m}",
    lambda m: f"M{m:02d}_v",
    lambda m: f"{m:02d}_v",
    lambda m: f"v_m{m:02d}",
    lambda m: f"v_month_{m}",
    lambda m: f"v_{calendar.month_abbr[m].lower()}",
    lambda m: f"v{calendar.month_abbr[m]}",
    lambda m: f"{calendar.month_name[m]}_v",
    lambda m: f"V_{calendar.month_abbr[m].upper()}",
    lambda m: f"v_{m:02d}_mm",
    lambda m: f"v_{calendar.month_abbr[m]}_mm",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings_of_months(tmp_path, spelling):
    frame = monthly_frame(**{"v_{:02d}": (np.arange(12), 1.0)})
    months = frame[[f"v_{m}" for m in MONTHS]].to_numpy().astype(np.float32)
    named = frame.rename(columns={f"v_{m:02d}": spelling(m) for m in range(1, 13)})
    samples = of(named[[*named.columns[:3], *named.columns[:2:-1]]], tmp_path)
    stem = "V" if spelling(1).startswith("V_") else "v_mm" if spelling(1).endswith("_mm") else "v"
    expected = {
        "accumulation": [10, 11, 12, 1, 2, 3, 4],
        "ablation": [5, 6, 7, 8, 9],
        "summer": [6, 7, 8],
        "annual": range(1, 13),
    }
    for season, those in expected.items():
        mean = months[:, [m - 1 for m in those]].mean(axis=1)
        np.testing.assert_allclose(column(samples, f"{stem}_{season}"), mean, rtol=1e-5, atol=1e-6)
    months = {spelling(m): Meaning(stem, "table", calendar_month=m) for m in range(1, 13)}
    seasons = tuple(Meaning(stem, "series", season, part="value") for season in expected)
    assert meanings_of(samples)[12:] == seasons
    assert dict(zip(samples["predictor"].values[:12], meanings_of(samples), strict=False)) == months
    assert samples["source"].values.tolist() == ["table"] * 12 + [stem] * 4
    assert "calendar months" in samples.attrs["notes"]


@pytest.mark.parametrize("name", ["t2m", "u10", "x2000", "sf", "era5_land_tp", "d2m"])
def test_stems_with_digits(tmp_path, name):
    frame = monthly_frame(**{f"{name}_{{}}": (np.arange(12) + 3.0, 1.0), f"{name}b{{:02d}}": (0.0, 1.0)})
    samples = quietly(frame, tmp_path)
    assert {f"{name}_summer", f"{name}b_summer"} <= set(samples["predictor"].values)


def test_what_is_no_series(tmp_path):
    rng = np.random.default_rng(5)
    names = [f"f_{i}" for i in range(1, 25)] + [f"g_{i}" for i in range(12)] + [f"h_{i}" for i in range(1, 12)]
    frame = monthly_frame().assign(**{n: rng.normal(size=40) for n in names})
    assert of(frame, tmp_path)["predictor"].values.tolist() == names


def test_a_column_named_like_a_predictor_of_the_package_is_of_that_quantity(tmp_path):
    names = ["sd_03", "ssrd_7", "t2m_summer_anomaly", "degree_days_annual", "sd_13", "T2M_07", "band_7", "lat"]
    frame = monthly_frame(**{"jan_{:02d}": (0.0, 1.0)}).assign(**dict.fromkeys(names, np.arange(40.0)))
    samples = of(frame, tmp_path, latitude="lat", coordinates=True, predictors=[*names[:-1], "jan_*"])
    told = dict(zip(samples["predictor"].values, meanings_of(samples), strict=True))
    assert [told[n].stem for n in names] == [
        "sd",
        "ssrd",
        "t2m",
        "degree_days",
        "sd_13",
        "T2M_07",
        "band_7",
        "latitude",
    ]
    assert {(told[n].season, told[n].calendar_month, told[n].part) for n in names[:-1]} == {("", 0, "")}
    assert told["lat"].origin == "position"
    assert {told[n].origin for n in names[:-1]} == {"table"}
    assert told["jan_07"] == Meaning("jan", "table", calendar_month=7)


def test_seasons_of_each_hemisphere(tmp_path):
    frame = monthly_frame(**{"v_{:02d}": (0.0, 1.0)})
    frame["lat"] = np.where(frame["gid"] < "g4", 45.0, -45.0)
    samples = of(frame, tmp_path, latitude="lat")
    months = frame[[f"v_{m}" for m in MONTHS]].to_numpy()
    north = (frame["lat"] > 0).to_numpy()
    expected = np.where(north, months[:, [5, 6, 7]].mean(axis=1), months[:, [11, 0, 1]].mean(axis=1))
    np.testing.assert_allclose(column(samples, "v_summer"), expected, rtol=1e-4, atol=1e-6)
    assert "northern hemisphere" in of(frame, tmp_path, exclude=["lat"]).attrs["notes"]


def test_degree_days_of_expected_temperatures(tmp_path):
    frame = monthly_frame(**{"t2m_{:02d}": (CELSIUS, 1.0)})
    celsius = frame[[f"t2m_{m}" for m in MONTHS]].to_numpy()
    days = np.array([[calendar.monthrange(y, m)[1] for m in range(1, 13)] for y in frame["year"]])
    expected = positive_temperature(celsius, 4.0) * days
    kelvin = frame.copy()
    kelvin[[f"t2m_{m}" for m in MONTHS]] += 273.15
    for table in (frame, kelvin):
        samples = of(table, tmp_path)
        np.testing.assert_allclose(column(samples, "degree_days_summer"), expected[:, 5:8].sum(axis=1), rtol=1e-4)
        np.testing.assert_allclose(column(samples, "degree_days_annual"), expected.sum(axis=1), rtol=1e-4)
        assert samples["source"].sel(predictor="degree_days_annual").item() == "t2m"
        assert "temperature" not in samples  # nothing falls in this table
    wider = of(frame, tmp_path, temperature_spread=6.0)
    assert (column(wider, "degree_days_annual") > column(samples, "degree_days_annual")).all()


@pytest.mark.parametrize("shift", [0.0, 273.15])
def test_degree_days_of_clipped_temperatures(tmp_path, shift):
    frame = monthly_frame(**{"temp_{}": (CELSIUS, 1.0)})
    months = [f"temp_{m}" for m in range(1, 13)]
    celsius = np.maximum(frame[months], 0).to_numpy()
    frame[months] = celsius + shift
    samples = of(frame, tmp_path)
    days = np.array([[calendar.monthrange(y, m)[1] for m in range(1, 13)] for y in frame["year"]])
    np.testing.assert_allclose(column(samples, "degree_days_annual"), (celsius * days).sum(axis=1), rtol=1e-4)
    assert "clipped at the melting point" in samples.attrs["notes"]


def test_snowfall_from_precipitation(tmp_path):
    frame = monthly_frame(**{"tas_{:02d}": (CELSIUS, 1.0), "pr_{:02d}": (RAIN * 1000, 5.0)})
    with pytest.warns(UserWarning, match="pr read as mm month-1"):
        samples = of(frame, tmp_path)
    celsius, rain = (frame[[f"{n}_{m}" for m in MONTHS]].to_numpy() for n in ("tas", "pr"))
    solid = rain / 1000 * snow_fraction(celsius, 1.0, 2.0)
    np.testing.assert_allclose(column(samples, "snowfall_annual"), solid.sum(axis=1), rtol=1e-4)
    np.testing.assert_allclose(column(samples, "snowfall_summer"), solid[:, 5:8].sum(axis=1), rtol=1e-4)
    assert samples["source"].sel(predictor="snowfall_annual").item() == "pr+tas"


def test_the_tables_own_aggregates_win(tmp_path):
    frame = monthly_frame(**{"t2m_{:02d}": (CELSIUS, 1.0)}).assign(t2m_summer=3.0 + np.arange(40) % 2)
    samples = of(frame, tmp_path)
    assert samples["predictor"].values.tolist().count("t2m_summer") == 1
    assert set(column(samples, "t2m_summer")) == {3.0, 4.0}
    assert "t2m_summer taken from the table" in samples.attrs["notes"]


def test_series_with_gaps(tmp_path):
    frame = monthly_frame(**{"t2m_{:02d}": (CELSIUS, 1.0)})
    frame.loc[3, "t2m_01"] = np.nan
    samples = of(frame, tmp_path)
    assert np.isnan(column(samples, "t2m_annual")).tolist() == [i == 3 for i in range(40)]
    assert np.isnan(column(samples, "degree_days_accumulation")).sum() == 1
    assert np.isfinite(column(samples, "degree_days_summer")).all()


def test_what_is_computed_goes_with_its_columns(tmp_path):
    frame = monthly_frame(**{"t2m_{:02d}": (CELSIUS, 1.0)}).assign(x=np.arange(40) % 7)

    def taken(**options):
        return set(of(frame, tmp_path, **options)["predictor"].values)

    months = {f"t2m_{m}" for m in MONTHS}
    seasons = {f"{n}_{s}" for n in ("t2m", "degree_days") for s in SEASONS}
    assert taken() == months | seasons | {"x"}
    assert taken(predictors=["t2m_??"]) == months | seasons
    assert taken(predictors=["t2m_0?"]) == {f"t2m_0{m}" for m in range(1, 10)}
    assert taken(predictors=["x"]) == {"x"}
    assert taken(predictors=["x", "degree_days_summer"]) == {"x", "degree_days_summer"}
    assert taken(exclude=["degree_days_*"]) == {"x"} | months | {f"t2m_{s}" for s in SEASONS}
    assert taken(exclude=["t2m_*"]) == {"x"}


def test_nothing_computed_depends_on_another_row(tmp_path):
    frame = monthly_frame(**{"tas_{:02d}": (CELSIUS, 1.0), "sf_{:02d}": (RAIN, 0.001)})
    whole = quietly(frame, tmp_path)
    part = quietly(frame.iloc[5:17], tmp_path)
    np.testing.assert_array_equal(part["predictors"].values, whole["predictors"].values[5:17])
    for name in ("temperature", "snowfall", "days"):
        np.testing.assert_array_equal(part[name].values, whole[name].values[5:17])


# --- forcing of the temperature index --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "factor"), [("m day-1", 1 / 30), ("m month-1", 1.0), ("mm day-1", 1000 / 30), ("mm month-1", 1000.0)]
)
@pytest.mark.parametrize("name", ["sf", "tp"])
def test_units_are_guessed_from_a_believable_year(tmp_path, unit, factor, name):
    frame = monthly_frame(**{"t2m_{:02d}": (CELSIUS, 1.0), f"{name}_{{:02d}}": (RAIN * factor, 0.001 * factor)})
    with pytest.warns(UserWarning, match=f"{name} read as {unit}"):
        samples = of(frame, tmp_path)
    water = samples["snowfall" if name == "sf" else "precipitation"]
    days = 30 if "day" in unit else samples["days"].values
    raw = frame[[f"{name}_{m}" for m in MONTHS]].to_numpy()[:, [9, 10, 11, *range(9)]]
    np.testing.assert_allclose(water.values, raw / factor * (samples["days"].values / days), rtol=1e-6)
    assert water.attrs["source_units"] == unit
    assert ("precipitation" if name == "sf" else "snowfall") not in samples
    assert samples["month"].values.tolist() == [10, 11, 12, *range(1, 10)]
    assert samples["temperature"].attrs["clipped"] == 0
    assert samples["temperature"].dims == samples["days"].dims == water.dims == ("row", "month")
    celsius = frame[[f"t2m_{m}" for m in MONTHS]].to_numpy()[:, [9, 10, 11, *range(9)]]
    np.testing.assert_allclose(samples["temperature"].values, celsius + 273.15, rtol=1e-6)
    assert samples["days"].sel(month=2).values[frame["year"] == 2000].tolist() == [29.0] * 8


def test_declared_series(tmp_path):
    frame = monthly_frame(**{"a{:02d}": (CELSIUS, 1.0), "b{:02d}": (RAIN, 0.001)})
    says = {
        "temperature": {"columns": "A??", "units": "degC"},
        "snowfall": {"columns": "b??", "units": "kg m-2 / month"},
    }
    found = refused_frame(frame, tmp_path, monthly=says)  # 1 mm a year
    assert "snowfall" in found
    says["snowfall"]["units"] = "m month-1"
    samples = of(frame, tmp_path, monthly=says)
    assert {"temperature_summer", "snowfall_annual", "degree_days_summer"} <= set(samples["predictor"].values)
    np.testing.assert_allclose(samples["snowfall"].values[:, 3], frame["b01"], rtol=1e-6)
    by_stem = of(frame, tmp_path, monthly={"b": {"columns": None, "units": "m month-1"}})
    assert "snowfall" not in by_stem


def refused_frame(frame, tmp_path, **options) -> str:
    with pytest.raises((InputError, InputErrors)) as raised:
        of(frame, tmp_path, **options)
    for part in ("expected:", "found:", "remedy:"):
        assert part in str(raised.value)
    return str(raised.value)


def test_declarations_that_do_not_fit(tmp_path):
    frame = monthly_frame(**{"t2m_{:02d}": (CELSIUS, 1.0), "sf_{:02d}": (RAIN, 0.001)})
    found = refused_frame(frame, tmp_path, monthly={"snowfall": {"columns": "sf_0?", "units": "m month-1"}})
    assert "9 that match 'sf_0?'" in found
    assert "furlong" in refused_frame(
        frame, tmp_path, monthly={"snowfall": {"columns": "sf_*", "units": "furlong day-1"}}
    )
    assert "K or degC" in refused_frame(frame, tmp_path, monthly={"temperature": {"columns": "t2m_*", "units": "m"}})
    assert "-90..60" in refused_frame(frame, tmp_path, monthly={"temperature": {"columns": "t2m_*", "units": "K"}})


def test_standardised_values_are_no_forcing(tmp_path):
    frame = monthly_frame(200, **{"t2m_{:02d}": (0.0, 1.0), "tp_{:02d}": (0.0, 1.0)})
    with pytest.warns(UserWarning, match="not used as") as caught:
        samples = of(frame, tmp_path)
    told = " ".join(str(w.message) for w in caught)
    assert "t2m not used as a temperature" in told
    assert "tp not used as precipitation" in told
    assert not {"temperature", "precipitation", "days", "month"} & set(samples.variables)
    assert "t2m_summer" in samples["predictor"].values
    assert "degree_days_summer" not in samples["predictor"].values


def test_one_of_several_temperatures(tmp_path):
    frame = monthly_frame(
        **{"tasmax_{}": (CELSIUS + 5, 1.0), "temp700_{}": (CELSIUS - 9, 1.0), "T2M_{}": (CELSIUS, 1.0)},
    )
    samples = of(frame, tmp_path)
    assert samples["source"].sel(predictor="degree_days_annual").item() == "T2M"
    assert "T2M used as the monthly temperature, not temp700" in samples.attrs["notes"]


@pytest.mark.parametrize("kind", ["shared", "zero", "other years", "other groups"])
def test_climate_shared_between_groups_is_told_but_not_where_it_is_all_zero(tmp_path, kind):
    """Clipped temperatures of cold years, or months that nobody filled in, are equal everywhere."""
    frame = monthly_frame(**{"t2m_{:02d}": (CELSIUS, 1.0), "sf_{:02d}": (RAIN, 0.001)})
    months = [c for c in frame if c.startswith(("t2m_", "sf_"))]
    first, second = (frame["gid"] == "g0", frame["gid"] == "g1")
    climate = frame.loc[first, months].to_numpy()
    climate = {"zero": np.zeros_like(climate), "other years": np.roll(climate, 1, axis=0)}.get(kind, climate)
    frame.loc[second, months] = climate
    if kind == "zero":
        frame.loc[first, months] = climate
    frame["cell"] = frame["gid"].replace("g1", "g0") if kind == "other groups" else frame["gid"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        samples = of(frame, tmp_path, group="cell")
    told = [str(w.message) for w in caught if "the same climate as another group" in str(w.message)]
    assert len(told) == (kind == "shared")
    assert ("10 of 40 rows have the same climate" in samples.attrs["notes"]) == (kind == "shared")


def test_the_samples_of_a_cube_written_as_a_table(tmp_path, toys):
    from glacmb_grid.samples import as_table

    cube = toys.samples(toys.predictors())
    as_table(cube).to_csv(tmp_path / "samples.csv", index=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        samples = read_samples_table(
            tmp_path / "samples.csv",
            glacier="glacier",
            year="year",
            target="mass_balance",
            target_units="m w.e.",
            uncertainty="mass_balance_uncertainty",
            exclude=["sample", "site", "name", "link", "time_system", "uncertainty_given"],
            allow=["*"],  # the balance of toys is a formula of degree days and snowfall
        )
    assert any("tp read as m month-1" in str(w.message) for w in caught)
    assert samples["predictor"].values.tolist() == cube["predictor"].values.tolist()
    np.testing.assert_allclose(samples["predictors"].values, cube["predictors"].values, rtol=1e-6)
    np.testing.assert_allclose(samples["precipitation"].values, cube["precipitation"].values, rtol=1e-5)
    assert samples["sample"].values.tolist() == cube["sample"].values.tolist()


def test_samples_survive_being_stored(tmp_path):
    from glacmb_grid.stores.formats import read_zarr, write_zarr

    frame = monthly_frame(**{"t2m_{:02d}": (CELSIUS, 1.0), "sf_{:02d}": (RAIN, 0.001)}).assign(land="")
    samples = quietly(frame, tmp_path, region="land")
    write_zarr(samples, tmp_path / "samples.zarr")
    stored = read_zarr(tmp_path / "samples.zarr")
    xr.testing.assert_identical(stored.load(), samples)


def test_three_rows(tmp_path):
    frame = monthly_frame(3, **{"t2m_{:02d}": (CELSIUS, 1.0), "sf_{:02d}": (RAIN, 0.001)})
    samples = quietly(frame, tmp_path)
    assert samples.sizes["sample"] == 3
    assert "snowfall" in samples


# --- the real table --------------------------------------------------------------------------------------------------

CONFIGS = Path(__file__).parents[1] / "configs"


def configured(name, real_data, **options):
    section = yaml.safe_load((CONFIGS / name).read_text())["samples"]
    section["path"] = section["path"].replace("${GLACMB_DATA}", str(real_data))
    return read_samples_table(**{**section, **options})


@pytest.mark.real
def test_the_table_of_high_mountain_asia(real_data):
    samples = configured("hma_table.yaml", real_data)
    assert samples.sizes["sample"] == samples.sizes["row"] == 970
    assert len(set(samples["glacier"].values)) == 93
    assert len(set(samples["group"].values)) == 67
    assert (samples["origin"].values == "table").sum() == 24
    names = ("snowfall", "temperature_clipped", "degree_days")
    assert samples["predictor"].values[24:].tolist() == [f"{n}_{s}" for n in names for s in SEASONS]
    assert (samples["calendar_month"].values > 0).sum() == 24
    assert samples["mass_balance"].values.std() == pytest.approx(0.542, abs=5e-4)
    assert len(set(samples["fold_logo"].values)) == len(set(samples["fold_loyo"].values)) == 30
    assert (samples["region"].values == "").sum() == 64
    assert np.isfinite(samples["predictors"].values).all()
    assert samples["temperature"].attrs["clipped"] == 1
    assert float(samples["snowfall"].sum("month").median()) == pytest.approx(0.58, abs=0.01)
    years = pd.DataFrame({"warmth": column(samples, "degree_days_summer"), "balance": samples["mass_balance"].values})
    own = years - years.groupby(samples["glacier"].values).transform("mean")
    assert own["warmth"].corr(own["balance"]) < -0.3


@pytest.mark.real
def test_units_of_the_real_table_are_guessed_right(real_data):
    declared = configured("hma_table.yaml", real_data)
    with pytest.warns(UserWarning, match="snowfall read as m day-1") as caught:
        guessed = configured("hma_table.yaml", real_data, monthly={})
    assert len(caught) == 1
    for name in ("temperature", "snowfall", "predictors"):
        np.testing.assert_array_equal(guessed[name].values, declared[name].values)


@pytest.mark.real
def test_a_split_by_glacier_would_leak_in_the_real_table(real_data):
    with pytest.warns(UserWarning, match="rows have the same climate as another group"):
        configured("hma_table.yaml", real_data, group=None, exclude=["cell", "china_continental"])


@pytest.mark.real
def test_the_continental_glaciers_of_china(real_data):
    samples = configured("china_table.yaml", real_data)
    assert samples.sizes["sample"] == 128
    assert len(set(samples["glacier"].values)) == len(set(samples["group"].values)) == 13
    assert samples.sizes["predictor"] == 36
    assert "fold_logo" not in samples.coords


# --- units that nobody declared --------------------------------------------------------------------------------------


def test_fahrenheit_is_recognised_and_told(tmp_path):
    frame = monthly_frame(**{"t2m_{:02d}": (CELSIUS, 1.0)})
    months = [f"t2m_{m}" for m in MONTHS]
    expected = of(frame, tmp_path)
    assert "t2m read as degC" in expected.attrs["notes"]
    frame[months] = frame[months] * 1.8 + 32
    with pytest.warns(UserWarning, match="t2m read as degF; declare it"):
        samples = of(frame, tmp_path)
    name = "degree_days_annual"
    np.testing.assert_allclose(column(samples, name), column(expected, name), rtol=1e-5)
    declared = of(frame, tmp_path, monthly={"temperature": {"columns": "t2m_*", "units": "degrees Fahrenheit"}})
    np.testing.assert_allclose(column(declared, name), column(expected, name), rtol=1e-5)
    found = refused_frame(frame, tmp_path, monthly={"temperature": {"columns": "t2m_*", "units": "degC"}})
    assert "when read as degC" in found
    frame[months] -= 27  # 14 in the mean and 36 in July
    with pytest.warns(UserWarning, match="t2m read as degF"):
        of(frame, tmp_path)
    either = monthly_frame(**{"t2m_{:02d}": (CELSIUS + 8, 1.0)})  # 13 in the mean and 25 in July
    with pytest.warns(UserWarning, match="t2m read as degC.*also possible: degF"):
        of(either, tmp_path)


@pytest.mark.parametrize("mean", [-12.0, -4.0, 3.0, 8.0])
def test_cold_and_mild_months_stay_celsius(tmp_path, mean):
    frame = monthly_frame(**{"t2m_{:02d}": (CELSIUS - 5 + mean, 1.0)})
    assert "t2m read as degC" in of(frame, tmp_path).attrs["notes"]
    frame[[f"t2m_{m}" for m in MONTHS]] += 273.15
    assert "t2m read as K" in of(frame, tmp_path).attrs["notes"]


# --- glaciers under two names, missing values, units of the target ---------------------------------------------------


@pytest.mark.parametrize("pair", [("G001", "g001"), ("1", "01"), ("A 1", "A_1"), ("A1", "A1 ".upper() + "\u2060b")])
def test_one_glacier_under_two_identifiers(tmp_path, pair):
    frame = monthly_frame().assign(x=np.arange(40) % 7)
    frame["gid"] = frame["gid"].replace({"g0": pair[0], "g1": pair[1]})
    if "\u2060" in pair[1]:
        assert "A1 b" in set(of(frame, tmp_path)["glacier"].values)
        return
    found = refused_frame(frame, tmp_path)
    assert repr(pair[0]) in found
    assert repr(pair[1]) in found


def test_a_nul_byte_in_an_identifier(tmp_path):
    frame = monthly_frame().assign(x=np.arange(40) % 7)
    frame["gid"] = ["g0\0" if g == "g0" and y > 2002 else g for g, y in zip(frame["gid"], frame["year"], strict=True)]
    assert len(set(of(frame, tmp_path)["glacier"].values)) == 8


def test_missing_balances_and_other_units_in_own_tables(tmp_path):
    frame = monthly_frame().assign(x=np.arange(40) % 7)
    frame["mb"] = (frame["mb"] * 1000).round()
    frame.loc[4, "mb"] = -999
    millimetres = {"target_units": "mm w.e."}
    assert "missing-value codes -999.0 in line(s) 6" in refused_frame(frame, tmp_path, **millimetres)
    with pytest.warns(UserWarning, match="left out 1 of 40 rows"):
        assert of(frame, tmp_path, missing=[-999], **millimetres).sizes["sample"] == 39
    frame.loc[4, "mb"] = -600
    frame.loc[frame["gid"] == "g3", "mb"] /= 1000
    assert "glacier 'g3'" in refused_frame(frame, tmp_path, **millimetres)


def test_stakes_on_the_tongue(tmp_path):
    frame = monthly_frame(**{"t2m_{:02d}": (CELSIUS, 1.0), "tp_{:02d}": (RAIN, 0.001)})
    frame["height"] = 2000.0 + 40 * np.arange(40)
    frame["mb"] = (frame["height"] - 2900) / 75  # -12 m at the tongue
    monthly = {"precipitation": {"columns": "tp_*", "units": "m month-1"}}
    assert "within -10..10 m w.e." in refused_frame(frame, tmp_path, monthly=monthly, allow=["*"])
    with pytest.warns(UserWarning, match="height: R2 1.000"):
        samples = of(frame, tmp_path, monthly=monthly, elevation="HEIGHT", limits=(-20, 10), allow=["height"])
    assert samples["mass_balance"].min() == -12
    assert "height" in samples["predictor"].values
    np.testing.assert_array_equal(samples["hypsometry"].values[:, 0], frame["height"])
    median = frame.groupby("gid")["height"].transform("median")
    np.testing.assert_array_equal(samples["orography"].values, median)

    from glacmb_grid.learning.degree_days import balance, forcing_of

    settings = {"lapse_rate": -0.0065, "temperature_spread": 4.0, "snow_threshold": 1.0, "snow_spread": 2.0}
    simulated = balance(forcing_of(samples), np.array([0.007, 1.5, 0.0]), {**settings, "snow_to_ice": 0.6})
    own = pd.DataFrame({"b": simulated, "h": frame["height"], "g": frame["gid"]})
    slopes = own.groupby("g")[["b", "h"]].apply(lambda d: np.polyfit(d["h"], d["b"], 1)[0])
    assert (slopes > 0.002).all()  # m w.e. per m: higher stakes lose less
    assert "-500..9000" in refused_frame(frame.assign(height=-9999), tmp_path, elevation="height", limits=(-20, 10))


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_encodings_of_own_tables(tmp_path, encoding):
    path = put(tmp_path, SMALL.replace("height", "Höhe"), encoding=encoding)
    samples = read_samples_table(path, **ROLES)
    assert samples["predictor"].values.tolist() == ["Höhe", "slope"]
    assert column(samples, "Höhe")[0] == 3000


def test_a_column_called_line_beside_an_odd_quote(tmp_path):
    text = SMALL.replace("slope", "line").replace("10.5", '"10.5')
    assert "quote" in refused(tmp_path, text)
    assert column(read(tmp_path, SMALL.replace("slope", "line")), "line")[0] == 10.5
    latin = put(tmp_path, SMALL.replace("slope", "line").replace("height", "Höhe"), encoding="latin-1")
    assert read_samples_table(latin, **ROLES)["predictor"].values.tolist() == ["Höhe", "line"]
