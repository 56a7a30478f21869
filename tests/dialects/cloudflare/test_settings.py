"""The `[cloudflare]` section, and what `--dev` puts there."""

from __future__ import annotations

import pytest

from parley.config import ConfigError
from parley.dialects.cloudflare.auth import Binding, read_binding
from parley.dialects.cloudflare.settings import CloudflareSettings
from parley.server import configure


def test_an_app_is_written_short_or_long() -> None:
    settings = CloudflareSettings.model_validate(
        {"apps": {"one": "secret", "two": {"secret": "s" * 32, "tenant": "acme"}}}
    )

    assert settings.apps["one"].tenant == "default"
    assert settings.apps["two"].tenant == "acme"
    assert settings.weak_keys() == ("one",)
    assert "s" * 32 not in repr(settings)


def test_a_development_server_has_an_app_of_the_tenant_of_its_key() -> None:
    configuration = configure(environ={}, flags={}, dev=True)

    app = configuration.cloudflare.apps["devapp"]  # type: ignore[attr-defined]
    key = configuration.livekit.keys["devkey"]  # type: ignore[attr-defined]
    assert (app.secret.get_secret_value(), app.tenant) == ("secret", key.tenant)


def test_an_app_alone_is_enough_to_start_and_a_weak_one_is_not() -> None:
    apps = {"cloudflare": {"apps": {"strong": "s" * 32}}}
    assert not configure(environ={}, flags=apps).livekit.keys  # type: ignore[attr-defined]

    with pytest.raises(ConfigError, match="the secret of 'weak' is so short that it could be guessed"):
        configure(environ={}, flags={"cloudflare": {"apps": {"weak": "secret"}}})
    with pytest.raises(ConfigError, match="nobody could join"):
        configure(environ={}, flags={})


@pytest.mark.parametrize(
    ("text", "binding"),
    [
        ("", None),
        ("a label", None),
        ("room:", None),
        ("room:/ada", None),
        ("room:standup", Binding("standup", "")),
        ("room:standup/ada", Binding("standup", "ada")),
        ("room:a%2Fb/c%2Fd/e", Binding("a/b", "c/d/e")),
    ],
)
def test_a_correlation_id_binds_to_a_room_only_when_it_says_so(text: str, binding: Binding | None) -> None:
    assert read_binding(text) == binding
