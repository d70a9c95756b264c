#!/usr/bin/env python3
"""The report page at full size: a made-up High Mountain Asia of 95,536 glaciers x 75 years in one file of HTML.

Printed are the size of the page, how long it takes to be written, and, where a Chromium is found, how long a browser
takes to the first paint, until glaciers can be clicked, and from a click to the glacier's series on the screen.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import xarray as xr
from bench_upscaling import FULL, WEATHER, observed, region

from glacmb_grid.report.page.page import page
from glacmb_grid.report.results import Results

CLICKS = 9
VIEW = {"width": 1400, "height": 900}
# Once the series has changed, the time of the second frame after it: what was drawn is on the screen then.
CLICK = """async (index) => {
  const model = Bokeh.documents[0].all_models
  const sources = [...model].filter((m) => m.type === "ColumnDataSource")
  const map = sources.find((m) => m.data.identifier !== undefined)
  const chosen = sources.find((m) => m.data.index !== undefined)
  const begun = performance.now()
  chosen.data = {index: [index], longitude: [map.data.longitude[index]], latitude: [map.data.latitude[index]]}
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))
  return [performance.now() - begun, document.documentElement.dataset.glacier, map.data.identifier[index]]
}"""
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN"


def product_of(glaciers: int) -> tuple[xr.Dataset, xr.Dataset]:
    """A product whose balances glaciers of a cell share in part, with intervals that vary; and samples."""
    predictors, static = region(glaciers)
    values = predictors["predictors"].values
    level = 0.2 * values[..., WEATHER:].sum(axis=2) / 2
    balance = (-0.4 + 0.25 * values[..., :3].sum(axis=2) + level).astype(np.float32)
    half = (0.5 + 0.1 * np.sqrt((values**2).mean(axis=2)) * 5).astype(np.float32)
    dims = ("glacier", "year")
    product = xr.Dataset(
        {
            "mass_balance": (dims, balance),
            "mass_balance_upper_90": (dims, balance + half),
            "applicable": (dims, (half < np.quantile(half, 0.9)).astype(np.int8)),
            "measured": ("glacier", np.zeros(glaciers, np.int8)),
            "area": ("glacier", static["area"].values),
        },
        coords={
            "glacier_id": ("glacier", static["glacier"].values),
            "year": predictors["year"].values,
            **{n: ("glacier", static[n].values) for n in ("longitude", "latitude")},
        },
        attrs={"title": f"A made-up region of {glaciers:,} glaciers"},
    )
    return product, observed(predictors)


def in_a_browser(path: Path, glaciers: int) -> None:
    """Print first paint, time until ready, and times of clicks."""
    chromium = shutil.which("chromium")
    if chromium is None:
        print("no chromium found: nothing measured in a browser")
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport=VIEW)
        requests: list[str] = []
        tab.on("request", lambda r: requests.append(r.url))
        begun = time.perf_counter()
        tab.goto(path.as_uri())
        tab.wait_for_function("document.documentElement.dataset.ready === 'yes'", timeout=120_000)
        ready = time.perf_counter() - begun
        print(f"first paint            {tab.evaluate(PAINT) / 1000:8.2f} s")
        print(f"glaciers can be clicked{ready:8.2f} s")
        times = []
        for index in np.random.default_rng(0).integers(0, glaciers, CLICKS).tolist():
            milliseconds, shown, wanted = tab.evaluate(CLICK, index)
            assert shown == wanted, f"{shown} is shown, {wanted} was clicked"
            times.append(milliseconds)
        print(f"click to series        {statistics.median(times):8.0f} ms (slowest {max(times):.0f})")
        print(f"requests beside itself {len(requests) - 1:8d}")
        browser.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--glaciers", type=int, default=FULL)
    parser.add_argument("--keep", type=Path, metavar="FILE", help="keep the page here")
    options = parser.parse_args()
    product, samples = product_of(options.glaciers)
    begun = time.perf_counter()
    html = page(Results(name="made_up", model="ff_fcnn", product=product, samples=samples, synthetic=True))
    print(f"{options.glaciers:,} glaciers x {product.sizes['year']} years")
    print(f"written in             {time.perf_counter() - begun:8.2f} s")
    print(f"size                   {len(html.encode()) / 1e6:8.2f} MB")
    with tempfile.TemporaryDirectory() as folder:
        path = options.keep or Path(folder) / "index.html"
        path.write_text(html, encoding="utf-8")
        in_a_browser(path.resolve(), options.glaciers)


if __name__ == "__main__":
    main()
