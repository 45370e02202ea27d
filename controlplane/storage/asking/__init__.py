"""Questions of people in SQL: read-only, over the documented views only, bounded in time, rows and bytes.

Apart from `storage.database`: these connections belong to what strangers wrote, and share nothing with the daemon's own.
"""
