"""Definitions as objects and as YAML become what the gateway takes; what is wrong is told with its place."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import featureloft as fl
from featureloft.definitions import duration, gather, read_yaml
from featureloft.store import source_file

AIRPORT = fl.Entity("airport", {"origin": "string"}, owner="ops@example.org")


def yaml_of(folder: Path, text: str) -> Any:
    file = folder / "x.features.yaml"
    file.write_text(text, encoding="utf-8")
    return read_yaml(file)


def test_objects_become_a_document_with_their_entity_once() -> None:
    views = [
        fl.View(
            name,
            AIRPORT,
            [fl.Feature("temp", "float64", "in °F", tags=["raw"], rules=[{"range": [-100, 200], "on": "warn"}])],
            ttl=timedelta(hours=3),
        )
        for name in ("weather", "forecast")
    ]
    service = fl.Service("model", ["weather:temp"])
    assert gather([*views, service]).wire == {
        "entities": [{"name": "airport", "keys": {"origin": "string"}, "owner": "ops@example.org"}],
        "views": [
            {
                "name": name,
                "entity": "airport",
                "ttl": "3h",
                "features": {
                    "temp": {
                        "type": "float64",
                        "description": "in °F",
                        "tags": ["raw"],
                        "rules": [{"range": [-100, 200], "on": "warn"}],
                    }
                },
            }
            for name in ("weather", "forecast")
        ],
        "services": [{"name": "model", "features": ["weather:temp"]}],
    }


def test_features_may_be_a_mapping_of_types() -> None:
    wire = gather(fl.View("weather", "airport", {"temp": "float64"})).wire
    assert wire["views"] == [{"name": "weather", "entity": "airport", "features": {"temp": "float64"}}]


def test_a_feature_named_twice_is_refused() -> None:
    twice = [fl.Feature("temp", "float64"), fl.Feature("temp", "int32")]
    with pytest.raises(fl.LoftError, match="twice"):
        gather(fl.View("weather", "airport", twice))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(days=2), "2d"),
        (timedelta(hours=36), "36h"),
        (timedelta(minutes=90), "90m"),
        (timedelta(seconds=1), "1s"),
        (timedelta(0), "0s"),
        ("3h", "3h"),
        (None, None),
    ],
)
def test_a_duration_is_written_in_its_largest_unit(value: Any, text: str | None) -> None:
    assert duration(value) == text


@pytest.mark.parametrize("value", [timedelta(milliseconds=1), timedelta(seconds=-1)])
def test_a_duration_that_is_no_whole_seconds_is_refused(value: timedelta) -> None:
    with pytest.raises(fl.LoftError, match="whole number of seconds"):
        duration(value)


def test_yaml_is_read_by_the_rules_of_1_2(tmp_path: Path) -> None:
    document = yaml_of(
        tmp_path,
        "rules: [{ on: warn, off: no, y: yes }]\n"
        "1: one\ntrue: flag\n"
        "day: 2013-01-01\nclock: 1:30\nbig: 9007199254740993\noctal: 0o17\nhex: 0xff\nten: 010\nfloat: 1e3\n"
        "none: ~\nempty:\n<<: merged\n",
    )
    assert document == {
        "rules": [{"on": "warn", "off": "no", "y": "yes"}],
        "1": "one",
        "true": "flag",
        "day": "2013-01-01",
        "clock": "1:30",
        "big": 2**53 + 1,
        "octal": 15,
        "hex": 255,
        "ten": 10,
        "float": 1000.0,
        "none": None,
        "empty": None,
        "<<": "merged",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("views: [", r"x\.features\.yaml:1:\d+"),
        ("a: 1\na: 2\n", r"x\.features\.yaml:2:1: the key a is written twice"),
        ("a: !!python/object/apply:os.system [echo]", "could not determine a constructor"),
        ("a: !!timestamp 2013-01-01", "could not determine a constructor"),
        ("? [1]\n: 2", "a key is not plain text"),
        ("a: &a [*a]", "recursive"),
        ("\ta: 1", "cannot start any token"),
    ],
)
def test_bad_yaml_is_told_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(fl.LoftError, match=words) as caught:
        yaml_of(tmp_path, text)
    assert caught.value.code == "bad_definition"


def test_a_bomb_of_aliases_is_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(fl.LoftError, match="aliases are expanded"):
        yaml_of(tmp_path, "\n".join(lines))


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(fl.LoftError, match="nested too deeply"):
        yaml_of(tmp_path, "[" * 20_000)


def test_a_missing_file_and_what_is_no_definition_are_refused(tmp_path: Path) -> None:
    with pytest.raises(fl.LoftError, match="There is no file"):
        gather(tmp_path / "none.features.yaml")
    (tmp_path / "list.features.yaml").write_text("[1]")
    with pytest.raises(fl.LoftError, match="expected a mapping"):
        gather(tmp_path / "list.features.yaml")
    with pytest.raises(fl.LoftError, match="expected a path"):
        gather(7)  # type: ignore[arg-type]


def test_a_source_file_is_found_beside_its_definition_and_nowhere_else(tmp_path: Path) -> None:
    folder = tmp_path / "definitions"
    folder.mkdir()
    (folder / "weather.csv").write_text("x")
    (tmp_path / "secret.csv").write_text("x")
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    assert source_file(folder, "weather.csv") == (folder / "weather.csv").resolve()
    for outside in ("../secret.csv", str(tmp_path / "secret.csv"), "link.csv"):
        with pytest.raises(fl.LoftError, match="expected a file inside"):
            source_file(folder, outside)
    with pytest.raises(fl.LoftError, match="there is no file"):
        source_file(folder, "none.csv")
