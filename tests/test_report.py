"""The page about a run: what it says, that it holds all it needs, that names stay names, when it is written again."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from bokeh.document import Document
from bokeh.embed import components
from bokeh.models import CustomJS
from bokeh.plotting import figure
from hypothesis import given
from hypothesis import strategies as st

import glacmb_grid
from glacmb_grid.cli import main
from glacmb_grid.config import load_config
from glacmb_grid.report.page.cards import data_card, limits, model_card
from glacmb_grid.report.page.glaciers import glaciers_of, packed
from glacmb_grid.report.page.numbering import numbered
from glacmb_grid.report.page.packing import along_a_path, from_text, pack_series, unpack_series
from glacmb_grid.report.page.page import page
from glacmb_grid.report.page.sections import sections
from glacmb_grid.report.page.sentences import sentences
from glacmb_grid.report.page.sums import region_columns, regional_charts
from glacmb_grid.report.page.tables import MOST_ROWS, score_table, table_of
from glacmb_grid.report.results import Results, gather
from glacmb_grid.workflow.currency import status
from glacmb_grid.workflow.presenting import presented, write_figures, write_report

BAD = float("nan")
EVIL = "</script><script>alert(1)</script>"
METRICS = ("rmse", "r2", "mae", "bias", "rmse_glacier_mean", "rec_auc", "sign_auc")


def evaluation(ids, models=("mean", "net")):
    """Tables of an evaluation of two glaciers in two schemes."""
    rng = np.random.default_rng(0)
    lines = [
        (scheme, "nested", model, f"{glacier}:{year}", glacier, year, rng.normal(-0.5, 0.5))
        for scheme in ("logo", "loyo")
        for model in models
        for glacier in ids
        for year in (2002, 2003, 2005)
    ]
    names = ["scheme", "protocol", "model", "sample", "glacier", "year", "observed"]
    predictions = pd.DataFrame(lines, columns=names)
    predictions["predicted"] = predictions["observed"] + 0.1
    scores = pd.DataFrame(
        [(s, "nested", m, "all", metric, 0.5 + k / 10, 0.4, 0.8, 6)
         for s in ("logo", "loyo") for k, m in enumerate(reversed(models)) for metric in METRICS],
        columns=["scheme", "protocol", "model", "slice", "metric", "value", "lower", "upper", "n"],
    )  # fmt: skip
    comparisons = pd.DataFrame(
        {"scheme": "logo", "protocol": "nested", "model": ["net", "mean"], "baseline": ["mean", "net"],
         "metric": "rmse", "difference": [-0.1, 0.1], "lower": [-0.2, 0.05], "upper": [-0.05, 0.2], "n": 6,
         "verdict": ["better", "worse"]}
    )  # fmt: skip
    choices = pd.DataFrame(
        {"scheme": "logo", "model": "net", "fold": list(ids), "rows": 3, "chosen": '{"l1": 0.1}', "inner_rmse": 0.4,
         "candidates": 2, "features": 2, "feature_names": ["rain; heat", "heat; wind"], "parameters": [41.0, 50.0]}
    )  # fmt: skip
    search = {"net": {"candidates": [{"l1": 0.1}, {"l1": 0.2}], "recipes": [{}]}}
    tables = {"predictions": predictions, "scores": scores, "comparisons": comparisons, "choices": choices}
    return {**tables, "search": search}


@pytest.fixture
def results(toys):
    """What a run of five glaciers, two of them measured, has made."""
    product = toys.product(glaciers=5).assign_attrs(title="Five glaciers")
    ids = product["glacier_id"].values[[1, 3]].astype(str)
    samples = toys.table(
        np.zeros((6, 2)), [-1.0, 0.2, -0.5, 0.1, -0.2, BAD], np.repeat(ids, 3), [2002, 2003, 2005] * 2,
        longitude=np.repeat(product["longitude"].values[[1, 3]], 3), latitude=np.repeat([31.0, 32.0], 3),
    )  # fmt: skip
    return Results(
        name="toy",
        model="net",
        product=product,
        regional=toys.regional(),
        samples=samples,
        evaluation=evaluation(ids),
        names={ids[0]: "Old Glacier"},
        outlines=5,
    )


class Elements(HTMLParser):
    """Tags of a page with their attributes, and the text outside of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.found, self.text, self._silent = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._silent = tag in ("script", "style")

    def handle_endtag(self, tag):
        self._silent = False if tag in ("script", "style") else self._silent

    def handle_data(self, data):
        if not self._silent:
            self.text.append(data)

    def tags(self, name):
        return [a for tag, a in self.found if tag == name]


