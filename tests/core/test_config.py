import contextlib
import dataclasses
import datetime
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from idaq.core.config import canonical_json, config, from_mapping, json_schema, override, read_toml, to_mapping
from idaq.core.errors import ConfigError


@config
class Wheel:
    radius: Annotated[float, Field(gt=0)] = 1.0
    tyre: str = "rubber"


@config
class Engine:
    power: int


@config
class Car:
    name: str
    wheels: list[Wheel] = Field(default_factory=list)
    spare: Wheel | None = None
    drive: Annotated[Wheel | Engine, Field()] = Field(default_factory=Wheel)
    parts: dict[str, Wheel] = Field(default_factory=dict)
    kind: Literal["red", "blue"] = "red"


def test_a_config_is_frozen_and_takes_its_fields_by_name_only() -> None:
    wheel = Wheel(radius=2)
    assert wheel == Wheel(radius=2.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        wheel.radius = 3.0  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Unexpected positional argument"):
        Wheel(2.0)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("mapping", "place", "hint"),
    [
        ({"nmae": "a"}, "nmae", "did you mean 'name'?"),
        ({"name": "a", "wheels": [{}, {"radios": 1}]}, "wheels.1.radios", "did you mean 'radius'?"),
        ({"name": "a", "spare": {"tire": "x"}}, "spare.tire", "did you mean 'tyre'?"),
        ({"name": "a", "parts": {"left": {"tyr": "x"}}}, "parts.left.tyr", "did you mean 'tyre'?"),
        ({"name": "a", "parts": {"tyre": {"tyr": "x"}}}, "parts.tyre.tyr", "did you mean 'tyre'?"),
        ({"name": "a", "wheels": [{"zzz": 1}]}, "wheels.0.zzz", "one of: radius, tyre"),
    ],
)
def test_an_unknown_field_is_named_with_its_place_and_the_nearest_fields_there(
    mapping: dict[str, Any], place: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        from_mapping(Car, mapping, where="car.toml")
    assert caught.value.message.startswith("car.toml: ")
    assert f"{place}: there is no such field" in caught.value.message
    assert caught.value.hint == hint


def test_an_unknown_field_of_a_union_is_answered_with_a_field_of_one_of_its_members() -> None:
    with pytest.raises(ConfigError) as caught:
        from_mapping(Car, {"name": "a", "drive": {"powr": 3}}, where="car")
    assert caught.value.hint == "did you mean 'power'?"


@pytest.mark.parametrize(
    ("mapping", "text"),
    [
        ({"name": 3}, "car: name: Input should be a valid string (got 3)"),
        ({}, "car: name: Field required (got {})"),
        ({"name": "a", "kind": "green"}, "car: kind: Input should be 'red' or 'blue' (got 'green')"),
        ({"name": "a", "wheels": [{"radius": 0}]}, "car: wheels.0.radius: Input should be greater than 0 (got 0)"),
        ({"name": "a", "wheels": [{"radius": float("nan")}]}, "should be a finite number"),
        ({"name": "a", "wheels": [{"radius": float("inf")}]}, "should be a finite number"),
        ({"name": "a", "spare": "x" * 100}, "(got 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...)"),
        ("text", "(top): "),
        ([], "(top): "),
    ],
)
def test_a_wrong_value_is_named_with_its_place_the_rule_and_what_was_got(mapping: object, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_mapping(Car, mapping, where="car")
    assert text in caught.value.message


@pytest.mark.parametrize("power", ["3", True, 3.0])
def test_a_strict_document_takes_no_value_of_another_json_type(power: object) -> None:
    assert from_mapping(Engine, {"power": power}, where="x").power in (1, 3)
    with pytest.raises(ConfigError, match="valid integer"):
        from_mapping(Engine, {"power": power}, where="x", strict=True)


CAR_SCHEMA = jsonschema.Draft202012Validator(json_schema(Car))
cars = st.builds(
    Car,
    name=st.text(),
    wheels=st.lists(st.builds(Wheel, radius=st.floats(0.1, 1e300), tyre=st.text())),
    parts=st.dictionaries(st.text(), st.builds(Wheel)),
)


@given(cars)
def test_plain_data_of_a_config_builds_it_again(car: Car) -> None:
    assert from_mapping(Car, to_mapping(car), where="x") == car
    assert from_mapping(Car, to_mapping(car), where="x", strict=True) == car


@given(cars)
def test_plain_data_of_a_config_meets_its_json_schema(car: Car) -> None:
    CAR_SCHEMA.validate(to_mapping(car))


def test_the_json_schema_is_a_schema_and_refuses_what_the_config_refuses() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema(Car))
    with pytest.raises(jsonschema.ValidationError, match="Additional properties"):
        CAR_SCHEMA.validate({"name": "a", "nmae": "b"})


def test_canonical_json_is_one_text_for_one_value() -> None:
    assert canonical_json({"b": [1, 2.5], "a": "ü"}) == '{"a":"ü","b":[1,2.5]}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))


BASE = {"seed": 1, "train": {"lr": 0.1}, "behaviours": [{"name": "expert", "noise": 0.5}, {"name": "random"}]}


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("seed=2", ("seed",), 2),
        (" seed = 2", ("seed",), 2),
        ("train.lr=1e-3", ("train", "lr"), 0.001),
        ("train.new.deep=true", ("train", "new", "deep"), True),
        ("train.sizes=[1, 2]", ("train", "sizes"), [1, 2]),
        ('seed="2"', ("seed",), "2"),
        ("seed=two words", ("seed",), "two words"),
        ("seed=", ("seed",), ""),
        ("seed=a=b", ("seed",), "a=b"),
        ("seed=1\nother = 2", ("seed",), "1\nother = 2"),
        ("train.day=2020-01-01", ("train", "day"), datetime.date(2020, 1, 1)),
        ("behaviours.0.noise=1", ("behaviours", 0, "noise"), 1),
        ("behaviours.random.noise=1", ("behaviours", 1, "noise"), 1),
        ("behaviours.1={}", ("behaviours", 1), {}),
    ],
)
def test_a_setting_changes_one_value_and_leaves_the_original_alone(setting: str, path: tuple, value: object) -> None:
    before = canonical_json(BASE)
    node: Any = override(BASE, [setting])
    for part in path:
        node = node[part]
    assert node == value
    assert type(node) is type(value)
    assert canonical_json(BASE) == before


