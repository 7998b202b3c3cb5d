"""`report`: what a loop came to.

`model.py` makes the facts from the ledger (`course.py`: time and faults, `spending.py`: cost), `sentences.py` puts them
in words; `terminal.py`, `page.py` and `tsv.py` show them. `command.py` is the way in.
"""
