"""Configuration files as people write and miswrite them."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
import yaml

from glacmb_grid.config import load_config, load_partly
from glacmb_grid.errors import InputError, InputErrors, Problems
from glacmb_grid.settings import RunConfig, digest
from glacmb_grid.workflow.idle import idle

GOOD = """
glaciers:
  path: outlines.shp
climate:
  files: era5/*.nc
  accumulated: daily_mean
elevation:
  files: [a.tif, sub/b.tif]
observations:
  path: wgms.csv
  units: mm w.e.
"""


def write(folder: Path, text: str = GOOD, name: str = "alps.yaml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def load(tmp_path, text=GOOD, *overrides) -> RunConfig:
    return load_config(write(tmp_path, text), list(overrides))


def changed(**sections) -> str:
    """The good configuration with some sections replaced or updated."""
    raw = yaml.safe_load(GOOD)
    for name, value in sections.items():
        raw[name] = {**raw.get(name, {}), **value} if isinstance(value, dict) else value
    return yaml.safe_dump(raw)


def refused(tmp_path, text=GOOD, *overrides) -> str:
    with pytest.raises((InputError, InputErrors)) as raised:
        load(tmp_path, text, *overrides)
    found = str(raised.value)
    for part in ("expected:", "found:", "remedy:"):
        assert part in found
    return found


# --- what is filled in -----------------------------------------------------------------------------------------------


def test_paths_are_relative_to_the_file(tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    config = load(tmp_path / "configs", changed(glaciers={"path": "../data/outlines.shp"}, store={"root": "../out"}))
    assert config.glaciers.path == tmp_path / "data" / "outlines.shp"
    assert config.climate.files == [str(tmp_path / "configs" / "era5" / "*.nc")]
    assert config.elevation.files == [str(tmp_path / "configs" / f) for f in ("a.tif", "sub/b.tif")]
    assert config.root == tmp_path / "out"


def test_absolute_paths_stay_and_the_home_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config = load(tmp_path, changed(glaciers={"path": "/data/x.shp"}, observations={"path": "~/wgms.csv"}))
    assert config.glaciers.path == Path("/data/x.shp")
    assert config.observations.path == tmp_path / "home" / "wgms.csv"


def test_the_name_and_the_store_have_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load(tmp_path / "configs")
    assert config.name == "alps"
    assert config.root == tmp_path / "runs" / "alps"


def test_variables_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_DATA", "/data")
    monkeypatch.setenv("MY_TITLE", "Alps")
    config = load(tmp_path, changed(glaciers={"path": "${MY_DATA}/x.shp"}, product={"title": "of the ${MY_TITLE}"}))
    assert config.glaciers.path == Path("/data/x.shp")
    assert config.product.title == "of the Alps"


def test_unset_variables_are_named_with_their_keys(tmp_path, monkeypatch):
    monkeypatch.delenv("NO_SUCH", raising=False)
    monkeypatch.setenv("EMPTY", "")
    text = changed(
        glaciers={"path": "${NO_SUCH}/a"}, observations={"path": "${NO_SUCH}/b"}, elevation={"files": "${EMPTY}"}
    )
    found = refused(tmp_path, text)
    assert "glaciers.path, observations.path" in found
    assert "export NO_SUCH=" in found
    assert "export EMPTY=" in found
    assert "export ROOT=" in refused(tmp_path, changed(store={"root": "${ROOT}/x"}))


def test_the_store_inside_other_paths(tmp_path):
    text = changed(store={"root": "out"}, glaciers={"path": "${store.root}/raw/x.shp"})
    assert load(tmp_path, text).glaciers.path == tmp_path / "out" / "raw" / "x.shp"
    assert "names itself" in refused(tmp_path, changed(store={"root": "${store.root}/x"}))


def test_one_file_is_a_list_of_one(tmp_path):
    assert len(load(tmp_path).climate.files) == 1
    assert "climate.files" in refused(tmp_path, changed(climate={"files": []}))


def test_numbers_as_sites_of_the_mapping(tmp_path):
    text = changed(observations={"links": {"mapping": {491: "RGI50-11.00897"}}})
    assert load(tmp_path, text).observations.links.mapping == {"491": "RGI50-11.00897"}


def test_a_byte_order_mark_does_not_matter(tmp_path):
    assert load(tmp_path, "\ufeff" + GOOD).name == "alps"


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "key", "near"),
    [
        ({"glacers": {}}, "glacers", "glaciers"),
        ({"climate": {"acumulated": "daily_mean"}}, "climate.acumulated", "accumulated"),
        ({"observations": {"links": {"sufix": True}}}, "observations.links.sufix", "suffix"),
        ({"models": {"ff_fcnn": {"membres": 3}}}, "models.ff_fcnn.membres", "members"),
        ({"albedo": {"files": "x", "month": [6]}}, "albedo.month", "months"),
    ],
)
def test_a_misspelt_key_names_the_nearest_one(tmp_path, section, key, near):
    found = refused(tmp_path, changed(**section))
    assert f"alps.yaml: {key}" in found
    assert f"did you mean {near!r}?" in found


def test_a_key_like_no_other(tmp_path):
    assert "remove it" in refused(tmp_path, changed(climate={"qqqqqqqq": 1}))


def test_several_problems_come_at_once(tmp_path):
    text = changed(climate={"acumulated": "daily_mean", "expver": "last"}, observations={"units": "feet"}, seeed=3)
    text = text.replace("path: outlines.shp", "path: ${NO_SUCH}")
    found = refused(tmp_path, text, "models=[", "nonsense")
    for part in ("acumulated", "expver", "feet", "seeed", "NO_SUCH", "--set models=[", "--set nonsense"):
        assert part in found
    assert "7 problems" in found


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({"climate": {"accumulated": "hourly"}}, "climate.accumulated"),
        ({"climate": {"variables": ["t2m", "tpp"]}}, "climate.variables.1"),
        ({"climate": {"variables": ["z"]}}, "climate.variables.0"),
        ({"climate": {"units": {"t2mm": "K"}}}, "climate.units.t2mm"),
        ({"climate": {"annual_precipitation": [3, 1]}}, "climate.annual_precipitation"),
        ({"predictors": {"monthly": ["t2"]}}, "predictors.monthly.0"),
        ({"predictors": {"reference": [2010, 1991]}}, "predictors.reference"),
        ({"predictors": {"first_month": 13}}, "predictors.first_month"),
        ({"albedo": {"files": "x", "months": [6, 13]}}, "albedo.months.1"),
        ({"albedo": {"files": "x", "months": []}}, "albedo.months"),
        ({"validation": {"models": ["ridge", "ridge"]}}, "validation.models"),
        ({"validation": {"models": []}}, "validation.models"),
        ({"validation": {"models": "most"}}, "validation.models"),
        ({"validation": {"models": ["forest"]}}, "validation.models"),
        ({"models": {"compare": ["ridge"]}}, "models.compare"),
        ({"study": {"models": ["ridge", "ridge"]}}, "study.models"),
        ({"audit": {"scheme": "random"}}, "audit.scheme"),
        ({"protocol": {"selektion": True}}, "protocol.selektion"),
        ({"models": {"ff_fcnn": {"widths": [40, 0]}}}, "models.ff_fcnn.widths.0.1"),
        ({"models": {"ridge": {"penalties": [-1.0]}}}, "models.ridge.penalties.0"),
        ({"models": {"ff_fcnn": {"input_noise": float("nan")}}}, "models.ff_fcnn.input_noise"),
        ({"models": {"temperature_index": {"snow_threshold": float("inf")}}}, "models.temperature_index"),
        ({"models": {"ff_fcnn": {"widths": [[8], []]}}}, "models.ff_fcnn.widths.1"),
        ({"models": {"ff_fcnn": {"weighting": ["none", "rare"]}}}, "models.ff_fcnn.weighting.1"),
        ({"models": {"ridge": {"recipes": []}}}, "models.ridge.recipes"),
        ({"models": {"ridge": {"recipes": [{"gaps": "guess"}]}}}, "models.ridge.recipes.0.gaps"),
        ({"models": {"ridge": {"recipes": [{"kepe": 9}]}}}, "models.ridge.recipes.0.kepe"),
        ({"validation": {"schemes": ["by_eye"]}}, "validation.schemes.0"),
        ({"validation": {"schemes": ["logo", "logo"]}}, "validation.schemes"),
        ({"validation": {"holdout": 1.5}}, "validation.holdout"),
        ({"synthetic": {"years": [2024, 2000]}}, "synthetic.years"),
        ({"climate": None}, "climate"),
        ({"store": "out"}, "store"),
        ({"store": {"root": 5}}, "store.root"),
        ({"store": [1]}, "store"),
        ({"name": "a/b"}, "name"),
        ({"name": 5}, "name"),
        ({"seed": "x"}, "seed"),
        ({"glaciers": {"path": ["a", "b"]}}, "glaciers.path"),
        ({"climate": {"files": {"a": 1}}}, "climate.files"),
    ],
)
def test_values_of_the_wrong_kind_name_their_key(tmp_path, section, key):
    assert f"alps.yaml: {key}" in refused(tmp_path, changed(**section))


def test_a_misspelt_variable_names_the_nearest_one(tmp_path):
    assert "did you mean 't2m'?" in refused(tmp_path, changed(climate={"variables": ["t2mm"]}))


def test_missing_sections_are_named(tmp_path):
    found = refused(tmp_path, "glaciers: {path: x}\n")
    for section in ("climate", "elevation", "observations"):
        assert f"add `{section}: {{" in found


@pytest.mark.parametrize(
    "text", ["", "just text", "[1, 2]", "a: [1", "a: b: c", "\t- x", "x: !!python/object:os.system ls", "1: 2\n" + GOOD]
)
def test_files_that_are_no_configuration(tmp_path, text):
    assert "alps.yaml" in refused(tmp_path, text)


def test_a_key_given_twice_is_not_silently_the_last(tmp_path):
    assert "'climate' is given twice" in refused(tmp_path, GOOD + "climate:\n  files: x\n")


def test_anchors_are_no_keys_given_twice(tmp_path):
    shared = "models:\n  ridge: {predictors: &few [slope]}\n  ff_fcnn: {predictors: *few}\n"
    assert load(tmp_path, GOOD + shared).models.ff_fcnn.predictors == ["slope"]


def test_files_that_cannot_be_read(tmp_path):
    write(tmp_path)
    with pytest.raises(InputError, match=r"holds alps\.yaml"):
        load_config(tmp_path / "alp.yaml")
    with pytest.raises(InputError):
        load_config(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("name: \xd6tztal".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.yaml"):
        load_config(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"validation": {"holdout": [807.0]}}, r"validation.holdout.0\n.*\n.*807.0\n.*in quotes.*: '807.0'"),
        ({"validation": {"holdout": [True]}}, r"validation.holdout.0\n.*\n.*True\n.*in quotes.*yes, no, on, off"),
        ({"validation": {"holdout": 807}}, r"write `validation: \{holdout: \[807\]\}`"),
        ({"product": {"area_change": {13.5: -0.2}}}, r"product.area_change.13.5\n.*\n.*\n.*in quotes.*: '13.5'"),
        ({"product": {"metadata": {"product_version": 1.0}}}, r"product_version\n.*\n.*\n.*in quotes.*: '1.0'"),
    ],
)
def test_what_yaml_does_not_read_as_text_is_to_be_quoted(tmp_path, section, says):
    assert re.search(says, refused(tmp_path, changed(**section)))


# --- overrides -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "get", "expected"),
    [
        ("models.ff_fcnn.members=10", lambda c: c.models.ff_fcnn.members, 10),
        ("models.ff_fcnn.widths=[8, 4]", lambda c: c.models.ff_fcnn.widths, [(8, 4)]),
        ("models.ff_fcnn.widths=[[8, 4], [16]]", lambda c: c.models.ff_fcnn.widths, [(8, 4), (16,)]),
        ("models.ff_fcnn.learning_rate=0.01", lambda c: c.models.ff_fcnn.learning_rate, [0.01]),
        ("models.ridge.recipes=[{keep: 9}]", lambda c: c.models.ridge.recipes[0].keep, 9),
        ("validation.models=all", lambda c: c.validation.models, "all"),
        ("validation.holdout=0.2", lambda c: c.validation.holdout, 0.2),
        ("validation.holdout=[a, b]", lambda c: c.validation.holdout, ["a", "b"]),
        ("validation.holdout=[807, 00507, 12]", lambda c: c.validation.holdout, ["807", "00507", "12"]),
        ("observations.links.mapping={491: 807}", lambda c: c.observations.links.mapping, {"491": "807"}),
        ("product.area_change={13: -0.2}", lambda c: c.product.area_change, {"13": -0.2}),
        ("protocol.selection=true", lambda c: c.protocol.leaks, True),
        ("climate.units.tp=mm", lambda c: c.climate.units, {"tp": "mm"}),
        ("name=other", lambda c: c.name, "other"),
        ("product.title=a=b", lambda c: c.product.title, "a=b"),
        ("albedo.files=x.tif", lambda c: len(c.albedo.files), 1),
        ("predictors.first_month=null", lambda c: c.predictors.first_month, None),
    ],
)
def test_overrides(tmp_path, override, get, expected):
    assert get(load(tmp_path, GOOD, override)) == expected


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("models.ff_fcn.members=10", "did you mean 'ff_fcnn'?"),
        ("models.ff_fcnn.member=10", "did you mean 'members'?"),
        ("name.x=1", "name"),
        ("members", "key.path=value"),
        ("=3", "key.path=value"),
        ("product.title='a", "YAML value"),
        ("climate..files=x", "unknown key ''"),
    ],
)
def test_overrides_with_a_wrong_path(tmp_path, override, says):
    assert says in refused(tmp_path, GOOD, override)


# --- digests ---------------------------------------------------------------------------------------------------------


def test_digests_do_not_depend_on_folders(tmp_path, monkeypatch):
    one = load(tmp_path / "here")
    monkeypatch.setenv("ELSEWHERE", str(tmp_path / "elsewhere"))
    other = load(tmp_path / "there", GOOD.replace("outlines.shp", "${ELSEWHERE}/deep/outlines.shp"))
    assert one.glaciers != other.glaciers
    for section in ("glaciers", "climate", "elevation", "observations"):
        assert digest(getattr(one, section)) == digest(getattr(other, section))


@pytest.mark.parametrize(
    "override",
    [
        "glaciers.path=other.shp",
        "glaciers.merge_pieces=true",
        "climate.accumulated=hourly_mean",
        "climate.units.tp=mm",
        "elevation.files=[sub/b.tif, a.tif]",
        "observations.units=m w.e.",
        "observations.links.max_distance_km=2.5",
    ],
)
def test_digests_depend_on_values(tmp_path, override):
    before, after = load(tmp_path), load(tmp_path, GOOD, override)
    section = override.split(".")[0]
    assert digest(getattr(before, section)) != digest(getattr(after, section))
    assert digest(before.models) == digest(after.models)


def test_digests_do_not_depend_on_the_order_of_keys(tmp_path):
    one = load(tmp_path, GOOD, "climate.units={tp: mm, t2m: K}")
    other = load(tmp_path, GOOD, "climate.units={t2m: K, tp: mm}")
    assert digest(one.climate) == digest(other.climate)


# --- errors ----------------------------------------------------------------------------------------------------------


def test_errors_cross_processes_whole():
    one = InputError("x: y", expected="a", found="b", remedy="c")
    several = InputErrors([one, InputError("z", expected="d", found="e", remedy="f")])
    for error in (one, several):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert str(copy) == str(error)
    assert len(pickle.loads(pickle.dumps(several)).problems) == 2


def test_problems_are_collected_one_or_many():
    def fail(name):
        raise InputError(name, expected="a", found="b", remedy="c")

    problems = Problems()
    assert problems.attempt(lambda: 3) == 3
    problems.raise_if_any()
    assert problems.attempt(lambda: fail("one")) is None
    with pytest.raises(InputError, match="one"):
        problems.raise_if_any()
    with problems.collect():
        fail("two")
    with pytest.raises(InputErrors, match="2 problems"):
        problems.raise_if_any()
    with pytest.raises(ZeroDivisionError), problems.collect():
        _ = 1 / 0


def test_the_template_of_high_mountain_asia_is_complete_and_sound(monkeypatch):
    """It loads, also with all that is commented out, and no key of a run from cubes is left unsaid."""
    monkeypatch.setenv("HMA_DATA", "/somewhere")
    path = Path(__file__).parents[1] / "configs" / "hma.yaml"
    config = load_config(path)
    assert config.sampling.lapse_rate == "fitted"
    text = path.read_text(encoding="utf-8")
    for name in (
        "glaciers",
        "climate",
        "sampling",
        "regrid",
        "elevation",
        "albedo",
        "observations",
        "predictors",
        "validation",
        "scores",
        "product",
        "compute",
    ):
        section = RunConfig.model_fields[name].annotation
        section = next((a for a in getattr(section, "__args__", [section]) if hasattr(a, "model_fields")), section)
        for key in section.model_fields:
            assert re.search(rf"^[# ]*{name}:|^[# ]+{key}:", text, re.MULTILINE), f"{name}.{key}"
            assert re.search(rf"\b{key}: ", text) or key == "links", f"{name}.{key}"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("{resolution: 0.1, method: nearest_s2d}", "conservative or bilinear with the builtin engine"),
        ("{method: bilinear}", "this key"),
        ("{resolution: 0}", "greater than or equal to 0.001"),
    ],
)
def test_regridding_that_is_not_offered(value, says):
    with pytest.raises((InputError, InputErrors), match=says):
        load_config(Path(__file__).parents[1] / "configs" / "demo.yaml", [f"regrid={value}"])


def test_identifiers_with_leading_zeros_are_no_octal_numbers(tmp_path):
    text = GOOD + "  links: {mapping: {0507: 0012, 12:30: b, 491: 7, '009': c}}\n"
    assert load(tmp_path, text).observations.links.mapping == {"0507": "0012", "12:30": "b", "491": "7", "009": "c"}
    assert load(tmp_path, GOOD, "observations.links.mapping={0507: a}").observations.links.mapping == {"0507": "a"}
    assert load(tmp_path, GOOD + "seed: 10\n").seed == 10


def test_a_product_where_geodetic_rates_are_learnt_from_is_by_a_model_that_can(tmp_path):
    rates = "observations.geodetic.path=hugonnet.csv"
    assert load(tmp_path, GOOD).product.model == "gaussian_process"
    assert load(tmp_path, GOOD, rates).product.model == "gaussian_process"
    assert load(tmp_path, GOOD, rates, "observations.geodetic.learn=true").product.model == "ff_fcnn"
    named = (rates, "observations.geodetic.learn=true", "product.model=ridge")
    assert load(tmp_path, GOOD, *named).product.model == "ridge"


@pytest.mark.parametrize(
    ("judged", "product", "models", "by"),
    [
        (["mean", "ridge"], None, ["mean", "ridge"], "ridge"),
        (["mean"], None, ["mean"], "mean"),
        (["mean", "ff_fcnn", "ridge"], None, ["mean", "ff_fcnn", "ridge"], "ff_fcnn"),
        (["gaussian_process", "ff_fcnn", "ridge"], None, ["gaussian_process", "ff_fcnn", "ridge"], "gaussian_process"),
        (["mean", "ridge"], "extra_trees", ["mean", "ridge", "extra_trees"], "extra_trees"),
        (None, "lasso", ["mean", "ridge", "temperature_index", "gaussian_process", "ff_fcnn", "lasso"], "lasso"),
        ("all", "lasso", "all", "lasso"),
    ],
)
def test_the_products_model_is_judged(tmp_path, judged, product, models, by):
    sections = {} if judged is None else {"validation": {"models": judged}}
    sections |= {} if product is None else {"product": {"model": product}}
    config = load(tmp_path, changed(**sections))
    assert config.validation.models == models
    assert config.product.model == by


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"validation": {"models": "ridge"}}, "write `validation: {models: [ridge]}`"),
        ({"name": "my run"}, "add `name: my_run`"),
        ({"models": {"ridge": {"penalties": [1e-300]}}}, "greater than or equal to"),
    ],
)
def test_values_that_are_nearly_right(tmp_path, sections, says):
    with pytest.raises((InputError, InputErrors)) as raised:
        load(tmp_path, changed(**sections))
    assert says in str(raised.value)


def test_a_variable_inside_braces_needs_quotes(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("store: {root: ${MY_DATA}/x, a: b}\n")
    with pytest.raises(InputError) as raised:
        load_config(path)
    assert 'quote what holds a variable: {root: "${MY_DATA}/x"}' in str(raised.value)


# --- configurations that are wrong in part ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sections", "unknown"),
    [
        ({}, set()),
        ({"seed": "x"}, {"seed"}),
        ({"elevation": {"fils": "x"}}, {"elevation"}),
        ({"climate": None}, {"climate"}),
        ({"climate": {"accumulated": "daily"}}, {"climate.accumulated"}),
        ({"climate": {"accumulated": "daily", "stmp": 1}}, {"climate"}),
        ({"glaciers": {"path": "${NO_SUCH}/x"}, "climat": {}}, {"glaciers", "climat"}),
        ({"name": "my run", "store": {"root": 5}}, {"name", "store"}),
        (
            {"models": {"mine": {"external": "no colon"}}, "validation": {"models": ["mean", "mine"]}},
            {"models", "validation", "product"},
        ),
        (
            {"predictions": {"oggm": 3}, "validation": {"models": ["mean", "oggm"]}},
            {"predictions", "validation", "product"},
        ),
    ],
)
def test_what_is_sound_of_a_configuration_is_kept(tmp_path, sections, unknown):
    path = write(tmp_path, changed(**sections))
    config, found, problems = load_partly(path)
    assert found == unknown
    assert bool(problems.found) == bool(unknown)
    kept = {n for n in ("glaciers", "elevation", "observations") if n not in unknown}
    for name in kept:
        assert getattr(config, name) == getattr(load(tmp_path / "whole"), name).model_copy(
            update=paths_in(getattr(config, name))
        )
    if problems.found:
        with pytest.raises((InputError, InputErrors)) as raised:
            load_config(path)
        assert [str(p) for p in getattr(raised.value, "problems", [raised.value])] == [str(p) for p in problems.found]


def paths_in(section):
    return {n: getattr(section, n) for n in ("path", "files") if n in type(section).model_fields}


def test_where_nothing_is_left_to_check_the_error_is_that_of_the_configuration(tmp_path):
    for text in ("samples: {path: x}\n", "just text"):
        with pytest.raises((InputError, InputErrors)):
            load_partly(write(tmp_path, text))


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ([], []),
        (["compute.workers=2"], []),
        (["compute.address=tcp://x:1", "compute.dashboard=true"], ["compute.address", "compute.dashboard"]),
        (["compute.scheduler=distributed", "compute.address=tcp://x:1", "compute.workers=2"], ["compute.workers"]),
        (["compute.scheduler=distributed", "compute.dashboard=true"], []),
        (["compute.scheduler=synchronous", "compute.workers=2"], ["compute.workers"]),
        (["validation.models=[mean, ridge]", "models.lasso.penalties=[0.1]"], ["models.lasso"]),
        (["validation.models=[blend, ridge]", "models.blend.models=[lasso]", "models.lasso.penalties=[0.1]"], []),
        (["validation.models=[ff_fcnn_neighbours]", "models.ff_fcnn.members=2"], []),
        (["validation.models=all", "models.lasso.penalties=[0.1]"], []),
        (["predictions.oggm=x.csv", "validation.models=[mean]"], ["predictions.oggm"]),
        (["study.models=[lasso, ridge]"], ["study.models lasso"]),
        (["validation.buffer_km=20"], ["validation.buffer_km"]),
        (["validation.buffer_km=20", "validation.schemes=[logo, blocks]"], []),
        (["validation.target_weights=area"], ["validation.target_weights"]),
        (["validation.target_weights=area", "validation.schemes=[domain]"], []),
        (["climate.variables=[t2m]", "climate.units={ssrd: J m-2, t2m: K, z: m}"], ["climate.units.ssrd"]),
        (["climate.variables=[t2m]", "climate.names={tp: prec}"], ["climate.names.tp"]),
        (["climate.variables=[t2m]", "climate.annual_precipitation=[1, 2]"], ["climate.annual_precipitation"]),
        (["climate.variables=[t2m, tp]", "climate.annual_precipitation=[1, 2]"], []),
        (["sampling.lapse_rate_cells=3"], ["sampling.lapse_rate_cells"]),
        (["sampling.lapse_rate_cells=3", "sampling.lapse_rate=fitted"], []),
    ],
)
def test_settings_without_effect_are_told(tmp_path, overrides, told):
    lines = idle(load(tmp_path, GOOD, *overrides))
    assert [line.split("`")[1] for line in lines] == told
    assert all("has no effect: " in line for line in lines)


def test_two_dots_after_a_link_lead_where_the_system_goes(tmp_path):
    (tmp_path / "deep" / "now").mkdir(parents=True)
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "cur").symlink_to(tmp_path / "deep" / "now")
    text = "glaciers: {path: o.shp}\nclimate: {files: c.nc, accumulated: daily_mean}\nobservations: {path: f.csv}\n"
    (tmp_path / "plain" / "a.yaml").write_text(text + "elevation: {files: [cur/../dem.tif, sub/../dem.tif]}\n")
    through, plain = load_config(tmp_path / "plain" / "a.yaml").elevation.files
    assert Path(through).resolve() == (tmp_path / "deep" / "dem.tif").resolve()
    assert plain == str(tmp_path / "plain" / "dem.tif")
