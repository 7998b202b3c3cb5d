"""The world: run agent, run evaluator, snapshot workspace, ledger. Nothing here knows what a loop is."""
