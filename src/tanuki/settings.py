"""Every setting: name, default and help. They are read once, here, and passed on as values."""

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
    """What a deployment chooses. Everything works with nothing set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(
        Path("var"), description="Folder that holds everything the embedded engines write."
    )
    database: SecretStr = Field(
        SecretStr(""),
        description="SQLAlchemy URL of the database, SQLite or PostgreSQL; empty: tanuki.db in the"
        " home folder.",
    )
    objects: str = Field(
        "",
        description="Folder or s3://bucket/prefix for Parquet, documents and models; empty: objects"
        " in the home folder.",
    )
    s3_endpoint: str = Field(
        "", description="Address of an S3-compatible server; empty: the provider's own."
    )
    s3_key: str = Field("", description="S3 access key id; empty: the machine's own identity.")
    s3_secret: SecretStr = Field(SecretStr(""), description="S3 secret access key.")
    mlflow: str = Field(
        "",
        description="MLflow tracking URI of the model registry; empty: mlflow.db in the home"
        " folder.",
    )
    model_server: str = Field(
        "",
        description="URL of a server with the Open Inference Protocol, http:// or grpc:// (`tanuki"
        " models`, Triton …); empty: models run in this process.",
    )
    model_server_port: int = Field(
        8500,
        ge=0,
        le=65535,
        description="HTTP port of `tanuki models`; 0: any free port.",
    )
    model_server_grpc_port: int = Field(
        8501,
        ge=0,
        le=65535,
        description="gRPC port of `tanuki models`; 0: any free port.",
    )
    prediction_sample_rate: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of predictions that is stored, so that they can be computed again.",
    )
    image_model: str = Field(
        "",
        description="ONNX file of another image model, with a model.json beside it that describes"
        " it; empty: the package's EfficientNet-Lite0.",
    )
    host: str = Field("127.0.0.1", description="Address the web server listens on.")
    port: int = Field(
        8000, ge=0, le=65535, description="Port the web server listens on; 0: any free port."
    )
    trusted_proxies: str = Field(
        "127.0.0.1",
        description="Comma-separated addresses of proxies whose X-Forwarded headers are trusted.",
    )
    https: bool = Field(
        False,
        description="Pages are reached over HTTPS (through a proxy): cookies are then sent over"
        " HTTPS only.",
    )
    session_days: int = Field(14, ge=1, le=365, description="Days a sign-in lasts.")
    sign_up: bool = Field(
        True,
        description="Anybody may sign up as a member of AI Animals. Off: only `tanuki users` makes"
        " accounts.",
    )
    worker: str = Field(
        "",
        description="Name of this worker, stable over restarts; empty: the host's name and the"
        " process id.",
    )
    metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port on which a worker alone serves /metrics (the web server has its own);"
        " 0: none.",
    )
    schedule: bool = Field(
        True,
        description="Workers start scheduled runs by the clock. Off: only commands and pages start"
        " them.",
    )
    lang: Literal["auto", "en", "ja"] = Field(
        "auto",
        description="Language of the command line; auto: the terminal's (LC_ALL, LC_MESSAGES,"
        " LANG).",
    )
    log: Literal["auto", "console", "json"] = Field(
        "auto",
        description="Log lines for people (console) or for programs (json); auto: by the terminal.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log line written."
    )

    @property
    def database_url(self) -> str:
        """The database's URL, or its default."""
        return (
            self.database.get_secret_value() or f"sqlite:///{(self.home / 'tanuki.db').absolute()}"
        )

    @property
    def objects_url(self) -> str:
        """The object store: an absolute folder or an s3:// URL."""
        if "://" in self.objects:
            return self.objects.rstrip("/")
        return str(
            Path(self.objects).absolute() if self.objects else (self.home / "objects").absolute()
        )

    @property
    def mlflow_url(self) -> str:
        """The registry's tracking URI, or its default."""
        return self.mlflow or f"sqlite:///{(self.home / 'mlflow.db').absolute()}"

    @property
    def embedded(self) -> bool:
        """Whether the database is SQLite, which this process may create and upgrade by itself."""
        return self.database_url.startswith("sqlite")

    @property
    def worker_name(self) -> str:
        """This worker's name, or its default."""
        return self.worker or f"{socket.gethostname()}-{os.getpid()}"


def variable_name(field: str) -> str:
    return PREFIX + field.upper()


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from `TANUKI_*` variables. `TANUKI_X_FILE` names a file that holds the value of X.

    Raises UserError with all faults at once: unknown names (with the nearest known one), wrong
    values, unreadable files.
    """
    variables = {
        name: value
        for name, value in (os.environ if environment is None else environment).items()
        if name.startswith(PREFIX)
    }
    known = {variable_name(field): field for field in Settings.model_fields}
    values: dict[str, str] = {}
    faults: list[str] = []
    for name, value in sorted(variables.items()):
        if name in known:
            values[known[name]] = value
        elif name.endswith("_FILE") and name.removesuffix("_FILE") in known:
            if name.removesuffix("_FILE") in variables:
                faults.append(
                    f"{name} and {name.removesuffix('_FILE')} are both set; set one of them."
                )
                continue
            try:
                values[known[name.removesuffix("_FILE")]] = (
                    Path(value).read_text(encoding="utf-8").strip()
                )
            except (OSError, UnicodeDecodeError) as error:
                faults.append(
                    f"{name}: cannot read {value!r} ({error.__class__.__name__});"
                    " expected a readable text file."
                )
        else:
            similar = difflib.get_close_matches(name, known, n=1)
            faults.append(
                f"{name} is not a setting."
                + (f" Did you mean {similar[0]}?" if similar else " `tanuki settings` lists them.")
            )
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        for fault in error.errors():
            field = str(fault["loc"][0])
            value_text = (
                "(hidden)"
                if "Secret" in str(Settings.model_fields[field].annotation)
                else repr(values[field])
            )
            faults.append(
                f"{variable_name(field)} is {value_text}: {fault['msg']};"
                f" expected {describe_type(field)}."
            )
        settings = Settings.model_validate({})
    if faults:
        raise UserError("The settings are wrong:\n" + "\n".join(f"  {fault}" for fault in faults))
    return settings


def describe_type(field: str) -> str:
    """The values that a field takes, in words."""
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


def list_settings(settings: Settings) -> list[dict[str, str]]:
    """A row for each setting: name, value (secrets hidden), default, type, help."""
    rows = []
    for field, info in Settings.model_fields.items():
        default = info.get_default()
        rows.append(
            {
                "name": variable_name(field),
                "value": format_value(getattr(settings, field)),
                "default": format_value(default),
                "takes": describe_type(field),
                "help": info.description or "",
            }
        )
    return rows


def format_value(value: object) -> str:
    """A value as people may see it. Secrets are stars."""
    if isinstance(value, SecretStr):
        return "********" if value.get_secret_value() else ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def terminal_language(environment: Mapping[str, str] | None = None) -> str:
    """`ja` or `en`: TANUKI_LANG, or else what the locale variables say.

    It is read before all other settings, because their errors are printed in this language.
    """
    variables = os.environ if environment is None else environment
    names = (variable_name("lang"), "LC_ALL", "LC_MESSAGES", "LANG")
    chosen = next((variables[name] for name in names if variables.get(name, "auto") != "auto"), "")
    return "ja" if chosen.startswith("ja") else "en"


def child_environment(**extra: str) -> dict[str, str]:
    """The environment of a program that we start."""
    return {**os.environ, **extra}
