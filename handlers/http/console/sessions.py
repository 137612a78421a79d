"""Sessions of the console: a one-time link becomes an API key of the kind `session`,
which the page has as a cookie that no script can read.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from handlers.context import Context
from handlers.http.problems import Problem
from shared import access, sign_in_links
from shared.access import ApiKey
from shared.errors import NotFound, PermanentError
from shared.sign_in_links import SignInLink

LASTS = timedelta(hours=12)


class Sessions:
    """Its methods block: they are run on a thread."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._store = ctx.store
        self._bucket = ctx.settings.bucket_access

    def begin(self, token: str) -> str:
        """Use a link up, and return the new session's credential.

        Raises `Problem` 401 for a link that is wrong, too old, or used already by any
        process.
        """
        link = self._link(token)
        used = sign_in_links.used_place(link.id)
        if not self._store.put_new(self._bucket, used, b"{}", "application/json"):
            raise _refused("it was used already")
        self._store.delete(self._bucket, sign_in_links.place(link.id))
        return self.open(link.user_hash, link.scopes, link.operator)

    def open(
        self, user_hash: str, scopes: tuple[access.Scope, ...], operator: bool
    ) -> str:
        """A new session of somebody who has proved who they are; its credential."""
        now = self._ctx.clock.now()
        credential, key = access.mint(user_hash, scopes, now, now + LASTS)
        session = key.model_copy(update={"kind": "session", "operator": operator})
        self._forget_old(user_hash)
        mark = access.session_place(user_hash, session.id)
        # First the mark: a session that cannot be found could not be ended.
        self._store.put(self._bucket, mark, b"{}", "application/json")
        self._write(session)
        return credential

    def end(self, credential: str, everywhere: bool) -> list[str]:
        """End the session, or every session of its user; the ids of those ended."""
        session = self._session(credential)
        if session is None:
            return []
        ids = [session.id]
        if everywhere:
            ids = self._ids(session.user_hash)
        for key_id in ids:
            self._delete(session.user_hash, key_id)
        return ids

    def _link(self, token: str) -> SignInLink:
        parsed = sign_in_links.parse(token)
        if parsed is None:
            raise _refused("it is no sign-in link")
        link_id, secret = parsed
        name = sign_in_links.place(link_id)
        try:
            link = SignInLink.from_bytes(self._store.read(self._bucket, name), name)
        except (NotFound, PermanentError):
            raise _refused("it was used already, or never given") from None
        if not link.opens(secret):
            raise _refused("it was used already, or never given")
        if link.expires_at <= self._ctx.clock.now():
            raise _refused("it is older than ten minutes")
        return link

    def _session(self, credential: str) -> ApiKey | None:
        parsed = access.parse(credential)
        if parsed is None:
            return None
        key_id, secret = parsed
        key = self._read(key_id)
        if key is None or key.kind != "session" or not key.opens(secret):
            return None
        return key

    def _read(self, key_id: str) -> ApiKey | None:
        name = access.place(key_id)
        try:
            return ApiKey.from_bytes(self._store.read(self._bucket, name), name)
        except (NotFound, PermanentError):
            return None

    def _write(self, session: ApiKey) -> None:
        name = access.place(session.id)
        self._store.put(self._bucket, name, session.to_bytes(), "application/json")

    def _ids(self, user_hash: str) -> list[str]:
        prefix = access.session_place(user_hash)
        marks = self._store.list(self._bucket, prefix)
        return [info.key.rpartition("/")[2] for info in marks]

    def _forget_old(self, user_hash: str) -> None:
        """Delete the user's sessions that have run out."""
        now = self._ctx.clock.now()
        for key_id in self._ids(user_hash):
            key = self._read(key_id)
            if key is None or key.fault(now):
                self._delete(user_hash, key_id)

    def _delete(self, user_hash: str, key_id: str) -> None:
        """Last the mark, as it leads to the session."""
        for name in (access.place(key_id), access.session_place(user_hash, key_id)):
            with suppress(NotFound):
                self._store.delete(self._bucket, name)


def _refused(why: str) -> Problem:
    detail = f"this link opens nothing: {why}; `darkroom console` prints a new one"
    return Problem(401, detail, "link_refused", {"WWW-Authenticate": "Bearer"})
