"""The configuration: which source wins, and what is said about a mistake."""

import pytest
from pydantic import Field, SecretStr

from parley.config import ConfigError, Http, Section, load, split_address


class Key(Section):
    secret: SecretStr = Field(min_length=4)


class Dialect(Section):
    keys: dict[str, Key] = Field(default_factory=dict)
    codecs: tuple[str, ...] = ("opus",)
    timeout_s: float = 5.0


class Everything(Section):
    http: Http = Http()
    dialect: Dialect = Dialect()


def read(tmp_path, toml="", environ=None, flags=None):
    file = tmp_path / "parley.toml"
    file.write_text(toml)
    return load(Everything, file=file, environ=environ or {}, flags=flags or {})


def test_later_sources_win_over_earlier_ones(tmp_path):
    toml = '[http]\nbind = ["127.0.0.1:1"]\nshutdown_s = 2.0\n[dialect]\ntimeout_s = 1.0'
    environ = {"PARLEY_HTTP__BIND": "127.0.0.1:2", "PARLEY_DIALECT__TIMEOUT_S": "2.5"}
    flags = {"http": {"bind": ["127.0.0.1:3"]}}

    read_back = read(tmp_path, toml, environ, flags)

    assert read_back.http.bind == ("127.0.0.1:3",)
    assert read_back.dialect.timeout_s == 2.5
    assert read_back.http.shutdown_s == 2.0
    assert read_back.dialect.codecs == ("opus",)


def test_the_file_can_be_named_by_the_environment(tmp_path):
    file = tmp_path / "elsewhere.toml"
    file.write_text("[dialect]\ntimeout_s = 9")

    read_back = load(Everything, environ={"PARLEY_CONFIG": str(file)}, flags={})

    assert read_back.dialect.timeout_s == 9


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[htpp]\nbind = []", "unknown key 'htpp'; did you mean 'http'?"),
        ("[dialect]\ntimeout = 1", "unknown key 'dialect.timeout'; did you mean 'timeout_s'?"),
        ("[dialect]\nzzz = 1", "unknown key 'dialect.zzz'; known are codecs, keys, timeout_s"),
    ],
)
def test_an_unknown_key_is_an_error_that_names_the_nearest_known_one(tmp_path, toml, said):
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, toml)

    assert said in str(refused.value)
    assert str(tmp_path / "parley.toml") in str(refused.value)


def test_an_unknown_variable_names_the_nearest_known_one(tmp_path):
    with pytest.raises(ConfigError, match=r"PARLEY_HTTP__BINDS names no setting; did you mean 'PARLEY_HTTP__BIND'\?"):
        read(tmp_path, environ={"PARLEY_HTTP__BINDS": "127.0.0.1:1"})


def test_every_fault_is_told_at_once(tmp_path):
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, "[http]\nbind = ['nowhere']\nshutdown_s = 0")

    assert str(refused.value).splitlines() == [
        "http.bind.0: 'nowhere' is not host:port",
        "http.shutdown_s: input should be greater than 0",
    ]


def test_a_secret_never_appears_in_an_error(tmp_path):
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, environ={"PARLEY_DIALECT__KEYS__APIkey": '{"secret": "abc"}'})

    assert "abc" not in str(refused.value)
    assert "dialect.keys.APIkey.secret" in str(refused.value)


def test_the_keys_of_a_free_table_keep_their_case(tmp_path):
    read_back = read(tmp_path, environ={"PARLEY_dialect__keys__APIkey__SECRET": "abcdefgh"})

    assert read_back.dialect.keys["APIkey"].secret.get_secret_value() == "abcdefgh"


@pytest.mark.parametrize("text", ["VP8, H264", '["VP8", "H264"]'])
def test_a_list_in_a_variable_is_written_with_commas_or_as_json(tmp_path, text):
    assert read(tmp_path, environ={"PARLEY_DIALECT__CODECS": text}).dialect.codecs == ("VP8", "H264")


def test_ipv6_addresses_in_a_variable_are_not_taken_for_json(tmp_path):
    assert read(tmp_path, environ={"PARLEY_HTTP__BIND": "[::1]:1,127.0.0.1:1"}).http.bind == ("[::1]:1", "127.0.0.1:1")


def test_a_certificate_without_its_key_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="http: tls_cert and tls_key go together; one of them is missing"):
        read(tmp_path, flags={"http": {"tls_cert": "cert.pem"}})


def test_a_file_that_is_missing_or_malformed_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the configuration file .*none.toml: No such file"):
        load(Everything, file=tmp_path / "none.toml", environ={}, flags={})
    with pytest.raises(ConfigError, match=r"parley.toml is not valid TOML: "):
        read(tmp_path, "[http")


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:7880", ("127.0.0.1", 7880)), ("[::1]:0", ("::1", 0)), (":80", ("", 80)), ("h:65535", ("h", 65535))],
)
def test_an_address_is_read_as_host_and_port(text, address):
    assert split_address(text) == address


@pytest.mark.parametrize("text", ["7880", "host", "host:", "host:x", "host:65536", "::1:7880"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="'"):
        split_address(text)
