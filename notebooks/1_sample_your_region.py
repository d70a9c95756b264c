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
# # 1. Sample your own region, lazily
#
# A glacier of two square kilometres lies under one or two cells of a reanalysis. What the climate of that glacier was
# is a weighted mean over those cells, and the weights are areas: how much of the outline lies in each cell. This
# notebook makes these weights, applies them to a cube that is never loaded as a whole, and ends with the predictors
# that every model of the package learns from.
#
# The region is made up, so that the notebook runs anywhere. It is written as files that look like those of the
# agencies. For a region of your own, put your paths into `files` and leave the rest as it is.

# %%
import tempfile
from pathlib import Path

import hvplot.pandas
import hvplot.xarray  # noqa: F401 - these give tables and Datasets their .hvplot
from distributed import Client

import glacmb_grid as gg

here = Path(tempfile.mkdtemp())
files = gg.write_region(here / "region", glaciers=24, measured=10, years=(2005, 2014), plain=True)
files

# %% [markdown]
# ## Outlines
#
# Any polygons with an identifier will do: the Randolph Glacier Inventory (RGI), or a shapefile of your own. What comes
# back is a GeoDataFrame, so that all of geopandas is at hand.

# %%
glaciers = gg.read_outlines(files["outlines"])
glaciers.drop(columns="geometry").describe().round(2)

# %% [markdown]
# ## The climate cube
#
# Opening reads headers only: each variable below is a dask array of which nothing has been loaded yet.
#
# One thing cannot be guessed. ERA5-Land's monthly means of *accumulated* variables, such as precipitation, are amounts
# **per day**, although their unit says `m`. So the stream has to be declared: `accumulated="daily_mean"`.

# %%
climate = gg.open_climate(
    files["era5_land"] / "era5_land_monthly_*.nc", invariant=files["invariant"], accumulated="daily_mean"
)
climate[["t2m", "tp", "sf", "ssrd", "orography"]]

# %% [markdown]
# A map of one month shows how coarse such a cube is beside glaciers: each square is about 9 km wide.

# %%
july = (climate["t2m"].sel(time="2010-07-01") - 273.15).compute()
axes = july.plot(cmap="viridis", cbar_kwargs={"label": "temperature, July 2010 (°C)"}, size=4, aspect=1.8).axes
glaciers.boundary.plot(ax=axes, color="white", linewidth=1)
_ = axes.set(title="Outlines on the cells of the climate", xlabel="longitude (°E)", ylabel="latitude (°N)")

# %% [markdown]
# ## Weights
#
# The overlap of each outline with each cell, m², on the ellipsoid. They are a sparse matrix, glacier by cell, and they
# know which grid they belong to: another grid is refused. "Coverage" says how much of each outline lies on the grid.

# %%
weights = gg.overlap_weights(glaciers, climate)
weights

# %% [markdown]
# ## Sampling on a cluster
#
# `Client()` starts worker processes on this machine. With an address in it, the same cell works on a cluster:
# `Client("tcp://scheduler:8786")`. Sampling itself is lazy: the next cell returns at once.

# %%
client = Client(n_workers=2, threads_per_worker=1, dashboard_address=None)
sampled = gg.sample(climate, weights)
sampled["t2m"]

# %% [markdown]
# Of the cube only chunks that hold a cell under a glacier are read, each of them once. Now the work is done, on the
# workers:

# %%
sampled = sampled.compute()
client.close()

season = sampled["t2m"].groupby("time.month").mean() - 273.15
season.hvplot.line(
    x="month", by="glacier", legend=False, color="#0072b2", alpha=0.4, ylabel="temperature (°C)",
    title="Mean annual cycle in the cells over each glacier, one line a glacier",
)  # fmt: skip

# %% [markdown]
# ## From the height of the cell to the height of the glacier
#
# Those temperatures belong to the smooth mountains of the reanalysis, and a cell is often several hundred metres below
# the ice. The elevation model says where each glacier really lies.

# %%
terrain = gg.terrain(gg.open_elevation(files["dem"]), glaciers)
above = terrain["elevation_mean"] - sampled["orography"]
print(f"glaciers lie {float(above.min()):.0f} to {float(above.max()):.0f} m above the cells that cover them")
sampled = gg.correct_temperature(sampled, terrain["elevation_mean"])  # 6.5 K per km unless you say otherwise
summer = sampled[["t2m", "t2m_corrected"]].sel(time=sampled["time.month"].isin([6, 7, 8])).mean("time") - 273.15
summer.rename(t2m="of the cell", t2m_corrected="of the glacier").to_dataframe().round(1).head()

# %% [markdown]
# ## Predictors
#
# Monthly values become hydrological years (October to September in the north, April to March in the south), seasons,
# degree days over the hypsometry and the snow that fell. Each predictor says what it is made of.

# %%
predictors = gg.build_predictors(sampled, terrain, gg.glaciers_dataset(glaciers))
some = ["degree_days_annual", "snowfall_accumulation", "t2m_07", "tp_summer", "elevation_median", "log_area"]
predictors[["origin", "stem", "season", "calendar_month"]].to_dataframe().loc[some]

# %%
melt = predictors["predictors"].sel(predictor="degree_days_annual")
melt.mean("glacier").to_series().rename(index=str).hvplot.bar(
    color="#d55e00",
    xlabel="hydrological year",
    ylabel="positive degree days (K d)",
    title="How warm each year was, mean over the glaciers",
)

# %% [markdown]
# They are an ordinary Dataset. Keep them, and go on in [the second notebook](2_judge_a_model.ipynb), where a model
# learns from them.

# %%
_ = predictors.to_zarr(here / "predictors.zarr", consolidated=False)