def test_later_settings_win_and_dates_survive_earlier_ones() -> None:
    assert override(BASE, ["seed=2", "seed=3"])["seed"] == 3
    day = datetime.date(2020, 1, 1)
    assert override({"day": day}, ["seed=3"]) == {"day": day, "seed": 3}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("seed", "--set 'seed' is not of the form key=value"),
        ("=3", "--set '=3' is not of the form key=value"),
        ("seed.x=1", "--set 'seed.x=1': seed is a value, it has no 'x'"),
        ("seed.x.y=1", "--set 'seed.x.y=1': nothing lies below a plain value at 'x'"),
        ("behaviours.2.noise=1", "--set 'behaviours.2.noise=1': no item '2'"),
        ("behaviours.-1.noise=1", "no item '-1'"),
        ("behaviours.².noise=1", "no item '²'"),
        (f"behaviours.{'9' * 5000}=1", "no item"),
        ("behaviours.exprt=1", "no item 'exprt'"),
    ],
)
def test_a_setting_that_fits_nowhere_is_refused_by_name(setting: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        override(BASE, [setting])
    assert message in caught.value.message


def test_a_setting_of_an_unknown_item_is_answered_with_the_items() -> None:
    with pytest.raises(ConfigError) as caught:
        override(BASE, ["behaviours.exprt=1"])
    assert caught.value.hint == "an index below 2 or one of ['expert', 'random']"


@given(st.text(), st.text())
def test_any_setting_either_applies_or_raises_a_config_error(key: str, value: str) -> None:
    with contextlib.suppress(ConfigError):
        assert set(override(BASE, [f"{key}={value}"])) >= set(BASE)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"a = \n", "Invalid value (at line 1, column 5)"),
        (b"a = 1\na = 2\n", "Cannot overwrite a value (at line 2, column 6)"),
        (b"\xff", "can't decode byte 0xff"),
        (b"a = " + b"[" * 5000, "nested too deeply"),
    ],
)
def test_a_broken_toml_file_is_named_with_what_is_wrong(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"recipe.toml is not TOML: .*{re.escape(text)}"):
        read_toml(path)


def test_a_missing_toml_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.toml is missing"):
        read_toml(tmp_path / "none.toml")
