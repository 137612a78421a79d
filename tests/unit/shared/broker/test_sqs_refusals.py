"""What SQS refuses of a batch: an old receipt costs one delivery, anything else the
connection.
"""

from __future__ import annotations

from typing import Any

import pytest

from shared.broker import sqs_adapter
from shared.errors import BrokerUnavailable


class _Refusing:
    """A client whose batches fail for this reason."""

    def __init__(self, code: str) -> None:
        self._code = code

    def change_message_visibility_batch(self, **_: Any) -> dict[str, Any]:
        return {"Failed": [{"Id": "0", "Code": self._code, "SenderFault": True}]}


def _renewing(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqs_adapter._Channel, "sqs", lambda _: _Refusing(code))
    monkeypatch.setattr(sqs_adapter._Channel, "_new_queue", lambda *_: "address")
    object.__new__(sqs_adapter._Channel).hide("queue", ["receipt"], 30)


@pytest.mark.parametrize(
    "code", ["ReceiptHandleIsInvalid", "AWS.SimpleQueueService.MessageNotInflight"]
)
def test_the_lease_of_a_message_that_is_gone_is_not_renewed(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By either spelling of the code."""
    _renewing(code, monkeypatch)


def test_any_other_refusal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that was not renewed for another reason must not be taken for one that
    was.
    """
    with pytest.raises(BrokerUnavailable, match="InternalError"):
        _renewing("InternalError", monkeypatch)
