"""The products' attributes: judged by the compliance checker, by xarray, by cf-xarray and by hand."""

from __future__ import annotations

import cf_xarray  # noqa: F401 - gives Datasets their `cf`
import netCDF4
import numpy as np
import pytest
import xarray as xr

from glacmb_grid.config import load_config
from glacmb_grid.errors import InputError
from glacmb_grid.products.attributes import KINDS, meta_of, quantity
from glacmb_grid.products.metadata import ABOUT, LICENSE, describe, with_mass_units
from glacmb_grid.stores.formats import write_netcdf

NOT_NAMED = "missing the following attributes:"


def unnamed(messages, kind):
    """Highly recommended attributes that lack, besides standard names of what the CF table has no name for."""
    out = []
    for weight, group, message in messages:
        meta = meta_of(group.split('"')[1], kind) if NOT_NAMED in group else None
        known = message == "standard_name" and ("time_bnds" in group or (meta is not None and not meta.standard_name))
        if weight == 3 and not known:
            out.append((group, message))
    return out


@pytest.fixture
def product(toys):
    return describe(with_mass_units(toys.product(draws=3)), kind="glacier", institution="an institution")


@pytest.mark.parametrize("firsts", [(10,), (10, 4)])
def test_a_glacier_product_passes_the_compliance_checker(toys, compliance, tmp_path, firsts):
    made = describe(with_mass_units(toys.product(firsts=firsts, draws=3)), kind="glacier")
    write_netcdf(made, tmp_path / "p.nc")
    found = compliance(tmp_path / "p.nc")
    assert found["cf:1.11"] == []
    broken = [m for m in found["acdd:1.3"] if "MaskedArray" not in m[2]]  # it takes every `time` to have one dimension
    assert unnamed(broken, "glacier") == []


@pytest.mark.parametrize("firsts", [(10, 10), (10, 4)])
def test_a_regional_product_passes_the_compliance_checker(toys, compliance, tmp_path, firsts):
    made = describe(toys.regional(firsts=firsts), kind="region")
    write_netcdf(made, tmp_path / "p.nc")
    found = compliance(tmp_path / "p.nc")
    assert found["cf:1.11"] == []
    broken = [m for m in found["acdd:1.3"] if "MaskedArray" not in m[2]]
    assert unnamed(broken, "region") == []


def test_the_checker_sees_planted_faults(product, compliance, tmp_path):
    product["mass_change"].attrs["units"] = "gt w.e."
    product["mass_balance"].attrs["units"] = "m w.e."
    product["mass_change_amount"].attrs["standard_name"] = "glacier_mass_change"
    product["mass_balance_lower_50"].attrs["cell_methods"] = "time: total"
    product["applicable"].attrs["flag_meanings"] = "one"
    del product["time"].attrs["units_metadata"]
    del product.attrs["keywords"]
    write_netcdf(product, tmp_path / "p.nc")
    found = compliance(tmp_path / "p.nc")
    told = " ".join(text for _, _, text in found["cf:1.11"])
    for fault in ("gt w.e.", "m w.e.", "glacier_mass_change", "total", "flag_meanings", "units_metadata"):
        assert fault in told
    assert unnamed(found["acdd:1.3"], "glacier") == [("Global Attributes", "keywords not present")]


def test_masses_and_amounts_by_hand(toys):
    product = toys.product(glaciers=2, years=(2001, 2002))
    product["mass_balance"].values[:] = [[-1.0, 0.5], [0.0, np.nan]]
    product["mass_balance_uncertainty"].values[:] = 0.25
    product["area_of_year"].values[:] = [[2.0, 3.0], [4.0, 5.0]]
    made = with_mass_units(product)
    np.testing.assert_array_equal(made["mass_change_amount"].values, [[-1000, 500], [0, np.nan]])
    np.testing.assert_array_equal(made["mass_change"].values, [[-2e9, 1.5e9], [0, np.nan]])
    np.testing.assert_array_equal(made["mass_change_uncertainty"].values, [[5e8, 7.5e8], [1e9, 1.25e9]])
    assert made["mass_change"].dims == ("glacier", "year")
    light = with_mass_units(product, water_density=997.0)
    assert float(light["mass_change"][0, 0]) == pytest.approx(-1.994e9)
    assert light.attrs["water_density"] == "997 kg m-3"
    fixed = with_mass_units(product.drop_vars("area_of_year").assign(area=("glacier", [10.0, 1.0])))
    assert float(fixed["mass_change"][0, 0]) == -1e10
    assert "mass_change" not in product


def test_standard_names_and_units_of_the_main_quantities(product):
    assert product["mass_change_amount"].attrs["standard_name"] == "change_in_land_ice_amount"
    assert product["mass_change_amount"].attrs["units"] == "kg m-2"
    assert product["mass_change"].attrs["standard_name"] == "change_in_land_ice_mass"
    assert product["mass_change_uncertainty"].attrs["standard_name"] == "change_in_land_ice_mass standard_error"
    assert "standard_name" not in product["mass_balance"].attrs
    assert product["mass_balance"].attrs["units"] == "m"
    gigatonnes = meta_of("mass_change_gt", "region")
    assert (gigatonnes.units, gigatonnes.standard_name) == ("Gt", "change_in_land_ice_mass")


