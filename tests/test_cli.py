"""The command line, as a process: what it prints and the status it ends with."""

import os
import re
import resource
import subprocess
import sys
import tomllib

import jwt
import pytest

from parley.server import configure

# The published secret is short, and meant to be.
pytestmark = pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")


def parley(*arguments, **variables):
    """Run `parley` with nothing of ours in its environment but what it needs and the variables given."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME", "VIRTUAL_ENV") if name in os.environ}
    kept["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return subprocess.run(
        [sys.executable, "-m", "parley", *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={**kept, "COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1", **variables},
    )


def claims(token, secret="secret"):
    return jwt.decode(token.strip(), secret, algorithms=["HS256"])


@pytest.fixture
def configured(tmp_path):
    """A configuration file with the keys that `parley keys` printed."""
    file = tmp_path / "parley.toml"
    file.write_text(parley("keys").stdout)
    return file


def test_help_names_every_command_and_answers_at_once():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = parley("--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)

    assert said.returncode == 0
    assert all(command in said.stdout for command in ("serve", "token", "keys", "load"))
    # 0.16 s of processor time where this was written; the clock on the wall would blame us for a busy machine.
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 0.5


def test_the_version_is_printed():
    import parley as package

    assert parley("--version").stdout == f"parley {package.__version__}\n"


@pytest.mark.parametrize("command", ["serve", "token", "keys", "load"])
def test_every_command_has_help_with_an_example(command):
    said = parley(command, "--help").stdout

    assert f"parley {command}" in said
    assert "Example" in said


def test_keys_prints_a_pair_the_configuration_accepts(configured):
    ((key, secret),) = tomllib.loads(configured.read_text())["livekit"]["keys"].items()

    assert key.startswith("API")
    assert len(secret) >= 32
    assert parley("keys").stdout != parley("keys").stdout


def test_keys_prints_an_app_the_configuration_accepts(tmp_path):
    file = tmp_path / "parley.toml"
    file.write_text(parley("keys").stdout + parley("keys", "--app").stdout)

    configuration = configure(file=file, environ={}, flags={})

    ((app, credential),) = configuration.cloudflare.apps.items()
    assert re.fullmatch("[0-9a-f]{32}", app)
    assert not credential.is_weak


def test_a_token_says_what_was_asked():
    said = parley(
        *("token", "--dev", "--room", "standup", "--identity", "ada", "--name", "Ada L.", "--ttl", "30m"),
        *("--no-can-publish", "--can-publish-data", "--attribute", "desk=12", "--metadata", "{}"),
        *("--grants", '{"canPublishSources": ["camera"]}'),
    )

    read = claims(said.stdout)
    assert said.stderr == ""
    assert (read["iss"], read["sub"], read["name"]) == ("devkey", "ada", "Ada L.")
    assert read["exp"] - read["nbf"] == 30 * 60
    assert read["attributes"] == {"desk": "12"}
    assert read["metadata"] == "{}"
    assert read["video"] == {
        "roomJoin": True,
        "room": "standup",
        "canPublish": False,
        "canPublishData": True,
        "canPublishSources": ["camera"],
    }


def test_a_token_is_signed_with_the_keys_of_a_file(configured):
    ((key, secret),) = tomllib.loads(configured.read_text())["livekit"]["keys"].items()

    said = parley("token", "--config", str(configured), "--room", "r", "--identity", "i")

    assert claims(said.stdout, secret)["iss"] == key


def test_a_token_is_signed_with_the_variables_livekit_users_have():
    secret = "s" * 40

    said = parley("token", "--room", "r", "--identity", "i", LIVEKIT_API_KEY="APIx", LIVEKIT_API_SECRET=secret)

    assert claims(said.stdout, secret)["iss"] == "APIx"


TOKEN = ("token", "--room", "r", "--identity", "i")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (TOKEN, "parley: nothing to sign with: use --dev, --config with a file that has keys, or --key and --secret"),
        ((*TOKEN, "--dev", "--ttl", "soon"), "parley: --ttl soon: write 90s, 30m, 6h or 7d"),
        ((*TOKEN, "--dev", "--ttl", "0"), "parley: --ttl 0: write 90s, 30m, 6h or 7d"),
        ((*TOKEN, "--dev", "--attribute", "desk"), "parley: --attribute desk: write it as name=value"),
        (
            (*TOKEN, "--dev", "--grants", '{"canPublsh": true}'),
            "parley: --grants: there is no grant 'canPublsh'; did you mean 'canPublish'?",
        ),
        ((*TOKEN, "--dev", "--grants", "no"), "parley: --grants is not a JSON object; write it as in"),
        (("token", "--dev", "--room", "", "--identity", "i"), "parley: --room and --identity may not be empty"),
        (("load",), "parley: nothing to sign with: use --dev, --config with a file that has keys, or --key and"),
        (("load", "--dev", "--rooms", "0"), "parley: --rooms 0: 1 to 1000 are possible"),
        (("load", "--dev", "--duration", "soon"), "parley: --duration soon: write 90s, 30m, 6h or 7d"),
        (("load", "--dev", "--url", "http://here"), "parley: --url http://here: write it as ws://host:port"),
        (("serve", "--config", "none.toml"), "parley: cannot read the configuration file none.toml: No such file"),
        (("serve",), "parley: no API key and no app is configured, so nobody could join; `parley keys` prints one"),
        (("serve", "--dev", "--bind", "7880"), "parley: http.bind.0: '7880' is not host:port"),
        (
            ("serve", "--dev", "--bind", "0.0.0.0:0"),
            "parley: --dev uses published or short keys, so it listens on",
        ),
        (("serve", "--dev", "--log-format", "xml"), "parley: log.format: input should be 'text' or 'json'"),
        (("serve", "--dev", "--tls-cert", "cert.pem"), "parley: http: tls_cert and tls_key go together"),
    ],
)
def test_a_mistake_ends_with_one_clear_sentence_and_status_2(arguments, sentence):
    said = parley(*arguments)

    assert said.returncode == 2
    assert said.stderr.startswith(sentence)
    assert said.stdout == ""
    assert "Traceback" not in said.stderr


def test_a_weak_secret_is_refused_and_not_repeated(tmp_path):
    file = tmp_path / "parley.toml"
    file.write_text('[livekit.keys]\nAPIweak = "hunter2"')

    said = parley("serve", "--config", str(file))

    assert said.returncode == 2
    assert "the secret of 'APIweak' is so short that it could be guessed" in said.stderr
    assert "hunter2" not in said.stderr


@pytest.mark.parametrize(
    ("weak", "advice"),
    [
        ('[livekit.keys]\nAPIweak = "x"', "(`parley keys` prints"),
        ('[cloudflare.apps]\nmine = "x"', "(`parley keys --app` prints"),
        (
            '[livekit.keys]\nAPIweak = "x"\n[cloudflare.apps]\nmine = "x"',
            "(`parley keys` or `parley keys --app` prints",
        ),
    ],
)
def test_the_advice_for_a_weak_secret_is_the_command_that_makes_a_strong_one(tmp_path, weak, advice):
    file = tmp_path / "parley.toml"
    file.write_text(weak)

    assert advice in parley("serve", "--config", str(file)).stderr


def test_a_short_key_of_ones_own_stays_on_loopback_too(tmp_path):
    file = tmp_path / "parley.toml"
    file.write_text('[livekit.keys]\ndevkey = "secret"')

    said = parley("serve", "--dev", "--config", str(file), "--bind", "0.0.0.0:0")

    assert said.returncode == 2
    assert "0.0.0.0:0 is not loopback" in said.stderr


def test_a_port_that_is_taken_ends_with_status_1():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = parley("serve", "--dev", "--bind", address, "--udp-port", "0")

    assert said.returncode == 1
    assert said.stderr.splitlines()[-1] == f"parley: cannot listen on {address}: Address already in use"
