"""Text of tables: the quick way and the careful one give the same; decimal commas; lines of what is wrong."""

from __future__ import annotations

import csv
import warnings

import numpy as np
import pandas as pd
import pytest

from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.inputs import cells
from glacmb_grid.inputs.balances import read_observations
from glacmb_grid.inputs.balances.geodetic import read_geodetic
from glacmb_grid.inputs.decimals import with_points
from glacmb_grid.inputs.own_table import read_samples_table
from glacmb_grid.inputs.tables import numbers, read_table


def put(tmp_path, text, encoding="utf-8"):
    (tmp_path / "table.csv").write_bytes(text.encode(encoding))
    return tmp_path / "table.csv"


def own(path, target="Bilanz"):
    return read_samples_table(path, glacier="ID", year="Jahr", target=target, target_units="m w.e.")


def european(rows=12, end="\r\n", extra=""):
    """A table as a European spreadsheet exports it, and its balances, areas and heights."""
    rng = np.random.default_rng(1)
    balance, area, height = rng.normal(-0.5, 0.4, rows).round(2), rng.uniform(0.5, 20, rows).round(3), np.arange(rows)
    height = 950 + 150 * height
    lines = ["ID;Jahr;Bilanz;Flaeche;Hoehe" + extra]
    for k in range(rows):
        grouped = f"{height[k]:,}".replace(",", ".")
        cells_ = [f"{1 + k % 3}", f"{2001 + k // 3}", str(balance[k]).replace(".", ","), str(area[k]).replace(".", ",")]
        lines.append(";".join([*cells_, grouped]) + extra)
    return end.join(lines) + end, balance, area, height


# --- decimal commas --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("extra", ["", ";", ";;"])
@pytest.mark.parametrize("first", ["", "sep=;\r\n"])
def test_a_european_export_is_read_right(tmp_path, encoding, extra, first):
    text, balance, area, height = european(extra=extra)
    path = put(tmp_path, first + text.replace("Flaeche", "Fl\u00e4che"), encoding)
    columns = {"site": "ID", "year": "Jahr", "mass_balance": "Bilanz"}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        out = read_observations(path, units="m w.e.", columns=columns)
        samples = own(path)
    assert out["mass_balance"].tolist() == balance.tolist()
    assert out["line"].tolist() == list(range(2 + bool(first), 14 + bool(first)))
    np.testing.assert_allclose(samples["mass_balance"], balance)
    values = samples["predictors"].sel(predictor="Hoehe").values
    np.testing.assert_allclose(values, height)
    np.testing.assert_allclose(samples["predictors"].sel(predictor="Fl\u00e4che"), area.astype(np.float32))
    assert "points in hoehe separate thousands" in "\n".join(str(one.message) for one in caught).lower()


@pytest.mark.parametrize(
    ("column", "becomes"),
    [
        (["-0,52", "1,2", ""], ["-0.52", "1.2", ""]),
        (["1.234,5", "-7,0", "12"], ["1234.5", "-7.0", "12"]),
        (["0,125", "1,234", "3"], ["0.125", "1.234", "3"]),  # 0,125 cannot be thousands, so 1,234 is none
        (["1,234", "2,500", "3"], None),  # either
        (["1,234.5", "2,500.0", "3"], None),  # thousands
        (["0,5", "1.5", "3"], None),  # contradictory
        (["1,5e-3", "2", "3"], ["1.5e-3", "2", "3"]),
        (["n/a", "-0,52", "3"], ["n/a", "-0.52", "3"]),
        (["1.5", "2.5", "3"], None),
    ],
)
def test_one_column(column, becomes):
    changed, thousands = with_points(pd.DataFrame({"x": column}))
    assert changed.get("x") == becomes
    assert thousands == []


def test_a_column_is_judged_by_the_others():
    table = pd.DataFrame({"b": ["-0,5", "0,25"], "area": ["1,234", "2,500"], "n": ["1.234", "950"]})
    changed, thousands = with_points(table)
    assert changed == {"b": ["-0.5", "0.25"], "area": ["1.234", "2.500"], "n": ["1234", "950"]}
    assert thousands == ["n"]
    changed, thousands = with_points(table.assign(latitude=["46.81", "46.9"]))  # then points may be decimal
    assert changed == {"b": ["-0.5", "0.25"]}
    assert thousands == []
    changed, _ = with_points(table.rename(columns={"n": "glacier_id"}))
    assert "glacier_id" not in changed


def test_contradictory_decimals_and_thousands_are_refused_with_their_lines(tmp_path):
    text = "id;year;annual_balance\n1;2001;-0,5\n1;2002;0.25\n1;2003;-0,75\n"
    with pytest.raises((InputError, InputErrors)) as raised:
        read_observations(put(tmp_path, text), units="m w.e.")
    assert "line(s) 2, 4" in str(raised.value)
    assert "use a point for decimals" in str(raised.value)
    text = 'id,year,annual_balance\n1,2001,"-1,250"\n1,2002,-250\n'
    with pytest.raises((InputError, InputErrors), match=r"line\(s\) 2") as raised:
        read_observations(put(tmp_path, text), units="mm w.e.")
    assert "thousands" in str(raised.value)


