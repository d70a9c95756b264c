"""One frozen model per stage; reading YAML; digests of sections.

Unknown keys are errors that name the nearest valid one; ``${VAR}`` comes from the environment, ``${store.root}`` from
the configuration itself; relative paths are relative to the configuration file.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field

from glacmb_grid.errors import InputError, InputErrors, listing

Scheme = Literal["logo", "loyo", "both_out"]
ModelName = Literal["mean", "ridge", "temperature_index", "ff_fcnn"]


class Section(BaseModel):
    """Frozen; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Synthetic(Section):
    """A region of known truth, written as raw files into ``${store.root}/raw`` before anything else."""

    seed: int = 1
    glaciers: int = Field(60, ge=2)
    measured: int = Field(15, ge=1)
    years: tuple[int, int] = (2000, 2024)


class Glaciers(Section):
    """Outlines."""

    path: Path
    layer: str | None = None
    id: str | None = None
    crs: str | None = None
    merge_pieces: bool = False


class Climate(Section):
    """Monthly climate cube."""

    files: list[str]
    accumulated: Literal["daily_mean", "hourly_mean", "monthly_total"]
    invariant: Path | None = None
    variables: list[str] | None = None
    units: dict[str, str] = {}
    expver: Literal["prefer_final", "final"] = "prefer_final"
    annual_precipitation: tuple[float, float] | None = None


class Elevation(Section):
    """Digital elevation model."""

    files: list[str]
    min_coverage: float = Field(0.5, ge=0, le=1)


class Albedo(Section):
    """A series of MOD10A1 rasters."""

    files: list[str]
    months: tuple[int, ...] = (6, 7, 8)
    min_days: int = Field(3, ge=1)
    min_coverage: float = Field(0.2, ge=0, le=1)


class Links(Section):
    """How observations find their outlines."""

    table: Path | None = None
    positions: Path | None = None
    mapping: dict[str, str] = {}
    suffix: bool = True
    position: bool = True
    max_distance_km: float = Field(2.0, ge=0)


class Observations(Section):
    """Annual glacier-wide balances."""

    path: Path
    units: Literal["mm w.e.", "m w.e.", "kg m-2"]
    default_uncertainty: float = Field(0.2, gt=0)
    links: Links = Links()


class Sampling(Section):
    """Zonal means and the elevation correction."""

    lapse_rate: float = Field(-0.0065, gt=-0.02, lt=0.02)
    min_coverage: float = Field(0.5, gt=0, le=1)


class Predictors(Section):
    """What is made of the monthly values."""

    first_month: int | None = Field(None, ge=1, le=12)
    monthly: list[str] | None = None
    temperature_spread: float = Field(4.0, gt=0)
    reference: tuple[int, int] | None = None
    coordinates: bool = False


class Mean(Section):
    """The training mean."""


class Ridge(Section):
    """Linear model with an L2 penalty chosen on inner folds."""

    predictors: list[str] = ["*"]
    penalties: list[float] = [0.1, 1.0, 10.0, 100.0, 1000.0]


class TemperatureIndex(Section):
    """Degree-day melt and solid precipitation over the hypsometry, with weak priors on three parameters."""

    lapse_rate: float = Field(-0.0065, gt=-0.02, lt=0)
    temperature_spread: float = Field(4.0, gt=0)
    snow_threshold: float = 1.0
    snow_spread: float = Field(2.0, gt=0)
    snow_to_ice: float = Field(0.6, gt=0, le=1)
    prior_mean: tuple[float, float, float] = (0.007, 1.5, 0.0)
    prior_sd: tuple[float, float, float] = (0.003, 0.5, 1.0)
    residual_sd: float = Field(0.3, gt=0)


class FeedForward(Section):
    """FF-FCNN: a small fully connected network, an ensemble of members in every fold."""

    predictors: list[str] = ["*"]
    widths: tuple[int, ...] = (40, 20, 10, 5)
    members: int = Field(5, ge=1)
    epochs: int = Field(600, ge=1)
    patience: int = Field(60, ge=1)
    learning_rate: float = Field(0.005, gt=0)
    input_noise: float = Field(0.1, ge=0)
    l1: float = Field(1e-3, ge=0)
    inner_share: float = Field(0.2, gt=0, lt=1)
    block: int = Field(64, ge=1)


