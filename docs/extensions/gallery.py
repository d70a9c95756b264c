"""The gallery: every figure of `gg.plot` beside the lines that drew it, drawn when the site is built."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr
from gallery_results import write_results

import glacmb_grid as gg

FOLDER = Path(__file__).parents[1] / "generated"
RUN = "runs/demo"


@dataclass(frozen=True)
class Picture:
    """A figure: the function that draws it, what it shows, where its data are read from, and how it is called."""

    name: str
    caption: str
    data: str
    call: str

    @property
    def code(self) -> str:
        """Three lines that read a result, draw it and save the picture."""
        return f'{self.data}\nax = gg.plot.{self.name}({self.call})\nax.figure.savefig("{self.name}.svg")'


def _dataset(name: str, path: str) -> str:
    return f'{name} = xr.open_dataset("{RUN}/{path}")'


def _store(name: str, path: str) -> str:
    return f'{name} = xr.open_zarr("{RUN}/{path}")'


def _table(name: str, path: str) -> str:
    return f'{name} = pd.read_csv("{RUN}/{path}")'


_PRODUCT = _dataset("product", "products/glacier_annual.nc")
_GLACIER = "RGI60-14.00076"

PICTURES = {
    "What a run gives": (
        Picture(
            "glacier_map",
            "Where the glaciers lie and what they gained or lost, on average over all years: red is loss. The size of "
            "a symbol is the area of the glacier; small ones lie on top.",
            _PRODUCT,
            "product",
        ),
        Picture(
            "applicability_map",
            "Where the model may be believed: the share of years in which a glacier is like what was learnt from.",
            _PRODUCT,
            "product",
        ),
        Picture(
            "glacier_series",
            "One glacier, year by year, with the intervals that hold half and nine tenths of the true balances, and "
            "what was measured there. Leave `observations` out where there are none.",
            f'{_PRODUCT}\nobserved = pd.read_parquet("{RUN}/samples/samples.parquet")',
            f'product, "{_GLACIER}", observations=observed',
        ),
        Picture(
            "regional_series",
            "The sum of a region. The wide band takes into account that neighbouring glaciers err alike; the narrow "
            "one is what a root of a sum of squares would have claimed.",
            _dataset("regional", "regional/regional_annual.nc"),
            'regional, quantity="cumulative_mass_change_gt"',
        ),
        Picture(
            "geodetic_rates",
            "The product beside rates of surveys that nothing was learnt from, each with one standard deviation on "
            "both sides. On the line they agree.",
            _store("compared", "geodetic/comparison/rates.zarr"),
            "compared",
        ),
    ),
    "How good it is": (
        Picture(
            "predicted_observed",
            "Every observation beside the prediction by a fit that had not seen its glacier.",
            _table("predictions", "evaluation/predictions.csv"),
            'predictions, scheme="logo", model="ridge"',
        ),
        Picture(
            "score_dots",
            "All models in the same folds, with the intervals of their scores. What does not beat the `mean` has "
            "learnt nothing that travels.",
            _table("scores", "evaluation/scores.csv"),
            'scores, metric="rmse"',
        ),
        Picture(
            "reliability",
            "Whether intervals keep their promise: on the line, as many observations lie within as was said. Below it "
            "they are too narrow.",
            _table("coverage", "evaluation/coverage.csv"),
            "coverage",
        ),
        Picture(
            "skill_by_distance",
            "The error against the distance to the nearest glacier that was learnt from, with the number of "
            "observations in each class.",
            _table("distance", "evaluation/distance.csv"),
            "distance",
        ),
    ),
    "What was learnt": (
        Picture(
            "chosen_predictors",
            "Which predictors the inner folds chose, an outer fold in each column. What is chosen everywhere can be "
            "trusted more than what comes and goes.",
            _table("choices", "evaluation/choices.csv"),
            'choices, model="ridge"',
        ),
        Picture(
            "learning_curves",
            "How the loss of a network falls: a thin line for every fold, and their median. Where the watched rows "
            "rise again the fit was stopped.",
            _store("parameters", "learning/ff_fcnn/logo.zarr"),
            "parameters",
        ),
        Picture(
            "importance_bars",
            "How much worse predictions become when a group of predictors is shuffled, with the scatter over folds.",
            _table("importance", "study/importance.csv"),
            "importance",
        ),
        Picture(
            "ablation_dots",
            "What is gained or lost when predictors are added or taken away and everything is fitted again. Right of "
            "the line the model became worse.",
            _table("ablations", "study/ablations.csv"),
            "ablations",
        ),
        Picture(
            "skill_by_glaciers",
            "How far few glaciers go: the error against the number of glaciers that were learnt from.",
            _table("learning_curve", "study/learning_curve.csv"),
            "learning_curve",
        ),
        Picture(
            "audit_gap",
            "What careless protocols would have promised: by how much each leak makes the error look "
            "smaller than it is.",
            _table("gaps", "audit/gaps.csv"),
            "gaps",
        ),
    ),
}


def pictures() -> Iterator[Picture]:
    """All pictures in their order."""
    for group in PICTURES.values():
        yield from group


def page() -> str:
    """The page: what each figure shows, the figure, and the lines that drew it."""
    lines = [
        "# Gallery",
        "",
        "Every figure of `gg.plot`, drawn from small made-up results when this page was built. The lines above a",
        f"figure are those that drew it: with `{RUN}` replaced by the folder of your run they draw yours.",
        "[More about figures](../report.md#figures-in-python); what the arguments mean is in the",
        "[reference](names.md#figures).",
        "",
        "```python",
        "import glacmb_grid as gg",
        "import pandas as pd",
        "import xarray as xr",
        "```",
        "",
    ]
    for title, group in PICTURES.items():
        lines += [f"## {title}", ""]
        for one in group:
            lines += [f"### `{one.name}`", "", one.caption, "", "```python", *one.code.split("\n"), "```", ""]
            lines += [f"```{{image}} {one.name}.svg", f":alt: {one.name}", ":width: 480px", "```", ""]
    return "\n".join(lines)


def draw(folder: Path) -> None:
    """Draw all pictures into a folder, each by its own lines."""
    import matplotlib as mpl
    from matplotlib import pyplot

    mpl.use("Agg")
    names: dict[str, Any] = {"gg": gg, "pd": pd, "xr": xr}
    with tempfile.TemporaryDirectory() as made, chdir(made), _same_bytes():
        write_results(Path(RUN))
        for one in pictures():
            with xr.set_options(keep_attrs=True):
                exec(one.code, dict(names))  # the lines that the page shows
            picture = Path(f"{one.name}.svg").read_bytes()
            if not (there := folder / f"{one.name}.svg").is_file() or there.read_bytes() != picture:
                there.write_bytes(picture)
        pyplot.close("all")


@contextmanager
def _same_bytes() -> Iterator[None]:
    """Pictures without dates and random names, and warnings of the made-up results left out."""
    import matplotlib as mpl

    before = os.environ.get("SOURCE_DATE_EPOCH")
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    try:
        with mpl.rc_context({"svg.hashsalt": "gallery"}), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        del os.environ["SOURCE_DATE_EPOCH"]
        if before is not None:
            os.environ["SOURCE_DATE_EPOCH"] = before


def write(folder: Path = FOLDER, *, shown: bool = True) -> None:
    """Write the page and its pictures; where nobody is shown them, those that are there will do."""
    folder.mkdir(exist_ok=True)
    path, text = folder / "gallery.md", page()
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
    if shown or not all((folder / f"{one.name}.svg").is_file() for one in pictures()):
        draw(folder)


def setup(app: Any) -> dict[str, bool]:
    """Write the page before Sphinx looks for its sources."""
    app.connect("builder-inited", lambda app: write(shown=app.builder.format == "html"))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