def test_commas_that_begin_late_in_a_table_of_ones_own(tmp_path):
    lines = [f"g{k % 7};{1950 + k // 7};-1;{k}" for k in range(350)]
    lines += [f"g{k % 7};{1950 + k // 7};-0,5;{k},5" for k in range(350, 420)]
    samples = own(put(tmp_path, "ID;Jahr;Bilanz;x\n" + "\n".join(lines) + "\n"))
    assert samples["mass_balance"].values.tolist() == [-1.0] * 350 + [-0.5] * 70
    assert samples["predictors"].sel(predictor="x").values.tolist() == [
        *range(350),
        *(k + 0.5 for k in range(350, 420)),
    ]


def test_a_header_with_commas_in_its_names(tmp_path):
    table = read_table(put(tmp_path, "id;balance, annual, m w.e., corrected\n1;-0.5\n2;0.25\n"))
    assert table["balance, annual, m w.e., corrected"].tolist() == ["-0.5", "0.25"]


# --- the two ways ----------------------------------------------------------------------------------------------------

TEXTS = {
    "plain": "a,b,c\n1,x,2\n3,,4\n",
    "blank lines": "a,b,c\n\n1,x,2\n\n\n3,y,4\n\n",
    "carriage returns": "a,b,c\r\n1,x,2\r\n\r\n3,y,4",
    "rows of separators": "a,b,c\n1,x,2\n,,\n3,y,4\n , , \n",
    "blanks around": "a , b,c\n 1,\tx ,2\n3, y,4\n",
    "quotes": 'a,b,c\n1,"x, y",2\n3,"he said ""no""",4\n',
    "a quote over two lines": 'a,b,c\n1,"x\ny",2\n3,z,4\n',
    "a header over two lines": 'a,"b\nd",c\n1,x,2\n3,y,4\n',
    "separators at the end": "a,b,c,,\n1,x,2,,\n3,y,4,,\n",
    "separators at the end of rows": "a,b,c\n1,x,2,\n3,y,4,\n",
    "one column": "a\n1\n\n3\n",
    "only a header": "a,b,c\n",
    "no end": "a,b,c\n1,x,2",
    "a form feed": "a,b,c\n1,x\x0cy,2\n3,y,4\n",
    "other letters": "a,b,c\n1,\u00d6tztal,2\n3,\u0645,4\n",
}


@pytest.mark.parametrize("kind", TEXTS)
def test_both_ways_give_the_same_cells_and_lines(tmp_path, kind, monkeypatch):
    path = put(tmp_path, TEXTS[kind])
    quick = read_table(path)
    monkeypatch.setattr(cells, "_read_at_once", lambda *_: None)
    careful = read_table(path)
    pd.testing.assert_frame_equal(quick, careful)
    text = TEXTS[kind] if "form feed" not in kind else TEXTS[kind].replace("\x0c", " ")
    rows = [[c.strip() for c in row] for row in csv.reader(text.splitlines(keepends=True))]
    expected = [row[: quick.shape[1] - 1] for row in rows if any(row)][1:]
    if "form feed" not in kind:
        assert quick.drop(columns="line").to_numpy(object).tolist() == expected


def test_plain_tables_go_the_quick_way(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "_read_by_rows", None)
    for kind in ("plain", "blank lines", "carriage returns", "rows of separators", "blanks around", "quotes", "no end"):
        read_table(put(tmp_path, TEXTS[kind]))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a,b,c\n1,x,2\n\n3,y\n", 4),
        ("a,b,c\n1,x,2\n3,y,4,5\n", 3),
        ('a,b,c\n1,x,2\n3,"y"z,4\n', 3),
        ('a,b,c\n1,x,2\n3,"y,4\n5,z,6\n', 3),
    ],
)
def test_what_is_wrong_with_a_row_is_named_with_its_line(tmp_path, text, line):
    with pytest.raises(InputError, match=f"line {line}\n"):
        read_table(put(tmp_path, text))


@pytest.mark.parametrize(
    "text", ["1", "-1.5", "+2.5", "1e3", ".5", "5.", "0x10", "inf", "1_000", "1,5", "abc", "NaN", ""]
)
def test_numbers_are_those_of_pandas(text):
    column = pd.Series(["1.25", text], dtype="str")
    expected = pd.to_numeric(pd.Series([text]).replace({"": "nan"}), errors="coerce").to_numpy(np.float64)[0]
    if np.isfinite(expected) or text in ("NaN", ""):
        found = numbers(column, pd.Series([2, 3]), "x")
        np.testing.assert_array_equal(found, [1.25, expected])
    else:
        with pytest.raises(InputError, match=r"line\(s\) 3"):
            numbers(column, pd.Series([2, 3]), "x")


def test_periods_below_the_shortest_are_not_looked_at_further(tmp_path):
    rows = ["RGI60-11.00001,2000-01-01_2001-01-01,broken,0.1", "RGI60-11.00001,2000-01-01_2010-01-01,-0.5,0.1"]
    path = put(tmp_path, "rgiid,period,dmdtda,err_dmdtda\n" + "\n".join(rows) + "\n")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rates = read_geodetic(path)
    assert rates["rate"].tolist() == [-0.5]
    assert rates["line"].tolist() == [3]
    assert "1 rates of less than 1.45 years left out" in str(caught[0].message)
