"""Log lines: one shape for everyone's, and no token in any of them."""

import io
import json
import logging

import jwt
import pytest
import structlog

from parley import log

TOKEN = jwt.encode({"sub": "ada", "video": {"room": "standup"}}, "x" * 32, algorithm="HS256")


@pytest.fixture
def restored():
    """Logging as it was, once the test is over."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    structlog.reset_defaults()


@pytest.fixture(params=["text", "json"])
def lines(request, restored):
    stream = io.StringIO()
    log.setup(format=request.param, level="debug", stream=stream)
    return stream


def test_a_line_carries_its_sentence_and_its_fields(restored):
    stream = io.StringIO()
    log.setup(format="json", level="info", stream=stream)

    structlog.get_logger("parley.test").info("track published", room="standup", codec="VP8")
    structlog.get_logger("parley.test").debug("too quiet")

    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"], line["room"], line["codec"]) == ("track published", "info", "standup", "VP8")


def test_lines_of_other_libraries_have_the_same_shape(restored):
    stream = io.StringIO()
    log.setup(format="json", level="info", stream=stream)

    logging.getLogger("somebody").warning("%s is late", "ada")

    assert json.loads(stream.getvalue())["event"] == "ada is late"


def test_uvicorn_does_not_tell_of_every_socket(lines):
    logging.getLogger("uvicorn.error").info('%s - "WebSocket %s" [accepted]', "127.0.0.1", f"/rtc?access_token={TOKEN}")
    logging.getLogger("uvicorn.access").info("GET /")

    assert lines.getvalue() == ""


def test_a_refused_socket_is_not_called_a_mistake_of_ours(lines):
    logging.getLogger("uvicorn.error").error("ASGI callable returned without completing handshake.")
    assert lines.getvalue() == ""

    logging.getLogger("uvicorn.error").error("ASGI callable should return None, but returned '7'.")
    assert "returned '7'" in lines.getvalue()


@pytest.mark.parametrize(
    "spoken",
    [f"/rtc?access_token={TOKEN}&x=1", f"Authorization: Bearer {TOKEN}", f"it said {TOKEN}", f"?join_request={TOKEN}"],
)
def test_a_token_is_hidden_wherever_it_stands(lines, spoken):
    logger = structlog.get_logger("parley.test")

    logger.warning(spoken)
    logger.warning("a field", field=spoken)
    try:
        raise ValueError(spoken)
    except ValueError:
        logger.exception("it failed")
        logging.getLogger("somebody").exception("it failed")

    for part in TOKEN.split("."):
        assert part not in lines.getvalue()
    assert lines.getvalue().count("(hidden)") >= 4
