"""What `stoker-agent` exits with, and for which error. Scripts and unit files may rely on these."""

from node_agent.errors import AgentError, ProbeRefusedError
from node_agent.link.problems import (
    CertificateNotTrustedError,
    ControlPlaneUnreachableError,
    CredentialsUnusableError,
    NotJoinedError,
    RefusedByControlPlaneError,
    TokenMalformedError,
)
from node_agent.settings import BadSettingsError

OK = 0
FAILED = 1
USAGE = 2
BAD_CONFIGURATION = 3
IDENTITY = 4
UNAVAILABLE = 5
REFUSED_NOW = 6
REPLACED = 75

HELP = """\b
Exit codes:
  0  done
  1  it failed while it ran; the log or the last line says why
  2  wrong usage
  3  bad configuration
  4  not joined, or the identity was refused
  5  the control plane cannot be reached (when joining)
  6  refused for now: engines run, or another probe does (when probing)
  75 asked to make room for a new one (SIGHUP): engines run on, start the agent again
"""


def exit_code(error: AgentError) -> int:
    match error:
        case BadSettingsError():
            return BAD_CONFIGURATION
        case TokenMalformedError():
            return USAGE
        case (
            NotJoinedError() | CertificateNotTrustedError() | RefusedByControlPlaneError() | CredentialsUnusableError()
        ):
            return IDENTITY
        case ControlPlaneUnreachableError():
            return UNAVAILABLE
        case ProbeRefusedError():
            return REFUSED_NOW
        case _:
            return FAILED
