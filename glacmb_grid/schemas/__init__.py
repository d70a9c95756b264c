"""The Datasets that one room takes from another, each described once, and the check of a Dataset against its schema."""

from __future__ import annotations

from glacmb_grid.schemas.checks import DATE as DATE
from glacmb_grid.schemas.checks import FLAG as FLAG
from glacmb_grid.schemas.checks import NUMBER as NUMBER
from glacmb_grid.schemas.checks import TEXT as TEXT
from glacmb_grid.schemas.checks import Field as Field
from glacmb_grid.schemas.checks import Schema as Schema
from glacmb_grid.schemas.checks import arranged as arranged
from glacmb_grid.schemas.checks import check as check
from glacmb_grid.schemas.checks import empty as empty
from glacmb_grid.schemas.checks import require_columns as require_columns
from glacmb_grid.schemas.datasets import ALBEDO as ALBEDO
from glacmb_grid.schemas.datasets import CLIMATE as CLIMATE
from glacmb_grid.schemas.datasets import COMPARED as COMPARED
from glacmb_grid.schemas.datasets import CONSTRAINTS as CONSTRAINTS
from glacmb_grid.schemas.datasets import DAILY_ALBEDO as DAILY_ALBEDO
from glacmb_grid.schemas.datasets import EXPECTED as EXPECTED
from glacmb_grid.schemas.datasets import FOLDS as FOLDS
from glacmb_grid.schemas.datasets import GLACIERS as GLACIERS
from glacmb_grid.schemas.datasets import PARAMETERS as PARAMETERS
from glacmb_grid.schemas.datasets import PREDICTIONS as PREDICTIONS
from glacmb_grid.schemas.datasets import PREDICTORS as PREDICTORS
from glacmb_grid.schemas.datasets import PRODUCT as PRODUCT
from glacmb_grid.schemas.datasets import REGIONAL as REGIONAL
from glacmb_grid.schemas.datasets import ROWS as ROWS
from glacmb_grid.schemas.datasets import SAMPLED as SAMPLED
from glacmb_grid.schemas.datasets import SAMPLES as SAMPLES
from glacmb_grid.schemas.datasets import SCHEMAS as SCHEMAS
from glacmb_grid.schemas.datasets import TERRAIN as TERRAIN
from glacmb_grid.schemas.datasets import UPSCALED as UPSCALED
