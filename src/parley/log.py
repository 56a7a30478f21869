"""Where log lines go and what they look like: one handler on standard error, text or JSON, never a token.

Every module asks structlog for its logger; lines of other libraries (uvicorn's above all) pass through the same
handler. Whatever is about to be written is searched for tokens last of all, tracebacks included.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

_SECRETS = (
    # RFC 7519: three base64url parts; a JOSE header always begins with '{"', so its text begins with "eyJ".
    re.compile(r"eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){0,2}"),
    # Query strings that carry a token, or a message that may hold one.
    re.compile(r"(?<=access_token=)[^&\s\"']+"),
    re.compile(r"(?<=join_request=)[^&\s\"']+"),
    # RFC 9110 §11.6.2: whatever follows the scheme.
    re.compile(r"(?i)(?<=bearer )[^\s\"',]+"),
)
_MASK = "(hidden)"


def redact(text: str) -> str:
    """The same text with every token in it replaced."""
    for pattern in _SECRETS:
        text = pattern.sub(_MASK, text)
    return text


def setup(*, format: str, level: str, stream: TextIO | None = None) -> None:
    """Send every log line of the process to `stream` (standard error) from `level` up.

    format: "json", one object a line with `event`, `level`, `timestamp` (ISO 8601, UTC) and the fields; or "text".
    May be called again; the last call counts.
    """
    stream = stream or sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso" if format == "json" else "%H:%M:%S", utc=format == "json"),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(format, stream)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # uvicorn writes the whole request target of every WebSocket at INFO, query string and all; what it has to say
    # beyond that is warnings and errors. asyncio's DEBUG lines tell of selectors.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "websockets", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True
        logger.setLevel(max(logging.WARNING, root.level))
        logger.filters[:] = [_is_true]


def _is_true(record: logging.LogRecord) -> bool:
    """False for what uvicorn says, as an error, of every WebSocket that was refused with a status and a body.

    A handler that leaves a handshake unanswered is not hidden by this: its client sees a status of 500.
    """
    return record.getMessage() != "ASGI callable returned without completing handshake."


def _renderers(format: str, stream: TextIO) -> list[structlog.typing.Processor]:
    if format == "json":
        return [structlog.processors.format_exc_info, _Redacted(structlog.processors.JSONRenderer())]
    console = structlog.dev.ConsoleRenderer(
        colors=stream.isatty(),
        exception_formatter=structlog.dev.plain_traceback,  # the default prints local variables, and so secrets
    )
    return [_Redacted(console)]


class _Redacted:
    """A renderer whose line has been searched for tokens."""

    def __init__(self, render: structlog.typing.Processor) -> None:
        self._render = render

    def __call__(self, logger: Any, name: str, event: MutableMapping[str, Any]) -> str:
        return redact(str(self._render(logger, name, event)))
