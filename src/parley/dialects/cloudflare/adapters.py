"""WebSocket adapters, of which there are none yet: calls are checked, and every item fails as documented."""

from __future__ import annotations

from urllib.parse import urlsplit

from parley.dialects.cloudflare import wire
from parley.dialects.cloudflare.errors import Code, ItemCode, Problem

MAX_ADAPTERS = 4


def new(asked: wire.AdaptersNew) -> wire.Adapters:
    """Every item failed: nothing here can dial out. Raises Problem for what no adapter could be made of."""
    _check_count(len(asked.tracks))
    for index, item in enumerate(asked.tracks):
        _check(index, item)
    return wire.Adapters(
        tracks=[
            wire.AdapterResult(
                track_name=item.track_name,
                error_code=ItemCode.ADAPTER_UNAVAILABLE.value,
                error_description="Failed to create adapter",
            )
            for item in asked.tracks
        ]
    )


def close(asked: wire.AdaptersClose) -> wire.ClosedAdapters:
    """Every item failed: no adapter was ever made. Raises Problem."""
    _check_count(len(asked.tracks))
    if not all(item.adapter_id for item in asked.tracks):
        raise Problem(Code.INVALID_PARAMS, "Every item needs an adapterId")
    return wire.ClosedAdapters(
        tracks=[
            wire.ClosedAdapter(
                adapter_id=item.adapter_id,
                error_code=ItemCode.ADAPTER_NOT_FOUND.value,
                error_description="Adapter not found",
            )
            for item in asked.tracks
        ]
    )


def _check_count(count: int) -> None:
    if not 1 <= count <= MAX_ADAPTERS:
        raise Problem(Code.INVALID_PARAMS, f"Expecting at most {MAX_ADAPTERS} track in the request")


def _check(index: int, item: wire.AdapterItem) -> None:
    is_ingest = item.location == "local"
    codec = item.input_codec if is_ingest else item.output_codec
    if not (item.track_name and item.endpoint and codec) or not (is_ingest or item.session_id):
        raise Problem(Code.INVALID_PARAMS, f"Track {index} lacks a trackName, endpoint, codec or sessionId")
    try:
        url = urlsplit(item.endpoint)
        is_endpoint = url.scheme in ("ws", "wss") and bool(url.hostname) and not (url.fragment or url.username)
    except ValueError:
        is_endpoint = False
    if not is_endpoint:
        raise Problem(Code.INVALID_PARAMS, f"The endpoint of track {index} is no ws:// or wss:// address")
