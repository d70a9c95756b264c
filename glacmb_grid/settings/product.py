"""The products: what is written, with which metadata, over which regions and grids."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from glacmb_grid.settings.base import REMEDY, Identifier, Section, each_once
from glacmb_grid.settings.inputs import Years
from glacmb_grid.settings.models import ModelName


class Metadata(Section):
    """Global attributes of the products by the ACDD convention; without a text an attribute is left out.

    `license` (CC-BY-4.0), `summary`, `keywords` and `processing_level` have a default; an empty text leaves them out
    too. Dates are written only if given: the same input gives the same bytes.
    """

    summary: str | None = None
    keywords: str | None = None
    license: str | None = None
    citation: str | None = None
    references: str | None = None
    comment: str | None = None
    acknowledgment: str | None = None
    project: str | None = None
    program: str | None = None
    id: str | None = None
    naming_authority: str | None = None
    product_version: str | None = None
    metadata_link: str | None = None
    processing_level: str | None = None
    creator_name: str | None = None
    creator_type: Literal["person", "group", "institution", "position"] | None = None
    creator_email: str | None = None
    creator_url: str | None = None
    creator_institution: str | None = None
    publisher_name: str | None = None
    publisher_type: Literal["person", "group", "institution", "position"] | None = None
    publisher_email: str | None = None
    publisher_url: str | None = None
    contributor_name: str | None = None
    contributor_role: str | None = None
    date_created: str | None = None
    date_issued: str | None = None
    date_modified: str | None = None


class Regions(Section):
    """Regions that the product is summed over.

    `path` is a layer of polygons, `id` their column of identifiers; without a path regions are those of the RGI, told
    by the identifiers of the glaciers, of first or second `order` (the latter by the column O2Region of the outlines).
    `fill_missing` gives glaciers without a balance the mean of their region. `compare`: series of others, such as those
    of GlaMBIE, that the sums are held against.
    """

    order: Literal[1, 2] = 1
    compare: list[str] = []
    path: Path | None = None
    layer: str | None = None
    id: str | None = None
    fill_missing: bool = False

    @field_validator("compare", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _of_one_kind(self) -> Regions:
        if self.order == 2 and self.path is not None:
            raise ValueError(
                f"Input should be either `path` or `order: 2`{REMEDY}regions of second order are those that the "
                "outlines name; leave `path` out, or `order`"
            )
        return self


class Intervals(Section):
    """Prediction intervals of the product.

    `method`: `hierarchical` holds at least its level, and is wide with few glaciers; `calibrated` is narrower, without
    a promise. `follow_error`: half widths are multiples of the expected error, wider far from what was learnt.
    """

    method: Literal["hierarchical", "calibrated"] = "hierarchical"
    follow_error: bool = False


class Grids(Section):
    """Grids that the product is summed on.

    `resolutions` in degrees. Glaciers are split between cells by their `outline`, or belong to the cell of their
    `centroid`. `flux` adds kg m-2 s-1; `by_year` writes a file for each hydrological year too.
    """

    resolutions: Annotated[list[Annotated[float, Field(gt=0.01, le=30)]], AfterValidator(each_once)] = [0.5]
    split: Literal["outline", "centroid"] = "outline"
    flux: bool = False
    by_year: bool = False


Rate = Annotated[float, Field(gt=-10, lt=10)]
"""Change in area, % of the reference year's per year."""


PREFERRED: tuple[ModelName, ...] = ("gaussian_process", "ff_fcnn")
"""Models of a product where none is named, the first that is judged; in this order by their errors in nested folds."""
LEARNS_RATES: tuple[ModelName, ...] = ("ff_fcnn", *PREFERRED)
"""The same where geodetic rates are to be learnt from, which only networks can."""


class Product(Section):
    """The glacier x year dataset, and what is made of it.

    `model`: it is judged too; by default gaussian_process, else ff_fcnn, else the last of the judged models, and by
    ff_fcnn where geodetic rates are learnt from. `years`: first and last hydrological year, by default all complete
    ones of the climate. `draws`: joint realizations of the product, by default 100 up to 10,000 glaciers and none
    beyond. `area_change`: `fixed`, `rgi` for published rates of RGI regions, or rates by region, % per year of the area
    in `area_reference_year`. `intervals`: how they are made. `regions` and `grids`: sums by region and on grids;
    `false` makes none. `water_density` in kg m-3.
    """

    model: ModelName = PREFERRED[0]
    years: Years | None = None
    title: str = "Annual glacier-wide mass balance of every glacier of the region"
    institution: str = ""
    metadata: Metadata = Metadata()
    draws: int | None = Field(None, ge=0, le=10_000)
    area_change: Literal["fixed", "rgi"] | dict[Identifier, Rate] = "fixed"
    area_reference_year: int = Field(2001, ge=1850, le=2100)
    water_density: float = Field(1000.0, ge=990, le=1010)
    intervals: Intervals = Intervals()
    regions: Regions | None = Regions()
    grids: Grids | None = None
    truth: Path | None = None

    @field_validator("regions", "grids", mode="before")
    @classmethod
    def _switched(cls, value: Any) -> Any:
        return {} if value is True else None if value is False else value
