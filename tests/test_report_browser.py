"""The page in a real browser: it asks for nothing, nothing fails, and a click on a glacier shows its series."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from glacmb_grid.report.page.page import page
from glacmb_grid.report.results import Results

pytestmark = pytest.mark.browser

EVIL = "<script>alert(1)</script>"
READY = """document.documentElement.dataset.ready === 'yes' && document.documentElement.dataset.glacier !== undefined
  && Bokeh.documents[0].is_idle"""
IS_SHOWN = "(id) => document.documentElement.dataset.glacier === id"
# Where on the screen a place of the map is.
PLACE = """([longitude, latitude]) => {
  const home = document.querySelector('[data-chart=map]')
  const view = [...Bokeh.index.roots].find((v) => home.contains(v.el))
  const box = view.el.getBoundingClientRect()
  const {bbox, x_scale, y_scale} = view.frame
  return [box.left + x_scale.compute(longitude), box.top + y_scale.compute(latitude)]
}"""
SERIES = """() => {
  const source = [...Bokeh.documents[0].all_models].find((m) => m.type === 'ColumnDataSource'
    && m.data.balance !== undefined && m.data.year.length === YEARS)
  return {year: [...source.data.year], balance: [...source.data.balance], lower: [...source.data.lower]}
}"""


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium, headless; with GLACMB_REQUIRE_BROWSER=1 it is a failure that there is none."""
    chromium = shutil.which("chromium")
    if chromium is None:
        if os.environ.get("GLACMB_REQUIRE_BROWSER") == "1":
            pytest.fail("GLACMB_REQUIRE_BROWSER=1, yet there is no chromium")
        pytest.skip("there is no chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def results(toys):
    product = toys.product(glaciers=6, years=(1990, 2019)).assign_attrs(title="Six glaciers")
    product["mass_balance"][{"glacier": 2, "year": 5}] = np.nan
    ids = product["glacier_id"].values.astype(object).copy()
    ids[4] = EVIL
    product = product.assign_coords(glacier_id=("glacier", ids))
    measured = [str(ids[1]), str(ids[4])]
    samples = toys.table(np.zeros((6, 2)), np.linspace(-1, 0.5, 6), np.repeat(measured, 3), [2001, 2003, 2005] * 2)
    return Results(
        name="browser", model="net", product=product, regional=toys.regional(), samples=samples,
        names={EVIL: EVIL, str(ids[1]): "Old Glacier"},
    )  # fmt: skip


@pytest.fixture
def opened(browser, results, tmp_path):
    """The page, and what happened on it: requests, errors, dialogs."""
    path = tmp_path / "index.html"
    path.write_text(page(results), encoding="utf-8")
    tab = browser.new_page(viewport={"width": 1400, "height": 1300})
    seen = {"requests": [], "errors": [], "dialogs": []}
    tab.on("request", lambda r: seen["requests"].append(r.url))
    tab.on("console", lambda m: seen["errors"].append(m.text) if m.type == "error" else None)
    tab.on("pageerror", lambda e: seen["errors"].append(str(e)))

    def dismiss(dialog):
        seen["dialogs"].append(dialog.message)
        dialog.dismiss()

    tab.on("dialog", dismiss)
    tab.goto(path.as_uri())
    tab.wait_for_function(READY)
    yield tab, seen, path
    tab.close()


def shown(tab, product):
    """Series on the screen, and the identifier of its glacier."""
    code = SERIES.replace("YEARS", str(product.sizes["year"]))
    return tab.evaluate(code), tab.evaluate("document.documentElement.dataset.glacier")


def test_the_page_asks_for_nothing_and_nothing_fails(opened):
    tab, seen, path = opened
    tab.mouse.wheel(0, 20_000)  # what is drawn only when it comes into view
    tab.wait_for_timeout(500)
    assert seen["requests"] == [path.as_uri()]
    assert seen["errors"] == []
    charts = tab.locator("[data-chart] canvas")
    assert charts.count() >= 6


def test_a_click_on_a_glacier_shows_its_series(opened, results):
    tab, seen, _ = opened
    product = results.product
    assert shown(tab, product)[1] in (EVIL, "RGI60-13.00001"), "first one that was measured"
    for place in (2, 4):
        mine = product.isel(glacier=place)
        x, y = tab.evaluate(PLACE, [float(mine["longitude"]), float(mine["latitude"])])
        tab.mouse.click(x, y)
        tab.wait_for_function(IS_SHOWN, arg=str(mine["glacier_id"].values))
        series, _ = shown(tab, product)
        balance = np.array([np.nan if b is None else b for b in series["balance"]], np.float64)
        assert series["year"] == product["year"].values.tolist()
        np.testing.assert_allclose(balance, mine["mass_balance"].values, atol=0.0051)
        lower = np.array([np.nan if b is None else b for b in series["lower"]], np.float64)
        wanted = mine["mass_balance_lower_90"].where(mine["mass_balance"].notnull()).values
        np.testing.assert_allclose(lower, wanted, atol=0.03)
    assert seen["errors"] == []


def test_a_glacier_called_like_a_script_is_only_a_name(opened, results):
    tab, seen, _ = opened
    mine = results.product.isel(glacier=4)
    x, y = tab.evaluate(PLACE, [float(mine["longitude"]), float(mine["latitude"])])
    tab.mouse.move(x, y)
    tab.wait_for_timeout(300)
    tab.mouse.click(x, y)
    tab.wait_for_function(IS_SHOWN, arg=EVIL)
    tab.wait_for_timeout(200)
    assert seen["dialogs"] == []
    assert seen["errors"] == []


def test_measured_glaciers_wear_a_ring(opened, results):
    tab, _, _ = opened
    found = tab.evaluate("""() => [...Bokeh.documents[0].all_models].filter((m) => m.type === 'ColumnDataSource'
      && Object.keys(m.data).sort().join() === 'latitude,longitude,size').map((m) => [...m.data.longitude])""")
    measured = results.product["longitude"].values[[1, 4]]
    assert len(found) == 1
    np.testing.assert_allclose(sorted(found[0]), sorted(measured), atol=1e-4)


def test_a_name_that_is_typed_finds_its_glacier(opened):
    tab, _, _ = opened
    box = tab.locator("[data-chart=search] input")
    box.fill("rgi60-13.00005")
    box.press("Enter")
    tab.wait_for_function("document.documentElement.dataset.glacier === 'RGI60-13.00005'")
    box.fill("old glac")
    box.press("Enter")
    tab.wait_for_function("document.documentElement.dataset.glacier === 'RGI60-13.00001'")
    box.fill("nowhere")
    box.press("Enter")
    tab.get_by_text("No glacier like").wait_for()


def test_another_region_is_shown_when_it_is_chosen(opened, results):
    tab, seen, _ = opened
    tab.locator("[data-chart=regional-choice] select").select_option("14 Region 14")
    wanted = results.regional["mass_balance"].isel(region=1).values.round(4).tolist()
    found = """(wanted) => [...Bokeh.documents[0].all_models].some((m) => m.type === 'ColumnDataSource'
      && m.data.alone_lower !== undefined && [...m.data.value].every((v, k) => Math.abs(v - wanted[k]) < 1e-6))"""
    tab.wait_for_function(found, arg=wanted)
    assert seen["errors"] == []


def test_a_narrow_screen_is_not_wider_than_itself(browser, results, tmp_path):
    path = tmp_path / "index.html"
    path.write_text(page(results), encoding="utf-8")
    tab = browser.new_page(viewport={"width": 400, "height": 800})
    tab.goto(path.as_uri())
    tab.wait_for_function(READY)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400
    tab.close()
