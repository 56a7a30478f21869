"""The command line: `parley serve`, `parley token`, `parley keys`, `parley load`.

Commands import what they need when they run, so that `parley --help` answers at once. A mistake in what was asked ends
with one sentence on standard error and status 2; a failure while running, with status 1.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from parley import __version__

if TYPE_CHECKING:
    from parley.dialects.livekit.auth import VideoGrant

app = typer.Typer(
    name="parley",
    help="A self-hosted realtime-communication server: rooms, audio, video and data for LiveKit clients and "
    "programs written for the Cloudflare Realtime API.",
    epilog="Start with: parley serve --dev",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its panels can show local variables, and so secrets
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line of this process."""
    app()


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"parley {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    config: Annotated[
        Path | None, typer.Option(help="TOML file with the configuration. Also PARLEY_CONFIG.", show_default=False)
    ] = None,
    dev: Annotated[
        bool,
        typer.Option("--dev", help="Local development: published keys (devkey, secret), loopback only, a page to try."),
    ] = False,
    dev_public: Annotated[
        bool,
        typer.Option("--dev-public", help="The same on any address; whoever reaches it may join."),
    ] = False,
    bind: Annotated[
        list[str] | None,
        typer.Option(
            help="host:port for HTTP and signalling; may be repeated.",
            show_default="0.0.0.0:7880; with --dev 127.0.0.1:7880",
        ),
    ] = None,
    udp_port: Annotated[
        int | None, typer.Option(help="UDP port for media; 0: any free one.", show_default="7882")
    ] = None,
    announce: Annotated[
        list[str] | None,
        typer.Option(
            help="Address clients send media to, as ip or ip:port; may be repeated.", show_default="the local address"
        ),
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM certificate chain; serves https and wss.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM key of that certificate.")] = None,
    log_format: Annotated[str | None, typer.Option(help="text or json.", show_default="text")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.", show_default="info")] = None,
) -> None:
    """Run the server until it is told to stop.

    The configuration is built from defaults, then the file, then the environment (PARLEY_HTTP__BIND=…), then these
    flags. The first SIGTERM or Ctrl-C says goodbye to every client and ends within five seconds; a second ends at once.

    Examples:

        parley serve --dev
        parley serve --config parley.toml --announce 203.0.113.7
    """
    import os

    from parley import server
    from parley.config import ConfigError

    flags: dict[str, dict[str, Any]] = {
        "http": {"bind": bind or None, "tls_cert": tls_cert, "tls_key": tls_key},
        "media": {"udp_port": udp_port, "announce": announce or None},
        "log": {"format": log_format, "level": log_level},
    }
    given = {name: {key: value for key, value in part.items() if value is not None} for name, part in flags.items()}
    try:
        configuration = server.configure(
            file=config, environ=os.environ, flags=given, dev=dev or dev_public, dev_public=dev_public
        )
    except ConfigError as error:
        _fail(str(error), status=2)
    try:
        server.run(configuration, dev=dev or dev_public)
    except server.StartError as error:
        _fail(str(error), status=1)


@app.command()
def token(
    room: Annotated[str, typer.Option(help="The room the token opens.")],
    identity: Annotated[str, typer.Option(help="Who the bearer is; two with one identity displace each other.")],
    name: Annotated[str, typer.Option(help="Name shown to the others.")] = "",
    ttl: Annotated[str, typer.Option(help="How long it is good: 90s, 30m, 6h, 7d.")] = "6h",
    can_publish: Annotated[bool | None, typer.Option(help="May send audio and video.", show_default="yes")] = None,
    can_subscribe: Annotated[bool | None, typer.Option(help="May receive them.", show_default="yes")] = None,
    can_publish_data: Annotated[
        bool | None, typer.Option(help="May send data.", show_default="as --can-publish")
    ] = None,
    can_update_own_metadata: Annotated[
        bool | None, typer.Option(help="May change its own name, metadata and attributes.", show_default="no")
    ] = None,
    hidden: Annotated[bool, typer.Option("--hidden", help="Not shown to the others.")] = False,
    grants: Annotated[
        str, typer.Option(help="More of the video grant, as JSON.", metavar="JSON", show_default=False)
    ] = "",
    metadata: Annotated[str, typer.Option(help="Metadata the participant starts with.", show_default=False)] = "",
    attribute: Annotated[
        list[str] | None, typer.Option(help="name=value the participant starts with; may be repeated.")
    ] = None,
    dev: Annotated[bool, typer.Option("--dev", help="Sign with the keys of `parley serve --dev`.")] = False,
    key: Annotated[str, typer.Option(help="API key.", envvar="LIVEKIT_API_KEY", show_default=False)] = "",
    secret: Annotated[
        str,
        typer.Option(help="Its secret; better given by the variable.", envvar="LIVEKIT_API_SECRET", show_default=False),
    ] = "",
    config: Annotated[
        Path | None, typer.Option(help="Take the keys from this file; --key picks one of several.", show_default=False)
    ] = None,
) -> None:
    """Print an access token for one room.

    It is signed with the keys of --dev, of a configuration file, or with --key and --secret.

    Examples:

        parley token --dev --room standup --identity ada
        parley token --config parley.toml --room standup --identity camera-1 --no-can-subscribe --ttl 7d
    """
    import os
    import time

    from parley import server
    from parley.config import ConfigError
    from parley.dialects.livekit.auth import Claims, write_token

    said: dict[str, bool | None] = {
        "canPublish": can_publish,
        "canSubscribe": can_subscribe,
        "canPublishData": can_publish_data,
        "canUpdateOwnMetadata": can_update_own_metadata,
        "hidden": hidden or None,
    }
    flags = {flag: value for flag, value in said.items() if value is not None}
    try:
        signer, signature = server.signing_pair(dev=dev, key=key, secret=secret, file=config, environ=os.environ)
        lives_s = _seconds("--ttl", ttl)
        if lives_s == 0:
            raise ValueError(f"--ttl {ttl}: write 90s, 30m, 6h or 7d")
        video = _video_grant({"roomJoin": True, "room": room, **flags, **_grants(grants)})
        attributes = dict(_name_and_value(text) for text in attribute or ())
    except (ConfigError, ValueError) as error:
        _fail(str(error), status=2)
    if not room or not identity:
        _fail("--room and --identity may not be empty", status=2)
    claims = Claims(key=signer, identity=identity, name=name, metadata=metadata, attributes=attributes, video=video)
    typer.echo(write_token(claims, signature, now=time.time(), ttl_s=lives_s))


@app.command()
def keys(
    for_app: Annotated[
        bool, typer.Option("--app", help="An app of the Cloudflare Realtime API instead, with its id and secret.")
    ] = False,
) -> None:
    """Print a new API key and a strong secret, as lines for the configuration file.

    Example:

        parley keys >> parley.toml
    """
    import secrets

    # RFC 7518 §3.2: an HS256 key has at least 256 bits.
    secret = secrets.token_urlsafe(32)
    section, name = (
        ("cloudflare.apps", secrets.token_hex(16)) if for_app else ("livekit.keys", f"API{secrets.token_hex(6)}")
    )
    typer.echo(f'[{section}]\n{name} = "{secret}"')


@app.command()
def load(
    url: Annotated[str, typer.Option(help="The server's signalling, as ws://host:port.")] = "ws://127.0.0.1:7880",
    rooms: Annotated[int, typer.Option(help="How many rooms there are, 1 to 1000.")] = 1,
    publishers: Annotated[int, typer.Option(help="In each room, sending and receiving.")] = 1,
    subscribers: Annotated[int, typer.Option(help="In each room, receiving only.")] = 10,
    media: Annotated[
        str, typer.Option(help="What each publisher sends: video (720p VP8), audio (Opus), both, none.")
    ] = "video",
    duration: Annotated[str, typer.Option(help="How long is measured: 30s, 10m, 1h.")] = "30s",
    warmup: Annotated[str, typer.Option(help="From everybody being in to the start of measuring.")] = "3s",
    join_over: Annotated[str, typer.Option(help="Spread the joins over so long; 0: sixteen at a time.")] = "0",
    json: Annotated[
        bool, typer.Option("--json", help="Print the generator's JSON lines instead, one object each.")
    ] = False,
    dev: Annotated[bool, typer.Option("--dev", help="Join with the keys of `parley serve --dev`.")] = False,
    key: Annotated[
        str, typer.Option("--key", "--api-key", help="API key.", envvar="LIVEKIT_API_KEY", show_default=False)
    ] = "",
    secret: Annotated[
        str,
        typer.Option(
            "--secret",
            "--api-secret",
            help="Its secret; better given by the variable.",
            envvar="LIVEKIT_API_SECRET",
            show_default=False,
        ),
    ] = "",
    config: Annotated[
        Path | None, typer.Option(help="Take the keys from this file; --key picks one of several.", show_default=False)
    ] = None,
) -> None:
    """Put a load on a running server and show what its clients see of it.

    The clients join over LiveKit's signalling, publish recorded media and check what comes back: packets, loss, and the
    time from one client to the other. It is for finding out what a machine carries, so mind whose server it is. The
    clients take processor time too: run them on another machine, or keep the server and them on cores of their own.

    Ends with status 1 when clients could not join or more than 1 % of the packets were lost.

    Examples:

        parley load --dev --subscribers 50
        parley load --config parley.toml --url ws://10.0.0.5:7880 --rooms 20 --publishers 2 --subscribers 0 --media both
    """
    import os

    from parley import server
    from parley.config import ConfigError
    from parley.load import LoadError, run
    from parley.load.plan import Plan

    try:
        signer, signature = server.signing_pair(dev=dev, key=key, secret=secret, file=config, environ=os.environ)
        plan = Plan(
            url=url,
            rooms=rooms,
            publishers=publishers,
            subscribers=subscribers,
            media=media,
            warmup_s=_seconds("--warmup", warmup),
            duration_s=_seconds("--duration", duration),
            join_over_s=_seconds("--join-over", join_over),
        )
    except (ConfigError, ValueError) as error:
        _fail(str(error), status=2)
    try:
        faults = run(plan, signer, signature, as_json=json)
    except LoadError as error:
        _fail(str(error), status=1)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None  # what a shell says of a command that Ctrl-C ended
    if faults:
        _fail("\n".join(faults), status=1)


def _seconds(option: str, text: str) -> float:
    """Read 90s, 30m, 6h, 7d, or plain seconds. Raises ValueError."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    unit = units.get(text[-1:])
    number = text[:-1] if unit is not None else text
    if not number.isdecimal():
        raise ValueError(f"{option} {text}: write 90s, 30m, 6h or 7d")
    return int(number) * (unit or 1.0)


def _grants(text: str) -> dict[str, Any]:
    """The members of a JSON object. Raises ValueError."""
    import json

    try:
        read = json.loads(text or "{}")
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise ValueError("--grants is not a JSON object; write it as in '{\"canPublish\": false}'")
    return read


def _video_grant(said: dict[str, Any]) -> "VideoGrant":
    """Check the grant's members by name and type. Raises ValueError."""
    from pydantic import ValidationError

    from parley.config import nearest
    from parley.dialects.livekit.auth import VideoGrant

    known = [field.alias or name for name, field in VideoGrant.model_fields.items()]
    for member in said:
        if member not in known:
            raise ValueError(f"--grants: there is no grant '{member}'{nearest(member, known)}")
    try:
        return VideoGrant.model_validate(said)
    except ValidationError as error:
        fault = error.errors()[0]
        raise ValueError(f"--grants: {'.'.join(map(str, fault['loc']))}: {fault['msg'].lower()}") from None


def _name_and_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(f"--attribute {text}: write it as name=value")
    return name, value


def _fail(message: str, *, status: int) -> NoReturn:
    for line in message.splitlines():
        typer.echo(f"parley: {line}", err=True)
    sys.exit(status)
