"""Winter balances in the place of annual ones, zeros in the place of missing values: refused, told or left alone."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.inputs.balances import read_observations
from glacmb_grid.inputs.balances.geodetic import read_geodetic
from glacmb_grid.inputs.balances.seasonal import balance_columns, is_of_season
from glacmb_grid.inputs.own_table import read_samples_table

READERS = ("observations", "own")


def table(glaciers=5, years=12, seed=0, digits=2):
    """Winter, summer and annual balances, m w.e."""
    rng = np.random.default_rng(seed)
    g, y = (a.ravel() for a in np.indices((glaciers, years)))
    frame = pd.DataFrame({"wgms_id": 100 + g, "year": 2001 + y})
    frame["winter_balance"] = rng.normal(1.6, 0.3, g.size).round(digits)
    frame["summer_balance"] = rng.normal(-2.3, 0.6, g.size).round(digits)
    frame["annual_balance"] = (frame["winter_balance"] + frame["summer_balance"]).round(digits)
    frame["height"] = rng.normal(3000, 100, g.size).round()
    return frame


def read(frame, tmp_path, reader, balance="annual_balance", **options):
    frame.to_csv(tmp_path / "table.csv", index=False)
    if reader == "observations":
        columns = {"mass_balance": balance}
        return read_observations(tmp_path / "table.csv", units="m w.e.", columns=columns, **options)
    return read_samples_table(
        tmp_path / "table.csv", glacier="wgms_id", year="year", target=balance, target_units="m w.e.",
        exclude=["*_balance", balance], **options,
    )  # fmt: skip


def refusal(frame, tmp_path, reader, **options) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with pytest.raises((InputError, InputErrors)) as raised:
            read(frame, tmp_path, reader, **options)
    for part in ("expected:", "found:", "remedy:"):
        assert part in str(raised.value)
    return str(raised.value)


def quietly(frame, tmp_path, reader, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return read(frame, tmp_path, reader, **options)


def told(frame, tmp_path, reader, **options) -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        out = read(frame, tmp_path, reader, **options)
    return "\n".join([*(str(one.message) for one in caught), getattr(out, "attrs", {}).get("notes", "")])


# --- winter balances -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "season"),
    [
        *((n, True) for n in ("winter_balance", "Bw", "b_w", "BW (m w.e.)", "Winterbilanz", "bilan_hiver", "bs")),
        *((n, True) for n in ("summer_balance", "accumulation", "ablation_mwe", "wb", "mb_summer")),
        *((n, False) for n in ("annual_balance", "ba", "b_n", "mass_balance", "mb", "balance", "dmdtda")),
        *((n, False) for n in ("annual_winter_summer_sum", "smb", "bsl", "webs")),
    ],
)  # fmt: skip
def test_names_of_seasons(name, season):
    assert is_of_season(name) is season


def test_columns_of_balances_are_no_uncertainties_and_no_temperatures():
    names = ["winter_balance", "winter_balance_unc", "summer_balance", "annual_balance", "winter_temperature", "height"]
    assert balance_columns(names, "annual_balance") == ["winter_balance", "summer_balance"]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["winter_balance", "summer_balance", "Bw"])
def test_a_column_named_by_a_season_is_refused_with_the_line_to_write(tmp_path, reader, name):
    said = refusal(
        table().rename(columns={"winter_balance": "Bw"} if name == "Bw" else {}), tmp_path, reader, balance=name
    )
    assert "balances of a whole year" in said
    assert "mass_balance: annual_balance" in said or "target: annual_balance" in said


@pytest.mark.parametrize("reader", READERS)
def test_winter_values_under_an_annual_name(tmp_path, reader):
    frame = table()
    swapped = frame.rename(columns={"winter_balance": "annual_balance", "annual_balance": "b_a"})
    said = refusal(swapped, tmp_path, reader)
    assert "60 of 60 balances above +0.3 m w.e." in said
    assert "summer_balance" in said
    assert "b_a" in said
    alone = swapped.drop(columns=["summer_balance", "b_a"])
    assert "are these winter balances?" in told(alone, tmp_path, reader)


@pytest.mark.parametrize("reader", READERS)
def test_annual_balances_beside_those_of_the_seasons_are_left_alone(tmp_path, reader):
    assert "winter" not in told(table(), tmp_path, reader)


def test_true_gains_are_kept_where_winter_and_summer_say_so(tmp_path):
    frame = table()
    frame["summer_balance"] = (frame["summer_balance"] / 10).round(2)
    frame["annual_balance"] = (frame["winter_balance"] + frame["summer_balance"]).round(2)
    assert "are these winter balances?" in told(frame, tmp_path, "observations")


@pytest.mark.parametrize("reader", READERS)
def test_rows_and_glaciers_with_winter_balances(tmp_path, reader):
    frame = table()
    some = frame.index[frame["wgms_id"] == 102]
    frame.loc[some, "annual_balance"] = frame.loc[some, "winter_balance"]
    said = refusal(frame, tmp_path, reader)
    assert "12 of 60 balances equal to those of winter_balance" in said
    assert "26" in said  # the line of its first row
    assert "'102'" in told(frame.drop(columns="winter_balance"), tmp_path, reader)
    frame = table()
    frame.loc[[3, 4, 50], "annual_balance"] = frame.loc[[3, 4, 50], "winter_balance"]
    assert "3 of 60 balances equal to those of winter_balance" in told(frame, tmp_path, reader)


# --- zeros -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reader", READERS)
def test_zeros_for_missing_values(tmp_path, reader):
    frame = table()
    rows = [2, 11, 30, 41, 55]
    frame.loc[rows, "annual_balance"] = 0.0
    said = refusal(frame, tmp_path, reader)
    assert "5 of 60 are exactly 0" in said
    assert "4, 13, 32, 43, 57" in said  # lines
    assert "missing: [0]" in said
    assert len(quietly(frame, tmp_path, reader, missing=[0])["mass_balance"]) == 55
    assert len(quietly(frame, tmp_path, reader, missing=[])["mass_balance"]) == 60


@pytest.mark.parametrize("reader", READERS)
def test_a_single_zero_and_zeros_among_round_values_stay(tmp_path, reader):
    frame = table()
    frame.loc[7, "annual_balance"] = 0.0
    assert "exactly 0" not in told(frame, tmp_path, reader)
    round_ones = table(digits=1)
    round_ones.loc[[7, 19, 33], "annual_balance"] = 0.0
    assert "exactly 0" not in told(round_ones, tmp_path, reader)


@pytest.mark.parametrize("reader", READERS)
def test_two_zeros_among_fine_values_are_told(tmp_path, reader):
    frame = table(digits=3)
    frame.loc[[7, 19], "annual_balance"] = 0.0
    assert "2 of 60 are exactly 0" in told(frame, tmp_path, reader)


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_measured_zeros_are_hardly_ever_refused(tmp_path, digits):
    """Of 200 tables of measurements, rounded, none is refused: zeros are as frequent as their neighbours."""
    for seed in range(200):
        rng = np.random.default_rng(seed)
        frame = pd.DataFrame({"wgms_id": np.repeat(np.arange(10), 30), "year": np.tile(np.arange(1980, 2010), 10)})
        frame["annual_balance"] = rng.normal(-0.3, 0.6, 300).round(digits)
        frame.to_csv(tmp_path / "table.csv", index=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            assert len(read_observations(tmp_path / "table.csv", units="m w.e.")) == 300


def test_zeros_among_geodetic_rates(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"rgiid": [f"RGI60-11.{k:05d}" for k in range(200)], "period": "2000-01-01_2010-01-01"})
    frame["dmdtda"], frame["err_dmdtda"] = rng.normal(-0.6, 0.4, 200).round(3), 0.1
    frame.loc[::20, "dmdtda"] = 0.0
    frame.to_csv(tmp_path / "rates.csv", index=False)
    with pytest.raises((InputError, InputErrors), match="zeros that stand for missing values") as raised:
        read_geodetic(tmp_path / "rates.csv")
    assert "observations: {geodetic: {missing: [0]}}" in str(raised.value)
