"""`report`: what a loop came to.

`model.py` makes the facts from the ledger, `sentences.py` puts them in words; `terminal.py`, `page.py` and `tsv.py`
show them. `command.py` is the way in.
"""
