# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3. Explore a product
#
# Which glacier lost most in the worst year, and how sure are we? A product of the package is an ordinary Dataset,
# glacier by year, and questions to it are a few lines of xarray. How sure we are is a question to the 100
# *realizations* that come with it: each is a map of balances that may all be true together, with errors that are alike
# for neighbours and for following years.
#
# To have a product anywhere, the first cells make up a region and run the whole pipeline on it, which takes half a
# minute. With a product of your own, open that one instead.

# %%
import tempfile
from pathlib import Path

import hvplot.pandas
import hvplot.xarray  # noqa: F401 - these give tables and Datasets their .hvplot
import xarray as xr

import glacmb_grid as gg

here = Path(tempfile.mkdtemp())
files = gg.write_region(here / "region", seed=3, glaciers=20, measured=12, years=(2005, 2014), plain=True)

# %% [markdown]
# A configuration says what there is and what is wanted, as for `glacmb-grid run`:

# %%
(here / "mine.yaml").write_text(f"""
glaciers: {{path: {files["outlines"]}}}
climate:
  files: {files["era5_land"]}/era5_land_monthly_*.nc
  invariant: {files["invariant"]}
  accumulated: daily_mean
  variables: [t2m, tp, ssrd]
elevation: {{files: {files["dem"]}}}
observations:
  path: {files["observations"]}
  units: mm w.e.
  links: {{positions: {files["glaciers"]}}}
validation: {{schemes: [logo], models: [mean, ridge]}}
product: {{model: ridge}}
store: {{root: {here}/run}}
""")
config = gg.load_config(here / "mine.yaml")
gg.run(config, say=lambda line: None)  # leave `say` out to hear what it does
product = xr.open_zarr(config.root / "products" / "glacier_annual.zarr").load()
product = product.assign_coords(glacier_id=product["glacier_id"].astype(object)).swap_dims(glacier="glacier_id")
product[["mass_balance", "mass_balance_uncertainty", "mass_balance_realizations", "applicable", "area"]]

# %% [markdown]
# ## The worst year
#
# Balances are metres of water equivalent (m w.e.), means over each glacier; negative is loss. Years are
# hydrological years, named by their end. The balance of the region weighs glaciers by their area.

# %%
area = product["area"]
regional = product["mass_balance"].weighted(area).mean("glacier_id")
worst = int(regional.idxmin("year"))
regional.to_series().rename(index=str).hvplot.bar(
    xlabel="hydrological year",
    ylabel="m w.e.",
    title=f"Balance of the region: {worst} was the worst year",
    color="#0072b2",
)

# %% [markdown]
# Is that certain? Sum each realization, and ask in how many of them this year is the worst.

# %%
draws = product["mass_balance_realizations"]
regional_draws = draws.weighted(area).mean("glacier_id")
share = (regional_draws.idxmin("year") == worst).mean()
print(f"{worst} is the worst year in {float(share):.0%} of the realizations")

# %% [markdown]
# ## The glacier that lost most
#
# Two questions hide in this one. Which lost most *thickness*, in m w.e., and which lost most *water*, in tonnes? The
# first favours small low glaciers, the second large ones.

# %%
then = product.sel(year=worst)
thickness, water = (str(then[name].idxmin("glacier_id").item()) for name in ("mass_balance", "mass_change"))
columns = ["mass_balance", "mass_balance_lower_90", "mass_balance_upper_90", "mass_change", "area"]
columns += ["measured", "applicable"]
then[columns].to_dataframe()[columns].loc[list(dict.fromkeys([thickness, water]))].round(2)

# %% [markdown]
# `measured` is 1 where there are observations of the glacier itself; its balances come from fits that had not seen
# them. `applicable` is 0 where the model has seen nothing like this glacier in this year: a balance and an interval
# still stand there, but nobody promises anything.
#
# ## How sure are we?
#
# In each realization, some glacier lost most. How often is it the same one?

# %%
lost_most = draws.sel(year=worst).idxmin("glacier_id")
chance = lost_most.to_series().value_counts(normalize=True).head(5)
chance.rename("share of the realizations").rename_axis("glacier")

