"""The store as a notebook uses it: one object, over one gateway."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa

from .connection import LONG_SECONDS, PARQUET, Connection, path_of
from .definitions import Definitions, Entity, Feature, View, gather
from .discovery import Address, default_data_folder, find_gateway
from .errors import LoftError
from .frames import need, to_parquet, to_table
from .jobs import Job
from .online import FeatureTypes, OnlineResult, pages, read_online
from .stored import Dataset, TrainingSet, TrainingSetPlan
from .value_types import to_json, type_of_arrow

if TYPE_CHECKING:
    import pandas as pd

MAX_NAME = 48
FORMATS = {
    ".csv": "text/csv",
    ".parquet": PARQUET,
    ".ndjson": "application/x-ndjson",
    ".jsonl": "application/x-ndjson",
}


def connect(url: str | None = None, token: str | None = None, data: str | PathLike[str] | None = None) -> Store:
    """Connects to a gateway that runs.

    Without arguments, to the one of the default data folder (FEATURELOFT_DATA, else the platform's folder for
    application data); with `data`, to the one of that folder; with `url` and `token`, to any. Before the token is
    sent, the gateway must prove that it knows it.

    Raises LoftError: `no_gateway`, `gateway_unreachable`, `gateway_unproven`.
    """
    if url is not None:
        if token is None or not re.fullmatch(r"[!-~]{1,512}", token):
            raise LoftError(
                "no_token", "A url needs its token: connect(url=…, token=…), printable ASCII without spaces."
            )
        if not re.match(r"https?://[^/]", url):
            raise LoftError("bad_url", f"Found {url!r}, expected one such as http://127.0.0.1:4711.")
        return Store(Connection(Address(url, token)))
    if token is not None:
        raise LoftError(
            "no_url", "A token needs its url: connect(url=…, token=…). A data folder's gateway has its own."
        )
    folder = default_data_folder() if data is None else Path(data)
    return Store(Connection(find_gateway(folder), lambda: find_gateway(folder)))


@dataclass(frozen=True)
class Plan:
    """What a publish would change. `changes` are as the gateway tells them; `publish(plan=…)` does just that."""

    plan_hash: str
    registry_version: int
    changes: tuple[dict[str, Any], ...]

    @property
    def is_harmless(self) -> bool:
        """True when nothing breaks and nothing is removed: such a plan is published without being asked for."""
        return all(change["class"] != "breaking" and change["action"] != "remove" for change in self.changes)

    def __str__(self) -> str:
        return "\n".join(describe_change(change) for change in self.changes) or "nothing changes"


@dataclass(frozen=True)
class WriteResult:
    """How many rows of a batch were stored, were older than what stands, were refused, or broke a warning rule."""

    written: int
    superseded: int
    rejected: int
    warned: int
    problems: tuple[dict[str, Any], ...] = ()

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> WriteResult:
        counts = (answer["written"], answer["superseded"], answer["rejected"], answer["warned"])
        return cls(*counts, tuple(answer.get("problems", ())))


@dataclass(frozen=True)
class Published:
    """What was published. `datasets` are the uploaded files, `rows` what was loaded from them, both by view."""

    registry_version: int
    changes: tuple[dict[str, Any], ...]
    datasets: Mapping[str, Dataset] = field(default_factory=dict)
    rows: Mapping[str, WriteResult] = field(default_factory=dict)

    def __str__(self) -> str:
        return "\n".join(describe_change(change) for change in self.changes) or "nothing changed"


@dataclass(frozen=True)
class Hit:
    """A feature that a search found. `terms` are the words that it was found by."""

    ref: str
    score: float
    terms: tuple[str, ...]
    view: str
    entity: str
    type: str
    description: str | None
    owner: str | None
    tags: tuple[str, ...]


class Hits(Sequence[Hit]):
    """The best hits first; `total` counts those that were left out too."""

    def __init__(self, hits: Sequence[Hit], total: int, took_ms: float) -> None:
        self._hits = tuple(hits)
        self.total = total
        self.took_ms = took_ms

    def __getitem__(self, index: Any) -> Any:
        return self._hits[index]

    def __len__(self) -> int:
        return len(self._hits)

    @property
    def refs(self) -> list[str]:
        return [hit.ref for hit in self._hits]

    def to_pandas(self) -> pd.DataFrame:
        columns = list(Hit.__dataclass_fields__)
        return need("pandas").DataFrame(
            [[getattr(hit, name) for name in columns] for hit in self._hits], columns=columns
        )

    def __repr__(self) -> str:
        lines = [f"{hit.ref} ({hit.type}): {hit.description or ''}".rstrip(": ") for hit in self._hits]
        return "\n".join([f"<{len(self._hits)} of {self.total} hits>", *lines])


class Store:
    """The features, datasets and training sets of one store. Made by `connect`; closed by `close` or a `with` block.

    Every method raises LoftError: the gateway's own refusal with its code and problems, or why it could not be asked.
    May be used by several threads.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._types = FeatureTypes(connection)

    @property
    def url(self) -> str:
        return self._connection.address.url

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<featureloft.Store at {self.url}>"

    def health(self) -> dict[str, Any]:
        """The gateway's version, and the state of its stores, outbox and search."""
        return self._connection.get("/v1/health").json()

    # --- features ---

    def search(
        self,
        query: str,
        *,
        limit: int = 20,
        entity: str | None = None,
        owner: str | None = None,
        tag: str | None = None,
        type: str | None = None,
    ) -> Hits:
        """Features by name, description, tag or owner, the best first."""
        asked = {"q": query, "limit": limit, "entity": entity, "owner": owner, "tag": tag, "type": type}
        answer = self._connection.get("/v1/search", asked).json()
        hits = [
            Hit(
                hit["ref"],
                hit["score"],
                tuple(hit["terms"]),
                hit["view"],
                hit["entity"],
                hit["type"],
                hit.get("description"),
                hit.get("owner"),
                tuple(hit.get("tags", ())),
            )
            for hit in answer["hits"]
        ]
        return Hits(hits, answer["total"], answer["tookMs"])

    def view(self, name: str) -> dict[str, Any]:
        """A view's definition, versions, freshness and lineage; `name` may be pinned, as in `airport_weather@v2`."""
        return self._connection.get(path_of("views", name)).json()

    def plan(
        self,
        definitions: Definitions,
        *,
        remove: Sequence[str] = (),
        promote: bool | Mapping[str, Sequence[str]] | None = None,
    ) -> Plan:
        """What `publish` of the same would change; nothing is changed and no file uploaded."""
        wire, _ = self._sources(definitions)
        return self._plan(_request(wire, remove, promote))

    def publish(
        self,
        definitions: Definitions,
        *,
        plan_only: bool = False,
        plan: Plan | None = None,
        remove: Sequence[str] = (),
        promote: bool | Mapping[str, Sequence[str]] | None = None,
        force: bool = False,
        load: bool = True,
    ) -> Plan | Published:
        """Publishes definitions, all of them or none.

        `definitions` is the path of a `*.features.yaml`, or objects (Entity, View, Service), or mappings, or a list
        of these. A view's `source.file` is uploaded as a dataset, of the view's name, and its rows are loaded
        (unless `load` is false, or the dataset stands already with the same rows and the view is unchanged).

        A breaking or removing change is refused with `plan_required` unless its `plan` is passed: get it with
        `plan_only=True`, look at it, and pass it. The registry having moved since is a 409 that carries the new plan.
        """
        wire, files = self._sources(definitions)
        request = _request(wire, remove, promote)
        # A plan first: what is wrong with the definitions is known before anything is uploaded.
        planned = self._plan(request)
        if plan_only:
            return planned
        datasets = {view: self._upload_once(view, file) for view, file in files.items()}
        answer = self._publish(request | ({"force": True} if force else {}), planned, plan)
        changed = {
            change["name"].partition(":")[0] for change in answer["changes"] if change["kind"] in ("view", "feature")
        }
        rows = {
            view: self.load(view, dataset)
            for view, (dataset, is_new) in datasets.items()
            if load and (is_new or view in changed or self.view(view)["state"]["rows"] == 0)
        }
        stored = {view: dataset for view, (dataset, _) in datasets.items()}
        return Published(answer["registryVersion"], tuple(answer["changes"]), stored, rows)

    def publish_frame(
        self,
        view: str,
        data: Any,
        *,
        keys: str | Sequence[str] = (),
        entity: str | None = None,
        event_timestamp: str = "event_timestamp",
        created_timestamp: str | None = None,
        types: Mapping[str, str] | None = None,
        descriptions: Mapping[str, str] | None = None,
        ttl: str | None = None,
        freshness: str | None = None,
        description: str | None = None,
        owner: str | None = None,
        tags: Sequence[str] = (),
    ) -> Published:
        """Publishes a data frame as a view, and writes its rows.

        `keys` names the columns that identify the entity, and `event_timestamp` the column with the time at which a
        row was true (with zone). All other columns become features, their types taken from the frame unless `types`
        names them. An `entity` that stands gives its keys; else it is published with them, by the name given or after
        the view.
        """
        table = to_table(data)
        known = None if entity is None else self._entity(entity)
        key_names = [keys] if isinstance(keys, str) else list(keys)
        if not key_names and known is not None:
            key_names = list(known)
        if not key_names:
            raise LoftError("no_keys", "Name the columns that identify the entity: keys=[…], or an entity that stands.")
        _demand_columns(table, [*key_names, event_timestamp, *([created_timestamp] if created_timestamp else [])])
        times = {event_timestamp: "event_timestamp"}
        if created_timestamp is not None:
            times[created_timestamp] = "created_timestamp"
        given = dict(types or {})
        _demand_columns(table, list(given))
        type_of = {
            name: given.get(name) or type_of_arrow(table.schema.field(name).type, name)
            for name in table.column_names
            if name not in times
        }
        words = descriptions or {}
        features = [Feature(name, type_of[name], words.get(name)) for name in type_of if name not in key_names]
        one = known or {name: type_of[name] for name in key_names}
        definition = View(
            view,
            entity or view if known is not None else Entity(entity or view, one),
            features,
            ttl=ttl,
            freshness=freshness,
            description=description,
            owner=owner,
            tags=tags,
        )
        published = self.publish(definition)
        assert isinstance(published, Published)
        renamed = table.rename_columns([times.get(name, name) for name in table.column_names])
        return Published(published.registry_version, published.changes, {}, {view: self.push(view, renamed)})

    # --- values ---

    def push(
        self, view: str, data: Any, *, idempotency_key: str | None = None, on_error: str = "reject"
    ) -> WriteResult:
        """Writes rows of a view; they can be read as soon as this returns, and reach history too.

        `data` is a data frame (pandas, polars, Arrow, DuckDB), a mapping of columns, or a list of rows: the keys, the
        features, `event_timestamp` and, if it is not now, `created_timestamp`. A feature left out becomes null. One
        bad row refuses the batch and lists the problems; with `on_error="skip"` the good rows are taken. A broken
        connection is tried again without writing twice; the same `idempotency_key` within a day is written once.
        """
        path = path_of("views", view, "rows")
        options: dict[str, Any] = {
            "query": {"onError": on_error},
            "seconds": LONG_SECONDS,
            "repeatable": True,
        }
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        if (
            isinstance(data, Sequence)
            and not isinstance(data, (str, bytes))
            and all(isinstance(row, Mapping) for row in data)
        ):
            answer = self._connection.post(path, {"rows": to_json(data)}, headers=headers, **options)
        else:
            body = to_parquet(to_table(data))
            answer = self._connection.request(
                "POST", path, body=body, headers={"Content-Type": PARQUET, **headers}, **options
            )
        return WriteResult.of(answer.json())

    def load(self, view: str, dataset: str | Dataset, *, version: int | None = None) -> WriteResult:
        """Writes a dataset's rows to a view, read as the view's source says."""
        name, version = (dataset.name, dataset.version) if isinstance(dataset, Dataset) else (dataset, version)
        body = {"dataset": name} if version is None else {"dataset": name, "version": version}
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        path = path_of("views", view, "rows")
        answer = self._connection.post(path, body, headers=headers, seconds=LONG_SECONDS, repeatable=True)
        return WriteResult.of(answer.json())

    def online(
        self,
        features: str | Sequence[str] | None = None,
        entities: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        *,
        service: str | None = None,
        full_names: bool = False,
        **keys: Any,
    ) -> OnlineResult:
        """The newest values of features: `store.online(["airport_weather:temp"], origin=["JFK", "LGA"])`.

        `features` are references, or the name of a service. Keys are named arguments, or `entities`: a mapping of key
        → values, or a list of rows. A single value stands for all rows. Columns are named `feature`, or
        `view__feature` with `full_names` or where two views clash.
        """
        if isinstance(features, str):
            features, service = ([features], service) if ":" in features else (None, features)
        if (features is None) == (service is None):
            raise LoftError("bad_request", "Name either features or a service.")
        columns = _key_columns(entities, keys)
        asked = {"service": service} if features is None else {"features": list(features)}
        request = {**asked, "entities": to_json(columns), "fullNames": full_names}
        answer = self._connection.post("/v1/online/get", request, repeatable=True).json()
        try:
            return read_online(answer, columns, self._types.of(features, service))
        except (ValueError, TypeError):
            # Somebody published another type since the types were asked for.
            self._types.forget()
            answer = self._connection.post("/v1/online/get", request, repeatable=True).json()
        try:
            return read_online(answer, columns, self._types.of(features, service))
        except (ValueError, TypeError) as error:
            raise LoftError("bad_answer", f"A value is not of its feature's type: {error}") from None

    # --- training data ---

    def upload(self, name: str, data: Any, *, mode: str = "replace") -> Dataset:
        """Stores a file (CSV, Parquet, JSON lines, by its ending) or a data frame as the next version of a dataset."""
        with ExitStack() as stack:
            body: bytes | BinaryIO
            if isinstance(data, (str, PathLike)):
                path = Path(data)
                content_type = FORMATS.get(path.suffix.lower())
                if content_type is None:
                    raise LoftError("bad_file", f"Found {path.name}, expected a file ending in {', '.join(FORMATS)}.")
                try:
                    body = stack.enter_context(path.open("rb"))
                except OSError as error:
                    raise LoftError("bad_file", f"{path} can't be read: {error.strerror}.") from None
            else:
                body, content_type = to_parquet(to_table(data)), PARQUET
            answer = self._connection.request(
                "POST",
                path_of("datasets", name),
                query={"mode": mode},
                body=body,
                headers={"Content-Type": content_type},
                seconds=LONG_SECONDS,
            )
        return Dataset.of(answer.json(), self._connection)

    def dataset(self, name: str, version: int | None = None) -> Dataset:
        """A version of a dataset, the newest unless said; `info` has its statistics, preview and what was inferred."""
        # Describing one that is large reads all of it.
        answer = self._connection.get(path_of("datasets", name), {"version": version}, seconds=LONG_SECONDS)
        return Dataset.of(answer.json(), self._connection)

    def datasets(self) -> list[Dataset]:
        return [Dataset.of(item, self._connection) for item in pages(self._connection, "/v1/datasets")]

    def training_set(
        self,
        name: str,
        version: int | None = None,
        *,
        spine: Any = None,
        features: str | Sequence[str] | None = None,
        service: str | None = None,
        labels: str | Sequence[str] = (),
        event_timestamp: str = "event_timestamp",
        as_known_at: bool = False,
        full_names: bool = False,
    ) -> TrainingSet:
        """Builds a training set, or fetches one that stands when no `spine` is given.

        `spine` holds the rows to train on: keys, the time `event_timestamp` and the labels. It is the name of a
        dataset, a Dataset, or a data frame (uploaded as the dataset `<name>_spine`). Every row gets the values that
        were true at its time; with `as_known_at`, only those that were known by then. The same inputs give the same
        version and id.
        """
        if spine is None:
            parts = [name] if version is None else [name, str(version)]
            return TrainingSet.of(self._connection.get(path_of("training-sets", *parts)).json(), self._connection)
        if version is not None:
            raise LoftError(
                "bad_request", "A version is of a set that stands; a set that is built from a spine gets its own."
            )
        request = self._training_request(
            name, spine, features, service, labels, event_timestamp, as_known_at, full_names
        )
        answer = self._connection.post("/v1/training-sets", request, seconds=LONG_SECONDS, repeatable=True)
        return TrainingSet.of(answer.json(), self._connection)

    def plan_training_set(
        self,
        name: str,
        *,
        spine: str | Dataset,
        features: str | Sequence[str] | None = None,
        service: str | None = None,
        labels: str | Sequence[str] = (),
        event_timestamp: str = "event_timestamp",
        as_known_at: bool = False,
        full_names: bool = False,
    ) -> TrainingSetPlan:
        """The rows, columns and versions that `training_set` of the same would give; nothing is built."""
        request = self._training_request(
            name, spine, features, service, labels, event_timestamp, as_known_at, full_names
        )
        answer = self._connection.post("/v1/training-sets", {**request, "dryRun": True}, seconds=LONG_SECONDS)
        return TrainingSetPlan.of(answer.json())

    def training_sets(self) -> list[TrainingSet]:
        return [TrainingSet.of(item, self._connection) for item in pages(self._connection, "/v1/training-sets")]

    def train(
        self,
        training_set: str | TrainingSet,
        label: str | None = None,
        *,
        version: int | None = None,
        test_fraction: float | None = None,
    ) -> Job:
        """Starts a training run: a gradient-boosted model, tested on the newest `test_fraction` of the training set.

        `label` may be left out when the set has one label. Follow it with `Job.wait`.
        """
        name, version = (
            (training_set, version) if isinstance(training_set, str) else (training_set.name, training_set.version)
        )
        asked = {"trainingSet": name, "version": version, "label": label, "testFraction": test_fraction}
        request = {"kind": "training", **{key: value for key, value in asked.items() if value is not None}}
        return Job(self._connection.post("/v1/jobs", request).json(), self._connection)

    def job(self, id: str) -> Job:
        return Job(self._connection.get(path_of("jobs", id)).json(), self._connection)

    def jobs(self) -> list[Job]:
        """All jobs, the newest first."""
        return [Job(item, self._connection) for item in pages(self._connection, "/v1/jobs")]

    def verify(self, *, incremental: bool = False) -> dict[str, Any]:
        """Re-hashes every stored byte: `checked` files, and the `bad` ones with what they belong to."""
        request = {"mode": "incremental" if incremental else "full"}
        return self._connection.post("/v1/verify", request, seconds=LONG_SECONDS, repeatable=True).json()

    # --- by the names that users of Feast know ---

    def get_online_features(
        self,
        features: str | Sequence[str],
        entity_rows: Sequence[Mapping[str, Any]],
        full_feature_names: bool = False,
    ) -> OnlineResult:
        """As `online`."""
        return self.online(features, entity_rows, full_names=full_feature_names)

    def get_historical_features(
        self,
        entity_df: Any,
        features: str | Sequence[str],
        full_feature_names: bool = False,
        *,
        name: str = "historical_features",
    ) -> TrainingSet:
        """As `training_set`, with the time in the column `event_timestamp`; the result has `to_df`."""
        return self.training_set(name, spine=entity_df, features=features, full_names=full_feature_names)

    # --- inside ---

    def _plan(self, request: dict[str, Any]) -> Plan:
        answer = self._connection.post("/v1/plan", request).json()
        return Plan(answer["planHash"], answer["registryVersion"], tuple(answer["changes"]))

    def _publish(self, request: dict[str, Any], planned: Plan, approved: Plan | None) -> dict[str, Any]:
        """Publishes what was planned. Only a plan that its user has approved may break or remove something."""
        if approved is None and not planned.changes:
            return {"registryVersion": planned.registry_version, "changes": []}
        try:
            return self._send(request, approved or (planned if planned.is_harmless else None))
        except LoftError as error:
            if error.status != 409 or approved is not None or not planned.is_harmless:
                raise
            # Somebody else published meanwhile. What we change may be untouched by it: then it is tried once more.
            again = self._plan({name: value for name, value in request.items() if name != "force"})
            if again.changes != planned.changes:
                raise
            return self._send(request, again)

    def _send(self, request: dict[str, Any], plan: Plan | None) -> dict[str, Any]:
        if plan is not None:
            request = request | {"planHash": plan.plan_hash, "registryVersion": plan.registry_version}
        answer = self._connection.post("/v1/publish", request, seconds=LONG_SECONDS, repeatable=plan is not None).json()
        self._types.forget()
        return answer

    def _sources(self, definitions: Definitions) -> tuple[dict[str, list[Any]], dict[str, Path]]:
        """The definitions with each `source.file` made the dataset of its view's name, and the files by view."""
        gathered = gather(definitions)
        files: dict[str, Path] = {}

        def with_dataset(view: Any) -> Any:
            folder = gathered.folders.get(str(view.get("name"))) if isinstance(view, Mapping) else None
            if folder is None:
                return view
            source = dict(view["source"])
            files[view["name"]] = source_file(folder, str(source.pop("file")))
            return {**view, "source": {"dataset": view["name"], **source}}

        wire = {**gathered.wire, "views": [with_dataset(view) for view in gathered.wire["views"]]}
        return wire, files

    def _upload_once(self, name: str, file: Path) -> tuple[Dataset, bool]:
        """Uploads the file; false when the dataset had the same rows already."""
        try:
            before = self.dataset(name).sha256
        except LoftError as error:
            if error.status != 404:
                raise
            before = None
        dataset = self.upload(name, file)
        return dataset, dataset.sha256 != before

    def _entity(self, name: str) -> dict[str, str] | None:
        """The keys of an entity that stands: name → type."""
        for item in pages(self._connection, "/v1/registry"):
            if item["kind"] == "entity" and item["name"] == name:
                return {key["name"]: key["type"] for key in item["keys"]}
        return None

    def _training_request(
        self,
        name: str,
        spine: Any,
        features: str | Sequence[str] | None,
        service: str | None,
        labels: str | Sequence[str],
        event_timestamp: str,
        as_known_at: bool,
        full_names: bool,
    ) -> dict[str, Any]:
        if isinstance(features, str):
            features, service = ([features], service) if ":" in features else (None, features)
        if (features is None) == (service is None):
            raise LoftError("bad_request", "Name either features or a service.")
        if not isinstance(spine, (str, Dataset)):
            spine = self.upload(f"{name[: MAX_NAME - len('_spine')]}_spine", spine)
        source = {"dataset": spine} if isinstance(spine, str) else {"dataset": spine.name, "version": spine.version}
        return {
            "name": name,
            "spine": source,
            "eventTimestamp": event_timestamp,
            "labels": [labels] if isinstance(labels, str) else list(labels),
            **({"service": service} if features is None else {"features": list(features)}),
            "asKnownAt": as_known_at,
            "fullNames": full_names,
        }


