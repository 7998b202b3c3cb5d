"""`gc`: what beatctl keeps of loops that have ended, shown with its size and freed when told to.

`rule.py` says which snapshots may go, `pieces.py` what can be freed of one loop, `survey.py` looks through the home
folder, `command.py` shows, asks and frees.
"""
