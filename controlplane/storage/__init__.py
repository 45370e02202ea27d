"""Durable state: desired state, identities, audit and history in SQL, on SQLite or PostgreSQL alike.

Services use `Database.run` with a function of a `UnitOfWork`. Nothing outside this package (and `migrations`) knows
SQLAlchemy, and nothing in it decides anything about the fleet.
"""
