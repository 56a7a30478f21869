"""Loads the configuration: built-in values, then a TOML file, then the environment, then flags; later ones win.

This module knows the server's own sections and nothing of any dialect: each dialect declares its section in its own
`settings.py`, and `server.py` composes them into the one model that `load` fills in.
"""

import difflib
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from parley.errors import ParleyError, Reason

ENV_PREFIX = "PARLEY_"
ENV_SEPARATOR = "__"
ENV_FILE = "PARLEY_CONFIG"
"""The one variable that is not a setting: where the TOML file is."""

_Plain = Mapping[str, object]
"""What a source yields: nested mappings with strings, numbers, lists and booleans at the ends."""


class ConfigError(ParleyError):
    """The configuration cannot be used. The message names the setting, where it was written, and never a value."""

    reason = Reason.CONFIG_INVALID


STRONG_SECRET_BYTES = 32
"""RFC 7518 §3.2: an HS256 key is at least as long as the hash it feeds. A secret sent as it is need not be longer."""


class Section(BaseModel):
    """A part of the configuration: read once, never changed, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Credential(Section):
    """A secret that callers prove to hold, and the tenant whose rooms it opens. `name = "secret"` stands for it too."""

    secret: SecretStr = Field(min_length=1)
    tenant: str = "default"

    @model_validator(mode="before")
    @classmethod
    def _secret_alone(cls, value: object) -> object:
        return {"secret": value} if isinstance(value, str) else value

    @property
    def is_weak(self) -> bool:
        """Whether the secret is so short that it could be guessed."""
        return len(self.secret.get_secret_value().encode()) < STRONG_SECRET_BYTES


def split_address(text: str) -> tuple[str, int]:
    """Read `host:port`, `[v6]:port` or `:port` (every address) as (host, port).

    Raises ValueError when the port is missing or outside 0–65535; port 0 asks the system for a free one.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"'{text}' is not host:port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"'{text}': write an IPv6 address in brackets, as in [::1]:7880")
    return host, int(port)


def _address(text: str) -> str:
    split_address(text)
    return text


Address = Annotated[str, AfterValidator(_address)]
"""`host:port`; an IPv6 host stands in brackets."""


class Http(Section):
    """Where HTTP and signalling listen."""

    bind: tuple[Address, ...] = Field(default=("0.0.0.0:7880",), min_length=1)
    tls_cert: Path | None = None
    """PEM file with the certificate chain; with `tls_key` it turns http:// into https://."""
    tls_key: Path | None = None
    shutdown_s: float = Field(default=5.0, gt=0, le=60)
    """From the first SIGTERM to the end of the process, in seconds."""

    @model_validator(mode="after")
    def _tls_comes_in_pairs(self) -> "Http":
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together; one of them is missing")
        return self


class Media(Section):
    """Where media flows."""

    bind: str = "0.0.0.0"
    """The local address of the UDP socket."""
    udp_port: int = Field(default=7882, ge=0, le=65535)
    """0: any free port."""
    announce: tuple[str, ...] = ()
    """Addresses clients are told to send media to, as `ip` or `ip:port`; empty: the local address."""
    max_transports: int = Field(default=10_000, ge=1, le=1 << 20)
    """Media connections at one time; a participant has one or two."""
    max_transports_per_room: int = Field(default=5_000, ge=1, le=1 << 20)
    max_pending: int = Field(default=1_000, ge=1, le=1 << 20)
    """Media connections that are being made at one time."""
    failed_s: float = Field(default=10.0, gt=0)
    """Silence after which a connection counts as failed, and the time it has to be made."""
    stun_rate: int = Field(default=200, ge=1, le=1 << 20)
    """Connectivity checks a second that are looked at from one address (IPv6: one /64) that has passed none yet."""


class Limits(Section):
    """Bounds that hold for every dialect. A size of 0: no limit."""

    max_rooms: int = Field(default=10_000, ge=1)
    max_name_bytes: int = Field(default=256, ge=0)
    """Room names, identities and participants' names, each, in bytes of UTF-8."""
    max_metadata_bytes: int = Field(default=512 * 1024, ge=0)
    max_attributes_bytes: int = Field(default=64 * 1024, ge=0)
    """The sum of a participant's keys and values."""
    max_tracks: int = Field(default=64, ge=1)
    """Of one participant."""
    max_subscriptions: int = Field(default=512, ge=1)
    """Of one participant."""
    max_data_bytes: int = Field(default=64_000, ge=1)
    """One data message."""
    join_timeout_s: float = Field(default=60.0, gt=0)
    """From joining to connected media."""


