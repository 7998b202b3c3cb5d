"""`schedule`: loops that start at set times, by Temporal's schedules.

`timing` is what was typed of the times, checked; `kept` what is known of a schedule wherever one looks; `server` asks
Temporal; `create`, `look` and `act` are the commands.
"""
