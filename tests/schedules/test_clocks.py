"""What becomes of a time that the clocks skip or that comes twice, as the server really does it (docs/schedules.md)."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from temporalio.api.workflowservice.v1 import ListScheduleMatchingTimesRequest
from temporalio.client import Client

from beatctl.cli.schedule.kept import Kept
from beatctl.cli.schedule.server import create, handle
from beatctl.cli.schedule.timing import Timing
from tests.schedules.conftest import Host

pytestmark = pytest.mark.xdist_group("schedules")

LISBON, NEW_YORK = "Europe/Lisbon", "America/New_York"


# Cron, zone, first of the two days that are looked at, and what is started.
STARTS = [
    # An evening keeps its hour by the clock on the wall.
    ("0 22 * * *", LISBON, "2027-03-27", ["2027-03-27T22:00+00:00", "2027-03-28T22:00+01:00"]),
    ("0 22 * * *", LISBON, "2027-10-30", ["2027-10-30T22:00+01:00", "2027-10-31T22:00+00:00"]),
    # Put ahead: what the clocks skip is not started that day.
    ("30 1 * * *", LISBON, "2027-03-27", ["2027-03-27T01:30+00:00"]),
    ("30 2 * * *", NEW_YORK, "2027-03-13", ["2027-03-13T02:30-05:00"]),
    ("0 3 * * *", NEW_YORK, "2027-03-13", ["2027-03-13T03:00-05:00", "2027-03-14T03:00-04:00"]),
    # Put back: what comes twice is started once in Lisbon, the second time, and in New York both times.
    ("30 1 * * *", LISBON, "2027-10-30", ["2027-10-30T01:30+01:00", "2027-10-31T01:30+00:00"]),
    (
        "30 1 * * *",
        NEW_YORK,
        "2027-11-06",
        ["2027-11-06T01:30-04:00", "2027-11-07T01:30-04:00", "2027-11-07T01:30-05:00"],
    ),
]


def test_when_the_clocks_change_a_schedule_starts_as_documented(host: Host) -> None:
    async def starts(client: Client, cron: str, zone: str, day: str) -> list[str]:
        moment = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
        kept = Kept(
            name=f"clocks-{uuid.uuid4().hex[:8]}",
            goal="x",
            arguments=[],
            directory="/",
            host="none",
            timing=Timing(cron=[cron], timezone=zone),
            created_at="",
        )
        await create(client, kept, {}, paused=True)
        request = ListScheduleMatchingTimesRequest(namespace=client.namespace, schedule_id=f"beatctl-{kept.name}")
        request.start_time.FromDatetime(moment)
        request.end_time.FromDatetime(moment + timedelta(hours=47))
        found = (await client.workflow_service.list_schedule_matching_times(request)).start_time
        await handle(client, kept.name).delete()
        moments = [moment.ToDatetime(UTC).astimezone(ZoneInfo(zone)) for moment in found]
        return [moment.isoformat(timespec="minutes") for moment in moments]

    async def all_starts(client: Client) -> list[list[str]]:
        return await asyncio.gather(*(starts(client, cron, zone, day) for cron, zone, day, _ in STARTS))

    assert host.with_client(all_starts) == [expected for _, _, _, expected in STARTS]


def test_an_interval_is_counted_from_midnight_utc_whatever_the_clocks_say(host: Host) -> None:
    words = ("--every", "6h", "--offset", "1h", "--timezone", LISBON, "--", "x", "--until", "true", "-a", "true")
    made = host.schedule("create", "six", "--paused", *words)
    hours = {datetime.fromisoformat(moment).strftime("%H:%M") for moment in made["next"]}
    assert hours == {"01:00", "07:00", "13:00", "19:00"}
    host.schedule("delete", "six")
