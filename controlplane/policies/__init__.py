"""Decisions, as pure functions of facts: who is admitted, where a request goes, what runs where."""