class Models(Section):
    """Which models are judged, and their settings."""

    compare: list[ModelName] = ["mean", "ridge", "temperature_index", "ff_fcnn"]
    mean: Mean = Mean()
    ridge: Ridge = Ridge()
    temperature_index: TemperatureIndex = TemperatureIndex()
    ff_fcnn: FeedForward = FeedForward()


class Validation(Section):
    """Folds."""

    schemes: list[Scheme] = ["logo", "loyo", "both_out"]
    inner: int = Field(5, ge=2)


class Scores(Section):
    """Intervals of the scores."""

    bootstrap: int = Field(2000, ge=100)
    level: float = Field(0.9, gt=0, lt=1)


class Product(Section):
    """The glacier x year dataset."""

    model: ModelName = "ff_fcnn"
    title: str = "Annual glacier-wide mass balance of every glacier of the region"
    institution: str = ""
    truth: Path | None = None


class Store(Section):
    """Where results go; default `runs/<name>` under the working directory."""

    root: Path | None = None


class Compute(Section):
    """How dask works."""

    scheduler: Literal["threads", "processes", "distributed", "synchronous"] = "threads"
    workers: int | None = Field(None, ge=1)
    address: str | None = None


class RunConfig(Section):
    """A whole run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = 1
    synthetic: Synthetic | None = None
    glaciers: Glaciers
    climate: Climate
    elevation: Elevation
    albedo: Albedo | None = None
    observations: Observations
    sampling: Sampling = Sampling()
    predictors: Predictors = Predictors()
    models: Models = Models()
    validation: Validation = Validation()
    scores: Scores = Scores()
    product: Product = Product()
    store: Store = Store()
    compute: Compute = Compute()

    @property
    def root(self) -> Path:
        """Folder of the run's stores."""
        assert self.store.root is not None
        return self.store.root


_PATHS = {
    ("glaciers", "path"),
    ("climate", "files"),
    ("climate", "invariant"),
    ("elevation", "files"),
    ("albedo", "files"),
    ("observations", "path"),
    ("observations", "links", "table"),
    ("observations", "links", "positions"),
    ("product", "truth"),
    ("store", "root"),
}
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


def load_config(path: str | Path, overrides: list[str] | None = None) -> RunConfig:
    """Read a YAML configuration.

    Parameters
    ----------
    path : str or Path
    overrides : list of str, optional
        ``key.path=value`` with a YAML value, as in ``models.ff_fcnn.members=10``.

    Raises
    ------
    InputError or InputErrors
        Broken YAML, unknown or missing keys, values of the wrong kind, unset environment variables: all at once.
    """
    file = Path(path).resolve()
    raw = _read_yaml(file)
    for override in overrides or []:
        _set(raw, override)
    raw.setdefault("name", file.stem)
    root = _store_root(raw, file)
    raw["store"] = {**(raw.get("store") or {}), "root": str(root)}
    unset: dict[str, list[str]] = {}
    values = _expanded(raw, (), file, str(root), unset)
    problems: list[Exception] = [_unset_variable(file, name, keys) for name, keys in unset.items()]
    config = _validated(values, file, problems)
    if problems:
        raise problems[0] if len(problems) == 1 else InputErrors(problems)
    assert config is not None
    return config


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        there = [p.name for p in sorted(file.parent.glob("*.y*ml"))] if file.parent.is_dir() else []
        raise InputError(
            f"{file}",
            expected="a configuration file",
            found="no such file",
            remedy=f"correct the path; {file.parent} holds {listing(there) or 'no YAML file'}",
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            f"{file}",
            expected="a YAML file",
            found=" ".join(str(error).split()),
            remedy="correct the YAML syntax there",
        ) from error
    if not isinstance(raw, dict):
        raise InputError(
            f"{file}",
            expected="sections such as `glaciers:` and `climate:`",
            found=type(raw).__name__,
            remedy="start from configs/oetztal.yaml",
        )
    return raw


def _set(raw: dict[str, Any], override: str) -> None:
    keys, sign, value = override.partition("=")
    if not sign or not keys:
        raise InputError(
            f"--set {override}",
            expected="key.path=value",
            found=override,
            remedy="e.g. --set models.ff_fcnn.members=10",
        )
    *parents, last = keys.split(".")
    here = raw
    for parent in parents:
        if not isinstance(here.get(parent), dict):
            here[parent] = {}
        here = here[parent]
    here[last] = yaml.safe_load(value)


