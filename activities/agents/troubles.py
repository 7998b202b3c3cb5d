"""What stopped an agent, told from the words of its own error: pure functions of text.

An agent whose events were read is judged by its error alone, never by what it said: a goal may be about rate limits.
What a program prints without any order is judged by words that hardly anyone says about anything else.
"""

from __future__ import annotations

import re
from typing import Literal

from beatctl.activities.agents.outcome import Kind

Trouble = Literal["rate-limited", "overloaded", "authentication", "account"]
"""`account`: logged in, but this account may not use the service until somebody pays or asks for it."""

_CAPACITY = re.compile(
    r"overloaded|high demand|no capacity available|MODEL_CAPACITY|at capacity|capacity exceeded"
    r"|capacity is unavailable",
    re.IGNORECASE,
)
_ACCOUNT = re.compile(
    r"credit balance is too low|to use codex with your chatgpt plan|requires usage credits|doesn['’]t include usage"
    r"|disabled for your org|insufficient balance|billing_error|payment required|CreditsError",
    re.IGNORECASE,
)
_LIMIT = re.compile(
    r"usage.?limit|rate.?limit|\bquota|\b429\b|too.many.requests|RESOURCE.EXHAUSTED|QuotaError|limit reached"
    r"|(?:hit|reached) your [^.\n]{0,30}\blimit|exhausted your|usage exceeded|out of (?:usage )?credits"
    r"|out of (?:extra )?usage|spend(?:ing)? (?:cap|limit)|hour limit",
    re.IGNORECASE,
)
_DOWN = re.compile(
    r"\b(?:500|502|503|504|529)\b|internal server error|bad gateway|service unavailable|server_error|gateway time-?out"
    r"|\bUNAVAILABLE\b|server had an error",
    re.IGNORECASE,
)
_LOGIN = re.compile(
    r"\b40[13]\b|unauthorized|unauthenticated|not logged in|\blog in\b|\bsign in\b|/login\b|refresh token|oauth token"
    r"|missing environment variable|API key (?:is )?(?:not valid|missing)"
    r"|(?:invalid|incorrect|missing) (?:x-)?api[ -]key"
    r"|API_KEY_INVALID|PERMISSION_DENIED|auth method|specify the \w+_API_KEY|no api key",
    re.IGNORECASE,
)

_NO_SESSION = re.compile(
    r"no conversation found|no rollout found|error resuming session|no previous sessions|invalid session"
    r"|session not found|thread not found",
    re.IGNORECASE,
)

_CLEAR_LIMIT = re.compile(
    r"usage limit reached|hit your (?:[\w-]+ ){0,3}limit|rate[ _-]?limit(?:s|ed|_error|_exceeded)?"
    r"(?: has been| was| is)? (?:reached|exceeded|hit)|rate_limit_(?:error|exceeded|reached)|usage_limit_reached"
    r"|insufficient_quota|\btoo many requests\b|quota (?:has been )?(?:exceeded|exhausted)|exceeded your current quota"
    r"|RESOURCE_EXHAUSTED|(?:Terminal|Retryable)QuotaError|RateLimitError|\b(?:HTTP|status|error|code)\b\W{1,4}(?:code\W{1,3})?429\b",
    re.IGNORECASE,
)
_CLEAR_OVERLOAD = re.compile(
    r"overloaded_error|(?:model|service|server|provider|api) is (?:currently |temporarily )?overloaded"
    r"|experiencing high demand|\b529\W{1,3}overloaded|is at capacity|503\W{1,3}service unavailable",
    re.IGNORECASE,
)

CLEAR_WORDS = tuple(
    word.encode()
    for word in ("limit", "quota", "many", "exhaust", "429", "overloaded", "demand", "capacity", "unavailable")
)
"""One of these is in whatever `clear_trouble` knows, in small letters."""
RESET_WORDS = tuple(word.encode() for word in ("reset", "retry", "again", "available", "wait", "until", "reached|"))
"""One of these is in whatever tells when a limit ends, in small letters."""


def trouble(error: str, status: int | None = None) -> Trouble | None:
    """What an agent's own error comes from; None for what is no fault of service or account.

    `status`: the HTTP status where the agent tells it. `error` is read where that leaves it open.
    """
    if status == 402 or _ACCOUNT.search(error):
        return "account"
    # Google answers 429 to both; a bad request may quote anything.
    if status in (None, 429) and _CAPACITY.search(error):
        return "overloaded"
    if status == 429:
        return "rate-limited"
    if status in (401, 403):
        # A service may refuse for a quota, too: Google does with 403.
        return "rate-limited" if status == 403 and _LIMIT.search(error) else "authentication"
    if status is not None:
        return "overloaded" if status >= 500 else None
    if _LIMIT.search(error):
        return "rate-limited"
    if _DOWN.search(error):
        return "overloaded"
    return "authentication" if _LOGIN.search(error) else None


def no_session(error: str) -> bool:
    """Whether a run could not go on with the agent's own session, since that is gone."""
    return _NO_SESSION.search(error) is not None


def clear_trouble(text: str) -> Literal["rate-limited", "overloaded"] | None:
    """The same for a line of which nobody knows what it is: only what is a limit or an overload beyond doubt."""
    if _CLEAR_LIMIT.search(text):
        return "rate-limited"
    return "overloaded" if _CLEAR_OVERLOAD.search(text) else None


def told(agent: str, what: Trouble, said: str, login: str) -> tuple[Kind, str]:
    """The kind of outcome, and a sentence a person can act on. `login`: what mends a missing login."""
    match what:
        case "rate-limited":
            return what, f"{agent}'s limit is reached: {said}"
        case "overloaded":
            return what, f"{agent}'s service is overloaded or down: {said}"
        case "authentication":
            return what, f"{agent} is not logged in ({said}): {login}"
        case "account":
            return "authentication", (
                f"{agent} may not be used with this account ({said}): add credits or a plan to it, or take another: "
                f"{login}"
            )
