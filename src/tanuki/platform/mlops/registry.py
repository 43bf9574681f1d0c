"""The model registry, on MLflow: versions with their provenance, and the aliases of live ones."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from tanuki.errors import NotFound
from tanuki.platform.mlops import runtimes
from tanuki.platform.mlops.runtimes import Runner, RunnerFactory
from tanuki.platform.object_store import ObjectStore

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

log = structlog.get_logger()

CHAMPION = "champion"
CHALLENGER = "challenger"
PREVIOUS = "previous"
"""Aliases: the version that is live, the one beside it, and the champion before this one."""


@dataclass(frozen=True)
class Version:
    """A registered version: parameters, metrics, first and last day of data, and code version."""

    name: str
    version: str
    aliases: tuple[str, ...]
    parameters: dict[str, Any]
    metrics: dict[str, float]
    data_window: tuple[str, str]
    code_version: str
    created_at: datetime


class Registry:
    """Models by name, each with versions. Nothing of MLflow is loaded before the first use.

    MLflow keeps what is known of a version. Its files are `files`, a folder or S3 with our own
    credentials, where MLflow's pages look for them. `runner_factories`: what
    loads a version, by the kind that its model.json names.
    """

    def __init__(
        self,
        tracking_uri: str,
        files: ObjectStore,
        runner_factories: Mapping[str, RunnerFactory] | None = None,
    ) -> None:
        self.tracking_uri = tracking_uri
        self.files = files
        self.runner_factories = {**runtimes.RUNNER_FACTORIES, **(runner_factories or {})}

    def load_runner(self, prefix: str, cache: Path) -> Runner:
        """The version whose files are below a prefix, loaded and warmed up. Raises ModelError."""
        return runtimes.load_runner(self.files, prefix, cache, self.runner_factories)

    def started(self) -> bool:
        """Whether anything may be registered; does not load MLflow."""
        file = self.tracking_uri.removeprefix("sqlite:///")
        return file == self.tracking_uri or Path(file).exists()

    @cached_property
    def client(self) -> "MlflowClient":
        """MLflow's client; its first use creates the registry's database, in some seconds."""
        from mlflow import MlflowClient
        from mlflow.environment_variables import MLFLOW_DISABLE_TELEMETRY

        MLFLOW_DISABLE_TELEMETRY.set(True)
        if not self.started():
            log.info("model registry is being created")
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
            else self.client.create_experiment(name, self.files.path_of(name))
        )
        run = self.client.create_run(experiment_id)
        for key, value in parameters.items():
            self.client.log_param(run.info.run_id, key, json.dumps(value))
        for key, value in metrics.items():
            self.client.log_metric(run.info.run_id, key, value)
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            self.files.put(
                f"{artifact_prefix(name, run.info.run_id)}/{file.relative_to(folder).as_posix()}",
                file.read_bytes(),
            )
        try:
            self.client.get_registered_model(name)
        except MlflowException:
            self.client.create_registered_model(name)
        registered = self.client.create_model_version(
            name,
            source=self.files.path_of(artifact_prefix(name, run.info.run_id)),
            run_id=run.info.run_id,
            tags={
                "data_first": data_window[0],
                "data_last": data_window[1],
                "code_version": code_version,
            },
        )
        self.client.set_terminated(run.info.run_id)
        return self.get(name, str(registered.version))

    def versions(self, name: str) -> list[Version]:
        """All versions of a model, newest first; none when there is no such model."""
        if not self.started() or name not in self.names():
            return []
        registered = self.client.search_model_versions(f"name = '{name}'")
        return sorted(
            (self.get(name, str(version.version)) for version in registered),
            key=lambda version: -int(version.version),
        )

    def names(self) -> list[str]:
        """The registered models."""
        return (
            []
            if not self.started()
            else sorted(model.name for model in self.client.search_registered_models())
        )

    def get(self, name: str, version: str) -> Version:
        """A version by its number or alias. Raises NotFound."""
        registered = self._find_version(name, version)
        run = self.client.get_run(registered.run_id).data
        return Version(
            name=name,
            version=str(registered.version),
            aliases=tuple(sorted(registered.aliases)),
            parameters={key: json.loads(value) for key, value in run.params.items()},
            metrics=dict(run.metrics),
            data_window=(registered.tags["data_first"], registered.tags["data_last"]),
            code_version=registered.tags["code_version"],
            created_at=datetime.fromtimestamp(registered.creation_timestamp / 1000, UTC),
        )

    def load(self, name: str, version: str, into: Path) -> Path:
        """Copy a version's files below a folder; gives their folder. Raises NotFound."""
        prefix = f"{artifact_prefix(name, self._find_version(name, version).run_id)}/"
        keys = self.files.list_keys(prefix)
        if not keys:
            raise NotFound("There is no object %(key)s.", key=self.files.path_of(prefix))
        for key in keys:
            file = into / "model" / key.removeprefix(prefix)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self.files.get(key))
        return into / "model"

    def prefix(self, name: str, version: str) -> str:
        """Where a version's files are in `files`. Raises NotFound."""
        return artifact_prefix(name, self._find_version(name, version).run_id)

    def discard(self, name: str, version: str) -> None:
        """Delete a version and its files; its number is never used again. Raises NotFound."""
        prefix = f"{artifact_prefix(name, self._find_version(name, version).run_id)}/"
        for key in self.files.list_keys(prefix):
            self.files.delete(key)
        self.client.delete_model_version(name, version)

    def set_alias(self, name: str, alias: str, version: str) -> Version:
        """Let an alias mean a version. Raises NotFound."""
        self._find_version(name, version)
        self.client.set_registered_model_alias(name, alias, version)
        return self.get(name, version)

    def drop_alias(self, name: str, alias: str) -> None:
        """Let an alias mean nothing."""
        self.client.delete_registered_model_alias(name, alias)

    def _find_version(self, name: str, version: str) -> "ModelVersion":
        from mlflow.exceptions import MlflowException

        missing = NotFound(
            "There is no version %(version)s of the model %(name)s.", version=version, name=name
        )
        if not self.started():
            raise missing
        try:
            if version.isdigit():
                number = version
            else:
                number = self.client.get_model_version_by_alias(name, version).version
            return self.client.get_model_version(name, number)
        except MlflowException as error:
            raise missing from error


def artifact_prefix(name: str, run_id: str) -> str:
    """Where a version's files are among the artifacts: where MLflow's own pages look for them."""
    return f"{name}/{run_id}/artifacts/model"
