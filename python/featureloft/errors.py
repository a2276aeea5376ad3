"""The one error of this package: what the gateway refused, or why it could not be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SHOWN_PROBLEMS = 10


@dataclass(frozen=True)
class Problem:
    """One mistake and its place. `row` counts from 0 in what was sent; `path` is dotted, as in `views.0.ttl`."""

    code: str
    path: str | None = None
    row: int | None = None
    field: str | None = None
    found: str | None = None
    expected: str | None = None

    def __str__(self) -> str:
        place = self.path or ", ".join(
            part for part in (None if self.row is None else f"row {self.row}", self.field) if part is not None
        )
        words = ", ".join(
            f"{name} {text}" for name, text in (("found", self.found), ("expected", self.expected)) if text is not None
        )
        return ": ".join(part for part in (place, words or self.code) if part)


class LoftError(Exception):
    """A refusal or a failure that its reader can act on.

    `code` is stable and is what programs test; `status` is the HTTP status, 0 when no gateway answered; `detail` names
    the mistake and the next step; `problems` holds each mistake with its place; `extra` holds further members of the
    answer, such as the `plan` of a `plan_required`; `retry_after` is seconds, when asking again is worth it.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int = 0,
        problems: tuple[Problem, ...] = (),
        extra: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.code = code
        self.detail = detail
        self.status = status
        self.problems = problems
        self.extra = dict(extra or {})
        self.retry_after = retry_after
        lines = [f"{detail} ({code})", *(f"  - {problem}" for problem in problems[:SHOWN_PROBLEMS])]
        if len(problems) > SHOWN_PROBLEMS:
            lines.append(f"  - and {len(problems) - SHOWN_PROBLEMS} more in .problems")
        super().__init__("\n".join(lines))

    @classmethod
    def of_document(cls, status: int, document: Mapping[str, Any], retry_after: float | None = None) -> LoftError:
        """Rebuilds the error from the gateway's problem document (RFC 9457)."""
        known = {"type", "title", "status", "code", "detail", "problems"}
        fields = set(Problem.__dataclass_fields__)
        problems = tuple(
            Problem(**{"code": "", **{name: value for name, value in problem.items() if name in fields}})
            for problem in document.get("problems", ())
        )
        return cls(
            str(document["code"]),
            str(document.get("detail") or document.get("title") or f"The gateway answered {status}."),
            status=status,
            problems=problems,
            extra={name: value for name, value in document.items() if name not in known},
            retry_after=retry_after,
        )
