"""One WebSocket frame, one message: protobuf in binary frames, its JSON form in text frames.

Source: LiveKit protocol, `livekit_rtc.proto`; protobuf documentation, "ProtoJSON Format".
"""

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from livekit.protocol.rtc import SignalRequest, SignalResponse

Frame = bytes | str


class BadFrame(ValueError):
    """A frame that is no SignalRequest; the conversation cannot go on."""


def read_request(frame: Frame) -> SignalRequest:
    """The message in a frame. One of a kind we do not know comes back with nothing set.

    Raises BadFrame, which never repeats the frame.
    """
    try:
        if isinstance(frame, bytes):
            return SignalRequest.FromString(frame)
        if not frame.lstrip().startswith("{"):
            raise BadFrame("a text frame is not a SignalRequest in JSON")
        return json_format.Parse(frame, SignalRequest(), ignore_unknown_fields=True)
    except DecodeError:
        raise BadFrame("a binary frame is not a SignalRequest") from None
    except (json_format.ParseError, RecursionError, UnicodeError):
        raise BadFrame("a text frame is not a SignalRequest in JSON") from None


def write_response(response: SignalResponse, *, as_text: bool) -> Frame:
    """The frame that carries a message."""
    if not as_text:
        return response.SerializeToString()
    return json_format.MessageToJson(response, indent=None)
