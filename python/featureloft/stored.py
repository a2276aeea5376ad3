"""Stored data that notebooks read: datasets and training sets. Rows come as the stored Parquet file's own bytes."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from .connection import LONG_SECONDS, PARQUET, Connection, path_of
from .errors import LoftError
from .frames import need, read_parquet, to_pandas

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import polars as pl


@dataclass(frozen=True)
class StoredFile:
    """A Parquet file of the store. `file` is relative to the data folder, with `/`."""

    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Table(ABC):
    """Rows that the store keeps. Each `to_…` downloads them anew; keep the result rather than call it twice."""

    name: str
    version: int
    rows: int
    columns: Mapping[str, str]
    """Name → type, in order."""
    files: tuple[StoredFile, ...]
    info: Mapping[str, Any] = field(repr=False)
    """All that the gateway says about it."""
    _connection: Connection = field(repr=False, compare=False)

    def to_arrow(self) -> pa.Table:
        return read_parquet(self._download())

    def to_pandas(self, *, arrow_types: bool = False) -> pd.DataFrame:
        """A pandas frame.

        Integers and booleans with nulls take pandas' nullable types (Int64, boolean), never floats; in float columns a
        null is NaN, as pandas has it. With `arrow_types` every column keeps its Arrow type, and nulls differ from NaN.
        """
        return to_pandas(self.to_arrow(), arrow_types)

    def to_polars(self) -> pl.DataFrame:
        return need("polars").from_arrow(self.to_arrow())

    def to_duckdb(self, connection: duckdb.DuckDBPyConnection | None = None) -> duckdb.DuckDBPyRelation:
        """A DuckDB relation over the downloaded rows, in `connection` or in DuckDB's default one."""
        return (connection or need("duckdb")).from_arrow(self.to_arrow())

    to_df = to_pandas

    @abstractmethod
    def _download(self) -> bytes:
        """The Parquet file's bytes."""


@dataclass(frozen=True)
class Dataset(Table):
    """One version of an uploaded dataset. `sha256` is the hash of its rows' content, not of a file."""

    sha256: str = ""

    @classmethod
    def of(cls, info: Mapping[str, Any], connection: Connection) -> Dataset:
        return cls(**_common(info, connection), sha256=info["sha256"])

    def _download(self) -> bytes:
        path = path_of("datasets", self.name, "data")
        headers = {"Accept": PARQUET}
        return self._connection.get(path, {"version": self.version}, headers=headers, seconds=LONG_SECONDS).body


@dataclass(frozen=True)
class TrainingSet(Table):
    """One version of a training set: the spine's columns, then the features as asked. It never changes.

    `id` is the SHA-256 of all that it was made from and of its content: the same inputs give the same id.
    """

    id: str = ""
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, info: Mapping[str, Any], connection: Connection) -> TrainingSet:
        return cls(**_common(info, connection), id=info["id"], warnings=tuple(info["warnings"]))

    @property
    def labels(self) -> list[str]:
        """The spine's columns that were named as labels."""
        return list(self.info["recipe"]["spine"]["labels"])

    @property
    def event_timestamp(self) -> str:
        """The spine's column of the times that the features were joined at."""
        return str(self.info["recipe"]["spine"]["eventTimestamp"])

    @property
    def features(self) -> list[str]:
        """References with versions, in the order of the last columns."""
        return list(self.info["recipe"]["features"])

    def verify(self) -> None:
        """Downloads the file and compares it with the SHA-256 of the day it was made.

        Raises LoftError `training_set_changed` when it is not the same byte for byte.
        """
        found = hashlib.sha256(self._download()).hexdigest()
        expected = self.files[0].sha256
        if found != expected:
            words = f"Training set {self.name} v{self.version} ({self.files[0].file}) is not what was built:"
            raise LoftError("training_set_changed", f"{words} found SHA-256 {found}, expected {expected}.")

    def _download(self) -> bytes:
        path = path_of("training-sets", self.name, self.version, "data")
        return self._connection.get(path, headers={"Accept": PARQUET}, seconds=LONG_SECONDS).body


@dataclass(frozen=True)
class TrainingSetPlan:
    """What a training set would be: its rows, columns (name → type) and features with their versions."""

    rows: int
    columns: Mapping[str, str]
    features: tuple[str, ...]
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> TrainingSetPlan:
        columns = {column["name"]: column["type"] for column in info["columns"]}
        return cls(info["rows"], columns, tuple(info["features"]), tuple(info["warnings"]))


def _common(info: Mapping[str, Any], connection: Connection) -> dict[str, Any]:
    return {
        "name": info["name"],
        "version": info["version"],
        "rows": info["rows"],
        "columns": {column["name"]: column["type"] for column in info["columns"]},
        "files": tuple(StoredFile(one["file"], one["sha256"], one["bytes"]) for one in info["files"]),
        "info": info,
        "_connection": connection,
    }
