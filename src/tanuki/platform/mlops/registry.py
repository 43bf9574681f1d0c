"""The model registry, on MLflow: versions with what they were made from, and the aliases champion and challenger."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from tanuki.errors import NotFound
from tanuki.platform.object_store import Objects

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = structlog.get_logger()

CHAMPION = "champion"
CHALLENGER = "challenger"


@dataclass(frozen=True)
class Version:
    """A registered model: its parameters, the days it was trained on, its metrics and the code that made it."""

    name: str
    version: str
    aliases: tuple[str, ...]
    parameters: dict[str, Any]
    metrics: dict[str, float]
    data_window: tuple[str, str]
    code_version: str
    created_at: datetime


class Registry:
    """Models under a name, each with versions. Nothing of MLflow is loaded before the first use.

    MLflow keeps what is known of a version; its files go where MLflow looks for them, a folder or S3 with our own credentials.
    """

    def __init__(
        self, tracking_uri: str, artifacts: str, endpoint: str = "", key: str = "", secret: str = ""
    ) -> None:
        self.tracking_uri = tracking_uri
        self.artifacts = artifacts
        self.files = Objects(artifacts, endpoint, key, secret)

    def started(self) -> bool:
        """Whether anything may be registered, told without loading MLflow; an embedded registry begins with its first use."""
        file = self.tracking_uri.removeprefix("sqlite:///")
        return file == self.tracking_uri or Path(file).exists()

    @cached_property
    def client(self) -> "MlflowClient":
        """MLflow's client; the first time ever it makes its database, which takes some seconds."""
        from mlflow import MlflowClient
        from mlflow.environment_variables import MLFLOW_DISABLE_TELEMETRY

        MLFLOW_DISABLE_TELEMETRY.set(True)
        if not self.started():
            log.info("making the model registry, which takes some seconds")
            Path(self.tracking_uri.removeprefix("sqlite:///")).parent.mkdir(
                parents=True, exist_ok=True
            )
        return MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)

    def save(
        self,
        name: str,
        folder: Path,
        *,
        parameters: dict[str, Any],
        metrics: dict[str, float],
        data_window: tuple[str, str],
        code_version: str,
    ) -> Version:
        """Register the files of a folder as the next version of a model."""
        from mlflow.exceptions import MlflowException

        experiment = self.client.get_experiment_by_name(name)
        experiment_id = (
            experiment.experiment_id
            if experiment
            else self.client.create_experiment(name, f"{self.artifacts}/{name}")
        )
        run = self.client.create_run(experiment_id)
        for key, value in parameters.items():
            self.client.log_param(run.info.run_id, key, json.dumps(value))
        for key, value in metrics.items():
            self.client.log_metric(run.info.run_id, key, value)
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            self.files.put(
                f"{place(name, run.info.run_id)}/{file.relative_to(folder).as_posix()}",
                file.read_bytes(),
            )
        try:
            self.client.get_registered_model(name)
        except MlflowException:
            self.client.create_registered_model(name)
        made = self.client.create_model_version(
            name,
            source=self.files.path(place(name, run.info.run_id)),
            run_id=run.info.run_id,
            tags={
                "data_first": data_window[0],
                "data_last": data_window[1],
                "code_version": code_version,
            },
        )
        self.client.set_terminated(run.info.run_id)
        return self.get(name, str(made.version))

    def versions(self, name: str) -> list[Version]:
        """All versions of a model, newest first; none when there is no such model."""
        if not self.started() or name not in self.names():
            return []
        found = self.client.search_model_versions(f"name = '{name}'")
        return sorted(
            (self.get(name, str(each.version)) for each in found),
            key=lambda version: -int(version.version),
        )

    def names(self) -> list[str]:
        """The registered models."""
        return (
            []
            if not self.started()
            else sorted(model.name for model in self.client.search_registered_models())
        )

    def get(self, name: str, wanted: str) -> Version:
        """One version by its number or alias. Raises NotFound."""
        found = self._found(name, wanted)
        run = self.client.get_run(found.run_id).data
        return Version(
            name=name,
            version=str(found.version),
            aliases=tuple(sorted(found.aliases)),
            parameters={key: json.loads(value) for key, value in run.params.items()},
            metrics=dict(run.metrics),
            data_window=(found.tags["data_first"], found.tags["data_last"]),
            code_version=found.tags["code_version"],
            created_at=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
        )

    def load(self, name: str, wanted: str, into: Path) -> Path:
        """Copy a version's files into a folder and give the folder that holds them. Raises NotFound."""
        begins = f"{place(name, self._found(name, wanted).run_id)}/"
        keys = self.files.list(begins)
        if not keys:
            raise NotFound("There is no object %(key)s.", key=self.files.path(begins))
        for key in keys:
            file = into / "model" / key.removeprefix(begins)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self.files.get(key))
        return into / "model"

    def prefix(self, name: str, wanted: str) -> str:
        """Where a version's files are among `files`; servers read them there and ask the registry nothing. Raises NotFound."""
        return place(name, self._found(name, wanted).run_id)

    def discard(self, name: str, version: str) -> None:
        """Delete a version and its files for good; its number is never given again. Raises NotFound."""
        begins = f"{place(name, self._found(name, version).run_id)}/"
        for key in self.files.list(begins):
            self.files.delete(key)
        self.client.delete_model_version(name, version)

    def set_alias(self, name: str, alias: str, version: str) -> Version:
        """Let an alias mean a version from now on. Raises NotFound."""
        self._found(name, version)
        self.client.set_registered_model_alias(name, alias, version)
        return self.get(name, version)

    def drop_alias(self, name: str, alias: str) -> None:
        """Let an alias mean nothing."""
        self.client.delete_registered_model_alias(name, alias)

    def _found(self, name: str, wanted: str) -> Any:
        from mlflow.exceptions import MlflowException

        missing = NotFound(
            "There is no version %(wanted)s of the model %(name)s.", wanted=wanted, name=name
        )
        if not self.started():
            raise missing
        try:
            if wanted.isdigit():
                number = wanted
            else:
                number = self.client.get_model_version_by_alias(name, wanted).version
            return self.client.get_model_version(name, number)
        except MlflowException as error:
            raise missing from error


def place(name: str, run_id: str) -> str:
    """Where a version's files are below the artifacts: where MLflow's own pages look for them."""
    return f"{name}/{run_id}/artifacts/model"
