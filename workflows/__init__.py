"""What a loop is: deterministic, no I/O. The decisions are pure functions in files of their own."""
