"""The live view: what `start` and `watch` show on a terminal.

`seen` gathers what there is to show, `frame` and `table` are pure functions from that to lines of text, `screen` is the
terminal, `stay` and `stay_with_all` bring the three together.
"""
