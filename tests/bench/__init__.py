"""`make bench`: figures from one run on this machine. Ratios travel between machines, milliseconds don't."""
