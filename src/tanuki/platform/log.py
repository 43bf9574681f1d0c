"""Log lines: one for each thing that happened, with the request's or run's id; ours and the libraries' in one form, on stderr."""

import logging
import logging.config
import sys
from typing import Any

import structlog
from structlog.contextvars import merge_contextvars
from structlog.typing import Processor

from tanuki.settings import Settings

LIBRARIES = (
    "uvicorn",
    "uvicorn.error",
    "dbos",
    "alembic",
    "mlflow",
    "sqlalchemy",
    "fsspec",
    "botocore",
    "py.warnings",
)
QUIET = ("uvicorn.access",)  # we write our own line for a request, without query and address


def set_up_logging(settings: Settings) -> None:
    """Send every log line of this process through one form: coloured for people, JSON for machines."""
    machines = settings.log == "json" or (settings.log == "auto" and not sys.stderr.isatty())
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
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if machines:
        plainly = structlog.tracebacks.ExceptionDictTransformer(
            show_locals=False
        )  # locals hold what people typed
        last += [
            structlog.processors.ExceptionRenderer(plainly),
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
        ]
    else:
        last += [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last)
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.INFO))
    logging.getLogger("tanuki").setLevel(level)
    for name in LIBRARIES:
        route_logger(logging.getLogger(name), handler)
    for name in QUIET:
        logging.getLogger(name).disabled = True


def route_logger(logger: logging.Logger, handler: logging.Handler) -> None:
    """Let a library's lines go through our handler only; a logger that has one is left alone by libraries that would add their own."""
    logger.handlers[:] = [handler]
    logger.propagate = False


def bind_fields(**values: Any) -> None:
    """Add fields, such as run_id, to every later line of this request or run."""
    structlog.contextvars.bind_contextvars(**values)
