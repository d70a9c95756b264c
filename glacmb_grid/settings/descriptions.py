"""What each key of the configuration means, in a sentence; sections and their keys in the order of the settings."""

from __future__ import annotations

DESCRIPTIONS: dict[str, dict[str, str]] = {
    "Judged": {
        "name": "Name of the run; by default that of the configuration file without its ending.",
        "seed": "Seed of everything that is drawn; the same seed gives the same bytes.",
        "models": "Settings of the models, by name; a model of your own has the key `external`.",
        "validation": "Folds, and which models are judged in them.",
        "protocol": "What a way of judging leaks on purpose; all off is the honest way.",
        "scores": "Intervals of the scores.",
        "audit": "What `audit` compares.",
        "study": "What `study` takes apart.",
        "predictions": "Predictions made elsewhere and scored too: name -> CSV of glacier, year, value (m w.e.).",
        "store": "Where results go.",
        "report": "Whether a run ends with a page about itself.",
        "compute": "How dask works.",
    },
    "RunConfig": {
        "synthetic": "A region with known truth, made as raw files before anything else.",
        "glaciers": "Outlines of the glaciers.",
        "climate": "Monthly climate.",
        "elevation": "Elevation model.",
        "albedo": "Daily albedo; without it no albedo is used.",
        "observations": "Annual glacier-wide balances.",
        "sampling": "How the climate is taken to the glaciers.",
        "regrid": "A finer or coarser grid between the climate and the outlines.",
        "predictors": "What is made of the monthly values.",
        "product": "The glacier x year dataset, and what is made of it; `false` makes none.",
    },
    "TableConfig": {"samples": "A table of your own with predictors, in place of outlines, climate and observations."},
    "Synthetic": {
        "seed": "Seed of the region.",
        "glaciers": "How many glaciers it has.",
        "measured": "How many of them are measured.",
        "years": "First and last hydrological year.",
        "plain": "GeoTIFF and tables instead of the agencies' own formats.",
    },
    "Glaciers": {
        "path": "Outlines: shapefile, GeoPackage, GeoParquet, also in a ZIP; of RGI 5, 6, 7 or your own.",
        "layer": "Layer, where the file has several.",
        "id": "Column of the identifiers, where it is not one of the RGI's.",
        "crs": "Coordinate reference system, where the file states none, for example EPSG:4326.",
        "merge_pieces": "Whether outlines with the same identifier are pieces of one glacier.",
    },
    "Climate": {
        "files": "Paths or patterns of NetCDF, GRIB or ZIP files, a Zarr store, or its URL.",
        "accumulated": "What precipitation and radiation hold: means of daily sums (as ERA5-Land's monthly means), of "
        "hourly sums, or monthly totals; needed unless their units are those of rates.",
        "invariant": "File with the height of the climate's cells (orography or geopotential) and the land mask.",
        "variables": "ERA5-Land short names of the variables to take; by default all that are known.",
        "units": "Units by variable, where the files state none or a wrong one.",
        "names": "Our name -> the name in the files, where they have names of their own.",
        "stamp": "Where in its month a record without time bounds is stamped; by default as the files tell.",
        "expver": "Where final and preliminary months (ERA5 and ERA5T) stand side by side: take the final where there "
        "is one, or the final only.",
        "negative_precipitation": "Refuse negative precipitation, or take it as zero.",
        "years": "First and last calendar year to take; by default all.",
        "annual_precipitation": "Plausible annual precipitation of a glacier, least and most, m.",
    },
    "Elevation": {
        "files": "Paths or patterns of GeoTIFF tiles, or their folder.",
        "min_coverage": "Share of a glacier that must have elevations.",
        "units": "Unit of the heights; by default what the files state, else metres.",
        "compare": "Whether elevations are held against those that the inventory states for its outlines.",
    },
    "Albedo": {
        "files": "Paths or patterns of MOD10A1, MYD10A1 or MCD43A3 files, or of GeoTIFF or NetCDF with daily albedo.",
        "layer": "Albedo layer, where there are several.",
        "quality": "What the quality layer must say of a pixel.",
        "months": "Calendar months of the season; by default the summer of each glacier's hemisphere.",
        "min_days": "Fewest days with albedo that a season's mean needs.",
        "min_coverage": "Share of a glacier that must be seen on a day.",
    },
    "Observations": {
        "path": "A release of Fluctuations of Glaciers (its ZIP or folder), or a table of balances.",
        "units": "Unit of the balances; may be left out where the release says it.",
        "default_uncertainty": "Uncertainty of balances that state none, m w.e.",
        "columns": "Role -> the table's own name of its column.",
        "missing": "Numbers that stand for missing balances.",
        "periods": "Refuse balances over several years, or leave them out.",
        "links": "How observations find their outlines.",
        "geodetic": "Rates over several years that the product is compared with, and networks may learn from.",
    },
    "Links": {
        "table": "Table of sites and identifiers of outlines.",
        "positions": "Table of sites and their positions.",
        "versions": "Table that relates identifiers of RGI 6 and 7, or the outlines of the other version.",
        "mapping": "Site -> identifier of its outline, by hand.",
        "suffix": "Whether identifiers may also match by the part after the region's code.",
        "position": "Whether sites without an identifier may find an outline by their position.",
        "max_distance_km": "Farthest that a site may lie from its outline, km.",
    },
    "Geodetic": {
        "path": "Table of geodetic rates.",
        "units": "Unit of the values, where their column does not say it.",
        "columns": "Role -> the table's own name of its column.",
        "missing": "Numbers that stand for missing values.",
        "density": "Density of elevation changes and its standard deviation, kg m-3.",
        "shortest": "Periods below this number of years are left out.",
        "mapping": "Site -> identifier of its outline, by hand, besides `observations.links`.",
        "learn": "Whether networks learn from them too; no fold from those that tell of what it withholds.",
    },
    "Sampling": {
        "lapse_rate": "Change of temperature with elevation, K m-1: one, twelve (January to December), or `fitted`.",
        "lapse_rate_cells": "How many cells around a glacier a fitted lapse rate looks at.",
        "max_land_distance_km": "Farthest that cells with values may lie from a glacier whose own have none, km.",
        "min_coverage": "Share of a glacier that cells with values must cover.",
    },
    "Regrid": {
        "engine": "What makes the weights; curvilinear grids need xesmf.",
        "method": "How values are carried over.",
        "resolution": "Of the grid between, degrees.",
    },
    "Predictors": {
        "first_month": "First month of the hydrological year; by default October, south of the equator April.",
        "monthly": "Variables whose twelve months become predictors; by default all.",
        "temperature_spread": "Standard deviation of temperatures within a month, for degree days, K.",
        "reference": "First and last year of a reference: its means, and deviations from them, become predictors too.",
        "coordinates": "Whether longitude and latitude are predictors.",
    },
    "SampleTable": {
        "path": "The table, CSV or Parquet.",
        "glacier": "Column of the glacier.",
        "year": "Column of the hydrological year.",
        "target": "Column of the balance.",
        "target_units": "Unit of the balance.",
        "uncertainty": "Column of the balance's uncertainty.",
        "group": "Column of what no fold splits, for example a climate cell; by default the glacier.",
        "region": "Column of the region, for the scheme `leave_region_out`.",
        "latitude": "Column of the latitude, degrees.",
        "longitude": "Column of the longitude, degrees.",
        "name": "Column of the glacier's name.",
        "area": "Column of the area, km2.",
        "time_system": "Column of the time system of the balance.",
        "elevation": "Column of the elevation at which a row was measured (a stake), m.",
        "orography": "Column of the elevation of the row's monthly temperature, m.",
        "limits": "Plausible balances, least and most, m w.e.",
        "missing": "Numbers that stand for missing balances.",
        "folds": "Columns with folds of your own.",
        "where": "Column -> value of the rows to take.",
        "predictors": "Columns to learn from; by default all that have no other role.",
        "exclude": "Columns that are not learnt from.",
        "allow": "Predictors that may tell nearly all of the target.",
        "coordinates": "Whether longitude and latitude are predictors.",
        "default_uncertainty": "Uncertainty of balances that state none, m w.e.",
        "monthly": "Name of a monthly series -> its twelve columns.",
        "predictions": "Name -> column of predictions made elsewhere, scored beside the models.",
        "targets": "Table of positions of the glaciers that are to be predicted, for the scheme `domain`.",
    },
    "SampleFolds": {
        "logo": "Column of the folds of the scheme `logo`.",
        "loyo": "Column of the folds of the scheme `loyo`.",
    },
    "Monthly": {"columns": "Pattern of the twelve columns.", "units": "Unit of the values."},
    "Validation": {
        "schemes": "How rows are withheld: by glacier, year, both, block, region, at random, or by distance.",
        "models": "Which models are judged, or `all`.",
        "inner": "Inner splits of each fold, on which everything is chosen.",
        "blocks": "Blocks of folds that share their inner splits.",
        "parts": "Largest number of folds of a scheme.",
        "buffer_km": "Distance around the scored glaciers from which nothing is learnt, of the scheme `blocks`, km.",
        "target_weights": "What each glacier that is to be predicted counts in the scheme `domain`.",
        "holdout": "Glaciers locked away until `score-holdout`: a share of the groups, or their names.",
    },
    "Protocol": {
        "selection": "Leak: predictors are scaled and selected on all rows.",
        "tuning": "Leak: hyper-parameters are chosen on the rows that are scored.",
        "early_stopping": "Leak: networks stop on the rows that are scored.",
    },
    "Scores": {"bootstrap": "Draws of the bootstrap.", "level": "Level of the intervals."},
    "Audit": {
        "compare": "Models whose scores with and without leaks are compared.",
        "models": "Settings of these models.",
        "scheme": "Scheme of the comparison.",
        "permutations": "How often the target is permuted.",
    },
    "Study": {
        "models": "Models that are taken apart.",
        "schemes": "Schemes in which they are.",
        "repeats": "How often each predictor is permuted.",
        "shares": "Shares of the training groups that are learnt from.",
        "counts": "Numbers of training groups in place of shares: a list, or `doubling` (2, 4, 8, ... and all).",
    },
    "Store": {"root": "Folder of the run, new or its own; by default `runs/<name>` under the working directory."},
    "Compute": {
        "scheduler": "Who works: threads, processes, a dask cluster, or one thread.",
        "workers": "How many threads or processes; by default one per core.",
        "address": "Address of the scheduler of a dask cluster.",
        "dashboard": "Whether a cluster that the run starts shows its dashboard.",
    },
    "Product": {
        "model": "Model of the product, judged too; by default gaussian_process, else ff_fcnn, else the last judged.",
        "years": "First and last hydrological year; by default all complete ones of the climate.",
        "title": "Title in the files.",
        "institution": "Institution in the files.",
        "metadata": "Further global attributes in the files.",
        "draws": "Joint realizations of the product; by default 100 up to 10,000 glaciers and none beyond.",
        "area_change": "Areas that stay (`fixed`), or change by the RGI regions' published rates (`rgi`), or by rates "
        "by region, % per year.",
        "area_reference_year": "Year that the areas of the outlines stand for.",
        "water_density": "Density of water, kg m-3.",
        "intervals": "How prediction intervals are made.",
        "regions": "Sums by region; `false` makes none.",
        "grids": "Sums on grids; without it none are made.",
        "truth": "Known truth of a synthetic region, which the product is scored against.",
    },
    "Intervals": {
        "method": "`hierarchical` holds at least its level; `calibrated` is narrower, without a promise.",
        "follow_error": "Whether half widths are multiples of the expected error.",
    },
    "Regions": {
        "order": "Of the regions of the RGI: first, or second, by the column O2Region of the outlines.",
        "compare": "Series of others that the sums are held against, such as result files of GlaMBIE.",
        "path": "Layer of polygons; by default regions are those of the RGI.",
        "layer": "Layer, where the file has several.",
        "id": "Column of the regions' identifiers.",
        "fill_missing": "Whether glaciers without a balance take the mean of their region.",
    },
    "Grids": {
        "resolutions": "Of the grids, degrees.",
        "split": "Whether glaciers are split between cells by their outline, or belong to the cell of their centroid.",
        "flux": "Whether kg m-2 s-1 is written too.",
        "by_year": "Whether a file for each hydrological year is written too.",
    },
    "Recipe": {
        "predictors": "Names and patterns of predictors to take.",
        "exclude": "Names and patterns to leave out.",
        "take": "All, all but what was computed from monthly values (`table`), or all but these (`seasonal`).",
        "parts": "The value, the mean of the glacier over its fitted rows, the deviation from it.",
        "climatology_of": "Predictors that the means are taken of, where they differ.",
        "gaps": "How missing values are filled.",
        "within_reach": "Whether means of other glaciers keep to what the fitted ones make plausible.",
        "correlation": "Least correlation with the target.",
        "collinearity": "Largest correlation between two predictors.",
        "ranking": "What ranks predictors.",
        "keep": "How many predictors to keep by their rank.",
    },
    "Learner": {
        "predictors": "Names and patterns of predictors that the model may take at all.",
        "recipes": "What is made of the predictors; several are alternatives. By default a few that suit the table.",
        "levels": "What glaciers add: nothing, their level, or level and amplitude on one row a year; alternatives.",
        "penalties": "Strengths of the penalty, chosen between on inner folds.",
        "trees": "How many trees.",
        "leaf": "Fewest rows in a leaf.",
        "share": "Share of the predictors that a split looks at.",
        "rounds": "How many trees are boosted.",
        "leaves": "Most leaves of a tree.",
        "learning_rate": "Step of the learning.",
        "level_penalties": "Strengths of the penalty on the level of a glacier, chosen between on inner folds.",
        "anomaly_penalties": "The same of the anomaly of a year.",
        "forms": "Whether glaciers answer alike to the same weather (`additive`), or by a factor that depends on what "
        "stays (`amplitude`); both are alternatives.",
        "kernels": "Kernels, chosen between on inner folds; `usual` has all terms, the others fewer.",
        "means": "What the process departs from, chosen between on inner folds: a constant, a temperature index.",
        "index": "Settings of that temperature index.",
        "position": "Whether the kernel knows positions.",
        "max_rows": "Most observations that are conditioned on.",
        "widths": "Units of the hidden layers.",
        "input_noise": "Noise on the standardised predictors.",
        "l1": "Strength of the L1 penalty.",
        "weighting": "What observations count in the loss.",
        "heteroscedastic": "Whether the network also predicts its error.",
        "geodetic_weight": "Weight of geodetic rates in the loss, where rates are learnt from; 0 leaves them out.",
        "configurations": "Most combinations of the alternatives that are tried.",
        "members": "Networks in the ensemble of a fold.",
        "bootstrap": "Whether members learn from groups drawn with replacement.",
        "finish": "Train the ensemble on all rows of the fold for as many epochs as on inner folds, or stop it early.",
        "epochs": "Most epochs.",
        "patience": "Epochs without progress after which a network stops.",
        "block": "Networks that are trained at a time; by default as suits the machine.",
        "pretrain": "What networks learn before the observations: nothing, what a temperature index fitted in the fold "
        "simulates, or the balances of another table (`transfer`).",
        "frozen": "How many first layers of a pre-trained network stay as they are.",
        "simulation": "Settings of the temperature index that networks are pre-trained on.",
        "transfer": "A table of other glaciers or regions with the same predictors, to pre-train on.",
        "external": "Class of the regressor, `package.module:Class`.",
        "settings": "Arguments of the class; a list holds alternatives.",
    },
    "Hybrid": {
        "penalty": "Strength that draws changes of the index's parameters towards none.",
        "bounds": "Largest factors of the melt of ice, of snow, of precipitation; largest addition to temperature, K.",
        "months": "Whether changes differ from month to month by the month's own weather; alternatives.",
        "form": "Whether the network changes the parameters of the index, or adds to its balance.",
        "index": "Settings of the temperature index.",
    },
    "Blend": {"models": "Models to blend; by default all that are informative."},
    "Given": {"path": "CSV of glacier, year and value (m w.e.)."},
    "TemperatureIndex": {
        "lapse_rate": "Change of temperature with elevation, K m-1.",
        "temperature_spread": "Standard deviation of temperatures within a month, K.",
        "snow_threshold": "Temperature at which half of the precipitation is snow, degrees C.",
        "snow_spread": "Width of the change from snow to rain, K.",
        "snow_to_ice": "Melt of snow as a share of that of ice.",
        "prior_mean": "Prior means of the degree-day factor, the precipitation factor and the temperature bias.",
        "prior_sd": "Prior standard deviations of these.",
        "residual_sd": "Standard deviation of the residuals, m w.e.",
        "forms": "Which further parameters are fitted, in alternative lists.",
        "pooling": "Offset and amplitude: none, those of all glaciers, or of each; alternatives.",
        "glacier_sd": "Standard deviations of level (m w.e.) and amplitude between glaciers, in alternative pairs.",
        "snow_to_ice_sd": "Prior standard deviation of `snow_to_ice` where it is fitted.",
        "precipitation_gradient_sd": "Prior standard deviation of the precipitation gradient about 0, km-1.",
        "within_reach": "Whether the climate of another glacier keeps to what the fitted ones make plausible.",
        "pull_mean": "Prior mean of the pulls.",
        "pull_sd": "Prior standard deviation of the pulls.",
    },
}
"""By name of the class in `settings`; what is not found there is looked up under the classes that it is made of."""

_METADATA = "Global attribute `{key}` of the products, by the ACDD convention."
_MODEL = "Settings of the model {key}."


def description_of(classes: list[str], key: str) -> str:
    """What a key of a section means.

    Parameters
    ----------
    classes : list of str
        Names of the section's class and of those that it is made of.
    key : str

    Raises
    ------
    KeyError
        A key that nothing is said of.
    """
    if "Metadata" in classes:
        return _METADATA.format(key=key)
    if "Models" in classes:
        return _MODEL.format(key=key)
    found = next((DESCRIPTIONS[c][key] for c in classes if key in DESCRIPTIONS.get(c, {})), None)
    if found is None:
        raise KeyError(f"{classes[0]}.{key} has no description")
    return found
