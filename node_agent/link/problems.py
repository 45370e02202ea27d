"""What can go wrong between an agent and the control plane, each with a sentence that says what to do.

Raised in `node_agent.link`; the command line turns them into exit codes, the session into a `LinkFailure`.
"""

from node_agent.errors import AgentError


class LinkError(AgentError):
    """The root of this module's errors."""

    code = "link_problem"


class ControlPlaneUnreachableError(LinkError):
    """No answer, or none that is worth waiting for now. The same call may work later."""

    code = "control_plane_unreachable"


class CertificateNotTrustedError(LinkError):
    """One side does not accept the other's certificate. Retrying alone mends nothing."""

    code = "certificate_not_trusted"


class RefusedByControlPlaneError(LinkError):
    """The control plane understood the call and said no."""

    code = "refused_by_control_plane"


class TokenMalformedError(LinkError):
    """What was given is not a join token, or only a part of one."""

    code = "token_malformed"


class NotJoinedError(LinkError):
    """This node has no identity yet, or none that can be read."""

    code = "not_joined"


class CredentialsUnusableError(LinkError):
    """The control plane's answer holds no certificate that this node could use."""

    code = "credentials_unusable"


def printable(message: str) -> str:
    """A sentence from elsewhere, safe for terminals and logs: one line without control characters, bounded."""
    return "".join(character if character.isprintable() else " " for character in message[:500]).strip()
