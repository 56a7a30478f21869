"""What a load test may be, and how the generator is told of it."""

import pytest

from parley.load.plan import Plan

URL = "ws://127.0.0.1:7880"


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"rooms": 0}, "--rooms 0: 1 to 1000 are possible"),
        ({"publishers": -1}, "--publishers -1: 0 to 1000 are possible"),
        ({"subscribers": 10_001}, "--subscribers 10001: 0 to 10000 are possible"),
        ({"media": "film"}, "--media film: one of video, audio, both, none"),
        ({"duration_s": 0}, "--duration 0s: 1 to 86400s are possible"),
        ({"warmup_s": 601}, "--warmup 601s: 0 to 600s are possible"),
        ({"join_over_s": 4000}, "--join-over 4000s: 0 to 3600s are possible"),
        ({"publishers": 0, "subscribers": 0}, "--rooms 1 of 0 --publishers and 0 --subscribers are 0 clients"),
        (
            {"rooms": 1000, "subscribers": 100},
            "--rooms 1000 of 1 --publishers and 100 --subscribers are 101000 clients",
        ),
        ({"url": "127.0.0.1:7880"}, "--url 127.0.0.1:7880: write it as ws://host:port"),
        ({"url": "ws://"}, "--url ws://: write it as ws://host:port"),
        ({"url": "wss://host"}, "--url wss://host: the load generator speaks no TLS"),
    ],
)
def test_what_cannot_be_is_refused_with_its_bound(asked, sentence):
    with pytest.raises(ValueError, match="^--") as refused:
        Plan(**{"url": URL, **asked})

    assert str(refused.value).startswith(sentence)


def test_the_generator_is_told_everything():
    plan = Plan(url=URL, rooms=2, publishers=3, subscribers=4, media="both", warmup_s=5, duration_s=90, join_over_s=10)

    told = plan.arguments()

    assert told[-1] == "--json"
    assert dict(zip(told[:-1:2], told[1::2], strict=True)) == {
        "--url": URL,
        "--rooms": "2",
        "--publishers": "3",
        "--subscribers": "4",
        "--media": "both",
        "--warmup": "5",
        "--duration": "90",
        "--join-over": "10",
    }


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, True),
        ({"media": "none"}, False),
        ({"subscribers": 0}, False),
        ({"publishers": 2, "subscribers": 0}, True),
        ({"publishers": 0}, False),
    ],
)
def test_media_is_expected_where_somebody_sends_to_somebody(asked, expected):
    assert Plan(**{"url": URL, **asked}).expects_media is expected
