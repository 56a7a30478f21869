from parley.errors import ParleyError, Reason


def test_a_reason_is_written_as_its_own_name() -> None:
    assert all(reason.value == reason.name.lower() for reason in Reason)


def test_an_error_without_a_reason_of_its_own_is_ours() -> None:
    assert ParleyError("surprise").reason is Reason.INTERNAL
