"""Every setting: name, default and help. Read once, here; everything else gets values."""

import difflib
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from tanuki.errors import UserError

PREFIX = "TANUKI_"


class Settings(BaseModel):
    """What a deployment chooses. Works with nothing set; frozen, so it is the same everywhere in a process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(
        Path("var"), description="Folder that holds everything the embedded engines write."
    )
    database: SecretStr = Field(
        SecretStr(""),
        description="SQLAlchemy URL of the database, SQLite or PostgreSQL; empty: tanuki.db in the home folder.",
    )
    objects: str = Field(
        "",
        description="Folder or s3://bucket/prefix for Parquet, documents and models; empty: objects in the home folder.",
    )
    s3_endpoint: str = Field(
        "", description="Address of an S3-compatible server; empty: the provider's own."
    )
    s3_key: str = Field("", description="S3 access key id; empty: the machine's own identity.")
    s3_secret: SecretStr = Field(SecretStr(""), description="S3 secret access key.")
    mlflow: str = Field(
        "",
        description="MLflow tracking URI of the model registry; empty: mlflow.db in the home folder.",
    )
    models: str = Field(
        "",
        description="URL of a server that speaks the Open Inference Protocol, http:// or grpc:// (`tanuki models`, Triton …); empty: models answer in process.",
    )
    models_port: int = Field(
        8500,
        ge=0,
        le=65535,
        description="Port on which `tanuki models` speaks HTTP; 0: any free port.",
    )
    models_grpc_port: int = Field(
        8501,
        ge=0,
        le=65535,
        description="Port on which `tanuki models` speaks gRPC; 0: any free port.",
    )
    models_kept: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of the models' answers that is kept, so that it can be computed again.",
    )
    image_model: str = Field(
        "",
        description="ONNX file of another image model, with a model.json beside it that describes it; empty: the package's EfficientNet-Lite0.",
    )
    host: str = Field("127.0.0.1", description="Address the web server listens on.")
    port: int = Field(
        8000, ge=0, le=65535, description="Port the web server listens on; 0: any free port."
    )
    proxies: str = Field(
        "127.0.0.1",
        description="Comma-separated addresses of proxies whose X-Forwarded headers are believed.",
    )
    https: bool = Field(
        False,
        description="Pages are reached over HTTPS (through a proxy): cookies are then sent over HTTPS only.",
    )
    session_days: int = Field(14, ge=1, le=365, description="Days a sign-in lasts.")
    sign_up: bool = Field(
        True,
        description="Strangers may make themselves an account, as members of the network. Off: only `tanuki users` does.",
    )
    worker: str = Field(
        "",
        description="Name of this worker, stable over restarts; empty: the host's name and the process id.",
    )
    metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port on which a worker alone serves /metrics (the web server has its own); 0: none.",
    )
    schedule: bool = Field(
        True,
        description="Workers start the weekly cycle by the clock. Off: only commands and pages start it.",
    )
    lang: Literal["auto", "en", "ja"] = Field(
        "auto",
        description="Language of the command line; auto: the terminal's (LC_ALL, LC_MESSAGES, LANG).",
    )
    log: Literal["auto", "console", "json"] = Field(
        "auto",
        description="Log lines for people or for machines; auto: by whether a person watches.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log line written."
    )

    @property
    def database_url(self) -> str:
        """The database's URL with the default filled in."""
        return (
            self.database.get_secret_value() or f"sqlite:///{(self.home / 'tanuki.db').absolute()}"
        )

    @property
    def objects_url(self) -> str:
        """Where objects live, with the default filled in: an absolute folder or an s3:// URL."""
        if "://" in self.objects:
            return self.objects.rstrip("/")
        return str(
            Path(self.objects).absolute() if self.objects else (self.home / "objects").absolute()
        )

    @property
    def mlflow_url(self) -> str:
        """The registry's tracking URI with the default filled in."""
        return self.mlflow or f"sqlite:///{(self.home / 'mlflow.db').absolute()}"

    @property
    def embedded(self) -> bool:
        """Whether the database is the embedded one, which this process may create and upgrade by itself."""
        return self.database_url.startswith("sqlite")

    @property
    def worker_name(self) -> str:
        """This process's name among the workers."""
        return self.worker or f"{socket.gethostname()}-{os.getpid()}"