class Log(Section):
    """What is written to standard error, and how."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


Model = TypeVar("Model", bound=BaseModel)


def load(
    model: type[Model],
    *,
    file: Path | None = None,
    environ: Mapping[str, str],
    flags: _Plain,
    base: _Plain | None = None,
) -> Model:
    """Merge the sources and check the result.

    base: values that stand in for the model's own defaults, such as those of `--dev`.
    Raises ConfigError with every fault on a line of its own.
    """
    if file is None and environ.get(ENV_FILE):
        file = Path(environ[ENV_FILE])
    from_file = {} if file is None else read_file(file)
    faults = [f"{file}: {fault}" for fault in _unknown(model, from_file)]
    from_environ, environ_faults = read_environ(model, environ)
    faults += environ_faults
    if faults:
        raise ConfigError("\n".join(faults))
    merged = merge(merge(merge(base or {}, from_file), from_environ), flags)
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(error))) from None  # pydantic's own text shows the values


def read_file(path: Path) -> dict[str, object]:
    """Read a TOML file. Raises ConfigError when it cannot be read, or says where it is malformed."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


def read_environ(model: type[BaseModel], environ: Mapping[str, str]) -> tuple[dict[str, object], list[str]]:
    """Pick the settings out of the environment: `PARLEY_HTTP__BIND` is `bind` in `[http]`.

    Returns the nested values and a sentence for each variable that names no setting. A list is written with commas
    or as JSON, a table as JSON. Names of settings ignore case; keys of free tables (such as API keys) keep theirs.
    """
    values: dict[str, object] = {}
    faults: list[str] = []
    for name, text in sorted(environ.items()):
        if not name.startswith(ENV_PREFIX) or name == ENV_FILE:
            continue
        path = name.removeprefix(ENV_PREFIX).split(ENV_SEPARATOR)
        found = _follow(model, path)
        if found is None:
            known = [ENV_PREFIX + path.upper().replace(".", ENV_SEPARATOR) for path in settings_of(model)]
            faults.append(f"{name} names no setting{nearest(name, known)}")
            continue
        keys, annotation = found
        try:
            value = _from_text(text, annotation)
        except ValueError:
            faults.append(f"{name} is a table, so it is written as JSON, and this is not JSON")
            continue
        table = values
        for key in keys[:-1]:
            table = table.setdefault(key, {})  # type: ignore[assignment]
        table[keys[-1]] = value
    return values, faults


def settings_of(model: type[BaseModel], prefix: str = "") -> dict[str, object]:
    """Every setting of a model as `section.key`, with its built-in value."""
    settings: dict[str, object] = {}
    for key, field in model.model_fields.items():
        inner = _model_in(field.annotation)
        if inner is not None:
            settings |= settings_of(inner, f"{prefix}{key}.")
        else:
            settings[prefix + key] = field.get_default(call_default_factory=True)
    return settings


def merge(under: _Plain, over: _Plain) -> dict[str, object]:
    """Lay one source over another: tables merge, everything else is replaced whole."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def _unknown(model: type[BaseModel], values: _Plain, where: str = "") -> Iterator[str]:
    """A sentence for each key that the model does not have, with the nearest one it has."""
    for key, value in values.items():
        field = model.model_fields.get(key)
        if field is None:
            yield f"unknown key '{where}{key}'{nearest(key, model.model_fields)}"
        elif isinstance(value, Mapping) and (inner := _model_in(field.annotation)) is not None:
            yield from _unknown(inner, value, f"{where}{key}.")


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: which known one may have been meant, or which there are."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; known are {', '.join(known)}"


def _follow(model: type[BaseModel], path: list[str]) -> tuple[list[str], object] | None:
    """Walk a variable's parts through the model: the keys as the model writes them, and the type at the end."""
    keys: list[str] = []
    annotation: object = model
    for part in path:
        inner = _model_in(annotation)
        if inner is not None:
            field = inner.model_fields.get(part.lower())
            if field is None:
                return None
            keys.append(part.lower())
            annotation = field.annotation
        elif get_origin(annotation) is dict and part:
            keys.append(part)
            annotation = get_args(annotation)[1]
        else:
            return None
    return keys, annotation


def _model_in(annotation: object) -> type[BaseModel] | None:
    """The section that an annotation stands for, through `Annotated` and `| None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) is Annotated:
        return _model_in(get_args(annotation)[0])
    if get_origin(annotation) is Union or type(annotation).__name__ == "UnionType":
        return next((inner for part in get_args(annotation) if (inner := _model_in(part)) is not None), None)
    return None


def _from_text(text: str, annotation: object) -> object:
    """A list or table from its text; a plain value stays text, which the model then reads.

    Raises ValueError when a table is not JSON. A section may accept plain text in its stead, so that stays text too.
    """
    origin = get_origin(annotation)
    if origin is dict or (_model_in(annotation) is not None and text.startswith("{")):
        return json.loads(text)
    if origin not in (tuple, list, frozenset):
        return text
    try:
        value: object = json.loads(text)
    except ValueError:
        return [part.strip() for part in text.split(",") if part.strip()]
    return value if isinstance(value, list) else [text]


def _explain(error: ValidationError) -> Iterator[str]:
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    for fault in faults:
        place = fault["loc"]
        if any(len(other["loc"]) > len(place) and other["loc"][: len(place)] == place for other in faults):
            continue  # what holds a faulty value is then found faulty too; only the inmost says something
        said = fault["msg"].removeprefix("Value error, ")
        yield f"{'.'.join(map(str, place))}: {said[:1].lower()}{said[1:]}"
