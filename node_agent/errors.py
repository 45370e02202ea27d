"""Everything that the agent raises on purpose, each with a code that outcomes and logs carry.

Raised anywhere in the agent; turned into command outcomes, node events and exit codes by the callers. The message is
written for the operator: what is wrong, and what to do.
"""


class AgentError(Exception):
    """The root: catch this where any refusal of the agent is to be reported rather than crash."""

    code = "agent_error"


class EngineSpecError(AgentError):
    """The engine is not started: its id, model or arguments are wrong or would open a hole."""

    code = "engine_spec_refused"


class StaleGenerationError(AgentError):
    """The command is for an older generation of the placement than the one that runs."""

    code = "stale_generation"


class LaunchError(AgentError):
    """The engine's process could not even be started. `retryable`: whether time alone may cure it."""

    code = "launch_failed"

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


class EngineUnreachableError(AgentError):
    """The engine's port does not answer, or answers with something else than what was asked."""

    code = "engine_unreachable"


class EngineNotHereError(AgentError):
    """This node knows no such engine, or it is not in the state that the command needs."""

    code = "engine_not_here"


class AdapterError(AgentError):
    """The engine, or the agent for it, refuses an adapter."""

    code = "adapter_refused"


class MetricsError(AgentError):
    """The engine answered, but what it sent are not metrics."""

    code = "metrics_unreadable"


class ProbeError(AgentError):
    """A probe of the hardware failed or gave no figures."""

    code = "probe_failed"


class ProbeRefusedError(ProbeError):
    """A measurement would disturb, or be disturbed by, what runs on this node now."""

    code = "probe_refused"