# ---- series as text ----


@given(
    st.integers(1, 6), st.integers(1, 5), st.integers(0, 10_000), st.floats(0, 0.5),
    st.floats(0.01, 30),
)  # fmt: skip
def test_series_come_back_to_the_centimetre_and_widths_are_never_told_too_narrow(glaciers, years, seed, gaps, spread):
    rng = np.random.default_rng(seed)
    balance = rng.normal(-0.5, spread, (glaciers, years))
    width = np.abs(rng.normal(0.5, 0.3, (glaciers, years)))
    missing = rng.random((glaciers, years)) < gaps
    balance[missing], width[missing] = BAD, BAD
    texts, facts = pack_series(balance, width, budget=10**9)
    found, its = unpack_series(texts, facts)
    assert facts["step"] == 1
    np.testing.assert_array_equal(np.isnan(found), missing)
    np.testing.assert_allclose(found[~missing], balance[~missing], atol=0.00501)
    np.testing.assert_array_equal(np.isnan(its), missing)
    assert (its[~missing] >= width[~missing] - 1e-5).all()
    assert (its[~missing] <= width[~missing] + facts["half_step"] / 100).all()


def test_series_that_are_too_long_are_told_in_coarser_steps_and_this_is_said(results):
    rng = np.random.default_rng(0)
    balance = rng.normal(0, 1, (50, 40))
    fine, exact = pack_series(balance, None, budget=10**9)
    coarse, facts = pack_series(balance, None, budget=len(fine["balance"]) // 2)
    assert (exact["step"], facts["step"]) == (1, 10)
    np.testing.assert_allclose(unpack_series(coarse, facts)[0], balance, atol=0.0501)
    assert "rounded to 10 cm" in packed(glaciers_of(results), budget=0)[1]


def test_a_region_without_years_or_glaciers_can_be_packed():
    for shape in ((0, 3), (2, 0)):
        texts, facts = pack_series(np.zeros(shape), np.zeros(shape), budget=10**9)
        assert unpack_series(texts, facts)[0].shape == shape


def test_neighbours_follow_each_other():
    longitude, latitude = np.array([70.02, 80.0, 69.98, 80.04]), np.array([30.0, 40.0, 30.01, 39.97])
    order = along_a_path(longitude, latitude).tolist()
    assert {frozenset(order[:2]), frozenset(order[2:])} == {frozenset((0, 2)), frozenset((1, 3))}


# ---- glaciers ----


def test_the_glaciers_of_a_product_keep_their_values_in_their_new_order(results):
    made, product = glaciers_of(results), results.product
    by_id = product.set_xindex("glacier_id")
    for place, one in enumerate(made.identifier):
        mine = by_id.sel(glacier_id=one)
        np.testing.assert_allclose(made.balance[place], mine["mass_balance"].values)
        assert made.area[place] == float(mine["area"])
        assert made.longitude[place] == float(mine["longitude"])
    observed = {made.identifier[i]: rows for i, rows in made.observed.items()}
    assert observed["RGI60-13.00001"] == [(2002, -1.0, 0.2), (2003, 0.2, 0.2), (2005, -0.5, 0.2)]
    assert [r[0] for r in observed["RGI60-13.00003"]] == [2002, 2003], "an observation without a value is none"
    assert made.identifier[made.first] == "RGI60-13.00001"
    assert made.name[made.first] == "Old Glacier"


def test_without_a_90_percent_interval_the_band_is_one_standard_deviation(results):
    with_intervals = glaciers_of(results)
    assert with_intervals.band == "90 % interval"
    none = {f"mass_balance_{side}_90": results.product["mass_balance"] * np.nan for side in ("lower", "upper")}
    why = "not available: a 90 % interval needs residuals of 9 glaciers, and there are 2"
    one = dataclasses.replace(results, product=results.product.assign(none).assign_attrs(interval_90=why))
    made, by_id = glaciers_of(one), one.product.set_xindex("glacier_id")
    assert made.band == "one standard deviation"
    for place, glacier in enumerate(made.identifier):
        np.testing.assert_allclose(
            made.half_width[place], by_id.sel(glacier_id=glacier)["mass_balance_uncertainty"].values
        )
    first = next(iter(sections(one, made, Document())))
    assert "one standard deviation: a 90 % interval needs residuals of 9 glaciers, and there are 2." in first.lead
    assert any(why in text for text in limits(one))


def test_without_a_product_the_glaciers_are_those_that_were_judged(results):
    made = glaciers_of(dataclasses.replace(results, product=None))
    assert sorted(made.identifier) == ["RGI60-13.00001", "RGI60-13.00003"]
    assert not made.of_product
    assert made.year == [2002, 2003, 2004, 2005], "every year has its place"
    table = results.evaluation["predictions"]
    mine = table[(table["scheme"] == "logo") & (table["model"] == "net") & (table["glacier"] == made.identifier[0])]
    np.testing.assert_allclose(made.balance[0][[0, 1, 3]], mine["predicted"])
    assert np.isnan(made.balance[0][2])
    assert glaciers_of(Results(name="nothing")) is None


def test_without_positions_there_is_no_map_but_a_series(results):
    bare = results.samples.drop_vars([n for n in results.samples.coords if "itude" in str(n)])
    one = dataclasses.replace(results, product=None, samples=bare)
    first = next(iter(sections(one, glaciers_of(one), Document())))
    assert set(first.charts) == {"search", "series"}
    assert "no map" in first.lead


# ---- what it says ----


def test_three_sentences_say_what_was_run_the_answer_and_how_good_it_is(results):
    one = dataclasses.replace(results, regional=results.regional.isel(region=slice(0, 1)))
    what, answer, good = sentences(one)
    assert "net learnt from 6 annual balances of 2 glaciers from 2002 to 2005" in what
    assert "5 glaciers in the hydrological years 2001 to 2006" in what
    last = one.regional.isel(region=0, year=-1)
    rate, sigma = (float(last[f"cumulative_mass_balance{n}"]) / 6 for n in ("", "_uncertainty"))
    assert f"{abs(rate):.2f} ± {1.6449 * sigma:.2f} m w.e. a year" in answer
    assert ("lost" if rate < 0 else "gained") in answer
    assert "net errs by 0.50 [0.40, 0.80] m w.e." in good
    assert "it beats mean" in good


def test_errors_whose_correlation_was_not_estimated_are_not_said_to_be(results):
    regional = results.regional.isel(region=slice(0, 1))
    regional = regional.assign_coords(region_name=("region", ["all glaciers"]))
    for source, says in (("estimated", "as estimated"), ("published", "as published for other glaciers")):
        said = json.dumps({"source": source, "structures": [], "reason": "because"})
        product = results.product.assign_attrs(error_correlation=said)
        one = dataclasses.replace(results, regional=regional, product=product)
        assert f"errors correlated {says})" in sentences(one)[1]
        assert sentences(one)[1].startswith("All glaciers together ")


def test_several_regions_are_summed_without_a_claim_about_the_sum(results):
    total = float(results.regional["mass_change_gt"].sum())
    answer = sentences(results)[1]
    assert f"2 regions {'lost' if total < 0 else 'gained'} {abs(total):,.1f} Gt" in answer
    assert "±" not in answer


def test_a_run_that_has_only_samples_says_so(results):
    (only,) = sentences(Results(name="x", samples=results.samples))
    assert "no model has been judged yet" in only
    assert sentences(Results(name="x")) == []


def test_sections_without_files_are_a_line_not_an_empty_chart(results):
    made = {s.key: s for s in sections(results, glaciers_of(results), Document())}
    assert made["audit"].missing == "Not audited: made by glacmb-grid audit."
    assert not made["audit"].charts
    for key in ("study", "groups", "geodetic", "losses", "reliability", "distance"):
        assert made[key].missing, key
    for key in ("glaciers", "regional", "scores", "predicted", "beaten", "applicability", "chosen", "search", "model"):
        assert not made[key].missing, key
    nothing = Results(name="x")
    empty = list(sections(nothing, None, Document()))
    assert {s.key for s in empty if not s.missing} == {"model", "data", "limits"}
    assert "No series yet" in page(nothing)


def test_tables_of_a_study_an_audit_and_rates_become_charts(results, toys):
    importance = pd.DataFrame(
        {"scheme": "logo", "model": "net", "group": ["a", "b"], "fold": "f", "increase": [0.1, 0.2]}
    )
    removed = pd.DataFrame(
        {"scheme": "logo", "model": "net", "ablation": ["as it is", "no snow"], "rmse": 0.5, "difference": [BAD, 0.1],
         "lower": [BAD, 0.0], "upper": [BAD, 0.2], "verdict": [None, "undecided"], "n": 6}
    )  # fmt: skip
    curve = pd.DataFrame(
        {"scheme": "logo", "model": "net", "share": 1.0, "groups": [1, 2], "rows": [3, 6], "rmse": 0.5}
    )
    gaps = pd.DataFrame(
        {"model": "net", "leak": ["nested", "tuning"], "scheme": "logo", "rmse": 0.5, "r2": 0.1, "promised": [0, 0.1],
         "lower": [0, BAD], "upper": [0, BAD], "n": 6}
    )  # fmt: skip
    full = dataclasses.replace(
        results,
        study={"importance": importance, "ablations": removed, "learning_curve": curve},
        audit={"gaps": gaps, "verdict": {"leaks": ["a fit saw its rows"]}},
        failures=pd.DataFrame({"glacier": ["g"], "stage": "terrain", "variable": "dem", "reason": "voids"}),
    )
    made = {s.key: s for s in sections(full, glaciers_of(full), Document())}
    assert set(made["study"].charts) == {"importance-net-logo", "ablations-chart"}
    assert made["groups"].charts
    assert made["audit"].points == ["a fit saw its rows"]
    assert "voids" in page(full)


def test_series_of_others_stand_beside_the_sums(results):
    score = {"region": "13", "unit": "Gt", "n": 19, "product": -0.1, "reference": -1.7, "bias": 1.6, "rmse": 1.9}
    scores = pd.DataFrame([{**score, "area_share": 0.04}, {**score, "region": "14", "area_share": np.nan}])
    one = dataclasses.replace(results, series_scores=scores)
    made = {s.key: s for s in sections(one, glaciers_of(one), Document())}["series"]
    assert made.tables[0].rows[0] == ("13", "Gt", "19", "-0.100", "-1.700", "–", "–", "4%")
    assert made.tables[0].rows[1][-1] == "–"
    made = {s.key: s for s in sections(results, glaciers_of(results), Document())}["series"]
    assert "compare" in made.missing


def test_geodetic_rates_stand_beside_the_product(results):
    days = np.array(["2001-10-01", "2005-10-01"], "datetime64[ns]")
    rates = pd.DataFrame(
        {"glacier": results.product["glacier_id"].values[:2].astype(str), "site": "s", "link": "exact",
         "rate": [-0.4, -0.2], "uncertainty": [0.1, BAD], "begin": days[0], "end": days[1]}
    )  # fmt: skip
    compared, _ = glacmb_grid.compare_geodetic(results.product, rates)
    one = dataclasses.replace(results, geodetic=compared, geodetic_scores=glacmb_grid.score_geodetic(compared))
    made = {s.key: s for s in sections(one, glaciers_of(one), Document())}["geodetic"]
    (source,) = {r.data_source for r in made.charts["geodetic-rates"].renderers if "period" in r.data_source.data}
    np.testing.assert_allclose(source.data["geodetic_rate"], [-0.4, -0.2])
    assert source.data["period"][0] == "2001-10-01 to 2005-10-01"
    assert made.tables[0].rows[0][:2] == ("all", "2")
    assert "2001-10-01 to 2005-10-01" in page(one)


def test_a_region_shows_its_own_band(results):
    columns = region_columns(results.regional, 1, "mass_balance")
    one = results.regional.isel(region=1)
    value, sigma = one["mass_balance"].values, one["mass_balance_uncertainty"].values
    np.testing.assert_allclose(columns["value"], value, atol=1e-4)
    np.testing.assert_allclose(columns["lower"], value - 1.6449 * sigma, atol=2e-4)
    claimed = np.array(columns["alone_upper"]) - np.array(columns["alone_lower"])
    assert (claimed < np.array(columns["upper"]) - np.array(columns["lower"])).all()
    assert "regional-choice" in regional_charts(results.regional)
    assert "regional-choice" not in regional_charts(results.regional.isel(region=slice(0, 1)))


def test_the_model_of_the_product_stands_out_among_its_rivals(results):
    made = score_table(results.evaluation["scores"], "logo", "mean", 0.9)
    assert made.rows[made.strong][:2] == ("mean", "0.600 [0.400, 0.800]")
    assert len(made.rows) == 2


def test_long_tables_are_cut_and_say_so():
    made = table_of(("a",), [(str(i),) for i in range(MOST_ROWS + 5)], "rows")
    assert len(made.rows) == MOST_ROWS
    assert made.caption == "rows (200 of 205 rows)"


def test_cards_name_sources_counts_and_limits(results):
    inputs = {"climate files": "era5_land_t2m.nc 0123456789abcdef", "outlines": "mine.gpkg 0123456789abcdef"}
    one = dataclasses.replace(results, inputs=inputs)
    sources, counts = data_card(one)
    assert sources.rows[0][1] == "era5_land_t2m.nc", "digests are left to run.json"
    assert "ERA5-Land" in sources.rows[0][2]
    assert "your own" in sources.rows[1][2]
    assert ("annual balances learnt from", "6 of 2 glaciers, 2002 to 2005") in counts.rows
    assert ("parameters of a member", "46 (median of 2 folds)") in model_card(one).rows
    outside = float((one.product["applicable"] == 0).mean())
    assert any(f"{outside:.0%} of the glacier-years lie outside" in text for text in limits(one))
    assert any("Only 2 glaciers" in text for text in limits(one))


# ---- one file ----


def test_the_page_asks_for_nothing_beyond_itself(results):
    html = page(results)
    elements = Elements(html)
    addresses = [a[n] for _, a in elements.found for n in ("src", "href", "action", "data", "poster") if n in a]
    assert addresses
    assert all(a.startswith("#") or a == "data:," for a in addresses)
    styles = re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1]
    assert "url(" not in styles
    assert "@import" not in styles
    assert not [a for a in elements.tags("link") if a["rel"] != "icon"]
    assert len(elements.tags("noscript")) == 1, "without scripts the page says what is missing"


