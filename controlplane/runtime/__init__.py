"""Live state: the fleet's snapshot and its one writer, agents' sessions, requests in flight, tasks."""
