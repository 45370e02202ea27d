"""What can be seen of a certificate from the operator's side."""

from datetime import UTC, datetime, timedelta

from cryptography import x509

from console.link.identity import certificate_problem, new_key_and_request
from tests.fakes.certificates import TestAuthority

AUTHORITY = TestAuthority()
CERTIFICATE = AUTHORITY.issue("ana", [])[1]
MIDDLE = x509.load_pem_x509_certificate(CERTIFICATE).not_valid_before_utc + timedelta(minutes=30)


def test_a_good_certificate_has_no_problem() -> None:
    assert certificate_problem(CERTIFICATE, AUTHORITY.ca_pem, MIDDLE) is None


def test_what_is_wrong_is_said() -> None:
    for problem, expected in (
        (certificate_problem(CERTIFICATE, AUTHORITY.ca_pem, MIDDLE + timedelta(days=1)), "expired"),
        (certificate_problem(CERTIFICATE, AUTHORITY.ca_pem, datetime(2000, 1, 1, tzinfo=UTC)), "clock"),
        (certificate_problem(CERTIFICATE, TestAuthority().ca_pem, MIDDLE), "not issued"),
        (certificate_problem(b"nonsense", AUTHORITY.ca_pem, MIDDLE), "damaged"),
    ):
        assert problem is not None
        assert expected in problem


def test_a_request_can_be_signed_and_holds_no_private_key() -> None:
    key_pem, request_pem = new_key_and_request("bo")
    assert b"PRIVATE" in key_pem
    assert b"PRIVATE" not in request_pem
    assert certificate_problem(AUTHORITY.sign(request_pem, "bo"), AUTHORITY.ca_pem, MIDDLE) is None