def test_names_stay_names_wherever_they_stand(results, toys):
    evil = results.product.assign_attrs(title=EVIL)
    ids = evil["glacier_id"].values.astype(object).copy()
    plain = page(results)
    ids[0] = EVIL
    failures = pd.DataFrame({"glacier": [EVIL], "stage": [EVIL], "variable": ["<b>"], "reason": [EVIL]})
    regional = results.regional.assign_coords(region_name=("region", np.array([EVIL, "<i>x</i>"], object)))
    tables = {k: t.copy() if isinstance(t, pd.DataFrame) else t for k, t in results.evaluation.items()}
    tables["predictions"]["glacier"] = EVIL
    tables["choices"]["fold"] = EVIL
    one = dataclasses.replace(
        results,
        product=evil.assign_coords(glacier_id=("glacier", ids)),
        regional=regional,
        failures=failures,
        evaluation=tables,
        names=dict.fromkeys(ids, EVIL),
        inputs={EVIL: EVIL},
    )
    html = page(one)
    assert "<script>alert(1)" not in html
    assert "<i>x</i>" not in html
    found, expected = Elements(html), Elements(plain)
    assert len(found.tags("script")) == len(expected.tags("script"))
    assert not found.tags("b")
    assert EVIL in "".join(found.text), "it is shown as it is"