@pytest.mark.parametrize(
    ("name", "level", "quantile"),
    [("mass_balance_lower_50", 0.5, 0.25), ("mass_balance_upper_90", 0.9, 0.95), ("mass_balance_lower_90", 0.9, 0.05)],
)
def test_the_level_of_an_interval_is_an_attribute(product, name, level, quantile):
    assert product[name].attrs["interval_level"] == level
    assert product[name].attrs["quantile"] == pytest.approx(quantile)


def test_flags_have_a_meaning_for_each_value_in_their_own_type(product):
    flags = [n for n, v in product.variables.items() if "flag_meanings" in v.attrs]
    assert {"applicable", "albedo_kind", "measured", "observed_period", "nearest_land"} == set(flags)
    for name in flags:
        attrs = product[name].attrs
        assert len(attrs["flag_values"]) == len(attrs["flag_meanings"].split())
        assert attrs["flag_values"].dtype == product[name].dtype
        assert set(np.unique(product[name])) <= set(attrs["flag_values"])


def test_what_names_say():
    assert quantity("cumulative_mass_change_gt_uncertainty").units == "Gt"
    assert quantity("cumulative_mass_change").standard_name == "change_in_land_ice_mass"
    assert "if glaciers erred independently" in quantity("mass_change_uncertainty_independent").long_name
    assert quantity("something_else") is None
    assert quantity("mass_balance_lower_0") is None
    assert quantity("cumulative_nothing") is None


def test_ancillary_variables_are_those_that_are_there(toys):
    bare = toys.product().drop_vars("applicable")
    named = describe(bare, kind="glacier")["mass_balance"].attrs["ancillary_variables"].split()
    assert named == ["mass_balance_uncertainty", "measured", "observed_period", "albedo_kind"]


def test_values_are_left_alone_and_so_is_the_dataset_given(toys):
    given = toys.product()
    before = given.copy(deep=True)
    made = describe(given, kind="glacier", title="t")
    xr.testing.assert_equal(made, given)
    xr.testing.assert_identical(given, before)


def test_describing_twice_changes_nothing(product):
    xr.testing.assert_identical(describe(product, kind="glacier"), product)


def test_extents_come_from_the_data(product):
    attrs = product.attrs
    assert attrs["geospatial_lat_min"] == product["latitude"].values.min()
    assert attrs["geospatial_lon_max"] == product["longitude"].values.max()
    assert attrs["time_coverage_start"] == "2000-10-01"
    assert attrs["time_coverage_end"] == "2006-10-01"
    assert attrs["time_coverage_duration"] == "P6Y"
    later = describe(product.isel(year=slice(2, 4)), kind="glacier").attrs
    assert (later["time_coverage_start"], later["time_coverage_end"]) == ("2002-10-01", "2004-10-01")


def test_extents_of_years_that_differ_hold_all(toys):
    attrs = describe(toys.product(firsts=(10, 4)), kind="glacier").attrs
    assert (attrs["time_coverage_start"], attrs["time_coverage_duration"]) == ("2000-04-01", "P6Y6M")


def test_a_single_place_is_a_point(toys):
    assert describe(toys.product(glaciers=1), kind="glacier").attrs["geospatial_bounds"].startswith("POINT")


def test_global_attributes_given_and_by_default(product, toys):
    assert product.attrs["Conventions"] == "CF-1.11, ACDD-1.3"
    assert product.attrs["license"] == LICENSE
    assert "CC-BY-4.0" in LICENSE
    assert product.attrs["institution"] == "an institution"
    assert not [n for n in product.attrs if n.startswith("date_")]
    own = describe(
        toys.product().assign_attrs(configuration="alps", source="model x"),
        kind="glacier", license="CC0-1.0", date_created="2025-01-31", creator_name="A. Author", citation="Author, 2025",
    )  # fmt: skip
    for name, text in {"license": "CC0-1.0", "date_created": "2025-01-31", "configuration": "alps"}.items():
        assert own.attrs[name] == text
    assert own.attrs["source"] == "model x"


@pytest.mark.parametrize("text", ["made in /home/me/run", "from /tmp/x.nc", "C:\\data\\x", "in:/Users/me/x"])
def test_paths_of_a_machine_are_refused(toys, text):
    with pytest.raises(InputError, match="same on every machine"):
        describe(toys.product(), kind="glacier", history=text)


@pytest.mark.parametrize("text", ["see https://example.org/data/x", "kg/m", "1/2", "https://x.org/home/me"])
def test_addresses_are_no_paths(toys, text):
    assert describe(toys.product(), kind="glacier", comment=text).attrs["comment"] == text


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ds: describe(ds, kind="basin"), "glacier, region, grid"),
        (lambda ds: describe(ds, kind="glacier", tilte="t"), "tilte"),
        (lambda ds: describe(ds, kind="glacier", date_created="yesterday"), "yesterday"),
        (lambda ds: describe(ds.assign(odd=("glacier", np.zeros(5))), kind="glacier"), "product: odd"),
        (
            lambda ds: describe(ds.assign(mass_balance=ds["mass_balance"].assign_attrs(units="mm")), kind="glacier"),
            "units 'm'",
        ),
    ],
)
def test_what_is_not_known_is_refused(toys, call, message):
    with pytest.raises(InputError, match=message):
        call(toys.product())


