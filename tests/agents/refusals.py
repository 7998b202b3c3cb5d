"""How the vendors word an HTTP error: what the scripted model answers when it refuses."""

from __future__ import annotations

import time

from tests.agents.dialects import Json

RESET_IN_S = 3600


def refusal(code: int, path: str, reset_at: int, *, lasts: bool) -> tuple[Json, dict[str, str]]:
    """Body and headers of an HTTP error, as each vendor words it. `reset_at`: unix seconds at which a 429 ends, 0: an
    hour from now. `lasts`: of Gemini's limits the daily one, which tells no reset, not the one per minute."""
    reset = reset_at or int(time.time()) + RESET_IN_S
    left = max(1, round(reset - time.time()))
    if "/messages" in path:
        kinds = {429: "rate_limit_error", 401: "authentication_error", 529: "overloaded_error", 500: "api_error"}
        words = {429: "This request would exceed your account's rate limit. Please try again later."}
        words |= {401: "invalid x-api-key", 529: "Overloaded", 500: "Internal server error"}
        headers = {
            "retry-after": str(left),
            "anthropic-ratelimit-unified-status": "rejected",
            "anthropic-ratelimit-unified-reset": str(reset),
            "anthropic-ratelimit-unified-representative-claim": "five_hour",
            "x-should-retry": "false",
        }
        error = {"type": kinds[code], "message": words[code]}
        return {"type": "error", "error": error}, headers if code == 429 else {}
    if "enerateContent" in path:
        return {"error": _gemini_error(code, left, lasts=lasts)}, {}
    if code == 401:
        return {"error": {"type": "invalid_request_error", "message": "Incorrect API key provided."}}, {}
    if code == 429:
        error = {"type": "usage_limit_reached", "message": "The usage limit has been reached", "plan_type": "plus"}
        return {"error": error | {"resets_at": reset, "resets_in_seconds": left}}, {}
    return {"error": {"type": "server_error", "message": "The server had an error."}}, {}


def _gemini_error(code: int, left: int, *, lasts: bool) -> Json:
    if code == 401:
        message = "API key not valid. Please pass a valid API key."
        return {"code": 401, "message": message, "status": "UNAUTHENTICATED"}
    if code != 429:
        return {"code": code, "message": "The model is overloaded.", "status": "UNAVAILABLE"}
    google = "type.googleapis.com/google.rpc."
    message = "You exceeded your current quota, please check your plan and billing details."
    per, retry = ("Day", []) if lasts else ("Minute", [{"@type": f"{google}RetryInfo", "retryDelay": f"{left}s"}])
    quota = {"quotaMetric": "m", "quotaId": f"GenerateRequestsPer{per}PerProjectPerModel-FreeTier"}
    details = [{"@type": f"{google}QuotaFailure", "violations": [quota]}, *retry]
    message += "" if lasts else f"\nPlease retry in {left}s."
    return {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED", "details": details}
