"""What a client is told when it gets no answer."""

from allmlp.errors import AllmlpError


class Refused(AllmlpError):
    """A request that is not answered. `status` is HTTP's; `retry` says after how many seconds it may come again; `more` are
    headers that go with it."""

    def __init__(
        self, status: int, what: str, *, hint: str, retry: int | None = None, more: dict[str, str] | None = None
    ) -> None:
        super().__init__(what, hint=hint)
        self.status, self.retry, self.more = status, retry, more or {}

    def body(self) -> dict[str, str]:
        """For JSON."""
        return {"error": self.what, "hint": self.hint}

    def headers(self) -> dict[str, str]:
        """Besides those that every answer has."""
        more = {"retry-after": str(self.retry)} if self.retry is not None else {}
        return self.more | more | ({"www-authenticate": "Bearer"} if self.status == 401 else {})


def busy(what: str) -> Refused:
    """The server has all it can hold: the client is to come again."""
    return Refused(503, f"the server is busy: {what}", hint="send it again after Retry-After seconds", retry=1)
