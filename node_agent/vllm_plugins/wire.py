"""The lines between the plug-in and the agent: JSON objects, one a line, over a Unix socket. Pure names.

Plug-in to agent: hello (first, and again when it knows more), steps, record, note. Agent to plug-in: welcome (with the last
record that is kept safely), kept (up to which record all are), refused. Imported by both ends, so that they agree.
"""

PROTOCOL = 1
"""Raised when the other end would misread what it gets; the agent refuses another one and says so."""

PLUGIN_VERSION = "1.0"
SOCKET_VARIABLE = "STOKER_PLUGIN_SOCKET"
TENANT_HEADER = "x-stoker-tenant"
CANARY_HEADER = "x-stoker-canary"
"""On the agent's own requests: they are served as they are and recorded nowhere."""

SALT_SCHEME = "salt-1"

KIND = "t"
HELLO = "hello"
STEPS = "steps"
RECORD = "record"
NOTE = "note"
WELCOME = "welcome"
KEPT = "kept"
REFUSED = "refused"
