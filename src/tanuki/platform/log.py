"""Log lines: one for each event, with the request's or run's id, on standard error.

On a terminal a line is short and for people: time, level, event, fields. Elsewhere, or when the
setting TANUKI_LOG says so, it is a JSON object. Lines of libraries take the same form. People see
only their warnings.
"""

import logging
import logging.config
import sys
from datetime import datetime
from typing import TextIO

import structlog
from structlog.contextvars import merge_contextvars
from structlog.typing import EventDict, Processor, WrappedLogger

from tanuki.settings import Settings

LIBRARIES = (
    "uvicorn",
    "uvicorn.error",
    "dbos",
    "mlflow",
    "fsspec",
    "botocore",
    "py.warnings",
)
NOISY_LIBRARIES = ("sqlalchemy", "alembic")  # every SQL statement, every migration
SILENT_LIBRARIES = ("uvicorn.access",)  # requests have our own line, without query and address
LEVEL_COLOURS = {"debug": "2", "warning": "33", "error": "31", "critical": "31;1"}  # ANSI SGR codes
FIELDS_FOR_MACHINES = ("timestamp", "logger", "level", "event", "exception")


def set_up_logging(settings: Settings) -> None:
    """Send every log line of this process through one form, as the settings say."""
    on_terminal = sys.stderr.isatty()
    for_people = settings.log == "console" or (settings.log == "auto" and on_terminal)
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[Processor] = [
        merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    renderers = line_renderers(colours=on_terminal) if for_people else json_renderers()
    handler = StandardErrorHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.INFO))
    logging.getLogger("tanuki").setLevel(level)
    for name in LIBRARIES:
        route_logger(logging.getLogger(name), handler, quiet=for_people and level > logging.DEBUG)
    for name in NOISY_LIBRARIES:
        route_logger(logging.getLogger(name), handler, quiet=True)
    for name in SILENT_LIBRARIES:
        logging.getLogger(name).disabled = True


class StandardErrorHandler(logging.StreamHandler[TextIO]):
    """Writes to what is standard error at that moment; a test's runner replaces it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def line_renderers(*, colours: bool) -> list[Processor]:
    return [structlog.processors.format_exc_info, LineRenderer(colours=colours)]


def json_renderers() -> list[Processor]:
    # A traceback without local variables, which hold what people typed.
    transform = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [
        structlog.processors.ExceptionRenderer(transform),
        structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
    ]


class LineRenderer:
    """Renders `12:04:05 photo posted  post=12`, with the level of warnings and errors."""

    def __init__(self, *, colours: bool) -> None:
        self.colours = colours

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        level = str(event.get("level", "info"))
        when = datetime.fromisoformat(str(event["timestamp"])).astimezone()
        fields = "  ".join(
            f"{name}={value}" for name, value in event.items() if name not in FIELDS_FOR_MACHINES
        )
        label = "" if level in ("info", "debug") else f"{level}: "
        line = f"{when:%H:%M:%S} {label}{event['event']}"
        if self.colours and level in LEVEL_COLOURS:
            line = f"\x1b[{LEVEL_COLOURS[level]}m{line}\x1b[0m"
        traceback = f"\n{event['exception']}" if "exception" in event else ""
        return "".join([line, "  " if fields else "", fields, traceback])


def route_logger(logger: logging.Logger, handler: logging.Handler, *, quiet: bool) -> None:
    """Send a library's lines through our handler only; if quiet, only warnings.

    Libraries that would add a handler of their own leave a logger alone that has one.
    """
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.WARNING if quiet else logging.NOTSET)


def bind_fields(**fields: object) -> None:
    """Add fields, such as run_id, to every later line of this request or run."""
    structlog.contextvars.bind_contextvars(**fields)