def variable(field: str) -> str:
    """The environment variable that sets a field."""
    return PREFIX + field.upper()


def read(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from `TANUKI_*` variables; `TANUKI_X_FILE` names a file whose content is the value of X.

    Raises UserError with all faults at once: unknown names (with the nearest known one), wrong values, unreadable files.
    """
    given = {
        k: v
        for k, v in (os.environ if environment is None else environment).items()
        if k.startswith(PREFIX)
    }
    known = {variable(field): field for field in Settings.model_fields}
    values: dict[str, str] = {}
    faults: list[str] = []
    for name, value in sorted(given.items()):
        if name in known:
            values[known[name]] = value
        elif name.endswith("_FILE") and name.removesuffix("_FILE") in known:
            if name.removesuffix("_FILE") in given:
                faults.append(
                    f"{name} and {name.removesuffix('_FILE')} are both set; set one of them."
                )
                continue
            try:
                values[known[name.removesuffix("_FILE")]] = (
                    Path(value).read_text(encoding="utf-8").strip()
                )
            except (OSError, UnicodeDecodeError) as why:
                faults.append(
                    f"{name}: cannot read {value!r} ({why.__class__.__name__}); expected a readable text file."
                )
        else:
            near = difflib.get_close_matches(name, known, n=1)
            faults.append(
                f"{name} is not a setting."
                + (f" Did you mean {near[0]}?" if near else " `tanuki settings` lists them.")
            )
    try:
        settings = Settings.model_validate(values)
    except ValidationError as wrong:
        for fault in wrong.errors():
            field = str(fault["loc"][0])
            shown = (
                "(hidden)"
                if "Secret" in str(Settings.model_fields[field].annotation)
                else repr(values[field])
            )
            faults.append(
                f"{variable(field)} is {shown}: {fault['msg']}; expected {expected(field)}."
            )
        settings = Settings.model_validate({})
    if faults:
        raise UserError("The settings are wrong:\n" + "\n".join(f"  {fault}" for fault in faults))
    return settings


def expected(field: str) -> str:
    """What a field takes, in words."""
    annotation = Settings.model_fields[field].annotation
    if get_origin(annotation) is Literal:
        return " or ".join(map(str, get_args(annotation)))
    kinds: dict[object, str] = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        Path: "a folder",
        str: "text",
        SecretStr: "text (secret)",
    }
    return kinds[annotation]


def table(settings: Settings) -> list[dict[str, str]]:
    """One row a setting: name, value (secrets hidden), default, what it takes, help."""
    rows = []
    for field, info in Settings.model_fields.items():
        default = info.get_default()
        rows.append(
            {
                "name": variable(field),
                "value": shown(getattr(settings, field)),
                "default": shown(default),
                "takes": expected(field),
                "help": info.description or "",
            }
        )
    return rows


def shown(value: object) -> str:
    """A value as people may see it: secrets are stars."""
    if isinstance(value, SecretStr):
        return "********" if value.get_secret_value() else ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def terminal_language(environment: Mapping[str, str] | None = None) -> str:
    """`ja` or `en`: TANUKI_LANG, or else what the locale variables say.

    It is read before all other settings, because their errors are printed in this language.
    """
    variables = os.environ if environment is None else environment
    names = (variable("lang"), "LC_ALL", "LC_MESSAGES", "LANG")
    chosen = next((variables[name] for name in names if variables.get(name, "auto") != "auto"), "")
    return "ja" if chosen.startswith("ja") else "en"


def child_environment(**extra: str) -> dict[str, str]:
    """The environment for a program that we start, with something added."""
    return {**os.environ, **extra}
