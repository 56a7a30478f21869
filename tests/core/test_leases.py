from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parley.core.leases import Leases


def test_what_is_due_is_taken_once_oldest_first() -> None:
    leases = Leases[str]()
    leases.set("later", 20.0)
    leases.set("sooner", 10.0)
    leases.set("much later", 30.0)

    assert leases.due(25.0) == ["sooner", "later"]
    assert leases.due(25.0) == []
    assert "much later" in leases


def test_a_deadline_passes_at_its_very_moment() -> None:
    leases = Leases[str]()
    leases.set("a", 10.0)

    assert leases.due(9.999) == []
    assert leases.due(10.0) == ["a"]


def test_a_renewed_deadline_counts_alone() -> None:
    leases = Leases[str]()
    leases.set("a", 10.0)
    leases.set("a", 20.0)

    assert leases.due(15.0) == []
    assert leases.due(20.0) == ["a"]


def test_a_dropped_deadline_never_comes() -> None:
    leases = Leases[str]()
    leases.set("a", 10.0)
    leases.drop("a")
    leases.drop("never set")

    assert leases.due(100.0) == []
    assert len(leases) == 0


def test_renewing_for_hours_keeps_the_heap_small() -> None:
    leases = Leases[str]()
    for at in range(10_000):
        leases.set("a", float(at))

    assert len(leases._heap) <= 100


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50), st.booleans())))
def test_whatever_is_set_and_dropped_exactly_the_last_word_on_each_key_counts(
    words: list[tuple[str, int, bool]],
) -> None:
    leases, last = Leases[str](), dict[str, int]()
    for key, at, is_drop in words:
        if is_drop:
            leases.drop(key)
            last.pop(key, None)
        else:
            leases.set(key, at)
            last[key] = at

    assert sorted(leases.due(25)) == sorted(key for key, at in last.items() if at <= 25)
    assert sorted(leases.due(50)) == sorted(key for key, at in last.items() if at > 25)