def _store_root(raw: dict[str, Any], file: Path) -> Path:
    said = (raw.get("store") or {}).get("root") if isinstance(raw.get("store"), dict) else None
    if said is None:
        return Path.cwd() / "runs" / str(raw["name"])
    unset: dict[str, list[str]] = {}
    root = _expanded(said, ("store", "root"), file, "", unset)
    for name, keys in unset.items():
        raise _unset_variable(file, name, keys)
    return Path(root)


def _expanded(value: Any, key: tuple[str, ...], file: Path, root: str, unset: dict[str, list[str]]) -> Any:
    """Environment variables filled in; paths made absolute."""
    if isinstance(value, dict):
        return {k: _expanded(v, (*key, str(k)), file, root, unset) for k, v in value.items()}
    if isinstance(value, list):
        return [_expanded(v, key, file, root, unset) for v in value]
    if isinstance(value, str):
        value = _VARIABLE.sub(lambda m: _variable(m.group(1), key, root, unset), value)
        if key in _PATHS:
            return os.path.normpath(file.parent / Path(value).expanduser())
    return value


def _variable(name: str, key: tuple[str, ...], root: str, unset: dict[str, list[str]]) -> str:
    if name == "store.root":
        return root
    if not os.environ.get(name):
        unset.setdefault(name, []).append(".".join(key))
    return os.environ.get(name, "")


def _unset_variable(file: Path, name: str, keys: list[str]) -> InputError:
    return InputError(
        f"{file}: {', '.join(dict.fromkeys(keys))}",
        expected=f"the environment variable {name}",
        found="not set",
        remedy=f"set it first: export {name}=/path/to/data",
    )


def _validated(values: dict[str, Any], file: Path, problems: list[Exception]) -> RunConfig | None:
    values = _lists(values)
    try:
        return RunConfig.model_validate(values)
    except pydantic.ValidationError as error:
        problems += [_explained(e, file) for e in error.errors()]
        return None


def _lists(values: dict[str, Any]) -> dict[str, Any]:
    """A single file where several may be given becomes a list of one."""
    for section in ("climate", "elevation", "albedo"):
        here = values.get(section)
        if isinstance(here, dict) and isinstance(here.get("files"), str):
            here["files"] = [here["files"]]
    return values


def _explained(error: Any, file: Path) -> InputError:
    keys = [str(k) for k in error["loc"]]
    where = f"{file}: {'.'.join(keys)}"
    if error["type"] == "extra_forbidden":
        valid = _valid_keys(keys[:-1])
        near = difflib.get_close_matches(keys[-1], valid, 1, 0.5)
        return InputError(
            where,
            expected=f"one of {', '.join(valid)}",
            found=f"unknown key {keys[-1]!r}",
            remedy=f"did you mean {near[0]!r}?" if near else "remove it or choose one of the valid keys",
        )
    if error["type"] == "missing":
        return InputError(where, expected="this key", found="nothing", remedy=f"add `{keys[-1]}:`")
    return InputError(where, expected=error["msg"], found=repr(error["input"]), remedy="correct the value")


def _valid_keys(path: list[str]) -> list[str]:
    model: type[BaseModel] = RunConfig
    for key in path:
        annotation = model.model_fields[key].annotation
        choices = [annotation, *get_args(annotation)] if get_origin(annotation) is not None else [annotation]
        choices += list(get_args(annotation))
        models = [c for c in choices if isinstance(c, type) and issubclass(c, BaseModel)]
        if not models:
            return []
        model = models[0]
    return list(model.model_fields)


def digest(*sections: object) -> str:
    """Digest of configuration sections, the same wherever the files lie.

    Of paths only the last part counts here: what a file holds is told by its own identity.
    """
    plain = [portable(s.model_dump(mode="python") if isinstance(s, BaseModel) else s) for s in sections]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def portable(value: Any) -> Any:
    """Plain values with only the last part of paths, the same on every machine."""
    if isinstance(value, dict):
        return {str(k): portable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [portable(v) for v in value]
    if isinstance(value, Path) or (isinstance(value, str) and os.path.isabs(value)):  # noqa: PTH117 - any string
        return Path(value).name
    return value
