"""What can be wrong with settings, told as `where: key: what is wrong; what to do`. Pure."""

from collections.abc import Iterable

from node_agent.errors import AgentError


class BadSettingsError(AgentError):
    """Every problem at once, one a line."""

    code = "bad_configuration"

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))
