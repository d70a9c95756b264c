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
# # 2. Judge a model honestly
#
# How wrong is a model on a glacier that it has never seen? The question sounds simple, and is easily answered too
# well: by predictors chosen on all rows, by settings tuned on the rows that are scored, by random folds that put two
# years of one glacier on both sides. Here all of that is decided inside each fold. You will see how much a random
# split promises, and judge **your own model** and **predictions that you made elsewhere** in the same folds.

# %%
import os
import tempfile
from pathlib import Path

import hvplot.pandas  # noqa: F401 - gives tables their .hvplot
import pandas as pd
from sklearn.neighbors import KNeighborsRegressor

import glacmb_grid as gg

# %% [markdown]
# ## Observations with their predictors
#
# One row is one glacier in one year. With the environment variable `GLACMB_DATA` set to a folder of real tables the
# notebook takes 128 glacier-years from China out of it; without, it makes up a region and goes the way of [the first
# notebook](1_sample_your_region.ipynb). A table of your own is read like the one below.


# %%
def real_samples(folder):
    return gg.read_samples_table(
        Path(folder) / "hma_table" / "hma_annual_balance_monthly_climate.csv",
        glacier="wgms_id",
        year="year",
        target="annual_balance_mm",
        target_units="mm w.e.",
        group="cell",  # what is left out together: glaciers in one cell share their climate
        where={"china_continental": True},
        latitude="latitude",
        longitude="longitude",
        exclude=["country", "logo_fold", "loyo_fold"],
        monthly={
            "snowfall": {"columns": "snowfall_??", "units": "m day-1"},
            "temperature_clipped": {"columns": "temperature_clipped_??", "units": "degC"},
        },
    )


def made_up_samples(folder):
    files = gg.write_region(folder, seed=3, glaciers=20, measured=12, years=(2005, 2014), plain=True)
    glaciers = gg.read_outlines(files["outlines"])
    climate = gg.open_climate(
        files["era5_land"] / "era5_land_monthly_*.nc",
        invariant=files["invariant"],
        accumulated="daily_mean",
        variables=["t2m", "tp", "ssrd"],
    )
    terrain = gg.terrain(gg.open_elevation(files["dem"]), glaciers)
    sampled = gg.sample(climate, gg.overlap_weights(glaciers, climate)).compute()
    sampled = gg.correct_temperature(sampled, terrain["elevation_mean"])
    predictors = gg.build_predictors(sampled, terrain, gg.glaciers_dataset(glaciers))
    observed = gg.read_observations(files["observations"], units="mm w.e.")
    linked = gg.link(observed, glaciers, table=gg.read_link_table(files["glaciers"]))
    return gg.build_samples(predictors, linked.observations)[0]


data = os.environ.get("GLACMB_DATA")
samples = real_samples(data) if data else made_up_samples(Path(tempfile.mkdtemp()) / "region")
rows = samples[["glacier", "year", "mass_balance"]].to_dataframe().reset_index(drop=True)
rows.groupby("glacier")["mass_balance"].agg(["count", "mean", "std"]).round(2)

# %% [markdown]
# ## Folds
#
# `logo` leaves one glacier out at a time (*leave one glacier out*), as a map of unmeasured glaciers would have it.
# `random` leaves random rows out: the same glacier stands on both sides. We keep it only to see what it promises.

# %%
logo = gg.make_folds(samples, "logo")
random = gg.make_folds(samples, "random", parts=10)
logo

# %% [markdown]
# ## Models, and one of your own
#
# A name is a model of the package. A class with `fit(X, y)` and `predict(X)` is a model of yours, from scikit-learn or
# written below; the settings are its arguments, and every list in them is a set of alternatives that are tried on
# inner folds. No alternative is ever chosen by looking at the glacier that is scored.


# %%
class Analogue:
    """The balance of the most similar year of any glacier."""

    def fit(self, X, y):
        self.X, self.y = X, y

    def predict(self, X):
        distance = ((X[:, None, :] - self.X[None]) ** 2).sum(axis=2)
        return self.y[distance.argmin(axis=1)]


models = {
    "mean": ("mean", {}),
    "ridge": ("ridge", {"penalties": [10.0, 100.0, 1000.0]}),
    "temperature index": ("temperature_index", {}),
    "nearest neighbours": (KNeighborsRegressor, {"n_neighbors": [3, 10]}),
    "analogue": (Analogue, {}),
}
fitted = {name: gg.fit(model, samples, logo, settings) for name, (model, settings) in models.items()}
gg.choices(fitted["nearest neighbours"])[["fold", "chosen", "inner_rmse", "features", "rows"]].head()