def source_file(folder: Path, written: str) -> Path:
    """The file that a definition names, inside the definition's folder: a stranger's must not send other files away."""
    file = (folder / written).resolve()
    if not file.is_relative_to(folder.resolve()):
        raise LoftError("bad_definition", f"source.file: found {written}, expected a file inside {folder.resolve()}.")
    if not file.is_file():
        raise LoftError("bad_definition", f"source.file: there is no file {file}.")
    return file


def describe_change(change: Mapping[str, Any]) -> str:
    version = f" v{change['version']}" if change.get("version") is not None else ""
    properties = ", ".join(one["path"] for one in change.get("properties", ()))
    words = f"{change['action']} {change['kind']} {change['name']}{version} ({change['class']})"
    return f"{words}: {properties}" if properties else words


def _request(
    wire: dict[str, list[Any]], remove: Sequence[str], promote: bool | Mapping[str, Sequence[str]] | None
) -> dict[str, Any]:
    request: dict[str, Any] = {"definitions": wire}
    if remove:
        request["remove"] = list(remove)
    if promote is not None:
        request["promote"] = (
            promote if isinstance(promote, bool) else {key: list(names) for key, names in promote.items()}
        )
    return request


def _key_columns(
    entities: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None, keys: Mapping[str, Any]
) -> dict[str, list[Any]]:
    """Key → values, all of one length; a single value is repeated."""
    if entities is not None and keys:
        raise LoftError("bad_request", "Name keys either as arguments or in entities.")
    if isinstance(entities, Sequence):
        names = dict.fromkeys(name for row in entities for name in row)
        for position, row in enumerate(entities):
            missing = [name for name in names if name not in row]
            if missing:
                raise LoftError("bad_request", f"Row {position} of entities lacks {', '.join(missing)}.")
        return {name: [row[name] for row in entities] for name in names}
    given = {name: _values(value) for name, value in (entities if entities is not None else keys).items()}
    lengths = {name: len(values) for name, (values, is_list) in given.items() if is_list}
    if len(set(lengths.values())) > 1:
        raise LoftError("bad_request", f"Keys have different numbers of values: {lengths}.")
    length = next(iter(lengths.values()), 1)
    return {name: values if is_list else values * length for name, (values, is_list) in given.items()}


def _values(value: Any) -> tuple[list[Any], bool]:
    if isinstance(value, (pa.Array, pa.ChunkedArray)):
        return value.to_pylist(), True
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        return [value], False
    return list(value), True


def _demand_columns(table: pa.Table, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise LoftError("bad_frame", f"The frame lacks {', '.join(missing)}; it has {', '.join(table.column_names)}.")
