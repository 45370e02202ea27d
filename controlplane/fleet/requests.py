"""How a client's request ended, as the gateway tells it.

Made by `rpc.access_log`; read by services that count what is in flight and write history. Text that a client chose (path,
model) is cut to a bounded length, not trusted.
"""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class RequestEnd:
    """One request, ended in whatever way. Durations count from the arrival of the request at the gateway."""

    request_id: str  # "": turned away (no memory, not HTTP) before it got one
    started_at: datetime
    method: str
    path: str
    status: int  # 0: the client left before there was an answer
    tenant: str = ""  # "": the API key was not accepted
    key_id: str = ""
    model: str = ""  # as asked for; "": none, or not readable
    endpoint: str = ""  # "host:port" of the engine that was used last; "": none
    attempts_count: int = 0  # engines tried; 0: none
    duration_seconds: float | None = None
    first_byte_seconds: float | None = None  # until the engine's answer began
    sent_to_engine_seconds: float | None = None  # until the request left for the engine: decision and queue
    request_bytes: int = 0
    response_bytes: int = 0
    flags: tuple[str, ...] = ()  # the gateway's own words for what went wrong
    details: str = ""
    failure: str = ""  # of the connection to the engine

    @property
    def client_left(self) -> bool:
        """The client hung up before the end of the answer."""
        return "downstream_connection_termination" in self.flags or "downstream_remote_reset" in self.flags

    @property
    def refused(self) -> bool:
        """Answered by the decision service's refusal."""
        return "unauthorized_details" in self.flags

    @property
    def cut_off(self) -> bool:
        """The engine ended before its answer did: the client has a part of it."""
        return self.details.startswith("upstream_reset_after_response_started")

    @property
    def engine_failed(self) -> bool:
        """The last engine tried could not be reached, or ended before the end of its answer."""
        return self.cut_off or self.details.startswith("upstream_reset_before_response_started")