# %% [markdown]
# Each glacier is predicted by the one fit that had not seen it. That table is all that is needed for scores.

# %%
predictions = pd.concat(
    gg.out_of_fold(samples, logo, gg.predict(parameters, samples), model=name) for name, parameters in fitted.items()
)
predictions[["model", "glacier", "year", "observed", "predicted"]].sample(5, random_state=2).round(2)

# %% [markdown]
# ## Predictions of your own
#
# Another model's output is a table of glacier, year and value (m w.e.). For the sake of the example, take the mean of
# all balances observed in the same year. It has of course seen what it is scored on. Nobody can tell that from a
# table, and no fold can take it back, so keep in mind where such numbers come from.

# %%
elsewhere = rows.assign(value=rows.groupby("year")["mass_balance"].transform("mean"))
theirs = gg.out_of_fold(samples, logo, elsewhere[["glacier", "year", "value"]], model="mean of the year (has seen it)")
predictions = pd.concat([predictions, theirs])

# %% [markdown]
# ## Scores, with how sure we are of them
#
# The interval comes from drawing whole glaciers again and again: 100 rows of 12 glaciers are 12 pieces of evidence,
# not 100.

# %%
scores = gg.score(predictions)
shown = scores[scores["metric"].isin(["rmse", "r2"])]
shown.pivot(index="model", columns="metric", values=["value", "lower", "upper"]).round(2)

# %%
rmse = scores[scores["metric"] == "rmse"].sort_values("value")
rmse = rmse.assign(below=rmse["value"] - rmse["lower"], above=rmse["upper"] - rmse["value"])
points = rmse.hvplot.scatter(
    x="model", y="value", size=80, color="#0072b2", rot=20, ylabel="RMSE (m w.e.), 90 % interval", xlabel="",
    title="One glacier left out", height=380,
)  # fmt: skip
points * rmse.hvplot.errorbars(x="model", y="value", yerr1="below", yerr2="above")

# %% [markdown]
# ## Is one model better than another?
#
# Intervals that overlap do not answer that: both models err on the same glaciers. Compare them row by row. The verdict
# is "better" or "worse" only where the interval of the difference excludes zero.

# %%
pairs = gg.compare(predictions)
pairs = pairs[(pairs["metric"] == "rmse") & (pairs["baseline"] == "mean")]
pairs[["model", "baseline", "difference", "lower", "upper", "verdict"]].round(3)

# %% [markdown]
# ## What a random split would have promised
#
# The same model, settings and rows. Only the folds differ.

# %%
name, settings = models["nearest neighbours"]
easy = gg.predict(gg.fit(name, samples, random, settings), samples)
easy = gg.out_of_fold(samples, random, easy, model="nearest neighbours")
both = gg.score(pd.concat([easy, predictions[predictions["model"] == "nearest neighbours"]]))
promised = both[both["metric"].isin(["rmse", "r2"])].pivot(index="scheme", columns="metric", values="value").round(2)
promised

# %% [markdown]
# ## Do the intervals hold?
#
# Every prediction can carry an interval, made of the errors on other glaciers. Measured on glaciers that it was not
# calibrated on, a 90 % interval should cover nine in ten. With few glaciers this number is itself uncertain, which is
# what its own interval says.

# %%
held = gg.coverage(predictions[predictions["model"] == "ridge"], [0.5, 0.9])
held[held["kind"] == "all"][["method", "level", "coverage", "lower", "upper", "width", "glaciers", "note"]].round(2)

# %%
ridge = predictions[predictions["model"] == "ridge"]
low, high = ridge[["observed", "predicted"]].min().min() - 0.2, ridge[["observed", "predicted"]].max().max() + 0.2
ends = pd.DataFrame({"observed": [low, high], "predicted": [low, high]})
line = ends.hvplot.line("observed", "predicted", color="grey", xlim=(low, high), ylim=(low, high))
ridge.hvplot.scatter(
    "observed", "predicted", color="#0072b2", alpha=0.6, width=500, height=500, hover_cols=["glacier", "year"],
    xlabel="observed (m w.e.)", ylabel="predicted by a fit without this glacier (m w.e.)",
    title="Ridge regression, out of fold; grey: equal",
) * line  # fmt: skip
