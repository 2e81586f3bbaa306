"""Handlers of forms: the fields are read, then the handler runs in a thread, since it may wait for a device."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING

from starlette.datastructures import UploadFile

from emm_pipeline.event_loop import in_thread
from emm_pipeline.web.security.access import MAX_BODY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response


class Form:
    """The fields of a form; a file's content is bytes."""

    def __init__(self, items: list[tuple[str, str | bytes]]) -> None:
        self._items = items

    def texts(self) -> Mapping[str, str]:
        """Return the text fields; of several with one name, the last."""
        return {name: value for name, value in self._items if isinstance(value, str)}

    def text(self, name: str) -> str:
        """Return a text field; empty if it is missing."""
        return self.texts().get(name, "")

    def all(self, name: str) -> list[str]:
        """Return all text fields with this name."""
        return [value for key, value in self._items if key == name and isinstance(value, str)]

    def file(self, name: str) -> bytes:
        """Return a file's content; empty if it is missing."""
        return next((value for key, value in self._items if key == name and isinstance(value, bytes)), b"")


def on_form(handler: Callable[[Request, Form], Response]) -> Callable[[Request], Awaitable[Response]]:
    """Make a handler of requests from a handler of forms."""

    @wraps(handler)
    async def handle(request: Request) -> Response:
        items: list[tuple[str, str | bytes]] = []
        async with request.form(max_files=1, max_fields=1000, max_part_size=MAX_BODY) as form:
            for name, value in form.multi_items():
                items.append((name, await value.read() if isinstance(value, UploadFile) else value))
        return await in_thread(lambda: handler(request, Form(items)), "form")

    return handle