def test_what_is_packed_is_what_the_browser_needs(results):
    texts = dict(re.findall(r'id="packed-(\w+)">([^<]*)<', page(results)))
    facts = json.loads(from_text(texts["facts"]))
    ids = from_text(texts["identifier"]).decode().split("\n")
    assert len(ids) == 5
    found, widths = unpack_series(texts, facts["series"])
    mine = results.product.set_xindex("glacier_id").sel(glacier_id=ids)
    np.testing.assert_allclose(found, mine["mass_balance"].values, atol=0.0051)
    half = (mine["mass_balance_upper_90"] - mine["mass_balance"]).values
    assert (widths >= half - 1e-4).all()
    size = np.frombuffer(from_text(texts["size"]), "<f4")
    assert np.argmax(size) == np.argmax(mine["area"].values)


# ---- of a run ----


@pytest.fixture
def quiet():
    return lambda text: None


def test_a_run_gets_a_page_once_and_again_when_it_changes(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config(world.run(tmp_path, link=True))
    said = []
    path = write_report(config, say=said.append)
    assert said == [f"report: {path}"]
    first = path.read_bytes()
    assert b"learnt from" in first
    assert write_report(config, say=said.append) == path
    assert said[1:] == [f"report is current: {path}"]
    assert path.read_bytes() == first
    states = {n: s for n, s, _ in status(config)}
    assert presented(config, states) == [("report", "current", "")]
    path.write_text("edited", encoding="utf-8")
    assert presented(config, states)[0][1] == "stale"
    write_report(config, say=said.append)
    assert path.read_bytes() == first
    assert any(p.name.startswith("index.html.") for p in path.parent.iterdir()), "what was edited is kept"


def test_stale_results_are_named_on_the_page(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = world.run(tmp_path, link=True)
    config = load_config(path, ["scores.bootstrap=150"])
    states = {n: s for n, s, _ in status(config)}
    results = gather(config, states)
    assert results.stale == ("evaluation",)
    assert "Not current with the configuration: evaluation" in page(results)
    assert results.networks.keys() == {"ff_fcnn"}
    assert results.model == "ff_fcnn"


@pytest.mark.slow
def test_figures_of_a_run_are_written_as_png_and_pdf(world, tmp_path, monkeypatch, quiet):
    monkeypatch.chdir(tmp_path)
    config = load_config(world.run(tmp_path, link=True))
    written = write_figures(config, say=quiet)
    names = {p.stem for p in written}
    assert {"map", "applicability", "scores-rmse", "predicted-observed-logo", "learning-curves-ff_fcnn"} <= names
    assert {p.suffix for p in written} == {".png", ".pdf"}
    starts = {".png": b"\x89PNG", ".pdf": b"%PDF"}
    assert all(p.read_bytes().startswith(starts[p.suffix]) for p in written)
    before = {p: p.read_bytes() for p in written if p.suffix == ".pdf"}
    assert write_figures(config, overwrite=True, say=quiet) == written
    assert {p: p.read_bytes() for p in before} == before, "the same results give the same bytes"


def test_the_same_results_give_the_same_page(results):
    """Whatever was drawn before: bokeh counts names in a process, and draws others at random."""
    text = page(results)
    figure().scatter([1, 2], [3, 4])
    assert page(results) == text


def test_names_in_a_page_are_counted_and_what_a_user_wrote_stays():
    drawn, document = figure(title='"id":"p1001" and "p1002"'), Document()
    drawn.scatter([1, 2], [3, 4], legend_label="p1003")
    code = 'const known = {"id":"p1004"}'
    drawn.x_range.js_on_change("start", CustomJS(args={"id": drawn}, code=code))
    document.add_root(drawn)
    script, places = numbered(*components({"one": drawn}))
    (told,) = re.findall(r"const docs_json = '(.*)';", script)
    (listed,) = json.loads(re.search(r"const render_items = (.*);", script)[1])
    (root,) = json.loads(told.replace("\\\\", "\\"))["page"]["roots"]
    assert listed == {"docid": "page", "roots": {root["id"]: "chart-one"}, "root_ids": [root["id"]]}
    assert places["one"].startswith(f'<div id="chart-one" data-root-id="{root["id"]}"')
    assert root["attributes"]["title"]["attributes"]["text"] == '"id":"p1001" and "p1002"'
    assert all(name in told for name in ("p1003", "p1004"))
    names = re.findall(r'"name":"\w+","id":"(p\d+)"', told)
    assert len(names) == len(set(names)) > 30
    referred = re.findall(r'\{"id":"(p\d+)"\}', told)
    assert root["id"] in referred
    assert set(referred) <= set(names)
    assert {int(n[1:]) for n in names} == set(range(1, len(names) + 1))


def test_a_script_of_another_form_stays_as_it_is():
    assert numbered('{"id":"p1001"}', {"one": "<div></div>"}) == ('{"id":"p1001"}', {"one": "<div></div>"})


def test_nothing_to_show_is_an_error_that_says_what_to_do(world, tmp_path, monkeypatch, quiet):
    monkeypatch.chdir(tmp_path)
    config = load_config(world.at(tmp_path))
    with pytest.raises(glacmb_grid.InputError, match="make them first"):
        write_report(config, say=quiet)
    assert not (tmp_path / "out").exists()


def test_the_command_line_writes_both_and_a_run_ends_with_its_page(world, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = world.run(tmp_path, link=True)
    assert main(["run", str(path), "--set", "report=false"]) == 0
    assert "report" not in capsys.readouterr().out
    assert main(["run", str(path)]) == 0
    assert f"report: {tmp_path / 'out' / 'report' / 'index.html'}" in capsys.readouterr().out
    assert main(["report", str(path)]) == 0
    assert "report is current" in capsys.readouterr().out
    assert main(["status", str(path)]) == 0
    assert re.search(r"^report +current ", capsys.readouterr().out, re.MULTILINE)
    assert main(["clean", str(path)]) == 0
    assert "report" not in capsys.readouterr().out


def test_a_place_that_is_not_ours_is_left_alone_and_the_run_goes_on(world, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = world.run(tmp_path, link=True)
    mine = tmp_path / "out" / "report" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("kept")
    assert main(["run", str(path)]) == 0
    assert "note: no report" in capsys.readouterr().out
    assert mine.read_text() == "kept"
    assert main(["report", str(path)]) == 1
    shutil.rmtree(mine.parent)
    assert main(["report", str(path)]) == 0