# %%
leading = then.sortby("mass_balance").isel(glacier_id=slice(8))
ends = leading[["mass_balance", "mass_balance_lower_90", "mass_balance_upper_90"]].to_dataframe().reset_index()
ends["glacier"] = ends["glacier_id"].str[-5:]
ends["below"] = ends["mass_balance"] - ends["mass_balance_lower_90"]
ends["above"] = ends["mass_balance_upper_90"] - ends["mass_balance"]
points = ends.hvplot.scatter(
    x="glacier", y="mass_balance", size=80, color="#d55e00", ylabel="m w.e., with 90 % interval",
    xlabel="last five figures of the identifier", title=f"The eight glaciers with the most negative balance of {worst}",
)  # fmt: skip
points * ends.hvplot.errorbars(x="glacier", y="mass_balance", yerr1="below", yerr2="above")

# %% [markdown]
# The intervals overlap, so the name at the top is a good guess and no more. Ranks of single glaciers are the least
# certain thing that a product can say; sums are far more certain.
#
# ## On a map
#
# Hover over a glacier for its name and balance; the size of a circle follows the area.

# %%
mapped = then[["longitude", "latitude", "mass_balance", "area"]].to_dataframe().reset_index()
mapped["size"] = 30 + 60 * mapped["area"] ** 0.5
mapped.hvplot.points(
    "longitude", "latitude", c="mass_balance", s="size", cmap="RdBu", clim=(-3, 3), clabel=" ",
    hover_cols=["glacier_id", "area"], xlabel="longitude (°E)", ylabel="latitude (°N)", width=700, height=350,
    title=f"Balance of {worst} (m w.e., red: loss); larger circles are larger glaciers",
)  # fmt: skip

# %% [markdown]
# ## The story of one glacier

# %%
one = product.sel(glacier_id=thickness)
series = one[["mass_balance", "mass_balance_lower_90", "mass_balance_upper_90"]].to_dataframe()
band = series.hvplot.area(
    x="year", y="mass_balance_lower_90", y2="mass_balance_upper_90", stacked=False, alpha=0.25, color="#0072b2",
    line_width=0, xlabel="hydrological year", ylabel="m w.e.", title=f"{thickness}, with its 90 % interval",
)  # fmt: skip
band * series.hvplot.line(x="year", y="mass_balance", color="#0072b2")

# %% [markdown]
# ## A sum, and the mistake that is made with it
#
# How much mass did the region lose in all years together? Sum each realization, and take the spread of the sums.
# Adding the uncertainties of glaciers as if they were independent claims far too much certainty:
# neighbours err alike. (The realizations are of the true balance. So that like is compared with like, the part of the
# uncertainty that comes from observing is left out of what is added.)

# %%
gigatonnes = 1e-3  # of 1 m w.e. over 1 km2
total = (draws * product["area_of_year"]).sum(["glacier_id", "year"]) * gigatonnes
parts = product["mass_balance_uncertainty_model"] ** 2 + product["mass_balance_uncertainty_member"] ** 2
naive = float((parts * product["area_of_year"] ** 2).sum() ** 0.5) * gigatonnes
print(f"together: {float(total.mean()):.2f} ± {float(total.std()):.2f} Gt; as if independent: ± {naive:.2f} Gt")
total.rename("Gt").hvplot.hist(
    bins=20, color="#0072b2", xlabel="Gt, all years together", ylabel="realizations",
    title="Mass change of the region, 100 realizations",
)  # fmt: skip

# %% [markdown]
# This region is made up, so the truth is known. It is the one thing that you will not have:

# %%
truth = xr.open_dataset(files["truth"]).set_coords("glacier_id").swap_dims(glacier="glacier_id")["mass_balance"]
product, truth = xr.align(product, truth)
error = product["mass_balance"] - truth
inside = (truth >= product["mass_balance_lower_90"]) & (truth <= product["mass_balance_upper_90"])
unmeasured = product["measured"] == 0
rmse = float((error.where(unmeasured) ** 2).mean() ** 0.5)
print(f"{int(unmeasured.sum())} glaciers that nobody measured: RMSE {rmse:.2f} m w.e.")
print(f"true balances within the 90 % interval: {float(inside.where(unmeasured).mean()):.0%}")
