"""How ids are spelt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parley.dialects.livekit import sids


@given(st.integers(0, 2**128 - 1), st.sampled_from(["PA_", "RM_", "TR_"]))
def test_an_id_can_be_read_back(number, prefix):
    assert sids.read(prefix, sids.write(prefix, number)) == number


@given(st.text())
def test_text_that_is_no_id_reads_as_nothing(text):
    number = sids.read("PA_", text)

    assert number is None or sids.write("PA_", number)[-22:] == text[-22:]


def test_letters_after_the_prefix_are_ignored():
    assert sids.read("TR_", sids.write("TR_AM", 5)) == 5


def test_the_alphabet_has_57_letters():
    assert len(set(sids.ALPHABET)) == 57


def test_a_number_that_is_too_large_is_refused():
    with pytest.raises(ValueError, match="128 bits"):
        sids.write("PA_", 2**128)
