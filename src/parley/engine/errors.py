"""What can go wrong between Python and the media engine.

    EngineError
    ├─ EngineBusy      no room for the command; nothing has changed
    ├─ EngineClosed    the engine or this object is closed
    ├─ EngineTimeout   no answer within the deadline
    ├─ BadValue        a value cannot be used; nothing has changed
    └─ EngineRefused   the engine could not do it, and says why

They are declared here and raised from the compiled module too.
"""

from __future__ import annotations

from parley.errors import ParleyError, Reason


class EngineError(ParleyError):
    """The root of everything the engine raises."""

    reason = Reason.ENGINE_REFUSED


class EngineBusy(EngineError):
    """The engine's command queue is full. Raised before anything has changed; ask again later."""

    reason = Reason.ENGINE_BUSY


class EngineClosed(EngineError):
    """The engine, or the object that was asked, is closed."""

    reason = Reason.ENGINE_CLOSED


class EngineTimeout(EngineError):
    """The engine did not answer within the deadline; what it will do with the command is unknown."""

    reason = Reason.ENGINE_TIMEOUT


class BadValue(EngineError):
    """A value handed to the engine cannot be used. Names the value, what it is and what is allowed."""

    reason = Reason.ENGINE_REFUSED


class EngineRefused(EngineError):
    """The engine could not carry out a command, and nothing of it was applied."""

    reason = Reason.ENGINE_REFUSED
