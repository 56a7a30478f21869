"""When the next offer is due."""

import pytest

from parley.dialects.livekit.offers import BUSY_GATHER_S, GATHER_S, OfferClock


def test_nothing_is_due_before_something_is_wanted():
    assert OfferClock().due is None


def test_the_first_change_waits_a_moment_for_others():
    clock = OfferClock()

    clock.want(5.0)
    clock.want(5.005)

    assert clock.due == 5.0 + GATHER_S


def test_changes_soon_after_an_exchange_wait_longer():
    clock = OfferClock()
    clock.want(5.0)
    clock.offered(5.01, 1)
    clock.settled(5.05)

    clock.want(5.06)

    assert clock.due == 5.06 + BUSY_GATHER_S


@pytest.mark.parametrize(("sections", "gather_s"), [(15, 0.15), (50, 0.5), (1000, 2.0)])
def test_changes_to_a_large_offer_wait_longer(sections, gather_s):
    clock = OfferClock()
    clock.offered(5.0, sections)
    clock.settled(5.1)

    clock.want(5.12)
    assert clock.due == pytest.approx(5.12 + gather_s)

    clock.nothing_to_offer()
    clock.want(5.0 + gather_s + 0.01)
    assert clock.due == pytest.approx(5.0 + gather_s + 0.01 + GATHER_S)


def test_what_is_wanted_at_once_is_due_at_once():
    clock = OfferClock()
    clock.want(5.0)

    clock.want(5.001, at_once=True)

    assert clock.due == 5.001


def test_while_an_offer_is_unanswered_no_other_is_due():
    clock = OfferClock()
    clock.want(5.0, at_once=True)
    clock.offered(5.0, 1)

    clock.want(5.5)

    assert clock.due is None
    clock.settled(6.0)
    assert clock.due == 6.0


def test_an_answer_alone_makes_nothing_due():
    clock = OfferClock()
    clock.want(5.0)
    clock.offered(5.1, 1)
    clock.settled(5.2)

    assert clock.due is None