def test_a_variable_of_the_callers_own_keeps_its_attributes(toys):
    own = ("glacier", np.zeros(5), {"long_name": "thickness", "units": "m"})
    made = describe(toys.product().assign(thickness=own), kind="glacier")
    assert made["thickness"].attrs["long_name"] == "thickness"


def test_equal_content_gives_equal_bytes(toys, tmp_path):
    for name in "ab":
        made = describe(with_mass_units(toys.product(draws=2)), kind="glacier", history="made from x")
        write_netcdf(made, tmp_path / f"{name}.nc")
    assert (tmp_path / "a.nc").read_bytes() == (tmp_path / "b.nc").read_bytes()


def test_a_product_opens_in_xarray_cf_xarray_and_the_library(product, tmp_path):
    write_netcdf(product, tmp_path / "p.nc")
    with xr.open_dataset(tmp_path / "p.nc", decode_coords="all") as ds:
        assert {"time_bnds", "longitude", "latitude", "glacier_id"} <= set(ds.coords)
        assert ds.cf["time"].name == "time"
        assert ds.cf.bounds["time"] == ["time_bnds"]
        assert ds.cf.cf_roles == {"timeseries_id": ["glacier_id"]}
        assert ds.cf["change_in_land_ice_mass"].name == "mass_change"
        assert ds.cf["mass_balance"].cf["latitude"].dims == ("glacier",)
        np.testing.assert_array_equal(ds["mass_change"].values, product["mass_change"].values)
        assert (ds["applicable"].cf == "inside_area_of_applicability").sum() == int(product["applicable"].sum())
    with netCDF4.Dataset(tmp_path / "p.nc") as file:
        assert not set(file["time_bnds"].ncattrs()) & {"units", "calendar", "_FillValue"}
        assert file["mass_balance"].coordinates.split() == ["glacier_id", "latitude", "longitude", "time"]


def test_every_kind_knows_its_coordinates():
    for kind in KINDS:
        assert meta_of("time", kind).standard_name == "time"
    assert len(ABOUT) == len(set(ABOUT))


def test_an_empty_text_leaves_an_attribute_out_and_none_takes_the_default(toys):
    made = with_mass_units(toys.product())
    assert describe(made, kind="glacier").attrs["license"] == LICENSE
    without = describe(made, kind="glacier", license="", keywords="").attrs
    assert {"license", "keywords"} & set(without) == set()
    assert without["processing_level"] == "L4"
    assert "license" not in describe(made.assign_attrs(license="old"), kind="glacier", license="").attrs


def test_the_configuration_tells_an_empty_text_from_none(tmp_path):
    from glacmb_grid.settings import Metadata
    from glacmb_grid.workflow.table import table

    made = Metadata(license="", creator_name="A")
    assert made.license == ""
    assert made.keywords is None
    config = load_config("configs/demo.yaml", [f"store.root={tmp_path}", "product.metadata={license: ''}"])
    stage = next(s for s in table(config) if s.name == "products")
    assert stage.options["metadata"].given == {"license": ""}


def test_a_product_says_how_it_is_to_be_read(product, toys):
    signed = ("mass_balance", "mass_change_amount", "mass_change")
    assert all("negative where it is lost" in product[n].attrs["comment"] for n in signed)
    assert "each realization" in product["mass_balance_realizations"].attrs["comment"]
    assert "out of fold" in product["measured"].attrs["comment"]
    assert "interval_90" in product["mass_balance_lower_90"].attrs["comment"]
    assert "units" not in product["year"].attrs  # else every axis reads "[1]"
    for kind, made in (("glacier", product), ("region", describe(toys.regional(), kind="region"))):
        assert "negative where it is lost" in made.attrs["comment"], kind
    own = describe(toys.product(), kind="glacier", comment="mine")
    assert own.attrs["comment"] == "mine"
    assert "comment" not in describe(toys.product(), kind="glacier", comment="").attrs


def test_units_in_an_earlier_spelling_are_taken(toys):
    made = describe(toys.regional(), kind="region")
    old = made.copy()
    old["mass_change_gt"].attrs["units"] = "1e12 kg"
    old["year"].attrs["units"] = "1"
    xr.testing.assert_identical(describe(old, kind="region"), made)


@pytest.mark.parametrize("kind", KINDS)
def test_units_have_no_factor(kind):
    """UDUNITS reads '1e12 kg', pint refuses it."""
    names = ["mass_change_gt", "cumulative_mass_change_gt", "mass_change_gt_uncertainty", "mass_change_gt_covariance"]
    known = [
        m for n in [*names, "mass_change", "area", "cell_area", "mass_flux"] if (m := meta_of(n, kind)) is not None
    ]
    assert known
    assert not [m.units for m in known if m.units[:1].isdigit() and m.units != "1"]
