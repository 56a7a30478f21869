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


@pytest.mark.parametrize("sid", ["", "PA_", "TR_" + "2" * 22, "PA_" + "2" * 21, "PA_" + "z" * 22])
def test_what_is_not_an_id_of_that_kind_reads_as_nothing(sid):
    assert sids.read("PA_", sid) is None
