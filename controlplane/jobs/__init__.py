"""What time wakes: APScheduler's wiring, and one module a job."""
