from random import Random

from hypothesis import given
from hypothesis import strategies as st

from parley import ids

numbers = st.integers(min_value=0, max_value=2**128 - 1)


@given(numbers)
def test_every_id_is_read_back_from_its_text(value: int) -> None:
    assert ids.from_base57(ids.to_base57(value)) == value
    assert ids.from_hex(ids.to_hex(value)) == value


@given(st.text(max_size=40))
def test_text_that_no_renderer_wrote_is_no_id(text: str) -> None:
    value = ids.from_base57(text)
    assert value is None or ids.to_base57(value) == text
    value = ids.from_hex(text)
    assert value is None or ids.to_hex(value) == text


@given(numbers, st.text(max_size=40))
def test_an_id_is_read_however_a_dialect_writes_it(value: int, text: str) -> None:
    assert ids.read(ids.to_hex(value)) == value
    assert ids.read(f"PA_{ids.to_base57(value)}") == value
    assert ids.read(f"TR_VC{ids.to_base57(value)}") == value
    assert ids.read(f"{text}!") is None


def test_a_text_for_more_than_128_bits_is_no_id() -> None:
    assert ids.from_base57("z" * 22) is None


def test_minting_with_one_seed_gives_one_sequence() -> None:
    assert ids.mint(Random(7)) == ids.mint(Random(7))
    assert ids.mint(Random(7)) < 2**128
