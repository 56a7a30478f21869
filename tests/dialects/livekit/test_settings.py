"""The `[livekit]` section of the configuration."""

import pytest
from pydantic import ValidationError

from parley.dialects.livekit.settings import LiveKitSettings


def test_a_key_may_be_written_as_its_secret_alone():
    settings = LiveKitSettings.model_validate({"keys": {"devkey": "secret"}})

    assert settings.keys["devkey"].tenant == "default"
    assert settings.keys["devkey"].secret.get_secret_value() == "secret"


def test_a_key_may_name_its_tenant():
    settings = LiveKitSettings.model_validate({"keys": {"k": {"secret": "s" * 32, "tenant": "acme"}}})

    assert settings.keys["k"].tenant == "acme"


def test_a_secret_is_not_shown_when_settings_are_printed():
    settings = LiveKitSettings.model_validate({"keys": {"devkey": "very-private"}})

    assert "very-private" not in repr(settings)


def test_short_secrets_are_named_so_that_the_server_can_refuse_them():
    settings = LiveKitSettings.model_validate({"keys": {"weak": "secret", "strong": "s" * 32}})

    assert settings.weak_keys() == ("weak",)


def test_an_unknown_key_is_refused():
    with pytest.raises(ValidationError, match="ping_intervall_s"):
        LiveKitSettings.model_validate({"timeouts": {"ping_intervall_s": 3}})


def test_a_ping_interval_of_zero_is_refused_because_clients_crash_on_it():
    with pytest.raises(ValidationError, match="ping_interval_s"):
        LiveKitSettings.model_validate({"timeouts": {"ping_interval_s": 0}})
