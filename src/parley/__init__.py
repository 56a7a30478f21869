"""Parley: a realtime-communication server that speaks four dialects over one model of a room."""

__version__ = "0.1.0"
