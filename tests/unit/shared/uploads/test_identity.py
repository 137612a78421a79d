"""Identity: derived, stable for ever, and without collisions between neighbours."""

from hypothesis import given
from hypothesis import strategies as st

from shared.uploads import identity

text = st.text(min_size=1, max_size=20)


def test_ids_never_change_between_releases():
    """These values were computed once; a release that changes one renames every task
    there ever was.
    """
    assert (
        identity.upload_id("uploads", "a/b.jpg", "0123")
        == "a9745c7f-b438-5bcc-b299-dc9e56115748"
    )
    assert identity.task_id("u", "s", "w") == "45b1f5ac-5e7e-520f-ba8c-6fc785b9ea3c"
    assert identity.signature({"b": 1, "a": "é"}) == "aa58fba8483623be"


@given(text, text, text)
def test_neighbouring_parts_do_not_run_into_each_other(a, b, c):
    """("a/b", "c") and ("a", "b/c") are different uploads."""
    assert identity.upload_id(a, b + c, "v") != identity.upload_id(a + b, c, "v")


def test_an_etag_is_the_same_with_and_without_quotes():
    assert identity.upload_id("b", "k", '"abc"') == identity.upload_id("b", "k", "abc")


def test_a_user_is_only_found_with_the_pepper():
    one, other = (
        identity.user_hash("ann", b"pepper"),
        identity.user_hash("ann", b"salt"),
    )
    assert one != other
    assert len(one) == 64


def test_key_order_does_not_change_a_signature():
    assert identity.signature({"a": 1, "b": [1, 2]}) == identity.signature(
        {"b": [1, 2], "a": 1}
    )
