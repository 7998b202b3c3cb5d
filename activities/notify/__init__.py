"""Telling people how a loop stands: by services such as Slack, mail or ntfy, and by a command of theirs.

`happened` is what is told, `texts` its words, `targets` where it goes (secrets), `sending` the process that sends it,
`telling` the activity around it.
"""
