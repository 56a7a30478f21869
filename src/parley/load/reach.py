"""Whether the server is there and takes the key: asked once, before many clients ask."""

import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit, urlunsplit

from parley.dialects.livekit.auth import Claims, VideoGrant, write_token
from parley.load.generator import LoadError

DEADLINE_S = 5.0
MOST_BYTES = 200


def check(url: str, key: str, secret: str) -> None:
    """Ask as LiveKit's clients do when their socket was refused (`/rtc/validate`). Raises LoadError."""
    address = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(address.scheme, address.scheme)
    path = address.path.rstrip("/") + "/rtc/validate"
    at = urlunsplit((scheme, address.netloc, "", "", ""))
    request = urllib.request.Request(urlunsplit((scheme, address.netloc, path, "", "")))
    request.add_header("Authorization", f"Bearer {_token(key, secret)}")
    # The clients go straight to the server, so a proxy's answer would tell nothing.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(request, timeout=DEADLINE_S).close()
    except urllib.error.HTTPError as refused:
        said = refused.read(MOST_BYTES).decode(errors="replace").strip()
        raise LoadError(_refusal(at, key, refused.code, said)) from None
    except urllib.error.URLError as error:
        raise LoadError(f"cannot reach {at}: {getattr(error.reason, 'strerror', None) or error.reason}") from None
    except (OSError, ValueError) as error:
        raise LoadError(f"cannot reach {at}: {error}") from None


def _refusal(at: str, key: str, status: int, said: str) -> str:
    if status in (401, 403):
        return f"{at} refuses API key '{key}': {said or status}"
    return f"{at} does not answer as a LiveKit server: {status} {said}".rstrip()


def _token(key: str, secret: str) -> str:
    video = VideoGrant(room_join=True, room="load")
    return write_token(Claims(key=key, identity="load", video=video), secret, now=time.time(), ttl_s=60)
