"""The command line: `parley serve`, `parley token`, `parley keys`.

Commands import what they need when they run, so that `parley --help` answers at once. A mistake in what was asked ends
with one sentence on standard error and status 2; a failure while running, with status 1.
"""

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from parley import __version__

app = typer.Typer(
    name="parley",
    help="A self-hosted realtime-communication server: rooms, audio, video and data for LiveKit clients.",
    epilog="Start with: parley serve --dev",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its panels can show local variables, and so secrets
    rich_markup_mode="rich",
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
        typer.Option("--dev-public", help="With --dev: allow other than loopback addresses, though anyone may join."),
    ] = False,
    bind: Annotated[
        list[str] | None,
        typer.Option(help="host:port for HTTP and signalling; may be repeated.", show_default="127.0.0.1:7880"),
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
        configuration = server.configure(file=config, environ=os.environ, flags=given, dev=dev, dev_public=dev_public)
    except ConfigError as error:
        _fail(str(error), status=2)
    try:
        server.run(configuration)
    except server.StartError as error:
        _fail(str(error), status=1)


def _fail(message: str, *, status: int) -> NoReturn:
    for line in message.splitlines():
        typer.echo(f"parley: {line}", err=True)
    sys.exit(status)
